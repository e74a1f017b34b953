"""The prediction proxy beside the same function in Python, through the same Runtime API, in turn.

    python3 -m venv VENV && VENV/bin/pip install awslambdaric boto3 numpy
    VENV/bin/python benches/request_peers.py [ROUNDS] [REQUESTS]

Builds the deployed binary of ours and the harness (crates/prediction-proxy/examples/request_overhead.rs), and runs both
functions in turn, round by round. Figures are of the function alone: from the event's arrival to the answer's, without
the time in which S3 and the endpoint had the turn. Ratios are of the same round. Nothing is installed.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

try:
    import awslambdaric
    import boto3
    import numpy
except ImportError as error:
    sys.exit(f"{error}; the peer needs: pip install awslambdaric boto3 numpy")

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
REQUESTS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def run(command):
    harness = [TARGET / "examples/request_overhead", "--requests", str(REQUESTS), "--", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benches/request_peer")}
    lines = subprocess.run(harness, check=True, stdout=subprocess.PIPE, env=environment).stdout.splitlines()
    start, *loads, memory = map(json.loads, lines)
    figures = {"cold start, ms": start["cold_start_ms"], "first request, ms": start["first_request_ms"]}
    for load in loads:
        figures[f"{load['candidates']} candidates, P50 µs"] = load["p50_us"]
        figures[f"{load['candidates']} candidates, P99 µs"] = load["p99_us"]
    figures["resident memory, MiB"] = memory["resident_kib"] / 1024
    return figures


subprocess.run(
    ["cargo", "build", "--release", "--locked", "-p", "prediction-proxy", "--bin", "prediction-proxy", "--example", "request_overhead"],
    cwd=ROOT, check=True,
)
OURS, PEER = [TARGET / "prediction-proxy"], [sys.executable, "-m", "awslambdaric", "handler.handle"]
rounds = []
for number in range(ROUNDS):
    rounds.append((run(OURS), run(PEER)))
    print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)

print(f"\n{ROUNDS} rounds of {REQUESTS} requests; Python {platform.python_version()}, numpy {numpy.__version__}, "
      f"boto3 {boto3.__version__}; binary {(TARGET / 'prediction-proxy').stat().st_size / 2**20:.1f} MiB\n")
print("| | ours | Python | Python ÷ ours |\n|---|---|---|---|")
for figure in rounds[0][0]:
    ours, peer = ([pair[who][figure] for pair in rounds] for who in (0, 1))
    ratios = [theirs / mine for mine, theirs in zip(ours, peer)]
    print(f"| {figure} | {statistics.median(ours):.1f} | {statistics.median(peer):.1f} | "
          f"{statistics.median(ratios):.1f} ({min(ratios):.1f} … {max(ratios):.1f}) |")
