"""Reads every table of a lake with Spark, and writes what it read as another lake.

    spark.py LAKE COPY TABLE…

Prints one JSON object: for each table the type that Spark sees in `date`, and the rows of each day, asked for by a
filter on the partition.
"""

import json
import sys

from pyspark.sql import DataFrame, SparkSession

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}


def describe(table: DataFrame) -> dict:
    days = [row.date for row in table.select("date").distinct().collect()]
    rows = {str(day): table.where(f"date = '{day}'").count() for day in days}
    return {"date": dict(table.dtypes)["date"], "rows": rows}


def main(lake: str, copy: str, tables: list[str]) -> None:
    builder = SparkSession.builder.master("local[2]").appName("readers")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    seen = {}
    for name in tables:
        table = spark.read.parquet(f"{lake}/{name}").cache()
        seen[name] = describe(table)
        table.coalesce(1).write.partitionBy("date").parquet(f"{copy}/{name}")
        table.unpersist()
    spark.stop()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
