#!/usr/bin/env bash
# Brings a warehouse up to date with a lake: tables of the same names, with the column `date` beside the lake's own.
#
#   load.sh LAKE warehouse.duckdb                       a DuckDB database file
#   load.sh LAKE 'postgres:dbname=wh host=db user=etl'  PostgreSQL; needs DuckDB's extension: INSTALL postgres
#
# `convlake files` tells the version of every (table, date); the warehouse's table `convlake_loaded` remembers which of
# them it has. A date whose version differs is deleted and loaded, one that the lake no longer lists is deleted, the
# rest is not touched. All of it is one transaction, so that a reader sees the old state or the new one, and a loader
# that dies, or runs beside another, leaves nothing half done. Needs `convlake` and `duckdb` (1.5 or later).
set -euo pipefail

[ $# = 2 ] || { echo "usage: load.sh LAKE WAREHOUSE" >&2; exit 2; }
warehouse=${2//\'/\'\'}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

convlake files "$1" --format csv > "$work/files.csv"

# What differs. A path says what to load; without one the date is only deleted.
duckdb -bail > "$work/tables" <<SQL
ATTACH '$warehouse' AS warehouse;
CREATE TABLE IF NOT EXISTS warehouse.convlake_loaded
  (table_name VARCHAR, date DATE, version VARCHAR, PRIMARY KEY (table_name, date));
CREATE TEMP TABLE changes AS
  SELECT coalesce(listed.table_name, loaded.table_name) AS table_name, coalesce(listed.date, loaded.date) AS date,
         listed.path, listed.version
  FROM (SELECT "table" AS table_name, date, path, version
        FROM read_csv('$work/files.csv', header = true, types = {'table': 'VARCHAR', 'date': 'DATE',
                      'path': 'VARCHAR', 'version': 'VARCHAR'})) AS listed
  FULL JOIN warehouse.convlake_loaded AS loaded USING (table_name, date)
  WHERE listed.version IS DISTINCT FROM loaded.version;
COPY changes TO '$work/changes.parquet';
.mode list
.headers off
SELECT table_name, count(path) FROM changes GROUP BY table_name ORDER BY table_name;
SQL

{
  echo "ATTACH '$warehouse' AS warehouse;"
  echo "CREATE TEMP VIEW changes AS FROM read_parquet('$work/changes.parquet');"
  echo "BEGIN;"
  while IFS='|' read -r table files; do
    if [ "$files" -gt 0 ]; then
      # A new table, or new columns of one. PostgreSQL has no maps: they are JSON in every warehouse.
      cat <<SQL
SET VARIABLE paths = (SELECT list(path) FROM changes WHERE table_name = '$table' AND path IS NOT NULL);
.mode list
.headers off
.output $work/columns.sql
WITH wanted AS (
  SELECT column_name, format('"{}" {}', column_name, if(column_type LIKE 'MAP%', 'JSON', column_type)) AS definition
  FROM (DESCRIBE FROM read_parquet(getvariable('paths'), union_by_name = true, hive_partitioning = true))
), present AS (
  SELECT column_name FROM duckdb_columns() WHERE database_name = 'warehouse' AND table_name = '$table'
)
SELECT 'CREATE TABLE IF NOT EXISTS warehouse.$table (' || string_agg(definition, ', ') || ');' FROM wanted
UNION ALL
SELECT 'ALTER TABLE warehouse.$table ADD COLUMN ' || definition || ';'
FROM wanted ANTI JOIN present USING (column_name) WHERE EXISTS (FROM present);
.output
.read $work/columns.sql
SQL
    fi
    echo "DELETE FROM warehouse.$table WHERE date IN (SELECT date FROM changes WHERE table_name = '$table');"
    [ "$files" = 0 ] || echo "INSERT INTO warehouse.$table BY NAME
      FROM read_parquet(getvariable('paths'), union_by_name = true, hive_partitioning = true);"
  done < "$work/tables"
  cat <<SQL
DELETE FROM warehouse.convlake_loaded WHERE (table_name, date) IN (SELECT (table_name, date) FROM changes);
INSERT INTO warehouse.convlake_loaded SELECT table_name, date, version FROM changes WHERE path IS NOT NULL;
COMMIT;
.mode line
SELECT count(path) AS loaded, count(*) - count(path) AS removed FROM changes;
SQL
} | duckdb -bail
