"""Spark on this machine: JSON read with the whole nested type, exploded, written by date with zstd."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from columns import CONVERSATIONS, EMISSIONS, PARTICIPANTS, SEGMENTS, SESSIONS, nested
from peer import call

TYPES = {
    "string": t.StringType(),
    "timestamp": t.TimestampType(),
    "boolean": t.BooleanType(),
    "int64": t.LongType(),
    "double": t.DoubleType(),
    "list<string>": t.ArrayType(t.StringType()),
    "list<int64>": t.ArrayType(t.LongType()),
}


def struct(fields):
    return t.StructType([t.StructField(key, type) for key, type in fields.items()])


def members(table, more=None):
    own = nested(table)
    fields = {key: TYPES[column.type] for key, column in own.pop("")}
    fields |= {above: struct({key: TYPES[c.type] for key, c in below}) for above, below in own.items()}
    return struct(fields | (more or {}))


def named(table, row=""):
    return [f.col(row + c.key).alias(c.name) for c in table.columns]


def folded(table, key):
    folds = {"sum": f.sum, "max": f.max}
    only = lambda m: f.when(f.col("name") == m.metric, f.col("value"))
    return emissions.groupBy(key).agg(*[folds[m.fold](only(m)).alias(m.name) for m in table.metrics])


def write(table, frame):
    frame.write.partitionBy("date").parquet(str(job.out / table.name))


job = call()
spark = (
    SparkSession.builder.master(f"local[{job.threads}]")
    .config("spark.driver.memory", "8g")
    .config("spark.sql.caseSensitive", "true")
    .config("spark.sql.parquet.compression.codec", "zstd")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", str(2 * job.threads))
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

session = members(SESSIONS, {"metrics": t.ArrayType(members(EMISSIONS)), "segments": t.ArrayType(members(SEGMENTS))})
attributes = t.MapType(t.StringType(), t.StringType())
participant = members(PARTICIPANTS, {"attributes": attributes, "sessions": t.ArrayType(session)})
conversation = members(CONVERSATIONS, {"participants": t.ArrayType(participant)})
if job.pages:
    page = struct({"conversations": t.ArrayType(conversation)})
    read = spark.read.schema(page).json(job.input).select(f.explode("conversations").alias("c")).select("c.*")
else:
    read = spark.read.schema(conversation).json(job.input)

date = f.date_format("conversation_start", "yyyy-MM-dd").alias("date")
conversations = read.select(*named(CONVERSATIONS), "participants").select("*", date)
keys = ["date", "conversation_id", "conversation_start"]
people = conversations.select(*keys, f.explode("participants").alias("p"))
ids = [*keys, "participant_id"]
person = [f.col("p.participantId").alias("participant_id"), "p.purpose", f.col("p.userId").alias("user_id")]
calls = people.select(*keys, *person, f.explode("p.sessions").alias("s"))
session_id = f.col("s.sessionId").alias("session_id")
emissions = calls.select(*ids, session_id, f.explode("s.metrics").alias("m"))
emissions = emissions.select(*ids, "session_id", *named(EMISSIONS, "m."))
segments = calls.select(*ids, session_id, f.explode("s.segments").alias("g"))

own = conversations.drop("participants")
write(CONVERSATIONS, own.join(folded(CONVERSATIONS, "conversation_id"), "conversation_id", "left"))
write(PARTICIPANTS, people.select(*keys, *named(PARTICIPANTS, "p."), f.to_json("p.attributes").alias("attributes")))
sessions = calls.select(*ids, "purpose", "user_id", *named(SESSIONS, "s."))
write(SESSIONS, sessions.join(folded(SESSIONS, "session_id"), "session_id", "left"))
write(SEGMENTS, segments.select(*ids, "session_id", *named(SEGMENTS, "g.")))
write(EMISSIONS, emissions)
spark.stop()
