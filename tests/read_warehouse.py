"""Google's own Python client against the local warehouse: REST and the Storage Read API.

    read_warehouse.py URL

Prints one JSON object with what was checked; fails loudly where anything differs.
"""

import datetime as dt
import decimal
import io
import json
import sys
import uuid

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

url = sys.argv[1].rstrip("/")
PROJECT = "mannen"
dataset = "py_" + uuid.uuid4().hex[:8]
client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options=ClientOptions(api_endpoint=url))
channel = grpc.insecure_channel(url.removeprefix("http://"))
reader = bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
checked = {}

UTC = dt.timezone.utc
Field = bigquery.SchemaField
POINT = [Field("lat", "FLOAT"), Field("lon", "FLOAT"), Field("tags", "STRING", mode="REPEATED")]
SCHEMA = [
    Field("i", "INTEGER", mode="REQUIRED"),
    Field("f", "FLOAT"),
    Field("b", "BOOLEAN"),
    Field("s", "STRING"),
    Field("y", "BYTES"),
    Field("n", "NUMERIC"),
    Field("bn", "BIGNUMERIC"),
    Field("d", "DATE"),
    Field("dtm", "DATETIME"),
    Field("t", "TIME"),
    Field("ts", "TIMESTAMP"),
    Field("j", "JSON"),
    Field("g", "GEOGRAPHY"),
    Field("arr", "INTEGER", mode="REPEATED"),
    Field("p", "RECORD", fields=POINT),
    Field("ps", "RECORD", mode="REPEATED", fields=POINT),
]
FULL = {
    "i": -(2**63),
    "f": 0.1,
    "b": True,
    "s": "naïve 万年 'quoted'",
    "y": b"\x00\xff\x10",
    "n": decimal.Decimal("-12345678901234567890.123456789"),
    "bn": decimal.Decimal("0.00000000000000000000000000000000000001"),
    "d": dt.date(1969, 12, 31),
    "dtm": dt.datetime(2024, 2, 29, 23, 59, 59, 999999),
    "t": dt.time(1, 2, 3, 4),
    "ts": dt.datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    "j": {"a": [1, 2.5, None]},
    "g": "POINT(139.7 35.6)",
    "arr": [1, 2, 3],
    "p": {"lat": 35.6, "lon": 139.7, "tags": ["x", "y"]},
    "ps": [{"lat": 1.0, "lon": None, "tags": []}, {"lat": 2.0, "lon": 3.0, "tags": ["z"]}],
}
EMPTY = {field.name: [] if field.mode == "REPEATED" else None for field in SCHEMA} | {"i": 2**63 - 1}


def rest_row(row):
    """As `insertAll` and JSON lines have it."""
    plain = dict(row)
    if plain["y"] is not None:
        plain["y"] = "AP8Q"
    for key in ("n", "bn", "d", "t"):
        plain[key] = None if plain[key] is None else str(plain[key])
    plain["dtm"] = None if plain["dtm"] is None else plain["dtm"].isoformat()
    plain["ts"] = None if plain["ts"] is None else plain["ts"].isoformat()
    plain["j"] = None if plain["j"] is None else json.dumps(plain["j"])
    plain["i"] = str(plain["i"])
    return plain


def same(found, wanted, what):
    assert found == wanted, f"{what}:\n found  {found!r}\n wanted {wanted!r}"


def raises(kind, text, work):
    try:
        work()
    except kind as error:
        assert text in str(error), (text, str(error))
        return error
    raise AssertionError(f"{kind} was not raised")


# ---- Datasets, tables, rows over REST --------------------------------------------------------------------------------
client.create_dataset(f"{PROJECT}.{dataset}")
raises(exceptions.Conflict, "Already Exists", lambda: client.create_dataset(f"{PROJECT}.{dataset}"))
assert dataset in [item.dataset_id for item in client.list_datasets()]
table = client.create_table(bigquery.Table(f"{PROJECT}.{dataset}.every_type", SCHEMA))
same(client.insert_rows_json(table, [rest_row(FULL)]), [], "insertAll")
errors = client.insert_rows_json(table, [{"i": 1}, {"i": "x"}])
same(sorted((e["index"], e["errors"][0]["reason"]) for e in errors), [(0, "stopped"), (1, "invalid")], "insertAll errors")
job = client.load_table_from_json([rest_row(EMPTY)], table, job_config=bigquery.LoadJobConfig(schema=SCHEMA))
same(job.result().output_rows, 1, "load job")
same([dict(row) for row in client.list_rows(table)], [FULL, EMPTY], "tabledata.list")
same([field.field_type for field in client.get_table(table).schema], [field.field_type for field in SCHEMA], "schema")
checked["types"] = len(SCHEMA)

# ---- Queries ---------------------------------------------------------------------------------------------------------
rows = client.query_and_wait(f"SELECT * FROM `{PROJECT}.{dataset}.every_type` ORDER BY i")
same([dict(row) for row in rows], [FULL, EMPTY], "SELECT *")
config = bigquery.QueryJobConfig(
    default_dataset=f"{PROJECT}.{dataset}",
    query_parameters=[
        bigquery.ScalarQueryParameter("ts", "TIMESTAMP", FULL["ts"]),
        bigquery.ArrayQueryParameter("names", "STRING", [FULL["s"], "other"]),
        bigquery.ScalarQueryParameter("n", "NUMERIC", decimal.Decimal("-1")),
        bigquery.StructQueryParameter("st", bigquery.ScalarQueryParameter("x", "INT64", 7)),
    ],
)
sql = """SELECT i, p.tags[OFFSET(1)] AS tag, (SELECT SUM(x) FROM UNNEST(arr) AS x) AS total, @st.x AS seven,
         FORMAT_TIMESTAMP('%Y', ts) AS year, DATE_DIFF(DATE '1970-01-01', d, DAY) AS days
         FROM every_type WHERE ts = @ts AND s IN UNNEST(@names) AND n < @n"""
same([tuple(row) for row in client.query(sql, config).result()], [(FULL["i"], "y", 6, 7, "1900", 1)], "parameters")
positional = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter(None, "INT64", 4)])
same(list(client.query("SELECT ? + 1 AS five", positional).result())[0].five, 5, "positional parameters")
dry = client.query(f"SELECT i, b FROM {dataset}.every_type", bigquery.QueryJobConfig(dry_run=True))
same(dry.total_bytes_processed, 8 + 8 + 1, "dry run")
limited = bigquery.QueryJobConfig(maximum_bytes_billed=1)
raises(exceptions.InternalServerError, "bytes billed", lambda: client.query(f"SELECT i FROM {dataset}.every_type", limited).result())
raises(exceptions.BadRequest, "Unrecognized name: nope", lambda: client.query("SELECT nope").result())
raises(exceptions.NotFound, "Not found", lambda: client.query(f"SELECT 1 FROM {dataset}.none").result())
destination = f"{PROJECT}.{dataset}.copied"
config = bigquery.QueryJobConfig(destination=destination, write_disposition="WRITE_EMPTY")
first = client.query(f"SELECT i FROM {dataset}.every_type", config, job_id="ds-" + dataset, job_retry=None)
first.result()
error = raises(
    exceptions.Conflict,
    "Already Exists",
    lambda: client._call_api(
        None,
        method="POST",
        path=f"/projects/{PROJECT}/jobs",
        data={"jobReference": {"projectId": PROJECT, "jobId": first.job_id}, "configuration": {"query": {"query": "SELECT 1", "useLegacySql": False}}},
    ),
)
same(error.errors[0]["reason"], "duplicate", "a job's id twice")
same(client.get_job(first.job_id).state, "DONE", "jobs.get")
before = dt.datetime.now(UTC)
client.query(f"SELECT 5 AS i", bigquery.QueryJobConfig(destination=destination, write_disposition="WRITE_TRUNCATE")).result()
same([row.i for row in client.query(f"SELECT i FROM {dataset}.copied").result()], [5], "WRITE_TRUNCATE")
as_of = f"SELECT COUNT(*) AS n FROM {dataset}.copied FOR SYSTEM_TIME AS OF TIMESTAMP '{before.isoformat()}'"
same([row.n for row in client.query(as_of).result()], [2], "FOR SYSTEM_TIME AS OF")
checked["queries"] = True

# ---- A larger table by Parquet (resumable upload) and CSV (multipart) ------------------------------------------------
N = 50_000
big = pa.table({
    "id": pa.array(range(N), pa.int64()),
    "at": pa.array([1_600_000_000_000_000 + i for i in range(N)], pa.timestamp("us", tz="UTC")),
    "name": pa.array([f"name {i % 97}" for i in range(N)]),
    "x": pa.array([None if i % 10 == 0 else i / 3 for i in range(N)], pa.float64()),
})
buffer = io.BytesIO()
pq.write_table(big, buffer)
buffer.seek(0)
config = bigquery.LoadJobConfig(source_format="PARQUET")
same(client.load_table_from_file(buffer, f"{PROJECT}.{dataset}.big", job_config=config).result().output_rows, N, "Parquet")
config = bigquery.LoadJobConfig(source_format="CSV", skip_leading_rows=1, autodetect=True)
text = b"k,v\n1,a\n2,\n"
client.load_table_from_file(io.BytesIO(text), f"{PROJECT}.{dataset}.small", size=len(text), job_config=config).result()
same([tuple(row) for row in client.list_rows(f"{PROJECT}.{dataset}.small")], [(1, "a"), (2, "")], "CSV")

# ---- The Storage Read API --------------------------------------------------------------------------------------------


def session(name, streams, **options):
    return reader.create_read_session(
        parent=f"projects/{PROJECT}",
        read_session=types.ReadSession(
            table=f"projects/{PROJECT}/datasets/{dataset}/tables/{name}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(**options),
        ),
        max_stream_count=streams,
    )


def read(made):
    parts = [reader.read_rows(stream.name).to_arrow(made) for stream in made.streams]
    return pa.concat_tables(parts)


made = session("big", 4)
assert len(made.streams) == 4, made
found = read(made)
same(found.schema.field("at").type, pa.timestamp("us", tz="UTC"), "Arrow type")
assert found.column("id").to_pylist() != big.column("id").to_pylist(), "streams must not be in order"
same(found.sort_by("id").combine_chunks().to_pydict(), big.to_pydict(), "all streams together")
assert read(session("big", 4)).column("id").to_pylist() != found.column("id").to_pylist(), "sessions must differ"
stream = made.streams[1].name
whole = pa.concat_tables([pa.Table.from_batches([page.to_arrow()]) for page in reader.read_rows(stream).rows(made).pages])
rest = pa.concat_tables([pa.Table.from_batches([page.to_arrow()]) for page in reader.read_rows(stream, 777).rows(made).pages])
same(rest.column("id").to_pylist(), whole.column("id").to_pylist()[777:], "resumed at an offset")
few = read(session("big", 2, selected_fields=["name", "id"], row_restriction="id < 10 AND name LIKE 'name %'"))
same(few.sort_by("id").to_pydict(), {"id": list(range(10)), "name": [f"name {i}" for i in range(10)]}, "restriction")
made = session("every_type", 1)
found = read(made).sort_by("i").to_pylist()
same([{**row, "j": row["j"] and json.loads(row["j"])} for row in found], [FULL, EMPTY], "every type over gRPC")
types_found = {field.name: str(field.type) for field in read(made).schema}
same((types_found["n"], types_found["bn"]), ("decimal128(38, 9)", "decimal256(76, 38)"), "decimals")
same(list(session("copied", 3, row_restriction="i = 6").streams).__len__(), 1, "one row is one stream")
raises(exceptions.NotFound, "Not found", lambda: next(iter(reader.read_rows(stream + "9").rows())))

# What most people call: a query's result by the Read API.
frame = client.query(f"SELECT name, COUNT(*) AS n, AVG(x) AS mean FROM {dataset}.big GROUP BY name ORDER BY n DESC, name").result()
arrow = frame.to_arrow(bqstorage_client=reader)
same((arrow.num_rows, sum(arrow.column("n").to_pylist())), (97, N), "to_arrow")
checked["read_api_rows"] = N

client.delete_dataset(f"{PROJECT}.{dataset}", delete_contents=True)
raises(exceptions.NotFound, "Not found", lambda: client.get_table(table))
print(json.dumps(checked))
