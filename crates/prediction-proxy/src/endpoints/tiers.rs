//! From arm to arm, within the time that there is.

use std::time::Instant;

use cloud::endpoint::InvokeEndpoint;
use domain::{Arm, PredictionRecord, Tier, answered};

use super::{Failure, Question, ask::ask_arm, health::EndpointHealth};

/// Where there is a second endpoint, the arm's own gets this share of the time, in percent.
const OWN_SHARE_PERCENT: u32 = 60;

/// What the endpoints came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked<'a> {
    /// Who answered, and the predictions.
    pub(crate) answered: Option<(Tier, &'a Arm, Vec<f64>)>,
    /// Why it was not the arm's own endpoint: its failure's code, and `+second_` and the second's where it failed too.
    pub(crate) reason: Option<String>,
}

/// Asks the arm's own endpoint and variant, then `second`.
pub(crate) async fn ask_tiers<'a, E: InvokeEndpoint>(
    endpoint: &E,
    health: &EndpointHealth,
    (own, second): (&'a Arm, Option<&'a Arm>),
    question: &Question<'_>,
    ends: Instant,
) -> Asked<'a> {
    // What has failed once is not asked again under another name.
    let second = second.filter(|second| (&second.endpoint, &second.variant) != (&own.endpoint, &own.variant));
    let own_ends = if second.is_some() {
        let now = Instant::now();
        now + ends.saturating_duration_since(now) * OWN_SHARE_PERCENT / 100
    } else {
        ends
    };
    let Failure { reason, .. } = match ask_arm(endpoint, health, own, question, own_ends).await {
        Ok(predictions) => return Asked { answered: Some((Tier::Endpoint, own, predictions)), reason: None },
        Err(failure) => failure,
    };
    let Some(second) = second else { return Asked { answered: None, reason: Some(reason.to_owned()) } };
    match ask_arm(endpoint, health, second, question, ends).await {
        Ok(predictions) => {
            Asked { answered: Some((Tier::SecondEndpoint, second, predictions)), reason: Some(reason.to_owned()) }
        }
        Err(failure) => Asked { answered: None, reason: Some(format!("{reason}+second_{}", failure.reason)) },
    }
}

impl Asked<'_> {
    /// Tells the record. `bounded` keeps a prediction within the spec's bounds, or says that it is none; `factor` is the
    /// release's correction of what an endpoint said, where it has one.
    pub(crate) fn tell(self, record: &mut PredictionRecord, factor: Option<f64>, bounded: impl Fn(f64) -> Option<f64>) {
        record.tier_reason = self.reason;
        let Some((tier, arm, predictions)) = self.answered else { return };
        for (candidate, prediction) in record.candidates.iter_mut().zip(predictions) {
            (candidate.prediction, candidate.uncorrected) = answered(prediction, factor, candidate.fallback, &bounded);
        }
        record.tier = tier;
        record.endpoint.clone_from(&arm.endpoint);
        record.variant.clone_from(&arm.variant);
        record.model_version.clone_from(&arm.model_version);
    }
}
