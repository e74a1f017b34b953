//! The API's description (OpenAPI 3.1), from the spec.

use serde_json::{Value as Json, json};

use crate::Plan;

const PROBLEM: &str = "application/problem+json";

impl Plan {
    /// The OpenAPI 3.1 document of the HTTP API for this spec: predictions, features, outcomes, and the document itself.
    /// `max_candidates` is the release's limit, where one is known.
    pub fn openapi(&self, max_candidates: Option<usize>) -> Json {
        let mut request = self.request_schema();
        if let (Some(max), Some(candidates)) = (max_candidates, request.pointer_mut("/properties/candidates")) {
            candidates["maxItems"] = json!(max);
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": format!("{} predictions", self.name()),
                "version": self.hash().get(..12).unwrap_or_default(),
                "description": self.description(),
            },
            "paths": {
                "/v1/predictions": {"post": self.predictions_operation()},
                "/v1/features": {"post": features_operation()},
                "/v1/outcomes": {"post": outcomes_operation()},
                "/openapi.json": {"get": document_operation()},
            },
            "components": {"schemas": {
                "PredictionRequest": request,
                "PredictionAnswer": self.prediction_answer(),
                "FeaturesAnswer": self.features_answer(),
                "OutcomeEvent": outcome_event(),
                "OutcomeBatch": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["outcomes"],
                    "properties": {"outcomes": {
                        "type": "array", "minItems": 1, "maxItems": 1000, "items": reference("OutcomeEvent"),
                    }},
                },
                "Problem": problem(),
            }},
        })
    }

    fn predictions_operation(&self) -> Json {
        json!({
            "operationId": "predict",
            "summary": "Predict for 1…N candidates in one call.",
            "description": format!("Values are in {}. The answer names the tier that gave it: the arm's endpoint, the \
                second endpoint, or the fallback expression.", self.prediction().unit),
            "parameters": [{
                "name": "X-Deadline-Ms",
                "in": "header",
                "description": "How long the caller waits, in milliseconds, where the body does not say it.",
                "schema": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            }, {
                "name": "X-Mannen-Arm",
                "in": "header",
                "description": "The arm that is to answer, for tests by hand: the record does not count in the experiment. \
                    Taken only where the function allows it (`ALLOW_FORCED_ARM`), else 422.",
                "schema": {"type": "string"},
            }],
            "requestBody": body("PredictionRequest"),
            "responses": responses("The predictions.", 200, "PredictionAnswer", &[
                (404, "The model has no release."),
                (409, "The prediction id was used before, for another request."),
                (503, "No usable release could be had from the object store; try again."),
            ]),
        })
    }

    fn prediction_answer(&self) -> Json {
        json!({
            "type": "object",
            "required": [
                "prediction_id", "model", "release_id", "arm", "model_version", "tier", "unit", "predictions", "timings",
            ],
            "properties": {
                "prediction_id": {"type": "string", "format": "uuid", "description": "Send it with the outcome."},
                "model": {"type": "string"},
                "release_id": sha256(),
                "arm": {"type": "string"},
                "model_version": {"type": "string"},
                "tier": {"enum": domain::Tier::ALL.map(domain::Tier::as_str)},
                "tier_reason": {"type": "string", "description": "Why it was not the first tier: a reason code."},
                "unit": {"const": self.prediction().unit},
                "predictions": {"type": "array", "minItems": 1, "items": {
                    "type": "object",
                    "required": ["candidate_id", "value"],
                    "properties": {
                        "candidate_id": {"type": "string"},
                        "value": {"type": "number", "description": "The prediction."},
                        "shown": {"type": "number", "description": "What the promise's policy says to show."},
                        "lower": {"type": "number", "description": "The lower end of the interval."},
                        "upper": {"type": "number", "description": "The upper end of the interval."},
                    },
                }},
                "timings": {"type": "object", "description": "Microseconds.", "additionalProperties": {
                    "type": "integer", "minimum": 0,
                }},
            },
        })
    }

    fn features_answer(&self) -> Json {
        let count = self.output_names().len();
        json!({
            "type": "object",
            "required": ["model", "release_id", "spec_hash", "features", "candidates"],
            "properties": {
                "model": {"type": "string"},
                "release_id": sha256(),
                "spec_hash": sha256(),
                "features": {"type": "array", "minItems": count, "maxItems": count, "items": {"type": "string"}},
                "candidates": {"type": "array", "minItems": 1, "items": {
                    "type": "object",
                    "required": ["candidate_id", "values", "fallback"],
                    "properties": {
                        "candidate_id": {"type": "string"},
                        "values": {
                            "type": "array", "minItems": count, "maxItems": count,
                            "items": {"type": ["number", "null"]},
                        },
                        "fallback": {"type": "number"},
                    },
                }},
            },
        })
    }
}

fn features_operation() -> Json {
    json!({
        "operationId": "transform",
        "summary": "The model's input rows for a request. No endpoint is asked, nothing is archived.",
        "requestBody": body("PredictionRequest"),
        "responses": responses("The features.", 200, "FeaturesAnswer", &[
            (404, "The model has no release."),
            (503, "No usable release could be had from the object store; try again."),
        ]),
    })
}

fn outcomes_operation() -> Json {
    json!({
        "operationId": "reportOutcomes",
        "summary": "What really happened: one event, or a batch.",
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
            "oneOf": [reference("OutcomeEvent"), reference("OutcomeBatch")],
        }}}},
        "responses": {
            "202": {"description": "All events are durable.", "content": {"application/json": {"schema": {
                "type": "object",
                "required": ["accepted"],
                "properties": {"accepted": {"type": "integer", "minimum": 1}},
            }}}},
            "400": problem_response("The body is no JSON."),
            "413": problem_response("The body is too large."),
            "415": problem_response("The body is of another media type."),
            "422": problem_response("Fields are not what is expected; see `errors`."),
            "500": problem_response("The object store refused."),
            "503": problem_response("The object store is unavailable; send the same body again."),
        },
    })
}

fn document_operation() -> Json {
    json!({
        "operationId": "openapi",
        "summary": "This document, for the release in force.",
        "parameters": [{
            "name": "model",
            "in": "query",
            "description": "Another model than the function's default.",
            "schema": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
        }],
        "responses": {
            "200": {"description": "The document.", "content": {"application/json": {"schema": {"type": "object"}}}},
            "404": problem_response("The model has no release."),
            "422": problem_response("The query's `model` is no model name."),
            "503": problem_response("No usable release could be had from the object store; try again."),
        },
    })
}

fn outcome_event() -> Json {
    let time =
        |description: &str| json!({"type": ["string", "null"], "format": "date-time", "description": description});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["prediction_id", "observed_at"],
        "properties": {
            "prediction_id": {"type": "string", "format": "uuid"},
            "candidate_id": {
                "type": ["string", "null"], "minLength": 1, "maxLength": 128,
                "description": "The dispatched candidate; needed with dispatched_at and arrived_at.",
            },
            "observed_at": {
                "type": "string", "format": "date-time",
                "description": "When the reporting system learnt of it; orders corrections.",
            },
            "dispatched_at": time("When the candidate was dispatched."),
            "arrived_at": time("When it arrived."),
            "cancelled_at": time("When the ride was cancelled."),
            "metrics": {
                "type": "object",
                "description": "Free metrics by name.",
                "additionalProperties": {"type": ["number", "boolean"]},
            },
        },
    })
}

fn problem() -> Json {
    json!({
        "description": "RFC 9457.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "reason": {"type": "string", "description": "A stable code."},
            "errors": {"type": "array", "items": {
                "type": "object",
                "required": ["pointer", "reason", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer (RFC 6901) into the body."},
                    "reason": {"type": "string"},
                    "detail": {"type": "string"},
                },
            }},
        },
    })
}

fn sha256() -> Json {
    json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
}

fn reference(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn body(schema: &str) -> Json {
    json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}})
}

fn problem_response(description: &str) -> Json {
    json!({"description": description, "content": {PROBLEM: {"schema": reference("Problem")}}})
}

/// The answers of an operation that reads a JSON body: the good one, what can be wrong with any body, and `others`.
fn responses(good: &str, status: u16, schema: &str, others: &[(u16, &str)]) -> Json {
    let content = json!({"application/json": {"schema": reference(schema)}});
    let mut responses = json!({
        status.to_string(): {"description": good, "content": content},
        "400": problem_response("The body is no JSON."),
        "413": problem_response("The body is too large."),
        "415": problem_response("The body is of another media type."),
        "422": problem_response("Fields are not what is expected; see `errors`."),
    });
    for (status, description) in others {
        responses[status.to_string()] = problem_response(description);
    }
    responses
}
