//! How far what comes now is from what a model was trained on: binned counts against a baseline, column by column.

use serde::{Deserialize, Serialize};

use super::{
    DATASET_DRIFT_SHARE, PsiBins,
    baseline::{Bins, ColumnBaseline, ColumnCounts, FeatureCounts, LABEL, TrainingBaseline},
    jensen_shannon_distance, kolmogorov_limit_sf,
};

/// Fewer rows say nothing.
pub const MIN_ROWS: u64 = 100;
/// PSI, Kolmogorov–Smirnov, Jensen–Shannon and Wasserstein in standard deviations: from here it is drift, beyond what
/// chance does to so many rows.
pub(super) const DISTANCE: f64 = 0.1;
/// The share of rows that turn missing, or lie outside of what training saw, from which it is drift.
const SHARE: f64 = 0.01;
/// A value is gone where so many rows of it were to be expected and none came (e⁻²⁰).
const GONE_EXPECTED: f64 = 20.0;
/// A value of less than this share of training is taken together with the other rare ones.
const RARE: f64 = 0.01;
/// Standard errors beyond which chance is not believed: many columns are looked at, every hour.
pub(super) const SIGMAS: f64 = 5.0;

/// Why a column drifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftReason {
    /// More, or fewer, rows have no value.
    Missing,
    /// Values outside the range of training, or that it never saw.
    OutOfRange,
    /// A value that was common in training does not come any more.
    Gone,
    /// The population stability index.
    Psi,
    /// The Kolmogorov–Smirnov distance.
    KolmogorovSmirnov,
    /// The Jensen–Shannon distance.
    JensenShannon,
    /// The Wasserstein distance.
    Wasserstein,
}

/// One column against training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The feature's name; `(label)` for the label.
    pub name: String,
    /// Rows, with and without a value.
    pub rows: u64,
    /// The share of them without a value, 0–1.
    pub missing_share: f64,
    /// Rows in training, with and without a value.
    #[serde(default)]
    pub training_rows: u64,
    /// The same in training.
    pub training_missing_share: f64,
    /// The share of values outside the range of training, or that it never saw, 0–1.
    pub out_of_range_share: f64,
    /// The population stability index over about ten bins (or the common values), and those outside.
    pub psi: f64,
    /// The greatest difference of the distributions, at the bins' edges.
    pub kolmogorov_smirnov: f64,
    /// Its p-value (the limit distribution; conservative, since only edges are looked at).
    pub kolmogorov_smirnov_p: f64,
    /// The Jensen–Shannon distance over the same bins as PSI, natural logarithm.
    pub jensen_shannon: f64,
    /// The Wasserstein distance in standard deviations of training (0.001 at least). Values outside count as at the edge.
    pub wasserstein: f64,
    /// Common values of training that do not come any more (the first ten).
    pub gone: Vec<f64>,
    /// Why it drifts; empty: it does not.
    pub reasons: Vec<DriftReason>,
    /// Shares of training by the bins of PSI, and of now: for a small drawing.
    pub training_shares: Vec<f64>,
    /// See `training_shares`.
    pub shares: Vec<f64>,
}

/// All columns against training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows: dispatched cars that arrived, as in training.
    pub rows: u64,
    /// Rows of training.
    pub training_rows: u64,
    /// The columns, those that drift first.
    pub columns: Vec<ColumnDrift>,
    /// Whether half of the features drift: the data set as a whole does.
    pub dataset_drift: bool,
}

impl DriftReport {
    /// Compares; `None` below [`MIN_ROWS`] rows.
    pub fn new(baseline: &TrainingBaseline, counts: &FeatureCounts) -> Option<Self> {
        let rows = counts.columns.iter().map(|column| column.present() + column.missing).max()?;
        if rows < MIN_ROWS {
            return None;
        }
        let mut columns: Vec<ColumnDrift> =
            baseline.columns.iter().zip(&counts.columns).map(|(column, counts)| compare(column, counts)).collect();
        let features = columns.iter().filter(|column| column.name != LABEL);
        let drifted = features.clone().filter(|column| !column.reasons.is_empty()).count();
        let dataset_drift = drifted as f64 >= DATASET_DRIFT_SHARE * features.count() as f64 && drifted > 0;
        columns.sort_by(|a, b| a.reasons.is_empty().cmp(&b.reasons.is_empty()).then_with(|| b.psi.total_cmp(&a.psi)));
        Some(Self { rows, training_rows: baseline.rows, columns, dataset_drift })
    }

    /// The names of the columns that drift, the features before the label.
    pub fn drifted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .columns
            .iter()
            .filter(|column| !column.reasons.is_empty())
            .map(|column| column.name.as_str())
            .collect();
        names.sort_by_key(|name| *name == LABEL);
        names
    }
}

pub(super) fn compare(column: &ColumnBaseline, counts: &ColumnCounts) -> ColumnDrift {
    let (present, trained) = (counts.present(), column.counts.iter().sum::<u64>());
    let (rows, training_rows) = (present + counts.missing, trained + column.missing);
    let of = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let mut drift = ColumnDrift {
        name: column.name.clone(),
        rows,
        missing_share: of(counts.missing, rows),
        training_rows,
        training_missing_share: of(column.missing, training_rows),
        out_of_range_share: of(counts.unexpected, present),
        psi: 0.0,
        kolmogorov_smirnov: 0.0,
        kolmogorov_smirnov_p: 1.0,
        jensen_shannon: 0.0,
        wasserstein: 0.0,
        gone: Vec::new(),
        reasons: Vec::new(),
        training_shares: Vec::new(),
        shares: Vec::new(),
    };
    let pooled = of(counts.missing + column.missing, rows + training_rows);
    let missing_error =
        (pooled * (1.0 - pooled) * (1.0 / rows.max(1) as f64 + 1.0 / training_rows.max(1) as f64)).sqrt();
    let missing_moved = (drift.missing_share - drift.training_missing_share).abs();
    if rows >= MIN_ROWS && missing_moved >= SHARE && missing_moved > SIGMAS * missing_error {
        drift.reasons.push(DriftReason::Missing);
    }
    if let Some(bins) = column.bins.as_ref().filter(|_| present >= MIN_ROWS) {
        distances(&mut drift, column, bins, counts, [trained as f64, present as f64]);
    }
    // A share x of all values lies beyond the range of so many with a probability of e^(−trained·x).
    if present >= MIN_ROWS && drift.out_of_range_share >= SHARE + GONE_EXPECTED / trained.max(1) as f64 {
        drift.reasons.insert(0, DriftReason::OutOfRange);
    }
    drift
}

fn distances(
    drift: &mut ColumnDrift,
    column: &ColumnBaseline,
    bins: &Bins,
    counts: &ColumnCounts,
    [trained, present]: [f64; 2],
) {
    let shares = |counts: &[u64], n: f64| counts.iter().map(|count| *count as f64 / n).collect::<Vec<f64>>();
    let (before, now) = (shares(&column.counts, trained), shares(&counts.bins, present));
    drift.out_of_range_share = bins.outside().map(|bin| now[bin]).sum();
    let groups = groups(bins, &before);
    let grouped = |shares: &[f64]| -> Vec<f64> {
        groups.iter().map(|group| group.iter().map(|bin| shares[*bin]).sum()).collect()
    };
    drift.training_shares = grouped(&before);
    drift.shares = grouped(&now);
    drift.psi = PsiBins::psi(&drift.training_shares, &drift.shares);
    drift.jensen_shannon = jensen_shannon_distance(&drift.training_shares, &drift.shares);
    (drift.kolmogorov_smirnov, drift.wasserstein) = cumulative(bins, &before, &now);
    drift.wasserstein /= column.deviation.max(0.001);
    // What chance does to so many rows. PSI, and eight times the Jensen–Shannon divergence, are χ² over this number.
    let effective = 1.0 / (1.0 / trained + 1.0 / present);
    drift.kolmogorov_smirnov_p = kolmogorov_limit_sf(drift.kolmogorov_smirnov * effective.sqrt());
    let degrees = groups.len().saturating_sub(1) as f64;
    let chance = (degrees + SIGMAS * (2.0 * degrees).sqrt()) / effective;
    if let Bins::Values { values } = bins {
        let is_gone = |(share, count): (&f64, &u64)| *count == 0 && share * present >= GONE_EXPECTED;
        let pairs = values.iter().zip(before.iter().zip(&counts.bins));
        drift.gone = pairs.filter(|(_, pair)| is_gone(*pair)).map(|(value, _)| *value).take(10).collect();
    }
    let found = [
        (DriftReason::Gone, !drift.gone.is_empty()),
        (DriftReason::Psi, drift.psi >= DISTANCE + chance),
        (DriftReason::KolmogorovSmirnov, drift.kolmogorov_smirnov >= DISTANCE + 2.0 / effective.sqrt()),
        (DriftReason::JensenShannon, drift.jensen_shannon >= (DISTANCE.powi(2) + chance / 8.0).sqrt()),
        (DriftReason::Wasserstein, drift.wasserstein >= DISTANCE + SIGMAS / effective.sqrt()),
    ];
    drift.reasons.extend(found.into_iter().filter(|(_, is_found)| *is_found).map(|(reason, _)| reason));
}

/// Bins taken together for PSI and Jensen–Shannon: about deciles of training and those outside; or each common value, the
/// rare ones, and those never seen.
fn groups(bins: &Bins, before: &[f64]) -> Vec<Vec<usize>> {
    let outside: Vec<usize> = bins.outside().collect();
    let inside = (0..before.len()).filter(|bin| !outside.contains(bin));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    match bins {
        Bins::Values { .. } => {
            let (common, rare): (Vec<usize>, Vec<usize>) = inside.partition(|bin| before[*bin] >= RARE);
            groups.extend(common.into_iter().map(|bin| vec![bin]));
            groups.extend((!rare.is_empty()).then_some(rare));
        }
        Bins::Ranges { .. } => {
            let (mut group, mut share) = (Vec::new(), 0.0);
            for bin in inside {
                group.push(bin);
                share += before[bin];
                if share >= 0.1 - 1e-9 {
                    groups.push(std::mem::take(&mut group));
                    share = 0.0;
                }
            }
            match groups.last_mut() {
                Some(last) => last.append(&mut group),
                None => groups.push(group),
            }
            groups.insert(0, vec![0]);
        }
    }
    groups.push(vec![before.len() - 1]);
    groups
}

/// The greatest difference of the two distribution functions, and the area between them.
fn cumulative(bins: &Bins, before: &[f64], now: &[f64]) -> (f64, f64) {
    let mut difference = 0.0;
    let (mut greatest, mut area) = (0.0_f64, 0.0);
    match bins {
        Bins::Values { values } => {
            // Where the values lie that were never seen is not known: they are left out here, and told by themselves.
            let known: f64 = now[..values.len()].iter().sum();
            if known <= 0.0 {
                return (1.0, 0.0);
            }
            for (index, value) in values.iter().enumerate() {
                difference += before[index] - now[index] / known;
                greatest = greatest.max(difference.abs());
                area += values.get(index + 1).map_or(0.0, |next| difference.abs() * (next - value));
            }
        }
        Bins::Ranges { edges } => {
            for (index, edge) in edges.iter().enumerate() {
                let from = difference + before[index] - now[index];
                greatest = greatest.max(from.abs());
                difference = from;
                if let Some(next) = edges.get(index + 1) {
                    let until = from + before[index + 1] - now[index + 1];
                    area += f64::midpoint(from.abs(), until.abs()) * (next - edge);
                }
            }
        }
    }
    (greatest, area)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn count(baseline: &TrainingBaseline, columns: &[Vec<f64>], label: &[f64]) -> FeatureCounts {
        let mut counts = FeatureCounts::new(baseline);
        for (row, label) in label.iter().enumerate() {
            counts.add(baseline, columns.iter().map(|column| Some(column[row])), Some(*label));
        }
        counts
    }

    /// A distance, a zone of 60 with unequal shares, a constant, a column that training has not, and the label.
    fn rows(seed: u64, n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let distance: Vec<f64> = (0..n).map(|_| -1000.0 * (1.0 - random.random::<f64>()).ln()).collect();
        let zone = (0..n).map(|_| (random.random::<f64>().powi(2) * 60.0).floor()).collect();
        let label = distance.iter().map(|m| 60.0 + m / 5.0 * (0.7 + 0.6 * random.random::<f64>())).collect();
        (vec![distance, zone, vec![5.0; n], vec![f64::NAN; n]], label)
    }

    fn baseline() -> TrainingBaseline {
        let (columns, label) = rows(1, 20_000);
        let names = ["distance", "zone", "constant", "snow"];
        let baseline = TrainingBaseline::of("h", names.into_iter().zip(columns.iter().map(Vec::as_slice)), &label);
        TrainingBaseline::from_json(&baseline.to_json()).unwrap()
    }

    fn reasons(change: impl Fn(&mut Vec<Vec<f64>>, &mut Vec<f64>)) -> Vec<(String, Vec<DriftReason>)> {
        let baseline = baseline();
        let (mut columns, mut label) = rows(2, 3_000);
        change(&mut columns, &mut label);
        let report = DriftReport::new(&baseline, &count(&baseline, &columns, &label)).unwrap();
        let drifted = report.columns.into_iter().filter(|column| !column.reasons.is_empty());
        drifted.map(|column| (column.name, column.reasons)).collect()
    }

    #[test]
    fn nothing_is_raised_where_nothing_changed() {
        let baseline = baseline();
        for seed in 10..60 {
            let (columns, label) = rows(seed, 200 + 100 * (seed as usize % 20));
            let report = DriftReport::new(&baseline, &count(&baseline, &columns, &label)).unwrap();
            assert_eq!(report.drifted(), Vec::<&str>::new(), "{report:?}");
        }
        let (columns, label) = rows(3, 99);
        assert_eq!(DriftReport::new(&baseline, &count(&baseline, &columns, &label)), None, "too few rows");
    }

    #[test]
    fn what_changed_is_named_with_its_reason() {
        let slower = reasons(|_, label| label.iter_mut().for_each(|s| *s *= 1.3));
        assert!(
            slower.len() == 1 && slower[0].0 == LABEL && slower[0].1.contains(&DriftReason::Wasserstein),
            "{slower:?}"
        );
        let constant = reasons(|columns, _| columns[2].fill(6.0));
        assert_eq!(constant[0].0, "constant");
        assert!(constant[0].1.contains(&DriftReason::OutOfRange) && constant.len() == 1, "{constant:?}");
        let closed =
            reasons(|columns, _| columns[1].iter_mut().for_each(|zone| *zone = if *zone == 3.0 { 4.0 } else { *zone }));
        assert!(closed.len() == 1 && closed[0].0 == "zone" && closed[0].1.contains(&DriftReason::Gone), "{closed:?}");
        let broken = reasons(|columns, _| columns[0].iter_mut().step_by(4).for_each(|m| *m = f64::NAN));
        assert_eq!(broken, [("distance".to_owned(), vec![DriftReason::Missing])]);
        let kilometres = reasons(|columns, _| columns[0].iter_mut().for_each(|m| *m /= 1000.0));
        assert!(kilometres[0].1.contains(&DriftReason::KolmogorovSmirnov), "{kilometres:?}");
        let appeared = reasons(|columns, _| columns[3].fill(1.0));
        assert_eq!(appeared[0].0, "snow");
    }

    #[test]
    fn distances_are_those_of_the_samples_where_each_value_is_a_bin() {
        let (before, now): (Vec<f64>, Vec<f64>) =
            ((0..4000).map(|i| f64::from(i % 10)).collect(), (0..2000).map(|i| f64::from(i % 8)).collect());
        let baseline = TrainingBaseline::of("h", [("x", before.as_slice())], &vec![1.0; 4000]);
        let report =
            DriftReport::new(&baseline, &count(&baseline, std::slice::from_ref(&now), &vec![1.0; 2000])).unwrap();
        let drift = report.columns.iter().find(|column| column.name == "x").unwrap();
        let samples = super::super::NumericDrift::of(&before, &now).unwrap();
        assert!((drift.kolmogorov_smirnov - samples.ks.statistic).abs() < 1e-12);
        assert!((drift.wasserstein - samples.wasserstein_normed).abs() < 1e-9);
        assert!((drift.jensen_shannon - samples.jensen_shannon).abs() < 1e-9);
    }

    static BASELINE: std::sync::LazyLock<TrainingBaseline> = std::sync::LazyLock::new(baseline);

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn merging_is_adding(values in prop::collection::vec(prop_oneof![Just(f64::NAN), -5.0..5.0f64, Just(2.0)], 1..60), cut: prop::sample::Index) {
            let baseline = &*BASELINE;
            let columns = |values: &[f64]| vec![values.to_vec(); 4];
            let (left, right) = values.split_at(cut.index(values.len()));
            let of = |values: &[f64]| count(baseline, &columns(values), values);
            let mut merged = of(right);
            merged.merge(&serde_json::from_str(&serde_json::to_string(&of(left)).unwrap()).unwrap());
            prop_assert_eq!(merged, of(&values));
        }

        #[test]
        fn every_value_has_one_bin(mut edges in prop::collection::vec(-100i32..100, 2..20), value in -120i32..120) {
            edges.sort_unstable();
            edges.dedup();
            prop_assume!(edges.len() > 1);
            let edges: Vec<f64> = edges.into_iter().map(f64::from).collect();
            let bins = Bins::Ranges { edges: edges.clone() };
            let (bin, value) = (bins.of(f64::from(value)), f64::from(value));
            let (first, last) = (edges[0], edges[edges.len() - 1]);
            prop_assert_eq!(bin == 0, value < first);
            prop_assert_eq!(bin == bins.len() - 1, value > last);
            if (first..=last).contains(&value) {
                prop_assert!(edges[bin - 1] <= value && value <= edges[bin]);
            }
        }
    }
}
