"""Expands raw conversations into the tables of the lake with DuckDB, sharing nothing with convlake's own code.

The columns come from `tests/fixtures/model.txt` (the API's fields, one `Model.field: type` a line) and
`tests/fixtures/metrics.txt` (the API's metric names); the rules that turn them into tables are written down here a
second time, in SQL. Neither `src/flatten` nor `schemas/` is read, so a mistake there has no twin here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"

SQL_TYPES = {
    "str": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "datetime": "TIMESTAMPTZ",
    "list[str]": "VARCHAR[]",
    "list[int]": "BIGINT[]",
}
READERS = {kind: f"read_{kind}" for kind in SQL_TYPES} | {"list[str]": "read_strs", "list[int]": "read_ints"}

# Fields of the paging dialects' records; the real API does not have them.
DURATIONS = ("handle", "talk", "wait", "hold", "wrapup")
RATES = ("offerRate", "offerAnswerRate", "talkRate")
DIALECT_KINDS = {"startTime": "datetime", "endTime": "datetime"}
# Of those, the ones that only lakes of such records have columns for.
TUTORIAL_KINDS = {"metrics": "figures", "queueId": "str", "userId": "str", **dict.fromkeys(RATES, "float")}


def fixture(name: str) -> list[str]:
    lines = (FIXTURES / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def load_model() -> dict[str, dict[str, str]]:
    """The API's models: field → type, in the order of the documentation."""
    model: dict[str, dict[str, str]] = {}
    for line in fixture("model.txt"):
        name, field, kind = re.fullmatch(r"(\w+)\.(\w+): (.+)", line).groups()
        model.setdefault(name, {})[field] = kind
    return model


def snake(name: str) -> str:
    """conversationStart → conversation_start, q850ResponseCodes → q850_response_codes, minRFactor → min_r_factor."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def metric_column(name: str) -> str:
    """Timers carry their unit."""
    return snake(name) + ("_ms" if name.startswith("t") else "")


def fold(name: str) -> str:
    """Averages, first-of timers and the conversation's length do not add up over emissions."""
    return "max" if re.match(r"tAverage|tFirst|tConversationDuration$", name) else "sum"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


MODEL = load_model()
METRICS = [line.split()[0] for line in fixture("metrics.txt")]


@dataclass(frozen=True)
class Table:
    """A table: the array it comes from, the table whose rows hold that array, and the keys of its rows."""

    name: str
    model: str
    parent: str | None
    # Where the array stands in an object of the parent.
    path: tuple[str, ...]
    # Keys of every row here: ids and ordinals of the path, the last ordinal its own.
    keys: tuple[str, ...]

    @property
    def ordinal(self) -> str:
        return self.keys[-1]

    @property
    def scalars(self) -> dict[str, str]:
        return {f: kind for f, kind in MODEL[self.model].items() if kind in SQL_TYPES}

    @property
    def kinds(self) -> dict[str, str]:
        """Every known field → what it has to be."""

        def kind_of(kind: str) -> str:
            if kind in SQL_TYPES:
                return kind
            return "objects" if kind.startswith("list[") else "object"

        kinds = {f: kind_of(kind) for f, kind in MODEL[self.model].items()}
        return kinds | DIALECT_KINDS | TUTORIAL_KINDS if self.name == "conversations" else kinds


CONVERSATION = ("conversation_id", "conversation_start")
PARTICIPANT = (*CONVERSATION, "participant_id", "participant_index")
SESSION = (*PARTICIPANT, "session_id", "session_index")
SEGMENT = (*SESSION, "segment_index")

TABLES = (
    Table("conversations", "AnalyticsConversation", None, (), CONVERSATION),
    Table("evaluations", "AnalyticsEvaluation", "conversations", ("evaluations",), (*CONVERSATION, "evaluation_index")),
    Table("surveys", "AnalyticsSurvey", "conversations", ("surveys",), (*CONVERSATION, "survey_index")),
    Table("resolutions", "AnalyticsResolution", "conversations", ("resolutions",), (*CONVERSATION, "resolution_index")),
    Table("participants", "AnalyticsParticipant", "conversations", ("participants",), PARTICIPANT),
    Table("sessions", "AnalyticsSession", "participants", ("sessions",), SESSION),
    Table("agent_groups", "AnalyticsAgentGroup", "sessions", ("agentGroups",), (*SESSION, "agent_group_index")),
    Table(
        "proposed_agents", "AnalyticsProposedAgent", "sessions", ("proposedAgents",), (*SESSION, "proposed_agent_index")
    ),
    Table(
        "media_endpoint_stats",
        "AnalyticsMediaEndpointStat",
        "sessions",
        ("mediaEndpointStats",),
        (*SESSION, "media_endpoint_stat_index"),
    ),
    Table(
        "flow_outcomes", "AnalyticsFlowOutcome", "sessions", ("flow", "outcomes"), (*SESSION, "flow_outcome_index")
    ),
    Table("metrics", "AnalyticsSessionMetric", "sessions", ("metrics",), (*SESSION, "metric_index")),
    Table("segments", "AnalyticsConversationSegment", "sessions", ("segments",), SEGMENT),
    Table("scored_agents", "AnalyticsScoredAgent", "segments", ("scoredAgents",), (*SEGMENT, "scored_agent_index")),
    Table("segment_properties", "AnalyticsProperty", "segments", ("properties",), (*SEGMENT, "segment_property_index")),
)
# Made from an object, not from an array: rows are told apart by their key.
ATTRIBUTES = "participant_attributes"
ATTRIBUTE_KEYS = (*PARTICIPANT, "key")
KEYS = {t.name: t.keys for t in TABLES} | {ATTRIBUTES: ATTRIBUTE_KEYS}


def identity(table: str) -> tuple[str, ...]:
    """The keys that tell rows apart: ids of participants and sessions repeat and go missing, ordinals do not."""
    return tuple(k for k in KEYS[table] if k in ("conversation_id", "key") or k.endswith("_index"))


def shredded(json: str, fields: Iterable[str]) -> str:
    """The known fields of an object as a struct of JSON values; missing and null are both NULL."""
    structure = ", ".join(f'"{field}": "JSON"' for field in fields)
    return f"from_json({json}, {quoted('{' + structure + '}')})"


def read(kind: str, struct: str, field: str) -> str:
    return f'{READERS[kind]}({struct}."{field}")'


def entries(json: str) -> str:
    return f"unnest(entries_of({json}))"


def select(columns: dict[str, str], source: str) -> str:
    """`columns` is name → expression."""
    listed = ",\n  ".join(f"{expression} AS {name}" for name, expression in columns.items())
    return f"SELECT\n  {listed}\nFROM {source}"


def records_sql(table: Table, start: str, end: str) -> str:
    """The conversations that start in the range, the last version of each in source order."""
    return f"""
CREATE TABLE {table.name}_items AS
SELECT read_str(f."conversationId") AS conversation_id,
  coalesce({read("datetime", "f", "conversationStart")}, {read("datetime", "f", "startTime")}) AS conversation_start,
  item, f
FROM (SELECT position, item, {shredded("item", table.kinds)} AS f FROM raw)
WHERE conversation_start >= {quoted(start)}::TIMESTAMPTZ AND conversation_start < {quoted(end)}::TIMESTAMPTZ
QUALIFY row_number() OVER (PARTITION BY conversation_id ORDER BY position DESC) = 1;
"""


def items_sql(table: Table) -> str:
    """One row an element of the table's array: the keys of the row that holds it, its own keys, its fields."""
    parent = next(t for t in TABLES if t.name == table.parent)
    inherited = [k for k in table.keys if k in parent.keys]
    array = f'f."{table.path[0]}"' + "".join(f" -> {quoted(name)}" for name in table.path[1:])
    # The id of a participant or session is its own field; its children inherit it.
    own = {k: read("str", "f", k.replace("_id", "Id")) for k in table.keys[:-1] if k not in parent.keys}
    columns = {k: k for k in inherited} | own | {table.ordinal: table.ordinal, "item": "item", "f": "f"}
    source = f"""(
  SELECT *, {shredded("item", table.kinds)} AS f
  FROM (
    SELECT {", ".join(inherited)}, unnest(a) AS item, generate_subscripts(a, 1) - 1 AS {table.ordinal}
    FROM (SELECT *, elements({array}) AS a FROM {parent.name}_items)
  )
)"""
    return f"\nCREATE TABLE {table.name}_items AS\n{select(columns, source)};\n"


def plain_columns(table: Table) -> dict[str, str]:
    """Keys, then the model's scalars and lists."""
    columns = {k: k for k in table.keys}
    for field, kind in table.scalars.items():
        columns.setdefault(snake(field), read(kind, "f", field))
    return columns


def leftover_sql(name: str, table: Table, json: str, kinds: dict[str, str], texts: bool = False) -> str:
    """Members of an object that no column takes, because their name is unknown or their type is another; `texts` says
    that texts of unknown names have a column."""
    kept = "AND NOT (field IS NULL AND is_text(entry.value))" if texts else ""
    keys = ", ".join(identity(table.name))
    listed = ", ".join(f"({quoted(f)}, {quoted(kind)})" for f, kind in kinds.items())
    return f"""
CREATE TABLE {name} AS
SELECT {keys}, member(entry.key, entry.value) AS member
FROM (SELECT {keys}, {entries(json)} AS entry FROM {table.name}_items)
LEFT JOIN (VALUES {listed}) AS known (field, kind) ON entry.key = field
WHERE entry.value IS NOT NULL AND NOT fits(entry.value, kind) {kept};
"""


def extra(table: Table, members: str) -> str:
    """The join that gives the rows of `table` their `extra`."""
    keys = ", ".join(identity(table.name))
    return f"LEFT JOIN (SELECT {keys}, object_of(list(member)) AS extra FROM {members} GROUP BY {keys}) AS x USING ({keys})"


def plain_sql(table: Table) -> str:
    columns = plain_columns(table) | {"extra": "x.extra"}
    source = f"{table.name}_items\n{extra(table, f'{table.name}_leftover')}"
    leftover = leftover_sql(f"{table.name}_leftover", table, "item", table.kinds)
    return f"{leftover}\nCREATE TABLE {table.name} AS\n{select(columns, source)};\n"


def attributes_sql() -> str:
    keys = ", ".join(PARTICIPANT)
    return f"""
CREATE TABLE {ATTRIBUTES} AS
SELECT {keys}, attribute.key AS key, read_str(attribute.value) AS value, NULL::VARCHAR AS extra
FROM (
  SELECT {keys}, {entries('f."attributes"')} AS attribute
  FROM participants_items
);
"""


def folds_sql(name: str, keys: tuple[str, ...]) -> str:
    """Metrics folded over their emissions: one row for each `keys`, one column a known name, a map for the others."""
    columns = {k: k for k in keys}
    for metric in METRICS:
        value = f"{fold(metric)}(value) FILTER (name = {quoted(metric)})"
        columns[metric_column(metric)] = f"TRY_CAST({value} AS BIGINT)"
    known = ", ".join(quoted(m) for m in METRICS)
    group = ", ".join(keys)
    return f"""
CREATE TABLE {name} AS
{select(columns, "metrics")}
GROUP BY {group};
CREATE TABLE {name}_other AS
SELECT {group}, map_from_entries(list((name, total))) AS metrics_other
FROM (
  SELECT {group}, name, TRY_CAST(sum(value) AS BIGINT) AS total FROM metrics
  WHERE name NOT IN ({known}) AND value IS NOT NULL GROUP BY {group}, name
)
GROUP BY {group};
"""


def metric_columns(alias: str) -> dict[str, str]:
    return {metric_column(m): f"{alias}.{metric_column(m)}" for m in METRICS}


def sessions_sql(table: Table) -> str:
    """Plain columns, the embedded flow, what is derived from participant and segments, and the folded metrics."""
    flow = {f: k for f, k in MODEL["AnalyticsFlow"].items() if k in SQL_TYPES}
    columns = {name: f"s.{name}" for name in table.keys}
    columns |= {name: e for name, e in plain_columns(table).items() if name not in columns}
    for field, kind in flow.items():
        # The prefix is not doubled: flow.flowName is flow_name, flow.exitReason is flow_exit_reason.
        columns["flow_" + snake(field).removeprefix("flow_")] = read(kind, "flow", field)
    columns |= {"purpose": "p.purpose", "user_id": "p.user_id", "queue_id": "q.queue_id"}
    columns |= metric_columns("m")
    columns["metrics_other"] = "o.metrics_other"
    columns["extra"] = "x.extra"
    by_session = ", ".join(identity(table.name))
    # What is left over of the flow stays nested, as the flow was.
    leftover = f"""
{leftover_sql("sessions_leftover", table, "item", table.kinds)}
{leftover_sql("flow_leftover", table, 'f."flow"', flow | {"outcomes": "objects"})}
INSERT INTO sessions_leftover
SELECT {by_session}, member('flow', object_of(list(member))) FROM flow_leftover GROUP BY {by_session};
"""
    source = f"""(SELECT *, {shredded('f."flow"', flow)} AS flow FROM sessions_items) AS s
JOIN participants AS p USING (conversation_id, participant_index)
LEFT JOIN (
  SELECT {by_session}, arg_max(queue_id, segment_index) AS queue_id
  FROM segments WHERE queue_id IS NOT NULL GROUP BY {by_session}
) AS q USING ({by_session})
LEFT JOIN session_folds AS m USING ({by_session})
LEFT JOIN session_folds_other AS o USING ({by_session})
{extra(table, "sessions_leftover")}"""
    return f"{leftover}CREATE TABLE sessions AS\n{select(columns, source)};\n"


def conversations_sql(table: Table, tutorials: bool) -> str:
    """Plain columns, the paging dialects' figures, and the metrics folded over all sessions."""
    figures = (*(f"{name}Duration" for name in DURATIONS), *RATES) if tutorials else ()
    known = ", ".join(quoted(n) for n in ("", *figures))
    kinds = {f: kind for f, kind in table.kinds.items() if tutorials or f not in TUTORIAL_KINDS}
    columns = {name: f"c.{name}" for name in table.keys}
    columns |= {name: e for name, e in plain_columns(table).items() if name not in columns}
    columns["conversation_end"] = f"coalesce({columns['conversation_end']}, {read('datetime', 'f', 'endTime')})"
    if tutorials:
        for name in DURATIONS:
            figure = f'figures."{name}Duration"'
            within = (f"read_int(json_extract({figure}, '$.{total}'))" for total in ("total", "sum"))
            readings = (*within, f"read_int({figure})")
            columns[f"{name}_duration_ms"] = f"coalesce({', '.join(readings)})"
        for name in RATES:
            columns[snake(name)] = f'coalesce(read_float(total_of(figures."{name}")), {read("float", "f", name)})'
        columns |= {"queue_id": read("str", "f", "queueId"), "user_id": read("str", "f", "userId")}
        columns |= {"dimensions": "t.dimensions", "metrics_other_decimal": "d.metrics_other_decimal"}
    columns |= metric_columns("m")
    columns["metrics_other"] = "coalesce(o.metrics_other, d.metrics_other)"
    columns["extra"] = "x.extra"
    shred = shredded("figures_of(f.metrics)", figures) if figures else "NULL"
    source = f"""(SELECT *, {shred} AS figures FROM conversations_items) AS c
LEFT JOIN conversation_folds AS m USING (conversation_id)
LEFT JOIN conversation_folds_other AS o USING (conversation_id)
LEFT JOIN (
  SELECT conversation_id,
    map_from_entries(list((name, read_int(value))) FILTER (is_integer(value))) AS metrics_other,
    map_from_entries(list((name, read_float(value))) FILTER (NOT is_integer(value))) AS metrics_other_decimal
  FROM (
    SELECT conversation_id, figure.key AS name, figure_of(figure.value) AS value
    FROM (
      SELECT conversation_id, {entries("figures_of(f.metrics)" if tutorials else "NULL::JSON")} AS figure
      FROM conversations_items
    )
    WHERE name NOT IN ({known})
  )
  WHERE is_number(value) GROUP BY conversation_id
) AS d USING (conversation_id)
LEFT JOIN (
  SELECT conversation_id, map_from_entries(list((entry.key, text_of(entry.value)))) AS dimensions
  FROM (SELECT conversation_id, {entries("item")} AS entry FROM conversations_items)
  WHERE is_text(entry.value) AND entry.key NOT IN ({", ".join(quoted(f) for f in kinds)})
  GROUP BY conversation_id
) AS t USING (conversation_id)
{extra(table, "conversations_leftover")}"""
    leftover = leftover_sql("conversations_leftover", table, "item", kinds, texts=tutorials)
    return f"{leftover}CREATE TABLE conversations AS\n{select(columns, source)};\n"


def expansion(raw: Path, start: str, end: str, tutorials: bool) -> str:
    """The whole script: raw conversations, one JSON object a line, become one DuckDB table for each of the lake's;
    `tutorials` says that it is a lake of the paging dialects' records."""
    by_name = {t.name: t for t in TABLES}
    script = [
        "SET TimeZone = 'UTC';\n",
        (HERE / "macros.sql").read_text(),
        f"""
CREATE TABLE raw AS
SELECT row_number() OVER () AS position, json AS item
FROM read_ndjson_objects({quoted(str(raw))}, maximum_object_size = 268435456);
""",
        records_sql(by_name["conversations"], start, end),
    ]
    script += [items_sql(t) for t in TABLES if t.parent]
    script += [plain_sql(t) for t in TABLES if t.name not in ("conversations", "sessions")]
    script.append(attributes_sql())
    script.append(folds_sql("session_folds", ("conversation_id", "participant_index", "session_index")))
    script.append(folds_sql("conversation_folds", ("conversation_id",)))
    script += [sessions_sql(by_name["sessions"]), conversations_sql(by_name["conversations"], tutorials)]
    return "".join(script)


if __name__ == "__main__":
    import sys

    print(expansion(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:] == ["tutorials"]))
