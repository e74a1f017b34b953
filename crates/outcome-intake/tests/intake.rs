//! The intake over a store in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use bytes::Bytes;
use cloud::{
    http::{HttpAnswer, HttpEvent},
    memory::MemoryStore,
    object_store::{PutCondition, PutObject, PutOutcome, StoreError},
};
use domain::{MAX_BODY_BYTES, OutcomeEvent, Problem, lake};
use outcome_intake::answer;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../../events/outcome-intake.json");

fn sample() -> HttpEvent {
    serde_json::from_str(SAMPLE).unwrap()
}

fn request(body: &Value) -> HttpEvent {
    HttpEvent { body: Some(body.to_string()), ..sample() }
}

fn problem(answer: &HttpAnswer) -> Problem {
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem: Problem = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem.status, answer.status_code);
    problem
}

#[test]
fn the_sample_is_what_api_gateway_sends() {
    let event: ApiGatewayV2httpRequest = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(event.raw_path.as_deref(), Some("/v1/outcomes"));
}

#[tokio::test]
async fn each_event_is_durable_under_its_content_before_the_answer() {
    let store = MemoryStore::new();
    let first = answer(&store, &sample()).await;
    assert_eq!((first.status_code, first.body.as_str()), (202, r#"{"accepted":2}"#));
    let landed = store.contents();
    assert_eq!(landed.len(), 2);
    for (key, bytes) in &landed {
        let event: OutcomeEvent = serde_json::from_slice(bytes).unwrap();
        assert_eq!(*key, lake::landing_outcome(event.prediction_id, &event.digest()));
        assert_eq!(lake::landing_table(key).unwrap(), lake::Table::Outcomes);
    }
    assert_eq!(answer(&store, &sample()).await, first, "a retry is the same");
    assert_eq!(store.contents(), landed);
}

#[tokio::test]
async fn base64_bodies_and_single_events_are_taken() {
    let store = MemoryStore::new();
    let encoded = "eyJvdXRjb21lcyI6W119"; // {"outcomes":[]}
    let event = HttpEvent { body: Some(encoded.to_owned()), is_base64_encoded: true, ..sample() };
    assert_eq!(problem(&answer(&store, &event).await).reason, "invalid_batch_size");

    let batch: Value = serde_json::from_str(sample().body.as_deref().unwrap()).unwrap();
    let single = answer(&store, &request(&batch["outcomes"][0])).await;
    assert_eq!(single.body, r#"{"accepted":1}"#);

    let twice = json!({"outcomes": [batch["outcomes"][1], batch["outcomes"][1]]});
    assert_eq!(answer(&store, &request(&twice)).await.body, r#"{"accepted":2}"#);
    assert_eq!(store.keys().len(), 2, "an event that is twice in the batch is one object");
}

#[tokio::test]
async fn one_bad_event_refuses_the_batch_before_anything_is_written() {
    let store = MemoryStore::new();
    let mut batch: Value = serde_json::from_str(sample().body.as_deref().unwrap()).unwrap();
    batch["outcomes"][1]["cancelled_at"] = json!("soon");
    let problem = problem(&answer(&store, &request(&batch)).await);
    assert_eq!((problem.status, problem.errors[0].pointer.as_str()), (422, "/outcomes/1/cancelled_at"));
    assert!(store.keys().is_empty());
}

#[tokio::test]
async fn other_requests_are_refused() {
    let store = MemoryStore::new();
    let mut get = sample();
    get.request_context.http.method = "GET".to_owned();
    let refused = answer(&store, &get).await;
    assert_eq!((refused.status_code, refused.headers["allow"].as_str()), (405, "POST"));
    let elsewhere = HttpEvent { raw_path: "/v1/outcome".to_owned(), ..sample() };
    assert_eq!(answer(&store, &elsewhere).await.status_code, 404);
    let mut text = sample();
    text.headers.insert("content-type".to_owned(), "text/plain".to_owned());
    assert_eq!(answer(&store, &text).await.status_code, 415);
    let long = HttpEvent { body: Some(" ".repeat(MAX_BODY_BYTES + 1)), ..sample() };
    assert_eq!(problem(&answer(&store, &long).await).status, 413);
    assert_eq!(answer(&store, &HttpEvent { body: None, ..sample() }).await.status_code, 400);
    assert!(store.keys().is_empty());
    let staged = HttpEvent { raw_path: "/prod/v1/outcomes".to_owned(), ..sample() };
    assert_eq!(answer(&store, &staged).await.status_code, 202);
}

/// A store that takes the first write and then says no.
struct Failing(MemoryStore, StoreError);

#[async_trait]
impl PutObject for Failing {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        if self.0.keys().is_empty() { self.0.put_object(key, bytes, condition).await } else { Err(self.1.clone()) }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_503_and_the_retry_is_safe() {
    let (key, detail) = (String::new(), "secret host".to_owned());
    let unavailable = StoreError::Unavailable { verb: "put", key: key.clone(), detail: detail.clone() };
    let store = Failing(MemoryStore::new(), unavailable);
    let failed = answer(&store, &sample()).await;
    assert_eq!((failed.status_code, failed.headers["retry-after"].as_str()), (503, "1"));
    assert_eq!(problem(&failed).reason, "object_store_unavailable");
    assert!(!failed.body.contains("secret"));
    // The store is back: the same body, no matter what was stored before.
    assert_eq!(answer(&store.0, &sample()).await.status_code, 202);
    assert_eq!(store.0.keys().len(), 2);

    let store = Failing(MemoryStore::new(), StoreError::Refused { verb: "put", key, detail });
    assert_eq!(problem(&answer(&store, &sample()).await).status, 500);
}
