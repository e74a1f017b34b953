"""Trains and serves arrival times with XGBoost, in SageMaker's script mode.

As a program it trains: rows in `SM_CHANNEL_TRAIN` (and `SM_CHANNEL_VALIDATION`, where there are some), headerless CSV or Parquet, the
label first; the model goes to `SM_MODEL_DIR`. As a module it serves: `model_fn`, `input_fn`, `predict_fn` and `output_fn` are what
SageMaker's container, and the local one, put behind `/invocations`.
"""

import argparse
import json
import os
from pathlib import Path

import numpy
import xgboost

MODEL_FILE = "xgboost-model.json"
SETTING_FILE = "setting.json"
# What is trained on instead of the label, and back: squared error of a root lies between mean and median.
TRANSFORMS = {
    "none": (lambda label: label, lambda value: value),
    "sqrt": (numpy.sqrt, lambda value: numpy.maximum(value, 0.0) ** 2),
    "log1p": (numpy.log1p, numpy.expm1),
}


def read_channel(folder):
    """All rows of a channel's files, in the order of their names: labels, and features with NaN where a value is missing."""
    parts = []
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.name.startswith(("_", ".")):
            continue
        if path.suffix == ".parquet":
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(path)
            parts.append(numpy.column_stack([column.to_numpy().astype(float) for column in table.columns]))
        else:
            parts.append(numpy.genfromtxt(path, delimiter=",", ndmin=2))
    if not parts:
        raise SystemExit(f"there is no row in {folder}")
    rows = numpy.concatenate(parts)
    return rows[:, 0], rows[:, 1:]


def train(arguments):
    apply, invert = TRANSFORMS[arguments.target_transform]
    labels, features = read_channel(arguments.train)
    rows = xgboost.QuantileDMatrix(features, apply(labels))
    watched = []
    if arguments.validation:
        held_out_labels, held_out = read_channel(arguments.validation)
        watched = [(xgboost.QuantileDMatrix(held_out, apply(held_out_labels), ref=rows), "validation")]
    parameters = {
        "objective": arguments.objective, "eta": arguments.eta, "max_depth": arguments.max_depth, "seed": arguments.seed,
        "min_child_weight": arguments.min_child_weight, "tree_method": "hist", "nthread": arguments.nthread,
    }
    stopping = arguments.early_stopping_rounds if watched and arguments.early_stopping_rounds else None
    model = xgboost.train(parameters, rows, arguments.num_round, evals=watched, early_stopping_rounds=stopping,
                          verbose_eval=False)
    if stopping:
        model = model[: model.best_iteration + 1]
    folder = Path(arguments.model_dir)
    model.save_model(folder / MODEL_FILE)
    (folder / SETTING_FILE).write_text(json.dumps({"target_transform": arguments.target_transform}))

    told = [("train", labels, features)]
    if watched:
        told.append(("validation", held_out_labels, held_out))
    for name, actual, given in told:
        off = invert(model.inplace_predict(given)) - actual
        predicted = numpy.maximum(actual + off, 0.0)
        rmsle = numpy.sqrt(numpy.mean((numpy.log1p(predicted) - numpy.log1p(actual)) ** 2))
        print(f"{name}:mae={numpy.abs(off).mean():.6f}; {name}:rmse={numpy.sqrt(numpy.mean(off**2)):.6f}; {name}:rmsle={rmsle:.6f};")


def model_fn(model_dir):
    """The model, and how its answers become seconds."""
    model = xgboost.Booster()
    model.load_model(Path(model_dir) / MODEL_FILE)
    # One row is no work for many threads.
    model.set_param({"nthread": 1})
    setting = json.loads((Path(model_dir) / SETTING_FILE).read_text())
    return model, TRANSFORMS[setting["target_transform"]][1]


def input_fn(body, content_type):
    """Rows of features: CSV with empty cells, or JSON `{"instances": [{"features": […]}]}` with nulls, where values are missing."""
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    number = lambda cell: float("nan") if cell in ("", None) else float(cell)
    if content_type.startswith("text/csv"):
        rows = [[number(cell.strip()) for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    elif content_type.startswith("application/json"):
        instances = json.loads(text)["instances"]
        rows = [[number(cell) for cell in (row["features"] if isinstance(row, dict) else row)] for row in instances]
    else:
        raise ValueError(f"content type {content_type!r} is not supported; send text/csv or application/json")
    return numpy.array(rows, dtype=float)


def predict_fn(data, model):
    booster, invert = model
    return invert(booster.inplace_predict(data))


def output_fn(predictions, accept):
    numbers = [float(number) for number in predictions]
    if "json" in accept:
        return json.dumps({"predictions": numbers}), "application/json"
    return "".join(f"{number!r}\n" for number in numbers), "text/csv"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_dir", default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", default=os.environ.get("SM_CHANNEL_VALIDATION"))
    parser.add_argument("--objective", default="reg:squarederror")
    parser.add_argument("--target_transform", default="none", choices=sorted(TRANSFORMS))
    parser.add_argument("--num_round", type=int, default=100)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--max_depth", type=int, default=6)
    parser.add_argument("--min_child_weight", type=float, default=1.0)
    parser.add_argument("--early_stopping_rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nthread", type=int, default=int(os.environ.get("SM_NUM_CPUS", "1")))
    # Whatever else a job is told is not ours.
    arguments, _ = parser.parse_known_args()
    train(arguments)


if __name__ == "__main__":
    main()
