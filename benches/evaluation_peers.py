"""A day of predictions joined with their outcomes, and their figures by arm and hour, beside DuckDB and polars.

    pip install duckdb polars numpy
    python3 benches/evaluation_peers.py [ROWS] [ROUNDS]

Every one reads the same 24 hour files of predictions and of outcomes, as the archive writes them (zstd, sorted by id), on one
thread, in turn, round by round. The peers make count, mean absolute error, root mean squared error and the share within two
minutes by arm and hour; ours makes an hour's whole evaluation as the evaluator does (those, quantiles, the naive estimate's,
bias, maturity, predicted-duration classes), and its figures are compared with theirs. Processor time is user + system. Ratios are
of the same round. `rows` is ours from rows in memory, as before batches were joined; `read` only reads. Nothing is installed.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"
import duckdb
import peers
import polars as pl

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7


def measured(run):
    before, start = time.process_time(), time.perf_counter()
    run()
    return time.perf_counter() - start, time.process_time() - before


def duckdb_query(folder):
    error = "(p.prediction - (epoch_us(o.arrived_at) - epoch_us(p.requested_at)) / 1e6)"
    return f"""
        SELECT p.arm, (epoch_us(p.requested_at) // 3600000000) % 24 AS hour, count(*) AS n, avg(abs({error})) AS mae,
            sqrt(avg({error} * {error})) AS rmse, avg((abs({error}) <= 120)::DOUBLE) AS within
        FROM '{folder}/predictions-*.parquet' p JOIN '{folder}/outcomes-*.parquet' o
            ON p.prediction_id = o.prediction_id AND p.candidate_id = o.candidate_id
        GROUP BY ALL ORDER BY ALL"""


def polars_query(folder):
    predictions = pl.scan_parquet(f"{folder}/predictions-*.parquet").select(
        "prediction_id", "candidate_id", "arm", "requested_at", "prediction")
    outcomes = pl.scan_parquet(f"{folder}/outcomes-*.parquet").select("prediction_id", "candidate_id", "arrived_at")
    error = pl.col("prediction") - (pl.col("arrived_at") - pl.col("requested_at")).dt.total_microseconds() / 1e6
    return (
        predictions.join(outcomes, on=["prediction_id", "candidate_id"])
        .with_columns(error=error, hour=pl.col("requested_at").dt.hour())
        .group_by("arm", "hour")
        .agg(
            n=pl.len(),
            mae=pl.col("error").abs().mean(),
            rmse=(pl.col("error") ** 2).mean().sqrt(),
            within=(pl.col("error").abs() <= 120).mean(),
        )
        .sort("arm", "hour")
    )


def main():
    binary = peers.built("archive", "example", "join_speed")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "data", folder, str(ROWS)], check=True)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        server = subprocess.Popen(
            [binary, "serve", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask(what):
            server.stdin.write(what + "\n")
            server.stdin.flush()
            wall, cpu = server.stdout.readline().split()
            return float(wall), float(cpu)

        database = duckdb.connect()
        database.execute("SET threads = 1")
        query = duckdb_query(folder)
        runs = {
            "ours": lambda: ask("run"),
            "ours, rows in memory": lambda: ask("rows"),
            "ours, reading only": lambda: ask("read"),
            "DuckDB": lambda: measured(lambda: database.execute(query).fetchall()),
            "polars": lambda: measured(lambda: polars_query(folder).collect()),
            "polars, streaming": lambda: measured(lambda: polars_query(folder).collect(engine="streaming")),
        }
        times = peers.taken_in_turn(runs, ROUNDS)
        server.stdin.close()
        server.wait()

        lines = subprocess.run([binary, "figures", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
        ours = sorted((arm, int(hour), int(n), *map(float, rest)) for arm, hour, n, *rest in map(str.split, lines.splitlines()))
        theirs = {"DuckDB": database.execute(query).fetchall(), "polars": polars_query(folder).collect().rows()}
        for name, rows in theirs.items():
            for mine, other in zip(ours, rows, strict=True):
                if mine[:3] != tuple(other[:3]) or any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(mine[3:], other[3:])):
                    sys.exit(f"{name} computes something else: {mine} {other}")
        in_duckdb = f"import duckdb; c = duckdb.connect(); c.execute('SET threads = 1'); c.execute('''{query}''').fetchall()"
        peak, peak_peer = (peers.ran(of)[2] / 2**20 for of in ([binary, "repeat", folder, "1"], [sys.executable, "-c", in_duckdb]))

    print(f"{ROWS:,} predictions and outcomes, {size:.0f} MB of Parquet")
    versions = {module.__name__: module.__version__ for module in (duckdb, pl)}
    processor = {name: [cpu for _, cpu in values] for name, values in times.items()}
    peers.tell(
        "join and metrics", f"{ROWS:,} predictions and outcomes, processor time", "s", processor,
        aim=2, beside=["ours, rows in memory", "ours, reading only"], versions=versions)
    print(f"\npeak memory: ours {peak:.0f} MiB, DuckDB {peak_peer:.0f} MiB; {versions}; {peers.machine()}")


if __name__ == "__main__":
    main()
