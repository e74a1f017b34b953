//! Every parser of the archive's inputs on inputs made at random: no panic, and good + bad = input.
//!
//!     cargo run --release -p archive-simulator --example fuzz -- [--count N] [--seed N] [--threads N]
//!
//! Inputs: lines of landed prediction records, shadows and outcomes, of SageMaker's Data Capture, batch transform,
//! asynchronous inference and ground truth (plain, gzip, zstd; good, mutated, noise), bodies of `POST /v1/outcomes`, and
//! events of S3, SQS and EventBridge. The same seed gives the same inputs with any number of threads.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use archive::{DecodeLimits, decode_source};
use domain::lake::landing_source;
use outcome_intake::parse_outcomes;
use rand::{Rng, RngCore, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use result_archiver::{Trigger, parse_event};
use serde_json::{Value, json};

const CASES_AT_ONCE: u64 = 500;
const RECORD: &str = r#"{"prediction_id":"019c13ec-9e00-7000-8000-00000000000a","model":"pickup-eta","release_id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","spec_hash":"s","unit_id":"rider","requested_at":"2026-01-31T12:00:00.123456789Z","answered_at":"2026-01-31T12:00:00.2Z","assignment":{"experiment_id":"e","arm":"a","probability":0.5},"tier":"endpoint","tier_reason":"x","endpoint":"e","variant":"v","model_version":"1","inputs":{"lat":35.6,"vip":true},"candidates":[{"candidate_id":"car-1","inputs":{"car_lat":35.5,"車":null},"features":[1.5,null,-0.0],"prediction":300.5,"fallback":280}],"timings":{"transform_us":20,"endpoint_us":3000,"total_us":4000}}"#;
const OUTCOME: &str = r#"{"prediction_id":"019c13ec-9e00-7000-8000-00000000000a","candidate_id":"car-1","observed_at":"2026-01-31T12:20:00Z","dispatched_at":"2026-01-31T12:01:00Z","arrived_at":"2026-01-31T12:09:30.5Z","metrics":{"rated":true,"fare":12.5}}"#;
/// Landed files: the kind's name, a key, a good line.
const FILES: [(&str, &str, &str); 8] = [
    ("records", "landing/predictions/pickup-eta/dt=2026-01-31/hour=12/x.json", RECORD),
    ("outcomes", "landing/outcomes/dt=2026-01-31/hour=12/x.json", OUTCOME),
    (
        "shadows",
        "landing/shadows/pickup-eta/dt=2026-01-31/hour=12/x.json",
        r#"{"prediction_id":"019c13ec-9e00-7000-8000-00000000000a","model":"pickup-eta","release_id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","arm":"shadow","endpoint":"e","variant":"v","model_version":"2","answered_at":"2026-01-31T12:00:00.2Z","endpoint_us":3000,"candidates":[{"candidate_id":"car-1","prediction":300.5}]}"#,
    ),
    (
        "captures",
        "landing/data-capture/pickup-eta/e/v/2026/01/31/12/x.jsonl",
        r#"{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"1.5,2\n","encoding":"CSV"},"endpointOutput":{"observedContentType":"application/json","mode":"OUTPUT","data":"eyJhIjoxfQ==","encoding":"BASE64"}},"eventMetadata":{"eventId":"a","inferenceId":"019c13ec-9e00-7000-8000-00000000000a","inferenceTime":"2026-01-31T12:00:01Z","customAttributes":["x=1"]},"eventVersion":"0"}"#,
    ),
    (
        "transforms",
        "landing/batch-transform/pickup-eta/job/x.csv.out",
        r#"{"a":1,"SageMakerOutput":{"score":2.5},"SageMakerInferenceId":"019c13ec-9e00-7000-8000-00000000000a","SageMakerInferenceTime":"2026-01-31T12:00:01Z"}"#,
    ),
    (
        "transforms in CSV",
        "landing/batch-transform/pickup-eta/job/x.csv.out",
        r#"1.5,"a, b",2.5,019c13ec-9e00-7000-8000-00000000000a,2026-01-31T12:00:01Z"#,
    ),
    (
        "notifications",
        "landing/async-inference/pickup-eta/x.json",
        r#"{"awsRegion":"us-east-1","eventTime":"2026-01-31T12:00:01Z","receivedTime":"2026-01-31T12:00:00Z","eventSource":"aws:sagemaker","eventName":"InferenceResult","eventVersion":"1.0","invocationStatus":"Completed","inferenceId":"019c13ec-9e00-7000-8000-00000000000a","requestParameters":{"endpointName":"e","inputLocation":"s3://b/in"},"responseParameters":{"contentType":"text/csv","outputLocation":"s3://b/out"}}"#,
    ),
    (
        "ground truth",
        "landing/ground-truth/pickup-eta/2026/01/31/13/x.jsonl",
        r#"{"groundTruthData":{"data":"312.5","encoding":"CSV"},"eventMetadata":{"eventId":"019c13ec-9e00-7000-8000-00000000000a"},"eventVersion":"0"}"#,
    ),
];
/// What trips parsers.
const TOKENS: [&str; 28] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-0.0",
    "NaN",
    "1e999",
    "-1",
    "18446744073709551616",
    "1.7976931348623157e308",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\u{feff}",
    "\"9999-12-30T22:00:00.999Z\"",
    "\"1969-12-31T23:59:59Z\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"surprise\":1,",
    "\"metrics\":{\"a\":1e400},",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

#[derive(Default)]
struct Counts {
    lines: [u64; FILES.len()],
    bodies: u64,
    events: u64,
    good: u64,
    bad: u64,
    damaged_objects: u64,
}

impl Counts {
    fn inputs(&self) -> u64 {
        self.lines.iter().sum::<u64>() + self.bodies + self.events
    }

    fn add(&mut self, other: &Self) {
        self.lines.iter_mut().zip(other.lines).for_each(|(lines, others)| *lines += others);
        self.bodies += other.bodies;
        self.events += other.events;
        self.good += other.good;
        self.bad += other.bad;
        self.damaged_objects += other.damaged_objects;
    }
}

fn mutate(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..12usize)).min(bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..end, TOKENS.choose(random).unwrap().bytes())),
            // A JSON value for another.
            _ => {
                let colons: Vec<usize> = (0..bytes.len()).filter(|&index| bytes[index] == b':').collect();
                let Some(&colon) = colons.choose(random) else { continue };
                let value = bytes[colon + 1..].iter().position(|byte| b",}]".contains(byte)).unwrap_or(0);
                bytes.splice(colon + 1..colon + 1 + value, TOKENS.choose(random).unwrap().bytes());
            }
        }
    }
}

fn input(random: &mut ChaCha8Rng, good: &str) -> Vec<u8> {
    let mut bytes = good.as_bytes().to_vec();
    match random.random_range(0..10) {
        0 | 1 => {}
        2 => {
            bytes = vec![0; random.random_range(0..40)];
            random.fill_bytes(&mut bytes);
        }
        _ => mutate(random, &mut bytes),
    }
    bytes
}

/// A landed object of several lines: every line that is not blank is good or bad, and a bad one is kept to the byte.
fn landed(random: &mut ChaCha8Rng, key: &str, good: &str, counts: &mut Counts) -> Result<u64, String> {
    let source = landing_source(key).map_err(|error| error.to_string())?;
    let mut object = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..random.random_range(1..=8) {
        let mut line = input(random, good);
        line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        object.extend_from_slice(&line);
        object.push(b'\n');
        if !line.iter().all(u8::is_ascii_whitespace) {
            lines.push(line);
        }
    }
    let mut packed = match random.random_range(0..12) {
        0 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&object).map_err(|error| error.to_string())?;
            encoder.finish().map_err(|error| error.to_string())?
        }
        _ => object.clone(),
    };
    let is_packed = packed != object;
    let is_damaged = is_packed && random.random_bool(0.5);
    if is_damaged {
        mutate(random, &mut packed);
    }
    let landed = decode_source(&source, &packed, DecodeLimits::default());
    let (good, bad) = (landed.rows.len() as u64, landed.bad.len() as u64);
    counts.good += good;
    counts.bad += bad;
    if !landed.complete {
        counts.damaged_objects += 1;
        return if bad > 0 { Ok(lines.len() as u64) } else { Err("an incomplete object without a reason".to_owned()) };
    }
    if is_damaged {
        return Ok(lines.len() as u64);
    }
    if good + bad != lines.len() as u64 {
        return Err(format!("{good} good + {bad} bad of {} lines", lines.len()));
    }
    for line in &landed.bad {
        let at = line.offset as usize;
        if object.get(at..at + line.original.len()) != Some(&line.original[..]) {
            return Err(format!("the bad line at {at} is not the one that came"));
        }
    }
    Ok(lines.len() as u64)
}

fn body(random: &mut ChaCha8Rng, counts: &mut Counts) -> Result<(), String> {
    let (text, sent) = match random.random_range(0..4) {
        0 => (OUTCOME.to_owned(), 1),
        many => (format!("{{\"outcomes\":[{}]}}", vec![OUTCOME; many].join(",")), many),
    };
    let body = input(random, &text);
    counts.bodies += 1;
    match parse_outcomes(&body) {
        Ok(events) if body == text.as_bytes() && events.len() != sent => {
            Err(format!("{} of {sent} outcomes", events.len()))
        }
        Ok(events) if events.iter().all(|event| event.validate().is_ok()) => {
            counts.good += 1;
            Ok(())
        }
        Ok(_) => Err("an invalid outcome was taken".to_owned()),
        Err(problem) if [400, 422].contains(&problem.status) => {
            counts.bad += 1;
            Ok(())
        }
        Err(problem) => Err(format!("status {}", problem.status)),
    }
}

fn event(random: &mut ChaCha8Rng, counts: &mut Counts) -> Result<(), String> {
    let key = ["landing/outcomes/a+b%2B.json", "landing/predictions/m/%FF%zz", "x", "landing/outcomes/%E8%BB%8A"];
    let object = json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "lake"}, "object": {"key": key.choose(random)}}});
    let notification = json!({"Records": vec![object; random.random_range(1..3)]});
    let messages = random.random_range(1..5usize);
    let records: Vec<Value> = (0..messages)
        .map(|number| {
            let body = String::from_utf8_lossy(&input(random, &notification.to_string())).into_owned();
            json!({"messageId": format!("{number}"), "body": body, "eventSource": "aws:sqs"})
        })
        .collect();
    let text = match random.random_range(0..4) {
        0 => notification.to_string(),
        1 => json!({"detail-type": "Object Created", "source": "aws.s3",
            "detail": {"bucket": {"name": "lake"}, "object": {"key": "landing/outcomes/x"}}})
        .to_string(),
        _ => {
            // Messages as they come, each with a body that may be anything.
            counts.events += messages as u64;
            return match parse_event(&json!({"Records": records}), "lake") {
                Ok(Trigger::Messages(found)) if found.len() == messages => {
                    for message in found {
                        *if message.deliveries.iter().all(Result::is_ok) {
                            &mut counts.good
                        } else {
                            &mut counts.bad
                        } += 1;
                    }
                    Ok(())
                }
                other => Err(format!("{messages} messages, {other:?}")),
            };
        }
    };
    counts.events += 1;
    let Ok(event) = serde_json::from_slice::<Value>(&input(random, &text)) else {
        // Lambda's own: the function sees JSON only.
        counts.bad += 1;
        return Ok(());
    };
    *if parse_event(&event, "lake").is_ok() { &mut counts.good } else { &mut counts.bad } += 1;
    Ok(())
}

fn case(seed: u64, number: u64, counts: &mut Counts) -> Result<(), String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    let random = &mut random;
    match (number % (FILES.len() as u64 + 2)) as usize {
        8 => body(random, counts),
        9 => event(random, counts),
        kind => {
            let (_, key, good) = FILES[kind];
            counts.lines[kind] += landed(random, key, good, counts)?;
            Ok(())
        }
    }
}

fn main() {
    let mut numbers = [("--count", 10_000_000), ("--seed", 1), ("--threads", 2)];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let value = pair.get(1).and_then(|value| value.parse().ok());
        let (Some(known), Some(value)) = (numbers.iter_mut().find(|(name, _)| *name == pair[0]), value) else {
            eprintln!("usage: fuzz [--count N] [--seed N] [--threads N]");
            std::process::exit(2);
        };
        known.1 = value;
    }
    let [(_, count), (_, seed), (_, threads)] = numbers;
    for (kind, key, good) in FILES {
        let landed = decode_source(&landing_source(key).unwrap(), good.as_bytes(), DecodeLimits::default());
        assert_eq!(landed.rows.len(), 1, "the good line of {kind}: {:?}", landed.bad);
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (began, next, failed) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while total.lock().unwrap().inputs() < count && !failed.load(Ordering::Relaxed) {
                    let mut counts = Counts::default();
                    let first = next.fetch_add(CASES_AT_ONCE, Ordering::Relaxed);
                    for number in first..first + CASES_AT_ONCE {
                        let outcome = catch_unwind(AssertUnwindSafe(|| case(seed, number, &mut counts)));
                        if let Err(law) = outcome.unwrap_or_else(|_| Err("panicked".to_owned())) {
                            println!("seed {seed}, case {number}: {law}");
                            failed.store(true, Ordering::Relaxed);
                        }
                    }
                    total.lock().unwrap().add(&counts);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    for ((kind, _, _), lines) in FILES.iter().zip(total.lines) {
        println!("{lines} lines of {kind}");
    }
    println!(
        "{} inputs, seed {seed}: the lines, {} bodies, {} events; {} good, {} bad ({} damaged objects); {:.0} s, {threads} threads",
        total.inputs(),
        total.bodies,
        total.events,
        total.good,
        total.bad,
        total.damaged_objects,
        began.elapsed().as_secs_f64(),
    );
    if failed.into_inner() {
        std::process::exit(1);
    }
    println!("no panic; good + bad = input");
}
