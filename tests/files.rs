//! `files` lists every file of a lake as it is: a loader can trust its paths, rows and versions.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;

use common::convlake::Convlake;
use common::receipts::written;
use common::simulate::Simulate;
use common::{TABLES, duckdb};
use serde_json::Value;

const COLUMNS: &str = "table,date,path,rows,bytes,version,state,source,covers_from,covers_to,fetched_at";

#[test]
fn every_file_is_listed_as_it_is() {
    let simulate = Simulate::with(6, &["--now", "2025-06-01T00:00:00Z", "--rate-limit", "0", "--latency", "0"]);
    let convlake = Convlake::of(&simulate);
    convlake.export("query", "2025-03-01", "2025-03-02T12:00:00Z", &["--rate-limit", "100000"]);
    let lake = convlake.lake();

    // Named by a path that only holds where the command runs.
    let listed = convlake.succeed(["files", "lake"]).stdout;
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let paths: BTreeSet<_> = lines.iter().map(|line| line["path"].as_str().unwrap().into()).collect();
    assert_eq!(paths, written(&lake).into_keys().collect::<BTreeSet<_>>());
    assert_eq!(lines.len(), 2 * TABLES.len());
    for line in &lines {
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.join(","), COLUMNS);
        let path = line["path"].as_str().unwrap();
        assert_eq!(line["bytes"], std::fs::metadata(path).unwrap().len());
        let half = line["date"] == "2025-03-02";
        assert_eq!(line["state"], if half { "partial" } else { "provisional" });
        assert_eq!(line["covers_to"], if half { "2025-03-02T12:00:00Z" } else { "2025-03-02T00:00:00Z" });
        assert_eq!(line["source"], "query");
    }
    let of_sessions = |line: &&Value| line["table"] == "sessions";
    for line in lines.iter().filter(of_sessions) {
        let path = line["path"].as_str().unwrap();
        let rows = &duckdb(&format!("SELECT count(*) AS rows FROM '{path}'"))[0]["rows"];
        assert_eq!(&line["rows"], rows);
        let footer =
            format!("SELECT value::VARCHAR AS value FROM parquet_kv_metadata('{path}') WHERE key = 'convlake.uuid'");
        assert_eq!(line["version"], duckdb(&footer)[0]["value"]);
    }

    let sessions = convlake.succeed(["files", "lake", "--table", "sessions", "--format", "csv"]).stdout;
    let read = duckdb(&format!("FROM read_csv('{}', header = true)", save(&convlake, &sessions)));
    assert_eq!(sessions.lines().next(), Some(COLUMNS));
    let versions =
        |lines: &mut dyn Iterator<Item = &Value>| -> Vec<Value> { lines.map(|line| line["version"].clone()).collect() };
    assert_eq!(versions(&mut read.iter()), versions(&mut lines.iter().filter(of_sessions)));

    let unknown = convlake.run(["files", "lake", "--table", "session"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("participants, "), "{unknown:?}");
}

fn save(convlake: &Convlake, text: &str) -> String {
    let path = convlake.path("files.csv");
    common::write(&path, text);
    path.to_str().unwrap().to_owned()
}
