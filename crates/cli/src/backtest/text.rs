//! What a person sees.

use std::fmt::Write;

use evaluation::{
    backtest::{Backtest, BacktestErrors, BacktestFigures},
    gate::PairedDifference,
    training_windows::{WindowChoice, WindowReason},
};

use super::rides::Left;
use crate::terminal::{grouped, strong};

pub(super) fn figures(version: &str, found: &Backtest, left: &Left) -> String {
    let mut text = String::new();
    let Some(all) = &found.all else { return text };
    _ = writeln!(text, "{} over {} rides", strong(version), grouped(all.difference.rows));
    _ = writeln!(text, "{:30}{:>9}{:>9}{:>9}{:>14}", "", "MAE s", "RMSLE", "bias s", "within 2 min");
    for (who, errors) in [("the model", &all.model), ("what answered then", &all.then)] {
        _ = writeln!(text, "{who:30}{}", errors_text(errors));
    }
    _ = writeln!(text, "{}", verdict(&all.difference));
    if !found.segments.is_empty() {
        _ = writeln!(text, "\n{:30}{:>9}{:>9}{:>9}  difference, s", "segment", "rides", "MAE s", "then s");
        for segment in &found.segments {
            let BacktestFigures { model, then, difference } = &segment.figures;
            let name = format!("{} {}", segment.segment, segment.value);
            let (rows, interval) = (grouped(difference.rows), interval(difference));
            _ = writeln!(text, "{name:30}{rows:>9}{:>9.1}{:>9.1}  {interval}", model.mae_s, then.mae_s);
        }
    }
    if left.without_arrival > 0 {
        _ = writeln!(text, "{} requests have not met an arrival", grouped(left.without_arrival));
    }
    for (reason, rows) in &left.not_rebuilt {
        _ = writeln!(text, "{} requests do not have the inputs that the model's spec takes ({reason})", grouped(*rows));
    }
    if left.features_differ > 0 {
        let rows = grouped(left.features_differ);
        _ = writeln!(
            text,
            "{rows} rows of the same spec have other features than were archived: `mannen explain` tells which"
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn errors_text(errors: &BacktestErrors) -> String {
    let within = 100.0 * errors.share_within_120_s;
    format!("{:>9.1}{:>9.4}{:>9.1}{within:>12.1} %", errors.mae_s, errors.rmsle, errors.bias_s)
}

fn interval(difference: &PairedDifference) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "?".to_owned(), |end| format!("{end:+.1}"));
    format!("{:+.1} ({} … {})", difference.difference_s, end(difference.lower_s), end(difference.upper_s))
}

fn verdict(difference: &PairedDifference) -> String {
    let said = match (difference.lower_s, difference.upper_s) {
        (_, Some(upper)) if upper < 0.0 => "the model is better",
        (Some(lower), _) if lower > 0.0 => "the model is worse",
        _ => "no difference is proved",
    };
    format!("difference of the mean absolute errors {} s: {said}", interval(difference))
}

pub(super) fn window_name(days: Option<u32>) -> String {
    days.map_or_else(|| "all".to_owned(), |days| format!("{days} days"))
}

pub(super) fn windows(choice: &WindowChoice, tested: usize, origins: usize) -> String {
    let mut text = String::new();
    _ = writeln!(text, "{} rows after {origins} origins", grouped(tested as u64));
    _ = writeln!(text, "{:12}{:>9}  {:30}by origin", "window", "MAE s", "against the best, s");
    for (index, window) in choice.windows.iter().enumerate() {
        let against = match &window.against_best {
            None => "the best".to_owned(),
            Some(difference) => interval(difference) + if window.is_worse { ", worse" } else { "" },
        };
        let by_origin: Vec<String> = window.by_origin_mae_s.iter().map(|mae_s| format!("{mae_s:.0}")).collect();
        let name = window_name(window.days) + if index == choice.chosen { " *" } else { "" };
        _ = writeln!(text, "{name:12}{:>9.1}  {against:30}{}", window.mae_s, by_origin.join(" "));
    }
    let chosen = window_name(choice.windows[choice.chosen].days);
    let why = match choice.reason {
        WindowReason::LongerIsWorse => "every longer window is proved worse: what is older misleads",
        WindowReason::LongestOfTheBest => "no other is proved better, and the longest sees most of what is rare",
    };
    _ = write!(text, "{} {chosen}: {why}", strong("train on"));
    text
}
