"""How cost grows: 1,000 to 10,000,000 records through archive, compaction and evaluation, 1 to 1,000 candidates through the proxy.

    python3 benches/growth.py [--most RECORDS] [--rounds N]

Processor seconds of one thread; the proxy's are those of its process, per request. An exponent is the slope between two sizes on a
doubly logarithmic scale: 1 is linear, less is better. Records come 100,000 to an hour, as many hours as that makes, an object for each;
a day of predictions with their outcomes is evaluated hour by hour, so that there hours grow.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

import peers

PER_HOUR = 100_000
CANDIDATES = (1, 3, 10, 30, 100, 300, 1000)


def archived(records):
    """Processor seconds of archiving and of compacting so many landed records, and the peak memory in MiB."""
    lines = [peers.built("archive", "example", "json_to_parquet"), "data", "/dev/stdout", str(records), "1", str(max(1, records // PER_HOUR))]
    with subprocess.Popen(lines, stdout=subprocess.PIPE) as source:
        command = [peers.built("result-archiver", "example", "landing_objects"), "-"]
        told = json.loads(subprocess.run(command, check=True, stdin=source.stdout, stdout=subprocess.PIPE).stdout)
    assert told["records"] == records, told
    return told["archive_s"], told["compact_s"], told["peak_kb"] / 1024


def evaluated(records, rounds):
    """Processor seconds of evaluating so many predictions with their outcomes, and the peak memory in MiB."""
    program = peers.built("archive", "example", "join_speed")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "data", folder, str(records)], check=True)
        times = max(1, 100_000 // records)
        runs = [peers.ran([program, "repeat", folder, times]) for _ in range(rounds)]
    return statistics.median(seconds / times for _, seconds, _ in runs), max(peak for _, _, peak in runs) / 2**20


def asked(rounds):
    """Processor seconds and seconds of a request by the number of candidates."""
    program, harness = peers.built("prediction-proxy", "bin", "prediction-proxy"), peers.built("prediction-proxy", "example", "request_overhead")
    command = [harness, "--requests", "400", "--starts", "1", "--candidates", ",".join(map(str, CANDIDATES)), "--", program]
    taken = []
    for _ in range(rounds):
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()
        loads = [json.loads(line) for line in lines[1:-1]]
        taken.append([(load["processor_us"] / 1e6, load["p50_us"] / 1e6) for load in loads])
    return [tuple(statistics.median(values) for values in zip(*of)) for of in zip(*taken)]


def exponents(sizes, values):
    """The slope between neighbours."""
    pairs = list(zip(sizes, values))
    return [math.log(b[1] / a[1]) / math.log(b[0] / a[0]) for a, b in zip(pairs, pairs[1:])]


def tell(path, of, sizes, values):
    """A line of the table for each size, and one of JSON for the picture."""
    slopes = exponents(sizes, values)
    print(f"\n{path}\n\n| {of} | ms | µs each | exponent |\n|---|---|---|---|")
    for size, value, slope in zip(sizes, values, [None, *slopes]):
        print(f"| {size:,} | {peers.shown(value * 1e3)} | {peers.shown(value / size * 1e6)} | {'' if slope is None else f'{slope:.2f}'} |")
    sys.stdout.flush()
    if file := os.environ.get("BENCH_RESULTS"):
        with open(file, "a") as results:
            results.write(json.dumps({"growth": path, "of": of, "sizes": sizes, "seconds": values, "exponents": slopes}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000_000, help="the most records")
    parser.add_argument("--rounds", type=int, default=3, help="of those that are short")
    arguments = parser.parse_args()
    sizes = [10**power for power in range(3, 9) if 10**power <= arguments.most]
    # Small ones are repeated: they are over before the clock has ticked often.
    rounds = {size: arguments.rounds if size < 1_000_000 else 1 for size in sizes}
    archives = {size: [statistics.median(values) for values in zip(*(archived(size) for _ in range(rounds[size])))] for size in sizes}
    tell("archive", "records", sizes, [archives[size][0] for size in sizes])
    tell("compaction", "records", sizes, [archives[size][1] for size in sizes])
    print("\npeak memory with the store in it, MiB: " + ", ".join(f"{size:,}: {archives[size][2]:.0f}" for size in sizes))
    evaluations = {size: evaluated(size, rounds[size]) for size in sizes}
    tell("evaluation", "predictions with outcomes", sizes, [evaluations[size][0] for size in sizes])
    print("\npeak memory, MiB: " + ", ".join(f"{size:,}: {evaluations[size][1]:.0f}" for size in sizes))
    requests = asked(arguments.rounds)
    tell("proxy, processor", "candidates", list(CANDIDATES), [processor for processor, _ in requests])
    tell("proxy, P50 of the function's own time", "candidates", list(CANDIDATES), [own for _, own in requests])
    print(peers.machine())


if __name__ == "__main__":
    main()
