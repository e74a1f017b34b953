"""Builds of the prediction proxy beside each other, in turn: what a change of the build or of the code does to start, requests, memory
and size.

    python3 benches/proxy_builds.py [--rounds 3] [--starts 21] [--requests 500] NAME=BINARY NAME=BINARY …

The first is the one that the others are held against. Give it binaries as they are deployed (`cargo build --profile deployed`).
The harness is that of `request_peers.py`.
"""

import argparse
import json
import subprocess
import tempfile
import zipfile
from pathlib import Path

import peers


def measured(harness, binary, options):
    counts = ["--tls", "--starts", str(options.starts), "--requests", str(options.requests), "--candidates", "1,200"]
    lines = subprocess.run([harness, *counts, "--", binary], check=True, stdout=subprocess.PIPE).stdout.splitlines()
    start, one, many, memory = map(json.loads, lines)
    return {
        "start, ms": start["cold_start_ms"],
        "first request, ms": start["first_request_ms"],
        "start and first request, ms": start["cold_start_ms"] + start["first_request_ms"],
        "1 candidate, P50, µs": one["p50_us"],
        "1 candidate, processor, µs": one["processor_us"],
        "200 candidates, P50, µs": many["p50_us"],
        "resident memory, MiB": memory["resident_kib"] / 1024,
    }


def zipped_mb(binary):
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(binary, "bootstrap")
        return Path(file.name).stat().st_size / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=21)
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    builds = dict(build.split("=", 1) for build in options.builds)
    harness = peers.built("prediction-proxy", "example", "request_overhead")
    runs = {name: lambda binary=binary: measured(harness, binary, options) for name, binary in builds.items()}
    taken = peers.taken_in_turn(runs, options.rounds, warm=1)
    first = next(iter(builds))
    for figure in taken[first][0]:
        values = {name: [figures[figure] for figures in rounds] for name, rounds in taken.items()}
        measure, unit = figure.rsplit(", ", 1)
        peers.tell("builds of the proxy", measure, unit, values, ours=first)
    print("\n| | zipped, MB |\n|---|---|")
    for name, binary in builds.items():
        print(f"| {name} | {zipped_mb(binary):.2f} |")
    print(f"\n{peers.machine()}")


if __name__ == "__main__":
    main()
