"""The tables of RESULTS.md."""

import platform
import statistics
import subprocess
from pathlib import Path

from measure import median

HEAD = """# Results

Written by `benches/peers/run.py`: what is here is its last full run. [README.md](README.md) says what is compared and how.

"""
FILES = """All make the same five tables with the same columns, by day, in zstd Parquet, of the same conversations; convlake's
part includes sorting, leaving out duplicates, syncing, and reading every file back (footer, rows, hash). *times* is how
much longer the peer took than convlake beside it: the median, and all turns. The outputs agree: {columns} columns of
{rows} rows have the same number of values and the same sum of hashes as DuckDB's. Where fewer are compared the row says so.

"""
GROWTH = """The generator's pages are piped into `convlake convert -` for the five tables; `random` is the same conversations in no order, so all
30 days are open at once. The generator runs on the same processors; its CPU is not counted.

"""


HEADINGS = ["", "wall s", "CPU s", "MB/s", "MB per CPU-s", "peak MiB", "output MB", "files"]
ALL_TABLES = "convlake, all 15 tables"


def machine(threads, load):
    cpu = next((line.split(":", 1)[1].strip() for line in lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(lines("/proc/meminfo")[0].split()[1]) / 2**20
    return f"{cpu}, {threads} threads, {memory:.0f} GiB, Linux {platform.release()}; load before the run {load:.1f}"


def lines(path):
    return Path(path).read_text().splitlines()


def versions(convlake, python, root):
    def said(*command):
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    wanted = ("duckdb", "polars", "pandas", "pyarrow", "dlt", "pyspark")
    frozen = dict(line.split("==", 1) for line in said(python, "-m", "pip", "freeze").splitlines() if "==" in line)
    peers = ", ".join(f"{name} {frozen[name]}" for name in wanted)
    commit = said("git", "describe", "--always", "--dirty")
    return f"{said(convlake, '--version')} ({commit}), {said('rustc', '--version')}; {peers}; Python {platform.python_version()}"


def whole(about, began, ended, sections):
    about = about | {"when": f"{began:%Y-%m-%d %H:%M} UTC, {(ended - began).total_seconds() / 60:.0f} minutes"}
    return HEAD + "".join(f"- {name}: {text}\n" for name, text in about.items()) + "".join(f"\n{s}" for s in sections)


def table(head, rows):
    cells = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells) + "\n"


def files(sizes):
    return "\n".join(one_size(**size) for size in sizes)


def one_size(megabytes, checked, rows):
    text = f"## {megabytes:,.0f} MB of conversations\n\n"
    text += FILES.format(columns=checked["columns"], rows=f"{sum(checked['rows'].values()):,}")
    own = [turn["convlake"] for _, turns, _ in rows for turn in turns]
    result = [took("**convlake**", own, megabytes) + ["", ""]]
    for name, turns, found in rows:
        label = name if found["columns"] == checked["columns"] else f"{name} ({found['columns'] or 'no'} columns compared)"
        result.append(took(label, [turn[name] for turn in turns], megabytes) + times(turns, name, "convlake"))
        if ALL_TABLES in turns[0]:
            result.append(took(ALL_TABLES, [turn[ALL_TABLES] for turn in turns], megabytes) + ["", ""])
            text += f"With all columns of all 15 tables, which the peer does not make, {name} takes "
            text += "**{}** times as long ({}).\n\n".format(*(part.strip("*") for part in times(turns, name, ALL_TABLES)))
    return text + table(HEADINGS + ["times", "turns"], result)


def times(turns, peer, own):
    """How much longer the peer took than what ran beside it: the median, and all."""
    ratios = [turn[peer].wall / turn[own].wall for turn in turns]
    return [f"**{statistics.median(ratios):.1f}**", ", ".join(f"{ratio:.1f}" for ratio in ratios)]


def took(label, runs, megabytes):
    run = median(runs)
    return [
        label,
        f"{run.wall:.2f}",
        f"{run.cpu:.2f}",
        f"{megabytes / run.wall:.0f}",
        f"{megabytes / run.cpu:.0f}",
        f"{run.peak / 2**20:,.0f}",
        f"{run.out / 1e6:.1f}",
        f"{run.files:.0f}",
    ]


def growth(rows):
    result = [took(f"{megabytes:,.0f} MB, {order}", [run], megabytes) for megabytes, order, run in rows]
    return "## Growth\n\n" + GROWTH + table(HEADINGS, result)


SECTIONS = {"files": files, "growth": growth, "network": "\n".join}
