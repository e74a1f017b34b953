"""`mannen dataset extract` from an emulator of BigQuery that nobody here wrote, and its Parquet files read by pyarrow.

    read_bqemulator.py REST GRPC MANNEN FOLDER

FOLDER/cloud is the folder of a local cloud. Prints one JSON object with what was checked; fails loudly where anything differs.

The emulator runs a query job and leaves its destination table out. So one thing is added between it and the extractor: before a job
with a destination is passed on, `CREATE OR REPLACE TABLE destination AS query` is sent. All else, jobs, tables and the Storage
Read API, is the emulator's own.
"""

import datetime as dt
import decimal
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

rest, grpc, mannen, work = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
PROJECT = "emulated"
UTC = dt.timezone.utc
client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options=ClientOptions(api_endpoint=rest))
def send(method, path, body):
    request = urllib.request.Request(rest + path, method=method, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Destinations(BaseHTTPRequestHandler):
    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        status, answer = 200, b""
        if self.command == "POST" and self.path.split("?")[0].endswith("/jobs"):
            job = json.loads(body)
            configuration = job.get("configuration", {})
            query = configuration.get("query", {})
            if "destinationTable" in query and not configuration.get("dryRun"):
                to = query["destinationTable"]
                name = f"`{to['projectId']}.{to['datasetId']}.{to['tableId']}`"
                made = {key: query[key] for key in ("queryParameters", "parameterMode") if key in query}
                made |= {"query": f"CREATE OR REPLACE TABLE {name} AS {query['query']}", "useLegacySql": False}
                path = self.path.split("?")[0].removesuffix("/jobs") + "/queries"
                status, answer = send("POST", path, json.dumps(made).encode())
        if status == 200:
            status, answer = send(self.command, self.path, body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = pass_on

    def log_message(self, *_):
        pass


between = ThreadingHTTPServer(("127.0.0.1", 0), Destinations)
threading.Thread(target=between.serve_forever, daemon=True).start()
environment = os.environ | {
    "BIGQUERY_ENDPOINT": f"http://127.0.0.1:{between.server_port}",
    "BIGQUERY_STORAGE_ENDPOINT": grpc,
    "BIGQUERY_PROJECT": PROJECT,
    "BIGQUERY_STAGING_DATASET": "mannen_staging",
}
environment.pop("LAKE_BUCKET", None)
checked = {}


def same(found, wanted, what):
    assert found == wanted, f"{what}:\n found  {found!r}\n wanted {wanted!r}"


def run(*arguments):
    command = [mannen, "--json", "dataset", *arguments, "--dir", str(work / "cloud")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


def extract(name, sql, toml=""):
    """Extracts, and gives the version's address, its manifest and its rows."""
    model = work / "models" / name
    model.mkdir(parents=True, exist_ok=True)
    (model / "extract.sql").write_text(sql)
    (model / "dataset.toml").write_text(toml)
    code, told, stderr = run("extract", "--model", str(model), "--as-of", "2030-01-01T00:00:00Z", "--streams", "4")
    assert code == 0, (told, stderr)
    address = told["version"]["address"]
    code, manifest, _ = run("show", name, address)
    same(code, 0, "show")
    bucket = next((work / "cloud" / "s3").glob("*/datasets")).parent
    files = [bucket / file["key"] for file in manifest["files"]]
    return told, manifest, pa.concat_tables([pq.read_table(file) for file in files])


client.create_dataset(f"{PROJECT}.city")
client.create_dataset(f"{PROJECT}.mannen_staging")

# ---- Many rows -------------------------------------------------------------------------------------------------------
N = 40_000
client.query_and_wait(
    f"""CREATE TABLE city.rides AS
        SELECT n AS ride_id, TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL n SECOND) AS requested_at,
               IF(MOD(n, 17) = 0, NULL, n / 7) AS drive_s, CONCAT('zone-', CAST(MOD(n, 263) AS STRING)) AS zone
        FROM UNNEST(GENERATE_ARRAY(0, {N - 1})) AS n"""
)
TOML = """
parameters = { least = 100 }
[expect]
min_rows = 1000
unique = [["ride_id"]]
"""
told, manifest, rows = extract("rides", "SELECT * FROM city.rides WHERE ride_id >= @least", TOML)
same([(c["name"], c["type"]) for c in manifest["schema"]], [("ride_id", "INT64"), ("requested_at", "TIMESTAMP"), ("drive_s", "FLOAT64"), ("zone", "STRING")], "columns")
rows = rows.sort_by("ride_id")
wanted = range(100, N)
same(rows["ride_id"].to_pylist(), list(wanted), "rows")
same(rows["drive_s"].to_pylist(), [None if n % 17 == 0 else n / 7 for n in wanted], "doubles")
same(rows["zone"].to_pylist(), [f"zone-{n % 263}" for n in wanted], "texts")
start = dt.datetime(2024, 1, 1, tzinfo=UTC)
same(rows["requested_at"].to_pylist(), [start + dt.timedelta(seconds=n) for n in wanted], "times")
same(told["version"]["published"], True, "the first extract publishes")
again, _, _ = extract("rides", "SELECT * FROM city.rides WHERE ride_id >= @least", TOML)
same((again["version"]["published"], again["version"]["address"]), (False, told["version"]["address"]), "the second is the same version")
code, verified, _ = run("verify", "rides")
same((code, verified["rows"], verified["troubles"]), (0, N - 100, []), "verify")
checked["rows"] = N - 100

# ---- Every type ------------------------------------------------------------------------------------------------------
client.query(
    """CREATE TABLE city.types (k INT64, i INT64, f FLOAT64, b BOOL, s STRING, y BYTES, n NUMERIC, g BIGNUMERIC, ts TIMESTAMP,
         dt DATETIME, d DATE, t TIME, j JSON, a ARRAY<INT64>, st STRUCT<x INT64, z STRING>)"""
).result()
ROW = {
    "k": "1",
    "i": "-9223372036854775807",
    "f": 0.1,
    "b": True,
    "s": "東京",
    "y": "AP8=",
    "n": "-1.125",
    "g": "12.00001",
    "ts": "1969-12-31T23:59:59.999999Z",
    "dt": "2026-01-31T01:02:03.000004",
    "d": "1960-02-29",
    "t": "23:59:59.999999",
    "j": json.dumps({"a": [1, None]}),
    "a": [1, 2],
    "st": {"x": 7, "z": "x"},
}
same(client.insert_rows_json(f"{PROJECT}.city.types", [ROW, {"k": "2"}]), [], "insertAll")
FULL = {
    "k": 1,
    "i": -9223372036854775807,
    "f": 0.1,
    "b": True,
    "s": "東京",
    "y": b"\x00\xff",
    "n": decimal.Decimal("-1.125"),
    "g": decimal.Decimal("12.00001"),
    "ts": dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "dt": dt.datetime(2026, 1, 31, 1, 2, 3, 4),
    "d": dt.date(1960, 2, 29),
    "t": dt.time(23, 59, 59, 999999),
    "j": {"a": [1, None]},
    "a": [1, 2],
    "st": {"x": 7, "z": "x"},
}
TYPES = {
    "k": "INT64", "i": "INT64", "f": "FLOAT64", "b": "BOOL", "s": "STRING", "y": "BYTES", "n": "NUMERIC", "g": "BIGNUMERIC",
    "ts": "TIMESTAMP", "dt": "DATETIME", "d": "DATE", "t": "TIME", "j": "JSON", "a": "ARRAY<INT64>", "st": "STRUCT<x INT64, z STRING>",
}
# The emulator's own: decimals with as many digits as it finds fit (and three after the point, for NUMERIC), JSON without BigQuery's mark.
OWN = {"n": "NUMERIC", "g": "NUMERIC", "j": "STRING"}
# One column at a time, so that a type that the emulator does not give is told by its name.
differs = {}
for column, wanted in FULL.items():
    try:
        _, manifest, rows = extract(f"type-{column}", f"SELECT k AS key, {column} FROM city.types")
        found = {row["key"]: row[column] for row in rows.to_pylist()}
        if column == "j":
            found = {key: value and json.loads(value) for key, value in found.items()}
        # An emptied array is one that is NULL, and the other way round.
        same((found.get(1), found.get(2, "no row") or None), (wanted, 2 if column == "k" else None), column)
        of = manifest["schema"][1]["type"]
        same(of.split("(")[0] if column in OWN else of, OWN.get(column, TYPES[column]), column)
    except AssertionError as error:
        differs[column] = str(error)
assert not differs, json.dumps(differs, ensure_ascii=False)
checked["types"] = len(FULL)
print(json.dumps(checked, ensure_ascii=False))
