"""Runs a command and tells what it took."""

import os
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Measured:
    wall: float
    cpu: float
    """Seconds of all processes together, in user and kernel mode."""
    peak: int
    """Bytes that all processes together held in memory, at most."""
    out: int = 0
    """Bytes of Parquet."""
    files: int = 0


class Tree:
    """A process and its descendants, looked at now and then."""

    def __init__(self, root):
        self.root, self.peak, self.ticks = root, 0, {}

    def look(self):
        children, resident = {}, {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            pid = int(entry)
            children.setdefault(int(fields[1]), []).append(pid)
            resident[pid] = int(fields[21]) * PAGE, int(fields[11]) + int(fields[12])
        total, left = 0, [self.root]
        while left:
            pid = left.pop()
            bytes_, ticks = resident.get(pid, (0, 0))
            total += bytes_
            self.ticks[pid] = max(self.ticks.get(pid, 0), ticks)
            left += children.get(pid, [])
        self.peak = max(self.peak, total)

    def cpu(self):
        return sum(self.ticks.values()) / TICK


def run(command, out, log, stdin=None, env=None):
    """Runs `command`, which writes Parquet below `out`; its talk goes to `log`. A failure ends everything."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.sync()  # what ran before must not be paid for by who syncs
    with open(log, "wb") as talk:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=talk, stderr=talk, env=env)
        tree, ended = Tree(process.pid), threading.Event()

        def watch():
            while not ended.wait(POLL_SECONDS):
                tree.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        # wait4 knows what every child that was waited for used, however short its life; the watcher knows the others.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed with {process.returncode}, see {log}")
    files = list(out.rglob("*.parquet"))
    return Measured(
        wall=wall,
        cpu=max(used.ru_utime + used.ru_stime, tree.cpu()),
        peak=max(used.ru_maxrss * 1024, tree.peak),
        out=sum(file.stat().st_size for file in files),
        files=len(files),
    )


def median(runs):
    """The medians of what several runs took."""
    of = lambda what: statistics.median(getattr(run, what) for run in runs)
    return Measured(of("wall"), of("cpu"), of("peak"), of("out"), of("files"))
