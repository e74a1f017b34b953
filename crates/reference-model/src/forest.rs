//! Trees laid out for answering one row quickly.

use forust_ml::{GradientBooster, objective::ObjectiveType, tree::Tree};

use crate::ModelError;

/// How many trees are walked side by side. Each step down a tree waits for memory and for the step before it; steps in
/// different trees do not wait for each other.
const LANES: usize = 8;
/// The code of a missing value where missing values go to the second child: above every rank.
const HIGHEST: u16 = u16::MAX - 1;
/// The rank of a leaf: no code reaches it.
const LEAF: u16 = u16::MAX;
/// A feature has three codes of its value, which differ for a missing value alone.
const CODES: usize = 3;
/// Codes that fit without asking for memory.
const CODES_IN_PLACE: usize = CODES * 64;

/// Which code of a feature a node asks for.
#[derive(Debug, Clone, Copy)]
enum Missing {
    /// A missing value goes to the first child.
    First,
    /// A missing value goes to the second child.
    Second,
    /// The node asks whether the value is missing; everything that is goes to the second child.
    Asks,
}

/// One node, 8 bytes: eight to a cache line. A leaf's children are itself, so that a walk that has arrived stays.
///
/// A value is not compared with the split's number, but its *rank* with the split's: how many of the different numbers that
/// splits of its feature have are not above it. A row's ranks are found once, by bisection, whatever the number of trees.
#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    /// A code below it goes to the first child, any other to the second.
    rank: u16,
    /// Which code.
    slot: u16,
}

/// Trees that are walked together.
#[derive(Debug, Clone, Copy)]
struct Group {
    roots: [u32; LANES],
    /// How many of the roots count; the others repeat the first.
    trees: u8,
    /// The depth of the deepest of them.
    depth: u32,
}

/// A trained model's trees. Predicts the very bits that [`GradientBooster::predict`] does.
#[derive(Debug)]
pub struct Forest {
    feature_count: usize,
    base_score: f64,
    /// The different numbers that the splits of a feature have, ascending, one feature after the other.
    splits: Vec<f64>,
    /// Where a feature's begin in `splits`; one more at the end.
    starts: Vec<usize>,
    nodes: Vec<Node>,
    /// A leaf's weight, at the leaf's index in `nodes`.
    leaf_weights: Vec<f32>,
    groups: Vec<Group>,
    trees: usize,
}

impl Forest {
    /// Lays out the trees that `booster` predicts with. Checks what a walk relies on: each child exists and lies after
    /// its parent, features are among `feature_count`, and numbers are finite.
    pub fn new(booster: &GradientBooster, feature_count: usize) -> Result<Self, ModelError> {
        let damaged = |why: String| ModelError::DamagedModel { why };
        let most = usize::from(u16::MAX) / CODES;
        if feature_count == 0 || feature_count > most {
            return Err(damaged(format!("{feature_count} features; 1 to {most} are possible")));
        }
        if !matches!(booster.objective_type, ObjectiveType::SquaredLoss) || !booster.missing.is_nan() {
            return Err(damaged("only squared loss with NaN as the missing value is served".to_owned()));
        }
        if !booster.base_score.is_finite() {
            return Err(damaged("the base score is not finite".to_owned()));
        }
        let count = booster.prediction_iteration.unwrap_or(booster.trees.len());
        let trees = booster
            .trees
            .get(..count)
            .ok_or_else(|| damaged(format!("it has {} trees, not {count}", booster.trees.len())))?;

        let mut forest = Self {
            feature_count,
            base_score: booster.base_score,
            splits: Vec::new(),
            starts: Vec::with_capacity(feature_count + 1),
            nodes: Vec::new(),
            leaf_weights: Vec::new(),
            groups: Vec::with_capacity(count.div_ceil(LANES)),
            trees: count,
        };
        forest.collect_splits(trees).map_err(damaged)?;
        for (index, group) in trees.chunks(LANES).enumerate() {
            let mut roots = [0; LANES];
            let mut depth = 0;
            for (lane, tree) in group.iter().enumerate() {
                let placed =
                    forest.place(tree).map_err(|why| damaged(format!("tree {}: {why}", index * LANES + lane)))?;
                roots[lane] = placed.0;
                depth = depth.max(placed.1);
            }
            let first = roots[0];
            roots[group.len()..].fill(first);
            forest.groups.push(Group { roots, trees: group.len() as u8, depth });
        }
        Ok(forest)
    }

    /// The ranks of each feature. What is wrong with a node is told where it is placed.
    fn collect_splits(&mut self, trees: &[Tree]) -> Result<(), String> {
        let mut by_feature = vec![Vec::new(); self.feature_count];
        for node in
            trees.iter().flat_map(|tree| &tree.nodes).filter(|node| !node.is_leaf && node.split_value.is_finite())
        {
            if let Some(splits) = by_feature.get_mut(node.split_feature) {
                splits.push(node.split_value);
            }
        }
        for (feature, mut splits) in by_feature.into_iter().enumerate() {
            splits.sort_unstable_by(f64::total_cmp);
            // By value, not by bits: 0 and -0 split alike.
            splits.dedup();
            if splits.len() >= usize::from(HIGHEST) {
                return Err(format!("feature {feature} is split at {} numbers; {HIGHEST} are too many", splits.len()));
            }
            self.starts.push(self.splits.len());
            self.splits.extend(splits);
        }
        self.starts.push(self.splits.len());
        Ok(())
    }

    /// The numbers that a feature is split at, ascending.
    fn splits_of(&self, feature: usize) -> &[f64] {
        &self.splits[self.starts[feature]..self.starts[feature + 1]]
    }

    /// Appends a tree level by level, siblings next to each other. Its root's index and its depth.
    fn place(&mut self, tree: &Tree) -> Result<(u32, u32), String> {
        let root = self.nodes.len();
        let at = |index: usize| u32::try_from(root + index).map_err(|_| "there are too many nodes".to_owned());
        // The tree's own node numbers, in the order they are placed here, with their depths. One that has a branch of its
        // own for missing values is placed twice: first to ask for those, then as any other.
        let mut placed: Vec<(usize, u32, bool)> = vec![(0, 0, false)];
        let (mut depth, mut next, mut asking) = (0, 0, 0);
        while let Some(&(number, level, asked)) = placed.get(next) {
            let node = tree.nodes.get(number).ok_or_else(|| format!("node {number} is missing"))?;
            if !node.weight_value.is_finite() {
                return Err(format!("the weight of node {number} is not finite"));
            }
            depth = depth.max(level);
            self.leaf_weights.push(node.weight_value);
            if node.is_leaf {
                self.nodes.push(Node { first_child: at(next)?, rank: LEAF, slot: 0 });
                next += 1;
                continue;
            }
            if node.split_feature >= self.feature_count {
                return Err(format!("node {number} asks feature {} of {}", node.split_feature, self.feature_count));
            }
            if !node.split_value.is_finite() {
                return Err(format!("the split of node {number} is not finite"));
            }
            let first_child = at(placed.len())?;
            let own_branch = node.missing_node != node.left_child && node.missing_node != node.right_child;
            let (missing, children): (_, [(usize, bool); 2]) = if own_branch && !asked {
                asking += 1;
                (Missing::Asks, [(number, true), (node.missing_node, false)])
            } else if node.missing_node == node.left_child {
                (Missing::First, [(node.left_child, false), (node.right_child, false)])
            } else {
                (Missing::Second, [(node.left_child, false), (node.right_child, false)])
            };
            for (child, again) in children {
                // Numbers that only grow make no circle. They must also be met once, or the layout would explode.
                if (child <= number && !again) || placed.len() - asking >= tree.nodes.len() {
                    return Err(format!("node {number} has the child {child}"));
                }
                placed.push((child, level + 1, again));
            }
            let below = self.splits_of(node.split_feature).partition_point(|split| *split < node.split_value);
            let rank = if matches!(missing, Missing::Asks) { HIGHEST } else { below as u16 + 1 };
            let slot = (node.split_feature * CODES) as u16 + missing as u16;
            self.nodes.push(Node { first_child, rank, slot });
            next += 1;
        }
        Ok((root as u32, depth))
    }

    /// How many features a row has.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// How many trees answer.
    pub fn tree_count(&self) -> usize {
        self.trees
    }

    /// The prediction for one row of [`Forest::feature_count`] values, NaN where missing.
    ///
    /// # Panics
    /// Where the row has another width.
    pub fn predict(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.feature_count, "width of the row");
        let needed = CODES * row.len();
        if needed <= CODES_IN_PLACE {
            let mut codes = [0; CODES_IN_PLACE];
            self.encode(row, &mut codes);
            self.walk(&codes)
        } else {
            let mut codes = vec![0; needed];
            self.encode(row, &mut codes);
            self.walk(&codes)
        }
    }

    fn encode(&self, row: &[f64], codes: &mut [u16]) {
        for ((feature, value), codes) in row.iter().enumerate().zip(codes.chunks_exact_mut(CODES)) {
            let splits = self.splits_of(feature);
            if splits.is_empty() {
                continue;
            }
            let rank = splits.partition_point(|split| split <= value) as u16;
            // In the order of `Missing`. A missing value is below every split, so that its rank is 0.
            codes.copy_from_slice(&if value.is_nan() { [0, HIGHEST, HIGHEST] } else { [rank, rank, 0] });
        }
    }

    fn walk(&self, codes: &[u16]) -> f64 {
        let mut prediction = self.base_score;
        for group in &self.groups {
            let mut at = group.roots;
            for _ in 0..group.depth {
                let mut moved = 0;
                for index in &mut at {
                    let node = self.nodes[*index as usize];
                    let next = node.first_child + u32::from(codes[usize::from(node.slot)] >= node.rank);
                    moved |= *index ^ next;
                    *index = next;
                }
                if moved == 0 {
                    break;
                }
            }
            // In the order of training: floating-point sums depend on it.
            for index in &at[..usize::from(group.trees)] {
                prediction += f64::from(self.leaf_weights[*index as usize]);
            }
        }
        prediction
    }
}

#[cfg(test)]
mod tests {
    use forust_ml::{Matrix, gradientbooster::GrowPolicy};
    use proptest::prelude::*;

    use super::*;

    const FEATURES: usize = 3;

    /// Column after column: small whole numbers, so that values meet thresholds exactly, and some missing.
    fn columns(rows: usize) -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![4 => (-5..6_i32).prop_map(f64::from), 1 => Just(f64::NAN), 1 => -1e3..1e3_f64];
        prop::collection::vec(value, rows * FEATURES)
    }

    fn fitted(columns: &[f64], missing_branch: bool, max_leaves: usize, trees: usize) -> GradientBooster {
        let rows = columns.len() / FEATURES;
        let known = |index: usize| if columns[index].is_nan() { 7.0 } else { columns[index] };
        let labels: Vec<f64> = (0..rows).map(|row| known(row) * known(rows + row) - known(2 * rows + row)).collect();
        let mut booster = GradientBooster::default()
            .set_objective_type(ObjectiveType::SquaredLoss)
            .set_iterations(trees)
            .set_max_depth(4)
            .set_parallel(false)
            .set_initialize_base_score(true)
            .set_create_missing_branch(missing_branch);
        if max_leaves > 0 {
            booster.max_leaves = max_leaves;
            booster.grow_policy = GrowPolicy::LossGuide;
        }
        booster.fit_unweighted(&Matrix::new(columns, rows, FEATURES), &labels, None).unwrap();
        booster
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn predicts_what_the_library_does_bit_for_bit(
            (train, asked) in (columns(60), columns(80)),
            missing_branch: bool, max_leaves in prop_oneof![Just(0_usize), 2..9_usize], trees in 1..20_usize,
            used in 0..20_usize,
        ) {
            let mut booster = fitted(&train, missing_branch, max_leaves, trees);
            booster.prediction_iteration = (used < trees).then_some(used);
            let forest = Forest::new(&booster, FEATURES).unwrap();
            let expected = booster.predict(&Matrix::new(&asked, 80, FEATURES), false);
            for (index, expected) in expected.iter().enumerate() {
                let row: Vec<f64> = asked.iter().skip(index).step_by(80).copied().collect();
                prop_assert_eq!(forest.predict(&row).to_bits(), expected.to_bits(), "{:?}", row);
            }
        }
    }

    #[test]
    fn infinities_go_where_the_library_sends_them() {
        let columns: Vec<f64> = (0..180).map(|index| f64::from(index * 37 % 11)).collect();
        let booster = fitted(&columns, false, 0, 9);
        let forest = Forest::new(&booster, FEATURES).unwrap();
        let row = [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY];
        assert_eq!(forest.predict(&row), booster.predict(&Matrix::new(&row, 1, FEATURES), false)[0]);
        assert_eq!((forest.tree_count(), forest.feature_count()), (9, FEATURES));
    }

    /// What a model that was changed by `damage` is refused for.
    fn refusal(damage: impl FnOnce(&mut GradientBooster)) -> String {
        let columns: Vec<f64> = (0..180).map(|index| f64::from(index * 37 % 11)).collect();
        let mut booster = fitted(&columns, false, 0, 2);
        damage(&mut booster);
        Forest::new(&booster, FEATURES).unwrap_err().to_string()
    }

    #[test]
    fn refuses_trees_that_cannot_be_walked() {
        for (found, expected) in [
            (refusal(|booster| booster.trees[1].nodes[0].left_child = 0), "tree 1: node 0 has the child 0"),
            (refusal(|booster| booster.trees[0].nodes[0].right_child = 999), "tree 0: node 999 is missing"),
            (refusal(|booster| booster.trees[0].nodes[0].split_feature = 3), "node 0 asks feature 3 of 3"),
            (refusal(|booster| booster.trees[0].nodes[1].weight_value = f32::NAN), "weight of node 1 is not finite"),
            (refusal(|booster| booster.trees[0].nodes[0].split_value = f64::NAN), "split of node 0 is not finite"),
            (refusal(|booster| booster.trees[1].nodes.clear()), "tree 1: node 0 is missing"),
            (refusal(|booster| booster.prediction_iteration = Some(3)), "it has 2 trees, not 3"),
            (refusal(|booster| booster.missing = -1.0), "only squared loss with NaN"),
            (refusal(|booster| booster.base_score = f64::INFINITY), "base score is not finite"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
        // Two nodes that share children would be laid out twice, and theirs four times.
        let shared = refusal(|booster| {
            for (number, node) in booster.trees[0].nodes.iter_mut().enumerate() {
                if !node.is_leaf {
                    (node.left_child, node.right_child) = (number + 1, number + 1);
                }
            }
        });
        assert!(shared.contains("has the child"), "{shared}");
    }
}
