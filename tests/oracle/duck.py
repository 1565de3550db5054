"""DuckDB through its command line, the same one the Rust side of the harness uses."""

import json
import os
import subprocess
import sys
from pathlib import Path

DUCKDB = Path(sys.executable).parent / "duckdb"
# What is said to DuckDB before anything else: extensions, and a way into a store.
INIT = os.environ.get("DUCKDB_INIT", os.devnull)


class SqlError(Exception):
    """What DuckDB said about a statement."""


def run(sql: str, database: Path | None = None, *, read_only: bool = False) -> list[list[dict]]:
    """Runs statements and returns the rows of each that gives rows. Of a database that is only read there can be many
    readers at a time.
    """
    access = ["-readonly"] if read_only else []
    command = [str(DUCKDB), *access, "-init", INIT, "-bail", "-json", str(database or ":memory:")]
    done = subprocess.run(
        command, input="SET TimeZone = 'UTC';\n" + sql, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0 or "Error:" in done.stderr:
        raise SqlError(done.stderr.strip() or f"duckdb ended with {done.returncode}")
    decoder, text, results, at = json.JSONDecoder(), done.stdout.strip(), [], 0
    while at < len(text):
        rows, at = decoder.raw_decode(text, at)
        results.append(rows)
        while at < len(text) and text[at].isspace():
            at += 1
    return results


def query(sql: str, database: Path | None = None) -> list[dict]:
    """Rows of one statement."""
    return run(sql, database)[-1]
