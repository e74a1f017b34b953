"""Instructions and allocations of the hot paths, counted by valgrind, beside the baseline that is checked in.

    python3 benches/instructions.py            # compares with benches/baseline.json; exits with 1 where something grew
    python3 benches/instructions.py --write    # makes it the baseline

A busy machine does not change these counts; another compiler does, so the baseline names its own. valgrind knows no AVX-512: the
counts are those of the AVX2 code. What is done once is left out: each figure is the difference of two runs, one of them twice as
long.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import peers

BASELINE = Path(__file__).resolve().parent / "baseline.json"
# Growth that is told: ids and times differ from run to run, and with them the digits of numbers.
TOLERANCE = 0.02
RECORDS, CANDIDATES, PREDICTIONS = 2_000, 20, 24_000


def counted(command):
    """Instructions (callgrind) and blocks allocated (dhat) of a whole process."""

    def said(tool, pattern):
        out = f"--{tool}-out-file=/dev/null"
        told = subprocess.run(["valgrind", f"--tool={tool}", out, *command], capture_output=True, text=True)
        if told.returncode:
            sys.exit(f"{command}: {told.stderr}")
        return int(re.search(pattern, told.stderr)[1].replace(",", ""))

    return said("callgrind", r"refs: +([\d,]+)"), said("dhat", r"Total: +[\d,]+ bytes in ([\d,]+) blocks")


def per_unit(command, times, units):
    """Of one unit, of which each of the `times` repetitions has so many."""
    more, less = (counted([str(word) for word in [*command, repeated]]) for repeated in (2 * times, times))
    return [(a - b) / times / units for a, b in zip(more, less)]


def paths(folder):
    """Each hot path: its name, the command that repeats it, repetitions, units in a repetition."""
    features = peers.built("features", "bench", "features")
    request = peers.built("prediction-proxy", "example", "request_overhead")
    archive = peers.built("archive", "example", "json_to_parquet")
    join = peers.built("archive", "example", "join_speed")
    lines, day = f"{folder}/records.jsonl", f"{folder}/day"
    Path(day).mkdir()
    subprocess.run([archive, "data", lines, str(RECORDS), str(CANDIDATES)], check=True)
    subprocess.run([join, "data", day, str(PREDICTIONS)], check=True)
    yield "features, a call with 1 row", [features, "repeat", "row"], 2_000, 1
    yield "features, a call with 20 rows", [features, "repeat", "rows20"], 1_000, 1
    yield "features, a row of 10,000", [features, "repeat", "batch"], 20, 10_000
    for candidates, times in ((1, 400), (20, 200), (200, 40)):
        of = f"{candidates} candidate{'s' if candidates > 1 else ''}"
        yield f"proxy, event to answer, {of}", [request, "in-memory", candidates], times, 1
    yield f"archive, a landed record of {CANDIDATES} candidates", [archive, "repeat", lines, f"{folder}/out.parquet"], 2, RECORDS
    yield "evaluation, a prediction with its outcome", [join, "repeat", day], 2, PREDICTIONS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make what is measured the baseline")
    arguments = parser.parse_args()
    machine = peers.machine()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"rustc": machine["rustc"], "paths": {}}
    if baseline["rustc"] != machine["rustc"]:
        print(f"the baseline is of {baseline['rustc']}, this is {machine['rustc']}", file=sys.stderr)
    measured, grown = {}, []
    print(f"{'':48}{'instructions':>14}{'baseline':>14}{'allocations':>13}{'baseline':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, command, times, units in paths(folder):
            instructions, allocations = per_unit(command, times, units)
            measured[name] = {"instructions": round(instructions), "allocations": round(allocations, 2)}
            before = baseline["paths"].get(name)
            was = [f"{value:,}" for value in before.values()] if before else ["", ""]
            print(f"{name:48}{instructions:14,.0f}{was[0]:>14}{allocations:13,.2f}{was[1]:>10}", flush=True)
            for kind, value in measured[name].items():
                # Less than half an allocation more is noise: maps grow now and then.
                if before and value > before[kind] * (1 + TOLERANCE) + (0.5 if kind == "allocations" else 0):
                    grown.append(f"{name}: {kind} {before[kind]:,} → {value:,}")
    if arguments.write:
        BASELINE.write_text(json.dumps({"rustc": machine["rustc"], "paths": measured}, indent=1) + "\n")
    elif grown:
        sys.exit("grown:\n" + "\n".join(grown))


if __name__ == "__main__":
    main()
