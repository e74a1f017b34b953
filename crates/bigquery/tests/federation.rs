//! Workload identity federation from AWS: the token exchange against a token service of ours, which checks the signed request
//! byte by byte, as Google's checks it by sending it to AWS.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use bigquery::{BigQuery, Config, CredentialsSource};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use warehouse::{Extract, Limits, StageTable};

const AUDIENCE: &str = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/aws/providers/lambda";
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "IQoJb3JpZ2luX2VjEXAMPLE//token==";
const TOKEN: &str = "ya29.federated";
/// Set for the child that plays the function: its environment is the only place that Google's client looks into.
const CHILD: &str = "FEDERATION_CHILD";

/// What the fake services saw, and how the token service answers.
#[derive(Clone, Default)]
struct Seen {
    answer: Option<(u16, Value)>,
    exchanges: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    bearers: Arc<Mutex<Vec<String>>>,
}

async fn exchange(State(seen): State<Seen>, body: String) -> (StatusCode, Json<Value>) {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let form = body.split('&').filter_map(|pair| pair.split_once('='));
    seen.exchanges.lock().unwrap().push(form.map(|(name, value)| (decoded(name), decoded(value))).collect());
    let (status, answer) = seen.answer.clone().unwrap_or_else(|| {
        let token = json!({
            "access_token": TOKEN, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer", "expires_in": 3600,
        });
        (200, token)
    });
    (StatusCode::from_u16(status).unwrap(), Json(answer))
}

/// BigQuery, which refuses every query: only the token matters here.
async fn refuse(State(seen): State<Seen>, headers: axum::http::HeaderMap) -> (StatusCode, Json<Value>) {
    let bearer = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    seen.bearers.lock().unwrap().push(bearer.to_owned());
    let error = json!({"error": {"code": 400, "message": "it was asked", "status": "INVALID_ARGUMENT",
        "errors": [{"reason": "invalidQuery", "message": "it was asked"}]}});
    (StatusCode::BAD_REQUEST, Json(error))
}

async fn services(seen: Seen) -> String {
    let router = Router::new().route("/v1/token", post(exchange)).fallback(refuse).with_state(seen);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The function: a process of its own, whose environment is the given one and nothing else.
async fn function(url: &str, document: &Value, environment: &[(&'static str, &'static str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("external.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_function", "--nocapture"]).env_clear().envs(environment.iter().copied());
    child.env(CHILD, &file).env("URL", url);
    tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function() {
    let Some(file) = std::env::var_os(CHILD) else { return };
    let url = std::env::var("URL").unwrap();
    let config = Config {
        project: "p".to_owned(),
        staging_dataset: "s".to_owned(),
        location: None,
        endpoint: Some(url.clone()),
        storage_endpoint: Some(url),
        credentials: CredentialsSource::File(PathBuf::from(file)),
    };
    let extract = Extract {
        sql: "SELECT 1".to_owned(),
        parameters: BTreeMap::new(),
        as_of: None,
        job: "ds-1".to_owned(),
        labels: BTreeMap::new(),
        limits: Limits::default(),
    };
    let error = BigQuery::new(config).stage_table(&extract).await.unwrap_err();
    println!("TOLD {} {error}", error.reason());
}

fn external(url: &str) -> Value {
    json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": format!("{url}/v1/token"),
        "credential_source": {
            "environment_id": "aws1",
            "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
            // Lambda has no IMDS: this must not be asked.
            "imdsv2_session_token_url": "http://127.0.0.1:1/latest/api/token",
        },
    })
}

const LAMBDA: [(&str, &str); 4] = [
    ("AWS_REGION", "ap-northeast-1"),
    ("AWS_ACCESS_KEY_ID", KEY),
    ("AWS_SECRET_ACCESS_KEY", SECRET),
    ("AWS_SESSION_TOKEN", SESSION),
];

fn told(output: &Output) -> String {
    let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!all.contains(SECRET) && !all.contains(SESSION) && !all.contains(TOKEN), "a secret is told: {all}");
    let from = all.find("TOLD ").unwrap_or_else(|| panic!("{all}"));
    all[from + 5..].to_owned()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The authorization that AWS computes of a request, from the specification of Signature Version 4:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
fn signature_version_4(headers: &BTreeMap<String, String>, query: &str, region: &str) -> String {
    let date_time = &headers["x-amz-date"];
    let date = &date_time[..8];
    let signed: BTreeMap<&String, &String> = headers.iter().filter(|(name, _)| *name != "authorization").collect();
    let names: Vec<&str> = signed.keys().map(|name| name.as_str()).collect();
    let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical_headers = lines.concat();
    let empty = hex::encode(Sha256::digest(b""));
    let canonical = format!("POST\n/\n{query}\n{canonical_headers}\n{}\n{empty}", names.join(";"));
    let scope = format!("{date}/{region}/sts/aws4_request");
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
    let mut key = hmac(format!("AWS4{SECRET}").as_bytes(), date);
    for part in [region, "sts", "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex::encode(hmac(&key, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={}, Signature={signature}", names.join(";"))
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_token_service_gets_a_caller_identity_that_aws_would_confirm() {
    let seen = Seen::default();
    let url = services(seen.clone()).await;
    let output = function(&url, &external(&url), &LAMBDA).await;
    let answer = told(&output);
    assert!(answer.starts_with("warehouse_invalid_query") && answer.contains("it was asked"), "{answer}");
    assert_eq!(seen.bearers.lock().unwrap().first().map(String::as_str), Some("Bearer ya29.federated"));

    let exchanges = seen.exchanges.lock().unwrap().clone();
    let form = &exchanges[0];
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(form["audience"], AUDIENCE);
    assert_eq!(form["subject_token_type"], "urn:ietf:params:aws:token-type:aws4_request");
    assert!(form["scope"].contains("https://www.googleapis.com/auth/bigquery"), "{form:?}");
    // The subject token is a request, percent-encoded JSON, that only the holder of the secret can have signed.
    let request = form["subject_token"].replace('+', " ");
    let request = percent_decode_str(&request).decode_utf8().unwrap().into_owned();
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(request["method"], "POST");
    assert_eq!(request["body"], "");
    let query = "Action=GetCallerIdentity&Version=2011-06-15";
    assert_eq!(request["url"], format!("https://sts.ap-northeast-1.amazonaws.com/?{query}"));
    let headers = request["headers"].as_array().unwrap().iter();
    let headers: BTreeMap<String, String> = headers
        .map(|header| (header["key"].as_str().unwrap().to_lowercase(), header["value"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(headers["host"], "sts.ap-northeast-1.amazonaws.com");
    assert_eq!(headers["x-amz-security-token"], SESSION);
    assert_eq!(headers["x-goog-cloud-target-resource"], AUDIENCE, "it is good for nobody else");
    assert_eq!(headers["authorization"], signature_version_4(&headers, query, "ap-northeast-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_what_to_mend() {
    let refusal =
        |error: &str, description: &str| Some((400, json!({"error": error, "error_description": description})));
    let cases = [
        (
            refusal("invalid_target", "The target service indicated by the \"audience\" parameters is invalid."),
            "the audience names no workload identity provider",
        ),
        (
            refusal(
                "invalid_grant",
                "Received invalid AWS response of type ExpiredToken: The security token is expired",
            ),
            "credentials have expired",
        ),
        (
            refusal("unauthorized_client", "The given credential is rejected by the attribute condition."),
            "attribute condition does not let this AWS role in",
        ),
    ];
    for (answer, advice) in cases {
        let url = services(Seen { answer: answer.clone(), ..Seen::default() }).await;
        let told = told(&function(&url, &external(&url), &LAMBDA).await);
        assert!(told.starts_with("warehouse_credentials") && told.contains(advice), "{answer:?}: {told}");
        let said = answer.unwrap().1["error"].as_str().unwrap().to_owned();
        assert!(told.contains(&said), "Google's own words: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_be_is_told() {
    let seen = Seen::default();
    let url = services(seen.clone()).await;
    let without = told(&function(&url, &external(&url), &[("AWS_REGION", "ap-northeast-1")]).await);
    assert!(without.contains("AWS_ACCESS_KEY_ID") && without.contains("aws configure export-credentials"), "{without}");
    let nowhere = told(&function(&url, &external(&url), &LAMBDA[1..]).await);
    assert!(nowhere.contains("AWS_REGION is not set"), "{nowhere}");
    assert!(seen.exchanges.lock().unwrap().is_empty(), "nobody was asked");
}
