//! What became of the requests.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::connections::Failure;

/// One request's end.
pub(crate) struct One {
    /// From when it was due to its answer.
    pub(crate) took: Duration,
    /// From when it was due to when it was sent: the generator's own fault.
    pub(crate) late: Duration,
    pub(crate) ending: Ending,
}

/// How a request ended.
pub(crate) enum Ending {
    /// All its candidates were answered, by this tier.
    Answered(String),
    /// An answer that is none: a status that is not 200, or other than all candidates.
    Refused(u16),
    Failed(Failure),
}

#[derive(Deserialize)]
struct Answer {
    tier: String,
    predictions: Vec<IgnoredAny>,
}

impl Ending {
    pub(crate) fn of((status, body): &(StatusCode, Bytes), candidates: usize) -> Self {
        match serde_json::from_slice::<Answer>(body) {
            Ok(answer) if *status == StatusCode::OK && answer.predictions.len() == candidates => {
                Self::Answered(answer.tier)
            }
            _ => Self::Refused(status.as_u16()),
        }
    }
}

/// Of the requests that count.
pub(crate) struct Figures {
    sent: usize,
    tiers: BTreeMap<String, usize>,
    errors: BTreeMap<String, usize>,
    /// Sorted.
    took: Vec<Duration>,
    /// Sorted.
    late: Vec<Duration>,
    left_behind: usize,
    gave_up: bool,
    connections: usize,
}

impl Figures {
    /// `sent`: how many were, so that those without an end are told as errors. `left_behind`: how many waited when the last was sent.
    pub(crate) fn of(ended: Vec<One>, sent: usize, left_behind: usize, gave_up: bool, connections: usize) -> Self {
        let (mut tiers, mut errors) = (BTreeMap::new(), BTreeMap::new());
        let (mut took, mut late) = (Vec::with_capacity(ended.len()), Vec::with_capacity(ended.len()));
        if ended.len() < sent {
            errors.insert("unanswered".to_owned(), sent - ended.len());
        }
        for one in ended {
            took.push(one.took);
            late.push(one.late);
            match one.ending {
                Ending::Answered(tier) => *tiers.entry(tier).or_default() += 1,
                Ending::Refused(status) => *errors.entry(format!("status {status}")).or_default() += 1,
                Ending::Failed(failure) => *errors.entry(failure.reason().to_owned()).or_default() += 1,
            }
        }
        took.sort_unstable();
        late.sort_unstable();
        Self { sent, tiers, errors, took, late, left_behind, gave_up, connections }
    }

    pub(crate) fn to_json(&self, rate: f64, candidates: usize) -> Value {
        let of = |times: &[Duration], share| quantile(times, share).map(|time| time.as_secs_f64() * 1e3);
        json!({
            "rate": rate,
            "candidates": candidates,
            "sent": self.sent,
            "answered": self.tiers.values().sum::<usize>(),
            "tiers": self.tiers,
            "errors": self.errors,
            "p50_ms": of(&self.took, 0.5),
            "p99_ms": of(&self.took, 0.99),
            "p999_ms": of(&self.took, 0.999),
            "sent_late_p99_ms": of(&self.late, 0.99),
            "left_behind": self.left_behind,
            "gave_up": self.gave_up,
            "connections": self.connections,
        })
    }
}

/// The least of `sorted` that so large a share is not above.
fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(status: u16, body: &str) -> String {
        let answer = (StatusCode::from_u16(status).unwrap(), Bytes::from(body.to_owned()));
        match Ending::of(&answer, 2) {
            Ending::Answered(tier) => tier,
            Ending::Refused(status) => status.to_string(),
            Ending::Failed(failure) => failure.to_string(),
        }
    }

    #[test]
    fn what_does_not_do_the_work_is_no_answer() {
        let body = r#"{"tier":"endpoint","predictions":[{"value":1},{"value":2}]}"#;
        assert_eq!(ending(200, body), "endpoint");
        assert_eq!(ending(503, body), "503");
        assert_eq!(ending(200, r#"{"tier":"endpoint","predictions":[{"value":1}]}"#), "200");
        assert_eq!(ending(200, "{}"), "200");
    }

    #[test]
    fn all_that_were_sent_are_accounted_for() {
        let one = |ms, ending| One { took: Duration::from_millis(ms), late: Duration::ZERO, ending };
        let mut ended: Vec<One> = (1..=99).rev().map(|ms| one(ms, Ending::Answered("endpoint".to_owned()))).collect();
        ended.push(one(100, Ending::Refused(503)));
        let told = Figures::of(ended, 103, 3, false, 4).to_json(10.0, 1);
        assert_eq!((&told["sent"], &told["answered"]), (&json!(103), &json!(99)));
        assert_eq!(told["errors"], json!({"status 503": 1, "unanswered": 3}));
        assert_eq!((&told["p50_ms"], &told["p99_ms"], &told["p999_ms"]), (&json!(50.0), &json!(99.0), &json!(100.0)));
    }
}
