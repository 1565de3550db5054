#!/usr/bin/env python3
"""Runs convlake and its peers side by side on the same made-up conversations and writes what came out to RESULTS.md.

    benches/peers/run.py                                            # what RESULTS.md holds
    benches/peers/run.py --mb 20 --peers duckdb,polars --only files  # a quick look, to stdout with --results -

It needs Linux, Python 3.11, Rust, and for Spark Java; everything else is made below target/peers. Every peer gets the input that it
is best at, all processors, and its own best settings; it and convlake take turns. A figure is the median of all turns,
a ratio the median of the ratios of neighbours.
"""

import argparse
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import columns
import measure
import network
import parts
import report

# The peers, the form of their input, and up to how many megabytes they are run: some need 30 times that in memory.
PEERS = {
    "duckdb": ("ndjson", float("inf")),
    "duckdb-pages": ("pages", float("inf")),
    "polars": ("ndjson", 200),
    "pandas": ("ndjson", 200),
    "dlt": ("ndjson", 200),
    "spark": ("ndjson", 200),
}
SECTIONS = ("files", "growth", "network")
THREADS = len(os.sched_getaffinity(0))


def numbers(text):
    return [float(part) for part in text.split(",")]


def names(known):
    def read(text):
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
        return text.split(",")

    return read


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=numbers, default=[100, 1000], help="megabytes that are compared on")
    parser.add_argument("--growth", type=numbers, default=[100, 1000, 10_000], help="megabytes that convlake is piped")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each peer with convlake")
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--only", type=names(SECTIONS), default=SECTIONS, help=", ".join(SECTIONS))
    parser.add_argument("--convlake", type=Path, help="a binary, instead of building this tree's")
    parser.add_argument("--results", default=str(parts.HERE.parent / "RESULTS.md"), help="where to; - is stdout")
    return parser.parse_args()


class Comparison:
    def __init__(self, args):
        parts.WORK.mkdir(parents=True, exist_ok=True)
        self.out, self.logs = parts.WORK / "out", parts.WORK / "logs"
        self.logs.mkdir(exist_ok=True)
        self.args = args
        self.convlake = args.convlake or parts.convlake()
        self.generate = parts.generator()
        self.python = parts.python()
        # Settings of the person who runs this are not part of it.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("CONVLAKE_", "GENESYS"))}
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(self, label, command, stdin=None, env=None):
        log, command = self.logs / f"{label}.log", [str(part) for part in command]
        result = measure.run(command, self.out / label, log, stdin, env or self.env)
        parts.say(f"{label}: {result.wall:.2f} s, {result.cpu:.2f} s of CPU, {result.peak / 2**20:.0f} MiB")
        return result

    def convert(self, label, source, selection, **more):
        command = [self.convlake, "convert", source, "--out", self.out / label, *selection, "--quiet"]
        return self.run(label, command, **more)

    def peer(self, name, source):
        script = parts.HERE / f"with_{name.removesuffix('-pages')}.py"
        return self.run(name, [self.python, script, source, self.out / name, PEERS[name][0], THREADS])

    def files(self):
        """Each peer in turn with convlake, on files of every size."""
        return [self.size(megabytes) for megabytes in self.args.mb]

    def size(self, megabytes):
        sources = {form: parts.data(self.generate, form, megabytes) for form in ("pages", "ndjson")}
        five = columns.arguments()
        rows, checked = [], None
        for name in (name for name in self.args.peers if megabytes <= PEERS[name][1]):
            turns = []
            for _ in range(self.args.pairs):
                turn = {"convlake": self.convert("convlake", sources["pages"], five)}
                turn[name] = self.peer(name, sources[PEERS[name][0]])
                if name == "duckdb":
                    turn[report.ALL_TABLES] = self.convert("convlake-all", sources["pages"], [])
                turns.append(turn)
            checked = checked or self.checked("convlake", name)
            rows.append((name, turns, self.checked(self.args.peers[0], name)))
            if name != self.args.peers[0]:
                shutil.rmtree(self.out / name)
        result = {"megabytes": sources["pages"].stat().st_size / 1e6, "checked": checked, "rows": rows}
        shutil.rmtree(self.out)
        for source in sources.values():
            source.unlink()
        return result

    def checked(self, reference, other):
        """What two outputs have in common. That they differ ends everything: a wrong answer has no speed."""
        command = [self.python, parts.HERE / "compare.py", self.out / reference, self.out / other]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=self.env).stdout)
        if found["differences"]:
            raise SystemExit(f"{reference} and {other} differ:\n" + "\n".join(found["differences"]))
        return found

    def growth(self):
        """convlake alone, reading what is made at that moment: nothing is kept, and the maker's CPU is not counted."""
        rows = []
        for megabytes in self.args.growth:
            for order in ("time", "random"):
                maker = subprocess.Popen(
                    [self.generate, "pages", "--mb", str(megabytes), "--order", order], stdout=subprocess.PIPE
                )
                label = f"growth-{megabytes:g}-{order}"
                measured = self.convert(label, "-", columns.arguments(), stdin=maker.stdout)
                maker.stdout.close()
                if maker.wait() != 0:
                    raise SystemExit("the generator failed")
                rows.append((megabytes, order, measured))
                shutil.rmtree(self.out / label)
        return rows

    def network(self):
        return network.compare(self)


def main():
    args = arguments()
    if "spark" in args.peers and "files" in args.only:
        parts.java()
    began, load = datetime.datetime.now(datetime.timezone.utc), os.getloadavg()[0]
    comparison = Comparison(args)
    about = {
        "command": shlex.join(["benches/peers/run.py", *sys.argv[1:]]),
        "machine": report.machine(THREADS, load),
        "versions": report.versions(comparison.convlake, comparison.python, parts.ROOT),
    }
    sections = []
    for name in args.only:
        sections.append(report.SECTIONS[name](getattr(comparison, name)()))
        text = report.whole(about, began, datetime.datetime.now(datetime.timezone.utc), sections)
        if args.results != "-":
            Path(args.results).write_text(text)
    if args.results == "-":
        print(text)


if __name__ == "__main__":
    main()
