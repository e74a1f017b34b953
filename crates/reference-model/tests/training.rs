//! `train`, from SageMaker's folders to the model's files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{fmt::Write, fs};

use common::{FEATURES, Job, csv};
use forust_ml::{GradientBooster, Matrix};
use reference_model::{Channel, Hyperparameters, Metrics, Model, TargetTransform};
use serde_json::{Value, json};

/// The errors of always predicting the mean of the labels.
fn mean_predictor(channel: &Channel) -> Metrics {
    let mean = channel.labels.iter().sum::<f64>() / channel.labels.len() as f64;
    Metrics::of(channel.labels.iter().map(|label| (mean, *label)))
}

#[test]
fn beats_the_mean_by_a_wide_margin_on_unseen_rows() {
    let job = Job::small();
    let (trained, log) = job.train();
    let metadata = trained.unwrap();
    let validation = metadata.validation.unwrap();
    let folder = job.folders.channel("validation");
    let channel = Channel::read(&folder, Some(FEATURES), &Hyperparameters::default(), |_| {}).unwrap();
    let naive = mean_predictor(&channel);
    assert!(validation.metrics.mae < naive.mae / 5.0, "{:?} against {naive:?}", validation.metrics);
    assert!(validation.metrics.rmse < naive.rmse / 5.0, "{:?} against {naive:?}", validation.metrics);
    assert_eq!((metadata.train.rows, validation.rows, metadata.tree_count), (1_000, 300, 20));
    assert_eq!(metadata.feature_count, FEATURES);

    // SageMaker finds metrics by a regular expression such as `validation:mae=([0-9.eE+-]+);`.
    let after = log.split("validation:mae=").nth(1).unwrap();
    assert_eq!(after.split(';').next().unwrap().parse(), Ok(validation.metrics.mae));
    assert!(log.contains("train:rmse=") && log.contains("train: 1000 rows of 8 features, 0 left out"), "{log}");
    assert!(!job.folders.failure().exists());
}

#[test]
fn the_model_file_is_the_librarys_own() {
    let job = Job::small();
    let metadata = job.train().0.unwrap();
    let [model, _] = job.model_files();
    let booster = GradientBooster::from_json(std::str::from_utf8(&model).unwrap()).unwrap();
    let channel = Channel::read(&job.folders.channel("train"), None, &Hyperparameters::default(), |_| {}).unwrap();
    let expected = booster.predict(&Matrix::new(&channel.columns, channel.labels.len(), FEATURES), false);

    let loaded = Model::load(&job.folders.model()).unwrap();
    let mut row = Vec::new();
    for (index, expected) in expected.iter().enumerate() {
        channel.copy_row(index, &mut row);
        assert_eq!(loaded.predict_row(&row).to_bits(), expected.to_bits());
    }
    let metrics = Metrics::of(expected.into_iter().zip(channel.labels));
    assert_eq!(metrics, metadata.train.metrics);
}

#[test]
fn the_same_bytes_twice_and_with_any_number_of_threads() {
    let files = |nthread: &str, seed: &str| {
        let hyperparameters = json!({
            "num_round": "6", "max_leaves": "8", "subsample": "0.7", "colsample_bytree": "0.6", "seed": seed,
            "nthread": nthread, "quantiles": "0.1,0.9",
        });
        let job = Job::new(&hyperparameters, &[("train", &csv(3, 400)), ("validation", &csv(4, 100))]);
        job.train().0.unwrap();
        job.model_files()
    };
    let first = files("2", "7");
    assert!(first == files("2", "7"), "a second run differs");
    assert!(first == files("1", "7"), "one thread gives other bytes than two");
    assert!(first[0] != files("2", "8")[0], "the seed has no effect");
}

/// Log-normal durations around a median that the feature tells: the mean lies far above the median.
fn skewed(seed: u64) -> String {
    let mut uniform = common::Uniform(seed);
    let mut text = String::new();
    for _ in 0..1_500 {
        let [x, u, v] = [(); 3].map(|()| uniform.next().unwrap());
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        writeln!(text, "{},{x}", 300.0 * (1.0 + x) * (0.9 * normal).exp()).unwrap();
    }
    text
}

#[test]
fn a_compressed_target_lowers_the_absolute_error_of_a_skewed_label() {
    let mae = |transform: TargetTransform| {
        let hyperparameters = json!({"num_round": "15", "eta": "0.3", "max_depth": "3", "min_leaf_weight": "50",
            "target_transform": transform});
        let job = Job::new(&hyperparameters, &[("train", &skewed(1)), ("validation", &skewed(2))]);
        let metadata = job.train().0.unwrap();
        assert_eq!(metadata.hyperparameters.target_transform, transform);
        metadata.validation.unwrap().metrics.mae
    };
    let plain = mae(TargetTransform::None);
    for transform in [TargetTransform::Log1p, TargetTransform::Sqrt] {
        assert!(mae(transform) < 0.95 * plain, "{transform:?}: {} against {plain}", mae(transform));
    }
}

#[test]
fn early_stopping_keeps_the_best_number_of_trees() {
    // Labels that no feature explains: more trees only fit the noise.
    let noise = |seed, rows| {
        let mut uniform = common::Uniform(seed);
        let mut row = || format!("{},{}\n", uniform.next().unwrap(), uniform.next().unwrap());
        (0..rows).map(|_| row()).collect::<String>()
    };
    let hyperparameters = json!({"num_round": "60", "eta": "0.5", "early_stopping_rounds": "3"});
    let job = Job::new(&hyperparameters, &[("train", &noise(1, 300)), ("validation", &noise(2, 300))]);
    let metadata = job.train().0.unwrap();
    assert!(metadata.tree_count < 30, "{} trees", metadata.tree_count);
    let booster = GradientBooster::from_json(&String::from_utf8(job.model_files()[0].clone()).unwrap()).unwrap();
    assert_eq!(booster.trees.len(), metadata.tree_count);
    assert_eq!(Model::load(&job.folders.model()).unwrap().tree_count(), metadata.tree_count);
}

/// Trains on `train` and expects it to fail; the failure file's text.
fn failure(hyperparameters: &serde_json::Value, channels: &[(&str, &str)]) -> String {
    let job = Job::new(hyperparameters, channels);
    let error = job.train().0.unwrap_err();
    let failure = fs::read_to_string(job.folders.failure()).unwrap();
    assert!(failure.starts_with(error.reason()), "{failure}");
    assert!(!job.folders.model().join("model.json").exists());
    failure
}

#[test]
fn failures_are_written_with_their_reason() {
    let rows = csv(1, 50);
    let none = json!({});
    let empty = failure(&none, &[("train", "\n")]);
    assert!(empty.starts_with("empty_channel: there is no row to read in"), "{empty}");
    let absent = failure(&none, &[("test", &rows)]);
    assert!(absent.starts_with("file_error: cannot list"), "{absent}");
    let unknown = failure(&json!({"depth": "3"}), &[("train", &rows)]);
    assert!(unknown.contains("`depth` is not known; the known ones are num_round, eta, max_depth"), "{unknown}");
    let stopping = failure(&json!({"early_stopping_rounds": "3"}), &[("train", &rows)]);
    assert!(stopping.contains("`early_stopping_rounds`: it needs a validation channel"), "{stopping}");
    let columns = failure(&json!({"colsample_bytree": "0.1"}), &[("train", &rows)]);
    assert!(columns.contains("`colsample_bytree`: it leaves no feature"), "{columns}");
    let narrow = failure(&none, &[("train", &rows), ("validation", "1,2\n")]);
    assert!(narrow.contains("1 of 1 rows of the channel `validation` are bad"), "{narrow}");
    assert!(narrow.contains("data.csv, line 1 (byte 0): 1 features after the label where 8 are expected"), "{narrow}");
    let log = failure(&json!({"target_transform": "log1p"}), &[("train", "-3,1\n-2,2\n")]);
    assert!(log.contains("the target transform is not defined for the label -3"), "{log}");
    // Labels whose squares overflow end in leaves that are no numbers.
    let huge = failure(&none, &[("train", "1e308,1\n-1e308,2\n1e308,3\n")]);
    assert!(huge.starts_with("training_failed"), "{huge}");
}

#[test]
fn a_later_success_clears_the_failure() {
    let job = Job::small();
    fs::create_dir_all(job.folders.failure().parent().unwrap()).unwrap();
    fs::write(job.folders.failure(), "of a run before").unwrap();
    job.train().0.unwrap();
    assert!(!job.folders.failure().exists());
}

#[test]
fn some_bad_rows_are_reported_and_left_out() {
    let rows = csv(1, 300) + "oops,1,2,3,4,5,6,7,8\n" + &csv(2, 300);
    let job = Job::new(&json!({"num_round": "3"}), &[("train", &rows)]);
    let (trained, log) = job.train();
    let metadata = trained.unwrap();
    assert_eq!((metadata.train.rows, metadata.train.bad_rows), (600, 1));
    let offset = rows.find("oops").unwrap();
    let expected =
        format!("train: left out data.csv, line 301 (byte {offset}): column 1: `oops` is not a finite number");
    assert!(log.contains(&expected), "{log}");
    assert_eq!(metadata.validation, None);
}

#[test]
fn a_damaged_model_is_not_served() {
    let job = Job::small();
    job.train().0.unwrap();
    let path = job.folders.model().join("model.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"split_feature\":1", "\"split_feature\":2", 1)).unwrap();
    let error = Model::load(&job.folders.model()).unwrap_err();
    assert_eq!(error.reason(), "damaged_model");
    assert!(error.to_string().contains("it is not the file that metadata.json was written for"), "{error}");
    fs::remove_file(&path).unwrap();
    assert_eq!(Model::load(&job.folders.model()).unwrap_err().reason(), "file_error");
}

#[test]
fn metrics_are_a_file_and_lines_that_sagemaker_reads() {
    let hyperparameters = json!({"num_round": "30", "eta": "0.3", "eval_metric": "mae", "early_stopping_rounds": "5"});
    let job = Job::new(&hyperparameters, &[("train", &csv(1, 1_000)), ("validation", &csv(2, 300))]);
    let (trained, log) = job.train();
    let metadata = trained.unwrap();
    let text = fs::read_to_string(job.base.path().join("output/data/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&metrics["eval_metric"], &metrics["tree_count"]), (&json!("mae"), &json!(metadata.tree_count)));
    assert_eq!(metrics["validation"]["mae"], json!(metadata.validation.unwrap().metrics.mae));
    assert!(metrics["fit_s"].as_f64().unwrap() > 0.0);
    // The best round is the one that answers, and its figure is the final one: in the label's unit.
    let rounds = metrics["rounds"].as_array().unwrap();
    let least =
        rounds.iter().min_by(|a, b| a["validation"].as_f64().unwrap().total_cmp(&b["validation"].as_f64().unwrap()));
    assert_eq!(least.unwrap()["trees"], json!(metadata.tree_count));
    let (best, last) = (least.unwrap()["validation"].as_f64().unwrap(), metadata.validation.unwrap().metrics.mae);
    assert!((best - last).abs() < 1e-6, "{best} and {last}");
    // A curve, and the final figure last: what `validation:mae=([0-9.eE+-]+);` finds.
    let curve: Vec<f64> =
        log.split("validation:mae=").skip(1).map(|rest| rest.split(';').next().unwrap().parse().unwrap()).collect();
    assert!(curve.len() > 5 && curve[0] > 3.0 * last, "{curve:?}");
    assert_eq!(curve.last(), Some(&last));
}

#[test]
fn quantiles_are_learnt_beside_the_prediction() {
    let plain = Job::small();
    let prediction = plain.train().0.unwrap();
    let hyperparameters = json!({"num_round": "20", "eta": "0.3", "max_depth": "4", "quantiles": "0.1,0.9"});
    let job = Job::new(&hyperparameters, &[("train", &csv(1, 1_000)), ("validation", &csv(2, 300))]);
    let (trained, log) = job.train();
    let metadata = trained.unwrap();
    // The prediction is what it is without them.
    assert_eq!(metadata.model_sha256, prediction.model_sha256);
    assert_eq!(metadata.quantiles.iter().map(|model| model.quantile).collect::<Vec<_>>(), [0.1, 0.9]);
    for model in &metadata.quantiles {
        let share = model.validation_share.unwrap();
        assert!((share - model.quantile).abs() < 0.12, "{share} of the labels are not above {}", model.quantile);
        assert!(log.contains(&format!("validation:share_below_q{}={share};", model.quantile)), "{log}");
    }
    let loaded = Model::load(&job.folders.model()).unwrap();
    let channel = Channel::read(&job.folders.channel("validation"), None, &Hyperparameters::default(), |_| {}).unwrap();
    let (mut row, mut quantiles) = (Vec::new(), Vec::new());
    for index in 0..channel.labels.len() {
        channel.copy_row(index, &mut row);
        loaded.predict_quantiles(&row, &mut quantiles);
        assert!(quantiles.len() == 2 && quantiles[0] <= quantiles[1], "{quantiles:?}");
    }
    let damaged = job.folders.model().join("quantile-0.9.json");
    fs::copy(job.folders.model().join("quantile-0.1.json"), damaged).unwrap();
    assert_eq!(Model::load(&job.folders.model()).unwrap_err().reason(), "damaged_model");
}

#[test]
fn the_artefact_says_what_the_features_do() {
    let metadata = Job::small().train().0.unwrap();
    let importance = &metadata.feature_importance;
    assert_eq!((importance.len(), importance[0].feature), (FEATURES, 0), "the label is mostly the first feature");
    assert!((importance.iter().map(|feature| feature.gain).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(importance.windows(2).all(|pair| pair[0].gain >= pair[1].gain));
    // One is constant, one missing throughout: nothing can be split by them.
    for useless in [5, 6] {
        assert_eq!(importance.iter().find(|feature| feature.feature == useless).unwrap().splits, 0);
    }
}

#[test]
fn refusals_that_need_the_data_name_the_hyperparameter() {
    let rows = csv(1, 50);
    let constraints = failure(&json!({"monotone_constraints": "(1,0)"}), &[("train", &rows)]);
    assert!(constraints.contains("`monotone_constraints`: 2 constraints for 8 features"), "{constraints}");
    let rmsle = failure(&json!({"eval_metric": "rmsle"}), &[("train", "-3,1\n2,2\n")]);
    assert!(rmsle.contains("`eval_metric`: rmsle is not defined for the label -3"), "{rmsle}");
}

#[test]
fn the_absolute_error_is_lowered_by_its_own_objective() {
    let mae = |objective: &str| {
        let hyperparameters =
            json!({"num_round": "40", "objective": objective, "min_leaf_weight": "20", "max_depth": "3"});
        let job = Job::new(&hyperparameters, &[("train", &skewed(1)), ("validation", &skewed(2))]);
        job.train().0.unwrap().validation.unwrap().metrics
    };
    let (squared, absolute) = (mae("reg:squarederror"), mae("reg:absoluteerror"));
    assert!(absolute.mae < 0.95 * squared.mae && absolute.rmse > squared.rmse, "{absolute:?} against {squared:?}");
}
