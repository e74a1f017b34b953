#!/usr/bin/env python3
"""Invokes every function, run by `cargo lambda watch`, with the sample events of events/ and with events that SAM makes, against a
local cloud's S3, SageMaker and warehouse. Called by .ci/invoke-functions.

usage: invoke_functions.py UP.json WATCH_PORT BIN_FOLDER MANNEN
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import boto3

ROOT = Path(__file__).resolve().parent.parent
UP, PORT, BIN, MANNEN = json.load(open(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
LAKE = "mannen-lake-000000000000"
UP_FOLDER = Path(sys.argv[1]).parent / "up"
# `mannen` is to take the cloud of the folder, and no bucket on AWS.
WITHOUT_LAKE = {name: value for name, value in os.environ.items() if name != "LAKE_BUCKET"}
CSV = (
    "requested_at,rider_lat,rider_lon,rider_zone,rain_mm,snow_mm,temperature_c,car_lat,car_lon,car_zone,drive_s\n"
    "2026-01-31T12:00:00Z,40.75,-73.98,1,0,0,3.5,40.76,-73.97,2,300.5\n")
HTTP = {"prediction-proxy": ("v1/predictions", 200), "feature-transform": ("v1/features", 200), "outcome-intake": ("v1/outcomes", 202)}

invoked = []


def client(service):
    variables = UP["environment"]
    return boto3.client(
        service, endpoint_url=variables[f"AWS_ENDPOINT_URL_{service.upper()}"], region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"], aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"])


def invoke(function, event, what):
    """The function's answer. A function that fails makes the command fail."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(event, file)
        file.flush()
        command = [BIN / "cargo-lambda", "lambda", "invoke", function, "--data-file", file.name, "--invoke-address", "127.0.0.1",
                   "--invoke-port", PORT]
        began = time.monotonic()
        ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    assert ran.returncode == 0, f"{function} {what}: {ran.stdout}{ran.stderr}"
    answer = json.loads(ran.stdout)
    invoked.append(function)
    print(f"{function:18} {what:45} {1e3 * (time.monotonic() - began):6.0f} ms  {json.dumps(answer)[:90]}")
    return answer


def sample(name):
    text = (ROOT / "events" / f"{name}.json").read_text()
    return json.loads(text.replace("mannen-lake-123456789012", LAKE))


def generated(*arguments):
    told = subprocess.run([BIN / "sam", "local", "generate-event", *arguments], check=True, capture_output=True, text=True)
    return json.loads(told.stdout)


def message_of(event):
    """SAM puts a body into its text as it is, quotes and all: so it is put into what SAM has made."""
    message = generated("sqs", "receive-message")
    message["Records"][0]["body"] = json.dumps(event)
    return message


def main():
    s3 = client("s3")
    lands = lambda key, body: s3.put_object(Bucket=LAKE, Key=key, Body=body)
    lands("raw/pickup-eta/dt=2026-01-31/trips from New York.csv", CSV)

    # The samples, as they are but for the bucket's account.
    for function, (_, status) in HTTP.items():
        answer = invoke(function, sample(function), f"events/{function}.json")
        assert answer["statusCode"] == status, answer
    # cargo-lambda 1.9 tells every invocation a deadline in 1970: there is no time for the endpoint, and the fallback answers.
    answer = json.loads(invoke("prediction-proxy", sample("prediction-proxy"), "again")["body"])
    assert answer["tier"] == "endpoint" or answer["tier_reason"] == "deadline_too_short", answer
    assert invoke("feature-transform", sample("feature-transform-command"), "events/feature-transform-command.json")
    assert invoke("feature-transform", sample("feature-transform-sqs"), "events/feature-transform-sqs.json") == {"batchItemFailures": []}
    answer = invoke("result-archiver", sample("result-archiver-sqs"), "events/result-archiver-sqs.json")
    assert answer == {"batchItemFailures": []}, answer
    for kind in ("s3", "eventbridge"):
        assert "archived" in invoke("result-archiver", sample(f"result-archiver-{kind}"), f"events/result-archiver-{kind}.json")
    assert "compacted" in invoke("result-archiver", sample("result-archiver-schedule"), "events/result-archiver-schedule.json")
    assert invoke("evaluator", sample("evaluator"), "events/evaluator.json")["model"] == "pickup-eta"

    # A dataset, step by step with the job that the plan names, then all steps at once. The warehouse's rows are of now.
    subprocess.run([MANNEN, "dataset", "define", "--model", ROOT / "models/pickup-eta", "--dir", UP_FOLDER],
                   check=True, stdout=subprocess.DEVNULL, env=WITHOUT_LAKE)
    # Without a time it is the hour's beginning, when this warehouse had no tables yet.
    as_of = datetime.now(UTC).isoformat()
    event = sample("dataset-extractor-plan")
    event["plan"]["as_of"] = as_of
    plan = invoke("dataset-extractor", event, "events/dataset-extractor-plan.json, as of now")
    for worker in plan["workers"]:
        event = sample("dataset-extractor-streams")
        event["streams"] |= {"job": plan["job"], "streams": worker["streams"]}
        assert invoke("dataset-extractor", event, "events/dataset-extractor-streams.json")["unfinished"] == 0
    event = sample("dataset-extractor-publish")
    event["publish"]["job"] = plan["job"]
    published = invoke("dataset-extractor", event, "events/dataset-extractor-publish.json")
    extract = sample("dataset-extractor")
    extract["extract"]["as_of"] = as_of
    again = invoke("dataset-extractor", extract, "events/dataset-extractor.json, as of now")
    assert again["address"] == published["address"], again

    # Training has run through here, so that what the events name is there: all of them come late, or twice.
    trained = subprocess.run([MANNEN, "train", "--json", "--model", ROOT / "models/pickup-eta", "--dir", UP_FOLDER],
                             stdout=subprocess.PIPE, env=WITHOUT_LAKE)
    versions = {one["version"]: one["order"]["lineage"]["view"] for one in json.loads(trained.stdout.splitlines()[0])}
    version, view = next(iter(versions.items()))
    launched = invoke("training-launcher", sample("training-launcher"), "events/training-launcher.json")["launched"]
    assert view == launched[0]["view"]["view"], launched
    answer = invoke("training-launcher", sample("training-launcher-sqs"), "events/training-launcher-sqs.json")
    assert answer["batchItemFailures"] == [], answer
    event = sample("training-launcher-training-job")
    event["detail"]["TrainingJobName"] = version
    answer = invoke("training-launcher", event, "events/training-launcher-training-job.json")
    assert [one["version"] for one in answer["versions"]] == [version], answer
    event = sample("training-launcher-transform-job")
    output = f"s3://{LAKE}/training/pickup-eta/views/{view}/predictions/{version}/output/"
    event["detail"]["TransformOutput"]["S3OutputPath"] = output
    answer = invoke("training-launcher", event, "events/training-launcher-transform-job.json")
    assert version in [one["version"] for one in answer["versions"]], answer
    invoke("training-launcher", sample("training-launcher-schedule"), "events/training-launcher-schedule.json")

    # What SAM makes of each trigger.
    for function, (path, status) in HTTP.items():
        event = generated("apigateway", "http-api-proxy", "--method", "POST", "--path", path, "--body", sample(function)["body"])
        # SAM's sample has headers of its own, and none that says what the body is.
        event["headers"]["content-type"] = "application/json"
        answer = invoke(function, event, f"sam: http-api-proxy {path}")
        assert answer["statusCode"] == status, answer
    outcome = json.loads(sample("outcome-intake")["body"])
    outcome = outcome.get("outcomes", [outcome])[0]
    key = "landing/outcomes/by-sam.json"
    lands(key, json.dumps(outcome))
    put = generated("s3", "put", "--bucket", LAKE, "--key", key, "--region", "us-east-1")
    answer = invoke("result-archiver", put, "sam: s3 put")
    # The local cloud's own archiver is told too: one of the two was first.
    assert answer["archived"]["records"] + answer["archived"]["missing"] == 1, answer
    message = message_of(put)
    assert invoke("result-archiver", message, "sam: sqs receive-message") == {"batchItemFailures": []}
    raw = generated("s3", "put", "--bucket", LAKE, "--key", "raw/pickup-eta/dt%3D2026-01-31/trips+from+New+York.csv")
    assert invoke("feature-transform", message_of(raw), "sam: sqs receive-message") == {"batchItemFailures": []}
    scheduled = generated("cloudwatch", "scheduled-event")
    invoke("training-launcher", scheduled, "sam: scheduled-event")
    assert "compacted" in invoke("result-archiver", scheduled, "sam: scheduled-event")
    assert invoke("evaluator", scheduled, "sam: scheduled-event")["model"] == "pickup-eta"
    print(f"{len(invoked)} invocations of {len(set(invoked))} functions")


main()
