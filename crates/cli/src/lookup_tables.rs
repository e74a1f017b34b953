//! Lookup tables beside a feature spec: where their files lie, and how they are made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::features::{
    LookupBuild, LookupDeclaration, LookupTable, Resources, Statistic, label_expression, lookup_declarations,
};
use clap::Args;
use feature_batch::{BuiltLookup, FileSource, FoldOrder, LookupFile, LookupOrder, RowWindow, Source, build_lookup};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;

use crate::{
    error::CliError,
    terminal::{Terminal, grouped, strong},
};

/// Files of lookup tables, where they do not lie in the default place.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LookupFiles {
    /// A lookup table's file: Parquet, CSV or JSON lines [default: lookups/NAME.parquet beside the spec]
    #[arg(long = "lookup", value_name = "NAME=FILE", value_parser = assignment)]
    pub(crate) lookup_files: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// The table, as the spec declares it under [lookups.NAME]
    name: String,
    /// Files of training rows: Parquet, CSV, JSON lines; plain, gzip, zstd
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// features.toml, or the folder that holds it
    #[arg(long, default_value = "models/pickup-eta")]
    spec: PathBuf,
    /// Use rows from this time on: a date or a timestamp, UTC. Take the training window, never what is evaluated on
    #[arg(long, value_name = "TIME", value_parser = instant, requires = "to", required_unless_present = "all_rows")]
    from: Option<Timestamp>,
    /// Use rows before this time
    #[arg(long, value_name = "TIME", value_parser = instant, requires = "from")]
    to: Option<Timestamp>,
    /// Use every row; only right where the files hold nothing but training rows
    #[arg(long, conflicts_with_all = ["from", "to"])]
    all_rows: bool,
    /// The timestamp among the inputs that --from and --to are about
    #[arg(long, value_name = "INPUT", default_value = "requested_at")]
    time: String,
    /// SQL over inputs and features, whose statistics the table has [default: the spec's label]
    #[arg(long, value_name = "EXPR")]
    value: Option<String>,
    /// SQL for a key that is not the input or feature of its name
    #[arg(long = "key", value_name = "KEY=EXPR", value_parser = assignment)]
    keys: Vec<(String, String)>,
    /// What a column is: mean, median or count [default: what its name begins with]
    #[arg(long = "statistic", value_name = "COLUMN=WHAT", value_parser = assignment)]
    statistics: Vec<(String, String)>,
    /// m of the m-estimate: with n rows, (n * own + m * prior) / (n + m); 0 is no smoothing
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    smoothing_rows: f64,
    /// The prior is of the rows that have the same first K keys, instead of all rows
    #[arg(long, value_name = "K", default_value_t = 0)]
    parent_keys: usize,
    /// Also give each training row a value that leaves its own fold of K out, so that it does not see its label
    #[arg(long, value_name = "K", requires = "fold_key", value_parser = clap::value_parser!(u16).range(2..=1000))]
    out_of_fold: Option<u16>,
    /// SQL for what decides a row's fold by its hash: an id of the row, or of what rows have in common (int or string)
    #[arg(long, value_name = "EXPR", requires = "out_of_fold")]
    fold_key: Option<String>,
    /// The file to write [default: lookups/NAME.parquet beside the spec]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    lookups: LookupFiles,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// The table, as the spec declares it under [lookups.NAME]
    name: String,
    /// Parquet, CSV or JSON lines with the declared columns
    file: PathBuf,
    /// features.toml, or the folder that holds it
    #[arg(long, default_value = "models/pickup-eta")]
    spec: PathBuf,
    /// The file to write [default: lookups/NAME.parquet beside the spec]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    if name.is_empty() || value.is_empty() {
        return Err("write it as NAME=VALUE".to_owned());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = |_| "write a date or a timestamp, such as 2026-01-31 or 2026-01-31T09:30:00Z".to_owned();
    match text.parse::<Date>() {
        Ok(date) if !text.contains(':') => TimeZone::UTC.to_timestamp(date.into()).map_err(wrong),
        _ => text.parse().map_err(wrong),
    }
}

/// A spec's file and text.
pub(crate) fn read_spec(path: &Path) -> Result<(PathBuf, String), CliError> {
    let file = if path.is_dir() { path.join("features.toml") } else { path.to_owned() };
    let text =
        std::fs::read_to_string(&file).map_err(|error| CliError::io(format!("read `{}`", file.display()), error))?;
    Ok((file, text))
}

/// Where a table lies beside its spec.
fn default_file(spec: &Path, name: &str) -> PathBuf {
    spec.parent().unwrap_or(Path::new("")).join("lookups").join(format!("{name}.parquet"))
}

/// The tables that a spec declares, from their files.
///
/// # Errors
/// A table has no file, or it is not as declared; a name in `own_places` is none of the spec's.
pub(crate) fn read_tables(
    spec: &Path,
    text: &str,
    own_places: &BTreeMap<String, PathBuf>,
) -> Result<BTreeMap<String, LookupFile>, CliError> {
    let declarations = lookup_declarations(&spec.display().to_string(), text)?;
    if let Some(name) = own_places.keys().find(|name| !declarations.iter().any(|declared| declared.name == **name)) {
        return Err(CliError::LookupUndeclared { name: name.clone(), spec: spec.to_owned() });
    }
    let read = |declaration: LookupDeclaration| {
        let file = own_places.get(&declaration.name).cloned();
        let file = file.unwrap_or_else(|| default_file(spec, &declaration.name));
        let table = read_table(&file, &declaration).map_err(|error| match error {
            CliError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                CliError::LookupMissing { name: declaration.name.clone(), spec: spec.to_owned(), file }
            }
            error => error,
        })?;
        Ok((declaration.name, table))
    };
    declarations.into_iter().map(read).collect()
}

fn read_table(file: &Path, declaration: &LookupDeclaration) -> Result<LookupFile, CliError> {
    let shown = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| CliError::io(format!("read `{shown}`"), error))?;
    Ok(LookupFile::read(&shown, bytes.into(), declaration)?)
}

/// The tables as a plan takes them.
pub(crate) fn resources(tables: &BTreeMap<String, LookupFile>) -> Resources {
    tables.iter().map(|(name, file)| (name.clone(), Arc::new(file.table.clone()))).collect()
}

fn declared(spec: &Path, text: &str, name: &str) -> Result<LookupDeclaration, CliError> {
    let declarations = lookup_declarations(&spec.display().to_string(), text)?;
    let found = declarations.into_iter().find(|declaration| declaration.name == name);
    found.ok_or_else(|| CliError::LookupUndeclared { name: name.to_owned(), spec: spec.to_owned() })
}

/// `mannen features build-lookup`.
pub(crate) fn build(options: &BuildOptions, terminal: Terminal) -> Result<(), CliError> {
    let (spec, text) = read_spec(&options.spec)?;
    let declaration = declared(&spec, &text, &options.name)?;
    let order = order(options, &spec, &text, &declaration)?;
    // Keys may be features that look into other tables.
    let mut tables = BTreeMap::new();
    for other in
        lookup_declarations(&spec.display().to_string(), &text)?.iter().filter(|other| other.name != options.name)
    {
        let own = options.lookups.lookup_files.iter().find(|(name, _)| *name == other.name);
        let file = own.map_or_else(|| default_file(&spec, &other.name), |(_, file)| PathBuf::from(file));
        if own.is_some() || file.is_file() {
            tables.insert(other.name.clone(), read_table(&file, other)?);
        }
    }
    let mut sources = Vec::with_capacity(options.files.len());
    for path in &options.files {
        let bytes =
            FileSource::open(path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))?;
        sources.push(Source { name: path.display().to_string(), bytes: Box::new(bytes) });
    }
    let step = terminal.counted_step(format!("Building lookup table {}", options.name), 0);
    let mut progress = |progress: feature_batch::Progress| step.set(progress.bytes, progress.bytes_total);
    let shown = spec.display().to_string();
    let built = build_lookup((&shown, &text), &resources(&tables), sources, &order, &mut progress)?;
    let BuiltLookup { file, rows, left_out } = built;
    step.done(format_args!("{} rows in {} groups", grouped(rows), grouped(file.table.rows() as u64)));
    let out = options.out.clone().unwrap_or_else(|| default_file(&spec, &options.name));
    write(&file, &out)?;
    terminal.json(&json!({
        "table": options.name,
        "file": out,
        "sha256": file.table.sha256(),
        "rows": rows,
        "groups": file.table.rows(),
        "left_out": left_out,
        "made": file.made,
    }));
    terminal.result(format_args!("{}", told(&options.name, &file.table, &out)));
    for (reason, rows) in &left_out {
        terminal.result(format_args!("  {reason:24}{:>10} rows left out", grouped(*rows)));
    }
    Ok(())
}

fn order<'a>(
    options: &BuildOptions,
    spec: &Path,
    text: &str,
    declaration: &'a LookupDeclaration,
) -> Result<LookupOrder<'a>, CliError> {
    let wrong = |detail: String| CliError::LookupOptions { name: options.name.clone(), detail };
    let known = |what: &str, given: &[(String, String)], names: Vec<&String>| match given
        .iter()
        .find(|(name, _)| !names.contains(&name))
    {
        None => Ok(()),
        Some((name, _)) => Err(wrong(format!("{what}: the spec declares no `{name}`"))),
    };
    known("--key", &options.keys, declaration.keys.iter().map(|(name, _)| name).collect())?;
    known("--statistic", &options.statistics, declaration.values.iter().map(|(name, _)| name).collect())?;
    let given = |given: &[(String, String)], name: &str| {
        given.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    let keys = declaration.keys.iter().map(|(name, _)| given(&options.keys, name).unwrap_or_else(|| name.clone()));
    let mut columns = Vec::with_capacity(declaration.values.len());
    for (column, _) in &declaration.values {
        let said = given(&options.statistics, column);
        let statistic = match &said {
            Some(said) => statistics().find(|statistic| statistic.as_str() == said),
            None => statistics().find(|statistic| column.starts_with(statistic.as_str())),
        };
        let statistic = statistic.ok_or_else(|| match said {
            Some(said) => wrong(format!("--statistic {column}={said}: write mean, median or count")),
            None => wrong(format!("say what column `{column}` is: --statistic {column}=mean, =median or =count")),
        })?;
        columns.push((column.clone(), statistic));
    }
    let value = match &options.value {
        Some(value) => value.clone(),
        None => label_expression(&spec.display().to_string(), text)?
            .ok_or_else(|| wrong("the spec has no label; say what the table is of with --value".to_owned()))?,
    };
    let window = match (options.from, options.to) {
        (Some(from), Some(to)) if from < to => RowWindow::Between { time: options.time.clone(), from, to },
        (Some(from), Some(to)) => return Err(wrong(format!("--from {from} is not before --to {to}"))),
        _ => RowWindow::All,
    };
    let out_of_fold = options.out_of_fold.zip(options.fold_key.clone());
    Ok(LookupOrder {
        declaration,
        keys: keys.collect(),
        value,
        window,
        build: LookupBuild { columns, smoothing_rows: options.smoothing_rows, parent_keys: options.parent_keys },
        out_of_fold: out_of_fold.map(|(folds, key)| FoldOrder { folds, key }),
    })
}

fn statistics() -> impl Iterator<Item = Statistic> {
    [Statistic::Mean, Statistic::Median, Statistic::Count].into_iter()
}

/// `mannen features import-lookup`.
pub(crate) fn import(options: &ImportOptions, terminal: Terminal) -> Result<(), CliError> {
    let (spec, text) = read_spec(&options.spec)?;
    let file = read_table(&options.file, &declared(&spec, &text, &options.name)?)?;
    let out = options.out.clone().unwrap_or_else(|| default_file(&spec, &options.name));
    write(&file, &out)?;
    let table = &file.table;
    terminal.json(&json!({"table": options.name, "file": out, "sha256": table.sha256(), "rows": table.rows()}));
    terminal.result(told(&options.name, table, &out));
    Ok(())
}

fn told(name: &str, table: &LookupTable, out: &Path) -> String {
    let rows = grouped(table.rows() as u64);
    let folds = if table.folds().is_some() { ", with values out of fold for training rows" } else { "" };
    format!("{} {name}: {rows} rows{folds}, content {}; {}", strong("ok"), table.sha256(), out.display())
}

fn write(file: &LookupFile, out: &Path) -> Result<(), CliError> {
    let bytes = file.to_parquet()?;
    let failed = |error| CliError::io(format!("write `{}`", out.display()), error);
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Whole or not at all: a release may read it at any time.
    let partial = out.with_extension("partial");
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, out)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_timestamps() {
        let told = |text: &str| instant(text).map(|at| at.to_string());
        assert_eq!(told("2026-01-31").unwrap(), "2026-01-31T00:00:00Z");
        assert_eq!(told("2026-01-31T09:30:00+09:00").unwrap(), "2026-01-31T00:30:00Z");
        assert!(told("yesterday").is_err());
    }
}
