//! What a source says about how many there are is compared with what came: a shortage is fetched again, then published
//! as dirty and said; it never decides where a chain ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::convlake::{Convlake, Run};
use crate::common::read;
use crate::source::{Script, Source};
use crate::world::{DAY, Protocol, World, ids_in};

/// An export of the day with one client's script.
struct Export {
    source: Source,
    convlake: Convlake,
    run: Run,
}

const CLIENT: &str = "a-client";

impl Export {
    fn of(protocol: Protocol, script: Script, more: &[&str]) -> Export {
        let source = Source::of(&BTreeMap::from([(CLIENT.to_owned(), script)]));
        let convlake = source.client(CLIENT);
        let run = export(&convlake, protocol, more);
        Export { source, convlake, run }
    }

    fn report(&self) -> Value {
        serde_json::from_str(&read(&self.convlake.path("report.json"))).expect("JSON")
    }

    /// What the only window was told and what it read.
    fn told_and_read(&self) -> (Value, Value) {
        let report = self.report();
        (report["windows"][0]["told"].clone(), report["windows"][0]["read"].clone())
    }

    fn status(&self) -> Value {
        let run = self.convlake.succeed(["status", "lake", "--format", "json"]);
        serde_json::from_str(&run.stdout).expect("JSON")
    }

    fn is_dirty(&self) -> bool {
        let status = self.status();
        let listed = status["dirty"].to_string().contains(DAY[0]);
        let state = status["days"][0]["state"] == "dirty";
        assert_eq!(listed, state, "the calendar and the list disagree: {status}");
        listed
    }

    fn holds(&self, count: usize) {
        assert_eq!(self.run.code, Some(0), "{}", self.run.stderr);
        assert_eq!(ids_in(&self.convlake.lake()).len(), count, "{}", self.run.stderr);
    }

    /// Published with what there is, marked, and said at every place.
    fn is_short(&self, told: usize, read: usize) {
        self.holds(read);
        assert_eq!(self.told_and_read(), (json!(told), json!(read)), "{}", self.report());
        assert!(self.is_dirty(), "{}", self.status());
        let warning = self.run.stderr.lines().find(|line| line.contains("WARN")).unwrap_or_default();
        for part in [told.to_string(), read.to_string(), DAY[0].to_owned()] {
            assert!(warning.contains(&part), "no {part} in the warning {warning:?}\n{}", self.run.stderr);
        }
        let (_, summary) = self.run.stderr.split_once(" published").unwrap_or_default();
        assert!(summary.contains("dirty"), "not in the summary: {}", self.run.stderr);
        assert_eq!(self.times_asked_for_page(2), 2, "a shortage is fetched a second time");
    }

    fn times_asked_for_page(&self, page: usize) -> usize {
        let asks = |call: &&Value| {
            let body: Value = serde_json::from_str(call["body"].as_str().unwrap_or_default()).unwrap_or_default();
            let page = json!(page);
            body["paging"]["pageNumber"] == page
                || body["pageNumber"] == page
                || body["pageCursor"] == json!(page.to_string())
        };
        self.source.calls(CLIENT).iter().filter(asks).count()
    }
}

fn export(convlake: &Convlake, protocol: Protocol, more: &[&str]) -> Run {
    let mut args = vec!["export", "--from", DAY[0], "--to", DAY[1], "--protocol", protocol.name()];
    args.extend(["--out", "lake", "--report", "report.json", "--tables", "conversations", "--retry-for", "2m"]);
    if protocol == Protocol::Page {
        args.extend(["--page-size", "100"]);
    }
    args.extend(more);
    convlake.run(args)
}

/// A world of 250 records whose source says something else.
fn told(protocol: Protocol, told: usize) -> World {
    World { told: Some(told), ..World::new(protocol, &[100, 100, 50]) }
}

#[test]
fn a_truthful_source_is_whole() {
    for protocol in [Protocol::Query, Protocol::Cursor] {
        let export = Export::of(protocol, World::new(protocol, &[100, 100, 50]).script(), &["--strict-totals"]);
        export.holds(250);
        assert_eq!(export.told_and_read(), (json!(250), json!(250)), "{}", export.report());
        assert!(!export.is_dirty());
        assert!(!export.run.stderr.contains("WARN"), "{}", export.run.stderr);
        assert_eq!(export.times_asked_for_page(2), 1);
    }
}

#[test]
fn jobs_tell_nothing() {
    let export = Export::of(Protocol::Jobs, World::new(Protocol::Jobs, &[100, 50]).script(), &["--strict-totals"]);
    export.holds(150);
    assert_eq!(export.told_and_read(), (Value::Null, json!(150)), "{}", export.report());
    assert!(!export.is_dirty());
}

#[test]
fn a_shortage_by_query_is_published_dirty_and_said() {
    Export::of(Protocol::Query, told(Protocol::Query, 300).script(), &[]).is_short(300, 250);
}

#[test]
fn one_that_is_missing_by_query_is_a_shortage() {
    Export::of(Protocol::Query, told(Protocol::Query, 251).script(), &[]).is_short(251, 250);
}

#[test]
fn a_shortage_by_cursor_is_published_dirty_and_said() {
    Export::of(Protocol::Cursor, told(Protocol::Cursor, 300).script(), &[]).is_short(300, 250);
}

#[test]
fn a_shortage_of_pages_is_published_dirty_and_said() {
    let export = Export::of(Protocol::Page, told(Protocol::Page, 5).script(), &[]);
    export.holds(250);
    let (told, read) = export.told_and_read();
    assert!(told.as_u64() > read.as_u64(), "told {told}, read {read}: {}", export.report());
    assert!(export.is_dirty());
    assert!(export.run.stderr.contains("WARN"), "{}", export.run.stderr);
}

#[test]
fn strict_totals_refuse_a_shortage() {
    for (protocol, number) in [(Protocol::Query, 300), (Protocol::Cursor, 300), (Protocol::Page, 5)] {
        let export = Export::of(protocol, told(protocol, number).script(), &["--strict-totals"]);
        assert_eq!(export.run.code, Some(65), "{protocol:?}: {}", export.run.stderr);
        assert_eq!(ids_in(&export.convlake.lake()).len(), 0);
        assert!(export.run.stderr.contains("hint: "), "{}", export.run.stderr);
    }
}

#[test]
fn too_many_are_told_as_well() {
    for protocol in [Protocol::Query, Protocol::Cursor] {
        let export = Export::of(protocol, told(protocol, 200).script(), &[]);
        export.holds(250);
        assert_eq!(export.told_and_read(), (json!(200), json!(250)), "{}", export.report());
        let says = |line: &str| line.contains("50") && line.contains("more");
        assert!(export.run.stderr.lines().any(says), "{}", export.run.stderr);
    }
}

/// Half of a page is missing the first time; the second fetch has it.
#[test]
fn a_second_fetch_repairs_a_shortage() {
    for protocol in [Protocol::Query, Protocol::Cursor] {
        for more in [&[][..], &["--strict-totals"]] {
            let world = World::new(protocol, &[100, 100, 50]);
            let mut half = world.page(2);
            half[protocol.list()].as_array_mut().expect("records").truncate(50);
            let mut script = world.script();
            script.answers.remove("2");
            let export = Export::of(protocol, script.then(2, 200, half).then(2, 200, world.page(2)), more);
            export.holds(250);
            assert_eq!(export.told_and_read(), (json!(250), json!(250)), "{}", export.report());
            assert!(!export.is_dirty());
        }
    }
}

/// The last page is empty, and empty when it is asked for once more; the second fetch has it.
#[test]
fn a_second_fetch_repairs_a_shortage_of_pages() {
    let world = World::new(Protocol::Page, &[100, 100, 50]);
    let mut empty = world.page(3);
    empty["entities"] = json!([]);
    let mut script = world.script();
    script.answers.remove("3");
    let script = script.then(3, 200, &empty).then(3, 200, &empty).then(3, 200, world.page(3));
    let export = Export::of(Protocol::Page, script, &[]);
    export.holds(250);
    assert!(!export.is_dirty());
}

/// What counts is what came, before anything is left out of it.
#[test]
fn what_is_left_out_was_read() {
    let world = World::new(Protocol::Query, &[100, 100, 50]);
    let first = world.records(1);
    let elsewhere = |record: &Value| {
        let mut record = record.clone();
        record["conversationStart"] = json!("2025-03-01T10:00:00.000Z");
        record
    };
    let unreadable = |record: &Value| {
        let mut record = record.clone();
        record["conversationStart"] = json!(17);
        record
    };
    let kinds: [(&str, Vec<Value>); 3] = [
        ("duplicates", first[..50].to_vec()),
        ("out_of_window", world.records(3).iter().map(elsewhere).collect()),
        ("quarantined", world.records(3).iter().map(unreadable).collect()),
    ];
    for (count, records) in kinds {
        let mut script = world.script();
        script.answers.remove("3");
        let page = json!({ "conversations": records, "totalHits": 250 });
        let export = Export::of(Protocol::Query, script.then(3, 200, page), &["--strict-totals"]);
        export.holds(200);
        assert_eq!(export.report()["totals"][count], json!(50), "{}", export.report());
        assert_eq!(export.told_and_read(), (json!(250), json!(250)), "{count}: {}", export.report());
        assert!(!export.is_dirty(), "{count}");
    }
}

/// A page count of 0 beside records is no end of them.
#[test]
fn a_page_count_of_nothing_beside_records_is_warned_of() {
    let world = World { told: Some(0), ..World::new(Protocol::Page, &[70]) };
    let export = Export::of(Protocol::Page, world.script(), &[]);
    export.holds(70);
    assert!(export.run.stderr.contains("WARN"), "{}", export.run.stderr);
}

/// A shortage that stays is not asked for again by every run.
#[test]
fn a_shortage_that_stays_is_left_alone() {
    let script = Script { day: Some(DAY[0]), ..told(Protocol::Query, 300).script() };
    let export = Export::of(Protocol::Query, script, &[]);
    export.holds(250);
    let asked = || export.source.calls(CLIENT).iter().filter(|call| covers(call)).count();
    let sync = || {
        let args = ["sync", "--out", "lake", "--protocol", "query", "--tables", "conversations"];
        export.convlake.succeed(args);
        asked()
    };
    let first = sync();
    let second = sync();
    assert_eq!(second - first, 0, "the second sync asked for the day again");
    assert!(export.is_dirty(), "the shortage is forgotten");
    assert_eq!(ids_in(&export.convlake.lake()).len(), 250);
}

/// What was fetched twice to make sure is not called delivered twice.
#[test]
fn a_second_fetch_is_no_second_delivery() {
    let export = Export::of(Protocol::Query, told(Protocol::Query, 300).script(), &[]);
    export.holds(250);
    assert_eq!(export.report()["totals"]["duplicates"], 0, "{}", export.run.stderr);
    assert!(!export.run.stderr.contains("delivered again"), "{}", export.run.stderr);
}

/// A day that is short has not changed at the source, and what is said of it is what a sync would do.
#[test]
fn a_shortage_is_not_called_a_change() {
    let export = Export::of(Protocol::Query, told(Protocol::Query, 300).script(), &[]);
    export.holds(250);
    let status = export.convlake.succeed(["status", "lake"]);
    for said in [&status.stdout, &status.stderr, &export.run.stderr] {
        assert!(!said.contains("changed at the source"), "{said}");
    }
}

/// Whether a call asks for the day.
fn covers(call: &Value) -> bool {
    let body: Value = serde_json::from_str(call["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let Some((from, to)) = body["interval"].as_str().and_then(|interval| interval.split_once('/')) else {
        return false;
    };
    from < DAY[1] && to > DAY[1]
}
