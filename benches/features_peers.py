"""Speed of the feature engine beside that of others, on the same twenty features of the same trips.

    pip install numpy polars duckdb pandas pyarrow scikit-learn feast
    python3 benches/features_peers.py [ROUNDS]

Builds our bench, lets it make the trips (seeded), checks that everybody computes the same, and then measures all in
turn, round by round, each with one thread; so that what else the machine does hits all alike. Ratios are of the same
round. Nothing is installed; without scikit-learn or Feast the rest is measured.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# numpy's BLAS plays no part here; the rest would start a thread per core.
for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

try:
    import duckdb
    import features_frameworks as frameworks
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from features_arithmetic import COLUMNS, NAMES, duckdb_query, polars_expressions, with_numpy, with_pandas, with_python
except ImportError as error:
    sys.exit(f"{error}; the peers are: pip install numpy polars duckdb pandas pyarrow scikit-learn feast")
import peers

CALLS = 2_000


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def many(function, calls):
    """Seconds of one call."""
    def run():
        for _ in range(calls):
            function()

    return lambda: seconds(run) / calls


class Ours:
    """The bench's server: it measures itself."""

    def __init__(self, binary):
        self.server = subprocess.Popen([binary, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.server.stdout.readline()

    def seconds(self, what):
        self.server.stdin.write(what + "\n")
        self.server.stdin.flush()
        return float(self.server.stdout.readline())

    def end(self):
        self.server.stdin.close()
        self.server.wait()


class Trips:
    """The trips in everybody's form, and everybody who computes their features."""

    def __init__(self, folder):
        self.arrays = [np.load(f"{folder}/{name}.npy") for name in COLUMNS]
        self.ours = np.array(json.loads(Path(folder, "ours.json").read_text()), dtype=float)
        self.frame = pd.DataFrame(dict(zip(COLUMNS, self.arrays)))
        arrow = pa.table(dict(zip(COLUMNS, self.arrays)))
        self.lazy, self.expressions = pl.from_arrow(arrow).lazy(), polars_expressions()
        self.database = duckdb.connect()
        self.database.execute("SET threads = 1")
        self.database.execute("CREATE TABLE trips AS FROM arrow")
        self.query = duckdb_query("trips")
        self.first = [tuple(column[row].item() for column in self.arrays) for row in range(len(self.ours))]
        self.pipeline = frameworks.scikit_pipeline() if frameworks.sklearn else None
        self.views = frameworks.feast_views(folder) if frameworks.feast else {}
        for name, found in (("scikit-learn", self.pipeline), ("feast", self.views)):
            if not found:
                print(f"{name} is not installed: left out")

    def check(self):
        """The same results, before any time counts."""
        count, first = len(self.ours), self.first
        limited = self.database.execute(duckdb_query(f"(FROM trips LIMIT {count})")).fetchnumpy()
        results = {
            "python": [with_python(*row) for row in first],
            "numpy": np.column_stack(with_numpy(*[column[:count] for column in self.arrays])),
            "pandas": with_pandas(self.frame[:count]),
            "polars": self.lazy.head(count).select(self.expressions).collect(),
            "duckdb": np.column_stack([limited[name] for name in NAMES]),
        }
        if self.pipeline:
            columns = self.pipeline.transform(self.frame[:count])
            results["scikit-learn"] = columns[:, [frameworks.PIPELINE_NAMES.index(name) for name in NAMES]]
        for name, ask in self.views.items():
            results[name] = [ask(dict(zip(COLUMNS, row))) for row in first[:100]]
        for name, result in results.items():
            result = np.asarray(result, dtype=float)
            error = np.max(np.abs(result - self.ours[: len(result)]) / np.maximum(np.abs(result), 1))
            print(f"largest relative difference from {name}: {error:.1e}")
            if not error <= 1e-12:
                sys.exit(f"{name} computes something else")

    def batch(self, ours):
        rows = len(self.arrays[0])
        return rows, {
            "ours": lambda: ours.seconds("batch"),
            "ours, new columns": lambda: ours.seconds("fresh"),
            "numpy": lambda: seconds(lambda: with_numpy(*self.arrays)),
            "polars": lambda: seconds(lambda: self.lazy.select(self.expressions).collect()),
            "duckdb": lambda: seconds(lambda: self.database.sql(self.query).to_arrow_table()),
            "pandas": lambda: seconds(lambda: with_pandas(self.frame)),
        }

    def one_row(self, ours):
        one, arrays = self.first[0], [column[:1] for column in self.arrays]
        trip = dict(zip(COLUMNS, one))
        runs = {
            "ours": lambda: ours.seconds("row"),
            "python, arithmetic": many(lambda: with_python(*one), CALLS),
            "numpy": many(lambda: with_numpy(*arrays), CALLS // 20),
            "pandas, from a dict": many(lambda: with_pandas(pd.DataFrame([trip])), 20),
        }
        if self.pipeline:
            runs["scikit-learn pipeline, from a dict"] = many(lambda: self.pipeline.transform(pd.DataFrame([trip])), 20)
        for name, ask in self.views.items():
            runs[f"{name}, from a dict"] = many(lambda ask=ask: ask(trip), 20)
        return runs

    def twenty_rows(self, ours):
        twenty, frame = self.first[:20], self.frame[:20]
        runs = {
            "ours": lambda: ours.seconds("rows20"),
            "python, arithmetic": many(lambda: [with_python(*row) for row in twenty], CALLS // 20),
            "pandas, from a frame": many(lambda: with_pandas(frame), 20),
        }
        if self.pipeline:
            runs["scikit-learn pipeline, from a frame"] = many(lambda: self.pipeline.transform(frame), 20)
        return runs


def microseconds(times, names=None):
    return {name: [value * 1e6 for value in of] for name, of in times.items() if not names or name in names}


def second_of(run):
    """Of two runs the second: while the others have their turn, caches forget, and the system takes away pages that lie idle."""
    run()
    return run()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    binary = peers.built("features", "bench", "features")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "data", folder], check=True)
        trips = Trips(folder)
        trips.check()
        ours = Ours(binary)
        rows, runs = trips.batch(ours)
        batch, one, twenty = (
            peers.taken_in_turn({name: functools.partial(second_of, run) for name, run in of.items()}, rounds)
            for of in (runs, trips.one_row(ours), trips.twenty_rows(ours)))
        ours.end()

    modules = [np, pl, duckdb, pd, pa, *filter(None, (frameworks.sklearn, frameworks.feast))]
    versions = {module.__name__: module.__version__ for module in modules}
    peers.tell(
        "features, batch", f"{rows:,} rows in memory, one thread", "M rows/s",
        {name: [rows / value / 1e6 for value in of] for name, of in batch.items()},
        less_is_better=False, aim=3, beside=["ours, new columns"], versions=versions)
    arithmetic = {"ours", "python, arithmetic"}
    for work, times in (("features, one row", one), ("features, twenty rows", twenty)):
        aim = 3 if times is one else None
        peers.tell(work, "time of a call", "µs", microseconds(times, arithmetic), aim=aim, versions=versions)
        rest = set(times) - arithmetic | {"ours"}
        peers.tell(work, "time of a call, libraries", "µs", microseconds(times, rest), aim=aim and 100, versions=versions)
    machine = peers.machine()
    print("\n" + ", ".join(f"{name} {value}" for name, value in {**machine, **versions}.items()))


if __name__ == "__main__":
    main()
