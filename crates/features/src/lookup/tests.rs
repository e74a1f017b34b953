use proptest::prelude::*;

use super::*;

fn ints(name: &str, keys: &[i64]) -> (String, LookupKeys) {
    (name.to_owned(), LookupKeys::Int(keys.to_vec()))
}

fn float(table: &LookupTable, column: &str) -> Vec<f64> {
    match &table.values().iter().find(|(name, _)| name == column).unwrap().1 {
        LookupValues::Float(values) => values.clone(),
        LookupValues::Int(values) => values.iter().map(|&value| value as f64).collect(),
    }
}

fn build(smoothing_rows: f64, parent_keys: usize) -> LookupBuild {
    let columns = [("mean", Statistic::Mean), ("median", Statistic::Median), ("rows", Statistic::Count)];
    LookupBuild { columns: columns.map(|(name, of)| (name.to_owned(), of)).to_vec(), smoothing_rows, parent_keys }
}

#[test]
fn bad_columns_are_told() {
    let values = |rows: usize| vec![("v".to_owned(), LookupValues::Float(vec![1.0; rows]))];
    let reason = |keys, values| LookupTable::from_columns(keys, values).unwrap_err().reason();
    assert_eq!(reason(vec![], values(0)), "lookup_columns_invalid");
    assert_eq!(reason(vec![ints("k", &[1])], vec![]), "lookup_columns_invalid");
    assert_eq!(reason((0..5).map(|i| ints(&format!("k{i}"), &[1])).collect(), values(1)), "lookup_columns_invalid");
    assert_eq!(reason(vec![ints("v", &[1])], values(1)), "lookup_columns_invalid");
    assert_eq!(reason(vec![ints("k", &[1, 2])], values(1)), "lookup_rows_differ");
    assert_eq!(reason(vec![ints("k", &[1, 2, 1])], values(3)), "lookup_keys_twice");
    let infinite = vec![("v".to_owned(), LookupValues::Float(vec![f64::INFINITY]))];
    assert_eq!(reason(vec![ints("k", &[1])], infinite), "lookup_value_infinite");
    let keys = [ints("k", &[1, 2])];
    let built = |build: LookupBuild, labels: &[f64]| build.build(&keys, labels).unwrap_err().reason();
    assert_eq!(built(build(-1.0, 0), &[1.0, 2.0]), "lookup_build_invalid");
    assert_eq!(built(build(1.0, 1), &[1.0, 2.0]), "lookup_build_invalid");
    assert_eq!(built(build(1.0, 0), &[1.0]), "lookup_rows_differ");
    assert_eq!(built(build(1.0, 0), &[1.0, f64::INFINITY]), "lookup_value_infinite");
    assert!(build(1.0, 0).build_out_of_fold(&keys, &[1.0, 2.0], &[3, 3]).is_err());
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = build(1.0, 0).build(&[ints("k", &[])], &[]).unwrap();
    assert_eq!((table.rows(), table.index().find(&[0])), (0, None));
}

/// (n·s + m·p) / (n + m), by hand: two groups of 3 and 1 labels, m = 2.
#[test]
fn smoothing_is_as_documented() {
    let keys = [ints("a", &[1, 1, 1, 2, 2]), ints("b", &[1, 1, 1, 1, 9])];
    let labels = [10.0, 20.0, 60.0, 100.0, f64::NAN];
    let table = build(2.0, 0).build(&keys, &labels).unwrap();
    // Of all: mean 47.5, median 40. The row without a label is not there.
    assert_eq!(float(&table, "mean"), [0.6 * 30.0 + 0.4 * 47.5, 1.0 / 3.0 * 100.0 + (1.0 - 1.0 / 3.0) * 47.5]);
    assert_eq!(float(&table, "median"), [0.6 * 20.0 + 0.4 * 40.0, 1.0 / 3.0 * 100.0 + (1.0 - 1.0 / 3.0) * 40.0]);
    assert_eq!(float(&table, "rows"), [3.0, 1.0]);
    // Drawn to the parent, which is itself drawn to all.
    let keys = [ints("a", &[1, 1, 1, 2]), ints("b", &[1, 1, 2, 1])];
    let table = build(1.0, 1).build(&keys, &[0.0, 4.0, 11.0, 1.0]).unwrap();
    let (all, parent) = (4.0, 0.75 * 5.0 + 0.25 * 4.0);
    let third = 2.0 / 3.0;
    assert_eq!(float(&table, "mean")[0], third * 2.0 + (1.0 - third) * parent);
    assert_eq!(float(&table, "mean")[2], 0.5 * 1.0 + 0.5 * (0.5 * 1.0 + 0.5 * all));
}

#[derive(Debug, Clone)]
struct Rows {
    zones: Vec<i64>,
    names: Vec<String>,
    flags: Vec<bool>,
    labels: Vec<f64>,
    folds: Vec<u32>,
}

impl Rows {
    fn keys(&self) -> Vec<(String, LookupKeys)> {
        vec![
            ("zone".to_owned(), LookupKeys::Int(self.zones.clone())),
            ("name".to_owned(), LookupKeys::String(self.names.clone())),
            ("flag".to_owned(), LookupKeys::Bool(self.flags.clone())),
        ]
    }

    fn ordered(&self, order: &[usize]) -> Self {
        Self {
            zones: order.iter().map(|&row| self.zones[row]).collect(),
            names: order.iter().map(|&row| self.names[row].clone()).collect(),
            flags: order.iter().map(|&row| self.flags[row]).collect(),
            labels: order.iter().map(|&row| self.labels[row]).collect(),
            folds: order.iter().map(|&row| self.folds[row]).collect(),
        }
    }

    fn filtered(&self, wanted: impl Fn(usize) -> bool) -> Self {
        self.ordered(&(0..self.labels.len()).filter(|&row| wanted(row)).collect::<Vec<_>>())
    }

    fn same_key(&self, a: usize, b: usize) -> bool {
        self.zones[a] == self.zones[b] && self.names[a] == self.names[b] && self.flags[a] == self.flags[b]
    }
}

fn rows() -> impl Strategy<Value = (Rows, Vec<usize>)> {
    let row = (-2i64..3, "[ab]{0,2}", any::<bool>(), prop::option::weighted(0.9, -1e3..1e3f64), 0u32..3);
    prop::collection::vec(row, 2..60).prop_flat_map(|rows| {
        let mut all = Rows { zones: vec![], names: vec![], flags: vec![], labels: vec![], folds: vec![] };
        for (zone, name, flag, label, fold) in rows {
            all.zones.push(zone);
            all.names.push(name);
            all.flags.push(flag);
            all.labels.push(label.unwrap_or(f64::NAN));
            all.folds.push(fold);
        }
        // Two folds there are.
        (all.folds[0], all.folds[1]) = (0, 1);
        let order: Vec<usize> = (0..all.labels.len()).collect();
        (Just(all), Just(order).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_rows_does_not_show((rows, order) in rows(), m in 0.0..50.0f64, parent_keys in 0usize..3) {
        let shuffled = rows.ordered(&order);
        let build = build(m, parent_keys);
        let table = build.build(&rows.keys(), &rows.labels).unwrap();
        let again = build.build(&shuffled.keys(), &shuffled.labels).unwrap();
        prop_assert_eq!(table.to_bytes(), again.to_bytes());
        prop_assert_eq!(table.sha256(), again.sha256());
        let same = LookupTable::from_columns(table.keys().to_vec(), table.values().to_vec()).unwrap();
        prop_assert_eq!(same.to_bytes(), table.to_bytes());
    }

    /// Every group is found at its row, by the index as by a search; what is not there is not found.
    #[test]
    fn the_index_finds_exactly_the_rows((rows, _) in rows(), zone in -3i64..4, name in "[abc]{0,2}", flag: bool) {
        let table = build(0.0, 0).build(&rows.keys(), &rows.labels).unwrap();
        let [(_, LookupKeys::Int(zones)), (_, LookupKeys::String(names)), (_, LookupKeys::Bool(flags))] = table.keys() else {
            panic!("{:?}", table.keys())
        };
        let find = |zone: i64, name: &str, flag: bool| {
            let name = table.index().text_word(1, name)?;
            table.index().find(&[zone as u64, name, u64::from(flag)])
        };
        for row in 0..table.rows() {
            prop_assert_eq!(find(zones[row], &names[row], flags[row]), Some(row));
        }
        let slowly = (0..table.rows()).find(|&row| zones[row] == zone && names[row] == name && flags[row] == flag);
        prop_assert_eq!(find(zone, &name, flag), slowly);
    }

    /// No smoothing gives a group's own mean, endless smoothing the prior; in between, a value between the two.
    #[test]
    fn smoothing_goes_from_the_own_value_to_the_prior((rows, _) in rows(), m in 0.1..100.0f64) {
        let of = |m: f64| float(&build(m, 0).build(&rows.keys(), &rows.labels).unwrap(), "mean");
        let (own, between, endless) = (of(0.0), of(m), of(1e18));
        let known: Vec<f64> = rows.labels.iter().copied().filter(|label| !label.is_nan()).collect();
        let prior = known.iter().sum::<f64>() / known.len() as f64;
        for ((own, between), endless) in own.iter().zip(&between).zip(&endless) {
            prop_assert!((endless - prior).abs() < 1e-6, "{} {}", endless, prior);
            let (low, high) = (own.min(prior) - 1e-9, own.max(prior) + 1e-9);
            prop_assert!((low..=high).contains(between));
        }
    }

    /// A fold's table is the table of the other folds' rows: its labels can be anything and nothing changes.
    #[test]
    fn a_fold_never_sees_its_own_labels((rows, _) in rows(), m in 0.0..50.0f64, noise in 1.0..1e6f64) {
        let build = build(m, 1);
        let folded = build.build_out_of_fold(&rows.keys(), &rows.labels, &rows.folds).unwrap();
        prop_assert_eq!(&folded.all, &build.build(&rows.keys(), &rows.labels).unwrap());
        for (fold, table) in &folded.without {
            let others = rows.filtered(|row| rows.folds[row] != *fold);
            prop_assert_eq!(table, &build.build(&others.keys(), &others.labels).unwrap());
            let mut noisy = rows.clone();
            for (label, row_fold) in noisy.labels.iter_mut().zip(&rows.folds) {
                if row_fold == fold {
                    *label += noise;
                }
            }
            let again = build.build_out_of_fold(&noisy.keys(), &noisy.labels, &noisy.folds).unwrap();
            prop_assert_eq!(table, &again.without.iter().find(|(other, _)| other == fold).unwrap().1);
        }
    }

    /// Counts are of the labels that are there.
    #[test]
    fn counts_are_of_known_labels((rows, _) in rows()) {
        let table = build(3.0, 0).build(&rows.keys(), &rows.labels).unwrap();
        let known: Vec<usize> = (0..rows.labels.len()).filter(|&row| !rows.labels[row].is_nan()).collect();
        prop_assert_eq!(float(&table, "rows").iter().sum::<f64>(), known.len() as f64);
        let groups = known.iter().filter(|&&a| !known.iter().any(|&b| b < a && rows.same_key(a, b))).count();
        prop_assert_eq!(table.rows(), groups);
    }

    /// One table of both: its own values are those of all rows, each fold's those of the others, and the hash is of all of them.
    #[test]
    fn a_table_brings_its_folds((rows, _) in rows(), m in 0.0..50.0f64) {
        let build = build(m, 0);
        let folded = build.build_out_of_fold(&rows.keys(), &rows.labels, &rows.folds).unwrap();
        let (all, without) = (folded.all.clone(), folded.without.clone());
        let table = folded.clone().into_table("fold".to_owned()).unwrap();
        prop_assert_eq!(table.keys(), all.keys());
        prop_assert_ne!(table.sha256(), all.sha256());
        let other = folded.into_table("other".to_owned()).unwrap();
        prop_assert_ne!(table.sha256(), other.sha256());
        let folds = table.folds().unwrap().table();
        prop_assert_eq!(folds.rows(), without.iter().map(|(_, table)| table.rows()).sum::<usize>());
        let LookupKeys::Int(numbers) = &folds.keys()[0].1 else { panic!("{:?}", folds.keys()) };
        for (fold, table) in &without {
            let of_fold: Vec<usize> = (0..folds.rows()).filter(|&row| numbers[row] == i64::from(*fold)).collect();
            let own: Vec<f64> = of_fold.iter().map(|&row| float(folds, "mean")[row]).collect();
            prop_assert_eq!(own, float(table, "mean"));
            prop_assert_eq!(&folds.keys()[1].1.taken(&of_fold), &table.keys()[0].1);
        }
    }
}

#[test]
fn folds_that_are_not_of_the_table_are_refused() {
    let values = |name: &str| vec![(name.to_owned(), LookupValues::Float(vec![1.0]))];
    let table = || LookupTable::from_columns(vec![ints("k", &[1])], values("v")).unwrap();
    let reason = |keys, values| table().with_folds("f".to_owned(), keys, values).unwrap_err().reason();
    assert_eq!(reason(vec![ints("k", &[1])], values("v")), "lookup_folds_invalid");
    assert_eq!(reason(vec![ints(FOLD_COLUMN, &[0]), ints("other", &[1])], values("v")), "lookup_folds_invalid");
    assert_eq!(reason(vec![ints(FOLD_COLUMN, &[0]), ints("k", &[1])], values("w")), "lookup_folds_invalid");
    let four = (0..4).map(|i| ints(&format!("k{i}"), &[1])).collect();
    let four = LookupTable::from_columns(four, values("v")).unwrap();
    assert_eq!(four.with_folds("f".to_owned(), vec![], vec![]).unwrap_err().reason(), "lookup_folds_invalid");
}
