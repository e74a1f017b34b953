#!/usr/bin/env python3
"""Everything that is measured, ours beside its peers in the same run, in turn: one command, a table and two pictures.

    benches/run.py                      # all, about an hour on two cores; installs the peers below the target folder
    benches/run.py --quick              # smaller and fewer, about ten minutes: to see that it works, not to quote
    benches/run.py --only request load  # some
    benches/run.py --table              # writes the table and the pictures again from the results that are there

Results go to benches/results/: results.json (each figure with its spread, machine, versions), results.md, ratios.svg, growth.svg.
The table in README.md is written again too. What is slower than its aim stays in the table.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import peers
from growth import exponents

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
NAMED = {
    "features": ["features_peers.py", ["15"], ["3"]],
    "parquet": ["parquet_peers.py", ["11"], ["2"]],
    "archive": ["archive_peers.py", ["3"], ["1", "--records", "50000"]],
    "evaluation": ["evaluation_peers.py", ["1000000", "7"], ["100000", "2"]],
    "extract": ["extract_peers.py", ["1000000", "5"], ["100000", "1"]],
    "request": ["request_peers.py", ["5", "1000"], ["1", "200"]],
    "load": ["load_peers.py", ["--rounds", "2"], ["--quick"]],
    "growth": ["growth.py", [], ["--most", "100000", "--rounds", "1"]],
}
MARK = "<!-- benches/run.py writes what follows -->\n", "<!-- until here -->\n"


def with_peers():
    """Runs this script again with a Python that has the peers, made below the target folder."""
    folder = peers.TARGET / "bench-venv"
    wanted = (HERE / "requirements.txt").read_text()
    made = folder / "requirements.txt"
    if not made.exists() or made.read_text() != wanted:
        print("installing the peers (benches/requirements.txt)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        made.write_text(wanted)
    if Path(sys.prefix).resolve() != folder.resolve():
        os.execv(folder / "bin/python", [folder / "bin/python", __file__, *sys.argv[1:]])


def measure(names, quick):
    """Runs the scripts one by one; what one of them had measured before is replaced."""
    found = RESULTS / "results.json"
    results = json.loads(found.read_text()) if found.exists() and not quick else {}
    failed = []
    for number, name in enumerate(names):
        script, whole, small = NAMED[name]
        lines = peers.TARGET / "bench-results.jsonl"
        lines.unlink(missing_ok=True)
        print(f"\n== {name} ({number + 1} of {len(names)}, {time.strftime('%H:%M:%S')})", flush=True)
        began = time.monotonic()
        environment = {**os.environ, "BENCH_RESULTS": str(lines)}
        done = subprocess.run([sys.executable, HERE / script, *(small if quick else whole)], env=environment, cwd=peers.ROOT)
        if done.returncode or not lines.exists():
            failed.append(name)
            continue
        results[name] = {
            "date": datetime.date.today().isoformat(), "seconds": round(time.monotonic() - began), "machine": peers.machine(),
            "results": [json.loads(line) for line in lines.read_text().splitlines()],
        }
    return results, failed


def of_each(results, kind):
    """Each result that has `kind`, in the order of `NAMED`."""
    return [result for name in NAMED for result in results.get(name, {}).get("results", []) if kind in result]


def table(results):
    """Markdown: one row for each measure."""
    lines = [
        "| work | measure | ours | nearest peer | ours is better by | aim |", "|---|---|---|---|---|---|",
    ]
    for result in of_each(results, "work"):
        nearest = result["peers"][result["nearest"]]
        middle, low, high = nearest["ratio"]
        aim = result["aim"]
        verdict = "" if not aim else f"{aim:g}, {'reached' if middle >= aim else 'not reached'}"
        ours, theirs = (f"{peers.shown(value)} {result['unit']}" for value in (result["ours"], nearest["value"]))
        lines.append(
            f"| {result['work']} | {result['measure']} | {ours} | {result['nearest']}, {theirs} | "
            f"**{middle:.2f}** ({low:.2f} … {high:.2f}) | {verdict} |")
    return "\n".join(lines) + "\n"


def growth_table(results):
    """Markdown: how each path grows."""
    lines = ["| path | from | to | exponent, largest step | exponent, all |", "|---|---|---|---|---|"]
    for result in of_each(results, "growth"):
        sizes, slopes = result["sizes"], result["exponents"]
        (overall,) = exponents([sizes[0], sizes[-1]], [result["seconds"][0], result["seconds"][-1]])
        ends = [f"{size:,} {result['of']}" for size in (sizes[0], sizes[-1])]
        lines.append(f"| {result['growth']} | {ends[0]} | {ends[1]} | {max(slopes):.2f} | {overall:.2f} |")
    return "\n".join(lines) + "\n"


def draw(results):
    """The pictures: ratios with their spread and aims, and growth. SVG, so that they are sharp and small."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "mannen", "font.size": 9, "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    rows = of_each(results, "work")[::-1]
    figure, axis = plt.subplots(figsize=(9, 0.34 * len(rows) + 1.2))
    for place, result in enumerate(rows):
        middle, low, high = result["peers"][result["nearest"]]["ratio"]
        reached = not result["aim"] or middle >= result["aim"]
        axis.barh(place, middle - 1, left=1, color="#2f6f9f" if middle >= 1 else "#b5533c", height=0.6)
        axis.plot([low, high], [place, place], color="black", linewidth=1)
        if result["aim"]:
            axis.plot([result["aim"]], [place], marker="|", markersize=12, markeredgewidth=2, color="#2a8a4a" if reached else "#c98a1b")
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [f"{result['work']}: {result['measure']}, beside {result['nearest']}" for result in rows])
    axis.set_xlabel("how many times ours is better (bar: median, line: 10th to 90th percentile, mark: aim)")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.axvline(1, color="black", linewidth=0.8)
    figure.savefig(RESULTS / "ratios.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)

    grown = of_each(results, "growth")
    if not grown:
        return
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=False)
    for result in grown:
        axis = axes[1] if result["of"] == "candidates" else axes[0]
        each = [seconds / size * 1e6 for size, seconds in zip(result["sizes"], result["seconds"])]
        axis.plot(result["sizes"], each, marker="o", markersize=3, label=result["growth"])
    for axis, title in zip(axes, ("µs a record", "µs a candidate")):
        axis.set(xscale="log", yscale="log", title=title, xlabel="records" if axis is axes[0] else "candidates")
        axis.legend(frameon=False)
        axis.grid(alpha=0.2)
    figure.savefig(RESULTS / "growth.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def write(results):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    versions = {}
    for result in of_each(results, "work"):
        versions |= result["versions"]
    machines = sorted({f"{of['date']}: {of['machine']['processor']}, {of['machine']['cores']} cores, {of['machine']['rustc']}, Python {of['machine']['python']}" for of in results.values()})
    said = "\n".join(machines) + "\n\n" + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    text = table(results)
    (RESULTS / "results.md").write_text(f"# What was measured\n\n{text}\n{growth_table(results)}\n{said}\n")
    draw(results)
    readme = peers.ROOT / "README.md"
    before, _, rest = readme.read_text().partition(MARK[0])
    _, _, after = rest.partition(MARK[1])
    if rest:
        readme.write_text(before + MARK[0] + "\n" + text + "\n" + MARK[1] + after)
    print(f"\n{text}\nwritten: {RESULTS}/")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(NAMED), metavar="NAME", help="some of: " + ", ".join(NAMED))
    parser.add_argument("--quick", action="store_true", help="smaller and fewer; nothing is written")
    parser.add_argument("--table", action="store_true", help="only the table and the pictures, from results.json")
    arguments = parser.parse_args()
    with_peers()
    if arguments.table:
        return write(json.loads((RESULTS / "results.json").read_text()))
    results, failed = measure(arguments.only or list(NAMED), arguments.quick)
    if arguments.quick:
        print("\n" + table(results) + "\n" + growth_table(results))
    else:
        write(results)
    if failed:
        sys.exit("failed: " + ", ".join(failed))


if __name__ == "__main__":
    main()
