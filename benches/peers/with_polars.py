"""Polars: read_ndjson with the whole nested type, exploded and unnested, a sink by date with zstd.

Polars has no type for a JSON object of any keys: the attributes' keys are said here.
"""

import os

from peer import call

job = call()
os.environ["POLARS_MAX_THREADS"] = str(job.threads)

import polars as pl

from columns import CONVERSATIONS, EMISSIONS, PARTICIPANTS, SEGMENTS, SESSIONS, nested

ATTRIBUTES = ("context.customerTier", "ivr.Choice", "crm.caseId", "survey_opt")
TYPES = {
    "string": pl.String,
    "timestamp": pl.String,  # read as text, parsed once its column stands alone
    "boolean": pl.Boolean,
    "int64": pl.Int64,
    "double": pl.Float64,
    "list<string>": pl.List(pl.String),
    "list<int64>": pl.List(pl.Int64),
}


def members(table, more=None):
    own = nested(table)
    fields = {key: TYPES[column.type] for key, column in own.pop("")}
    fields |= {above: pl.Struct({key: TYPES[c.type] for key, c in below}) for above, below in own.items()}
    return fields | (more or {})


def named(table):
    def path(key):
        first, *rest = key.split(".")
        expression = pl.col(first)
        for part in rest:
            expression = expression.struct.field(part)
        return expression

    time = lambda e: e.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
    typed = lambda c: time(path(c.key)) if c.type == "timestamp" else path(c.key)
    return [typed(c).alias(c.name) for c in table.columns]


def folded(table, key):
    def fold(m):
        values = pl.col("value").filter(pl.col("name") == m.metric)
        # A sum over nothing is 0 in Polars; a metric that was not emitted is null.
        return (values.max() if m.fold == "max" else pl.when(values.len() > 0).then(values.sum())).alias(m.name)

    return emissions.group_by(key).agg(map(fold, table.metrics))


def write(table, frame):
    target = pl.PartitionBy(job.out / table.name, key="date", include_key=False)
    frame.lazy().sink_parquet(target, compression="zstd", mkdir=True)


session = members(
    SESSIONS,
    {"metrics": pl.List(pl.Struct(members(EMISSIONS))), "segments": pl.List(pl.Struct(members(SEGMENTS)))},
)
attributes = pl.Struct({key: pl.String for key in ATTRIBUTES})
participant = members(PARTICIPANTS, {"attributes": attributes, "sessions": pl.List(pl.Struct(session))})
conversation = members(CONVERSATIONS, {"participants": pl.List(pl.Struct(participant))})
if job.pages:
    schema = {"conversations": pl.List(pl.Struct(conversation))}
    read = pl.read_ndjson(job.input, schema=schema).explode("conversations").unnest("conversations")
else:
    read = pl.read_ndjson(job.input, schema=conversation)

conversations = read.select(*named(CONVERSATIONS), "participants").with_columns(
    date=pl.col("conversation_start").dt.strftime("%Y-%m-%d")
)
keys = ["date", "conversation_id", "conversation_start"]
people = conversations.select(*keys, "participants").explode("participants").unnest("participants")
ids = [*keys, "participant_id"]
calls = (
    people.select(
        *keys, pl.col("participantId").alias("participant_id"), "purpose", pl.col("userId").alias("user_id"), "sessions"
    )
    .explode("sessions")
    .unnest("sessions")
)
session_id = pl.col("sessionId").alias("session_id")
emissions = calls.select(*ids, session_id, "metrics").explode("metrics").unnest("metrics")
emissions = emissions.select(*ids, "session_id", *named(EMISSIONS))
segments = calls.select(*ids, session_id, "segments").explode("segments").unnest("segments")

write(EMISSIONS, emissions)
write(SEGMENTS, segments.select(*ids, "session_id", *named(SEGMENTS)))
sessions = calls.select(*ids, "purpose", "user_id", *named(SESSIONS))
write(SESSIONS, sessions.join(folded(SESSIONS, "session_id"), on="session_id", how="left"))
write(PARTICIPANTS, people.select(*keys, *named(PARTICIPANTS), pl.col("attributes").struct.json_encode()))
conversations = conversations.drop("participants")
write(CONVERSATIONS, conversations.join(folded(CONVERSATIONS, "conversation_id"), on="conversation_id", how="left"))
