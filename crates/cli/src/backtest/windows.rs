//! How long a window a model should be trained on, by evidence: rolling origins.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::features::Plan;
use clap::Args;
use domain::Hour;
use evaluation::training_windows::{WindowRow, choose_window};
use feature_batch::{FileSource, Options, Source, ViewFormat};
use jiff::Timestamp;
use reference_model::{Folders, Model};
use serde_json::json;
use toml_edit::{DocumentMut, Item, TomlError};

use super::{ALPHA, text};
use crate::{
    error::CliError,
    lookup_tables::{LookupFiles, read_spec, read_tables, resources},
    model_folder::ModelFolder,
    offline_model::Scratch,
    terminal::{Terminal, grouped},
};

const DAY_S: i64 = 86_400;
/// Fewer rows than this train no model that tells anything.
const MIN_ROWS: usize = 200;
/// The column that tells a row's time, after the model's own.
const TIME: &str = "window_time_s";

#[derive(Debug, Args)]
pub(crate) struct WindowOptions {
    /// Files of raw inputs with the label's: Parquet, CSV, JSON lines, such as the files of a dataset version
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder of the model: features.toml, training.toml, release.toml
    #[arg(long, value_name = "DIR", default_value = "models/pickup-eta")]
    spec: PathBuf,
    /// The variant whose hyperparameters are used [default: the first]
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Days of each window, with commas; `all` is everything before the origin
    #[arg(long, value_name = "DAYS", default_value = "14,28,90,all", value_parser = windows)]
    windows: Windows,
    /// Days after each origin that the models are tested on
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    test: u32,
    /// How many origins; the last test ends with the rows, each other as long before as the tests are
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    origins: u32,
    #[command(flatten)]
    lookups: LookupFiles,
}

/// Lengths in days, ascending; `None`, last, is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Windows(Vec<Option<u32>>);

fn windows(text: &str) -> Result<Windows, String> {
    let day = |item: &str| match item {
        "all" => Ok(None),
        days => days.parse().map(Some).map_err(|_| format!("`{days}` is neither a number of days nor `all`")),
    };
    let mut days: Vec<Option<u32>> = text.split(',').map(|item| day(item.trim())).collect::<Result<_, _>>()?;
    days.sort_by_key(|days| days.unwrap_or(u32::MAX));
    days.dedup();
    if days.len() < 2 || days.contains(&Some(0)) {
        Err("name two lengths at least, each above 0".to_owned())
    } else {
        Ok(Windows(days))
    }
}

pub(super) fn run(options: &WindowOptions, terminal: Terminal) -> Result<(), CliError> {
    let model = ModelFolder::read(Some(&options.spec))?;
    let variants = model.training.variants();
    let named = match &options.variant {
        Some(name) => variants.get_key_value(name.as_str()),
        None => variants.first_key_value(),
    };
    let (variant, hyperparameters) = named.ok_or_else(|| {
        let known: Vec<&str> = variants.keys().copied().collect();
        CliError::Unexpected(format!("training.toml has no such variant; it has {}", known.join(", ")))
    })?;
    let rows = read_rows(options, terminal)?;
    let Windows(days) = &options.windows;
    let step = terminal.counted_step(format!("Training {variant}"), u64::from(options.origins) * days.len() as u64);
    let order = Order { days, test_days: options.test, origins: options.origins, hyperparameters };
    let tested = compare(&rows, &order, || step.advance(1))?;
    step.done(format_args!("{} windows at {} origins", days.len(), tested.origins.len()));
    let Some(choice) = choose_window(days, &tested.rows, ALPHA) else {
        return Err(CliError::Unexpected("there is nothing to compare".to_owned()));
    };
    let origins: Vec<String> = tested.origins.iter().map(ToString::to_string).collect();
    let chosen = text::window_name(days[choice.chosen]);
    terminal.json(
        &json!({"variant": variant, "origins": origins, "rows": tested.rows.len(), "chosen": chosen, "choice": choice}),
    );
    terminal.result(text::windows(&choice, tested.rows.len(), tested.origins.len()));
    Ok(())
}

/// Rows of the training view with their times, in the order of time.
#[derive(Debug, Default)]
struct TimedRows {
    times_s: Vec<i64>,
    /// As the view has them: label first, no line end.
    lines: Vec<String>,
}

impl TimedRows {
    /// Rows at or after `from_s` and before `until_s`.
    fn between(&self, from_s: i64, until_s: i64) -> std::ops::Range<usize> {
        self.times_s.partition_point(|at| *at < from_s)..self.times_s.partition_point(|at| *at < until_s)
    }

    /// Of a CSV view whose last column is the time.
    fn of_view(view: &str) -> Result<Self, CliError> {
        let mut rows: Vec<(i64, String)> = view
            .lines()
            .map(|line| {
                let (row, at) = line.rsplit_once(',').unwrap_or((line, ""));
                let at: f64 = at.parse().map_err(|_| CliError::Unexpected("a row has no requested_at".to_owned()))?;
                Ok((at as i64, row.to_owned()))
            })
            .collect::<Result<_, CliError>>()?;
        // Stable: what was asked for at one second keeps the files' order.
        rows.sort_by_key(|(at, _)| *at);
        let (times_s, lines) = rows.into_iter().unzip();
        Ok(Self { times_s, lines })
    }
}

fn read_rows(options: &WindowOptions, terminal: Terminal) -> Result<TimedRows, CliError> {
    let (file, spec) = read_spec(&options.spec)?;
    let own: BTreeMap<String, PathBuf> =
        options.lookups.lookup_files.iter().map(|(name, file)| (name.clone(), file.into())).collect();
    let tables = read_tables(&file, &spec, &own)?;
    if !tables.is_empty() {
        terminal.note("  The spec's lookup tables are used as they are: build them of rows before the first origin.");
    }
    let plan = Plan::compile_with(&file.display().to_string(), &with_time(&spec)?, &resources(&tables))?;
    let mut sources = Vec::with_capacity(options.files.len());
    for path in &options.files {
        let bytes =
            FileSource::open(path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))?;
        sources.push(Source { name: path.display().to_string(), bytes: Box::new(bytes) });
    }
    let step = terminal.counted_step("Transforming", 0);
    let mut view = Vec::new();
    let mut progress = |progress: feature_batch::Progress| step.set(progress.bytes, progress.bytes_total);
    let how = Options { format: ViewFormat::Csv, threads: 1 };
    let summary = feature_batch::transform(&plan, sources, &mut view, std::io::sink(), how, &mut progress)?;
    step.done(format_args!("{} rows, {} left out", grouped(summary.written), grouped(summary.rejected.values().sum())));
    TimedRows::of_view(&String::from_utf8_lossy(&view))
}

/// The spec with one more column: when a row was asked for, seconds since 1970. All else stays as it is written: the order of a
/// lookup table's keys means something.
fn with_time(spec: &str) -> Result<String, CliError> {
    let failed = |why: &str| CliError::Unexpected(format!("the spec cannot be extended: {why}"));
    let mut document: DocumentMut = spec.parse().map_err(|error: TomlError| failed(&error.to_string()))?;
    let features =
        document.get_mut("features").and_then(Item::as_table_like_mut).ok_or_else(|| failed("no [features]"))?;
    features.insert(TIME, toml_edit::value("UNIX_SECONDS(requested_at)"));
    let outputs = document.get_mut("model").and_then(|model| model.get_mut("outputs")?.as_array_mut());
    outputs.ok_or_else(|| failed("no [model] outputs"))?.push(TIME);
    Ok(document.to_string())
}

/// What is compared.
struct Order<'a> {
    days: &'a [Option<u32>],
    test_days: u32,
    origins: u32,
    hyperparameters: &'a BTreeMap<String, String>,
}

/// What every window's models said.
#[derive(Debug)]
struct Tested {
    origins: Vec<Timestamp>,
    rows: Vec<WindowRow>,
}

/// Trains each window before each origin and asks it for the rows after.
fn compare(rows: &TimedRows, order: &Order<'_>, mut done: impl FnMut()) -> Result<Tested, CliError> {
    let Some((first_s, last_s)) = rows.times_s.first().copied().zip(rows.times_s.last().copied()) else {
        return Err(CliError::Unexpected("there is no row".to_owned()));
    };
    let test_s = i64::from(order.test_days) * DAY_S;
    let mut tested = Tested { origins: Vec::new(), rows: Vec::new() };
    for number in 0..i64::from(order.origins) {
        let origin_s = last_s + 1 - test_s * (i64::from(order.origins) - number);
        let tests = rows.between(origin_s, origin_s + test_s);
        let shortest_s =
            order.days.first().copied().flatten().map_or(origin_s - first_s, |days| i64::from(days) * DAY_S);
        if tests.is_empty() || rows.between(origin_s - shortest_s, origin_s).len() < MIN_ROWS {
            let origin = Timestamp::from_second(origin_s).unwrap_or_default();
            return Err(CliError::Unexpected(format!(
                "too few rows around the origin {origin}: fewer --origins, a shorter --test, or longer --windows"
            )));
        }
        let mut predicted: Vec<Vec<f64>> = vec![Vec::with_capacity(order.days.len()); tests.len()];
        let asked: Vec<(f64, Vec<f64>)> = rows.lines[tests.clone()].iter().map(|line| numbers(line)).collect();
        for days in order.days {
            let from_s = days.map_or(first_s, |days| origin_s - i64::from(days) * DAY_S);
            let model = trained(&rows.lines[rows.between(from_s, origin_s)], order.hyperparameters)?;
            for ((_, features), predicted) in asked.iter().zip(&mut predicted) {
                predicted.push(model.predict_row(features));
            }
            done();
        }
        for ((row, (actual_s, _)), predicted_s) in tests.zip(&asked).zip(predicted) {
            let hour = Hour::of(Timestamp::from_second(rows.times_s[row]).unwrap_or_default());
            tested.rows.push(WindowRow { origin: number as usize, hour, actual_s: *actual_s, predicted_s });
        }
        tested.origins.push(Timestamp::from_second(origin_s).unwrap_or_default());
    }
    Ok(tested)
}

/// The reference model of these lines, by the very program that a training job runs.
fn trained(lines: &[String], hyperparameters: &BTreeMap<String, String>) -> Result<Model, CliError> {
    let scratch = Scratch::new()?;
    let folders = Folders::new(scratch.path());
    let write = |path: &Path, text: &str| {
        let folder = path.parent().unwrap_or(path);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
        written.map_err(|error| CliError::io(format!("write `{}`", path.display()), error))
    };
    // Nothing is held out that could say when to stop.
    let mut hyperparameters = hyperparameters.clone();
    hyperparameters.remove("early_stopping_rounds");
    write(&folders.hyperparameters(), &json!(hyperparameters).to_string())?;
    write(&folders.channel("train").join("rows.csv"), &(lines.join("\n") + "\n"))?;
    let failed = |error: reference_model::ModelError| CliError::Unexpected(format!("training: {error}"));
    reference_model::train(&folders, &mut std::io::sink()).map_err(failed)?;
    Model::load(&folders.model()).map_err(failed)
}

/// A line's label and features.
fn numbers(line: &str) -> (f64, Vec<f64>) {
    let mut cells =
        line.split(',').map(|cell| if cell.is_empty() { f64::NAN } else { cell.parse().unwrap_or(f64::NAN) });
    (cells.next().unwrap_or(f64::NAN), cells.collect())
}

#[cfg(test)]
mod tests {
    use ::features::{FeatureTable, InputTable, Scratch as Buffers};
    use evaluation::training_windows::WindowReason;
    use rides::{City, CityOptions, Drift, TrainingRow};

    use super::*;

    #[test]
    fn lengths_are_days_or_all() {
        assert_eq!(windows("90, 14,all,14"), Ok(Windows(vec![Some(14), Some(90), None])));
        for wrong in ["", "14", "14,0", "14,week", "all,all"] {
            assert!(windows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_specs_other_lines_stay_as_they_are() {
        let spec = std::fs::read_to_string("../../models/pickup-eta/features.toml").unwrap();
        let lookups = "[lookups.zone_hour]\nkeys = { rider_zone = \"int\", local_hour = \"int\" }\n";
        let extended = with_time(&format!("{spec}\n{lookups}")).unwrap();
        assert!(extended.contains(lookups), "{extended}");
        let added = |line: &&str| !spec.lines().any(|other| other == *line) && !lookups.contains(*line);
        assert_eq!(extended.lines().filter(added).count(), 2, "{extended}");
    }

    /// Rides of a city, `days` long, with its streets slower by `factor` in its last `shock_days`.
    fn city_rows(days: i64, shock_days: i64, factor: f64) -> TimedRows {
        let epoch: Timestamp = "2018-01-01T05:00:00Z".parse().unwrap();
        let from = epoch + jiff::SignedDuration::from_hours((days - shock_days) * 24);
        let drifts = vec![Drift { from, speed_factor: factor }];
        let city = City::with_options(5, CityOptions { rides_per_hour: 6.0, riders: 500, drifts }).unwrap();
        let until = epoch + jiff::SignedDuration::from_hours(days * 24);
        let rides: Vec<TrainingRow> = city
            .rides(epoch, usize::MAX)
            .take_while(|ride| ride.requested_at < until)
            .filter_map(|ride| ride.training_row())
            .collect();
        let model = ModelFolder::read(Some(Path::new("../../models/pickup-eta"))).unwrap();
        let mut inputs = InputTable::new(&model.plan);
        for ride in &rides {
            let mut all = ride.inputs.clone();
            all.extend(ride.candidate_inputs.clone());
            all.insert("drive_s".to_owned(), ride.drive_s.into());
            model.plan.read_training_row(ride.requested_at, &all, "", &mut inputs).unwrap();
        }
        let mut features = FeatureTable::default();
        model.plan.evaluate_training(&inputs, &mut Buffers::default(), &mut features);
        let line = |row: usize| {
            let cells = features.row(row).map(|cell| cell.map_or_else(String::new, |cell| cell.to_string()));
            format!("{},{}", features.label()[row], cells.collect::<Vec<_>>().join(","))
        };
        TimedRows {
            times_s: rides.iter().map(|ride| ride.requested_at.as_second()).collect(),
            lines: (0..rides.len()).map(line).collect(),
        }
    }

    #[test]
    fn after_a_shock_short_windows_win_and_without_long_ones_are_as_good() {
        let days = [Some(10), Some(60)];
        let hyperparameters: BTreeMap<String, String> =
            [("num_round", "40"), ("max_depth", "4"), ("eta", "0.2"), ("nthread", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let choice = |rows: &TimedRows| {
            let order = Order { days: &days, test_days: 3, origins: 2, hyperparameters: &hyperparameters };
            let tested = compare(rows, &order, || {}).unwrap();
            assert_eq!(tested.origins.len(), 2);
            choose_window(&days, &tested.rows, ALPHA).unwrap()
        };
        // The streets are half as fast for the last 18 days: the ten days before each origin know nothing else.
        let shocked = choice(&city_rows(70, 18, 0.5));
        assert_eq!((shocked.chosen, shocked.reason), (0, WindowReason::LongerIsWorse), "{shocked:?}");
        assert!(shocked.windows[0].mae_s < 0.9 * shocked.windows[1].mae_s, "{shocked:?}");
        let calm = choice(&city_rows(70, 18, 1.0));
        assert_eq!((calm.chosen, calm.reason), (1, WindowReason::LongestOfTheBest), "{calm:?}");
    }

    #[test]
    fn a_rows_time_comes_from_the_spec_itself() {
        let spec = std::fs::read_to_string("../../models/pickup-eta/features.toml").unwrap();
        let plan = Plan::compile("features.toml", &with_time(&spec).unwrap()).unwrap();
        assert_eq!(plan.output_names().last().map(String::as_str), Some(TIME));
        let rows = TimedRows::of_view("300,1,2,1514782800\n200,3,,1514779200\n").unwrap();
        assert_eq!(
            (rows.times_s.as_slice(), rows.lines[0].as_str()),
            ([1_514_779_200, 1_514_782_800].as_slice(), "200,3,")
        );
        assert_eq!(rows.between(0, 1_514_779_201), 0..1);
        assert_eq!(numbers("200,3,").1.len(), 2);
        let few = compare(
            &rows,
            &Order { days: &[Some(1), None], test_days: 1, origins: 1, hyperparameters: &BTreeMap::new() },
            || {},
        );
        assert!(few.unwrap_err().to_string().contains("too few rows around the origin"));
    }
}
