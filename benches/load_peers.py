"""Load in an open loop through the local cloud, to saturation: our prediction proxy beside the same function in Python.

    python3 -m venv VENV && VENV/bin/pip install awslambdaric boto3 numpy
    VENV/bin/python benches/load_peers.py [--rounds N] [--seconds S] [--quick]

Starts `mannen up` once as it is and once with `request_peer/handler.py` in the place of the prediction proxy, in turn, round by
round; API, S3, endpoint, archiver and the number of instances are the same, and the lake lies in memory where there is such a file
system. The generator (`open-loop`) sends when requests are due, whatever the answers do, and counts from when they were due. The
rate goes up until P99 is 50 ms, or answers fall behind, or anything but the endpoint answers; then the rate between is looked for.
A rate that fails is tried twice: what else the machine does must not decide. Everything runs on this machine, so where the
processor's time goes is told too. Nothing is installed.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import awslambdaric
    import boto3
    import numpy
except ImportError as error:
    sys.exit(f"{error}; the peer needs: pip install awslambdaric boto3 numpy")
import peers

LIMIT_MS = 50
MEMORY = "/dev/shm"
CANDIDATES = (1, 20)
STEP = 1.3
HALVINGS = 3
BEGIN = {"ours": 100.0, "python": 30.0}
TICKS = os.sysconf("SC_CLK_TCK")
FUNCTION, CLOUD, MODEL, OTHERS, GENERATOR, REST = (
    "the function", "the local cloud", "the model's container", "other functions", "the generator", "the rest of the machine")
WORK = "sustained load through the local cloud"


class Cloud:
    """`mannen up` with the reference model released, and its children."""

    def __init__(self, mannen, functions=None):
        # In memory where that is possible: what is measured is no disk.
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        more = ["--functions", functions] if functions else []
        command = [mannen, "up", "--json", "--training-rides", "3000", "--dir", f"{self.folder.name}/cloud", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.api = json.loads(self.process.stdout.readline())["api"]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.folder.cleanup()

    def processor_s(self):
        """Processor seconds so far, by who had them."""
        used = {CLOUD: 0.0, FUNCTION: 0.0, MODEL: 0.0, OTHERS: 0.0}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
                pid, parent, seconds = int(stat.parent.name), int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
                if self.process.pid in (pid, parent):
                    used[CLOUD if pid == self.process.pid else self.role(stat.parent)] += seconds
            except (OSError, IndexError):
                continue  # It has ended meanwhile.
        return used

    @staticmethod
    def role(process):
        for variable in process.joinpath("environ").read_bytes().split(b"\0"):
            if variable.startswith(b"AWS_LAMBDA_FUNCTION_NAME="):
                return FUNCTION if variable.endswith(b"prediction-proxy") else OTHERS
        return MODEL

    def settle(self):
        """Waits until what the last rate has left behind is done with: the archiver's queue above all."""
        for _ in range(60):
            before = sum(self.processor_s().values())
            time.sleep(0.5)
            if sum(self.processor_s().values()) - before <= 0.03:
                return
        print("the local cloud is not done with the last rate after half a minute", file=sys.stderr)


def busy_s():
    """Processor seconds of the whole machine that were not idle."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / TICKS


def functions_of(mannen, folder):
    """A folder of functions: the peer's handler as prediction proxy, all others our own."""
    others = ("feature-transform", "outcome-intake", "result-archiver", "evaluator", "dataset-extractor", "training-launcher")
    scripts = {name: f'exec "{mannen}" __function {name}' for name in others}
    scripts["prediction-proxy"] = (
        f'export PYTHONPATH="{peers.ROOT}/benches/request_peer"\nexec "{sys.executable}" -m awslambdaric handler.handle')
    for name, script in scripts.items():
        bootstrap = Path(folder, name, "bootstrap")
        bootstrap.parent.mkdir()
        bootstrap.write_text(f"#!/bin/sh\n{script}\n")
        bootstrap.chmod(0o755)
    return folder


class Load:
    """Rates that are tried at one cloud."""

    def __init__(self, generator, cloud, who, candidates, seconds):
        self.generator, self.cloud, self.who, self.candidates, self.seconds = generator, cloud, who, candidates, seconds
        self.tried = []

    def run(self, rate):
        self.cloud.settle()
        command = [self.generator, "--url", self.cloud.api, "--rate", str(rate), "--candidates", str(self.candidates),
                   "--seconds", str(self.seconds), "--seed", str(len(self.tried) + 1)]
        before, busy = self.cloud.processor_s(), busy_s()
        own, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        took, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        used = {name: after - before[name] for name, after in self.cloud.processor_s().items()}
        used[GENERATOR] = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
        used[REST] = max(busy_s() - busy - sum(used.values()), 0)
        figures["cores"] = {name: seconds / took for name, seconds in used.items()}
        others = set(figures["tiers"]) - {"endpoint"}
        why = [f"{count} times {name}" for name, count in figures["errors"].items()]
        why += [f"{figures['tiers'][tier]} answers by {tier}" for tier in others]
        why += ["it fell behind"] if figures["gave_up"] else []
        p99_ms = figures["p99_ms"] or float("inf")
        why += [f"P99 {p99_ms:.0f} ms"] if p99_ms >= LIMIT_MS else []
        figures["why_not"] = ", ".join(why)
        self.tried.append(figures)
        print(f"{self.who}, {self.candidates} candidate(s), {rate:.0f}/s: P99 {p99_ms:.1f} ms; {figures['why_not'] or 'sustained'}", file=sys.stderr)
        return not why

    def sustains(self, rate):
        return self.run(rate) or self.run(rate)

    def highest(self, begin):
        """The highest rate that is sustained, to a twenty-fourth or so."""
        good, bad = None, None
        rate = begin
        while good is None or bad is None:
            if self.sustains(rate):
                good = rate
            else:
                bad = rate
            rate = rate * STEP if bad is None else rate / STEP
            if rate < 1:
                return 0.0
        for _ in range(HALVINGS):
            rate = (good * bad) ** 0.5
            good, bad = (rate, bad) if self.sustains(rate) else (good, rate)
        return good

    def at(self, rate):
        """What was found where the rate was sustained."""
        return next(one for one in reversed(self.tried) if one["rate"] == rate and not one["why_not"])


def tell_curve(loads):
    print("\n| | candidates | requests/s | P50 ms | P99 ms | P99.9 ms | |\n|---|---|---|---|---|---|---|")
    found = ((load.who, load.candidates, one["rate"], one) for load in loads for one in load.tried if one["answered"])
    for who, candidates, rate, one in sorted(found, key=lambda point: point[:3]):
        times = " | ".join(f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "p999_ms"))
        print(f"| {who} | {candidates} | {rate:.0f} | {times} | {one['why_not']} |")


def tell_processor(highest):
    """highest: who and candidates → what was found at the highest sustained rate of each round."""
    names = [FUNCTION, CLOUD, MODEL, OTHERS, GENERATOR, REST]
    print("\nProcessor ms a request at the highest sustained rate (in brackets: cores; medians)\n")
    print("| | candidates | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2))
    for (who, candidates), found in highest.items():
        cells = []
        for name in names:
            cores = statistics.median(one["cores"][name] for one in found)
            each = statistics.median(one["cores"][name] / one["rate"] * 1e3 for one in found)
            cells.append(f"{each:.2f} ({cores:.2f})")
        print(f"| {who} | {candidates} | " + " | ".join(cells) + " |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=6, help="how long each rate is kept up")
    arguments.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    options = arguments.parse_args()
    rounds, seconds = (1, 2) if options.quick else (options.rounds, options.seconds)
    mannen, generator = peers.built("mannen", "bin", "mannen"), peers.built("open-loop", "bin", "open-loop")
    loads, highest = [], {}
    with tempfile.TemporaryDirectory() as folder:
        folders = {"ours": None, "python": functions_of(mannen, folder)}
        for number in range(rounds):
            for who, functions in folders.items():
                cloud = Cloud(mannen, functions)
                try:
                    # Starts all instances.
                    Load(generator, cloud, f"{who}, warming up", 1, 2).run(BEGIN[who])
                    for candidates in CANDIDATES:
                        load = Load(generator, cloud, who, candidates, seconds)
                        before = highest.setdefault((who, candidates), [])
                        rate = load.highest(before[-1]["rate"] / STEP if before else BEGIN[who])
                        if not rate:
                            sys.exit(f"{who} with {candidates} candidates sustains no rate at all on this machine")
                        before.append(load.at(rate))
                        loads.append(load)
                finally:
                    cloud.end()
            print(f"round {number + 1} of {rounds}", file=sys.stderr)

    tell_curve(loads)
    tell_processor(highest)
    versions = {"awslambdaric": awslambdaric.__version__, "boto3": boto3.__version__, "numpy": numpy.__version__}
    for candidates in CANDIDATES:
        what = f"{candidates} candidate{'s' if candidates > 1 else ''}"
        found = {who: highest[who, candidates] for who in folders}
        peers.tell(WORK, f"rate with P99 < {LIMIT_MS} ms, {what}", "requests/s",
                   {who: [one["rate"] for one in of] for who, of in found.items()}, less_is_better=False, versions=versions)
        peers.tell(WORK, f"the function's processor time, {what}", "ms a request",
                   {who: [one["cores"][FUNCTION] / one["rate"] * 1e3 for one in of] for who, of in found.items()}, versions=versions)
    print("\n" + ", ".join(f"{name} {value}" for name, value in {**peers.machine(), **versions}.items()))


if __name__ == "__main__":
    main()
