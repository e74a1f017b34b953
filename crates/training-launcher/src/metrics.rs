//! CloudWatch metrics: what the template's alarms look at.

use cloud::emf;
use domain::ModelName;
use jiff::Timestamp;
use training::Stage;

const NAMESPACE: &str = "Mannen/Training";

/// Tells how far a version has come, where that is an end.
pub(crate) fn tell(model: &ModelName, version: &str, stage: &Stage, now: Timestamp) {
    let count = |holds: bool| if holds { 1.0 } else { 0.0 };
    let metrics = match stage {
        Stage::Training | Stage::Judging => return,
        Stage::Failed(failure) => {
            lambda_runtime::tracing::error!(
                %model,
                version,
                reason = failure.reason,
                last_lines = ?failure.last_lines,
                "a training job failed"
            );
            vec![("training_failures", "Count", 1.0)]
        }
        Stage::Decided(verdict) => {
            let all = verdict.comparison.as_ref().and_then(|comparison| comparison.all.as_ref());
            let mae_s = all.map_or(f64::NAN, |all| all.challenger_mae_s);
            vec![
                ("training_failures", "Count", 0.0),
                ("models_offered", "Count", count(verdict.offered)),
                ("models_refused", "Count", count(!verdict.offered)),
                ("held_out_mae_s", "Seconds", mae_s),
            ]
        }
    };
    if let Some(line) = emf::line(NAMESPACE, now.as_millisecond(), &[("model", model.as_str())], &metrics) {
        println!("{line}");
    }
}
