//! Asking one arm's endpoint, within the time that there is.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use cloud::endpoint::{Invocation, InvokeEndpoint, InvokeError, InvokeErrorKind};
use domain::{Arm, EndpointCalling, PredictionId};
use endpoint_rows::{EndpointRows, RowPart};
use futures::future::{Either, select, try_join_all};
use lambda_runtime::tracing::warn;

use super::{
    backoff::{Jitter, full_jitter},
    health::{ArmHealth, EndpointHealth},
};

/// Where nothing is known of an endpoint yet, a call that was given less time than this says nothing about it.
const FAIR_PATIENCE: Duration = Duration::from_millis(50);

/// What is asked, of whichever arm.
pub(crate) struct Question<'a> {
    /// The prediction's id, which goes along as `InferenceId`.
    pub(crate) prediction_id: PredictionId,
    /// All rows.
    pub(crate) rows: &'a EndpointRows,
    /// How the release calls endpoints.
    pub(crate) calling: &'a EndpointCalling,
    /// For the pauses before retries.
    pub(crate) jitter: Jitter,
}

impl<'a> Question<'a> {
    /// `seed` is random.
    pub(crate) fn new(
        prediction_id: PredictionId,
        rows: &'a EndpointRows,
        calling: &'a EndpointCalling,
        seed: u64,
    ) -> Self {
        Self { prediction_id, rows, calling, jitter: Jitter::new(seed) }
    }
}

/// Why an arm has no predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable code.
    pub(crate) reason: &'static str,
    /// Whether another try can help.
    can_be_retried: bool,
    /// Whether it tells something about the endpoint, rather than about this request.
    counts: bool,
}

impl Failure {
    fn of_request(reason: &'static str) -> Self {
        Self { reason, can_be_retried: false, counts: false }
    }

    fn of_answer(reason: &'static str) -> Self {
        Self { reason, can_be_retried: false, counts: true }
    }

    /// Tried again is what passes by itself. A `ModelError` is the container's own: the same rows most likely fail again, and
    /// a container that is out of breath is not helped by more work; another endpoint or the fallback answers sooner. A
    /// timeout has used up the time that a retry would need.
    fn of_call(kind: InvokeErrorKind, had_fair_time: bool) -> Self {
        use InvokeErrorKind as Kind;
        Self {
            reason: kind.reason(),
            can_be_retried: matches!(
                kind,
                Kind::NotReady
                    | Kind::Internal
                    | Kind::Unavailable
                    | Kind::Dependency
                    | Kind::Throttled
                    | Kind::Connection
            ),
            counts: kind != Kind::Validation && (kind != Kind::Timeout || had_fair_time),
        }
    }
}

/// Asks `arm` for all rows until `ends`: one finite number per row, in order, all of the asked variant. Rows that do not fit
/// into one call go in several at once; where one of these fails, all do.
///
/// An endpoint that does not say which variant answered is taken at its word that it was the asked one.
pub(crate) async fn ask_arm<E: InvokeEndpoint>(
    endpoint: &E,
    health: &EndpointHealth,
    arm: &Arm,
    question: &Question<'_>,
    ends: Instant,
) -> Result<Vec<f64>, Failure> {
    if question.rows.too_large {
        return Err(Failure::of_request("endpoint_row_too_large"));
    }
    if ends <= Instant::now() {
        return Err(Failure::of_request("deadline_too_short"));
    }
    let health = health.of(arm);
    let Some(permit) = health.admit(question.calling.breaker) else {
        return Err(Failure::of_request("endpoint_circuit_open"));
    };
    let asking = Asking { endpoint, health: &health, arm, question, ends };
    let parts = question.rows.parts.iter().enumerate().map(|(index, part)| asking.part(index, part));
    match try_join_all(parts).await {
        Ok(parts) => {
            permit.succeeded();
            Ok(parts.concat())
        }
        Err(failure) => {
            if failure.counts {
                permit.failed();
            }
            Err(failure)
        }
    }
}

/// One arm that is asked.
struct Asking<'a, E> {
    endpoint: &'a E,
    health: &'a ArmHealth,
    arm: &'a Arm,
    question: &'a Question<'a>,
    ends: Instant,
}

impl<E: InvokeEndpoint> Asking<'_, E> {
    /// One part, with retries.
    async fn part(&self, index: usize, part: &RowPart) -> Result<Vec<f64>, Failure> {
        let id = inference_id(self.question.prediction_id, index);
        self.health.deposit();
        for tries in 1.. {
            let failure = match self.hedged(part, &id).await {
                Ok(predictions) => return Ok(predictions),
                Err(failure) => failure,
            };
            let pause = full_jitter(tries, self.question.jitter.unit());
            let has_time = Instant::now() + pause < self.ends;
            let may = failure.can_be_retried && tries < self.question.calling.max_tries && has_time;
            if !may || !self.health.withdraw() {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
        }
        // There are fewer tries than numbers.
        Err(Failure::of_request("endpoint_unknown_error"))
    }

    /// One try; where the release wants it, a second call joins in once the first takes longer than usual.
    async fn hedged(&self, part: &RowPart, id: &str) -> Result<Vec<f64>, Failure> {
        let began = Instant::now();
        let first = pin!(self.call(part, id.to_owned()));
        let usual = if self.question.calling.hedge { self.health.p95() } else { None };
        let Some(usual) = usual.filter(|usual| began + *usual < self.ends) else { return first.await };
        let first = match select(first, pin!(tokio::time::sleep(usual))).await {
            Either::Left((answered, _)) => return answered,
            Either::Right(((), first)) => first,
        };
        if !self.health.withdraw() {
            return first.await;
        }
        match select(first, pin!(self.call(part, format!("{id}-h")))).await {
            Either::Left((Ok(predictions), _)) => Ok(predictions),
            Either::Left((Err(failure), second)) => second.await.map_err(|_| failure),
            Either::Right((Ok(predictions), _)) => {
                // The first would have taken longer still.
                self.health.took(began.elapsed());
                Ok(predictions)
            }
            Either::Right((Err(_), first)) => first.await,
        }
    }

    /// One call.
    async fn call(&self, part: &RowPart, inference_id: String) -> Result<Vec<f64>, Failure> {
        let began = Instant::now();
        let timeout = self.ends.saturating_duration_since(began);
        let calling = self.question.calling;
        let invocation = Invocation {
            endpoint: self.arm.endpoint.clone(),
            variant: self.arm.variant.clone(),
            inference_id,
            content_type: calling.content_type.media_type(),
            accept: calling.accept.media_type(),
            body: part.body.clone(),
            timeout,
        };
        let id = self.question.prediction_id;
        let (endpoint, asked) = (&self.arm.endpoint, &self.arm.variant);
        let answer = self.endpoint.invoke_endpoint(invocation).await.map_err(|InvokeError { kind, detail }| {
            let reason = kind.reason();
            warn!(prediction_id = %id, endpoint, variant = asked, reason, detail, "the endpoint did not answer");
            Failure::of_call(kind, timeout >= self.health.p95().unwrap_or(FAIR_PATIENCE))
        })?;
        if let Some(variant) = answer.invoked_variant.as_ref().filter(|variant| *variant != asked) {
            warn!(prediction_id = %id, endpoint, asked, variant, "another variant answered");
            return Err(Failure::of_answer("endpoint_other_variant"));
        }
        let predictions = endpoint_rows::read(&answer, calling.accept, part.rows).map_err(|fault| {
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            let content_type = answer.content_type.as_deref().unwrap_or_default();
            let reason = fault.reason();
            warn!(prediction_id = %id, endpoint, reason, content_type, body, "the endpoint's answer cannot be taken");
            Failure::of_answer(reason)
        })?;
        self.health.took(began.elapsed());
        Ok(predictions)
    }
}

/// `InferenceId` is unique per call that may be answered, since Data Capture is joined on it: the prediction's id for the first or
/// only part, which a retry keeps; `<id>-2`, `<id>-3` … for further parts; and `-h` behind it for a hedge.
fn inference_id(prediction_id: PredictionId, part: usize) -> String {
    if part == 0 { prediction_id.to_string() } else { format!("{prediction_id}-{}", part + 1) }
}
