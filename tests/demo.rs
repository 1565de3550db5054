//! The first command a stranger types, twice, and the line that it prints.

#![cfg(test)]

mod common;

use common::convlake::Convlake;
use common::{duckdb, read, tests_dir};

#[test]
fn the_demo_fills_a_lake_and_a_second_one_rewrites_nothing() {
    let convlake = Convlake::new();
    let report = |name: &str| {
        let run = convlake.succeed(["demo", "--report", name]);
        assert!(run.stdout.contains("duckdb -c"), "{}", run.stdout);
        let report: serde_json::Value = serde_json::from_str(&read(&convlake.path(name))).unwrap();
        report
    };
    let days = |report: &serde_json::Value, outcome: &str| {
        report["days"].as_array().unwrap().iter().filter(|day| day["outcome"] == outcome).count()
    };
    let first = report("first.json");
    assert_eq!((first["windows"].as_array().unwrap().len(), days(&first, "published")), (3, 90));
    assert_eq!(first["totals"]["conversations"], 90 * 250);
    assert_eq!(first["totals"]["quarantined"], 0);

    let second = report("second.json");
    assert_eq!((days(&second, "unchanged"), days(&second, "published")), (90, 0));
    assert_eq!(first["totals"]["rows"], second["totals"]["rows"]);

    let rows = duckdb(&readme_query().replace("'lake/", &format!("'{}/", convlake.lake().display())));
    assert!(rows.iter().any(|row| row["media_type"] == "voice"), "{rows:?}");
}

#[test]
fn the_demo_refuses_a_folder_that_is_not_a_demos() {
    let convlake = Convlake::new();
    let page = tests_dir("fixtures/samples/voice_inbound_2024.json");
    convlake.convert(&[page]);
    let run = convlake.run(["demo"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(run.stderr.contains("demo") && run.stderr.contains("files"), "{}", run.stderr);
}

/// The query that the README shows under the demo.
fn readme_query() -> String {
    let readme = include_str!("../README.md");
    let start = readme.find("duckdb -c \"").expect("the README reads the demo's lake") + "duckdb -c \"".len();
    let end = readme[start..].find('"').expect("a closing quote") + start;
    readme[start..end].to_owned()
}
