"""convlake and the page-count tutorial against `convlake simulate`: with a rate limit, with latency, with a 429."""

import json
import os
import subprocess
import urllib.request
from base64 import b64encode
from dataclasses import dataclass

import columns
import parts
from measure import Measured

WORLD = ("--conversations-per-day", 1500)
FROM, TO, LAST_SECOND = "2025-01-01", "2025-01-31", "2025-01-30T23:59:59Z"
LATENCY_MS = 300
# The tutorial's API permits 200 calls a minute. A month of one queue has a fifth of these pages: so has this limit.
CALLS_A_MINUTE = 15
REFUSED_PAGE = 5
QUERY = "/api/v2/analytics/conversations/details/query"
SAVED_MB = 300


class Simulate:
    """A simulator on loopback for as long as the block lasts."""

    def __init__(self, comparison, *settings):
        self.command = [comparison.convlake, "simulate", "--seed", "7", *map(str, settings)]
        self.base = comparison.env

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.base, text=True
        )
        lines = [self.process.stdout.readline() for _ in range(3)]
        self.env = self.base | dict(line.strip().split("=", 1) for line in lines)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def token(self):
        secret = f"{self.env['GENESYSCLOUD_OAUTHCLIENT_ID']}:{self.env['GENESYSCLOUD_OAUTHCLIENT_SECRET']}"
        headers = {"Authorization": f"Basic {b64encode(secret.encode()).decode()}"}
        return self.ask("/oauth/token", b"grant_type=client_credentials", headers)["access_token"]

    def ask(self, path, data, headers):
        request = urllib.request.Request(self.env["CONVLAKE_BASE_URL"] + path, data=data, headers=headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def queue(self):
        """A queue, and how many conversations it has: asked for once, they are known to the simulator."""
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        queue = self.ask("/api/v2/routing/queues", None, headers)["entities"][0]["id"]
        body = {"dateFrom": f"{FROM}T00:00:00Z", "dateTo": LAST_SECOND, "size": 1, "groupBy": ["queueId"]}
        body["filters"] = {"and": [{"path": "queue.id", "operator": "in", "values": [queue]}]}
        return queue, self.ask(QUERY, json.dumps(body).encode(), headers)["paging"]["total"]


@dataclass
class Turn:
    measured: Measured
    records: int
    calls: int
    refused: int


def tutorial(comparison, server, way, queue):
    env = server.env | {
        "TUTORIAL_QUEUE_ID": queue,
        "TUTORIAL_START_DATE": f"{FROM}T00:00:00Z",
        "TUTORIAL_END_DATE": LAST_SECOND,
    }
    label = f"tutorial-{way}"
    command = [comparison.python, parts.HERE / "tutorial.py", way]
    measured = comparison.run(label, command, env=env)
    said = json.loads((comparison.logs / f"{label}.log").read_text().splitlines()[-1])
    return Turn(measured, **said)


def export(comparison, server, label, *settings):
    report = parts.WORK / "report.json"
    command = [comparison.convlake, "export", "--from", FROM, "--to", TO, "--out", comparison.out / label]
    command += ["--report", report, "--quiet", *settings]
    measured = comparison.run(label, command, env=server.env)
    totals = json.loads(report.read_text())["totals"]
    # Nothing but a 429 makes it repeat a call here.
    return Turn(measured, totals["conversations"], totals["calls"], totals["retries"])


def paged(comparison, server, queue, *settings):
    return export(comparison, server, "page", "--protocol", "page", "--queue", queue, *settings)


def alone(comparison, settings, way):
    with Simulate(comparison, *WORLD, "--latency", 20, *settings) as server:
        return way(server)


def compare(comparison):
    text = ["## Against the simulated API", ""]
    text += [
        "The class of the page-count tutorial (*Complete Working Example*) and convlake fetch one queue's month. The",
        "tutorial keeps the records in memory; convlake writes its lake. The simulator's CPU is not counted.",
        "",
    ]

    small, limit = ("--page-size", "100"), ("--rate-limit", str(CALLS_A_MINUTE))
    with Simulate(comparison, *WORLD, "--latency", LATENCY_MS, "--rate-limit", 0) as server:
        queue, total = server.queue()
        text += section(f"{LATENCY_MS} ms from request to answer, no limit", total, {
            "tutorial's class": tutorial(comparison, server, "class", queue),
            "the same, without its sleeps": tutorial(comparison, server, "impatient", queue),
            "convlake, the tutorial's page size": paged(comparison, server, queue, *small),
            "convlake": paged(comparison, server, queue),
        })
    text += section(f"{CALLS_A_MINUTE} calls a minute: the tutorial's 200, scaled like the month's pages", total, {
        # A simulator each: the calls of one must not count as the other's.
        label: alone(comparison, ("--rate-limit", CALLS_A_MINUTE), way)
        for label, way in {
            "tutorial's class": lambda server: tutorial(comparison, server, "class", queue),
            "convlake, the tutorial's page size": lambda server: paged(comparison, server, queue, *small, *limit),
            "convlake": lambda server: paged(comparison, server, queue, *limit),
        }.items()
    })

    refusal = {"rate_limited": {"retry_after": {"seconds": 2}}}
    faults = parts.WORK / "faults.json"
    faults.write_text(json.dumps({"script": [{"page": REFUSED_PAGE, "first": 1, "action": refusal}]}))
    text += section(f"Page {REFUSED_PAGE} is answered with 429 once", total, {
        label: alone(comparison, ("--rate-limit", 0, "--faults", faults), way)
        for label, way in {
            "tutorial's Step 3": lambda server: tutorial(comparison, server, "step3", queue),
            "tutorial's class": lambda server: tutorial(comparison, server, "class", queue),
            "convlake, the tutorial's page size": lambda server: paged(comparison, server, queue, *small),
        }.items()
    })
    return text + saved_pages(comparison)


def saved_pages(comparison):
    """What an export costs the client beside a conversion of the same pages."""
    pages = parts.data(comparison.generate, "pages", SAVED_MB)
    megabytes = pages.stat().st_size / 1e6
    selection = columns.arguments()
    ratios, costs = [], []
    for _ in range(comparison.args.pairs):
        converted = comparison.convert("convert", pages, selection)
        with Simulate(comparison, "--pages", pages, "--latency", 0, "--rate-limit", 0) as server:
            label = "export"
            command = [comparison.convlake, "export", "--protocol", "query", "--from", "2026-05-01", "--to", "2026-05-31"]
            command += ["--out", comparison.out / label, "--rate-limit", "1000000", "--quiet", *selection]
            exported = comparison.run(label, command, env=server.env)
        ratios.append(exported.cpu / converted.cpu)
        costs.append((converted, exported))
    pages.unlink()
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    converted, exported = costs[middle]
    return [
        "### The same pages from files and from the API, no limit and no latency",
        "",
        f"{megabytes:.0f} MB of rendered pages: `convert` takes {converted.cpu:.2f} s of CPU, `export` {exported.cpu:.2f} s:"
        f" **{ratios[middle]:.2f} times** as much ({', '.join(f'{ratio:.2f}' for ratio in ratios)}).",
        "",
    ]


def section(title, total, turns):
    rows = [f"### {title}", "", "| | wall s | CPU s | calls | of them 429 | conversations | lost |"]
    rows.append("| --- |" + " ---: |" * 6)
    for label, turn in turns.items():
        lost = total - turn.records
        rows.append(
            f"| {label} | {turn.measured.wall:.1f} | {turn.measured.cpu:.2f} | {turn.calls} | {turn.refused} |"
            f" {turn.records} | {f'**{lost}**' if lost else 0} |"
        )
    return [*rows, ""]
