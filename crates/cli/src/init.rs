//! `mannen init`: the folder of a new model, from flags, or from questions on a terminal.

mod folder;

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use ::features::Plan;
use clap::Args;
use domain::ModelName;
use serde_json::json;

use self::folder::{Input, NewModel, RIDES};
use crate::{
    error::CliError,
    model_folder::ModelFolder,
    terminal::{Terminal, strong},
};

#[derive(Debug, Args)]
pub(crate) struct InitOptions {
    /// The model's name: small letters, digits and hyphens
    name: ModelName,
    /// Folder that the model's folder is made in
    #[arg(long, value_name = "DIR", default_value = "models")]
    dir: PathBuf,
    /// What is predicted, in a sentence
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Unit of the prediction, such as s or EUR [default: s]
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// Time zone of hours and weekdays, such as Asia/Tokyo [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// An input, as NAME:TYPE with, where they apply, :MIN..MAX, :candidate or :training, and :nullable; may be given often.
    /// Types are float, int, bool, string and timestamp. Without one, the inputs are those of the demo's rides
    #[arg(long = "input", value_name = "INPUT")]
    inputs: Vec<Input>,
    /// What is learned: an SQL expression over the inputs, those of scope `training` among them
    #[arg(long, value_name = "SQL")]
    label: Option<String>,
    /// The naive estimate: an SQL expression over inputs and features [default: its --default for everything]
    #[arg(long, value_name = "SQL")]
    fallback: Option<String>,
    /// The naive estimate where its expression is NULL [default: 600]
    #[arg(long, value_name = "NUMBER")]
    default: Option<f64>,
    /// Take the defaults for what no flag says, also on a terminal
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(options: &InitOptions, terminal: Terminal) -> Result<(), CliError> {
    let folder = options.dir.join(options.name.as_str());
    if folder.exists() {
        return Err(CliError::Unexpected(format!(
            "`{}` is there already; choose another name or --dir",
            folder.display()
        )));
    }
    let asks = !options.yes && !terminal.is_json() && std::io::stdin().is_terminal();
    let new = if asks { asked(options)? } else { given(options) };
    // Before anything is written: a folder that does not compile helps nobody.
    let features = new.features_toml()?;
    let plan = Plan::compile(&folder.join("features.toml").display().to_string(), &features)?;
    std::fs::create_dir_all(&folder).map_err(|error| CliError::io(format!("make `{}`", folder.display()), error))?;
    let texts = [
        ("features.toml", features),
        ("training.toml", NewModel::training_toml()),
        ("release.toml", new.release_toml()),
    ];
    for (name, text) in &texts {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| CliError::io(format!("write `{}`", path.display()), error))?;
    }
    ModelFolder::read(Some(&folder))?;
    let shown = folder.display();
    terminal.json(&json!({
        "folder": folder, "inputs": plan.inputs().len(), "outputs": plan.output_names(), "hash": plan.hash(),
    }));
    terminal.result(format_args!("{} {shown}: {}", strong("made"), texts.map(|(name, _)| name).join(", ")));
    terminal.result(format_args!("  {} inputs, {} model columns", plan.inputs().len(), plan.output_names().len()));
    terminal.result("\nThen:");
    terminal.result(format_args!("  mannen features check {shown}      # after each change"));
    if new.is_of_rides() {
        terminal.result(format_args!(
            "  mannen demo --model {shown}        # train, serve and evaluate it on this machine"
        ));
    } else {
        terminal.result(format_args!("  mannen features run --spec {shown} FILE   # your rows to the training view"));
    }
    Ok(())
}

fn given(options: &InitOptions) -> NewModel {
    NewModel {
        name: options.name.clone(),
        description: options.description.clone(),
        unit: options.unit.clone().unwrap_or_else(|| "s".to_owned()),
        time_zone: options.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
        inputs: options.inputs.clone(),
        label: options.label.clone(),
        fallback: options.fallback.clone(),
        default: options.default.unwrap_or(600.0),
    }
}

/// Asks for what no flag has said. An empty answer takes the default.
fn asked(options: &InitOptions) -> Result<NewModel, CliError> {
    let mut new = given(options);
    if options.description.is_none() {
        new.description = ask("What does it predict, in a sentence?", "")?;
    }
    if options.unit.is_none() {
        new.unit = ask("In which unit?", &new.unit)?.unwrap_or(new.unit);
    }
    if options.time_zone.is_none() {
        new.time_zone = ask("Time zone of hours and weekdays?", &new.time_zone)?.unwrap_or(new.time_zone);
    }
    if options.inputs.is_empty() {
        while let Some(answer) = ask(
            "An input, as NAME:TYPE[:MIN..MAX][:candidate|:training][:nullable]; empty ends (none: the demo's rides)",
            "",
        )? {
            match answer.parse() {
                Ok(input) => new.inputs.push(input),
                Err(why) => anstream::eprintln!("  {why}"),
            }
        }
    }
    if options.label.is_none() && !new.inputs.is_empty() {
        new.label = ask("What is learned, as SQL over the inputs?", "")?;
    }
    if options.fallback.is_none() && !new.inputs.is_empty() {
        new.fallback = ask("The naive estimate, as SQL?", "the default alone")?;
    }
    Ok(new)
}

/// The answer, or nothing where it is empty.
fn ask(question: &str, default: &str) -> Result<Option<String>, CliError> {
    let failed = |error| CliError::io("ask on this terminal; give flags instead (mannen init --help)", error);
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let mut out = anstream::stderr();
    write!(out, "{question}{shown} ").and_then(|()| out.flush()).map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let answer = line.trim();
    Ok((!answer.is_empty()).then(|| answer.to_owned()))
}

impl NewModel {
    fn is_of_rides(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The inputs, those of rides where there are no others.
    fn all_inputs(&self) -> Vec<Input> {
        if self.is_of_rides() {
            RIDES.iter().filter_map(|text| text.parse().ok()).collect()
        } else {
            self.inputs.clone()
        }
    }
}
