"""pandas and PyArrow, as such scripts are written by hand: json.loads, json_normalize, to_parquet by date with zstd.

All of the input in memory; columns that no record has are not made.
"""

import json

import pandas as pd

from columns import CONVERSATIONS, EMISSIONS, PARTICIPANTS, SEGMENTS, SESSIONS
from peer import call

job = call()
conversations = []
with open(job.input, "rb") as lines:
    for line in lines:
        document = json.loads(line)
        conversations += document["conversations"] if job.pages else [document]

CHILDREN = {"participants", "sessions", "metrics", "segments"}


def own(record):
    """What a record holds itself."""
    return {key: value for key, value in record.items() if key not in CHILDREN}


people, calls, segments, emissions = [], [], [], []
for conversation in conversations:
    keys = {"conversation_id": conversation["conversationId"], "conversation_start": conversation["conversationStart"]}
    for participant in conversation["participants"]:
        people.append(own(participant) | keys)
        ids = keys | {"participant_id": participant["participantId"]}
        above = ids | {"purpose": participant.get("purpose"), "user_id": participant.get("userId")}
        for session in participant["sessions"]:
            calls.append(own(session) | above)
            ids_of_session = ids | {"session_id": session["sessionId"]}
            segments += [segment | ids_of_session for segment in session["segments"]]
            emissions += [emission | ids_of_session for emission in session["metrics"]]


def frame(table, records, more=()):
    """The columns of `table` that `records` have; nested objects by dotted names."""
    data = pd.json_normalize(records, sep=".")
    names = {c.key: c.name for c in table.columns} | {name: name for name in (*table.parents, *more)}
    data = data[[key for key in names if key in data]].rename(columns=names)
    for name, kind in table.types().items():
        if kind == "timestamp" and name in data:
            data[name] = pd.to_datetime(data[name], utc=True, format="ISO8601")
    return data


def folded(table, data, key):
    together = {fold: data.pivot_table(index=key, columns="name", values="value", aggfunc=fold) for fold in ("sum", "max")}
    columns = [together[m.fold][m.metric].rename(m.name) for m in table.metrics if m.metric in together[m.fold]]
    return pd.concat(columns, axis=1).reset_index()


def write(table, data):
    data["date"] = data["conversation_start"].dt.strftime("%Y-%m-%d")
    data.to_parquet(job.out / table.name, partition_cols=["date"], compression="zstd", index=False)


metrics = frame(EMISSIONS, emissions)
sessions = frame(SESSIONS, calls)
write(SESSIONS, sessions.merge(folded(SESSIONS, metrics, "session_id"), on="session_id", how="left"))
for person in people:
    attributes = person.pop("attributes", None)
    person["attributes"] = None if attributes is None else json.dumps(attributes)
write(PARTICIPANTS, frame(PARTICIPANTS, people, ["attributes"]))
own_columns = frame(CONVERSATIONS, [own(conversation) for conversation in conversations])
write(CONVERSATIONS, own_columns.merge(folded(CONVERSATIONS, metrics, "conversation_id"), on="conversation_id", how="left"))
write(SEGMENTS, frame(SEGMENTS, segments))
write(EMISSIONS, metrics)
