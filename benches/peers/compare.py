"""Whether two lakes hold the same: compare.py REFERENCE OTHER. Prints JSON: tables, columns, rows, and what differs.

For each table that both have: the rows; for each column that both have: how many values, and the sum of their hashes,
in which no order shows.
"""

import json
import sys
from pathlib import Path

import duckdb

from columns import ALL, ATTRIBUTES

# The folder of dlt's data set.
DLT = "lake"
TYPES = {"int64": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "string": "VARCHAR"}

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")


def rows_of(lake, name):
    return f"read_parquet('{lake}/{name}/**/*.parquet', union_by_name = true, hive_partitioning = true)"


def has(lake, name):
    return any(Path(lake, name).rglob("*.parquet"))


def columns_of(lake, name):
    return {row[0] for row in db.execute(f"DESCRIBE SELECT * FROM {rows_of(lake, name)}").fetchall()}


def value(name, kind):
    """A column in one form, whatever its lake's types are."""
    if kind == "timestamp":
        return f"epoch_us({name})"
    if kind.startswith("list<"):
        return f"CAST({name} AS {TYPES[kind[5:-1]]}[])"
    return f"CAST({name} AS {TYPES[kind]})"


def sums(lake, name, kinds):
    """The rows, then values and hashes of each column."""
    each = (f"count({column}), sum(hash({value(column, kind)})::HUGEINT) FILTER ({column} IS NOT NULL)"
            for column, kind in kinds.items())
    rows, *values = db.execute(f"SELECT {', '.join(['count(*)', *each])} FROM {rows_of(lake, name)}").fetchone()
    return rows, dict(zip(kinds, zip(values[::2], values[1::2])))


def attributes(lake):
    """How many attributes participants have: a table of them, or a JSON column."""
    if has(lake, ATTRIBUTES):
        return db.execute(f"SELECT count(*) FROM {rows_of(lake, ATTRIBUTES)}").fetchone()[0]
    keys = "coalesce(len(json_keys(attributes)), 0)"
    return int(db.execute(f"SELECT sum({keys}) FROM {rows_of(lake, 'participants')}").fetchone()[0])


def compare_rows(reference, other, found):
    """dlt names its tables after their places and types columns by what it meets: only rows are compared."""
    places = ("", "__participants", "__participants__sessions")
    below = tuple(f"{places[2]}__{name}" for name in ("segments", "metrics"))
    for table, place in zip(ALL, places + below):
        expected, rows = sums(reference, table.name, {})[0], sums(other, f"conversations{place}", {})[0]
        found["rows"][table.name] = rows
        if rows != expected:
            found["differences"].append(f"{table.name}: {rows} rows, not {expected}")
    return found


def compare(reference, other):
    found = {"rows": {}, "columns": 0, "differences": []}
    if has(other, DLT):
        return compare_rows(reference, Path(other, DLT), found)
    for table in ALL:
        if not has(other, table.name):
            found["differences"].append(f"no {table.name}")
            continue
        both = columns_of(reference, table.name) & columns_of(other, table.name)
        kinds = {name: kind for name, kind in table.types().items() if name in both}
        (expected, values), (rows, others) = (sums(lake, table.name, kinds) for lake in (reference, other))
        found["rows"][table.name] = rows
        found["columns"] += len(kinds)
        if rows != expected:
            found["differences"].append(f"{table.name}: {rows} rows, not {expected}")
        different = (name for name in kinds if values[name] != others[name])
        found["differences"] += [f"{table.name}.{name}: {others[name]}, not {values[name]}" for name in different]
    if (given := attributes(other)) != (expected := attributes(reference)):
        found["differences"].append(f"{given} attributes, not {expected}")
    return found


if __name__ == "__main__":
    json.dump(compare(*sys.argv[1:]), sys.stdout)
