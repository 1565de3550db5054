//! Ids have names: what conversations refer to is in the dimensions' snapshots, day by day, and in nobody's way.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::convlake::Convlake;
use common::org::Org;
use common::receipts::{contents, records, states, written};
use common::simulate::Simulate;
use common::through::settings;
use common::{duckdb, table, write};
use convlake::api::Api;
use convlake::api::transport::{Request, Response, Transport, TransportError};
use convlake::error::Kind;
use convlake::export::{self, DayOutcome, DimensionsReport, DimensionsRequest};
use convlake::lake::{Dataset, Lake};
use convlake::simulator::{Endpoint, Faults, Rules, SimulatorSettings, WorldSettings};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-03";
const DIMENSIONS: [&str; 7] = ["queues", "users", "wrap_up_codes", "skills", "divisions", "flows", "teams"];

/// Every column of conversations that holds ids of a dimension, and the ids that are words of the system's own.
const REFERENCES: [(&str, &str, &str); 16] = [
    ("segments", "queue_id", "queues"),
    ("sessions", "queue_id", "queues"),
    ("evaluations", "queue_id", "queues"),
    ("participants", "user_id", "users"),
    ("sessions", "user_id", "users"),
    ("sessions", "selected_agent_id", "users"),
    ("evaluations", "evaluator_id", "users"),
    ("proposed_agents", "proposed_agent_id", "users"),
    ("segments", "unnest(requested_routing_user_ids)", "users"),
    ("segments", "wrap_up_code", "wrap_up_codes"),
    ("sessions", "unnest(active_skill_ids)", "skills"),
    ("segments", "unnest(requested_routing_skill_ids)", "skills"),
    ("conversations", "unnest(division_ids)", "divisions"),
    ("sessions", "flow_id", "flows"),
    ("participants", "team_id", "teams"),
    ("users", "division_id", "divisions"),
];

fn stdout(run: &common::convlake::Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

fn count(sql: &str) -> u64 {
    duckdb(sql)[0]["n"].as_u64().unwrap()
}

/// Conversation ledger and files, which no dimension may touch.
fn conversations(lake: &Path) -> impl PartialEq + std::fmt::Debug + use<> {
    (contents(lake), states(lake), records(lake))
}

#[test]
fn every_id_of_a_conversation_has_a_name() {
    let simulate = Simulate::start(150);
    let convlake = Convlake::of(&simulate);
    convlake.export("jobs", FROM, TO, &[]);
    let lake = convlake.lake();
    let before = conversations(&lake);

    let said = stdout(&convlake.succeed(["dimensions", "--out", "lake", "--date", FROM, "--report", "report.json"]));
    assert_eq!(said["dimensions"]["published"], json!(DIMENSIONS));
    assert_eq!((&said["exit"], &said["date"], &said["rows"]["users"]), (&json!(0), &json!(FROM), &json!(60)));
    let report: Value = serde_json::from_str(&common::read(&convlake.path("report.json"))).unwrap();
    assert_eq!((&report["run"], &report["unknown"]["queues.mediaSettings"]), (&said["run"], &json!(12)));

    for (child, column, parent) in REFERENCES {
        let ids = format!("(SELECT DISTINCT {column} AS id FROM {}) WHERE id NOT LIKE 'ININ-%'", table(&lake, child));
        assert!(count(&format!("SELECT count(*) AS n FROM {ids}")) > 0, "{child}.{column} is never filled");
        let named = format!("SELECT id FROM {} WHERE name <> ''", table(&lake, parent));
        let nameless = count(&format!("SELECT count(*) AS n FROM {ids} AND id NOT IN ({named})"));
        assert_eq!(nameless, 0, "{child}.{column} has ids that {parent} does not name");
    }
    for name in DIMENSIONS {
        let (rows, ids) = ("count(*)", "count(DISTINCT id)");
        let found =
            duckdb(&format!("SELECT {rows} AS rows, {ids} AS ids, count(date) AS days FROM {}", table(&lake, name)));
        assert_eq!(found, [json!({"rows": said["rows"][name], "ids": said["rows"][name], "days": said["rows"][name]})]);
        assert!(lake.join(format!("{name}/date={FROM}/{name}.parquet")).is_file());
    }
    // The README's question, and former users in the answer to another.
    let handled = duckdb(&format!(
        "SELECT q.name AS queue, u.name AS agent, count(*) AS sessions FROM {} AS s JOIN {} AS q ON q.id = s.queue_id \
         JOIN {} AS u ON u.id = s.user_id WHERE s.t_handle_ms > 0 GROUP BY ALL ORDER BY sessions DESC",
        table(&lake, "sessions"),
        table(&lake, "queues"),
        table(&lake, "users"),
    ));
    let sessions: u64 = handled.iter().map(|row| row["sessions"].as_u64().unwrap()).sum();
    let all = format!(
        "SELECT count(*) AS n FROM {} WHERE t_handle_ms > 0 AND user_id IS NOT NULL AND queue_id IS NOT NULL",
        table(&lake, "sessions")
    );
    assert!(handled.len() > 50 && sessions == count(&all), "{sessions} sessions");
    let former = format!("SELECT count(*) AS n FROM {} WHERE state <> 'active'", table(&lake, "users"));
    assert!(count(&former) > 0);

    assert_eq!(conversations(&lake), before, "snapshots are no days of conversations");
    let files = written(&lake);
    let again = stdout(&convlake.succeed(["dimensions", "--out", "lake", "--date", FROM]));
    assert_eq!(again["dimensions"]["unchanged"], json!(DIMENSIONS));
    assert_eq!(written(&lake), files, "what has not changed is not written again");
    convlake.succeed(["dimensions", "--out", "lake", "--only", "teams,queues"]);
    let days = |name: &str| std::fs::read_dir(lake.join(name)).unwrap().count();
    assert_eq!(DIMENSIONS.map(days), [2, 1, 1, 1, 1, 1, 2]);
    convlake.export("jobs", FROM, TO, &[]);
    convlake.succeed(["verify", "lake"]);
    let files = convlake.succeed(["files", "lake", "--table", "queues"]).stdout;
    assert_eq!(files.matches("/queues.parquet").count(), 2, "{files}");
}

#[test]
fn what_the_client_may_not_read_holds_up_nothing_else() {
    let forbidden = |endpoints: &[&str]| {
        let entry = |endpoint: &&str| json!({"endpoint": endpoint, "action": "forbidden"});
        json!({"script": endpoints.iter().map(entry).collect::<Vec<_>>()}).to_string()
    };
    for (endpoints, code) in [
        (&["teams", "wrapupcodes"][..], 3),
        (&["queues", "users", "wrapupcodes", "skills", "divisions", "flows", "teams"], 77),
    ] {
        let faults = tempfile::tempdir().unwrap();
        let script = faults.path().join("faults.json");
        write(&script, &forbidden(endpoints));
        let simulate = Simulate::with(2, &["--faults", script.to_str().unwrap()]);
        let convlake = Convlake::of(&simulate);
        convlake.export("query", FROM, TO, &[]);
        let run = convlake.run(["dimensions", "--out", "lake", "--report", "report.json"]);
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        let said = stdout(&run);
        let failed = said["dimensions"]["failed"].as_array().unwrap().len();
        assert_eq!((failed, said["exit"].as_i64()), (endpoints.len(), Some(code.into())));
        assert_eq!(said["dimensions"]["published"].as_array().unwrap().len(), 7 - failed);
        assert!(run.stderr.contains("hint: give the client's role groups > team > view"), "{}", run.stderr);
        let report: Value = serde_json::from_str(&common::read(&convlake.path("report.json"))).unwrap();
        let teams = &report["dimensions"][6];
        assert_eq!((&teams["table"], &teams["outcome"]), (&json!("teams"), &json!("failed")));
        assert!(teams["reason"].as_str().unwrap().starts_with("teams: page 1: the API answered 403"), "{teams}");
    }
}

#[test]
fn a_sync_takes_the_snapshots_that_the_day_does_not_have_yet() {
    let faults = tempfile::tempdir().unwrap();
    let script = faults.path().join("faults.json");
    write(&script, &json!({"script": [{"endpoint": "teams", "action": "forbidden", "first": 1}]}).to_string());
    let simulate = Simulate::with(2, &["--faults", script.to_str().unwrap()]);
    let convlake = Convlake::of(&simulate);
    let sync = || {
        let run = convlake.run(["sync", "--out", "lake", "--from", "-2d", "--dimensions", "--report", "report.json"]);
        let report: Value = serde_json::from_str(&common::read(&convlake.path("report.json"))).unwrap();
        let taken = report["dimensions"].as_array().into_iter().flatten();
        let taken: BTreeMap<String, String> = taken
            .map(|d| (d["table"].as_str().unwrap().to_owned(), d["outcome"].as_str().unwrap().to_owned()))
            .collect();
        (run.code, taken)
    };
    let (code, taken) = sync();
    assert_eq!((code, taken.len()), (Some(3), 7), "a list that failed makes the run partial");
    assert_eq!(
        taken.iter().filter(|(_, outcome)| *outcome == "failed").map(|(t, _)| t.as_str()).collect::<Vec<_>>(),
        ["teams"]
    );
    assert_eq!(
        sync(),
        (Some(0), BTreeMap::from([("teams".to_owned(), "published".to_owned())])),
        "only what was missing"
    );
    assert_eq!(sync(), (Some(0), BTreeMap::new()), "once a day");
    convlake.succeed(["verify", "lake"]);
    let run = convlake.run(["sync", "--out", "other", "--protocol", "cursor", "--dimensions"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

#[test]
fn what_cannot_be_is_refused_before_the_first_call() {
    let simulate = Simulate::start(2);
    let convlake = Convlake::of(&simulate);
    let refused = |args: &[&str]| {
        let run = convlake.run(["dimensions", "--out", "lake"].iter().chain(args));
        (run.code, run.stderr)
    };
    let (code, said) = refused(&[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("is not a lake"), "{said}");
    convlake.export("query", FROM, TO, &[]);
    for (args, word) in [
        (&["--only", "queue"][..], "`queues`"),
        (&["--only", "sessions"], "there is no table `sessions`"),
        (&["--date", "2999-01-01"], "in the future"),
        (&["--date", "yesterday"], "yesterday"),
    ] {
        let (code, said) = refused(args);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
    let (code, said) = refused(&["--base-url", "http://localhost:1"]);
    assert_eq!(code, Some(78), "another source: {said}");
}

#[test]
fn what_the_lake_leaves_out_is_left_out_of_snapshots() {
    let simulate = Simulate::start(2);
    let convlake = Convlake::of(&simulate);
    let excluded = ["--exclude-column", "users.email,users.extra,sessions.ani"];
    let report =
        convlake.run(["export", "--from", FROM, "--to", TO, "--out", "lake", "--exclude-column", "users.mail"]);
    assert_eq!(report.code, Some(2), "{}", report.stderr);
    convlake.export("query", FROM, TO, &excluded);
    convlake.succeed(["dimensions", "--out", "lake", "--only", "users"]);
    let columns = duckdb(&format!("DESCRIBE SELECT * FROM {}", table(&convlake.lake(), "users")));
    let columns: BTreeSet<&str> = columns.iter().map(|column| column["column_name"].as_str().unwrap()).collect();
    assert!(columns.contains("username") && !columns.contains("email") && !columns.contains("extra"), "{columns:?}");
}

#[test]
fn the_schema_command_documents_every_dimension() {
    let tables: Value = stdout(&Convlake::new().succeed(["schema", "--format", "json"]));
    let names: Vec<&str> = tables.as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    assert_eq!(names[15..], DIMENSIONS);
    let users = Convlake::new().succeed(["schema", "users", "--format", "sql"]).stdout;
    assert!(users.contains("CREATE TABLE users (\n  id STRING NOT NULL, -- The user."), "{users}");
}

/// A snapshot over the wire that the simulator is, in virtual time.
async fn snapshot(org: &Org, lake: &Path, only: &[&str], day: &str) -> DimensionsReport {
    let api = Api::new(settings(&org.simulator), org.simulator.transport(), org.clock);
    let lake = Lake::open_existing(lake).unwrap();
    let only = only.iter().map(ToString::to_string).collect();
    let request = DimensionsRequest { lake: "lake".to_owned(), day: day.parse().unwrap(), only };
    export::dimensions(request, &api, &lake, org.clock, std::future::pending()).await
}

fn outcomes(report: &DimensionsReport) -> BTreeMap<&str, DayOutcome> {
    report.dimensions.iter().map(|dimension| (dimension.table, dimension.outcome)).collect()
}

/// The content of a snapshot by its receipt.
fn content(org: &Org, dataset: Dataset, day: &str) -> String {
    let ledger = Lake::open_existing(&org.lake()).unwrap().ledger_of(dataset).unwrap();
    ledger.receipt(day.parse().unwrap()).unwrap().files[0].content.clone()
}

fn world(seed: u64) -> SimulatorSettings {
    let world = WorldSettings { seed, conversations_per_day: 2, ..WorldSettings::default() };
    SimulatorSettings { world, ..SimulatorSettings::default() }
}

#[tokio::test(start_paused = true)]
async fn small_pages_and_transient_faults_change_nothing() {
    let org = Org::new(world(7), "2025-06-01");
    org.export("query", FROM, TO).await;
    let plain = snapshot(&org, &org.lake(), &[], "2025-06-01").await;
    assert_eq!((plain.exit, plain.calls), (0, 9), "{plain:#?}");
    let of_all = |day: &str| DIMENSIONS.map(|name| content(&org, Dataset::of_dimension(name).unwrap(), day));

    let rules = Rules { list_page_size_max: 4, ..Rules::default() };
    let faults = Faults::parse(
        r#"{"script": [
            {"endpoint": "users", "page": 3, "first": 2, "action": {"status": {"code": 503}}},
            {"endpoint": "queues", "page": 1, "first": 1, "action": "bare"},
            {"endpoint": "flows", "page": 2, "first": 1, "action": "reset_in_body"},
            {"endpoint": "teams", "page": 2, "first": 1, "action": {"rate_limited": {"retry_after": {"seconds": 3}}}}
        ]}"#,
    )
    .unwrap();
    let small = org.turned_into(SimulatorSettings { rules, faults, ..world(7) });
    let report = snapshot(&small, &org.lake(), &[], "2025-06-02").await;
    assert_eq!((report.exit, report.retries), (0, 5), "{report:#?}");
    assert_eq!(small.simulator.counts().of(Endpoint::Queues), 4);
    assert_eq!(of_all("2025-06-02"), of_all("2025-06-01"));
}

#[tokio::test(start_paused = true)]
async fn of_two_snapshots_of_a_day_the_one_that_was_asked_for_later_stays_whatever_the_clocks_say() {
    let org = Org::new(world(7), "2025-06-01");
    org.export("query", FROM, TO).await;
    let first = snapshot(&org, &org.lake(), &["users", "skills"], "2025-06-01").await;
    assert_eq!(outcomes(&first), [("skills", DayOutcome::Published), ("users", DayOutcome::Published)].into());
    let (users, skills) = (content(&org, Dataset::Users, "2025-06-01"), content(&org, Dataset::Skills, "2025-06-01"));

    // Users leave, skills stay.
    tokio::time::advance(Duration::from_secs(400 * 86_400)).await;
    let second = snapshot(&org, &org.lake(), &["users", "skills"], "2025-06-01").await;
    assert_eq!(outcomes(&second), [("skills", DayOutcome::Unchanged), ("users", DayOutcome::Published)].into());
    let newest = content(&org, Dataset::Users, "2025-06-01");
    assert_ne!(newest, users);
    assert_eq!(content(&org, Dataset::Skills, "2025-06-01"), skills);

    // Source and machine say that it is a year earlier. The run asks afterwards all the same.
    let behind = Org::new(world(7), "2025-07-01");
    let third = snapshot(&behind, &org.lake(), &["users"], "2025-06-01").await;
    assert_eq!((third.exit, outcomes(&third)["users"]), (0, DayOutcome::Published), "{third:#?}");
    assert_ne!(content(&org, Dataset::Users, "2025-06-01"), newest);

    let other = snapshot(&Org::new(world(8), "2027-01-01"), &org.lake(), &["users"], "2025-06-01").await;
    assert_eq!((other.exit, other.dimensions.len()), (78, 0), "another organisation has other names: {other:#?}");
}

/// The simulator behind something that takes the ids out of some entities.
struct Spoiling {
    simulator: Arc<dyn Transport>,
    /// Entities of a page that lose their ids, by what the path holds.
    spoilt: [(&'static str, usize); 2],
}

impl Transport for Spoiling {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let path = request.uri().path().to_owned();
        let count = self.spoilt.iter().find(|(list, _)| path.ends_with(list)).map_or(0, |(_, count)| *count);
        let answer = self.simulator.send(request);
        let spoil = move |response: Response| {
            response.map(|body| match serde_json::from_slice::<Value>(&body) {
                Ok(mut page) if count > 0 => {
                    for entity in page["entities"].as_array_mut().unwrap().iter_mut().take(count) {
                        entity.as_object_mut().unwrap().remove("id");
                    }
                    page.to_string().into()
                }
                _ => body,
            })
        };
        async move { answer.await.map(spoil) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn entities_that_cannot_be_read_are_set_aside_unless_they_are_most() {
    let org = Org::new(world(7), "2025-06-01");
    org.export("query", FROM, TO).await;
    let lake = Lake::open_existing(&org.lake()).unwrap();
    let spoilt = [("/teams", 2), ("/users", 60)];
    let transport = Spoiling { simulator: org.simulator.transport(), spoilt };
    let api = Api::new(settings(&org.simulator), Arc::new(transport), org.clock);
    let only = ["queues", "users", "teams"].map(str::to_owned).to_vec();
    let request = DimensionsRequest { lake: String::new(), day: "2025-06-01".parse().unwrap(), only };
    let report = export::dimensions(request, &api, &lake, org.clock, std::future::pending()).await;

    let found: Vec<_> = report.dimensions.iter().map(|d| (d.table, d.outcome, d.rows, d.quarantined)).collect();
    let (published, failed) = (DayOutcome::Published, DayOutcome::Failed);
    assert_eq!(found, [("queues", published, 12, 0), ("users", failed, 0, 0), ("teams", published, 3, 2)]);
    assert_eq!((report.exit, report.errors[0].exit), (3, 65), "{report:#?}");
    let kept = common::org::files(&org.lake().join("_convlake/quarantine"));
    let lines = kept.values().map(|text| String::from_utf8_lossy(text).lines().count());
    assert_eq!(lines.collect::<Vec<_>>(), [60, 2], "one file each, numbered through");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_or_out_of_calls_keeps_what_it_has() {
    let org = Org::new(world(7), "2025-06-01");
    org.export("query", FROM, TO).await;
    let lake = Lake::open_existing(&org.lake()).unwrap();
    let request = || DimensionsRequest { lake: String::new(), day: "2025-06-01".parse().unwrap(), only: Vec::new() };
    let api = |max_calls| {
        let settings = convlake::api::ApiSettings { max_calls, ..settings(&org.simulator) };
        Api::new(settings, org.simulator.transport(), org.clock)
    };
    let stopped = async { convlake::error::Error::new(Kind::Terminated, "stop") };
    let report = export::dimensions(request(), &api(None), &lake, org.clock, stopped).await;
    assert_eq!((report.exit, report.calls), (143, 0));
    let report = export::dimensions(request(), &api(Some(5)), &lake, org.clock, std::future::pending()).await;
    assert_eq!(report.exit, 75, "{report:#?}");
    assert_eq!(outcomes(&report).into_values().collect::<Vec<_>>(), [DayOutcome::Published; 3]);
}
