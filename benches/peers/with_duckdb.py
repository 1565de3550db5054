"""DuckDB: read_json with the whole nested type, unnested into temporary tables, COPY by date with zstd."""

import duckdb

from columns import CONVERSATIONS, EMISSIONS, PARTICIPANTS, SEGMENTS, SESSIONS, nested
from peer import call

TYPES = {
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "list<string>": "VARCHAR[]",
    "list<int64>": "BIGINT[]",
}


def members(table, more=None):
    """What an object of the table holds, and its type."""
    own = nested(table)
    fields = {key: TYPES[column.type] for key, column in own.pop("")}
    fields |= {above: struct({key: TYPES[c.type] for key, c in below}) for above, below in own.items()}
    return fields | (more or {})


def struct(fields):
    return "STRUCT(" + ", ".join(f'"{key}" {type}' for key, type in fields.items()) + ")"


def literal(fields):
    return "{" + ", ".join(f"'{key}': '{type}'" for key, type in fields.items()) + "}"


def named(table, row):
    """The columns of the table out of the struct `row`."""
    path = lambda key: ".".join(f'"{part}"' for part in key.split("."))
    return ", ".join(f"{row}.{path(c.key)} AS {c.name}" for c in table.columns)


def pivoted(table):
    folds = (f"{m.fold}(value) FILTER (name = '{m.metric}')::BIGINT AS {m.name}" for m in table.metrics)
    return ", ".join(folds)


job = call()
session = members(
    SESSIONS, {"metrics": struct(members(EMISSIONS)) + "[]", "segments": struct(members(SEGMENTS)) + "[]"}
)
participant = members(PARTICIPANTS, {"attributes": "JSON", "sessions": struct(session) + "[]"})
conversation = members(CONVERSATIONS, {"participants": struct(participant) + "[]"})

db = duckdb.connect()
db.execute(f"SET threads = {job.threads}")
db.execute("SET preserve_insertion_order = false")
json = f"'{job.input}', format = 'newline_delimited', maximum_object_size = 67108864"
if job.pages:
    page = literal({"conversations": struct(conversation) + "[]"})
    source = f"SELECT unnest(conversations) AS c FROM read_json({json}, columns = {page})"
    db.execute(f"CREATE TEMP TABLE pages AS {source}")
    db.execute("CREATE TEMP VIEW conversation AS SELECT c.* FROM pages")
else:
    db.execute(f"CREATE TEMP TABLE conversation AS SELECT * FROM read_json({json}, columns = {literal(conversation)})")

keys = "conversation_id, conversation_start"
ids = f"{keys}, participant_id"
db.execute(f"""
    CREATE TEMP TABLE participant AS
    SELECT "conversationId" AS conversation_id, "conversationStart" AS conversation_start, unnest(participants) AS p
    FROM conversation;
    CREATE TEMP TABLE session AS
    SELECT {keys}, p."participantId" AS participant_id, p.purpose AS purpose, p."userId" AS user_id,
           unnest(p.sessions) AS s
    FROM participant;
    CREATE TEMP TABLE emission AS
    SELECT {ids}, session_id, {named(EMISSIONS, "m")}
    FROM (SELECT {ids}, s."sessionId" AS session_id, unnest(s.metrics) AS m FROM session);
""")


def copy(table, select):
    day = "strftime(conversation_start, '%Y-%m-%d') AS date"
    options = "FORMAT parquet, PARTITION_BY (date), COMPRESSION zstd"
    db.execute(f"COPY (SELECT *, {day} FROM ({select})) TO '{job.out / table.name}' ({options})")


copy(CONVERSATIONS, f"""
    SELECT {named(CONVERSATIONS, "c")}, folded.* EXCLUDE (id) FROM conversation AS c
    LEFT JOIN (SELECT conversation_id AS id, {pivoted(CONVERSATIONS)} FROM emission GROUP BY ALL) AS folded
    ON folded.id = c."conversationId"
""")
copy(PARTICIPANTS, f"SELECT {keys}, {named(PARTICIPANTS, 'p')}, p.attributes::VARCHAR AS attributes FROM participant")
copy(SESSIONS, f"""
    SELECT {ids}, purpose, user_id, {named(SESSIONS, "s")}, folded.* EXCLUDE (id) FROM session
    LEFT JOIN (SELECT session_id AS id, {pivoted(SESSIONS)} FROM emission GROUP BY ALL) AS folded
    ON folded.id = s."sessionId"
""")
copy(SEGMENTS, f"""
    SELECT {ids}, session_id, {named(SEGMENTS, "g")}
    FROM (SELECT {ids}, s."sessionId" AS session_id, unnest(s.segments) AS g FROM session)
""")
copy(EMISSIONS, "SELECT * FROM emission")
