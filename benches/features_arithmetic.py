"""The twenty features of a taxi trip, as others would write them: plain Python, numpy, pandas, polars, SQL of DuckDB.

The same arithmetic as `features.toml`; what is used twice is computed once, where one would do so by hand.
"""

import math

import numpy as np
import pandas as pd
import polars as pl

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
