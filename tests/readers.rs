//! What others read in a lake is what the source has: DuckDB through S3, Spark from a folder.

#![cfg(test)]
#![cfg(unix)]

mod common;
#[path = "common/servers/mod.rs"]
mod servers;

use std::collections::BTreeMap;
use std::process::Command;

use common::convlake::Convlake;
use common::oracle::Oracle;
use common::simulate::Simulate;
use common::{TABLES, isolate, parts, succeed, tests_dir, write};
use serde::Deserialize;
use servers::{Kind, Place};

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-04";

/// So many conversations a day that every table has rows on every day.
fn simulate() -> Simulate {
    Simulate::with(60, &["--now", "2025-06-01T00:00:00Z", "--rate-limit", "0"])
}

#[test]
fn duckdb_reads_a_lake_in_s3() {
    let simulate = simulate();
    let oracle = Oracle::expand(&simulate.fetch("jobs", FROM, TO), FROM, TO);
    let place = Place::new(Kind::SeaweedFs);
    let convlake = Convlake::of(&simulate).with(place.env());
    convlake.succeed(["export", "--from", FROM, "--to", TO, "--protocol", "jobs", "--out", &place.out]);

    let env = place.env();
    let extension = parts::find(parts::readers(), "httpfs.duckdb_extension");
    let setup = convlake.path("s3.sql");
    let [endpoint, region, id, secret] =
        ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| &env[name]);
    let host = endpoint.trim_start_matches("http://");
    write(
        &setup,
        &format!(
            "LOAD '{}'; SET s3_endpoint = '{host}'; SET s3_url_style = 'path'; SET s3_use_ssl = false; \
             SET s3_region = '{region}'; SET s3_access_key_id = '{id}'; SET s3_secret_access_key = '{secret}';",
            extension.display()
        ),
    );
    let comparison = oracle.compare_through(place.out.as_ref(), &setup);
    comparison.assert_equal();
    assert!(TABLES.iter().all(|table| comparison.rows[*table] > 0), "{:?}", comparison.rows);
}

/// What Spark saw in a table.
#[derive(Deserialize)]
struct Seen {
    /// The type of its partitions.
    date: String,
    /// Rows by day.
    rows: BTreeMap<String, u64>,
}

#[test]
fn spark_reads_a_lake_in_a_folder() {
    let simulate = simulate();
    let oracle = Oracle::expand(&simulate.fetch("jobs", FROM, TO), FROM, TO);
    let convlake = Convlake::of(&simulate);
    convlake.export("jobs", FROM, TO, &[]);
    let expected = oracle.assert_equal(&convlake.lake());

    let copy = convlake.path("copy");
    let mut spark = Command::new(parts::readers().join("bin/python"));
    isolate(&mut spark).env("SPARK_LOCAL_IP", "127.0.0.1").env("SPARK_LOCAL_HOSTNAME", "localhost");
    spark.current_dir(convlake.path("")).arg("-B").arg(tests_dir("readers/spark.py"));
    let output = succeed(spark.arg(convlake.lake()).arg(&copy).args(TABLES));
    let seen: BTreeMap<String, Seen> = serde_json::from_slice(&output.stdout).expect("JSON");
    for (name, table) in &seen {
        assert_eq!(table.date, "date", "{name}");
        assert_eq!(table.rows.values().sum::<u64>(), expected.rows[name], "{name}");
    }
    // Every value that Spark read, as it wrote it again.
    oracle.assert_equal(&copy);
}
