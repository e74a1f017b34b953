"""Reads an archive with DuckDB, pandas and (where Java is there) Spark, and checks that they agree.

usage: read_archive.py FOLDER    FOLDER holds archive/predictions/… and archive/outcomes/…, such as the lake's bucket below
                                 the folder that `mannen demo --dir` was given. Prints one JSON object.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import duckdb
import pandas as pd


def with_duckdb(folder):
    predictions = f"read_parquet('{folder}/archive/predictions/**/*.parquet', hive_partitioning = true)"
    outcomes = f"read_parquet('{folder}/archive/outcomes/**/*.parquet', hive_partitioning = true)"
    connection = duckdb.connect()
    figures = "count(DISTINCT prediction_id), count(*), sum(prediction), sum(list_sum(features))"
    ids, rows, total, features = connection.execute(f"SELECT {figures} FROM {predictions}").fetchone()
    (events,) = connection.execute(f"SELECT count(*) FROM {outcomes}").fetchone()
    return {"predictions": ids, "rows": rows, "sum": total, "outcome_events": events, "features": features}


def with_views(folder):
    """The views of infra/athena over the archive: what they join. Inferences only where some are archived."""
    connection = duckdb.connect()
    for table in ("predictions", "outcomes", "inferences"):
        if (folder / "archive" / table).exists():
            files = f"read_parquet('{folder}/archive/{table}/**/*.parquet', hive_partitioning = true)"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")
    text = (pathlib.Path(__file__).parent.parent / "infra/athena/views.sql").read_text()
    views = [view for view in text.split(";") if "CREATE" in view]
    for view in views:
        if "inferences" not in view or (folder / "archive/inferences").exists():
            connection.execute(view)
    counts = "count(*), count(actual_s), count(DISTINCT prediction_id) FILTER (WHERE arrived_at IS NOT NULL)"
    rows, actual, arrived = connection.execute(f"SELECT {counts} FROM predictions_with_outcomes").fetchone()
    assert actual == arrived, "each prediction that arrived meets its truth once"
    joined = {"rows": rows, "joined": actual}
    if (folder / "archive/inferences").exists():
        same = "recorded AND CAST(output AS double) = prediction"
        of = f"SELECT count(*), count(*) FILTER (WHERE {same}) FROM inferences_with_predictions"
        joined["inferences"], joined["inferences_agree"] = connection.execute(of).fetchone()
    return joined


def with_pandas(folder):
    predictions = pd.read_parquet(f"{folder}/archive/predictions")
    outcomes = pd.read_parquet(f"{folder}/archive/outcomes")
    features = sum(value for row in predictions.features for value in row if value is not None and value == value)
    return {"predictions": predictions.prediction_id.nunique(), "rows": len(predictions), "sum": predictions.prediction.sum(), "outcome_events": len(outcomes), "features": features}


def with_spark(folder):
    from pyspark.sql import SparkSession, functions as f

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    predictions = spark.read.parquet(f"{folder}/archive/predictions")
    ids, rows, total = predictions.agg(f.countDistinct("prediction_id"), f.count("*"), f.sum("prediction")).first()
    events = spark.read.parquet(f"{folder}/archive/outcomes").count()
    (features,) = predictions.select(f.explode("features").alias("value")).agg(f.sum("value")).first()
    return {"predictions": ids, "rows": rows, "sum": total, "outcome_events": events, "features": features}


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    readers = {"duckdb": with_duckdb, "pandas": with_pandas}
    if shutil.which("java"):
        readers["spark"] = with_spark
    else:
        print("skipped: spark (no Java)", file=sys.stderr)
    # Not below a folder whose name begins with a dot: Spark takes those for hidden.
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder / "archive", f"{copy}/archive")
        found = {name: read(copy) for name, read in readers.items()}
        views = with_views(pathlib.Path(copy))
    first = found["duckdb"]
    for name, result in found.items():
        for figure, value in result.items():
            if abs(float(value) - float(first[figure])) > 1e-9 * max(1.0, abs(float(first[figure]))):
                sys.exit(f"{name} reads {figure} = {value}, duckdb {first[figure]}")
    assert views["rows"] == first["rows"], views
    print(json.dumps({"readers": sorted(found), "views": views, **{figure: float(value) for figure, value in first.items()}}))


main()
