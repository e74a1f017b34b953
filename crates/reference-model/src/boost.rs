//! Boosting: the library grows each tree, the loop around it is ours.
//!
//! The library's own loop knows squared error alone. Here the objective may also be a quantile, whose leaves are set anew
//! after a tree has grown, and rounds are judged in the label's unit. With squared error the trees are the library's own, bit
//! for bit.

use forust_ml::{
    GradientBooster, Matrix,
    binning::{BinnedData, PREDICT_MISSING_BIN, TiledBins, bin_for_prediction, bin_matrix},
    constraints::{Constraint, ConstraintMap},
    gradientbooster::GrowPolicy,
    objective::ObjectiveType,
    sampler::SampleMethod,
    splitter::MissingImputerSplitter,
    tree::{Tree, TreeRows, split_bins},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::Serialize;

use crate::{Channel, EvalMetric, Hyperparameters, ModelError, TargetTransform, objective::Loss};

/// How the channels fared after a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// How many trees there were.
    pub trees: usize,
    /// The evaluation metric on the rows that are trained on; measured at a tenth of the rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<f64>,
    /// The evaluation metric on the validation channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
}

/// What one fit is to do, beside what all have in common.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) loss: Loss,
    pub(crate) metric: EvalMetric,
    /// None are kept where the loss sets leaves anew.
    pub(crate) constraints: Vec<i8>,
}

/// Channels cut into bins, which every fit shares.
pub(crate) struct Binned<'a> {
    hyperparameters: &'a Hyperparameters,
    bins: BinnedData<f64>,
    tiles: TiledBins,
    columns: usize,
    train: Side<'a>,
    /// With the bins of its rows.
    validation: Option<(Side<'a>, Vec<u16>)>,
}

/// A channel's labels, and what is trained on instead.
struct Side<'a> {
    labels: &'a [f64],
    targets: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(channel: &'a Channel, transform: TargetTransform) -> Self {
        let targets = channel.labels.iter().map(|label| transform.apply(*label)).collect();
        Self { labels: &channel.labels, targets }
    }
}

/// A fit: trees up to the best round, and how it went.
pub(crate) struct Boosted {
    pub(crate) booster: GradientBooster,
    pub(crate) rounds: Vec<Round>,
}

impl<'a> Binned<'a> {
    pub(crate) fn new(
        hyperparameters: &'a Hyperparameters,
        train: &'a Channel,
        validation: Option<&'a Channel>,
    ) -> Result<Self, ModelError> {
        let parallel = hyperparameters.nthread > 1;
        let data = matrix(train);
        let weights = vec![1.0; train.labels.len()];
        let bins = bin_matrix(&data, &weights, hyperparameters.max_bin, f64::NAN, parallel)
            .map_err(|error| ModelError::TrainingFailed(error.to_string()))?;
        let tiles = TiledBins::new(&Matrix::new(&bins.binned_data, data.rows, data.cols), &bins.cuts, parallel);
        let transform = hyperparameters.target_transform;
        let validation = validation.map(|channel| {
            let cells = bin_for_prediction(&matrix(channel), &bins.cuts, &f64::NAN, parallel);
            (Side::new(channel, transform), cells)
        });
        let (columns, train) = (train.feature_count, Side::new(train, transform));
        Ok(Self { hyperparameters, bins, tiles, columns, train, validation })
    }

    /// Grows trees until there are enough, or the validation channel's metric has stopped falling.
    pub(crate) fn fit(&self, order: &Order, told: &mut dyn FnMut(&Round)) -> Boosted {
        let hyperparameters = self.hyperparameters;
        let loss = order.loss;
        let rows = self.train.labels.len();
        let base_score = loss.base_score(&self.train.targets);
        let mut predicted = vec![base_score; rows];
        let mut validated = vec![base_score; self.validation.as_ref().map_or(0, |(side, _)| side.labels.len())];
        let (mut gradients, hessians) = (vec![0.0; rows], vec![1.0; rows]);
        let mut residuals = Vec::new();
        let mut random = ChaCha8Rng::seed_from_u64(hyperparameters.seed);
        let splitter = splitter(hyperparameters, order);
        let (mut trees, mut rounds): (Vec<Tree>, Vec<Round>) = (Vec::new(), Vec::new());
        let mut best: Option<(f64, usize)> = None;
        let often = hyperparameters.num_round.div_ceil(10);
        while trees.len() < hyperparameters.num_round {
            loss.gradients(&self.train.targets, &predicted, &mut gradients);
            let mut tree = Tree::new();
            let (chosen, left_out) = self.sample_rows(&mut random);
            let grown = self.grow(&mut tree, &mut random, chosen.clone(), &gradients, &hessians, &splitter);
            if order.constraints.iter().any(|sign| *sign != 0) {
                hold_constraints(&mut tree, &order.constraints);
            }
            let bins = split_bins(&tree, &self.bins.cuts);
            let leaf_of = |row: usize| leaf(&tree, &bins, 0, |feature| self.bins.binned_data[feature * rows + row]);
            let leaves = match grown {
                Some(TreeRows { index, ranges }) => leaves_of(&tree, &index, &ranges),
                None => gathered(&tree, chosen.iter().map(|row| (*row, leaf_of(*row)))),
            };
            let outside: Vec<(usize, usize)> = left_out.iter().map(|row| (*row, leaf_of(*row))).collect();
            for (leaf, rows) in &leaves {
                residuals.clear();
                residuals.extend(rows.iter().map(|row| self.train.targets[*row] - predicted[*row]));
                if let Some(weight) = loss.leaf_weight(&mut residuals) {
                    tree.nodes[*leaf].weight_value = hyperparameters.eta * weight as f32;
                }
                let weight = f64::from(tree.nodes[*leaf].weight_value);
                for row in rows {
                    predicted[*row] += weight;
                }
            }
            for (row, leaf) in outside {
                predicted[row] += f64::from(tree.nodes[leaf].weight_value);
            }
            if let Some((_, cells)) = &self.validation {
                let rows = validated.len();
                for (row, sum) in validated.iter_mut().enumerate() {
                    let leaf = leaf(&tree, &bins, PREDICT_MISSING_BIN, |feature| cells[feature * rows + row]);
                    *sum += f64::from(tree.nodes[leaf].weight_value);
                }
            }
            trees.push(tree);

            let shown = trees.len() == 1 || trees.len() % often == 0 || trees.len() == hyperparameters.num_round;
            let round = Round {
                trees: trees.len(),
                train: shown.then(|| self.measured(order, &self.train, &predicted)),
                validation: self.validation.as_ref().map(|(side, _)| self.measured(order, side, &validated)),
            };
            if shown {
                told(&round);
            }
            rounds.push(round);
            if let (Some(metric), true) = (round.validation, hyperparameters.early_stopping_rounds > 0) {
                let is_better = best.is_none_or(|(least, _)| metric < least);
                if is_better {
                    best = Some((metric, trees.len()));
                } else if best.is_some_and(|(_, at)| trees.len() - at >= hyperparameters.early_stopping_rounds) {
                    break;
                }
            }
        }
        // Trees beyond the best are not answered with.
        trees.truncate(best.map_or(trees.len(), |(_, at)| at));
        Boosted { booster: finished(hyperparameters, base_score, trees), rounds }
    }

    fn measured(&self, order: &Order, side: &Side<'_>, predicted: &[f64]) -> f64 {
        let transform = self.hyperparameters.target_transform;
        let pairs = predicted.iter().zip(side.labels).map(|(value, label)| (transform.invert(*value), *label));
        let alpha = if let Loss::Pinball(alpha) = order.loss { alpha } else { 0.5 };
        order.metric.of(pairs, alpha)
    }

    /// Rows for the next tree, ascending, and the others.
    fn sample_rows(&self, random: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
        let rows = 0..self.train.labels.len();
        let share = f64::from(self.hyperparameters.subsample);
        if share >= 1.0 {
            return (rows.collect(), Vec::new());
        }
        rows.partition(|_| unit(random) < share)
    }

    /// Columns for the next tree, ascending.
    fn sample_columns(&self, random: &mut ChaCha8Rng) -> Vec<usize> {
        let mut columns: Vec<usize> = (0..self.columns).collect();
        let wanted = (self.columns as f64 * self.hyperparameters.colsample_bytree) as usize;
        if wanted < columns.len() {
            // The first steps of Fisher and Yates's shuffle.
            for at in 0..wanted {
                let other = at + (unit(random) * (columns.len() - at) as f64) as usize;
                columns.swap(at, other);
            }
            columns.truncate(wanted);
            columns.sort_unstable();
        }
        columns
    }

    fn grow(
        &self,
        tree: &mut Tree,
        random: &mut ChaCha8Rng,
        chosen: Vec<usize>,
        gradients: &[f32],
        hessians: &[f32],
        splitter: &MissingImputerSplitter,
    ) -> Option<TreeRows> {
        let hyperparameters = self.hyperparameters;
        let all = chosen.len() == self.train.labels.len();
        let (max_leaves, policy) = match hyperparameters.max_leaves {
            0 => (usize::MAX, GrowPolicy::DepthWise),
            leaves => (leaves, GrowPolicy::LossGuide),
        };
        tree.fit_with_tiles(
            &Matrix::new(&self.bins.binned_data, self.train.labels.len(), self.columns),
            chosen,
            &self.sample_columns(random),
            &self.bins.cuts,
            gradients,
            hessians,
            splitter,
            max_leaves,
            hyperparameters.max_depth,
            hyperparameters.nthread > 1,
            if all { &SampleMethod::None } else { &SampleMethod::Random },
            &policy,
            Some(&self.tiles),
        )
    }
}

/// The library's view of a channel.
pub(crate) fn matrix(channel: &Channel) -> Matrix<'_, f64> {
    Matrix::new(&channel.columns, channel.labels.len(), channel.feature_count)
}

/// In [0, 1), of 53 bits.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn splitter(hyperparameters: &Hyperparameters, order: &Order) -> MissingImputerSplitter {
    let constraint = |sign: i8| match sign {
        1 => Some(Constraint::Positive),
        -1 => Some(Constraint::Negative),
        _ => None,
    };
    let signs = order.constraints.iter().enumerate();
    let constraints: ConstraintMap = signs.filter_map(|(feature, sign)| Some((feature, constraint(*sign)?))).collect();
    MissingImputerSplitter {
        l1: hyperparameters.alpha,
        l2: hyperparameters.lambda,
        max_delta_step: 0.0,
        gamma: hyperparameters.gamma,
        min_leaf_weight: hyperparameters.min_leaf_weight,
        learning_rate: hyperparameters.eta,
        allow_missing_splits: true,
        constraints_map: constraints,
    }
}

/// The trees as the library's own model. What does not change an answer is left at its defaults, so that the same trees are
/// the same bytes.
fn finished(hyperparameters: &Hyperparameters, base_score: f64, trees: Vec<Tree>) -> GradientBooster {
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::SquaredLoss)
        .set_initialize_base_score(true)
        .set_iterations(hyperparameters.num_round)
        .set_learning_rate(hyperparameters.eta)
        .set_max_depth(hyperparameters.max_depth)
        .set_min_leaf_weight(hyperparameters.min_leaf_weight)
        .set_nbins(hyperparameters.max_bin)
        .set_seed(hyperparameters.seed);
    booster.base_score = base_score;
    booster.trees = trees;
    booster
}

/// Bounds the leaves so that the whole tree keeps the constraints: below a split of a constrained feature, one side's leaves
/// lie under the middle of both sides' weights and the other's above it (as XGBoost does). The library looks at the two
/// sides of such a split alone; its splits of other features, farther down, may cross over.
fn hold_constraints(tree: &mut Tree, constraints: &[i8]) {
    let mut pending = vec![(0, f32::NEG_INFINITY, f32::INFINITY)];
    while let Some((number, low, high)) = pending.pop() {
        let node = &mut tree.nodes[number];
        node.weight_value = node.weight_value.clamp(low, high);
        if node.is_leaf {
            continue;
        }
        let (left, right) = (node.left_child, node.right_child);
        let sign = constraints.get(node.split_feature).copied().unwrap_or(0);
        let [of_left, of_right] = [left, right].map(|child| tree.nodes[child].weight_value.clamp(low, high));
        let middle = of_left / 2.0 + of_right / 2.0;
        let (left_bounds, right_bounds) = match sign {
            1 => ((low, middle), (middle, high)),
            -1 => ((middle, high), (low, middle)),
            _ => ((low, high), (low, high)),
        };
        pending.push((left, left_bounds.0, left_bounds.1));
        pending.push((right, right_bounds.0, right_bounds.1));
    }
}

/// The leaf that a row reaches, by its bins.
fn leaf(tree: &Tree, split_bins: &[u16], missing_bin: u16, bin: impl Fn(usize) -> u16) -> usize {
    let mut at = 0;
    loop {
        let node = &tree.nodes[at];
        if node.is_leaf {
            return at;
        }
        let value = bin(node.split_feature);
        at = if value == missing_bin {
            node.missing_node
        } else if value < split_bins[at] {
            node.left_child
        } else {
            node.right_child
        };
    }
}

/// Each leaf's rows, as the library left them.
fn leaves_of(tree: &Tree, index: &[usize], ranges: &[(usize, usize)]) -> Vec<(usize, Vec<usize>)> {
    let leaves = tree.nodes.iter().enumerate().filter(|(_, node)| node.is_leaf);
    leaves.map(|(number, node)| (number, index[ranges[node.num].0..ranges[node.num].1].to_vec())).collect()
}

fn gathered(tree: &Tree, rows: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, Vec<usize>)> {
    let mut by_leaf = vec![Vec::new(); tree.nodes.len()];
    rows.for_each(|(row, leaf)| by_leaf[leaf].push(row));
    by_leaf.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(rows: usize, seed: u64) -> Channel {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let columns: Vec<f64> = (0..3 * rows)
            .map(|_| if unit(&mut random) < 0.1 { f64::NAN } else { (unit(&mut random) * 40.0).floor() })
            .collect();
        let known = |index: usize| if columns[index].is_nan() { 7.0 } else { columns[index] };
        let labels = (0..rows).map(|row| known(row) * 3.0 + known(rows + row) + 20.0 * unit(&mut random)).collect();
        Channel { labels, columns, feature_count: 3, feature_names: Vec::new(), bad_rows: 0 }
    }

    fn fitted(hyperparameters: &Hyperparameters, train: &Channel, loss: Loss) -> GradientBooster {
        let order = Order { loss, metric: EvalMetric::Rmse, constraints: hyperparameters.monotone_constraints.clone() };
        Binned::new(hyperparameters, train, None).unwrap().fit(&order, &mut |_| {}).booster
    }

    #[test]
    fn with_squared_error_the_trees_are_the_librarys_own() {
        for max_leaves in [0, 7] {
            let train = channel(500, 3);
            let hyperparameters =
                Hyperparameters { num_round: 12, max_depth: 4, max_leaves, ..Hyperparameters::default() };
            let ours = fitted(&hyperparameters, &train, Loss::Squared);
            let mut theirs = GradientBooster::default()
                .set_objective_type(ObjectiveType::SquaredLoss)
                .set_initialize_base_score(true)
                .set_iterations(12)
                .set_learning_rate(0.1)
                .set_max_depth(4)
                .set_tiled_histograms(true);
            if max_leaves > 0 {
                theirs.max_leaves = max_leaves;
                theirs.grow_policy = GrowPolicy::LossGuide;
            }
            theirs.fit_unweighted(&matrix(&train), &train.labels, None).unwrap();
            let text = |trees: &[Tree]| serde_json::to_string(trees).unwrap();
            assert_eq!(text(&ours.trees), text(&theirs.trees));
            assert_eq!(ours.base_score, theirs.base_score);
        }
    }

    #[test]
    fn a_quantile_lies_above_its_share_of_the_labels() {
        let (train, unseen) = (channel(4_000, 1), channel(2_000, 2));
        let hyperparameters =
            Hyperparameters { num_round: 60, max_depth: 3, min_leaf_weight: 100.0, ..Default::default() };
        for (alpha, low, high) in [(0.1, 0.05, 0.16), (0.5, 0.45, 0.55), (0.9, 0.84, 0.95)] {
            for subsample in [1.0, 0.5] {
                let hyperparameters = Hyperparameters { subsample, ..hyperparameters.clone() };
                let booster = fitted(&hyperparameters, &train, Loss::Pinball(alpha));
                let predicted = booster.predict(&matrix(&unseen), false);
                let below = predicted.iter().zip(&unseen.labels).filter(|(value, label)| label <= value).count();
                let share = below as f64 / unseen.labels.len() as f64;
                assert!((low..high).contains(&share), "{share} of the labels are below the quantile {alpha}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        /// Whatever the other features say, a constrained one never moves the prediction the wrong way.
        #[test]
        fn constraints_hold_everywhere(seed in 0..1_000_u64, sign in prop_oneof![Just(-1_i8), Just(1)], feature in 0..3_usize) {
            let mut monotone_constraints = vec![0; 3];
            monotone_constraints[feature] = sign;
            let hyperparameters =
                Hyperparameters { num_round: 20, max_depth: 5, eta: 0.3, monotone_constraints, ..Default::default() };
            let booster = fitted(&hyperparameters, &channel(400, seed), Loss::Squared);
            for other in [0.0, 11.0, 23.0, 39.0] {
                let mut columns = vec![other; 3 * 42];
                for (step, value) in columns[feature * 42..(feature + 1) * 42].iter_mut().enumerate() {
                    *value = step as f64 - 1.0;
                }
                let predicted = booster.predict(&Matrix::new(&columns, 42, 3), false);
                for pair in predicted.windows(2) {
                    prop_assert!(f64::from(sign) * (pair[1] - pair[0]) >= 0.0, "{} after {}", pair[1], pair[0]);
                }
            }
        }
    }
}
