"""What a team would write instead: the prediction proxy as a Lambda function in Python, with awslambdaric, boto3 and numpy.

The same work as ours for the reference model: read and check the request, compute the 21 columns for all candidates at
once, choose the arm (GrowthBook's hash v2), ask the endpoint, put the record, answer. The release's pointer is asked for
again every five seconds, with a conditional get. The numbers of the columns are those of models/pickup-eta/features.toml.
"""

import json
import math
import os
import time
import uuid
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import boto3
import numpy as np
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET, MODEL = os.environ["LAKE_BUCKET"], os.environ["DEFAULT_MODEL"]
CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"max_attempts": 1}, s3={"addressing_style": "path"})
S3 = boto3.client("s3", config=CONFIG)
ENDPOINTS = boto3.client("sagemaker-runtime", config=CONFIG)
ZONE = ZoneInfo("America/New_York")
EARTH_M, RADIAN = 6_371_008.8, math.pi / 180
TTL_S = 5.0
release, release_id, etag, checked_at = None, None, None, -math.inf


def release_in_force():
    global release, release_id, etag, checked_at
    if time.monotonic() - checked_at < TTL_S:
        return release
    condition = {"IfNoneMatch": etag} if etag else {}
    try:
        pointer = S3.get_object(Bucket=BUCKET, Key=f"releases/{MODEL}/current.json", **condition)
        etag, release_id = pointer["ETag"], json.loads(pointer["Body"].read())["release_id"]
        release = json.loads(S3.get_object(Bucket=BUCKET, Key=f"releases/{MODEL}/{release_id}.json")["Body"].read())
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 304 and release is None:
            raise
    checked_at = time.monotonic()
    return release


def hash32(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def assigned_arm(release, unit):
    experiment = release["experiment"]
    point = hash32(str(hash32(experiment["id"] + unit))) % 10000 / 10000
    start = 0.0
    for arm, weight in zip(release["arms"], experiment["weights"]):
        if start <= point < start + weight:
            return arm, weight
        start += weight
    return release["arms"][0], 1.0


def columns(at, inputs, candidates):
    """The model's columns: one row per candidate."""
    number = lambda value: math.nan if value is None else value
    car = np.array([[c["inputs"]["car_lat"], c["inputs"]["car_lon"], number(c["inputs"].get("car_zone"))] for c in candidates])
    car_lat, car_lon = car[:, 0], car[:, 1]
    rider_lat, rider_lon = inputs["rider_lat"], inputs["rider_lon"]
    a1, a2, dl = car_lat * RADIAN, rider_lat * RADIAN, (rider_lon - car_lon) * RADIAN
    c1, c2 = np.cos(a1), math.cos(a2)
    distance_m = 2 * EARTH_M * np.arcsin(np.sqrt(np.sin((a2 - a1) / 2) ** 2 + c1 * c2 * np.sin(dl / 2) ** 2))
    manhattan_m = EARTH_M * np.abs(a2 - a1) + 2 * EARTH_M * np.arcsin(np.abs(c1 * np.sin(dl / 2)))
    bearing = np.arctan2(np.sin(dl) * c2, c1 * math.sin(a2) - np.sin(a1) * c2 * np.cos(dl))
    local = at.astimezone(ZONE)
    minute, weekday = local.hour * 60 + local.minute, local.isoweekday()
    angle = 2 * math.pi * minute / 1440
    weekend = weekday >= 6
    rush = not weekend and (7 <= local.hour <= 9 or 16 <= local.hour <= 18)
    rows = np.empty((len(candidates), 21))
    rows[:, 0], rows[:, 1], rows[:, 2] = distance_m, np.log1p(distance_m), manhattan_m
    rows[:, 3], rows[:, 4] = np.sin(bearing), np.cos(bearing)
    rows[:, 5], rows[:, 6], rows[:, 7], rows[:, 8] = car_lat, car_lon, rider_lat, rider_lon
    rows[:, 9], rows[:, 10] = car[:, 2], number(inputs.get("rider_zone"))
    rows[:, 11], rows[:, 12], rows[:, 13], rows[:, 14] = minute, math.sin(angle), math.cos(angle), weekday
    rows[:, 15], rows[:, 16], rows[:, 17] = weekend, rush, (weekday - 1) * 24 + local.hour
    rows[:, 18], rows[:, 19] = inputs.get("rain_mm") or 0, inputs.get("snow_mm") or 0
    rows[:, 20] = number(inputs.get("temperature_c"))
    return rows


def problems(request):
    found = []
    for name, low, high in (("rider_lat", -90, 90), ("rider_lon", -180, 180)):
        value = request["inputs"].get(name)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            found.append({"pointer": f"/inputs/{name}", "reason": "out_of_range"})
    for row, candidate in enumerate(request["candidates"]):
        for name, low, high in (("car_lat", -90, 90), ("car_lon", -180, 180)):
            value = candidate["inputs"].get(name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                found.append({"pointer": f"/candidates/{row}/inputs/{name}", "reason": "out_of_range"})
    return found


def answer(status, document):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(document)}


def handle(event, context):
    began = time.perf_counter()
    request = json.loads(event["body"])
    wrong = problems(request)
    if wrong:
        return answer(422, {"title": "Invalid request", "errors": wrong})
    release = release_in_force()
    candidates = request["candidates"]
    if not 1 <= len(candidates) <= release["limits"]["max_candidates"]:
        return answer(422, {"title": "Invalid request", "errors": [{"pointer": "/candidates"}]})
    at = datetime.fromisoformat(request["requested_at"].replace("Z", "+00:00"))
    ms = int(at.timestamp() * 1000)
    prediction_id = str(uuid.UUID(int=(ms << 80) | 0x7000 << 64 | 0x8000 << 48 | uuid.uuid4().int & ((1 << 48) - 1)))
    rows = columns(at, request["inputs"], candidates)
    transformed = time.perf_counter()
    arm, probability = assigned_arm(release, request["unit_id"])
    text = "\n".join(",".join("" if value != value else repr(value) for value in row) for row in rows.tolist())
    fallback = (60 + rows[:, 2] / 4.6).tolist()
    tier, reason = "endpoint", None
    try:
        response = ENDPOINTS.invoke_endpoint(
            EndpointName=arm["endpoint"], TargetVariant=arm["variant"], InferenceId=prediction_id,
            ContentType="text/csv", Accept="text/csv", Body=text.encode(),
        )
        predictions = [min(max(float(line), 0.0), 7200.0) for line in response["Body"].read().split()]
        if len(predictions) != len(candidates):
            raise ValueError("rows")
    except Exception as error:
        tier, reason, predictions = "fallback", type(error).__name__, fallback
    answered = time.perf_counter()
    features = rows.tolist()
    record = {
        "prediction_id": prediction_id, "model": MODEL, "release_id": release_id, "spec_hash": release["spec"]["hash"],
        "unit_id": request["unit_id"], "requested_at": request["requested_at"],
        "answered_at": datetime.now(timezone.utc).isoformat(),
        "assignment": {"experiment_id": release["experiment"]["id"], "arm": arm["name"], "probability": probability},
        "tier": tier, "tier_reason": reason, "endpoint": arm["endpoint"], "variant": arm["variant"],
        "model_version": arm["model_version"], "inputs": request["inputs"],
        "candidates": [
            {"candidate_id": candidate["candidate_id"], "inputs": candidate["inputs"],
             "features": [None if value != value else value for value in features[row]],
             "prediction": predictions[row], "fallback": fallback[row]}
            for row, candidate in enumerate(candidates)
        ],
        "timings": {"transform_us": int((transformed - began) * 1e6), "endpoint_us": int((answered - transformed) * 1e6),
                    "total_us": int((time.perf_counter() - began) * 1e6)},
    }
    S3.put_object(
        Bucket=BUCKET, Key=f"landing/predictions/{MODEL}/{at:dt=%Y-%m-%d/hour=%H}/{prediction_id}.json",
        Body=json.dumps(record).encode(), ContentType="application/json",
    )
    print(json.dumps({"prediction_id": prediction_id, "arm": arm["name"], "tier": tier, "candidates": len(candidates)}))
    return answer(200, {
        "prediction_id": prediction_id, "model": MODEL, "release_id": release_id, "arm": arm["name"],
        "model_version": arm["model_version"], "tier": tier, "unit": "s",
        "predictions": [{"candidate_id": candidate["candidate_id"], "value": predictions[row]}
                        for row, candidate in enumerate(candidates)],
    })
