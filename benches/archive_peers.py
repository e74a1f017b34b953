"""Landed prediction records, JSON lines to Parquet (zstd), beside DuckDB, polars and pyarrow.

    pip install duckdb polars pyarrow
    python3 benches/archive_peers.py [ROUNDS] [--records N]

Ours does what the archiver does with a landed object: checks every field of every line, sorts by id, leaves duplicates out, and
writes pages with statistics and a Bloom filter on the id. The peers read the same lines with their schema given and write one
row per candidate as they come; in a second measure DuckDB and polars sort by id too. Everybody has one thread and a process of
its own, does the work twice, and is measured the second time: processor seconds of that run, and the process's peak memory. Rounds
take turns, and ratios are of the same round. Nothing is installed.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time

for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import peers

INPUTS = {
    "dropoff_lat": "DOUBLE", "dropoff_lon": "DOUBLE", "passengers": "INTEGER", "pickup_lat": "DOUBLE", "pickup_lon": "DOUBLE",
    "product": "VARCHAR", "requested_at": "VARCHAR",
}
SHARED = {
    "prediction_id": "VARCHAR", "model": "VARCHAR", "release_id": "VARCHAR", "spec_hash": "VARCHAR", "unit_id": "VARCHAR",
    "requested_at": "TIMESTAMP", "answered_at": "TIMESTAMP",
    "assignment": {"experiment_id": "VARCHAR", "arm": "VARCHAR", "probability": "DOUBLE"},
    "tier": "VARCHAR", "endpoint": "VARCHAR", "variant": "VARCHAR", "model_version": "VARCHAR",
    "inputs": INPUTS,
    "timings": {"transform_us": "BIGINT", "endpoint_us": "BIGINT", "total_us": "BIGINT"},
}
CANDIDATE = {
    "candidate_id": "VARCHAR", "inputs": {"car_lat": "DOUBLE", "car_lon": "DOUBLE"}, "features": ["DOUBLE"],
    "prediction": "DOUBLE", "fallback": "DOUBLE",
}
RECORD = {**SHARED, "candidates": [CANDIDATE]}


def duckdb_type(kind):
    if isinstance(kind, list):
        return duckdb_type(kind[0]) + "[]"
    if isinstance(kind, dict):
        return "STRUCT(" + ", ".join(f"{name} {duckdb_type(of)}" for name, of in kind.items()) + ")"
    return kind


def with_duckdb(source, target, order=""):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    columns = "{" + ", ".join(f"{name}: '{duckdb_type(kind)}'" for name, kind in RECORD.items()) + "}"
    lines = f"read_json('{source}', format = 'newline_delimited', columns = {columns})"
    query = f"SELECT * EXCLUDE (candidates), unnest(candidates) AS candidate FROM {lines} {order}"
    return lambda: connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def with_polars(source, target, sort=False):
    import polars as pl

    plain = {"VARCHAR": pl.String, "DOUBLE": pl.Float64, "BIGINT": pl.Int64, "INTEGER": pl.Int32, "TIMESTAMP": pl.String}

    def of(kind):
        if isinstance(kind, list):
            return pl.List(of(kind[0]))
        if isinstance(kind, dict):
            return pl.Struct({name: of(part) for name, part in kind.items()})
        return plain[kind]

    schema = {name: of(kind) for name, kind in RECORD.items()}
    times = [pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC") for name in ("requested_at", "answered_at")]

    def run():
        frame = pl.scan_ndjson(source, schema=schema).with_columns(times).explode("candidates")
        (frame.sort("prediction_id") if sort else frame).sink_parquet(target, compression="zstd")

    return run


def with_pyarrow(source, target):
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    plain = {
        "VARCHAR": pa.string(), "DOUBLE": pa.float64(), "BIGINT": pa.int64(), "INTEGER": pa.int32(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    }

    def of(kind):
        if isinstance(kind, list):
            return pa.list_(of(kind[0]))
        if isinstance(kind, dict):
            return pa.struct([(name, of(part)) for name, part in kind.items()])
        return plain[kind]

    schema = pa.schema([(name, of(kind)) for name, kind in RECORD.items()])
    reading = pj.ReadOptions(use_threads=False, block_size=16 << 20)
    parsing = pj.ParseOptions(explicit_schema=schema)

    def run():
        # As it comes: one row per record, its candidates in a list.
        pq.write_table(pj.read_json(source, read_options=reading, parse_options=parsing), target, compression="zstd")

    return run


PEERS = {
    "duckdb": with_duckdb,
    "duckdb, sorted by id": lambda source, target: with_duckdb(source, target, "ORDER BY prediction_id"),
    "polars": with_polars,
    "polars, sorted by id": lambda source, target: with_polars(source, target, True),
    "pyarrow": with_pyarrow,
}


def one(name, source, target):
    """The second run's seconds: by the clock, and of the processor."""
    run = PEERS[name](source, target)
    run()
    wall, processor = time.perf_counter(), time.process_time()
    run()
    print(time.perf_counter() - wall, time.process_time() - processor)


def measure(command):
    """Seconds by the clock and of the processor as the second run tells them; the process's peak memory in MB."""
    out, _, peak = peers.ran(command)
    wall, processor = map(float, out.split())
    return wall, processor, peak / 1e6


def compare(binary, folder, records, candidates, rounds, versions):
    source = f"{folder}/records.jsonl"
    subprocess.run([binary, "data", source, str(records), str(candidates)], check=True)
    megabytes = os.path.getsize(source) / 1e6
    targets = {name: f"{folder}/{name.split(',')[0]}.parquet" for name in ["ours", *PEERS]}
    commands = {"ours": [binary, "run", source, targets["ours"]]}
    for name in PEERS:
        commands[name] = [sys.executable, __file__, "--one", name, source, targets[name]]
    runs = peers.taken_in_turn({name: functools.partial(measure, command) for name, command in commands.items()}, rounds, warm=0)
    of = f"{candidates} candidate{'s' if candidates > 1 else ''}"
    rates = {name: [megabytes / processor for _, processor, _ in values] for name, values in runs.items()}
    sorted_too = [name for name in PEERS if "sorted" in name]
    unsorted = [name for name in PEERS if name not in sorted_too]
    print(f"\n{records:,} records of {of}, {megabytes:.0f} MB of JSON lines")
    peers.tell(
        "JSON lines to Parquet", f"landed records of {of}, per core", "MB/s", rates,
        less_is_better=False, aim=2, against=unsorted, versions=versions)
    for name, values in runs.items():
        peak, size = statistics.median(memory for _, _, memory in values), os.path.getsize(targets[name]) / 1e6
        print(f"{name}: peak {peak:.0f} MB, file {size:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return one(*arguments.one)
    try:
        import duckdb
        import polars as pl
        import pyarrow as pa
    except ImportError as error:
        sys.exit(f"{error}; the peers are: pip install duckdb polars pyarrow")
    versions = {module.__name__: module.__version__ for module in (duckdb, pl, pa)}
    binary = peers.built("archive", "example", "json_to_parquet")
    with tempfile.TemporaryDirectory() as folder:
        compare(binary, folder, arguments.records, 1, arguments.rounds, versions)
        compare(binary, folder, arguments.records // 20, 20, arguments.rounds, versions)
    print(f"\n{versions}; {peers.machine()}")


if __name__ == "__main__":
    main()
