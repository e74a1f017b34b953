"""`mannen dataset extract` from an emulator of BigQuery that nobody here wrote, and its Parquet files read by pyarrow.

    read_bqemulator.py REST GRPC MANNEN FOLDER

FOLDER/cloud is the folder of a local cloud. Prints one JSON object with what was checked; fails loudly where anything differs.
"""

import datetime as dt
import decimal
import json
import os
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

rest, grpc, mannen, work = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
PROJECT = "emulated"
UTC = dt.timezone.utc
client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options=ClientOptions(api_endpoint=rest))
environment = os.environ | {
    "BIGQUERY_ENDPOINT": rest,
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
    files = [work / "cloud" / "s3" / "lake" / file["key"] for file in manifest["files"]]
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
checked["streams"] = 4

# ---- Every type ------------------------------------------------------------------------------------------------------
client.query_and_wait(
    """CREATE TABLE city.types (k INT64, i INT64, f FLOAT64, b BOOL, s STRING, y BYTES, n NUMERIC, g BIGNUMERIC, ts TIMESTAMP,
         dt DATETIME, d DATE, t TIME, j JSON, a ARRAY<INT64>, st STRUCT<x INT64, z STRING>)"""
)
client.query_and_wait(
    """INSERT INTO city.types VALUES
       (1, -9223372036854775807, 0.1, TRUE, '東京', b'\\x00\\xff', NUMERIC '-1.000000001', BIGNUMERIC '12.00000000000000000001',
        TIMESTAMP '1969-12-31 23:59:59.999999+00', DATETIME '2026-01-31 01:02:03.000004', DATE '1960-02-29',
        TIME '23:59:59.999999', JSON '{"a": [1, null]}', [1, 2], STRUCT(7, 'x')),
       (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, [], NULL)"""
)
FULL = {
    "k": 1,
    "i": -9223372036854775807,
    "f": 0.1,
    "b": True,
    "s": "東京",
    "y": b"\x00\xff",
    "n": decimal.Decimal("-1.000000001"),
    "g": decimal.Decimal("12.00000000000000000001"),
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
# One column at a time, so that a type that the emulator does not give is told by its name.
differs = {}
for column, wanted in FULL.items():
    try:
        _, manifest, rows = extract(f"type-{column}", f"SELECT k AS key, {column} FROM city.types")
        found = {row["key"]: row[column] for row in rows.to_pylist()}
        if column == "j":
            found = {key: value and json.loads(value) for key, value in found.items()}
        empty = [] if column == "a" else 2 if column == "k" else None
        same((found[1], found[2] if found[2] is not None else (None if empty is None else [])), (wanted, empty), column)
        same(manifest["schema"][1]["type"], TYPES[column], column)
    except AssertionError as error:
        differs[column] = str(error)
checked["types"] = len(FULL) - len(differs)
checked["differs"] = differs
print(json.dumps(checked, ensure_ascii=False))
