//! What a person sees: progress on standard error, results on standard output, colours only on a terminal.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// Whether a result was printed: there is one JSON document on standard output, whether the command then fails or not.
static RESULT_TOLD: AtomicBool = AtomicBool::new(false);

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();

/// How a command talks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    json: bool,
    progress: bool,
}

impl Terminal {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, progress: !json && !quiet }
    }

    /// Whether a program reads the result.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A step that takes a while: a spinner on a terminal, a line elsewhere.
    pub(crate) fn step(self, what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = ProgressBar::with_draw_target(None, self.target());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Step { terminal: self, bar, what }
    }

    /// A step whose length is known.
    pub(crate) fn counted_step(self, what: impl Into<String>, length: u64) -> Step {
        let step = self.step(what);
        step.bar.set_length(length);
        let template = "{spinner} {msg} [{bar:30}] {human_pos}/{human_len} {per_sec:.dim} {eta:.dim}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            step.bar.set_style(style.progress_chars("━╸ "));
        }
        step
    }

    fn target(self) -> ProgressDrawTarget {
        if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }

    /// A line for people; nothing with --json or --quiet.
    pub(crate) fn note(self, text: impl Display) {
        if self.progress {
            anstream::eprintln!("{text}");
        }
    }

    /// The result, for people; nothing with --json.
    pub(crate) fn result(self, text: impl Display) {
        if !self.json {
            print(&text);
        }
    }

    /// The result, as one JSON object; nothing without --json.
    pub(crate) fn json<T: Serialize>(self, result: &T) {
        if self.json {
            RESULT_TOLD.store(true, Ordering::Relaxed);
            print(&serde_json::to_string(result).unwrap_or_default());
        }
    }

    /// Tells an error, and gives the exit code for it. Where the result was printed already, since it is what is wrong (a difference that
    /// was found), the error is on standard error alone.
    pub(crate) fn failed(self, error: &CliError) -> ExitCode {
        if self.json && !RESULT_TOLD.load(Ordering::Relaxed) {
            #[derive(Serialize)]
            struct Failure<'a> {
                error: &'a str,
                reason: &'a str,
            }
            self.json(&Failure { error: &error.to_string(), reason: error.reason() });
        }
        anstream::eprintln!("{BAD}error:{BAD:#} {error}");
        ExitCode::from(error.exit_code())
    }
}

/// To standard output. A reader that has gone away, or a full disk, is no reason to stop the work.
fn print(text: &dyn Display) {
    _ = writeln!(anstream::stdout(), "{text}");
}

/// A step under way. Dropped without [`Step::done`], it failed: its line is taken away, the error follows.
pub(crate) struct Step {
    terminal: Terminal,
    bar: ProgressBar,
    what: String,
}

impl Step {
    /// More was done.
    pub(crate) fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// So much is done.
    pub(crate) fn set(&self, position: u64, length: u64) {
        self.bar.set_length(length);
        self.bar.set_position(position);
    }

    /// The step is done; `result` says with what.
    pub(crate) fn done(self, result: impl Display) {
        self.bar.finish_and_clear();
        self.terminal.note(format_args!("{GOOD}✓{GOOD:#} {}: {result}", self.what));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Bold on a terminal.
pub(crate) fn strong(text: impl Display) -> String {
    format!("{STRONG}{text}{STRONG:#}")
}

/// Green on a terminal.
pub(crate) fn good(text: impl Display) -> String {
    format!("{GOOD}{text}{GOOD:#}")
}

/// Red on a terminal.
pub(crate) fn bad(text: impl Display) -> String {
    format!("{BAD}{text}{BAD:#}")
}

/// Whether a person looks at standard output.
pub(crate) fn is_interactive() -> bool {
    std::io::stdout().is_terminal()
}

/// A number with thousands separated, as people read it.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
