"""What the peers' scripts share: building ours, ratios of rounds, what machine this is, and results that `run.py` collects.

A script tells a result by `tell(…)`: it prints a table, and where the environment names a file (`BENCH_RESULTS`), appends one line of
JSON to it. Ratios are made of the same round, and are above 1 where ours is better.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def built(package, kind, name, profile="release"):
    """Our program: kind is `bin`, `example` or `bench`. Built if it is not there already; `deployed` is how cargo-lambda does it.

    With the whole workspace's features, so that all of our programs share one build of what they depend on.
    """
    how = ["bench", "--no-run"] if kind == "bench" else ["build", "--profile", profile]
    command = ["cargo", *how, "--quiet", "--locked", "--workspace", f"--{kind}", name, "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        target = message.get("target", {})
        if message.get("executable") and target["name"] == name and kind in target["kind"] and package in message["package_id"]:
            return message["executable"]
    sys.exit(f"cargo built no {kind} {name} of {package}")


def ran(command, environment=None):
    """A process of its own: what it printed, its processor seconds, and its peak memory in bytes."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed with {process.returncode}")
    return out, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def taken_in_turn(runs, rounds, warm=1):
    """What each of `runs` (name to function) gives, round by round in turn; the first `warm` rounds do not count."""
    values = {name: [] for name in runs}
    for number in range(-warm, rounds):
        for name, run in runs.items():
            value = run()
            if number >= 0:
                values[name].append(value)
    return values


def ratios(ours, theirs, less_is_better=True):
    """How many times ours is better, of each round: median, 10th and 90th percentile (least and greatest of few rounds)."""
    each = sorted(their / mine if less_is_better else mine / their for mine, their in zip(ours, theirs, strict=True))
    at = len(each) // 10
    return statistics.median(each), each[at], each[-1 - at]


def machine():
    """Processor, cores, system, compiler, commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]

    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()

    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.platform(),
        "rustc": said("rustc", "--version"),
        "python": platform.python_version(),
        "commit": said("git", "rev-parse", "--short=12", "HEAD"),
    }


def shown(value):
    """Three figures, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def tell(work, measure, unit, values, *, ours="ours", less_is_better=True, aim=None, against=None, beside=(), versions=None):
    """One result: `values` has each competitor's figures by round, ours under the name `ours`.

    aim: how many times better ours should be than each of `against` (default: every peer). beside: names that are shown, but are
    no peers (ours in another way, floors).
    """
    peers = [name for name in values if name != ours and name not in beside]
    middle = {name: statistics.median(of) for name, of in values.items()}
    compared = {name: ratios(values[ours], values[name], less_is_better) for name in values if name != ours}
    nearest = min(against or peers, key=lambda name: compared[name][0])
    rounds = len(values[ours])
    print(f"\n{work}: {measure}, {unit} ({rounds} round{'s' if rounds > 1 else ''}, medians)\n")
    print("| | median | least | greatest | ours is better by |\n|---|---|---|---|---|")
    for name, of in values.items():
        ratio = "" if name == ours else "{:.2f} ({:.2f} … {:.2f})".format(*compared[name])
        print(f"| {name} | {shown(middle[name])} | {shown(min(of))} | {shown(max(of))} | {ratio} |")
    if aim:
        reached = "reached" if compared[nearest][0] >= aim else "not reached"
        print(f"\naim: {aim:g} times {nearest}; {compared[nearest][0]:.2f}: {reached}")
    sys.stdout.flush()
    if path := os.environ.get("BENCH_RESULTS"):
        result = {
            "work": work, "measure": measure, "unit": unit, "less_is_better": less_is_better, "rounds": rounds,
            "ours": middle[ours], "aim": aim, "nearest": nearest,
            "peers": {name: {"value": middle[name], "ratio": list(compared[name])} for name in peers},
            "beside": {name: {"value": middle[name], "ratio": list(compared[name])} for name in beside if name in values},
            "versions": versions or {},
        }
        with open(path, "a") as file:
            file.write(json.dumps(result) + "\n")
