"""Runs a way of the page-count tutorial against the simulator of the environment: tutorial.py class|impatient|step3.

`class` is its complete working example as it is written (tests/tutorials/page_count.py), `impatient` the same without
its sleep between pages, `step3` the loop of its Step 3 after the first page. Prints JSON: what it collected, its calls,
and how many were refused.
"""

import contextlib
import json
import os
import runpy
import sys
import time
from collections import Counter
from pathlib import Path

import requests

EXAMPLE = Path(__file__).resolve().parents[2] / "tests" / "tutorials" / "page_count.py"

post, sleep = requests.post, time.sleep
answers = Counter()


def counted(url, **more):
    response = post(url, **more)
    if "/analytics/" in url:
        answers[response.status_code] += 1
    return response


requests.post = counted


def collect(way):
    os.environ["TUTORIAL_BASE_URL"] = os.environ["CONVLAKE_BASE_URL"]
    days = os.environ["TUTORIAL_START_DATE"], os.environ["TUTORIAL_END_DATE"]
    queue = os.environ["TUTORIAL_QUEUE_ID"]
    fetcher = runpy.run_path(str(EXAMPLE))["GenesysAnalyticsFetcher"](
        os.environ["GENESYSCLOUD_OAUTHCLIENT_ID"], os.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET"]
    )
    fetcher.authenticate()
    if way == "impatient":
        time.sleep = lambda seconds: sleep(seconds if seconds >= 1 else 0)
    if way != "step3":
        return fetcher.fetch_conversation_analytics(*days, queue)
    query = {
        "dateFrom": days[0],
        "dateTo": days[1],
        "size": 100,
        "pageNumber": 1,
        "groupBy": ["queueId"],
        "metrics": ["offerRate", "offerAnswerRate"],
        "filters": {"and": [{"path": "queue.id", "operator": "in", "values": [queue]}]},
    }
    url = f"{fetcher.base_url}/api/v2/analytics/conversations/details/query"
    first = requests.post(url, json=query, headers=fetcher.headers).json()
    return first["entities"] + step3(url, fetcher.headers, query, first["paging"]["pageCount"])


def step3(url, headers, base_query, total_pages):
    """The document's loop, word for word but for its talk."""
    all_entities = []
    for page_num in range(2, total_pages + 1):
        base_query["pageNumber"] = page_num
        response = requests.post(url, json=base_query, headers=headers)
        if response.status_code == 200:
            data = response.json()
            entities = data.get("entities", [])
            all_entities.extend(entities)
            time.sleep(1)
        elif response.status_code == 429:
            retry_after = int(response.headers.get("Retry-After", 5))
            time.sleep(retry_after)
            # Retry the same page
            page_num -= 1
            continue
        else:
            raise Exception(f"Failed to fetch page {page_num}: {response.status_code} - {response.text}")
    return all_entities


with contextlib.redirect_stdout(sys.stderr):
    records = collect(sys.argv[1])
found = len({record["conversationId"] for record in records})
print(json.dumps({"records": found, "calls": answers.total(), "refused": answers[429]}))
