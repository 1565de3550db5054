"""Runs a tutorial's script as it is and prints the `conversationId` of each record that it collected.

    ids.py SCRIPT
"""

import contextlib
import os
import runpy
import sys
import time
from pathlib import Path

# The documents name the credentials differently; here they are those of the simulator.
for family in ("GENESYS", "GENESYS_CLOUD"):
    os.environ[f"{family}_CLIENT_ID"] = os.environ["GENESYSCLOUD_OAUTHCLIENT_ID"]
    os.environ[f"{family}_CLIENT_SECRET"] = os.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET"]
os.environ["TUTORIAL_BASE_URL"] = os.environ["CONVLAKE_BASE_URL"]

# Their politeness towards a shared API is lost on a simulator. A wait for a rate limit stays one.
really_sleep = time.sleep
time.sleep = lambda seconds: really_sleep(seconds if seconds >= 1 else 0)

# Their own talk goes to stderr, so that stdout is only the records.
with contextlib.redirect_stdout(sys.stderr):
    script = runpy.run_path(str(Path(__file__).with_name(sys.argv[1])), run_name="__main__")
# A script that failed says so and goes on; then there is no data.
for record in script["data"]:
    print(record["conversationId"])
