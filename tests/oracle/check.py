"""Checks the oracle itself before anything is compared with it.

Counts and sums that plain Python takes from the recorded samples must be those of the expansion; a lake made of the
expansion must compare equal, and each of a list of small damages to it must be noticed.

    check.py DIRECTORY_FOR_SCRATCH
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duck
from compare import compare, expand
from expand import FIXTURES, KEYS, quoted

RANGE = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")

# What a careless lake might do, as SQL on a table before it is written, and the column or phrase that must be named.
DAMAGES = {
    "a lost row": ("segments", "DELETE FROM segments WHERE rowid = 3", "keys only in oracle: 1"),
    "a row twice": ("metrics", "INSERT INTO metrics SELECT * FROM metrics LIMIT 1", "more than once: 1"),
    "a changed value": ("sessions", "UPDATE sessions SET t_talk_ms = t_talk_ms + 1", "sessions.t_talk_ms"),
    "zero for absent": ("sessions", "UPDATE sessions SET n_error = coalesce(n_error, 0)", "sessions.n_error"),
    "a lost millisecond": (
        "segments",
        "UPDATE segments SET segment_start = date_trunc('second', segment_start)",
        "segments.segment_start",
    ),
    "a shifted ordinal": ("metrics", "UPDATE metrics SET metric_index = metric_index + 1", "keys only in lake"),
    "a lost column": ("participants", "ALTER TABLE participants DROP COLUMN purpose", "participants.purpose"),
    "another type": (
        "metrics",
        "ALTER TABLE metrics ALTER value TYPE DOUBLE",
        "metrics.value: oracle BIGINT, lake DOUBLE",
    ),
    "an invented extra": ("sessions", "UPDATE sessions SET extra = '{\"a\":1}' WHERE rowid = 0", "sessions.extra"),
    "a list cut short": (
        "conversations",
        "UPDATE conversations SET division_ids = division_ids[1:1]",
        "conversations.division_ids",
    ),
}


def load_samples() -> list[dict]:
    records = []
    for path in sorted((FIXTURES / "samples").glob("*.json")):
        sample = json.loads(path.read_text(encoding="utf-8"))
        records += sample.get("conversations", [sample])
    return records


def counted(records: list[dict]) -> Counter:
    """Rows by table, counted by walking the JSON."""
    n = Counter(conversations=len(records))
    for record in records:
        for name in ("evaluations", "surveys", "resolutions", "participants"):
            n[name] += len(record.get(name, []))
        for participant in record.get("participants", []):
            n["participant_attributes"] += len(participant.get("attributes", {}))
            n["sessions"] += len(participant.get("sessions", []))
    for session in sessions(records):
        n["metrics"] += len(session.get("metrics", []))
        n["segments"] += len(session.get("segments", []))
        n["agent_groups"] += len(session.get("agentGroups", []))
        n["proposed_agents"] += len(session.get("proposedAgents", []))
        n["media_endpoint_stats"] += len(session.get("mediaEndpointStats", []))
        n["flow_outcomes"] += len(session.get("flow", {}).get("outcomes", []))
        for segment in session.get("segments", []):
            n["scored_agents"] += len(segment.get("scoredAgents", []))
            n["segment_properties"] += len(segment.get("properties", []))
    return n


def sessions(records: list[dict]) -> Iterator[dict]:
    for record in records:
        for participant in record.get("participants", []):
            yield from participant.get("sessions", [])


def summed(records: list[dict]) -> Counter:
    """Totals of the metrics that add up, by the column they become."""
    columns = {"tTalk": "t_talk_ms", "tTalkComplete": "t_talk_complete_ms", "tHeld": "t_held_ms", "nError": "n_error"}
    total = Counter()
    for session in sessions(records):
        for metric in session.get("metrics", []):
            if metric["name"] in columns:
                total[columns[metric["name"]]] += metric["value"]
    return total


def check_expansion(records: list[dict], database: Path) -> None:
    expected = counted(records)
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in KEYS)
    rows = duck.query(f"SELECT {counts}", database)[0]
    assert rows == {table: expected[table] for table in KEYS}, f"{rows}, counted {expected}"
    # sum() of BIGINT is a 128-bit integer, which the command line writes as text.
    sums = ", ".join(f"sum({column})::BIGINT AS {column}" for column in summed(records))
    for table in ("sessions", "conversations"):
        found = duck.query(f"SELECT {sums} FROM {table}", database)[0]
        assert found == summed(records), f"{table}: {found}, added up {summed(records)}"


def check_semantics(scratch: Path) -> None:
    """The rules that no recording shows, on records made for them."""
    database, raw = scratch / "rules.duckdb", scratch / "rules.ndjson"

    def session(metrics: list[tuple[str, object]], **fields: object) -> dict:
        return {"sessionId": "s", "metrics": [{"name": n, "value": v} for n, v in metrics], **fields}

    real = {
        "conversationId": "real",
        "conversationStart": "2025-01-01T23:59:59.999Z",
        "mediaStatsMinConversationMos": 4,
        "novelty": {"a": [1, None]},
        "participants": [
            {
                "purpose": "agent",
                "userId": "u",
                "participantName": 7,
                "sessions": [
                    session(
                        [("tTalk", 5), ("tTalk", 6), ("tFirstConnect", 9), ("tFirstConnect", 3), ("tNovel", 2)],
                        segments=[{"queueId": "q1"}, {"queueId": "q2"}, {}],
                        flow={"flowName": "f", "exitReason": "x", "novel": True},
                    ),
                    session([("tTalk", 10), ("tFirstConnect", 20), ("tNovel", 1), ("nError", 1.5)]),
                ],
            }
        ],
    }
    paged = {
        "conversationId": "paged",
        "startTime": "2025-01-01T10:00:00Z",
        "endTime": "2025-01-01T10:01:00Z",
        "queueId": "q",
        "mediaType": "voice",
        "novelty": 7,
        "offerRate": 1,
        "metrics": {
            "handleDuration": {"total": 60000},
            "waitDuration": {"sum": 1200.0},
            "talkDuration": 5,
            "talkRate": 0.5,
            "novelDuration": 8,
            "novelRate": {"sum": 0.25},
        },
    }
    listed = {
        "conversationId": "listed",
        "startTime": "2025-01-01T11:00:00Z",
        "metrics": [
            {"metric": "handleDuration", "stats": {"sum": 7}},
            {"metric": "novelDuration", "stats": {"sum": 9}},
        ],
    }
    older = {"conversationId": "paged", "startTime": "2025-01-01T09:00:00Z"}
    outside = {"conversationId": "outside", "conversationStart": "2025-01-02T00:00:00.000Z"}
    raw.write_text("\n".join(json.dumps(r) for r in (real, older, paged, listed, outside)) + "\n", encoding="utf-8")
    expand(raw, "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", database, "tutorials")

    def rows(sql: str) -> list[dict]:
        return duck.query(sql, database)

    both = rows("FROM conversations ORDER BY conversation_id")
    assert [r["conversation_id"] for r in both] == ["listed", "paged", "real"]
    list_of, page, record = both
    assert (list_of["handle_duration_ms"], list_of["metrics_other"]) == (7, {"novelDuration": 9}), list_of
    assert list_of["extra"] is None, list_of
    expected = {
        "conversation_start": "2025-01-01 10:00:00+00",
        "conversation_end": "2025-01-01 10:01:00+00",
        "handle_duration_ms": 60000,
        "talk_duration_ms": 5,
        "wait_duration_ms": 1200,
        "hold_duration_ms": None,
        "offer_rate": 1.0,
        "talk_rate": 0.5,
        "metrics_other": {"novelDuration": 8},
        "metrics_other_decimal": {"novelRate": 0.25},
        "queue_id": "q",
        "user_id": None,
        "dimensions": {"mediaType": "voice"},
        "extra": '{"novelty":7}',
        "t_talk_ms": None,
    }
    assert {k: page[k] for k in expected} == expected, page
    expected = {
        "t_talk_ms": 21,
        "t_first_connect_ms": 20,
        "metrics_other": {"tNovel": 3},
        "media_stats_min_conversation_mos": 4.0,
        "extra": '{"novelty":{"a":[1,null]}}',
        "n_error": None,
    }
    assert {k: record[k] for k in expected} == expected, record
    expand(raw, "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", database)
    (details,) = rows("FROM conversations WHERE conversation_id = 'paged'")
    assert not {"handle_duration_ms", "queue_id", "dimensions", "metrics_other_decimal"} & set(details), details
    kept = json.loads(details["extra"])
    assert (kept["mediaType"], kept["metrics"]) == ("voice", paged["metrics"]), details
    assert details["metrics_other"] is None, details
    first, second = rows("FROM sessions ORDER BY session_index")
    expected = {
        "purpose": "agent",
        "user_id": "u",
        "queue_id": "q2",
        "t_talk_ms": 11,
        "t_first_connect_ms": 9,
        "metrics_other": {"tNovel": 2},
        "flow_name": "f",
        "flow_exit_reason": "x",
        "extra": '{"flow":{"novel":true}}',
    }
    assert {k: first[k] for k in expected} == expected, first
    assert (second["t_talk_ms"], second["queue_id"], second["flow_name"], second["extra"]) == (10, None, None, None)
    (participant,) = rows("FROM participants")
    assert (participant["participant_name"], participant["extra"]) == (None, '{"participantName":7}')
    (misfit,) = rows("FROM metrics WHERE name = 'nError'")
    assert (misfit["value"], misfit["extra"]) == (None, '{"value":1.5}')


def write_lake(database: Path, lake: Path, tables: list[str], damage: str = "") -> None:
    """Writes tables of the expansion as a lake holds them; the damage happens in a transaction that is undone."""
    days = duck.query("SELECT DISTINCT CAST(conversation_start AS DATE) AS day FROM conversations", database)
    copies = []
    for table in tables:
        for day in (row["day"] for row in days):
            partition = lake / table / f"date={day}"
            partition.mkdir(parents=True, exist_ok=True)
            copies.append(
                f"COPY (FROM {table} WHERE CAST(conversation_start AS DATE) = DATE '{day}') "
                f"TO {quoted(str(partition / f'{table}.parquet'))} (FORMAT parquet);"
            )
    duck.run("BEGIN;\n" + damage + ";\n" + "\n".join(copies) + "\nROLLBACK;", database)


def check_comparison(scratch: Path, database: Path) -> None:
    lake = scratch / "lake"
    write_lake(database, lake, list(KEYS))
    report = compare(database, lake)
    assert report["differences"] == [], report["differences"]
    for name, (table, damage, phrase) in DAMAGES.items():
        write_lake(database, lake, [table], damage)
        differences = compare(database, lake, [table])["differences"]
        assert any(phrase in line for line in differences), f"{name} was not noticed: {differences}"
        write_lake(database, lake, [table])
    shutil.rmtree(next((lake / "surveys").iterdir()))
    assert any("surveys: days" in line for line in compare(database, lake, ["surveys"])["differences"])


if __name__ == "__main__":
    scratch = Path(sys.argv[1])
    samples, raw, database = load_samples(), scratch / "samples.ndjson", scratch / "samples.duckdb"
    raw.write_text("\n".join(json.dumps(record) for record in samples) + "\n", encoding="utf-8")
    expand(raw, *RANGE, database)
    check_expansion(samples, database)
    check_semantics(scratch)
    check_comparison(scratch, database)
    print("the oracle agrees with itself")
