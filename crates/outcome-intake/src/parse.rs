//! The request's body: one event, or `{"outcomes": [event, …]}`.

use cloud::http::{json_problem, parse_json};
use domain::{OutcomeEvent, Problem, ProblemField, truncate_to_micros};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// The most events of one request.
pub const MAX_OUTCOMES: usize = 1000;
/// The most errors that one answer lists.
const MAX_ERRORS: usize = 100;

/// Tells a batch from a single event.
#[derive(Deserialize)]
struct Probe {
    outcomes: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    outcomes: Vec<Value>,
}

/// The events of a request's body, all of them valid, with times to the microsecond.
///
/// # Errors
/// 400 not JSON; 422 JSON of another shape, an event that contradicts itself, no event or more than [`MAX_OUTCOMES`].
/// The problem lists each bad event (up to 100) by its JSON pointer.
pub fn parse_outcomes(body: &[u8]) -> Result<Vec<OutcomeEvent>, Box<Problem>> {
    let is_batch = match serde_json::from_slice::<Probe>(body) {
        Ok(probe) => probe.outcomes.is_some() && !is_array(body),
        // JSON that is no object: the reader of a single event says what is wrong with it.
        Err(error) if error.is_data() => false,
        Err(error) => return Err(Box::new(json_problem(&error, None))),
    };
    if !is_batch {
        let event = event(body, "").map_err(|errors| match *errors {
            Errors::Problem(problem) => problem,
            Errors::Field(field) => Box::new(invalid(vec![field], 1)),
        })?;
        return Ok(vec![event]);
    }
    let Batch { outcomes } = parse_json(body)?;
    if outcomes.is_empty() || outcomes.len() > MAX_OUTCOMES {
        let detail = format!("outcomes has {} events; send 1 to {MAX_OUTCOMES} at once", outcomes.len());
        let field = ProblemField::new("/outcomes", "invalid_batch_size", detail.clone());
        return Err(Box::new(
            Problem::new(422, "invalid_batch_size", "Invalid batch size", detail).with_errors(vec![field]),
        ));
    }
    let (mut events, mut errors) = (Vec::with_capacity(outcomes.len()), Vec::new());
    let mut bad = 0;
    for (index, outcome) in outcomes.iter().enumerate() {
        let prefix = format!("/outcomes/{index}");
        match event(outcome.to_string().as_bytes(), &prefix).map_err(|errors| *errors) {
            Ok(event) => events.push(event),
            Err(error) => {
                bad += 1;
                errors.extend(match error {
                    Errors::Field(field) => vec![field],
                    Errors::Problem(problem) if problem.errors.is_empty() => {
                        vec![ProblemField::new(prefix, &problem.reason, problem.detail)]
                    }
                    Errors::Problem(problem) => problem.errors,
                });
            }
        }
    }
    if bad > 0 {
        errors.truncate(MAX_ERRORS);
        return Err(Box::new(invalid(errors, bad)));
    }
    Ok(events)
}

enum Errors {
    /// Not JSON, or not of an event's shape.
    Problem(Box<Problem>),
    /// An event that contradicts itself.
    Field(ProblemField),
}

/// Serde would take an array for an object whose fields come in their order.
fn is_array(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'[')
}

/// One event, its errors at `prefix`.
fn event(json: &[u8], prefix: &str) -> Result<OutcomeEvent, Box<Errors>> {
    if is_array(json) {
        let detail = "expected a JSON object, not an array";
        return Err(Box::new(Errors::Field(ProblemField::new(prefix, "invalid_value", detail))));
    }
    let event: OutcomeEvent = parse_json(json).map_err(|mut problem| {
        for field in &mut problem.errors {
            field.pointer.insert_str(0, prefix);
        }
        Box::new(Errors::Problem(problem))
    })?;
    if let Err(error) = event.validate() {
        let pointer = format!("{prefix}{}", culprit(&event));
        return Err(Box::new(Errors::Field(ProblemField::new(pointer, error.reason(), error.to_string()))));
    }
    let micros = |time: Option<_>| time.map(truncate_to_micros);
    Ok(OutcomeEvent {
        // As the archive keeps them, so that the key's digest is the archived event's.
        observed_at: truncate_to_micros(event.observed_at),
        dispatched_at: micros(event.dispatched_at),
        arrived_at: micros(event.arrived_at),
        cancelled_at: micros(event.cancelled_at),
        ..event
    })
}

/// The field that makes an event invalid; the event itself where none alone does.
fn culprit(event: &OutcomeEvent) -> &'static str {
    let says_nothing = OutcomeEvent { metrics: std::collections::BTreeMap::new(), ..event.clone() };
    let drove = event.arrived_at.is_some() || event.dispatched_at.is_some();
    if drove && event.candidate_id.is_none() {
        "/candidate_id"
    } else if event.arrived_at.is_some_and(|arrived| arrived < event.prediction_id.timestamp()) {
        "/arrived_at"
    } else if says_nothing.validate().is_ok() {
        "/metrics"
    } else {
        ""
    }
}

fn invalid(errors: Vec<ProblemField>, bad: usize) -> Problem {
    let detail =
        format!("{bad} outcomes are invalid; none was taken. Mend them, or leave them out, and send the rest again");
    let reason = errors.first().map_or_else(|| "invalid_outcome".to_owned(), |field| field.reason.clone());
    Problem::new(422, &reason, "Invalid outcomes", detail).with_errors(errors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({"prediction_id": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "candidate_id": "car",
            "observed_at": "2022-02-22T20:00:00.123456789Z", "arrived_at": "2022-02-22T19:30:00Z"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut event = good();
        event[field] = value;
        event
    }

    fn parse(body: &Value) -> Result<Vec<OutcomeEvent>, Box<Problem>> {
        parse_outcomes(body.to_string().as_bytes())
    }

    fn pointers(problem: &Problem) -> Vec<(&str, &str)> {
        problem.errors.iter().map(|field| (field.pointer.as_str(), field.reason.as_str())).collect()
    }

    #[test]
    fn takes_one_or_many() {
        let events = parse(&good()).unwrap();
        assert_eq!(events[0].observed_at.to_string(), "2022-02-22T20:00:00.123456Z");
        assert_eq!(parse(&json!({"outcomes": [good()]})).unwrap(), events);
        assert_eq!(parse(&json!({"outcomes": vec![good(); MAX_OUTCOMES]})).unwrap().len(), MAX_OUTCOMES);
    }

    #[test]
    fn every_bad_event_is_pointed_at() {
        let mut no_car = good();
        no_car.as_object_mut().unwrap().remove("candidate_id");
        let silent = json!({"prediction_id": good()["prediction_id"], "observed_at": good()["observed_at"]});
        let body = json!({"outcomes": [
            good(),
            with("arrived_at", "yesterday".into()),
            with("surprise", 1.into()),
            with("arrived_at", "2022-02-22T19:00:00Z".into()),
            no_car,
            silent,
            7,
            ["017f22e2-79b0-7cc3-98c4-dc0c0c07398f"],
            with("metrics", json!({"fare": "12"})),
            with("prediction_id", "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into()),
        ]});
        let problem = parse(&body).unwrap_err();
        assert_eq!(problem.status, 422);
        let expected = [
            ("/outcomes/1/arrived_at", "invalid_value"),
            ("/outcomes/2/surprise", "unknown_field"),
            ("/outcomes/3/arrived_at", "invalid_outcome"),
            ("/outcomes/4/candidate_id", "invalid_outcome"),
            ("/outcomes/5", "invalid_outcome"),
            ("/outcomes/6", "invalid_value"),
            ("/outcomes/7", "invalid_value"),
            ("/outcomes/8/metrics/fare", "invalid_value"),
            ("/outcomes/9/prediction_id", "invalid_value"),
        ];
        assert_eq!(pointers(&problem), expected);
        assert!(problem.detail.starts_with("9 outcomes are invalid"), "{}", problem.detail);
    }

    #[test]
    fn a_single_bad_event_is_pointed_at_in_place() {
        let problem = parse(&with("arrived_at", 7.into())).unwrap_err();
        assert_eq!((problem.status, pointers(&problem)), (422, vec![("/arrived_at", "invalid_value")]));
        let problem = parse(&with("arrived_at", "2022-02-22T19:00:00Z".into())).unwrap_err();
        assert_eq!((problem.status, pointers(&problem)), (422, vec![("/arrived_at", "invalid_outcome")]));
    }

    #[test]
    fn refuses_other_shapes_and_sizes() {
        for (body, status, reason) in [
            (&b"not json"[..], 400, "invalid_json"),
            (b"\xff", 400, "invalid_json"),
            (b"{\"outcomes\": [", 400, "invalid_json"),
            (b"[]", 422, "invalid_value"),
            (b" [[{}]]", 422, "invalid_value"),
            (b"7", 422, "invalid_value"),
            (b"{}", 422, "missing_field"),
            (b"{\"outcomes\": {}}", 422, "invalid_value"),
            (b"{\"outcomes\": []}", 422, "invalid_batch_size"),
            (b"{\"outcomes\": [], \"more\": 1}", 422, "unknown_field"),
        ] {
            let problem = parse_outcomes(body).unwrap_err();
            assert_eq!(
                (problem.status, problem.reason.as_str()),
                (status, reason),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
        let problem = parse(&json!({"outcomes": vec![good(); MAX_OUTCOMES + 1]})).unwrap_err();
        assert_eq!(pointers(&problem), [("/outcomes", "invalid_batch_size")]);
        let problem = parse(&json!({"outcomes": vec![json!(1); 500]})).unwrap_err();
        assert_eq!(problem.errors.len(), MAX_ERRORS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_taken_is_valid_and_comes_back(seed in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..200) {
            // Noise, and a good body with noise in it.
            let mut body = json!({"outcomes": [good()]}).to_string().into_bytes();
            let at = at.min(body.len());
            body.splice(at..at, seed.iter().take(2).copied());
            for body in [seed, body] {
                if let Ok(events) = parse_outcomes(&body) {
                    for event in events {
                        prop_assert!(event.validate().is_ok());
                        let text = serde_json::to_vec(&event).unwrap();
                        prop_assert_eq!(parse_outcomes(&text).unwrap(), vec![event]);
                    }
                }
            }
        }
    }
}
