"""Accuracy of the reference model beside LightGBM and XGBoost, on the very same features of recorded trips.

    pip install lightgbm xgboost numpy pyarrow
    python3 benches/accuracy_peers.py TRIPS.csv.gz ZONES.csv WEATHER.csv [ROUNDS]

The trips are New York's (TLC), of 1 minute to 2 hours between known zones. They are split by time: the first 72 % are trained on,
the next 8 % say when to stop, the last 20 % are what everybody is judged by. Only what is known before a trip is used: distance
and fare are not. Lookup tables come from the rows that are trained on, out of fold (`mannen features build-lookup`); all columns come
from the feature engine (`mannen features run`). Everybody has the same trees to spend: 0.05 the rate, 63 leaves, 20 rows in a leaf,
600 trees at most, 50 without a better error on the validation rows, one thread.

One row is asked through each library's own C interface, from C, a million times in all; of us through `Model::predict_row`.
Needs a C compiler. Nothing is installed.
"""

import csv
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

try:
    import lightgbm as lgb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xgboost as xgb
except ImportError as error:
    sys.exit(f"{error}; the peers are: pip install lightgbm xgboost numpy pyarrow")

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "benches" / "accuracy"
NEW_YORK = ZoneInfo("America/New_York")
RATE, LEAVES, LEAF_ROWS, TREES, PATIENCE, THREADS = 0.05, 63, 20, 600, 50, 1
LOOKUPS = {
    "pairs": ["--smoothing-rows", "10"],
    "pair_times": ["--smoothing-rows", "10", "--parent-keys", "1"],
    "from_paces": ["--smoothing-rows", "20", "--parent-keys", "1", "--value", "drive_s / (manhattan_m + 500)"],
    "to_paces": ["--smoothing-rows", "20", "--parent-keys", "1", "--value", "drive_s / (manhattan_m + 500)"],
    "week_paces": ["--smoothing-rows", "20", "--value", "drive_s / (manhattan_m + 500)"],
}
# By name: our objective and target transform, LightGBM's and XGBoost's objective, the label's transform for both.
FITS = {
    "squared error": ("reg:squarederror", "none", "regression", "reg:squarederror"),
    "squared error of the root": ("reg:squarederror", "sqrt", "regression", "reg:squarederror"),
    "squared error of the logarithm": ("reg:squarederror", "log1p", "regression", "reg:squarederror"),
    "absolute error": ("reg:absoluteerror", "none", "regression_l1", "reg:absoluteerror"),
    "absolute error of the logarithm": ("reg:absoluteerror", "log1p", "regression_l1", "reg:absoluteerror"),
}
TRANSFORMS = {
    "none": (lambda y: y, lambda z: z),
    "sqrt": (np.sqrt, lambda z: np.maximum(z, 0) ** 2),
    "log1p": (np.log1p, np.expm1),
}


def program(name, package, *arguments):
    """A release build of ours, unless the environment names one."""
    given = os.environ.get(name.upper().replace("-", "_"))
    if given:
        return given
    command = ["cargo", "build", "--release", "--message-format=json", "-p", package, *arguments]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in built.splitlines()]
    return [line["executable"] for line in found if line.get("executable") and line["target"]["name"] == name][-1]


def read_trips(trips, zones, weather):
    """Columns of raw inputs, in the order of their pick-ups."""
    centroid = {row["location_id"]: row for row in csv.DictReader(open(zones))}
    days = {row["DATE"]: row for row in csv.DictReader(open(weather))}
    number = lambda text: float(text) if text else None
    rows = []
    with gzip.open(trips, "rt") as file:
        for trip in csv.DictReader(file):
            try:
                pickup = datetime.fromisoformat(trip["pickup_datetime"]).replace(tzinfo=NEW_YORK)
                dropoff = datetime.fromisoformat(trip["dropoff_datetime"]).replace(tzinfo=NEW_YORK)
                begin, end = centroid[trip["pickup_location_id"]], centroid[trip["dropoff_location_id"]]
            except (ValueError, KeyError):
                continue
            drive_s = dropoff.timestamp() - pickup.timestamp()
            if not 60 <= drive_s <= 7200:
                continue
            day = days.get(pickup.date().isoformat(), {})
            rain, snow = number(day.get("PRCP")), number(day.get("SNOW"))
            highest, lowest = number(day.get("TMAX")), number(day.get("TMIN"))
            rows.append({
                "requested_at": pickup.astimezone(timezone.utc),
                "car_lat": float(begin["centroid_lat"]), "car_lon": float(begin["centroid_lon"]),
                "rider_lat": float(end["centroid_lat"]), "rider_lon": float(end["centroid_lon"]),
                "car_zone": int(begin["location_id"]), "rider_zone": int(end["location_id"]),
                "rain_mm": None if rain is None else rain * 25.4, "snow_mm": None if snow is None else snow * 25.4,
                "temperature_c": None if None in (highest, lowest) else ((highest + lowest) / 2 - 32) / 1.8,
                "drive_s": drive_s,
            })
    rows.sort(key=lambda row: row["requested_at"])
    return [{**row, "trip_id": index} for index, row in enumerate(rows)]


def views(mannen, rows, work):
    """The training view of each part, by the feature engine, as CSV files with the label first."""
    first, second = int(len(rows) * 0.72), int(len(rows) * 0.8)
    parts = {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}
    for name, part in parts.items():
        pq.write_table(pa.Table.from_pylist(part), work / f"{name}.parquet")
    spec = work / "spec"
    spec.mkdir()
    (spec / "features.toml").write_text((SPEC / "features.toml").read_text())
    # Rows of this window are looked up out of fold, all others as requests are.
    window = ["--from", stamp(rows[0]), "--to", stamp(parts["validation"][0])]
    for table, options in LOOKUPS.items():
        subprocess.run(
            [mannen, "-q", "features", "build-lookup", table, work / "train.parquet", "--spec", spec, *window,
             "--out-of-fold", "5", "--fold-key", "trip_id", *options], check=True, stdout=subprocess.DEVNULL)
    out = {}
    for name in parts:
        subprocess.run([mannen, "-q", "features", "run", work / f"{name}.parquet", "--spec", spec, "--format", "csv",
                        "--out", work / name], check=True, stdout=subprocess.DEVNULL)
        view = np.genfromtxt(work / name / "train.csv", delimiter=",")
        out[name] = (view[:, 0], np.ascontiguousarray(view[:, 1:]))
    return out


def stamp(row):
    return row["requested_at"].strftime("%Y-%m-%dT%H:%M:%SZ")


def fit_ours(container, work, objective, transform, metric):
    """Trains as SageMaker would; the folder and the seconds of the whole program, reading its files among them."""
    job = Path(tempfile.mkdtemp(dir=work))
    hyperparameters = {
        "objective": objective, "target_transform": transform, "eval_metric": metric, "num_round": TREES, "eta": RATE,
        "max_leaves": LEAVES, "max_depth": 64, "min_child_weight": LEAF_ROWS, "early_stopping_rounds": PATIENCE,
        "max_bin": 255, "lambda": 0, "nthread": THREADS,
    }
    (job / "input/config").mkdir(parents=True)
    (job / "input/config/hyperparameters.json").write_text(json.dumps({k: str(v) for k, v in hyperparameters.items()}))
    for channel in ("train", "validation"):
        (job / "input/data" / channel).mkdir(parents=True)
        (job / "input/data" / channel / "rows.csv").symlink_to(work / channel / "train.csv")
    began = time.perf_counter()
    log = subprocess.run([container, "train", "--base-dir", job], check=True, stdout=subprocess.PIPE, text=True).stdout
    whole_s = time.perf_counter() - began
    fit_s = float(log.split("fit_s=")[1].split(";")[0])
    return job, fit_s, whole_s


def fit_lightgbm(data, objective, apply, metric):
    parameters = {
        "objective": objective, "metric": metric, "learning_rate": RATE, "num_leaves": LEAVES, "min_data_in_leaf": LEAF_ROWS,
        "num_threads": THREADS, "verbosity": -1, "seed": 1, "deterministic": True,
    }
    (train_y, train), (validation_y, validation) = data["train"], data["validation"]
    began = time.perf_counter()
    rows = lgb.Dataset(train, apply(train_y))
    stop = lgb.early_stopping(PATIENCE, verbose=False)
    model = lgb.train(parameters, rows, TREES, [rows.create_valid(validation, apply(validation_y))], callbacks=[stop])
    return model, time.perf_counter() - began


def fit_xgboost(data, objective, apply, metric):
    parameters = {
        "objective": objective, "eval_metric": metric, "learning_rate": RATE, "max_leaves": LEAVES, "max_depth": 0,
        "grow_policy": "lossguide", "tree_method": "hist", "min_child_weight": LEAF_ROWS, "nthread": THREADS, "seed": 1,
    }
    (train_y, train), (validation_y, validation) = data["train"], data["validation"]
    began = time.perf_counter()
    rows = xgb.QuantileDMatrix(train, apply(train_y))
    held_out = xgb.QuantileDMatrix(validation, apply(validation_y), ref=rows)
    model = xgb.train(parameters, rows, TREES, evals=[(held_out, "validation")], early_stopping_rounds=PATIENCE,
                      verbose_eval=False)
    return model[: model.best_iteration + 1], time.perf_counter() - began


def errors(predicted, actual):
    predicted = np.clip(predicted, 0, 7200)
    off = predicted - actual
    rmsle = math.sqrt(np.mean((np.log1p(predicted) - np.log1p(actual)) ** 2))
    return {"mae": np.abs(off).mean(), "rmsle": rmsle, "within": (np.abs(off) <= 120).mean() * 100}


def ask_ours(asker, job, work, rounds):
    """Predictions of the test rows, and nanoseconds a row, as `examples/predict_rows.rs` tells."""
    told = subprocess.run([asker, job / "model", work / "test" / "train.csv", str(rounds)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return np.array([float(line) for line in told[1:]]), float(told[0])


C_PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
extern int LGBM_BoosterCreateFromModelfile(const char*, int*, void**);
extern int LGBM_BoosterPredictForMatSingleRowFastInit(void*, int, int, int, int, int, const char*, void**);
extern int LGBM_BoosterPredictForMatSingleRowFast(void*, const double*, long*, double*);
int main(int argc, char** argv) {
  void *booster, *fast; int trees; long length; double out, sum = 0;
  int columns = atoi(argv[3]), rounds = atoi(argv[4]);
  FILE* file = fopen(argv[2], "rb");
  fseek(file, 0, SEEK_END); long rows = ftell(file) / (8 * columns); rewind(file);
  double* cells = malloc(8 * rows * columns);
  if (fread(cells, 8 * columns, rows, file) != (size_t)rows) return 1;
  if (LGBM_BoosterCreateFromModelfile(argv[1], &trees, &booster)) return 1;
  if (LGBM_BoosterPredictForMatSingleRowFastInit(booster, 0, 0, -1, 1, columns, "num_threads=1", &fast)) return 1;
  double best = 1e30;
  for (int round = 0; round < rounds; round++) {
    struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);
    for (long row = 0; row < rows; row++) {
      if (LGBM_BoosterPredictForMatSingleRowFast(fast, cells + row * columns, &length, &out)) return 1;
      sum += out;
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / rows;
    if (ns < best) best = ns;
  }
  printf("%.1f %.17g\n", best, sum);
  return 0;
}
"""


def lightgbm_row_ns(model, cells, work, rounds):
    """The best round's nanoseconds a row of LightGBM's single-row interface, from C."""
    (work / "ask.c").write_text(C_PROGRAM)
    library = Path(lgb.__file__).parent / "lib" / "lib_lightgbm.so"
    gomp = sorted(Path(lgb.__file__).parent.parent.glob("lightgbm.libs/*"))
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join({str(library.parent), *(str(p.parent) for p in gomp)})}
    subprocess.run(["cc", "-O2", "-o", work / "ask", work / "ask.c", library, "-Wl,--allow-shlib-undefined"], check=True)
    model.save_model(work / "lightgbm.txt")
    cells.tofile(work / "cells")
    command = [work / "ask", work / "lightgbm.txt", work / "cells", str(cells.shape[1]), str(rounds)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.split()[0])


def xgboost_row_ns(model, cells):
    """XGBoost has no interface for a single row: `inplace_predict` from Python, which is what its users call."""
    model.set_param({"nthread": 1})
    times = []
    for row in cells[:500]:
        began = time.perf_counter_ns()
        model.inplace_predict(row[None, :])
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    mannen = program("mannen", "mannen")
    container = program("reference-model", "reference-model")
    asker = program("predict_rows", "reference-model", "--example", "predict_rows")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = read_trips(*sys.argv[1:4])
        print(f"{len(rows)} trips, {rows[0]['requested_at']:%Y-%m-%d} to {rows[-1]['requested_at']:%Y-%m-%d}; "
              f"LightGBM {lgb.__version__}, XGBoost {xgb.__version__}")
        data = views(mannen, rows, work)
        print(", ".join(f"{name} {len(y)}" for name, (y, _) in data.items()), f"; {data['train'][1].shape[1]} columns")
        actual, test = data["test"]
        for name, (objective, transform, of_lightgbm, of_xgboost) in FITS.items():
            apply, invert = TRANSFORMS[transform]
            metric = "mae" if "absolute" in objective else "rmse"
            seconds = {"ours": [], "LightGBM": [], "XGBoost": []}
            for _ in range(rounds):
                job, ours_s, whole_s = fit_ours(container, work, objective, transform, metric)
                light, light_s = fit_lightgbm(data, of_lightgbm, apply, "l1" if metric == "mae" else "l2")
                boosted, boosted_s = fit_xgboost(data, of_xgboost, apply, metric)
                for of, s in zip(seconds.values(), (ours_s, light_s, boosted_s)):
                    of.append(s)
            predicted, ours_ns = ask_ours(asker, job, work, 20)
            light_ns = lightgbm_row_ns(light, test, work, 20)
            metadata = json.loads((job / "model/metadata.json").read_text())
            print(f"\n{name}")
            table = {
                "ours": (errors(predicted, actual), metadata["tree_count"], ours_ns),
                "LightGBM": (errors(invert(light.predict(test)), actual), light.best_iteration, light_ns),
                "XGBoost": (errors(invert(boosted.inplace_predict(test)), actual), boosted.num_boosted_rounds(),
                            xgboost_row_ns(boosted, test)),
            }
            for who, (error, trees, ns) in table.items():
                fit_s = statistics.median(seconds[who])
                ratios = [mine / his for mine, his in zip(seconds["ours"], seconds[who])]
                print(f"  {who:9} MAE {error['mae']:6.2f} s  RMSLE {error['rmsle']:.4f}  within 2 min {error['within']:.1f} %  "
                      f"{trees} trees  fit {fit_s:.2f} s (ours / it {statistics.median(ratios):.2f})  "
                      f"one row {ns / 1e3:.2f} us (it / ours {ns / ours_ns:.2f})", flush=True)
            for measure in ("mae", "rmsle"):
                better = min(table[who][0][measure] for who in ("LightGBM", "XGBoost"))
                print(f"  {measure}: ours is {100 * (table['ours'][0][measure] / better - 1):+.2f} % of the better one's")


if __name__ == "__main__":
    main()
