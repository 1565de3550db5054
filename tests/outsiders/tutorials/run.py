"""Runs a tutorial's script against a server: run.py first NOW | run.py second FROM TO QUEUE SIZE

`first` takes the seven days before NOW, which its script reads from a clock. Credentials and TUTORIAL_BASE_URL come from
the environment. Prints {"printed": LINES, "records": RECORDS}, the records as the server sent them.
"""

import contextlib
import datetime as times
import io
import json
import os
import sys
import time

time.sleep = lambda seconds: None  # what they wait for does not matter here


def first(now):
    import first as script

    class Clock(times.datetime):
        @classmethod
        def now(cls, tz=None):
            return times.datetime.fromisoformat(now)

    script.datetime = Clock
    script.main()
    query = script.AnalyticsConversationDetailQuery()
    query.end_time = Clock.now().isoformat()
    query.start_time = (Clock.now() - times.timedelta(days=7)).isoformat()
    query.granularity = "day"
    if os.getenv("GENESYS_CLOUD_USER_ID"):
        query.entities = [{"type": "user", "id": os.environ["GENESYS_CLOUD_USER_ID"]}]
    query.metrics = ["handleDuration", "talkDuration", "waitDuration", "holdDuration", "wrapupDuration"]
    return [record.raw for record in script.iterate_all_pages(script.get_platform_client(), query)]


def second(start, end, queue, size):
    import second as script

    fetcher = script.GenesysAnalyticsFetcher(os.environ["GENESYS_CLIENT_ID"], os.environ["GENESYS_CLIENT_SECRET"])
    fetcher.base_url = os.environ["TUTORIAL_BASE_URL"]
    fetcher.authenticate()
    return fetcher.fetch_conversation_analytics(start, end, queue, int(size))


printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    records = {"first": first, "second": second}[sys.argv[1]](*sys.argv[2:])
print(json.dumps({"printed": printed.getvalue().splitlines(), "records": records}))
