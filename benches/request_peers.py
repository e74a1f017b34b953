"""The prediction proxy beside the same function in Python, through the same Runtime API, in turn.

    pip install awslambdaric boto3 numpy
    python3 benches/request_peers.py [ROUNDS] [REQUESTS]

Builds our function as it is deployed and the harness (crates/prediction-proxy/examples/request_overhead.rs), and runs both
functions in turn, round by round; S3 and the endpoint are behind TLS, as on AWS. Figures are of the function alone: from the
event's arrival to the answer's, without the time in which S3 and the endpoint had the turn; and what its threads had of the
processors. Ratios are of the same round. Nothing is installed.
"""

import json
import os
import subprocess
import sys

try:
    import awslambdaric
    import boto3
    import numpy
except ImportError as error:
    sys.exit(f"{error}; the peer needs: pip install awslambdaric boto3 numpy")
import peers

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
REQUESTS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
# Measure and unit, with how many times ours is wanted to be better.
AIMS = {"cold start, process start to first poll": ("ms", 15), "resident memory": ("MiB", 5)}


def run(harness, command):
    environment = {**os.environ, "PYTHONPATH": str(peers.ROOT / "benches/request_peer")}
    asked = [harness, "--tls", "--requests", str(REQUESTS), "--", *command]
    lines = subprocess.run(asked, check=True, stdout=subprocess.PIPE, env=environment).stdout.splitlines()
    start, *loads, memory = map(json.loads, lines)
    figures = {"cold start, process start to first poll": start["cold_start_ms"], "first request": start["first_request_ms"]}
    for load in loads:
        of = f"{load['candidates']} candidate{'s' if load['candidates'] > 1 else ''}"
        figures |= {f"{of}, P50": load["p50_us"], f"{of}, P99": load["p99_us"], f"{of}, processor": load["processor_us"]}
    return {**figures, "resident memory": memory["resident_kib"] / 1024}


def main():
    ours = [peers.built("prediction-proxy", "bin", "prediction-proxy", "deployed")]
    harness = peers.built("prediction-proxy", "example", "request_overhead")
    theirs = [sys.executable, "-m", "awslambdaric", "handler.handle"]
    taken = peers.taken_in_turn({"ours": lambda: run(harness, ours), "Python": lambda: run(harness, theirs)}, ROUNDS, warm=0)
    versions = {"numpy": numpy.__version__, "boto3": boto3.__version__, "awslambdaric": awslambdaric.__version__}
    for measure in taken["ours"][0]:
        values = {name: [figures[measure] for figures in rounds] for name, rounds in taken.items()}
        unit, aim = AIMS.get(measure, ("ms", None) if measure == "first request" else ("µs", 10))
        peers.tell("one request", measure, unit, values, aim=aim, versions=versions)
    print(f"\nbinary {os.stat(ours[0]).st_size / 2**20:.1f} MiB; {versions}; {peers.machine()}")


if __name__ == "__main__":
    main()
