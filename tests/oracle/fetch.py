"""Pages the API by itself and writes every record as it came, one a line, in source order: the raw truth of a range.

    fetch.py PROTOCOL FROM TO RAW.ndjson          PROTOCOL is query, jobs, cursor, page or auto; FROM and TO are dates

Plain Python on purpose: it shares nothing with convlake, not even a library. It asks in the smallest units that are
sure to be allowed and trusts nothing but the records; what a page has too much, the oracle drops.
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

DETAILS = "/api/v2/analytics/conversations/details"
# A range that an environment's proxy may not see: the simulator listens on loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Api:
    """An authenticated caller that waits out a rate limit and fails on everything else."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self.base_url = base_url.rstrip("/")
        basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        answer = self.send("POST", "/oauth/token", b"grant_type=client_credentials", {
            "Authorization": f"Basic {basic}",
            "Content-Type": "application/x-www-form-urlencoded",
        })
        self.bearer = f"Bearer {answer['access_token']}"

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> dict:
        request = urllib.request.Request(self.base_url + path, body, headers, method=method)
        while True:
            try:
                with OPENER.open(request) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
                time.sleep(float(error.headers.get("Retry-After", 5)))

    def post(self, path: str, body: dict) -> dict:
        headers = {"Authorization": self.bearer, "Content-Type": "application/json"}
        return self.send("POST", path, json.dumps(body).encode(), headers)

    def get(self, path: str) -> dict:
        return self.send("GET", path, None, {"Authorization": self.bearer})


def midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00.000Z"


def days(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += timedelta(days=1)


def query(api: Api, start: date, end: date) -> Iterator[dict]:
    """Day by day, pages of 100 until one is empty."""
    for day in days(start, end):
        number = 1
        while True:
            answer = api.post(f"{DETAILS}/query", {
                "interval": f"{midnight(day)}/{midnight(day + timedelta(days=1))}",
                "order": "asc",
                "orderBy": "conversationStart",
                "paging": {"pageSize": 100, "pageNumber": number},
            })
            records = answer.get("conversations") or []
            if not records:
                break
            yield from records
            number += 1


def jobs(api: Api, start: date, end: date) -> Iterator[dict]:
    """One job a week at most, its results to the end of the cursors."""
    while start < end:
        until = min(start + timedelta(days=7), end)
        job = api.post(f"{DETAILS}/jobs", {
            "interval": f"{midnight(start)}/{midnight(until)}",
            "startOfDayIntervalMatching": True,
        })["jobId"]
        while (state := api.get(f"{DETAILS}/jobs/{job}")["state"]) != "FULFILLED":
            if state in ("FAILED", "CANCELLED", "EXPIRED"):
                raise SystemExit(f"job {job}: {state}")
            time.sleep(0.1)
        cursor = {}
        while True:
            page = urllib.parse.urlencode({"pageSize": 500, **cursor})
            answer = api.get(f"{DETAILS}/jobs/{job}/results?{page}")
            yield from answer.get("conversations") or []
            if not answer.get("cursor"):
                break
            cursor = {"cursor": answer["cursor"]}
        start = until


def cursor(api: Api, start: date, end: date) -> Iterator[dict]:
    """The first tutorial's shape, day by day."""
    for day in days(start, end):
        position = {}
        while True:
            answer = api.post(f"{DETAILS}/query", {
                "startTime": midnight(day),
                "endTime": midnight(day + timedelta(days=1)),
                "granularity": "day",
                "metrics": [f"{name}Duration" for name in ("handle", "talk", "wait", "hold", "wrapup")],
                **position,
            })
            yield from answer.get("entities") or []
            if not answer.get("nextPageCursor"):
                break
            position = {"pageCursor": answer["nextPageCursor"]}


def page(api: Api, start: date, end: date) -> Iterator[dict]:
    """The second tutorial's shape, day by day."""
    for day in days(start, end):
        number, count = 1, 1
        while number <= count:
            answer = api.post(f"{DETAILS}/query", {
                "dateFrom": midnight(day),
                "dateTo": midnight(day + timedelta(days=1)),
                "size": 100,
                "pageNumber": number,
                "groupBy": ["queueId"],
                "metrics": ["offerRate", "offerAnswerRate", "talkRate"],
            })
            yield from answer.get("entities") or []
            count = answer.get("paging", {}).get("pageCount", 0)
            number += 1


def auto(api: Api, start: date, end: date) -> Iterator[dict]:
    """Jobs for the days that they are sure to have whole, the query for the days after."""
    answer = api.get(f"{DETAILS}/jobs/availability")["dataAvailabilityDate"]
    available = datetime.fromisoformat(answer.replace("Z", "+00:00")).astimezone(timezone.utc).date()
    seam = max(start, min(end, available))
    yield from jobs(api, start, seam)
    yield from query(api, seam, end)


PROTOCOLS = {"query": query, "jobs": jobs, "cursor": cursor, "page": page, "auto": auto}

if __name__ == "__main__":
    protocol, start, end, raw = sys.argv[1:]
    api = Api(
        os.environ["CONVLAKE_BASE_URL"],
        os.environ["GENESYSCLOUD_OAUTHCLIENT_ID"],
        os.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET"],
    )
    with open(raw, "w", encoding="utf-8") as out:
        for record in PROTOCOLS[protocol](api, date.fromisoformat(start), date.fromisoformat(end)):
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
