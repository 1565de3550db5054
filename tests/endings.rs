//! How runs end that cannot do their work: the exit code, what is said, the report, and that the source was left alone.

#![cfg(test)]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Output;

use common::convlake::Convlake;
use common::org::files;
use common::receipts::ledger;
use common::simulate::{BASE_URL, CLIENT_SECRET, Simulate};
use common::{read, write};
use serde_json::Value;

const RANGE: [&str; 5] = ["export", "--from", "2025-03-01", "--to", "2025-03-03"];

fn simulate() -> Simulate {
    Simulate::with(5, &["--now", "2025-06-01T00:00:00Z"])
}

/// A source that can only be connected to, and knows whether it was.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Silent(listener)
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.0.local_addr().unwrap().port())
    }

    fn assert_untouched(&self) {
        assert_eq!(self.0.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the source was called");
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The report of a run that failed with `code`.
fn failure(convlake: &Convlake, code: u8) -> Value {
    let report: Value = serde_json::from_str(&read(&convlake.path("report.json"))).unwrap();
    assert_eq!(report["totals"]["exit"], code, "{report}");
    assert_eq!(report["errors"][0]["exit"], code, "{report}");
    assert!(!report["errors"][0]["message"].as_str().unwrap().is_empty());
    assert!(report["finished_at"].is_string() && report["range"]["from"].is_string(), "{report}");
    report
}

#[test]
fn another_selection_family_or_source_is_refused_before_the_first_call() {
    let simulate = simulate();
    let silent = Silent::new();
    let queue = "0b3a4b5c-0000-4000-8000-000000000001";
    let other_host = silent.url("localhost");
    // What made the lake, what comes after it, and what the refusal names.
    let cases: [(&[&str], &[&str], &[&str]); 8] = [
        (&["--protocol", "query"], &["--protocol", "query", "--queue", queue], &["filters", "`null`", queue]),
        (&["--protocol", "query", "--queue", queue], &["--protocol", "query"], &["filters", "`null`", queue]),
        (&["--protocol", "query"], &["--protocol", "page"], &["family", "genesys", "page"]),
        (&["--protocol", "cursor"], &["--protocol", "jobs"], &["family", "cursor", "genesys"]),
        (&["--protocol", "query"], &["--protocol", "query", "--tables", "sessions"], &["tables", "null", "sessions"]),
        (
            &["--protocol", "query"],
            &["--protocol", "query", "--exclude-column", "sessions.ani"],
            &["excluded columns", "[]", "sessions.ani"],
        ),
        (
            &["--protocol", "page"],
            &["--protocol", "page", "--metrics", "talkRate"],
            &["metrics", "offerRate", "[\"talkRate\"]"],
        ),
        (
            &["--protocol", "query"],
            &["--protocol", "query", "--base-url", &other_host],
            &["source", "127.0.0.1", "localhost"],
        ),
    ];
    for (made, again, named) in cases {
        let convlake = Convlake::of(&simulate);
        let out = ["--out", "lake", "--report", "report.json"];
        convlake.succeed([&RANGE[..], made, &out].concat());
        let before = files(&convlake.lake());
        let mut command = convlake.command([&RANGE[..], again, &out].concat());
        let refused = command.env(BASE_URL, silent.url("127.0.0.1")).output().unwrap();
        assert_eq!(code(&refused), Some(78), "{again:?}: {}", stderr(&refused));
        let said = stderr(&refused);
        assert!(named.iter().all(|name| said.contains(name)), "{named:?} in {said}");
        assert!(said.contains("a lake of its own"), "{said}");
        silent.assert_untouched();
        assert_eq!(files(&convlake.lake()), before);
        // Not the report of the run before it, which went well.
        failure(&convlake, 78);
    }
}

#[test]
fn a_folder_that_is_not_a_lake_is_refused_and_left_as_it_is() {
    let silent = Silent::new();
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    write(&convlake.path("documents/letter.txt"), "dear");
    let args = [&RANGE[..], &["--out", "documents", "--report", "report.json"]].concat();
    let refused = convlake.command(args).env(BASE_URL, silent.url("127.0.0.1")).output().unwrap();
    assert_eq!(code(&refused), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("`letter.txt`"), "{}", stderr(&refused));
    silent.assert_untouched();
    failure(&convlake, 78);
    assert_eq!(fs::read_dir(convlake.path("documents")).unwrap().count(), 1);
}

#[test]
fn a_lake_that_cannot_be_written_is_found_before_the_first_call() {
    let silent = Silent::new();
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    write(&convlake.path("file"), "not a folder");
    let mut places = vec!["file", "file/lake"];
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(convlake.path("read-only")).unwrap();
        fs::set_permissions(convlake.path("read-only"), fs::Permissions::from_mode(0o555)).unwrap();
        // Modes mean nothing to root.
        if fs::write(convlake.path("read-only/probe"), "").is_err() {
            places.push("read-only");
        }
    }
    for place in places {
        let args = [&RANGE[..], &["--out", place, "--report", "report.json"]].concat();
        let failed = convlake.command(args).env(BASE_URL, silent.url("127.0.0.1")).output().unwrap();
        assert_eq!(code(&failed), Some(74), "{place}: {}", stderr(&failed));
        silent.assert_untouched();
        failure(&convlake, 74);
        fs::remove_file(convlake.path("report.json")).unwrap();
    }
}

#[test]
fn missing_credentials_are_in_the_report_too() {
    let silent = Silent::new();
    let convlake = Convlake::new();
    let args = [&RANGE[..], &["--out", "lake", "--report", "report.json"]].concat();
    let refused = convlake.command(args).env(BASE_URL, silent.url("127.0.0.1")).output().unwrap();
    assert_eq!(code(&refused), Some(78), "{}", stderr(&refused));
    failure(&convlake, 78);
    assert!(!convlake.lake().exists(), "nothing was made");
}

#[test]
fn a_wrong_secret_ends_with_77_and_a_report() {
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    let args = [&RANGE[..], &["--out", "lake", "--report", "report.json"]].concat();
    let refused = convlake.command(args).env(CLIENT_SECRET, "wrong-secret-wrong-secret").output().unwrap();
    assert_eq!(code(&refused), Some(77), "{}", stderr(&refused));
    let report = failure(&convlake, 77);
    assert_eq!(report["totals"]["calls"], 0, "no call for conversations");
    let told = format!("{report}{}{}", stderr(&refused), String::from_utf8_lossy(&refused.stdout));
    assert!(!told.contains("wrong-secret"), "{told}");
    assert!(!convlake.lake().join("_convlake/lake.json").exists());
    // What it did not do has no figures: the error and what to do are all that follows the announcement.
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "");
    assert!(
        !stderr(&refused).contains("0 conversations") && !stderr(&refused).contains(" in 0"),
        "{}",
        stderr(&refused)
    );
    let last: Vec<String> = stderr(&refused).lines().rev().take(2).map(str::to_owned).collect();
    assert!(last[0].starts_with("hint: ") && last[1].starts_with("error: "), "{}", stderr(&refused));
}

/// The first minutes of somebody new: nothing that went wrong keeps the call that is right from being made.
#[test]
fn what_a_failed_first_run_said_binds_no_later_one() {
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    let nowhere = Silent::new().url("localhost");
    let export = |more: &[&str]| convlake.command([&RANGE[..], &["--out", "lake", "--retry-for", "1s"], more].concat());
    let queue = "0b3a4b5c-0000-4000-8000-000000000001";
    let failed: [(_, &[&str], &str, &str); 4] = [
        (69, &["--protocol", "jobs"], BASE_URL, &nowhere),
        (77, &["--protocol", "query", "--queue", queue], CLIENT_SECRET, "wrong-secret-wrong-secret"),
        (75, &["--protocol", "page", "--max-calls", "0"], "NO_COLOR", "1"),
        (78, &["--protocol", "query", "--tables", "sessions"], CLIENT_SECRET, ""),
    ];
    for (wanted, args, variable, value) in failed {
        let output = export(args).env(variable, value).output().unwrap();
        assert_eq!(code(&output), Some(wanted), "{args:?}: {}", stderr(&output));
        assert!(!convlake.lake().join("_convlake/lake.json").exists(), "{args:?}");
        let status = convlake.run(["status", "lake"]);
        assert_eq!(status.code, Some(78), "{}", status.stderr);
    }
    // Neither does what cannot be read: it is kept for whoever wants to look at it.
    write(&convlake.path("pages.json"), &format!("[{}]", [r#"{"conversationId":"x"}"#; 12].join(",")));
    let unreadable = convlake.run(["convert", "pages.json", "--out", "lake"]);
    assert_eq!(unreadable.code, Some(65), "{}", unreadable.stderr);
    let kept: Vec<_> = files(&convlake.lake().join("_convlake/quarantine")).into_values().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(String::from_utf8_lossy(&kept[0]).matches("conversationId").count(), 12);
    assert!(!convlake.lake().join("_convlake/lake.json").exists());

    assert!(export(&["--protocol", "query"]).output().unwrap().status.success());
    assert_eq!(ledger(&convlake.lake()).days().count(), 2);
    convlake.succeed(["verify", "lake"]);
    let other = export(&["--protocol", "query", "--queue", queue]).output().unwrap();
    assert_eq!(code(&other), Some(78), "now it is bound: {}", stderr(&other));
}

#[test]
fn a_call_budget_ends_with_75_and_keeps_what_was_published() {
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    // Three slices of 7 days, two calls each, one slice at a time.
    let range = ["export", "--from", "2025-03-01", "--to", "2025-03-22", "--protocol", "query", "--concurrency", "1"];
    let args = [&range[..], &["--out", "lake", "--report", "report.json"]].concat();
    let spent = convlake.run([&args[..], &["--max-calls", "3"]].concat());
    assert_eq!(spent.code, Some(75), "{}", spent.stderr);
    assert_eq!(failure(&convlake, 75)["totals"]["calls"], 3);
    assert_eq!(ledger(&convlake.lake()).days().count(), 7);
    convlake.succeed(args);
    assert_eq!(ledger(&convlake.lake()).days().count(), 21);
}

#[test]
fn a_source_that_cannot_be_reached_ends_with_69_and_a_report() {
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    // Bound and let go: nobody listens there any more.
    let nowhere = Silent::new().url("127.0.0.1");
    let args = [&RANGE[..], &["--out", "lake", "--report", "report.json", "--retry-for", "1s"]].concat();
    let failed = convlake.command(args).env(BASE_URL, nowhere).output().unwrap();
    assert_eq!(code(&failed), Some(69), "{}", stderr(&failed));
    failure(&convlake, 69);
    assert!(!convlake.lake().join("_convlake/lake.json").exists());
}

#[test]
fn a_range_without_conversations_is_success_and_says_what_to_check() {
    let simulate = simulate();
    let convlake = Convlake::of(&simulate);
    // The simulated world begins in 2020.
    for protocol in ["auto", "query", "cursor", "page"] {
        let lake = convlake.path(protocol);
        let range = ["export", "--from", "2019-03-01", "--to", "2019-03-03", "--protocol", protocol];
        let run = convlake.succeed([&range[..], &["--out", lake.to_str().unwrap()]].concat());
        let said = "no conversations between 2019-03-01T00:00:00Z and 2019-03-03T00:00:00Z: check the range";
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert!(run.stderr.contains("filters") && run.stderr.contains("role"), "{}", run.stderr);
        let states: Vec<_> = ledger(&lake).days().map(|(_, entry)| entry.state().unwrap().name()).collect();
        assert_eq!(states, ["empty", "empty"], "{protocol}");
    }
}
