"""Parquet to Parquet: the twenty features of a million trips, beside numpy with pyarrow, polars and DuckDB.

    pip install numpy polars duckdb pandas pyarrow
    python3 benches/parquet_peers.py [ROUNDS]

Every one reads the same file of trips and writes the label and the features, zstd level 1, on one thread, in turn, round by
round. Ratios are of the same round. pyarrow writes once as it comes and once with dictionaries for the columns that repeat
only, as ours does. Reading only, writing only (what ours has written, by the parquet crate's writer, to nowhere) and zstd
only (its columns that do not repeat) say where the floor is. Nothing is installed.
"""

import os
import subprocess
import sys
import tempfile

import peers
from features_peers import seconds

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from features_arithmetic import COLUMNS, NAMES, duckdb_query, polars_expressions, with_numpy

INPUTS = [*COLUMNS, "duration_s"]
REPEATING = [name for name in NAMES if name.startswith(("is_", "pu_", "do_"))] + ["passengers"]


def write_trips(path, folder):
    subprocess.run([peers.built("features", "bench", "features"), "data", folder], check=True)
    columns = {name: np.load(f"{folder}/{name}.npy") for name in COLUMNS}
    at = pa.array(columns["pickup_s"] * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
    duration = np.round(np.random.default_rng(1).uniform(60, 3600, len(at)))
    table = pa.table({**columns, "requested_at": at, "duration_s": duration})
    pq.write_table(table, path, compression="zstd", compression_level=1)
    return len(at)


def with_pyarrow(path, output, dictionary):
    table = pq.read_table(path, columns=INPUTS, use_threads=False)
    columns = with_numpy(*[table[name].to_numpy() for name in COLUMNS])
    result = pa.table({"label": table["duration_s"], **dict(zip(NAMES, columns))})
    pq.write_table(
        result, output, compression="zstd", compression_level=1, use_dictionary=dictionary)


def main():
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    binary = peers.built("feature-batch", "example", "parquet_speed")
    with tempfile.TemporaryDirectory() as folder:
        trips = f"{folder}/trips.parquet"
        rows = write_trips(trips, folder)
        server = subprocess.Popen(
            [binary, "serve", trips, f"{folder}/ours.parquet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask(what):
            server.stdin.write(what + "\n")
            server.stdin.flush()
            return float(server.stdout.readline())

        expressions = [pl.col("duration_s").alias("label"), *polars_expressions()]
        database = duckdb.connect()
        database.execute("SET threads = 1")
        query = duckdb_query(f"'{trips}'").replace("SELECT km AS", "SELECT duration_s AS label, km AS")
        copy = f"COPY ({query}) TO '{folder}/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        runs = {
            "ours": lambda: ask("run"),
            "numpy + pyarrow": lambda: seconds(lambda: with_pyarrow(trips, f"{folder}/pyarrow.parquet", True)),
            "numpy + pyarrow, tuned": lambda: seconds(lambda: with_pyarrow(trips, f"{folder}/tuned.parquet", REPEATING)),
            "polars": lambda: seconds(
                lambda: pl.scan_parquet(trips).select(expressions).sink_parquet(
                    f"{folder}/polars.parquet", compression="zstd", compression_level=1)),
            "duckdb": lambda: seconds(lambda: database.execute(copy)),
            "parquet crate, reading only": lambda: ask("read"),
            "parquet crate, writing only": lambda: ask("write"),
            "zstd only": lambda: ask("compress"),
            "ours, two threads": lambda: ask("run2"),
        }
        times = peers.taken_in_turn(runs, rounds)
        server.stdin.close()
        server.wait()

        ours = pq.read_table(f"{folder}/ours.parquet")
        sizes = {}
        for name in ("ours", "pyarrow", "tuned", "polars", "duckdb"):
            sizes[name] = os.path.getsize(f"{folder}/{name}.parquet") / 1e6
            theirs = pq.read_table(f"{folder}/{name}.parquet")
            for ours_column, column in zip(ours.columns, theirs.columns, strict=True):
                a, b = ours_column.to_numpy(), column.to_numpy()
                # Directions between points that are nearly one are told by a difference of nearly equal numbers.
                error = np.max(np.abs(a - b) / np.maximum(np.abs(b), 1))
                if not error <= 1e-10:
                    sys.exit(f"{name} computes something else: {error}")
    versions = {module.__name__: module.__version__ for module in (np, pl, duckdb, pa)}
    peers.tell(
        "features, Parquet to Parquet", f"{rows:,} rows, one thread", "M rows/s",
        {name: [rows / value / 1e6 for value in of] for name, of in times.items()}, less_is_better=False, aim=3,
        beside=[name for name in times if name not in ("ours", "polars", "duckdb") and not name.startswith("numpy")], versions=versions)
    print("files, MB: " + ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))
    print(", ".join(f"{name} {value}" for name, value in {**peers.machine(), **versions}.items()))


if __name__ == "__main__":
    main()
