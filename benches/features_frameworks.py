"""The twenty features as a scikit-learn pipeline and as Feast's on-demand feature views.

Each is written as its users write it. Feast is a real store in a folder (file registry, SQLite online store), asked by
`get_online_features`, as its online path is.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from features_arithmetic import AIRPORTS, COLUMNS, KM, NAMES, RADIAN, RADIUS, TAU

try:
    import sklearn
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer
except ImportError:
    sklearn = None
os.environ.setdefault("FEAST_USAGE", "False")
try:
    import feast
    from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64, Int64
except ImportError:
    feast = None

ENDS = list(COLUMNS[:4])
# The pipeline's columns, in the order in which its parts give them.
PIPELINE_NAMES = [*NAMES[:4], "log1p_km", *NAMES[4:18], "passengers"]


def geometry(frame):
    lat1, lon1, lat2, lon2 = (frame[name].to_numpy() for name in ENDS)
    a1, a2, dl = lat1 * RADIAN, lat2 * RADIAN, (lon2 - lon1) * RADIAN
    c1, c2, s1, s2 = np.cos(a1), np.cos(a2), np.sin((a2 - a1) * 0.5), np.sin(dl * 0.5)
    km = 2 * RADIUS * np.arcsin(np.sqrt(s1 * s1 + c1 * c2 * s2 * s2))
    manhattan = RADIUS * np.abs(a2 - a1) + 2 * RADIUS * np.arcsin(np.abs(c1 * s2))
    east, north = np.sin(dl) * c2, c1 * np.sin(a2) - np.sin(a1) * c2 * np.cos(dl)
    length = np.sqrt(north * north + east * east)
    length[length == 0] = 1
    return np.column_stack([km, manhattan, east / length, north / length, np.log1p(km)])


def calendar(frame):
    at = frame["pickup_s"].to_numpy()
    second, day = at % 86400, (at // 86400 + 3) % 7
    whole = second // 3600
    day_angle, week_angle = TAU * (second / 3600) / 24, TAU * day / 7
    rush = (day < 5) & (((whole >= 7) & (whole <= 9)) | ((whole >= 16) & (whole <= 18)))
    return np.column_stack([np.sin(day_angle), np.cos(day_angle), np.sin(week_angle), np.cos(week_angle), day >= 5, rush])


def cells(frame):
    lat1, lon1, lat2, lon2 = (frame[name].to_numpy() for name in ENDS)
    ends = ((lat1, lon1), (lat2, lon2))
    return np.column_stack([np.floor((lat - 40) * 100) * 1000 + np.floor((lon + 75) * 100) for lat, lon in ends])


def airports(frame):
    lat1, lon1, lat2, lon2 = (frame[name].to_numpy() for name in ENDS)
    near = []
    for lat, lon, km_east in AIRPORTS:
        for point_lat, point_lon in ((lat1, lon1), (lat2, lon2)):
            near.append(((point_lat - lat) * KM) ** 2 + ((point_lon - lon) * km_east) ** 2 < 4)
    return np.column_stack(near)


def scikit_pipeline():
    """A fitted transformer of frames with the inputs' columns; it gives `PIPELINE_NAMES`."""
    pipeline = ColumnTransformer([
        ("geometry", FunctionTransformer(geometry), ENDS),
        ("calendar", FunctionTransformer(calendar), ["pickup_s"]),
        ("cells", FunctionTransformer(cells), ENDS),
        ("airports", FunctionTransformer(airports), ENDS),
        ("passengers", "passthrough", ["passengers"]),
    ])
    return pipeline.fit(pd.DataFrame([[40.7, -73.9, 40.8, -73.8, 0, 1]] * 2, columns=list(COLUMNS)))


# Feast keeps the text of these and runs it by itself: all that they need, they import.
def one_trip(trip):
    from features_arithmetic import COLUMNS, NAMES, with_python

    return {name: float(value) for name, value in zip(NAMES, with_python(*[trip[name] for name in COLUMNS]))}


def many_trips(trips):
    from features_arithmetic import with_pandas

    return with_pandas(trips)


def feast_views(folder):
    """By name: a function that asks the store for the features of one trip, given as a dict, and gives them in the order of `NAMES`."""
    config = feast.RepoConfig(
        project="trips", provider="local", registry=str(Path(folder, "registry.db")),
        online_store=SqliteOnlineStoreConfig(path=str(Path(folder, "online.db"))), entity_key_serialization_version=3,
    )
    store = feast.FeatureStore(config=config)
    kinds = [Float64] * 4 + [Int64] * 2
    request = feast.RequestSource(name="trip", schema=[feast.Field(name=name, dtype=kind) for name, kind in zip(COLUMNS, kinds)])
    schema = [feast.Field(name=name, dtype=Float64) for name in NAMES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.apply([
            on_demand_feature_view(name="one", sources=[request], schema=schema, mode="python", singleton=True)(one_trip),
            on_demand_feature_view(name="many", sources=[request], schema=schema, mode="pandas")(many_trips),
        ])

    def asker(view):
        wanted = [f"{view}:{name}" for name in NAMES]

        def ask(trip):
            answer = store.get_online_features(features=wanted, entity_rows=[trip]).to_dict()
            return [answer[name][0] for name in NAMES]

        return ask

    return {"feast, python mode": asker("one"), "feast, pandas mode": asker("many")}
