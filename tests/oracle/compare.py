"""Compares a lake with the oracle's expansion, row for row, and says readably where they differ.

    compare.py expand RAW.ndjson FROM TO ORACLE.duckdb COLUMNS     details or tutorials
    compare.py compare ORACLE.duckdb LAKE

LAKE is a folder, or a URL that DuckDB reads after what `DUCKDB_INIT` says. `compare` prints one JSON object: `rows` by table, `differences` (empty when lake and oracle are equal), and
`unfilled`, the columns that no record filled: what the comparison says nothing about.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import duck
from expand import HERE, KEYS, expansion, identity, quoted

MACROS = (HERE / "macros.sql").read_text().replace("CREATE MACRO", "CREATE TEMP MACRO")


def lake_files(lake: Path | str, table: str) -> str:
    return f"read_parquet({quoted(f'{lake}/{table}/**/*.parquet')}, hive_partitioning = true)"


def partitions(lake: Path | str, table: str) -> str:
    files = f"glob({quoted(f'{lake}/{table}/*/*.parquet')})"
    return f"SELECT list(DISTINCT split_part(file, '/', -2)) AS dates FROM {files};\n"


def ask(sql: str, database: Path) -> list[list[dict]]:
    return duck.run(sql, database, read_only=True)


def columns_of(relations: dict[str, str], database: Path) -> dict[str, dict[str, str]]:
    """Table → column name → type."""
    described = ask("".join(f"DESCRIBE SELECT * FROM {r};\n" for r in relations.values()), database)
    return {
        table: {row["column_name"]: row["column_type"] for row in rows}
        for table, rows in zip(relations, described, strict=True)
    }


def canonical(name: str, kind: str) -> str:
    """A column in a form that compares by meaning: the order of members is none."""
    if name == "extra":
        return f"canonical_json(extra) AS {name}"
    if kind.startswith("MAP("):
        return f'canonical_map("{name}") AS "{name}"'
    return f'"{name}"'


def compare_columns(table: str, expected: dict[str, str], found: dict[str, str]) -> list[str]:
    differences = []
    if found.get("date") != "DATE":
        differences.append(f"{table}: partitions are not `date=YYYY-MM-DD`")
    for name in sorted(expected.keys() | found.keys() - {"date"}):
        if expected.get(name) != found.get(name):
            differences.append(f"{table}.{name}: oracle {expected.get(name)}, lake {found.get(name)}")
    return differences


def sides(table: str, columns: dict[str, str], lake: Path | str) -> str:
    """Both sides of a comparison, in the columns that both have."""
    projection = ", ".join(canonical(name, kind) for name, kind in columns.items())
    return f"""
CREATE OR REPLACE TEMP TABLE oracle_rows AS SELECT {projection} FROM {table};
CREATE OR REPLACE TEMP TABLE lake_rows AS SELECT {projection} FROM {lake_files(lake, table)};
"""


def count_differences(table: str, columns: dict[str, str], lake: Path | str) -> str:
    return f"""{sides(table, columns, lake)}
SELECT
  (SELECT count(*) FROM (FROM oracle_rows EXCEPT ALL FROM lake_rows)) AS missing,
  (SELECT count(*) FROM (FROM lake_rows EXCEPT ALL FROM oracle_rows)) AS unexpected,
  (SELECT count(*) FROM {lake_files(lake, table)} WHERE date <> CAST(conversation_start AS DATE)) AS misplaced;
"""


def explain(table: str, columns: dict[str, str], lake: Path | str, database: Path) -> list[str]:
    """Which columns differ, in how many rows, and one example of each."""
    keys = ", ".join(identity(table))
    others = [name for name in columns if name not in identity(table)]
    joined = f"FROM oracle_rows AS o JOIN lake_rows AS l USING ({keys})"
    differ = {name: f'o."{name}" IS DISTINCT FROM l."{name}"' for name in others}
    setup = MACROS + sides(table, columns, lake)
    (alone,), (counts,) = ask(
        f"""{setup}
SELECT
  (SELECT count(*) FROM oracle_rows ANTI JOIN lake_rows USING ({keys})) AS oracle,
  (SELECT count(*) FROM lake_rows ANTI JOIN oracle_rows USING ({keys})) AS lake,
  (SELECT count(*) FROM (SELECT {keys} FROM lake_rows GROUP BY ALL HAVING count(*) > 1)) AS repeated;
SELECT {", ".join(f'count(*) FILTER ({differ[name]}) AS "{name}"' for name in others)} {joined};""",
        database,
    )
    lines = [f"{table}: keys only in {side}: {alone[side]}" for side in ("oracle", "lake") if alone[side]]
    if alone["repeated"]:
        lines.append(f"{table}: keys that the lake holds more than once: {alone['repeated']}")
    wrong = [name for name in others if counts[name]]
    if wrong:
        examples = "".join(
            f"""SELECT conversation_id AS id, o."{name}"::VARCHAR AS oracle, l."{name}"::VARCHAR AS lake
{joined} WHERE {differ[name]} LIMIT 1;"""
            for name in wrong
        )
        for name, (row,) in zip(wrong, ask(setup + examples, database), strict=True):
            lines.append(
                f"{table}.{name}: {counts[name]} rows differ, "
                f"such as {row['id']}: oracle {row['oracle']!r}, lake {row['lake']!r}"
            )
    return lines


def filled(table: str, columns: dict[str, str]) -> str:
    """How many values each column of the expansion has."""
    counts = ", ".join(f'count("{name}") AS "{name}"' for name in columns)
    return f'SELECT count(*) AS "#", {counts} FROM {table};\n'


def expand(raw: Path, start: str, end: str, database: Path, columns: str = "details") -> None:
    database.unlink(missing_ok=True)
    duck.run(expansion(raw, start, end, columns == "tutorials"), database)


def compare(database: Path, lake: Path | str, tables: Iterable[str] = KEYS) -> dict:
    expected = columns_of({t: t for t in tables}, database)
    values = dict(zip(tables, ask("".join(filled(t, expected[t]) for t in tables), database), strict=True))
    rows = {t: v["#"] for t, (v,) in values.items()}
    differences = []
    (days,) = ask("SELECT DISTINCT 'date=' || CAST(conversation_start AS DATE) AS day FROM conversations", database)
    present = []
    listings = ask("".join(partitions(lake, t) for t in tables), database)
    for table, (listing,) in zip(tables, listings, strict=True):
        # A day with conversations has a file for every table, without rows where there are none.
        if strays := set(listing["dates"] or []) ^ {row["day"] for row in days}:
            differences.append(f"{table}: days that only one side has: {', '.join(sorted(strays))}")
        if listing["dates"]:
            present.append(table)
    found = columns_of({t: lake_files(lake, t) for t in present}, database)
    shared = {}
    for table in present:
        differences += compare_columns(table, expected[table], found[table])
        columns = {n: kind for n, kind in expected[table].items() if found[table].get(n) == kind}
        if set(identity(table)) <= set(columns):
            shared[table] = columns
    script = MACROS + "".join(count_differences(t, columns, lake) for t, columns in shared.items())
    for (table, columns), (counts,) in zip(shared.items(), ask(script, database), strict=True):
        if counts["misplaced"]:
            differences.append(f"{table}: {counts['misplaced']} rows are not in the partition of their day")
        if counts["missing"] or counts["unexpected"]:
            differences.append(
                f"{table}: {counts['missing']} rows of the oracle are not in the lake, "
                f"{counts['unexpected']} rows of the lake are not in the oracle"
            )
            differences += explain(table, columns, lake, database)
    empty = [f"{t}.{name}" for t, (v,) in values.items() for name, n in v.items() if n == 0 and name != "#"]
    return {"rows": rows, "differences": differences, "unfilled": empty}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["expand", raw, start, end, database, columns]:
            expand(Path(raw), start, end, Path(database), columns)
        case ["compare", database, lake]:
            print(json.dumps(compare(Path(database), lake)))
        case _:
            sys.exit(__doc__)
