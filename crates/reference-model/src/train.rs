use std::{
    fs,
    io::{ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use forust_ml::{
    GradientBooster, Matrix, gradientbooster::GrowPolicy, metric::Metric, objective::ObjectiveType,
    sampler::SampleMethod,
};

use crate::{
    BadRow, Channel, ChannelSummary, Folders, Forest, Hyperparameters, Metadata, Metrics, Model, ModelError, artefact,
    folders,
};

/// How many bad rows of a channel are printed.
const BAD_ROWS_PRINTED: usize = 20;
/// As much of a failure file as SageMaker shows.
const FAILURE_BYTES: usize = 1024;

/// Trains on the `train` channel and writes the model; measures on the `validation` channel where there is one. Progress
/// and metrics go to `log`. A failure's reason is also written to `output/failure`.
pub fn train(folders: &Folders, log: &mut dyn Write) -> Result<Metadata, ModelError> {
    let trained = clear_failure(&folders.failure()).and_then(|()| train_and_save(folders, log));
    if let Err(error) = &trained {
        let message = format!("{}: {error}", error.reason());
        // The first error is the one to tell.
        let _ = folders::write(&folders.failure(), &message.as_bytes()[..message.floor_char_boundary(FAILURE_BYTES)]);
    }
    trained
}

fn clear_failure(path: &Path) -> Result<(), ModelError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ModelError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn train_and_save(folders: &Folders, log: &mut dyn Write) -> Result<Metadata, ModelError> {
    // A log that is gone is no reason to stop.
    let mut say = |line: String| _ = writeln!(log, "{line}");
    let path = folders.hyperparameters();
    let hyperparameters =
        if path.exists() { Hyperparameters::from_json(&folders::read(&path)?)? } else { Hyperparameters::default() };

    let train = read_channel(folders, "train", None, &hyperparameters, &mut say)?;
    let has_validation = folders.channel("validation").exists();
    let validation = has_validation
        .then(|| read_channel(folders, "validation", Some(train.feature_count), &hyperparameters, &mut say))
        .transpose()?;

    let booster = fit(&hyperparameters, &train, validation.as_ref())?;
    let forest = Forest::new(&booster, train.feature_count)
        .map_err(|error| ModelError::TrainingFailed(format!("the trees are not usable: {error}")))?;
    let tree_count = forest.tree_count();
    say(format!("trained {tree_count} trees"));
    let model = Model::new(forest, hyperparameters.target_transform);
    let mut metadata = Metadata {
        algorithm: "forust-ml 0.8 gradient boosting".to_owned(),
        model_sha256: String::new(),
        feature_count: train.feature_count,
        tree_count,
        hyperparameters,
        train: summary(&model, &train),
        validation: validation.as_ref().map(|channel| summary(&model, channel)),
    };
    let summaries = [("train", Some(metadata.train)), ("validation", metadata.validation)];
    for (name, summary) in summaries.iter().filter_map(|(name, summary)| Some((name, summary.as_ref()?))) {
        say(format!("{name}:mae={}; {name}:rmse={};", summary.metrics.mae, summary.metrics.rmse));
    }
    artefact::save(&folders.model(), &booster, &mut metadata)?;
    Ok(metadata)
}

fn read_channel(
    folders: &Folders,
    name: &str,
    feature_count: Option<usize>,
    hyperparameters: &Hyperparameters,
    say: &mut impl FnMut(String),
) -> Result<Channel, ModelError> {
    let mut bad_rows = 0;
    let report = |bad: &BadRow| {
        bad_rows += 1;
        if bad_rows <= BAD_ROWS_PRINTED {
            say(format!("{name}: left out {bad}"));
        }
    };
    let channel = Channel::read(&folders.channel(name), feature_count, hyperparameters, report)?;
    let rows = channel.labels.len();
    say(format!("{name}: {rows} rows of {} features, {} left out", channel.feature_count, channel.bad_rows));
    Ok(channel)
}

fn summary(model: &Model, channel: &Channel) -> ChannelSummary {
    let mut row = Vec::with_capacity(channel.feature_count);
    let pairs = channel.labels.iter().enumerate().map(|(index, label)| {
        channel.copy_row(index, &mut row);
        (model.predict_row(&row), *label)
    });
    ChannelSummary { rows: channel.labels.len(), bad_rows: channel.bad_rows, metrics: Metrics::of(pairs) }
}

fn fit(
    hyperparameters: &Hyperparameters,
    train: &Channel,
    validation: Option<&Channel>,
) -> Result<GradientBooster, ModelError> {
    let invalid = |name: &str, why: &str| ModelError::InvalidHyperparameter { name: name.into(), why: why.into() };
    let early_stopping = (hyperparameters.early_stopping_rounds > 0).then_some(hyperparameters.early_stopping_rounds);
    if early_stopping.is_some() && validation.is_none() {
        return Err(invalid("early_stopping_rounds", "it needs a validation channel"));
    }
    if (train.feature_count as f64 * hyperparameters.colsample_bytree) < 1.0 {
        return Err(invalid("colsample_bytree", "it leaves no feature to train on"));
    }

    let mut booster = booster(hyperparameters).set_early_stopping_rounds(early_stopping);
    let target = |channel: &Channel| -> Vec<f64> {
        channel.labels.iter().map(|label| hyperparameters.target_transform.apply(*label)).collect()
    };
    let (train_target, train_weights) = (target(train), vec![1.0; train.labels.len()]);
    let measured = validation.map(|channel| (channel, target(channel), vec![1.0; channel.labels.len()]));
    let evaluation = measured
        .as_ref()
        .map(|(channel, target, weights)| vec![(matrix(channel), target.as_slice(), weights.as_slice())]);

    // The library asserts in places; a panic must leave a failure file like any other error.
    let fitted =
        catch_unwind(AssertUnwindSafe(|| booster.fit(&matrix(train), &train_target, &train_weights, evaluation)));
    match fitted {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ModelError::TrainingFailed(error.to_string())),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            return Err(ModelError::TrainingFailed(why.unwrap_or("the library panicked").to_owned()));
        }
    }
    // Trees beyond the best are not answered with. The number of threads is not part of the model.
    let trees = booster.prediction_iteration.unwrap_or(booster.trees.len());
    booster.trees.truncate(trees);
    booster.num_threads = None;
    Ok(booster)
}

fn matrix(channel: &Channel) -> Matrix<'_, f64> {
    Matrix::new(&channel.columns, channel.labels.len(), channel.feature_count)
}

fn booster(hyperparameters: &Hyperparameters) -> GradientBooster {
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::SquaredLoss)
        .set_initialize_base_score(true)
        .set_evaluation_metric(Some(Metric::RootMeanSquaredError))
        .set_iterations(hyperparameters.num_round)
        .set_learning_rate(hyperparameters.eta)
        .set_max_depth(hyperparameters.max_depth)
        .set_min_leaf_weight(hyperparameters.min_leaf_weight)
        .set_l1(hyperparameters.alpha)
        .set_l2(hyperparameters.lambda)
        .set_gamma(hyperparameters.gamma)
        .set_subsample(hyperparameters.subsample)
        .set_colsample_bytree(hyperparameters.colsample_bytree)
        .set_nbins(hyperparameters.max_bin)
        .set_seed(hyperparameters.seed)
        .set_num_threads(Some(hyperparameters.nthread));
    if hyperparameters.max_leaves > 0 {
        booster.max_leaves = hyperparameters.max_leaves;
        booster.grow_policy = GrowPolicy::LossGuide;
    }
    if hyperparameters.subsample < 1.0 {
        booster.sample_method = SampleMethod::Random;
    }
    booster.log_iterations = hyperparameters.num_round.div_ceil(10);
    booster
}
