//! The laws of dataset versions, over a store and a warehouse in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod dataset_support;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use arrow_array::{RecordBatch, TimestampMicrosecondArray};
use arrow_select::concat::concat_batches;
use cloud::{
    memory::MemoryStore,
    object_store::{DeleteObject, GetObject, ListObjects, PutCondition, PutObject},
};
use dataset_support::{Dealing, Dying, now, order, rows, working};
use datasets::{
    Definition, Expectations, Extracted, FileInput, GcPolicy, Order, PointerOutcome, collect_garbage, diff, extract,
    in_use, list, pin, promote, read_manifest, resolve, verify,
};
use domain::{ModelName, lake};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn rides() -> ModelName {
    "rides".parse().unwrap()
}

async fn extracted(store: &MemoryStore, warehouse: &Dealing, order: &Order, chunk_bytes: usize) -> Extracted {
    extract(store, warehouse, order, working(chunk_bytes), &|_| {}).await.unwrap()
}

/// Every object of a version, by key.
fn version(store: &MemoryStore) -> BTreeMap<String, bytes::Bytes> {
    let of_version = |key: &str| key.contains("/data/") || key.contains("/manifests/");
    store.contents().into_iter().filter(|(key, _)| of_version(key)).collect()
}

fn gc(min_age_hours: i64, dry_run: bool) -> GcPolicy {
    GcPolicy { now: now() + SignedDuration::from_hours(1), min_age: SignedDuration::from_hours(min_age_hours), dry_run }
}

#[tokio::test]
async fn the_same_rows_are_the_same_bytes_however_they_come() {
    let all = rows(20_000, 1);
    // Rows that are there several times, too.
    let all = concat_batches(&all.schema(), [&all, &all.slice(0, 500), &all.slice(100, 300)]).unwrap();
    let mut first: Option<BTreeMap<String, bytes::Bytes>> = None;
    for (seed, streams, batch_rows, chunk_bytes) in
        [(1, 1, 8192, 1 << 30), (2, 4, 1000, 200_000), (3, 7, 77, 50_000), (4, 2, 20_000, 1)]
    {
        let (store, warehouse) = (MemoryStore::new(), Dealing::new(all.clone(), streams, batch_rows, seed));
        let extracted = extracted(&store, &warehouse, &order(Expectations::default()), chunk_bytes).await;
        assert!(extracted.published.published && extracted.published.pointer == PointerOutcome::Moved);
        assert_eq!(extracted.published.rows, 20_800);
        let found = version(&store);
        assert_eq!(store.keys().iter().filter(|key| key.contains("/staging/")).count(), 0);
        let verified = verify(&store, &rides(), &extracted.published.address, &|_| {}).await.unwrap();
        assert_eq!((verified.rows, verified.troubles), (20_800, vec![]));
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(first.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>()),
        }
        let first = first.as_ref().unwrap();
        assert!(first == &version(&store), "other bytes with {streams} streams");
    }
}

#[tokio::test]
async fn other_rows_are_another_address() {
    let mut addresses = Vec::new();
    let base = rows(100, 1);
    for rows in [
        base.clone(),
        base.slice(0, 99),
        rows(100, 2),
        concat_batches(&base.schema(), [&base, &base.slice(5, 1)]).unwrap(),
    ] {
        let (store, warehouse) = (MemoryStore::new(), Dealing::new(rows, 2, 10, 1));
        addresses.push(extracted(&store, &warehouse, &order(Expectations::default()), 1000).await.published.address);
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4);
}

#[tokio::test]
async fn an_extract_that_is_done_is_not_done_again() {
    let (store, warehouse) = (MemoryStore::new(), Dealing::new(rows(500, 1), 3, 50, 1));
    let order = order(Expectations::default());
    let first = extracted(&store, &warehouse, &order, 10_000).await;
    let again = extracted(&store, &warehouse, &order, 10_000).await;
    assert_eq!(warehouse.staged.load(Ordering::SeqCst), 1);
    assert_eq!((again.published.address, again.published.published), (first.published.address, false));
    assert!(again.read.is_none());
}

#[tokio::test]
async fn a_session_that_ends_is_opened_anew() {
    let (store, warehouse) = (MemoryStore::new(), Dealing::new(rows(500, 1), 3, 50, 1));
    warehouse.expired_sessions.store(1, Ordering::SeqCst);
    let extracted = extracted(&store, &warehouse, &order(Expectations::default()), 10_000).await;
    assert_eq!(extracted.published.rows, 500);
}

/// Kills by the store: at any call of it, with the last write done or not.
#[tokio::test]
async fn deaths_leave_one_whole_version_and_nothing_else() {
    let kills: u32 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(200);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let unique =
        Expectations { unique: vec![vec!["ride_id".to_owned()]], min_rows: Some(1), ..Expectations::default() };
    let (order, all) = (order(unique), rows(3_000, 1));
    let mut expected: Option<BTreeMap<String, bytes::Bytes>> = None;
    let mut killed = 0;
    while killed < kills {
        let store = MemoryStore::new();
        let warehouse = Dealing::new(all.clone(), 4, 100, u64::from(killed));
        // Several deaths of one extract, then one life.
        loop {
            let dying = Dying::new(store.clone(), random.random_range(0..60), random.random());
            let outcome = extract(&dying, &warehouse, &order, working(8_000), &|_| {}).await;
            // A death while the remains are deleted is no failure of the extract.
            if outcome.is_ok() && dying.calls_left() >= 0 {
                break;
            }
            killed += u32::from(dying.calls_left() < 0);
            let half_published = list(&store, &rides()).await.unwrap();
            assert!(half_published.len() <= 1);
            for version in half_published {
                let verified = verify(&store, &rides(), &version.address, &|_| {}).await.unwrap();
                assert_eq!(verified.troubles, Vec::<String>::new());
            }
            // Now and then the remains are collected in between: those that are young stay, and nothing breaks.
            if random.random_bool(0.2) {
                collect_garbage(&store, &rides(), gc(24, false)).await.unwrap();
            }
        }
        let done = extract(&store, &warehouse, &order, working(8_000), &|_| {}).await.unwrap();
        assert_eq!(list(&store, &rides()).await.unwrap().len(), 1);
        let verified = verify(&store, &rides(), &done.published.address, &|_| {}).await.unwrap();
        assert_eq!((verified.rows, verified.troubles), (3_000, vec![]));
        assert_eq!(in_use(&store, &rides()).await.unwrap().unwrap().0.address, done.published.address);
        let kept = version(&store);
        collect_garbage(&store, &rides(), gc(0, false)).await.unwrap();
        let expected = expected.get_or_insert_with(|| kept.clone());
        assert!(*expected == version(&store) && *expected == kept);
        let rest: Vec<String> = store
            .keys()
            .into_iter()
            .filter(|key| !kept.contains_key(key))
            .map(|key| key.split('/').nth(2).unwrap().to_owned())
            .collect();
        assert!(rest.iter().all(|kind| ["latest.json", "history", "jobs"].contains(&kind.as_str())), "{rest:?}");
    }
}

#[tokio::test]
async fn of_two_that_publish_the_same_one_wins_and_the_other_says_so() {
    let all = rows(2_000, 1);
    for seed in 0..20 {
        let store = MemoryStore::new();
        let (one, two) = (Dealing::new(all.clone(), 3, 100, seed), Dealing::new(all.clone(), 3, 100, seed + 100));
        let order = order(Expectations::default());
        let (first, second) = tokio::join!(
            extract(&store, &one, &order, working(5_000), &|_| {}),
            extract(&store, &two, &order, working(9_000), &|_| {}),
        );
        let (first, second) = (first.unwrap().published, second.unwrap().published);
        assert_eq!(first.address, second.address);
        assert_eq!(list(&store, &rides()).await.unwrap().len(), 1);
        let verified = verify(&store, &rides(), &first.address, &|_| {}).await.unwrap();
        assert_eq!(verified.troubles, Vec::<String>::new());
        // Whatever one wrote after the other had cleared up is found.
        collect_garbage(&store, &rides(), gc(0, false)).await.unwrap();
        assert!(!store.keys().iter().any(|key| key.contains("/staging/")));
    }
}

#[tokio::test]
async fn a_later_state_stays_in_use() {
    let store = MemoryStore::new();
    let at = |day: u8| Order {
        as_of: Some(format!("2026-01-{day:02}T00:00:00Z").parse().unwrap()),
        ..order(Expectations::default())
    };
    let newer = extracted(&store, &Dealing::new(rows(100, 1), 2, 10, 1), &at(20), 1000).await.published;
    let older = extracted(&store, &Dealing::new(rows(90, 2), 2, 10, 1), &at(10), 1000).await.published;
    assert_eq!(older.pointer, PointerOutcome::Superseded { by: newer.address.clone() });
    assert_eq!(resolve(&store, &rides(), "latest").await.unwrap(), newer.address);
    let pointer = promote(&store, &rides(), &older.address, Some("try".to_owned()), now()).await.unwrap();
    assert_eq!((pointer.address, pointer.previous), (older.address.clone(), Some(newer.address.clone())));
    assert_eq!(resolve(&store, &rides(), &older.address[..8]).await.unwrap(), older.address);
    let (from, to) = (
        read_manifest(&store, &rides(), &newer.address).await.unwrap(),
        read_manifest(&store, &rides(), &older.address).await.unwrap(),
    );
    let differs = diff(&from, &to);
    assert_eq!((differs.rows, differs.schema.len()), ((100, 90), 0));
    assert!(differs.origin.is_empty() && !differs.same_rows && !differs.is_none());
    assert!(differs.as_of.0 > differs.as_of.1);
    let drive = differs.columns.iter().find(|column| column.name == "drive_s").unwrap();
    assert!((0.0..0.6).contains(&drive.distance.unwrap()), "{drive:?}");
    assert!(diff(&from, &from).columns.iter().all(|column| column.distance.is_none_or(|distance| distance == 0.0)));
    // The same rows at another time are another address, and no difference.
    let later = extracted(&store, &Dealing::new(rows(100, 1), 3, 7, 2), &at(21), 1000).await.published;
    let same = diff(&from, &read_manifest(&store, &rides(), &later.address).await.unwrap());
    assert!(same.from != same.to && same.is_none() && same.same_rows, "{same:?}");
}

#[tokio::test]
async fn a_dataset_goes_from_a_query_to_files_and_back() {
    let store = MemoryStore::new();
    let query = order(Expectations::default());
    let of_files = |tag: &str| {
        let file = FileInput { name: "raw/a.csv".to_owned(), bytes: 1, tag: tag.to_owned() };
        let definition = Definition { sql: String::new(), files: vec![file], ..query.definition.clone() };
        Order { definition, as_of: None, now: now() }
    };
    for (seed, order) in [query.clone(), of_files("1"), of_files("2"), query.clone()].iter().enumerate() {
        let order =
            Order { as_of: order.as_of.map(|as_of| as_of + SignedDuration::from_hours(seed as i64)), ..order.clone() };
        let published =
            extracted(&store, &Dealing::new(rows(100, seed as u64), 2, 10, 1), &order, 1000).await.published;
        assert_eq!(published.pointer, PointerOutcome::Moved, "{seed}");
        assert_eq!(resolve(&store, &rides(), "latest").await.unwrap(), published.address);
    }
}

#[tokio::test]
async fn garbage_is_what_nothing_leads_to() {
    let store = MemoryStore::new();
    let at = |day: u8| Order {
        as_of: Some(format!("2026-01-{day:02}T00:00:00Z").parse().unwrap()),
        ..order(Expectations::default())
    };
    let mut addresses = Vec::new();
    for day in 1..=4 {
        let warehouse = Dealing::new(rows(100, u64::from(day)), 2, 10, 1);
        addresses.push(extracted(&store, &warehouse, &at(day), 1000).await.published.address);
    }
    // The fourth is in use; the first is a parent of a version of another dataset; the second is pinned.
    pin(&store, &rides(), &addresses[1], "baseline", None, now()).await.unwrap();
    assert_eq!(resolve(&store, &rides(), "baseline").await.unwrap(), addresses[1]);
    assert!(pin(&store, &rides(), &addresses[1], "abcdef", None, now()).await.is_err());
    let parents = vec![datasets::Parent { dataset: rides(), address: addresses[0].clone() }];
    let child = Definition { dataset: "joined".parse().unwrap(), parents, ..at(5).definition };
    let child = Order { definition: child, ..at(5) };
    extracted(&store, &Dealing::new(rows(10, 9), 1, 10, 1), &child, 1000).await;
    // What lies about without a word of where it comes from.
    let orphan = lake::dataset_part(&rides(), &"e".repeat(64), 0);
    store.put_object(&orphan, "x".into(), PutCondition::Always).await.unwrap();

    let young = collect_garbage(&store, &rides(), gc(24, true)).await.unwrap();
    assert_eq!((young.versions.len(), young.kept_versions), (0, 4));
    let before = store.keys();
    let told = collect_garbage(&store, &rides(), gc(0, true)).await.unwrap();
    assert_eq!(told.versions, [addresses[2].clone()]);
    assert_eq!(before, store.keys());
    let gone = collect_garbage(&store, &rides(), gc(0, false)).await.unwrap();
    assert_eq!((gone.versions, gone.objects), (told.versions, told.objects));
    assert!(!store.keys().contains(&orphan));
    for address in [&addresses[0], &addresses[1], &addresses[3]] {
        assert_eq!(verify(&store, &rides(), address, &|_| {}).await.unwrap().troubles, Vec::<String>::new());
    }
    assert_eq!(collect_garbage(&store, &rides(), gc(0, true)).await.unwrap().objects, 0);
}

#[tokio::test]
async fn what_is_not_as_expected_is_refused_and_goes_on_once_that_is_mended() {
    let (store, all) = (MemoryStore::new(), rows(1_000, 1));
    let all = concat_batches(&all.schema(), [&all, &rows(7, 3)]).unwrap();
    let warehouse = Dealing::new(all, 2, 100, 1);
    let expect: Expectations = serde_json::from_value(serde_json::json!({
        "unique": [["ride_id"], ["ride_id", "drive_s"]],
        "min_rows": 1000,
        "freshness": {"column": "requested_at", "max_age_s": 86400},
        "columns": {"drive_s": {"min": 0, "max_null_share": 0.0}, "zone": {"max_null_share": 0.2}},
    }))
    .unwrap();
    let error = extract(&store, &warehouse, &order(expect), working(9_000), &|_| {}).await.unwrap_err();
    assert_eq!(error.reason(), "dataset_refused");
    let told = error.to_string();
    assert!(
        told.contains("7 rows repeat another") && told.contains("NULL") && told.contains("newest at most"),
        "{told}"
    );
    assert!(!told.contains("zone") && !told.contains("ride_id, drive_s  "), "{told}");
    assert!(list(&store, &rides()).await.unwrap().is_empty());
    assert!(in_use(&store, &rides()).await.unwrap().is_none());
    let mended = order(Expectations { min_rows: Some(1_000), ..Expectations::default() });
    let done = extract(&store, &warehouse, &mended, working(9_000), &|_| {}).await.unwrap();
    assert_eq!((done.published.rows, done.read.unwrap().rows), (1_007, 0), "nothing is read again");
    let unknown = order(Expectations { unique: vec![vec!["nothing".to_owned()]], ..Expectations::default() });
    let error = extract(&MemoryStore::new(), &warehouse, &unknown, working(9_000), &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("there is no column `nothing`"), "{error}");
}

/// Rows whose newest is of this time; all others are of years ago.
fn newest_at(at: &str) -> RecordBatch {
    let all = rows(100, 1);
    let (place, _) = all.schema_ref().column_with_name("requested_at").unwrap();
    let at: Timestamp = at.parse().unwrap();
    let mut columns = all.columns().to_vec();
    let times = TimestampMicrosecondArray::from_iter_values((0..99).chain([at.as_microsecond()]));
    columns[place] = Arc::new(times.with_timezone("UTC"));
    RecordBatch::try_new(all.schema(), columns).unwrap()
}

#[tokio::test]
async fn a_row_of_the_future_is_not_fresh() {
    let expect: Expectations =
        serde_json::from_value(serde_json::json!({"freshness": {"column": "requested_at", "max_age_s": 3600}}))
            .unwrap();
    // As of 2026-01-31T00:00:00Z, planned a day later.
    let now_read = order(expect);
    let sql = "SELECT * FROM rides FOR SYSTEM_TIME AS OF @as_of".to_owned();
    let as_it_was = Order { definition: Definition { sql, ..now_read.definition.clone() }, ..now_read.clone() };
    for (order, newest, is_fresh) in [
        (&as_it_was, "2026-01-30T23:00:00Z", true),
        (&as_it_was, "2026-01-30T22:59:59Z", false),
        (&as_it_was, "2026-01-31T00:01:00Z", true),
        (&as_it_was, "2026-01-31T00:01:01Z", false),
        (&as_it_was, "2999-01-01T00:00:00Z", false),
        // A query that does not name the time reads what is there when it is asked.
        (&now_read, "2026-01-31T23:59:59Z", true),
        (&now_read, "2026-01-31T00:00:00Z", false),
        (&now_read, "2999-01-01T00:00:00Z", false),
    ] {
        let warehouse = Dealing::new(newest_at(newest), 2, 10, 1);
        let done = extract(&MemoryStore::new(), &warehouse, order, working(9_000), &|_| {}).await;
        assert_eq!(done.is_ok(), is_fresh, "{newest}: {done:?}");
        if let Err(error) = done {
            let told = error.to_string();
            assert!(error.reason() == "dataset_refused" && told.contains("requested_at"), "{told}");
        }
    }
}

#[tokio::test]
async fn damage_is_found() {
    let (store, warehouse) = (MemoryStore::new(), Dealing::new(rows(200, 1), 2, 50, 1));
    let done = extracted(&store, &warehouse, &order(Expectations::default()), 1000).await.published;
    let troubles = async || verify(&store, &rides(), &done.address, &|_| {}).await.unwrap().troubles;
    let part = lake::dataset_part(&rides(), &done.address, 0);
    let whole = store.get_object(&part, None).await.unwrap().found().unwrap().bytes;
    let mut flipped = whole.to_vec();
    flipped[100] ^= 1;
    store.put_object(&part, flipped.into(), PutCondition::Always).await.unwrap();
    assert!(troubles().await[0].contains("other bytes"));
    store.delete_object(&part).await.unwrap();
    assert!(troubles().await[0].contains("gone"));
    store.put_object(&part, whole, PutCondition::Always).await.unwrap();
    assert!(troubles().await.is_empty());
    let manifest = lake::dataset_manifest(&rides(), &done.address);
    let text = store.get_object(&manifest, None).await.unwrap().found().unwrap().bytes;
    let changed = String::from_utf8(text.to_vec()).unwrap().replace("SELECT * FROM rides", "SELECT * FROM other");
    store.put_object(&manifest, changed.into(), PutCondition::Always).await.unwrap();
    assert_eq!(verify(&store, &rides(), &done.address, &|_| {}).await.unwrap_err().reason(), "dataset_object_unusable");
    assert!(store.list_objects("datasets/rides/").await.unwrap().len() > 3);
}
