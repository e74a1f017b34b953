//! `mannen status`: what the person on call wants to see first, on one screen.

use std::{fmt::Write as _, time::Duration};

use ::evaluator::{read_baselines, read_evaluations, release_in_force};
use clap::Args;
use cloud::object_store::ListObjects;
use domain::{Hour, ModelName, PredictionId, Tier, lake};
use evaluation::{
    drift::{LABEL, ModelDrift},
    experiment::Verdict,
    report::ReportData,
};
use jiff::Timestamp;
use releases::in_force;
use serde::Serialize;

use crate::{
    error::CliError,
    evaluations::{hours, now},
    lake::{Lake, LakeOptions},
    terminal::{Terminal, bad, good, grouped, is_interactive, strong},
};

/// The template's `AlarmMaxFallbackPercent`, as a share.
const MAX_FALLBACK_SHARE: f64 = 0.05;
/// The template's `AlarmMaxArchiveLagSeconds`.
const MAX_ARCHIVE_LAG_S: i64 = 900;
/// Ids tell event time: those of a replay are old from the beginning, and say nothing of how long a record waits.
const LONGEST_WAIT_S: i64 = 7 * 86_400;
/// The threshold of the template's `LabelsMissingAlarm`.
const MIN_LABEL_MATURITY: f64 = 0.5;

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The model
    #[arg(long, value_name = "NAME", default_value = "pickup-eta")]
    model: ModelName,
    /// How far back evaluations are looked at, before the last evaluated hour
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = hours)]
    window: i64,
    /// Look again and again, until Ctrl-C; a line each with --json
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    every: u32,
}

/// All of it, for `--json`.
#[derive(Debug, Serialize)]
struct Status {
    model: ModelName,
    at: Timestamp,
    release: Option<InForce>,
    archive: Archive,
    /// Absent where nothing was evaluated yet.
    evaluated: Option<Evaluated>,
    alarms: Vec<Alarm>,
}

#[derive(Debug, Serialize)]
struct InForce {
    id: String,
    since: Timestamp,
    by: Option<String>,
    why: Option<String>,
    experiment: Option<String>,
    /// Each with its model version.
    arms: Vec<(String, String)>,
}

/// What waits on its way into the archive.
#[derive(Debug, Serialize)]
struct Archive {
    landing_objects: usize,
    segments: usize,
    /// How long the oldest record has waited, by the time in its id; absent where none waits whose key tells an id.
    oldest_s: Option<i64>,
    quarantined: usize,
}

#[derive(Debug, Serialize)]
struct Evaluated {
    from: Hour,
    until: Hour,
    predictions: u64,
    /// Share of answers by tier.
    tiers: Vec<(String, f64)>,
    /// Predictions by arm.
    arms: Vec<(String, u64)>,
    label_maturity: Option<f64>,
    mae_s: Option<f64>,
    naive_mae_s: Option<f64>,
    interval_coverage: Option<f64>,
    promised_interval: Option<f64>,
}

/// What the template's alarms look at, told from the lake: a laptop has no CloudWatch.
#[derive(Debug, PartialEq, Serialize)]
struct Alarm {
    /// The section of docs/runbook.md.
    name: &'static str,
    is_on: bool,
    detail: String,
}

pub(crate) async fn run(options: &StatusOptions, terminal: Terminal) -> Result<(), CliError> {
    if !options.watch {
        tell(&look(options).await?, terminal, false);
        return Ok(());
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(options.every.into()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match look(options).await {
            Ok(status) => tell(&status, terminal, is_interactive()),
            // The lake may be back at the next look.
            Err(error) => terminal.note(format_args!("{error}")),
        }
    }
}

async fn look(options: &StatusOptions) -> Result<Status, CliError> {
    let lake = Lake::open(&options.lake).await?;
    let (model, at) = (&options.model, now());
    let pointer = in_force(&lake.store, model).await?;
    let release = release_in_force(&lake.store, model).await?;
    let landed = lake.store.list_objects(lake::LANDING).await?;
    let times =
        landed.iter().filter_map(|object| lake::landing_prediction_id(&object.key)).map(PredictionId::timestamp);
    let oldest = times.filter(|time| at.as_second() - time.as_second() < LONGEST_WAIT_S).min();
    let archive = Archive {
        landing_objects: landed.len(),
        segments: lake.store.list_objects(lake::SEGMENTS).await?.len(),
        oldest_s: oldest.map(|oldest| at.as_second() - oldest.as_second()),
        quarantined: lake.store.list_objects(lake::QUARANTINE).await?.len(),
    };
    let mut hours = read_evaluations(&lake.store, model, None, None).await?;
    if let Some(first) = hours.last().map(|evaluation| evaluation.hour.plus(1 - options.window)) {
        hours.retain(|evaluation| evaluation.hour >= first);
    }
    let baselines = read_baselines(&lake.store, model, release.as_ref()).await?;
    let report = if hours.is_empty() {
        None
    } else {
        Some(evaluator::report_of(model, at, release.as_ref(), &baselines, &hours)?)
    };
    let release = pointer.map(|found| InForce {
        id: found.pointer.release_id.to_string(),
        since: found.pointer.moved_at,
        by: found.pointer.author,
        why: found.pointer.reason,
        experiment: release.as_ref().and_then(|release| Some(release.experiment.as_ref()?.id.clone())),
        arms: release
            .iter()
            .flat_map(|release| &release.arms)
            .map(|a| (a.name.clone(), a.model_version.clone()))
            .collect(),
    });
    let alarms = alarms(&archive, report.as_ref(), release.is_some());
    Ok(Status { model: model.clone(), at, release, archive, evaluated: report.as_ref().and_then(evaluated), alarms })
}

fn evaluated(report: &ReportData) -> Option<Evaluated> {
    let (from, until) = report.window?;
    let all = &report.all;
    let share = |count: u64| count as f64 / all.counts.predictions.max(1) as f64;
    Some(Evaluated {
        from,
        until,
        predictions: all.counts.predictions,
        tiers: report.by_tier.iter().map(|tier| (tier.name.clone(), share(tier.summary.counts.predictions))).collect(),
        arms: report.by_arm.iter().map(|arm| (arm.name.clone(), arm.summary.counts.predictions)).collect(),
        label_maturity: all.label_maturity,
        mae_s: all.answer.as_ref().map(|figures| figures.mae_s),
        naive_mae_s: all.fallback.as_ref().map(|figures| figures.mae_s),
        interval_coverage: all.interval.as_ref().map(|interval| interval.coverage),
        promised_interval: report.facts.release.as_ref().and_then(|release| release.promised_interval),
    })
}

/// In the order of the runbook.
fn alarms(archive: &Archive, report: Option<&ReportData>, has_release: bool) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut alarm = |name, is_on, detail: String| alarms.push(Alarm { name, is_on, detail });
    if !has_release {
        alarm("no-release", true, "no release is in force: requests get 404; `mannen release publish`".to_owned());
    }
    let waits = archive.oldest_s.unwrap_or_default();
    alarm(
        "archive-lag",
        archive.oldest_s.is_some_and(|waits| waits > MAX_ARCHIVE_LAG_S),
        format!("oldest record {waits} s"),
    );
    let Some(report) = report else { return alarms };
    let all = &report.all;
    let fallback = report.by_tier.iter().find(|tier| tier.name == Tier::Fallback.as_str());
    let fallback = fallback.map_or(0, |tier| tier.summary.counts.predictions) as f64;
    let share = fallback / all.counts.predictions.max(1) as f64;
    alarm("fallback", share > MAX_FALLBACK_SHARE, format!("{:.1} % of the answers", 100.0 * share));
    if let Some(maturity) = all.label_maturity {
        alarm("labels-missing", maturity < MIN_LABEL_MATURITY, format!("{:.0} % have an outcome", 100.0 * maturity));
    }
    let promised = report.facts.release.as_ref().and_then(|release| release.promised_interval);
    if let (Some(interval), Some(promised)) = (&all.interval, promised) {
        let detail = format!("{:.1} % of {:.0} % promised", 100.0 * interval.coverage, 100.0 * promised);
        alarm("coverage", interval.coverage_interval[1] < promised, detail);
    }
    if !report.experiments.is_empty() {
        let with = |verdict| {
            let compared = report.experiments.iter().flat_map(|card| &card.comparisons);
            compared.filter(|comparison| comparison.verdict == verdict).count()
        };
        let (breached, mismatched) = (with(Verdict::GuardrailBreached), with(Verdict::SampleRatioMismatch));
        alarm("guardrail", breached > 0, format!("{breached} breached"));
        alarm("sample-ratio", mismatched > 0, format!("{mismatched} not as planned"));
    }
    if !report.models.is_empty() {
        let drifting = report.models.iter().filter(|model| ModelDrift::concept_drift(model)).count();
        alarm("concept-drift", drifting > 0, format!("{drifting} of {} model versions", report.models.len()));
    }
    if let Some(drift) = &report.drift {
        let features = drift.drifted().into_iter().filter(|name| *name != LABEL).collect::<Vec<_>>();
        let detail = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        alarm("feature-drift", !features.is_empty(), detail);
    }
    if let Some(improvement) = &all.improvement {
        let worse = improvement.is_clear() && improvement.share < 0.0;
        alarm(
            "worse-than-naive",
            worse,
            format!("{:+.1} % against the naive estimate's error", -100.0 * improvement.share),
        );
    }
    alarms
}

fn tell(status: &Status, terminal: Terminal, clear: bool) {
    terminal.json(status);
    // Home, and what was there is wiped: the screen does not flicker.
    let clear = if clear { "\u{1b}[H\u{1b}[J" } else { "" };
    terminal.result(format_args!("{clear}{}", text(status)));
}

fn text(status: &Status) -> String {
    let mut text = format!("{}  {}\n", strong(&status.model), status.at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:10} {value}");
    match &status.release {
        None => line("release", bad("none in force")),
        Some(release) => {
            let by = release.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why = release.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let since = release.since.strftime("%Y-%m-%d %H:%M UTC");
            line("release", format!("{}  since {since}{by}{why}", release.id.get(..12).unwrap_or(&release.id)));
            let arms: Vec<String> = release.arms.iter().map(|(name, version)| format!("{name} ({version})")).collect();
            line("arms", arms.join(", "));
            if let Some(experiment) = &release.experiment {
                line("experiment", experiment.clone());
            }
        }
    }
    let share = |share: &f64| format!("{:.1} %", 100.0 * share);
    let seconds = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} s"));
    match &status.evaluated {
        None => line("traffic", "nothing was evaluated yet".to_owned()),
        Some(of) => {
            line("traffic", format!("{} predictions, {} … {}", grouped(of.predictions), of.from, of.until));
            let tiers: Vec<String> = of.tiers.iter().map(|(tier, part)| format!("{tier} {}", share(part))).collect();
            line("tiers", tiers.join(", "));
            let arms: Vec<String> = of.arms.iter().map(|(arm, count)| format!("{arm} {}", grouped(*count))).collect();
            line("by arm", arms.join(", "));
            line(
                "labels",
                of.label_maturity.as_ref().map_or_else(|| "–".to_owned(), |part| format!("{} landed", share(part))),
            );
            line("error", format!("{} (naive {})", seconds(of.mae_s), seconds(of.naive_mae_s)));
            if let (Some(coverage), Some(promised)) = (&of.interval_coverage, &of.promised_interval) {
                line("coverage", format!("{} of {} promised", share(coverage), share(promised)));
            }
        }
    }
    let Archive { landing_objects, segments, oldest_s, quarantined } = &status.archive;
    let oldest = oldest_s.map(|seconds| format!(", the oldest {seconds} s")).unwrap_or_default();
    line(
        "archive",
        format!("{landing_objects} landed objects wait{oldest}; {segments} segments; {quarantined} in quarantine"),
    );
    for alarm in &status.alarms {
        let mark = if alarm.is_on { bad("!") } else { good("✓") };
        _ = writeln!(text, "  {mark} {:17} {}", alarm.name, alarm.detail);
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_too_long_and_what_is_missing_is_told() {
        let archive = |oldest_s| Archive { landing_objects: 1, segments: 0, oldest_s, quarantined: 0 };
        let on = |archive: &Archive, has_release| -> Vec<&str> {
            alarms(archive, None, has_release).iter().filter(|alarm| alarm.is_on).map(|alarm| alarm.name).collect()
        };
        assert_eq!(on(&archive(None), true), Vec::<&str>::new());
        assert_eq!(on(&archive(Some(901)), true), ["archive-lag"]);
        assert_eq!(on(&archive(Some(900)), false), ["no-release"]);
    }
}
