"""Speed of the feature engine beside that of others, on the same twenty features of the same trips.

    pip install numpy polars duckdb pandas pyarrow
    python3 benches/features_peers.py [ROUNDS]

Builds our bench, lets it make the trips (seeded), checks that everybody computes the same, and then measures all in
turn, round by round, each with one thread; so that what else the machine does hits all alike. Ratios are of the same
round. Nothing is installed.
"""

import json
import math
import os
import platform
import statistics
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
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
except ImportError as error:
    sys.exit(f"{error}; the peers are: pip install numpy polars duckdb pandas pyarrow")

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
CALLS = 2_000
COLUMNS = ("pickup_lat", "pickup_lon", "dropoff_lat", "dropoff_lon", "pickup_s", "passengers")
NAMES = (
    "haversine_km manhattan_km bearing_sin bearing_cos hour_sin hour_cos dow_sin dow_cos is_weekend is_rush pu_cell "
    "do_cell pu_jfk do_jfk pu_lga do_lga pu_ewr do_ewr passengers log1p_km"
).split()
RADIUS, RADIAN, TAU, KM = 6371.0088, math.pi / 180, 2 * math.pi, 111.195
AIRPORTS = [(lat, lon, KM * math.cos(lat * RADIAN)) for lat, lon in ((40.6413, -73.7781), (40.7769, -73.8740), (40.6895, -74.1745))]


def with_python(lat1, lon1, lat2, lon2, at, passengers, sin=math.sin, cos=math.cos, sqrt=math.sqrt, asin=math.asin, floor=math.floor):
    """One row in plain CPython, the functions bound to locals."""
    a1, a2, dl = lat1 * RADIAN, lat2 * RADIAN, (lon2 - lon1) * RADIAN
    c1, c2, s1, s2 = cos(a1), cos(a2), sin((a2 - a1) * 0.5), sin(dl * 0.5)
    km = 2 * RADIUS * asin(sqrt(s1 * s1 + c1 * c2 * s2 * s2))
    east, north = sin(dl) * c2, c1 * sin(a2) - sin(a1) * c2 * cos(dl)
    length = sqrt(north * north + east * east) or 1.0
    second = at % 86400
    hour, day, whole = second / 3600, (at // 86400 + 3) % 7, second // 3600
    day_angle, week_angle = TAU * hour / 24, TAU * day / 7
    row = [
        km,
        RADIUS * abs(a2 - a1) + 2 * RADIUS * asin(abs(c1 * s2)),
        east / length,
        north / length,
        sin(day_angle),
        cos(day_angle),
        sin(week_angle),
        cos(week_angle),
        1.0 if day >= 5 else 0.0,
        1.0 if day < 5 and (7 <= whole <= 9 or 16 <= whole <= 18) else 0.0,
        floor((lat1 - 40) * 100) * 1000 + floor((lon1 + 75) * 100),
        floor((lat2 - 40) * 100) * 1000 + floor((lon2 + 75) * 100),
    ]
    for lat, lon, km_east in AIRPORTS:
        north, east = (lat1 - lat) * KM, (lon1 - lon) * km_east
        row.append(1.0 if north * north + east * east < 4 else 0.0)
        north, east = (lat2 - lat) * KM, (lon2 - lon) * km_east
        row.append(1.0 if north * north + east * east < 4 else 0.0)
    row.append(float(passengers))
    row.append(math.log1p(km))
    return row


def with_numpy(lat1, lon1, lat2, lon2, at, passengers):
    """Arrays in, arrays out; what is used twice is computed once."""
    a1, a2, dl = lat1 * RADIAN, lat2 * RADIAN, (lon2 - lon1) * RADIAN
    c1, c2, s1, s2 = np.cos(a1), np.cos(a2), np.sin((a2 - a1) * 0.5), np.sin(dl * 0.5)
    km = 2 * RADIUS * np.arcsin(np.sqrt(s1 * s1 + c1 * c2 * s2 * s2))
    east, north = np.sin(dl) * c2, c1 * np.sin(a2) - np.sin(a1) * c2 * np.cos(dl)
    length = np.sqrt(north * north + east * east)
    length[length == 0] = 1
    second = at % 86400
    hour, day, whole = second / 3600, (at // 86400 + 3) % 7, second // 3600
    day_angle, week_angle = TAU * hour / 24, TAU * day / 7
    rush = (day < 5) & (((whole >= 7) & (whole <= 9)) | ((whole >= 16) & (whole <= 18)))
    columns = [
        km,
        RADIUS * np.abs(a2 - a1) + 2 * RADIUS * np.arcsin(np.abs(c1 * s2)),
        east / length,
        north / length,
        np.sin(day_angle),
        np.cos(day_angle),
        np.sin(week_angle),
        np.cos(week_angle),
        (day >= 5).astype(float),
        rush.astype(float),
        np.floor((lat1 - 40) * 100) * 1000 + np.floor((lon1 + 75) * 100),
        np.floor((lat2 - 40) * 100) * 1000 + np.floor((lon2 + 75) * 100),
    ]
    for lat, lon, km_east in AIRPORTS:
        for point_lat, point_lon in ((lat1, lon1), (lat2, lon2)):
            north, east = (point_lat - lat) * KM, (point_lon - lon) * km_east
            columns.append((north * north + east * east < 4).astype(float))
    columns += [passengers.astype(float), np.log1p(km)]
    return columns


def with_pandas(frame):
    """The idiom: arithmetic of Series and the `.dt` accessor."""
    lat1, lon1, lat2, lon2 = (frame[name] for name in COLUMNS[:4])
    time_of = pd.to_datetime(frame["pickup_s"], unit="s").dt
    a1, a2, dl = lat1 * RADIAN, lat2 * RADIAN, (lon2 - lon1) * RADIAN
    c1, c2, s1, s2 = np.cos(a1), np.cos(a2), np.sin((a2 - a1) * 0.5), np.sin(dl * 0.5)
    km = 2 * RADIUS * np.arcsin(np.sqrt(s1**2 + c1 * c2 * s2**2))
    east, north = np.sin(dl) * c2, c1 * np.sin(a2) - np.sin(a1) * c2 * np.cos(dl)
    length = np.sqrt(north**2 + east**2).replace(0, 1)
    day, whole = time_of.day_of_week, time_of.hour
    day_angle = TAU * (whole + time_of.minute / 60 + time_of.second / 3600) / 24
    week_angle = TAU * day / 7
    out = {
        "haversine_km": km,
        "manhattan_km": RADIUS * (a2 - a1).abs() + 2 * RADIUS * np.arcsin((c1 * s2).abs()),
        "bearing_sin": east / length,
        "bearing_cos": north / length,
        "hour_sin": np.sin(day_angle),
        "hour_cos": np.cos(day_angle),
        "dow_sin": np.sin(week_angle),
        "dow_cos": np.cos(week_angle),
        "is_weekend": (day >= 5).astype(float),
        "is_rush": ((day < 5) & (whole.between(7, 9) | whole.between(16, 18))).astype(float),
        "pu_cell": np.floor((lat1 - 40) * 100) * 1000 + np.floor((lon1 + 75) * 100),
        "do_cell": np.floor((lat2 - 40) * 100) * 1000 + np.floor((lon2 + 75) * 100),
    }
    for name, (lat, lon, km_east) in zip(("jfk", "lga", "ewr"), AIRPORTS):
        for end, point_lat, point_lon in (("pu", lat1, lon1), ("do", lat2, lon2)):
            distance2 = ((point_lat - lat) * KM) ** 2 + ((point_lon - lon) * km_east) ** 2
            out[f"{end}_{name}"] = (distance2 < 4).astype(float)
    out["passengers"], out["log1p_km"] = frame["passengers"].astype(float), np.log1p(km)
    return pd.DataFrame(out)


def polars_expressions():
    lat1, lon1, lat2, lon2, at, passengers = (pl.col(name) for name in COLUMNS)
    a1, a2, dl = lat1 * RADIAN, lat2 * RADIAN, (lon2 - lon1) * RADIAN
    c1, c2, s1, s2 = a1.cos(), a2.cos(), ((a2 - a1) * 0.5).sin(), (dl * 0.5).sin()
    km = (s1 * s1 + c1 * c2 * s2 * s2).sqrt().arcsin() * (2 * RADIUS)
    east, north = dl.sin() * c2, c1 * a2.sin() - a1.sin() * c2 * dl.cos()
    length = (north * north + east * east).sqrt()
    length = pl.when(length == 0).then(1.0).otherwise(length)
    second = at % 86400
    day, whole = (at // 86400 + 3) % 7, second // 3600
    day_angle, week_angle = second / 3600.0 * (TAU / 24), day * (TAU / 7)
    flag = pl.Float64
    columns = [
        km,
        (a2 - a1).abs() * RADIUS + (c1 * s2).abs().arcsin() * (2 * RADIUS),
        east / length,
        north / length,
        day_angle.sin(),
        day_angle.cos(),
        week_angle.sin(),
        week_angle.cos(),
        (day >= 5).cast(flag),
        ((day < 5) & (whole.is_between(7, 9) | whole.is_between(16, 18))).cast(flag),
        ((lat1 - 40) * 100).floor() * 1000 + ((lon1 + 75) * 100).floor(),
        ((lat2 - 40) * 100).floor() * 1000 + ((lon2 + 75) * 100).floor(),
    ]
    for lat, lon, km_east in AIRPORTS:
        for point_lat, point_lon in ((lat1, lon1), (lat2, lon2)):
            north, east = (point_lat - lat) * KM, (point_lon - lon) * km_east
            columns.append((north * north + east * east < 4).cast(flag))
    columns += [passengers.cast(flag), km.log1p()]
    return [column.alias(name) for column, name in zip(columns, NAMES)]


def duckdb_query(table):
    near = []
    for name, (lat, lon, km_east) in zip(("jfk", "lga", "ewr"), AIRPORTS):
        for end, point in (("pu", "pickup"), ("do", "dropoff")):
            north, east = f"(({point}_lat - {lat}) * {KM})", f"(({point}_lon - ({lon})) * {km_east})"
            near.append(f"({north} * {north} + {east} * {east} < 4)::DOUBLE AS {end}_{name}")
    return f"""
        WITH angles AS (
            SELECT *, pickup_lat * {RADIAN} AS a1, dropoff_lat * {RADIAN} AS a2,
                (dropoff_lon - pickup_lon) * {RADIAN} AS dl, pickup_s % 86400 AS second,
                (pickup_s // 86400 + 3) % 7 AS day
            FROM {table}),
        parts AS (
            SELECT *, cos(a1) AS c1, cos(a2) AS c2, sin((a2 - a1) * 0.5) AS s1, sin(dl * 0.5) AS s2,
                sin(dl) * cos(a2) AS east, cos(a1) * sin(a2) - sin(a1) * cos(a2) * cos(dl) AS north,
                second // 3600 AS whole
            FROM angles),
        lengths AS (
            SELECT *, {2 * RADIUS} * asin(sqrt(s1 * s1 + c1 * c2 * s2 * s2)) AS km,
                coalesce(nullif(sqrt(north * north + east * east), 0), 1) AS length
            FROM parts)
        SELECT km AS haversine_km, {RADIUS} * abs(a2 - a1) + {2 * RADIUS} * asin(abs(c1 * s2)) AS manhattan_km,
            east / length AS bearing_sin, north / length AS bearing_cos,
            sin({TAU / 24} * (second / 3600)) AS hour_sin, cos({TAU / 24} * (second / 3600)) AS hour_cos,
            sin({TAU / 7} * day) AS dow_sin, cos({TAU / 7} * day) AS dow_cos, (day >= 5)::DOUBLE AS is_weekend,
            (day < 5 AND (whole BETWEEN 7 AND 9 OR whole BETWEEN 16 AND 18))::DOUBLE AS is_rush,
            floor((pickup_lat - 40) * 100) * 1000 + floor((pickup_lon + 75) * 100) AS pu_cell,
            floor((dropoff_lat - 40) * 100) * 1000 + floor((dropoff_lon + 75) * 100) AS do_cell,
            {", ".join(near)}, passengers::DOUBLE AS passengers, ln(1 + km) AS log1p_km
        FROM lengths"""


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def many(function, calls):
    def run():
        for _ in range(calls):
            function()

    return lambda: seconds(run) / calls


def build():
    """Our bench binary."""
    command = ["cargo", "bench", "-p", "features", "--bench", "features", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        if '"executable":"' in line and '"name":"features"' in line and '"bench"' in line:
            return line.split('"executable":"')[1].split('"')[0]
    sys.exit("cargo built no bench")


def table(title, times, ours, unit, scale):
    print(f"\n{title}\n{'':34}{unit:>14}{'least':>10}{'greatest':>10}{'ours is faster by (10%..90%)':>32}")
    for name, values in times.items():
        values_sorted = sorted(values)
        ratios = sorted(theirs / mine for theirs, mine in zip(values, times[ours]))
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        shown = [scale(x) for x in (statistics.median(values), values_sorted[0], values_sorted[-1])]
        ratio = "" if name == ours else f"{statistics.median(ratios):.2f} ({low:.2f}..{high:.2f})"
        print(f"{name:34}{shown[0]:14.3f}{min(shown[1:]):10.3f}{max(shown[1:]):10.3f}{ratio:>32}")


def main():
    binary = build()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "data", folder], check=True)
        arrays = [np.load(f"{folder}/{name}.npy") for name in COLUMNS]
        ours = np.array(json.loads(Path(folder, "ours.json").read_text()), dtype=float)
    arrow = pa.table(dict(zip(COLUMNS, arrays)))
    frame, lazy = pd.DataFrame(dict(zip(COLUMNS, arrays))), pl.from_arrow(arrow).lazy()
    expressions = polars_expressions()
    database = duckdb.connect()
    database.execute("SET threads = 1")
    database.execute("CREATE TABLE trips AS FROM arrow")
    query = duckdb_query("trips")

    # The same results, before any time counts.
    count = len(ours)
    first = [tuple(column[row].item() for column in arrays) for row in range(count)]
    results = {
        "python": np.array([with_python(*row) for row in first], dtype=float),
        "numpy": np.column_stack(with_numpy(*[column[:count] for column in arrays])),
        "pandas": with_pandas(frame[:count]).to_numpy(),
        "polars": lazy.head(count).select(expressions).collect().to_numpy(),
        "duckdb": np.column_stack([database.execute(duckdb_query(f"(FROM trips LIMIT {count})")).fetchnumpy()[name] for name in NAMES]),
    }
    for name, result in results.items():
        error = np.max(np.abs(result - ours) / np.maximum(np.abs(result), 1))
        print(f"largest relative difference from {name}: {error:.1e}")
        if not error <= 1e-12:
            sys.exit(f"{name} computes something else")

    server = subprocess.Popen([binary, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    server.stdout.readline()

    def ask(what):
        def run():
            server.stdin.write(what + "\n")
            server.stdin.flush()
            return float(server.stdout.readline())

        return run

    one, twenty = first[0], first[:20]
    one_array, twenty_frame = [column[:1] for column in arrays], frame[:20]
    one_dict = dict(zip(COLUMNS, one))
    contests = [
        (
            f"{len(arrays[0]):,} rows in memory, M rows/s",
            {
                "ours, columns reused": ask("batch"),
                "ours, new columns": ask("fresh"),
                "numpy": lambda: seconds(lambda: with_numpy(*arrays)),
                "polars": lambda: seconds(lambda: lazy.select(expressions).collect()),
                "duckdb": lambda: seconds(lambda: database.sql(query).to_arrow_table()),
                "pandas": lambda: seconds(lambda: with_pandas(frame)),
            },
            "M rows/s",
            lambda s: len(arrays[0]) / s / 1e6,
        ),
        (
            "1 row, µs",
            {
                "ours": ask("row"),
                "python, arithmetic": many(lambda: with_python(*one), CALLS),
                "numpy": many(lambda: with_numpy(*one_array), CALLS // 20),
                "pandas, from a dict": many(lambda: with_pandas(pd.DataFrame([one_dict])), 20),
            },
            "µs",
            lambda s: s * 1e6,
        ),
        (
            "20 rows, µs",
            {
                "ours": ask("rows20"),
                "python, arithmetic": many(lambda: [with_python(*row) for row in twenty], CALLS // 20),
                "pandas, from a frame": many(lambda: with_pandas(twenty_frame), 20),
            },
            "µs",
            lambda s: s * 1e6,
        ),
    ]
    for title, competitors, unit, scale in contests:
        times = {name: [] for name in competitors}
        for measured in range(-1, ROUNDS):
            for name, run in competitors.items():
                value = run()
                if measured >= 0:
                    times[name].append(value)
        table(f"{title} ({ROUNDS} rounds, medians)", times, next(iter(competitors)), unit, scale)
    server.stdin.close()
    server.wait()

    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    models = [line.split(":")[1].strip() for line in cpu_lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, pl, duckdb, pd, pa))
    print(f"\n{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {platform.platform()}")
    print(f"CPython {platform.python_version()}, {versions}; {rustc}")


if __name__ == "__main__":
    main()
