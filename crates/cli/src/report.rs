//! `mannen report`: the report of a lake's evaluations.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use evaluation::report::{Language, PageOptions, render_html, render_markdown, render_text};

use crate::{
    error::CliError,
    evaluations::{EvaluationOptions, Evaluations, now},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    #[command(flatten)]
    evaluations: EvaluationOptions,
    /// Write the page to a file: one file that loads nothing
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the page (to report.html where --out names no other file) and open it in the browser
    #[arg(long)]
    open: bool,
    /// Print Markdown instead of a summary
    #[arg(long)]
    markdown: bool,
    /// Language of the page, the summary and the Markdown: en, ja
    #[arg(long, value_name = "LANG", default_value_t = Language::English)]
    lang: Language,
}

pub(crate) async fn run(options: &ReportOptions, terminal: Terminal) -> Result<(), CliError> {
    let found = Evaluations::read(&options.evaluations, terminal).await?;
    let release = found.release.as_ref();
    let data = evaluator::report_of(&options.evaluations.model, now(), release, &found.baselines, &found.hours)?;
    let default = options.open.then(|| PathBuf::from("report.html"));
    if let Some(path) = options.out.clone().or(default) {
        std::fs::write(&path, render_html(&data, &PageOptions { language: options.lang, ..PageOptions::default() }))
            .map_err(|error| CliError::io(format!("write {}", path.display()), error))?;
        terminal.note(format_args!("The page is {}", path.display()));
        if options.open {
            open(&path)?;
        }
    }
    let text = if options.markdown { render_markdown(&data, options.lang) } else { render_text(&data, options.lang) };
    terminal.result(text.trim_end());
    terminal.json(&data);
    Ok(())
}

/// Opens a file as the desktop does.
fn open(path: &Path) -> Result<(), CliError> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let told = || format!("open {} with {program}; open it yourself", path.display());
    command.spawn().map(drop).map_err(|error| CliError::io(told(), error))
}
