//! What landing objects cost: one per record, as the proxy writes them, against one per batch.
//!
//!     cargo run --release -p archive --example json_to_parquet -- data records.jsonl 1000000 1
//!     cargo run --release -p result-archiver --example landing_objects -- records.jsonl [RECORDS_PER_BATCH]
//!     … | cargo run --release -p result-archiver --example landing_objects -- - [RECORDS_PER_BATCH]
//!
//! The second form reads records from a pipe, as many as come, lands an object for each record and archives batch by batch, as it goes in
//! production: what is archived is no longer in the landing. It prints one line of JSON, for `benches/growth.py`.
//!
//! Lands the records in a store in memory, archives them in batches of as many as the function's trigger brings (500 unless
//! said otherwise), and compacts them. Told are the function's own time, which no network is in, and the calls of the
//! store, with what S3 asks for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    io::{BufRead as _, BufReader},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use archive::DecodeLimits;
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, PutCondition, PutObject, PutOutcome,
        StoreError,
    },
};
use result_archiver::{S3Key, archive_batch, compact};

/// US dollars per call, S3 Standard in us-east-1. Deletes are free.
const PUT_USD: f64 = 0.005 / 1000.0;
const GET_USD: f64 = 0.0004 / 1000.0;

#[derive(Default)]
struct Counting {
    store: MemoryStore,
    puts: AtomicU64,
    gets: AtomicU64,
    deletes: AtomicU64,
}

#[async_trait]
impl GetObject for Counting {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.store.get_object(key, if_none_match).await
    }
}

#[async_trait]
impl PutObject for Counting {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.store.put_object(key, bytes, condition).await
    }
}

#[async_trait]
impl DeleteObject for Counting {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        self.deletes.fetch_add(1, Ordering::Relaxed);
        self.store.delete_object(key).await
    }
}

#[async_trait]
impl ListObjects for Counting {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        let listed = self.store.list_objects(prefix).await?;
        // A page has a thousand keys, and is paid for as a put.
        self.puts.fetch_add((listed.len() as u64).div_ceil(1000).max(1), Ordering::Relaxed);
        Ok(listed)
    }
}

/// Lands `lines`, archives and compacts them, and prints what that took.
async fn run(what: &str, lines: &[String], per_object: usize, per_batch: usize) {
    let store = Counting::default();
    let mut keys = Vec::new();
    for (number, lines) in lines.chunks(per_object).enumerate() {
        let key = format!("landing/predictions/pickup-eta/dt=2026-11-25/hour=08/{number:08}.json");
        store.put_object(&key, Bytes::from(lines.concat()), PutCondition::Always).await.unwrap();
        keys.push(S3Key::from_plain(key));
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let begin = Instant::now();
    for batch in keys.chunks(per_batch.div_ceil(per_object)) {
        let outcome = archive_batch(&store, batch.iter().cloned(), DecodeLimits::default()).await;
        assert!(outcome.failures.is_empty() && outcome.summary.quarantined == 0, "{:?}", outcome.summary);
    }
    let archived = Instant::now();
    let outcome = compact(&store, None).await.unwrap();
    assert!(outcome.failures.is_empty());
    let compacted_s = archived.elapsed().as_secs_f64();
    let (archived_s, records) = ((archived - begin).as_secs_f64(), lines.len() as f64);
    let usd = count(&store.puts) * PUT_USD + count(&store.gets) * GET_USD;
    println!(
        "{what:24}{:>10.1}{:>12.1}{:>10.1}{:>12.1}{:>10.3}{:>8.3}{:>9.3}{:>14.2}",
        archived_s,
        archived_s / records * 1e6,
        compacted_s,
        compacted_s / records * 1e6,
        count(&store.puts) / records,
        count(&store.gets) / records,
        count(&store.deletes) / records,
        usd / records * 1e6,
    );
}

/// Processor seconds of this thread so far: the first figure of Linux's `schedstat`, in nanoseconds.
fn processor_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Lands, archives and at the end compacts what comes through the pipe.
async fn stream(per_batch: usize) {
    let store = Counting::default();
    let mut lines = std::io::stdin().lock().lines();
    let (mut records, mut archived_s) = (0_u64, 0.0);
    loop {
        let mut keys = Vec::with_capacity(per_batch);
        for line in lines.by_ref().take(per_batch) {
            let key = format!("landing/predictions/pickup-eta/dt=2026-11-25/hour=08/{records:08}.json");
            store.put_object(&key, Bytes::from(line.unwrap() + "\n"), PutCondition::Always).await.unwrap();
            keys.push(S3Key::from_plain(key));
            records += 1;
        }
        if keys.is_empty() {
            break;
        }
        let before_s = processor_s();
        let outcome = archive_batch(&store, keys, DecodeLimits::default()).await;
        archived_s += processor_s() - before_s;
        assert!(outcome.failures.is_empty() && outcome.summary.quarantined == 0, "{:?}", outcome.summary);
    }
    let before_s = processor_s();
    let outcome = compact(&store, None).await.unwrap();
    assert!(outcome.failures.is_empty());
    let compacted_s = processor_s() - before_s;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak_kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    println!(
        r#"{{"records":{records},"archive_s":{archived_s},"compact_s":{compacted_s},"puts":{},"gets":{},"peak_kb":{peak_kb}}}"#,
        store.puts.load(Ordering::Relaxed),
        store.gets.load(Ordering::Relaxed),
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = arguments.first() else {
        println!("landing_objects RECORDS.jsonl | - [RECORDS_PER_BATCH]");
        return;
    };
    let per_batch = arguments.get(1).map_or(500, |text| text.parse().unwrap());
    if path == "-" {
        return stream(per_batch).await;
    }
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let lines: Vec<String> = file.lines().map(|line| line.unwrap() + "\n").collect();
    println!("{} records, {per_batch} in a batch; calls are per record", lines.len());
    println!(
        "{:24}{:>10}{:>12}{:>10}{:>12}{:>10}{:>8}{:>9}{:>14}",
        "an object for each",
        "archive s",
        "µs/record",
        "compact s",
        "µs/record",
        "puts",
        "gets",
        "deletes",
        "S3 USD/million"
    );
    run("record", &lines, 1, per_batch).await;
    run("batch", &lines, per_batch, per_batch).await;
}
