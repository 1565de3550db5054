"""What the peers make: five tables with the columns of schemas/ that the API's own model has, and 45 metrics as columns.

As a program it prints the arguments with which convlake makes the same (and the attributes' table beside them, which
the peers keep as one JSON column; ids and ordinals of the rows it always writes):

    convlake convert pages.jsonl --out lake $(python3 benches/peers/columns.py)
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TABLES = ("conversations", "participants", "sessions", "segments", "metrics")
ATTRIBUTES = "participant_attributes"

METRICS = """
nBlindTransferred nBotInteractions nConnected nConsult nConsultTransferred nError nOffered nOutbound nOutboundAbandoned
nOutboundAttempted nOutboundConnected nOverSla nStateTransitionError nTransferred oExternalMediaCount oMediaCount
oMessageTurn oServiceLevel oServiceTarget tAbandon tAcd tAcw tAgentResponseTime tAlert tAnswered tBarging tCoaching
tConnected tContacting tDialing tFirstConnect tFirstDial tFlowOut tHandle tHeld tHeldComplete tIvr tMonitoring
tNotResponding tShortAbandon tTalk tTalkComplete tUserResponseTime tVoicemail tWait
""".split()


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    """`string`, `timestamp`, `boolean`, `int64`, `double`, `list<string>` or `list<int64>`."""
    key: str
    """The JSON key; below `flow.` for a session's flow."""


@dataclass(frozen=True)
class Metric:
    name: str
    metric: str
    fold: str
    """`sum` or `max`."""


@dataclass
class Table:
    name: str
    parents: list[str] = field(default_factory=list)
    """Columns of the rows above."""
    columns: list[Column] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def types(self):
        """The type of each column."""
        known = {"conversation_start": "timestamp"}
        types = {name: known.get(name, "string") for name in self.parents}
        return types | {c.name: c.type for c in self.columns} | {m.name: "int64" for m in self.metrics}


def read(name):
    table = Table(name)
    for column in json.loads((SCHEMAS / f"{name}.json").read_text())["columns"]:
        source, is_key = column["source"], column.get("key", False)
        source = source if isinstance(source, dict) else {}
        keys = source.get("field", [])
        key = keys if isinstance(keys, str) else next(iter(keys), "")
        # The real API has no `metrics` object and no rates: those fields are the tutorials'.
        if key and not key.startswith("metrics."):
            table.columns.append(Column(column["name"], column["type"], key))
        elif "ancestor" in source:
            table.parents.append(column["name"])
        elif source.get("metric") in METRICS:
            table.metrics.append(Metric(column["name"], source["metric"], column["fold"]))
        elif not is_key:
            table.left_out.append(f"{name}.{column['name']}")
    return table


CONVERSATIONS, PARTICIPANTS, SESSIONS, SEGMENTS, EMISSIONS = (read(name) for name in TABLES)
ALL = (CONVERSATIONS, PARTICIPANTS, SESSIONS, SEGMENTS, EMISSIONS)


def nested(table):
    """The columns of an object by the object that they are below, `""` for itself."""
    below = {"": []}
    for column in table.columns:
        *above, key = column.key.split(".")
        below.setdefault(".".join(above), []).append((key, column))
    return below


def arguments():
    """What tells convlake to make these tables."""
    left_out = [name for table in ALL for name in table.left_out] + [f"{ATTRIBUTES}.extra"]
    return ["--tables", ",".join((*TABLES, ATTRIBUTES)), "--exclude-column", ",".join(left_out)]


if __name__ == "__main__":
    print(*arguments())
