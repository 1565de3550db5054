//! Every form of an answer, at every place of a chain, by every protocol: an export never ends well with fewer
//! conversations than were there, unless the form is one of the ends that sources are known to send.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::common::convlake::Run;
use crate::common::duckdb;
use crate::rules::{Outcome, outcome};
use crate::source::Source;
use crate::world::{DAY, PROTOCOLS, Protocol, World};

/// One form at one place.
struct Cell {
    world: World,
    form: &'static str,
    place: &'static str,
    at: usize,
    status: u16,
    body: String,
    for_ever: bool,
}

/// Every run waits between its tries, so many of them are under way at once.
const AT_ONCE: usize = 64;

#[test]
fn every_form_by_query() {
    check(Protocol::Query);
}

#[test]
fn every_form_by_jobs() {
    check(Protocol::Jobs);
}

#[test]
fn every_form_by_cursor() {
    check(Protocol::Cursor);
}

#[test]
fn every_form_by_page() {
    check(Protocol::Page);
}

/// Pages asked for ahead decide nothing: an error behind a page that turns out to be the end is moot.
#[test]
fn errors_behind_the_end_are_moot() {
    let mut scripts = BTreeMap::new();
    for (status, name) in [(500, "500"), (404, "404"), (200, "nothing")] {
        for protocol in [Protocol::Query, Protocol::Page] {
            let mut world = World::new(protocol, &[100, 100, 50]);
            world.told = world.told.map(|told| told + 3 * usize::from(protocol == Protocol::Page));
            let mut script = world.script();
            script.answers.retain(|page, _| ["1", "2", "3", "4"].contains(&page.as_str()));
            let script = script.then("*", status, json!({ "message": "no such page" }));
            scripts.insert(format!("{}-{name}", protocol.name()), script);
        }
    }
    let source = Source::of(&scripts);
    for client in scripts.keys() {
        let convlake = source.client(client);
        let protocol = client.split('-').next().expect("a protocol");
        let lake = convlake.lake();
        let run = convlake.run(args(protocol, &lake));
        assert_eq!(run.code, Some(0), "{client}: {}", run.stderr);
        assert_eq!(crate::world::ids_in(&lake).len(), 250, "{client}: {}", run.stderr);
    }
}

/// A refusal says what to do.
#[test]
fn a_refusal_has_a_hint() {
    for protocol in PROTOCOLS {
        let mut script = World::new(protocol, &[100, 100, 50]).script();
        script.answers.remove("2");
        let script = script.then(2, 200, json!({ "status": "maintenance" }));
        let source = Source::of(&BTreeMap::from([("a-client".to_owned(), script)]));
        let convlake = source.client("a-client");
        let run = convlake.run(args(protocol.name(), &convlake.lake()));
        assert_eq!(run.code, Some(65), "{protocol:?}: {}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{protocol:?}: {}", run.stderr);
        assert!(run.stderr.contains("quarantine"), "{protocol:?}: where the body is: {}", run.stderr);
    }
}

fn check(protocol: Protocol) {
    let cells = cells(protocol);
    let scripts: BTreeMap<_, _> = cells.iter().enumerate().map(|(n, cell)| (client(n), cell.script())).collect();
    let source = Source::of(&scripts);
    let lakes = TempDir::new().expect("a temporary directory");
    let runs = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let number = cells.iter().position(|other| std::ptr::eq(other, cell)).expect("a cell");
                    let lake = lakes.path().join(client(number));
                    let run = source.client(&client(number)).run(args(cell.world.protocol.name(), &lake));
                    runs.lock().expect("no panic").insert(number, run);
                }
            });
        }
    });
    let read = ids(lakes.path());
    let nothing = BTreeSet::new();
    let (mut table, mut wrong) = (String::new(), 0);
    for (number, run) in runs.into_inner().expect("no panic") {
        let cell = &cells[number];
        let expected = outcome(&cell.world, cell.at, &cell.body, cell.for_ever);
        let lake = lakes.path().join(client(number));
        let faults = faults(cell, &expected, &run, read.get(&client(number)).unwrap_or(&nothing), &lake);
        let mark = if faults.is_empty() { "ok" } else { "WRONG" };
        wrong += usize::from(!faults.is_empty());
        let times = if cell.for_ever { "for ever" } else { "once" };
        let faults = faults.join("; ");
        writeln!(table, "{mark:5} | {:45} | {:8} | {times:8} | {expected:?} | {faults}", cell.form, cell.place)
            .expect("a string");
    }
    assert_eq!(wrong, 0, "{wrong} of {} forms by {}:\n{table}", cells.len(), protocol.name());
}

fn client(number: usize) -> String {
    format!("client-{number:04}")
}

fn args(protocol: &str, lake: &Path) -> Vec<String> {
    let mut args = vec!["export", "--from", DAY[0], "--to", DAY[1], "--tables", "conversations", "--retry-for", "20s"];
    args.extend(["--protocol", protocol]);
    if protocol == "page" {
        args.extend(["--page-size", "100"]);
    }
    let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    args.extend(["--out".to_owned(), lake.display().to_string()]);
    args
}

/// The ids in each of many lakes.
fn ids(lakes: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let files = format!("{}/*/conversations/*/*.parquet", lakes.display());
    let rows = duckdb(&format!(
        "SELECT filename, conversation_id AS id FROM read_parquet('{files}', filename = true, union_by_name = true)"
    ));
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let file = Path::new(row["filename"].as_str().expect("a file"));
        let lake = file.strip_prefix(lakes).expect("a lake").iter().next().expect("a lake").to_string_lossy();
        let id = row["id"].as_str().expect("an id").to_owned();
        assert!(ids.entry(lake.into_owned()).or_default().insert(id), "twice in {}", file.display());
    }
    ids
}

/// What is wrong with how a run ended.
fn faults(cell: &Cell, expected: &Outcome, run: &Run, read: &BTreeSet<String>, lake: &Path) -> Vec<String> {
    let all = cell.world.total();
    let ended = |code: i32, count: usize| run.code == Some(code) && read.len() == count;
    let mut faults = Vec::new();
    let refused = ended(65, 0);
    let right = match *expected {
        Outcome::Whole => ended(0, all),
        Outcome::WholeOrRefused => ended(0, all) || refused,
        Outcome::Refused | Outcome::Contradicted => refused,
        Outcome::Ended(count) => ended(0, count),
        Outcome::Short(count) => ended(0, count),
        Outcome::RefusedOrWithout(count) => refused || ended(0, count) || ended(0, all),
        Outcome::RefusedOrDown => refused || ended(69, 0),
    };
    if !right {
        faults.push(format!("exit {:?} with {} of {all} conversations", run.code, read.len()));
    }
    if matches!(expected, Outcome::Short(_)) && run.code == Some(0) && !run.stderr.contains("dirty") {
        faults.push("short, and no word of a dirty day".to_owned());
    }
    if *expected == Outcome::Refused && run.code == Some(65) {
        let keys: Vec<String> = match serde_json::from_str(&cell.body) {
            Ok(Value::Object(members)) => members.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let unnamed: Vec<_> = keys.iter().filter(|key| !run.stderr.contains(key.as_str())).collect();
        if !unnamed.is_empty() {
            faults.push(format!("keys not named: {unnamed:?}"));
        }
        if !cell.body.is_empty() {
            faults.extend(not_kept(&lake.join("_convlake/quarantine"), &keys));
        }
    }
    faults
}

/// What is wrong with how a refused body is kept.
fn not_kept(folder: &Path, keys: &[String]) -> Option<String> {
    let kept = files(folder);
    let Some(file) = kept.iter().find(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        keys.iter().all(|key| text.contains(key.as_str()))
    }) else {
        return Some(format!("the body is in none of {} files in quarantine", kept.len()));
    };
    let mode = fs::metadata(file).expect("a file").permissions().mode() & 0o777;
    (mode != 0o600).then(|| format!("the body has mode {mode:o}"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a folder").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

impl Cell {
    fn script(&self) -> crate::source::Script {
        let mut script = self.world.script();
        let truth = script.answers.remove(&self.at.to_string()).unwrap_or_else(|| script.answers["*"].clone());
        let answers = script.answers.entry(self.at.to_string()).or_default();
        answers.push((self.status, self.body.clone(), json!({})));
        if !self.for_ever {
            answers.extend(truth);
        }
        script
    }
}

/// All forms at all places.
fn cells(protocol: Protocol) -> Vec<Cell> {
    assert!(PROTOCOLS.contains(&protocol));
    let mut cells = Vec::new();
    // The last page is the third; by all but `page`, whose count says it, a page without records may follow.
    let mut whole = World::new(protocol, &[100, 100, 50]);
    if protocol != Protocol::Page {
        whole.pages.extend((protocol != Protocol::Query).then_some(0));
    }
    for (at, place) in [(1, "first"), (2, "middle"), (3, "last"), (4, "end")] {
        if at == 4 && protocol == Protocol::Page {
            continue;
        }
        let forms = forms(&whole, at);
        for for_ever in [true, false] {
            cells.extend(forms.iter().map(|(form, body)| {
                let world = whole.clone();
                Cell { world, form, place, at, status: 200, body: body.clone(), for_ever }
            }));
        }
    }
    cells
}

/// The forms that the answer at a place can take.
fn forms(world: &World, at: usize) -> Vec<(&'static str, String)> {
    let protocol = world.protocol;
    let list = protocol.list();
    let records = if at <= world.pages.len() { world.records(at) } else { Vec::new() };
    let page = world.page(at);
    let cursor = (protocol.cursor(), json!((at + 1).to_string()));
    let total = |count: usize| match protocol {
        Protocol::Query => ("totalHits", json!(count)),
        Protocol::Jobs => ("totalHits", json!(count)),
        Protocol::Cursor => ("totalRecords", json!(count)),
        Protocol::Page => ("paging", json!({ "pageNumber": at, "pageSize": 100, "pageCount": count.div_ceil(100) })),
    };
    let (none, more) = (total(0), total(250));
    let unknown = ("weird", json!({ "as": "can be" }));
    let object = |members: &[&(&str, Value)]| {
        let members: Map<String, Value> =
            members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Value::Object(members).to_string()
    };
    let null = (list, Value::Null);
    let empty = (list, json!([]));
    let lone = json!({ "conversationId": "00000000-0000-4000-8000-00000000abcd",
        "conversationStart": "2025-03-04T10:00:00.000Z" });
    let renamed = ("items", json!(records));
    let page_text = page.to_string();
    let cut = page_text[..page_text.len() / 2].to_owned();
    let with = |key: &str, value: Value| {
        let mut page = page.clone();
        page.as_object_mut().expect("a page").insert(key.to_owned(), value);
        page.to_string()
    };
    let mut forms = vec![
        ("{}", "{}".to_owned()),
        ("only a total of 0", object(&[&none])),
        ("only a total of more", object(&[&more])),
        ("only aggregations", object(&[&("aggregations", json!([]))])),
        ("only aggregations and a total of 0", object(&[&("aggregations", json!([])), &none])),
        ("only a cursor", object(&[&cursor])),
        ("only an unknown member", object(&[&unknown])),
        ("only dataAvailabilityDate", object(&[&("dataAvailabilityDate", json!("2026-01-01T00:00:00Z"))])),
        ("list null", object(&[&null])),
        ("list null beside a cursor", object(&[&null, &cursor])),
        ("list null beside a total of 0", object(&[&null, &none])),
        ("list null beside a total of more", object(&[&null, &more])),
        ("list null beside an unknown member", object(&[&null, &unknown])),
        ("list absent beside a cursor and a total", object(&[&cursor, &more])),
        ("list absent, total 0, unknown member", object(&[&none, &unknown])),
        ("[]", object(&[&empty])),
        ("[] beside a cursor", object(&[&empty, &cursor])),
        ("[] beside a total of 0", object(&[&empty, &none])),
        ("[] beside a total of more", object(&[&empty, &more])),
        ("[] beside a cursor and a total of more", object(&[&empty, &cursor, &more])),
        ("[] beside an unknown member", object(&[&empty, &unknown])),
        ("the page in result", json!({ "result": page }).to_string()),
        ("the records in data", json!({ "data": records }).to_string()),
        ("the page as text in body", json!({ "statusCode": 200, "body": page_text }).to_string()),
        ("status: maintenance", json!({ "status": "maintenance" }).to_string()),
        ("message and code", json!({ "message": "come back later", "code": "internal.trouble" }).to_string()),
        ("error", json!({ "error": { "why": "unknown" } }).to_string()),
        ("a lone conversation", lone.to_string()),
        ("a list of records", json!(records).to_string()),
        ("a list of pages", json!([page]).to_string()),
        ("an empty body", String::new()),
        ("white space", " \n".to_owned()),
        ("null", "null".to_owned()),
        ("a text", "\"ok\"".to_owned()),
        ("a number", "250".to_owned()),
        ("half of the page", cut),
        ("HTML", "<html><body>Please log in</body></html>".to_owned()),
        ("the list under another name", object(&[&renamed])),
        ("the list under another name, and a total", object(&[&renamed, &more])),
        ("the list is an object", object(&[&(list, json!({ "0": records.first() })), &more])),
        ("the list is a text", object(&[&(list, json!("see attachment"))])),
        ("the list is a number", object(&[&(list, json!(3))])),
        ("the list is false", object(&[&(list, json!(false))])),
    ];
    if !records.is_empty() {
        forms.push(("the page and an unknown member", with("weird", json!(1))));
        forms.push(("the page and status, message, code", {
            let mut page = page.clone();
            let members = page.as_object_mut().expect("a page");
            members.extend([("status".to_owned(), json!("ok")), ("message".to_owned(), json!("as you wish"))]);
            members.insert("code".to_owned(), json!("fine"));
            page.to_string()
        }));
    }
    if matches!(protocol, Protocol::Jobs | Protocol::Cursor) {
        let cursor = protocol.cursor();
        forms.extend([
            ("a cursor that is an object", with(cursor, json!({ "next": at + 1 }))),
            ("a cursor that is a list", with(cursor, json!([at + 1]))),
            ("a cursor that is true", with(cursor, json!(true))),
            ("a cursor that is false", with(cursor, json!(false))),
            ("a cursor that is a number", with(cursor, json!(at + 1))),
            ("a cursor that is an empty text", with(cursor, json!(""))),
            ("a cursor that is null", with(cursor, Value::Null)),
        ]);
    }
    forms
}
