use std::{
    fs,
    io::{ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use serde::Serialize;

use crate::{
    BadRow, Channel, ChannelSummary, EvalMetric, Folders, Forest, Hyperparameters, Metadata, Metrics, Model,
    ModelError, QuantileModel, Round,
    artefact::{self, Trees},
    boost::{Binned, Boosted, Order},
    folders,
    importance::feature_importance,
    objective::Loss,
};

/// How many bad rows of a channel are printed.
const BAD_ROWS_PRINTED: usize = 20;
/// As much of a failure file as SageMaker shows.
const FAILURE_BYTES: usize = 1024;

/// Trains on the `train` channel and writes the model; measures on the `validation` channel where there is one. Progress
/// and metrics go to `log`. A failure's reason is also written to `output/failure`.
pub fn train(folders: &Folders, log: &mut (dyn Write + Send)) -> Result<Metadata, ModelError> {
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

/// `output/data/metrics.json`: how training went. SageMaker packs it as `output.tar.gz`.
#[derive(Debug, Serialize)]
struct TrainingMetrics<'a> {
    /// What rounds are judged by.
    eval_metric: EvalMetric,
    /// How many trees answer.
    tree_count: usize,
    /// Seconds of growing trees, without the reading of files.
    fit_s: f64,
    train: &'a ChannelSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<&'a ChannelSummary>,
    rounds: &'a [Round],
}

fn train_and_save(folders: &Folders, log: &mut (dyn Write + Send)) -> Result<Metadata, ModelError> {
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
    check(&hyperparameters, &train, validation.as_ref())?;
    if let Some(why) = validation.as_ref().and_then(|validation| other_columns(&train, validation)) {
        return Err(ModelError::Parquet { path: folders.channel("validation"), why });
    }

    let began = Instant::now();
    let fits = caught(&hyperparameters, || fit_all(&hyperparameters, &train, validation.as_ref(), &mut say))??;
    let fit_s = began.elapsed().as_secs_f64();
    let Fits { prediction: Boosted { booster, rounds }, quantiles } = fits;

    let forest = usable(&booster, &train)?;
    let tree_count = forest.tree_count();
    say(format!("trained {tree_count} trees; fit_s={fit_s:.3};"));
    let mut model = Model::new(forest, hyperparameters.target_transform);
    for (quantile, boosted) in &quantiles {
        model.push_quantile(*quantile, usable(&boosted.booster, &train)?);
    }
    let importance = feature_importance(&booster, train.feature_count, &train.feature_names);
    let mut metadata = Metadata {
        algorithm: "forust-ml 0.8 trees, gradient boosting".to_owned(),
        model_sha256: String::new(),
        feature_count: train.feature_count,
        tree_count,
        train: summary(&model, &train),
        validation: validation.as_ref().map(|channel| summary(&model, channel)),
        quantiles: quantile_models(&model, &quantiles, &train, validation.as_ref()),
        feature_importance: importance,
        hyperparameters,
    };
    let summaries = [("train", Some(metadata.train)), ("validation", metadata.validation)];
    for (name, summary) in summaries.iter().filter_map(|(name, summary)| Some((name, summary.as_ref()?))) {
        let figures: Vec<String> =
            summary.metrics.named().map(|(metric, value)| format!("{name}:{metric}={value};")).collect();
        say(figures.join(" "));
    }
    for quantile in &metadata.quantiles {
        let shares = [("train", Some(quantile.train_share)), ("validation", quantile.validation_share)];
        for (name, share) in shares.iter().filter_map(|(name, share)| Some((name, (*share)?))) {
            say(format!("{name}:share_below_q{}={share};", quantile.quantile));
        }
    }
    let trees: Vec<Trees<'_>> = quantiles.iter().map(|(quantile, boosted)| (*quantile, &boosted.booster)).collect();
    artefact::save(&folders.model(), &booster, &trees, &mut metadata)?;
    let metrics = TrainingMetrics {
        eval_metric: metadata.hyperparameters.eval_metric(),
        tree_count,
        fit_s,
        train: &metadata.train,
        validation: metadata.validation.as_ref(),
        rounds: &rounds,
    };
    let text = serde_json::to_vec_pretty(&metrics).map_err(|error| ModelError::TrainingFailed(error.to_string()))?;
    folders::write(&folders.output_data().join("metrics.json"), &text)?;
    Ok(metadata)
}

fn usable(booster: &forust_ml::GradientBooster, train: &Channel) -> Result<Forest, ModelError> {
    Forest::new(booster, train.feature_count)
        .map_err(|error| ModelError::TrainingFailed(format!("the trees are not usable: {error}")))
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

fn quantile_models(
    model: &Model,
    quantiles: &[(f64, Boosted)],
    train: &Channel,
    validation: Option<&Channel>,
) -> Vec<QuantileModel> {
    let train_shares = shares_below(model, train);
    let validation_shares = validation.map(|channel| shares_below(model, channel));
    let of = |(index, (quantile, boosted)): (usize, &(f64, Boosted))| QuantileModel {
        quantile: *quantile,
        sha256: String::new(),
        tree_count: boosted.booster.trees.len(),
        train_share: train_shares[index],
        validation_share: validation_shares.as_ref().map(|shares| shares[index]),
    };
    quantiles.iter().enumerate().map(of).collect()
}

/// For each quantile, the share of labels that are not above it.
fn shares_below(model: &Model, channel: &Channel) -> Vec<f64> {
    let mut below = vec![0_u64; model.quantiles().count()];
    let (mut row, mut predicted) = (Vec::with_capacity(channel.feature_count), Vec::new());
    for (index, label) in channel.labels.iter().enumerate() {
        channel.copy_row(index, &mut row);
        model.predict_quantiles(&row, &mut predicted);
        below.iter_mut().zip(&predicted).for_each(|(below, quantile)| *below += u64::from(label <= quantile));
    }
    below.into_iter().map(|below| below as f64 / channel.labels.len() as f64).collect()
}

/// What only the data tells of the hyperparameters.
fn check(hyperparameters: &Hyperparameters, train: &Channel, validation: Option<&Channel>) -> Result<(), ModelError> {
    let invalid = |name: &str, why: String| ModelError::InvalidHyperparameter { name: name.into(), why };
    if hyperparameters.early_stopping_rounds > 0 && validation.is_none() {
        return Err(invalid("early_stopping_rounds", "it needs a validation channel".to_owned()));
    }
    if (train.feature_count as f64 * hyperparameters.colsample_bytree) < 1.0 {
        return Err(invalid("colsample_bytree", "it leaves no feature to train on".to_owned()));
    }
    let constraints = hyperparameters.monotone_constraints.len();
    if constraints != 0 && constraints != train.feature_count {
        let why = format!("{constraints} constraints for {} features; write 0 for a free one", train.feature_count);
        return Err(invalid("monotone_constraints", why));
    }
    let labels = train.labels.iter().chain(validation.iter().flat_map(|channel| &channel.labels));
    let without_logarithm = || labels.copied().find(|label| *label <= -1.0);
    if hyperparameters.eval_metric() == EvalMetric::Rmsle
        && let Some(label) = without_logarithm()
    {
        return Err(invalid("eval_metric", format!("rmsle is not defined for the label {label}")));
    }
    Ok(())
}

/// Where both channels tell their columns' names: the first that has changed places.
fn other_columns(train: &Channel, validation: &Channel) -> Option<String> {
    if train.feature_names.is_empty() || validation.feature_names.is_empty() {
        return None;
    }
    let mut pairs = train.feature_names.iter().zip(&validation.feature_names);
    let (before, here) = pairs.find(|(before, here)| before != here)?;
    Some(format!("it has `{here}` where the training channel has `{before}`"))
}

/// What training makes.
struct Fits {
    prediction: Boosted,
    /// By quantile, ascending.
    quantiles: Vec<(f64, Boosted)>,
}

fn fit_all(
    hyperparameters: &Hyperparameters,
    train: &Channel,
    validation: Option<&Channel>,
    say: &mut (impl FnMut(String) + Send),
) -> Result<Fits, ModelError> {
    let binned = Binned::new(hyperparameters, train, validation)?;
    let metric = hyperparameters.eval_metric();
    let order = Order {
        loss: hyperparameters.objective.loss(hyperparameters.quantile_alpha),
        metric,
        constraints: hyperparameters.monotone_constraints.clone(),
    };
    // Lines that the expressions for the final figures find too: SageMaker draws them as curves.
    let prediction = binned.fit(&order, &mut |round| {
        let figures = [("train", round.train), ("validation", round.validation)];
        let figures =
            figures.iter().filter_map(|(name, value)| Some(format!("{name}:{}={};", metric.name(), (*value)?)));
        say(format!("{} trees: {}", round.trees, figures.collect::<Vec<_>>().join(" ")));
    });
    let quantile = |quantile: &f64| {
        let order = Order { loss: Loss::Pinball(*quantile), metric: EvalMetric::Quantile, constraints: Vec::new() };
        let boosted = binned.fit(&order, &mut |_| {});
        say(format!("trained {} trees of the quantile {quantile}", boosted.booster.trees.len()));
        (*quantile, boosted)
    };
    let quantiles = hyperparameters.quantiles.iter().map(quantile).collect();
    Ok(Fits { prediction, quantiles })
}

/// Runs `work` on as many threads as wanted. The library asserts in places: a panic becomes a failure like any other.
fn caught<T: Send>(hyperparameters: &Hyperparameters, work: impl FnOnce() -> T + Send) -> Result<T, ModelError> {
    let failed = |why: String| ModelError::TrainingFailed(why);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(hyperparameters.nthread).build();
    let pool = pool.map_err(|error| failed(error.to_string()))?;
    catch_unwind(AssertUnwindSafe(|| pool.install(work))).map_err(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        failed(why.unwrap_or("the library panicked").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_changed_places_between_channels_are_told() {
        let channel = |names: &[&str]| Channel {
            labels: vec![1.0],
            columns: vec![1.0; 2],
            feature_count: 2,
            feature_names: names.iter().map(|name| (*name).to_owned()).collect(),
            bad_rows: 0,
        };
        assert_eq!(other_columns(&channel(&["x", "y"]), &channel(&["x", "y"])), None);
        // CSV tells no names.
        assert_eq!(other_columns(&channel(&["x", "y"]), &channel(&[])), None);
        let why = other_columns(&channel(&["x", "y"]), &channel(&["y", "x"])).unwrap();
        assert_eq!(why, "it has `y` where the training channel has `x`");
    }
}
