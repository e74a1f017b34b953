//! The protocols as a client sees them: jobs' corner cases, streams, faults, a restart.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tonic::{Code, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use super::messages::{
    CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadRowsResponse, ReadSession, TableReadOptions,
};
use crate::{Fault, Options, Schema, Server, Warehouse, WriteDisposition};

struct Client {
    _server: Server,
    warehouse: Warehouse,
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn of(options: Options) -> Self {
        let warehouse = Warehouse::open(options).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = warehouse.serve(listener).unwrap();
        Self { url: server.url(), _server: server, warehouse, http: reqwest::Client::new() }
    }

    async fn new(folder: &tempfile::TempDir) -> Self {
        Self::of(Options::new(folder.path())).await
    }

    async fn post(&self, path: &str, body: Json) -> (u16, Json) {
        let request = self.http.post(format!("{}/bigquery/v2/projects/mannen/{path}", self.url)).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Json) {
        let response = self.http.get(format!("{}/bigquery/v2/projects/mannen/{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn finished(&self, id: &str) -> Json {
        let (status, answer) = self.get(&format!("queries/{id}?timeoutMs=60000&maxResults=0")).await;
        assert!(status >= 400 || answer["jobComplete"] == true, "{answer}");
        self.get(&format!("jobs/{id}")).await.1
    }

    fn numbers(&self, table: &str, rows: i64) {
        let table = self.warehouse.table_ref(table).unwrap();
        let schema = Schema::parse("n:INTEGER,text:STRING").unwrap();
        let rows = (0..rows).map(|n| json!({ "n": n, "text": format!("row {n}") }));
        self.warehouse.write_rows(&table, &schema, WriteDisposition::Truncate, rows).unwrap();
    }

    async fn grpc(&self) -> Grpc<Channel> {
        let channel = Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap();
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        grpc
    }

    async fn session(&self, table: &str, streams: i32, options: TableReadOptions) -> Result<ReadSession, Status> {
        let (dataset, table) = table.split_once('.').unwrap();
        let request = CreateReadSessionRequest {
            parent: "projects/mannen".to_owned(),
            read_session: Some(ReadSession {
                data_format: DataFormat::Arrow as i32,
                table: format!("projects/mannen/datasets/{dataset}/tables/{table}"),
                read_options: Some(options),
                ..ReadSession::default()
            }),
            max_stream_count: streams,
            preferred_min_stream_count: 0,
        };
        let path = "/google.cloud.bigquery.storage.v1.BigQueryRead/CreateReadSession".parse().unwrap();
        let codec = ProstCodec::<CreateReadSessionRequest, ReadSession>::default();
        Ok(self.grpc().await.unary(tonic::Request::new(request), path, codec).await?.into_inner())
    }

    /// A stream's values of `n`, and what it ended with.
    async fn read(&self, stream: &str, offset: i64) -> (Vec<i64>, Option<Code>) {
        let path = "/google.cloud.bigquery.storage.v1.BigQueryRead/ReadRows".parse().unwrap();
        let request = tonic::Request::new(ReadRowsRequest { read_stream: stream.to_owned(), offset });
        let codec = ProstCodec::<ReadRowsRequest, ReadRowsResponse>::default();
        let mut found = Vec::new();
        let mut stream = match self.grpc().await.server_streaming(request, path, codec).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return (found, Some(status.code())),
        };
        let mut schema = None;
        loop {
            match stream.message().await {
                Ok(Some(response)) => {
                    let schema = schema.get_or_insert_with(|| response.arrow_schema.clone().unwrap().serialized_schema);
                    let Some(super::messages::Rows::ArrowRecordBatch(batch)) = response.rows else { panic!("no rows") };
                    let bytes = [schema.as_slice(), &batch.serialized_record_batch].concat();
                    let mut reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
                    let batch = reader.next().unwrap().unwrap();
                    assert_eq!(batch.num_rows() as i64, response.row_count);
                    let column = batch.column_by_name("n").unwrap();
                    let column: &arrow_array::Int64Array = arrow_array::cast::AsArray::as_primitive(column);
                    found.extend(column.values());
                }
                Ok(None) => return (found, None),
                Err(status) => return (found, Some(status.code())),
            }
        }
    }
}

fn query(text: &str) -> Json {
    json!({ "query": text, "useLegacySql": false })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobs_id_is_used_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let job = json!({ "jobReference": { "jobId": "ds-1" }, "configuration": { "query": query("SELECT 41 + 1 AS x") } });
    {
        let client = Client::new(&folder).await;
        let (status, begun) = client.post("jobs", job.clone()).await;
        assert_eq!((status, begun["jobReference"]["jobId"].as_str()), (200, Some("ds-1")));
        let (status, again) = client.post("jobs", job.clone()).await;
        assert_eq!((status, &again["error"]["errors"][0]["reason"]), (409, &json!("duplicate")));
        assert_eq!(again["error"]["message"], "Already Exists: Job mannen:US.ds-1");
        assert_eq!(client.finished("ds-1").await["status"], json!({ "state": "DONE" }));
    }
    let client = Client::new(&folder).await;
    assert_eq!(client.post("jobs", job).await.0, 409);
    let (_, found) = client.get("queries/ds-1").await;
    assert_eq!((&found["rows"][0]["f"][0]["v"], &found["totalRows"]), (&json!("42"), &json!("1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_bigquerys() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder).await;
    client.numbers("d.numbers", 10);
    let cases = [
        ("SELECT nope FROM d.numbers", 400, "invalidQuery", "Unrecognized name: nope"),
        ("SELECT 1 +", 400, "invalidQuery", "Syntax error"),
        ("SELECT 1 FROM d.none", 404, "notFound", "Not found: Table mannen:d.none"),
        ("SELECT 1 FROM none.none", 404, "notFound", "Not found: Dataset mannen:none"),
        ("SELECT 1 / (n - n) FROM d.numbers", 400, "invalidQuery", "division by zero"),
        ("DELETE FROM d.numbers WHERE TRUE", 400, "invalidQuery", "statements other than SELECT"),
        ("SELECT n + text FROM d.numbers", 400, "invalidQuery", "No matching signature for operator +"),
        ("SELECT n FROM d.numbers WHERE n = @n", 400, "invalidQuery", "Query parameter 'n' not found"),
        ("SELECT SOUNDEX(text) FROM d.numbers", 400, "invalidQuery", "does not support the function SOUNDEX"),
    ];
    for (text, status, reason, message) in cases {
        let (found, answer) = client.post("queries", query(text)).await;
        assert_eq!(
            (found, answer["error"]["errors"][0]["reason"].as_str()),
            (status, Some(reason)),
            "{text}: {answer}"
        );
        assert!(answer["error"]["message"].as_str().unwrap().contains(message), "{text}: {answer}");
    }
    // A job that is refused for its cost has run to its end; a dry run is not refused.
    let mut limited = json!({ "configuration": { "query": query("SELECT n FROM d.numbers") } });
    limited["configuration"]["query"]["maximumBytesBilled"] = "10485759".into();
    let (status, job) = client.post("jobs", limited.clone()).await;
    assert_eq!(status, 200);
    let job = client.finished(job["jobReference"]["jobId"].as_str().unwrap()).await;
    assert_eq!(job["status"]["errorResult"]["reason"], "bytesBilledLimitExceeded", "{job}");
    assert_eq!(
        job["status"]["errorResult"]["message"],
        "Query exceeded limit for bytes billed: 10485759. 10485760 or higher required."
    );
    limited["configuration"]["dryRun"] = true.into();
    let (status, dry) = client.post("jobs", limited).await;
    assert_eq!((status, &dry["statistics"]["totalBytesProcessed"]), (200, &json!("80")));
    assert!(dry["jobReference"].get("jobId").is_none());
    assert_eq!(dry["statistics"]["query"]["referencedTables"][0]["tableId"], "numbers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_cancelled_and_time_out() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder).await;
    client.numbers("d.numbers", 5_000);
    // Minutes of work, if it were let.
    let long = "SELECT COUNT(*) AS n FROM d.numbers AS a CROSS JOIN d.numbers AS b CROSS JOIN d.numbers AS c WHERE a.n + b.n = c.n * 2";
    let (_, job) = client.post("jobs", json!({ "configuration": { "query": query(long) } })).await;
    let id = job["jobReference"]["jobId"].as_str().unwrap();
    let (_, waiting) = client.get(&format!("queries/{id}?timeoutMs=50")).await;
    assert_eq!(waiting["jobComplete"], false);
    let (status, _) = client.post(&format!("jobs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(client.finished(id).await["status"]["errorResult"]["reason"], "stopped");
    let limited = json!({ "configuration": { "query": query(long), "jobTimeoutMs": "100" } });
    let (_, job) = client.post("jobs", limited).await;
    let job = client.finished(job["jobReference"]["jobId"].as_str().unwrap()).await;
    assert_eq!(job["status"]["errorResult"]["reason"], "timeout");
    // Neither has left a table, and the warehouse goes on.
    let (status, found) = client.post("queries", query("SELECT COUNT(*) AS n FROM d.numbers")).await;
    assert_eq!((status, &found["rows"][0]["f"][0]["v"]), (200, &json!("5000")));
    assert_eq!(client.get("datasets/_anonymous/tables").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_hold_each_row_once_and_resume_at_any_offset() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder).await;
    client.numbers("d.numbers", 10_000);
    let session = client.session("d.numbers", 3, TableReadOptions::default()).await.unwrap();
    assert_eq!((session.streams.len(), session.estimated_row_count), (3, 10_000));
    // What is written later is not seen.
    client.numbers("d.numbers", 5);
    let mut all = Vec::new();
    for stream in &session.streams {
        let (rows, end) = client.read(&stream.name, 0).await;
        assert_eq!(end, None);
        for offset in [1, 100, rows.len() as i64 - 1, rows.len() as i64] {
            assert_eq!(client.read(&stream.name, offset).await, (rows[offset as usize..].to_vec(), None));
        }
        assert_eq!(client.read(&stream.name, rows.len() as i64 + 1).await.1, Some(Code::InvalidArgument));
        all.extend(rows);
    }
    assert!(!all.is_sorted(), "streams are not in the table's order");
    all.sort_unstable();
    assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    // A restriction counts for offsets too.
    client.numbers("d.numbers", 1_000);
    let options =
        TableReadOptions { row_restriction: "n >= 500 AND MOD(n, 2) = 0".to_owned(), ..TableReadOptions::default() };
    let session = client.session("d.numbers", 1, options).await.unwrap();
    let (rows, _) = client.read(&session.streams[0].name, 0).await;
    assert_eq!(rows.len(), 250);
    assert_eq!(client.read(&session.streams[0].name, 77).await.0, rows[77..]);
    let wrong = TableReadOptions { row_restriction: "n +".to_owned(), ..TableReadOptions::default() };
    assert_eq!(client.session("d.numbers", 1, wrong).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.session("d.none", 1, TableReadOptions::default()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_a_restart_and_expire() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder).await;
    client.numbers("d.numbers", 3_000);
    let session = client.session("d.numbers", 2, TableReadOptions::default()).await.unwrap();
    let stream = &session.streams[1].name;
    let (rows, _) = client.read(stream, 0).await;
    drop(client);
    let mut options = Options::new(folder.path());
    options.session_lifetime = Duration::ZERO;
    let client = Client::of(options).await;
    assert_eq!(client.read(stream, 10).await, (rows[10..].to_vec(), None));
    let session = client.session("d.numbers", 2, TableReadOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(client.read(&session.streams[0].name, 0).await.1, Some(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_come_as_told_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder).await;
    client.numbers("d.numbers", 10_000);
    client.warehouse.faults().add(Fault::RestUnavailable { times: Some(1) });
    client.warehouse.faults().add(Fault::QuotaExceeded { times: Some(1) });
    let reason = |answer: &Json| answer["error"]["errors"][0]["reason"].as_str().unwrap().to_owned();
    let (status, answer) = client.get("datasets").await;
    assert_eq!((status, reason(&answer).as_str()), (503, "backendError"));
    let (status, answer) = client.get("datasets").await;
    assert_eq!((status, reason(&answer).as_str()), (403, "quotaExceeded"));
    assert_eq!(client.get("datasets").await.0, 200);
    let session = client.session("d.numbers", 1, TableReadOptions::default()).await.unwrap();
    let stream = &session.streams[0].name;
    let (whole, _) = client.read(stream, 0).await;
    let told = json!({ "fault": "cut-streams", "after_batches": 1, "times": 2 });
    let put = client.http.put(format!("{}/_faults", client.url)).json(&told).send().await.unwrap();
    assert_eq!(put.status(), 204);
    // Cut twice, resumed where it was cut: in the end every row, once.
    let mut rows = Vec::new();
    let mut cuts = 0;
    loop {
        let (more, end) = client.read(stream, rows.len() as i64).await;
        rows.extend(more);
        match end {
            None => break,
            Some(code) => assert_eq!(code, Code::Unavailable),
        }
        cuts += 1;
    }
    assert!(rows == whole, "resumed streams differ");
    assert_eq!(cuts, 2);
    assert!(client.warehouse.faults().list().is_empty());
}
