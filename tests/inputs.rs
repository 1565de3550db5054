//! What people have becomes a lake, however it is spelled and wherever it is; what is something else is named.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use common::convlake::{Convlake, Run};
use common::org::{at, files, ids};
use common::receipts::{Contents, contents, ledger};
use common::{duckdb, table, tests_dir};
use convlake::simulator::{World, WorldSettings};
use convlake::time::Day;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Raw conversations of two days.
static ALL: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let world = World::new(WorldSettings { conversations_per_day: 6, ..WorldSettings::default() });
    let days = ["2025-03-01", "2025-03-02"].map(|day| day.parse::<Day>().unwrap());
    let records = days.into_iter().flat_map(|day| world.conversations(day, at("2025-06-01")));
    records.map(|record| serde_json::from_slice(&record.json).unwrap()).collect()
});

/// What a page with all of them makes.
static PLAIN: LazyLock<Contents> = LazyLock::new(|| {
    let convlake = Convlake::new();
    convlake.convert(&[save(&convlake, "page.json", page(&ALL).to_string())]);
    contents(&convlake.lake())
});

fn page(conversations: &[Value]) -> Value {
    json!({"conversations": conversations, "totalHits": conversations.len()})
}

fn save(convlake: &Convlake, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = convlake.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn convert(convlake: &Convlake, args: &[&str]) -> Run {
    convlake.run([&["convert", "--out", "lake"], args].concat())
}

/// Converts what has to make the plain lake.
fn assert_plain(convlake: &Convlake, args: &[&str]) -> Run {
    let run = convert(convlake, args);
    assert_eq!(run.code, Some(0), "{args:?}: {}", run.stderr);
    assert_eq!(contents(&convlake.lake()), *PLAIN, "{args:?}");
    run
}

fn assert_refused(convlake: &Convlake, run: &Run, code: i32, named: &[&str]) {
    assert_eq!(run.code, Some(code), "{}", run.stderr);
    for what in named {
        assert!(run.stderr.contains(what), "`{what}` is not named: {}", run.stderr);
    }
    assert!(run.stderr.contains("hint: "), "it does not say what to do: {}", run.stderr);
    let lake = convlake.lake();
    assert!(!lake.join("_convlake/lake.json").exists() || ledger(&lake).days().count() == 0, "something was published");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn utf16(text: &str, big_endian: bool, mark: bool) -> Vec<u8> {
    let bytes = |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
    mark.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
}

/// Lines of quarantine.
fn quarantined(lake: &Path) -> Vec<Value> {
    let kept = files(&lake.join("_convlake/quarantine"));
    let lines = kept.values().flat_map(|text| text.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// A folder of `fixtures/cases`, as it is given to one call.
fn case(convlake: &Convlake, folder: &str) -> Vec<String> {
    let found = files(&tests_dir(&format!("fixtures/cases/{folder}")));
    assert!(!found.is_empty(), "{folder}");
    let save = |(path, content): (&PathBuf, &Vec<u8>)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        save(convlake, name, content);
        name.to_owned()
    };
    found.iter().map(save).collect()
}

#[test]
fn what_other_tools_save_is_read() {
    for (folder, conversations) in [
        ("lone-conversation-with-status", 2),
        ("client-library-envelope", 1),
        ("gateway-envelope", 1),
        ("list-of-pages", 27),
        ("singer-records", 1),
        ("airbyte-raw", 3),
        ("utf16", 1),
    ] {
        let convlake = Convlake::new();
        let given = case(&convlake, folder);
        let run = convert(&convlake, &given.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(run.code, Some(0), "{folder}: {}", run.stderr);
        let lake = convlake.lake();
        let rows =
            duckdb(&format!("SELECT count(DISTINCT conversation_id) AS n FROM {}", table(&lake, "conversations")));
        assert_eq!(rows[0]["n"], json!(conversations), "{folder}");
        assert!(quarantined(&lake).is_empty(), "{folder}");
    }
}

#[test]
fn what_is_something_else_is_named() {
    for (folder, named) in [
        ("yaml", "YAML"),
        ("csv", "CSV"),
        ("zip", "a zip archive"),
        ("eventbridge", "EventBridge events"),
        ("depth-cut", "@{…}"),
    ] {
        let convlake = Convlake::new();
        let given = case(&convlake, folder);
        let run = convert(&convlake, &given.iter().map(String::as_str).collect::<Vec<_>>());
        assert_refused(&convlake, &run, 65, &[named, &given[0]]);
    }
}

#[test]
fn a_document_that_is_nothing_known_is_refused_also_beside_pages() {
    for (document, named) in [
        (json!({"status": "maintenance"}), "its keys: `status`"),
        (json!({"data": {"items": []}}), "its keys: `data`"),
        (json!({"conversations": null, "cursor": "more"}), "a page without its list of conversations"),
        (json!({"id": "c", "startTime": "2025-03-01T00:00:00Z", "participants": []}), "live conversations"),
        (json!({"message": "no", "code": "forbidden", "status": 403}), "forbidden: no"),
        (json!({"access_token": "hunter2"}), "a login"),
        (json!({"conversations": "@{conversationId=c}"}), "@{…}"),
        (json!([ALL[0], page(&ALL[1..])]), "element 1 is a page among conversations"),
    ] {
        let convlake = Convlake::new();
        save(&convlake, "good.json", page(&ALL).to_string());
        save(&convlake, "mixed.ndjson", format!("{}\n{document}\n{}\n", page(&ALL[..3]), page(&ALL[3..])));
        let run = convert(&convlake, &["good.json", "mixed.ndjson"]);
        assert_refused(&convlake, &run, 65, &[named, "`mixed.ndjson`", "document 2"]);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

#[test]
fn formats_that_are_not_read_are_named_with_what_to_do() {
    for (content, named) in [
        (&b"<!DOCTYPE html><html>please log in</html>"[..], "HTML"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"\xfd7zXZ\0", "unxz"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"{'conversations': [{'conversationId': 'c'}]}", "Python"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "HTTP headers"),
        (b"\"{\\\"conversations\\\":[]}\"", "inside a JSON text"),
    ] {
        let convlake = Convlake::new();
        save(&convlake, "input", content);
        let run = convert(&convlake, &["input"]);
        assert_refused(&convlake, &run, 65, &["`input`", named]);
    }
}

#[test]
fn inputs_of_which_nothing_can_be_read_are_refused_however_few_records_they_have() {
    let record = json!({"conversationId": "c", "conversationStart": "yesterday"});
    let live = json!({"id": "c", "participants": [], "startTime": "2025-03-01T00:00:00Z"});
    for (broken, named) in [
        (vec![page(std::slice::from_ref(&record)).to_string()], "its only record cannot be read (no_start 1)"),
        (vec![record.to_string()], "its only record cannot be read (no_start 1)"),
        (vec![json!([record, record]).to_string()], "none of its 2 records can be read (no_start 2)"),
        (vec![json!({"entities": [live, live]}).to_string()], "live conversations"),
        // What is something else was given by mistake, whatever lies beside it.
        (vec![page(&ALL).to_string(), json!({"entities": [live]}).to_string()], "live conversations"),
    ] {
        let convlake = Convlake::new();
        let names: Vec<String> = (0..broken.len()).map(|n| format!("{n}.json")).collect();
        names.iter().zip(&broken).for_each(|(name, content)| drop(save(&convlake, name, content)));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let run = convert(&convlake, &names);
        assert_refused(&convlake, &run, 65, &[named, names.last().unwrap()]);
        // The operator may let them stay in quarantine.
        let run = convert(&convlake, &[&names[..], &["--max-bad", "100"]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("could not be read"), "{}", run.stderr);
    }
}

#[test]
fn a_tree_that_was_cut_is_no_conversation_wherever_it_was_cut() {
    let mut cut = ALL[0].clone();
    cut["participants"][0]["sessions"] = json!(["@{sessionId=s; mediaType=voice; segments=System.Object[]}"]);
    let mut shallow = ALL[1].clone();
    shallow["participants"] = json!("@{participantId=p} @{participantId=q}");
    let convlake = Convlake::new();
    save(&convlake, "page.json", page(&[&[cut, shallow], &ALL[2..]].concat()).to_string());
    // A text that an agent has written is none.
    let mut harmless = ALL[0].clone();
    harmless["externalTag"] = json!("@{a}");
    save(&convlake, "tag.json", harmless.to_string());
    let run = convert(&convlake, &["page.json", "tag.json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("warning: 2 records could not be read"), "{}", run.stderr);
    let kept = quarantined(&convlake.lake());
    assert!(kept.len() == 2 && kept.iter().all(|line| line["reason"] == "depth_cut"), "{kept:?}");
    assert_eq!(ids(&convlake.lake()).values().map(Vec::len).sum::<usize>(), ALL.len() - 1);
}

#[test]
fn an_envelope_is_looked_through_and_that_is_said_once() {
    let convlake = Convlake::new();
    let [first, second] = [&ALL[..5], &ALL[5..]].map(|some| json!({"status": 200, "data": page(some)}).to_string());
    save(&convlake, "a.json", &first);
    save(&convlake, "b.json", &second);
    let run = assert_plain(&convlake, &["a.json", "b.json", "--report", "report.json"]);
    assert_eq!(run.stderr.matches("the conversations are read from `data`").count(), 1, "{}", run.stderr);
    let report: Value = serde_json::from_str(&common::read(&convlake.path("report.json"))).unwrap();
    assert_eq!(report["notes"], json!(["`a.json`: the conversations are read from `data`"]));
    // The end of a chain, saved with its status, is no conversation and no fault.
    save(&convlake, "end.json", json!({"status": 200, "data": {}}).to_string());
    assert_plain(&convlake, &["a.json", "b.json", "end.json"]);
}

#[test]
fn other_streams_of_a_tap_are_left_out_and_counted() {
    let convlake = Convlake::new();
    let message = |stream: &str, record: &Value| json!({"type": "RECORD", "stream": stream, "record": record});
    let users = [json!({"id": 1}), json!({"id": 2})];
    let mut lines = vec![json!({"type": "SCHEMA", "stream": "users", "schema": {}, "key_properties": []})];
    lines.extend(users.iter().map(|user| message("users", user)));
    let only: String = lines.iter().map(|line| format!("{line}\n")).collect();
    lines.extend(ALL.iter().map(|conversation| message("conversations", conversation)));
    lines.push(json!({"type": "STATE", "value": {"bookmark": 1}}));
    save(&convlake, "tap", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let run = assert_plain(&convlake, &["tap"]);
    assert!(run.stderr.contains("stream `users`: 2 records are no conversations and left out"), "{}", run.stderr);

    let convlake = Convlake::new();
    save(&convlake, "tap", only);
    assert_refused(&convlake, &convert(&convlake, &["tap"]), 65, &["no conversations", "other streams"]);
}

#[test]
fn a_record_in_a_message_that_cannot_be_read_says_where_it_stood() {
    let convlake = Convlake::new();
    let bad = json!({"conversationStart": "2025-03-01T01:00:00Z"});
    let message = |record: &Value| json!({"type": "RECORD", "stream": "s", "record": record}).to_string();
    let state = r#"{"type":"STATE","value":{}}"#.to_owned();
    let lines = [message(&ALL[0]), message(&bad), state.clone(), state, message(&bad), bad.to_string()];
    save(&convlake, "tap", lines.join("\n"));
    let run = convert(&convlake, &["tap"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let said = |line: &Value| (line["page"].as_u64().unwrap(), line["raw"].as_str().unwrap().to_owned());
    let want = [2, 5, 6].map(|page| (page, bad.to_string()));
    assert_eq!(quarantined(&convlake.lake()).iter().map(said).collect::<Vec<_>>(), want);
}

#[test]
fn folders_are_read_below_and_what_is_left_out_is_said() {
    let convlake = Convlake::new();
    save(&convlake, "pages/b/2.ndjson.gz", gzip(page(&ALL[3..7]).to_string().as_bytes()));
    save(&convlake, "pages/a.json", page(&ALL[..3]).to_string());
    save(&convlake, "pages/c.JSONL.zst", zstd(page(&ALL[7..]).to_string().as_bytes()));
    save(&convlake, "pages/notes.txt", "not a page");
    save(&convlake, "pages/old/_convlake/lake.json", "{}");
    save(&convlake, "pages/old/conversations.json", "{");
    let run = assert_plain(&convlake, &["pages"]);
    assert!(run.stderr.contains("`pages`: 1 file is left out by name: notes.txt"), "{}", run.stderr);
    assert!(run.stderr.contains("`pages/old` is a lake and left out"), "{}", run.stderr);
    // A file that is named is read whatever its name is.
    save(&convlake, "everything.bak", page(&ALL).to_string());
    assert_plain(&convlake, &["everything.bak"]);
}

#[test]
fn a_pattern_that_the_shell_left_alone_is_looked_for() {
    let convlake = Convlake::new();
    save(&convlake, "in/2025-03-01.json", page(&ALL[..6]).to_string());
    save(&convlake, "in/2025-03-02.json", page(&ALL[6..]).to_string());
    save(&convlake, "in/deep/er/x.json", page(&ALL[6..]).to_string());
    save(&convlake, "in/[odd].json", page(&ALL[6..]).to_string());
    assert_plain(&convlake, &["in/2025-*.json"]);
    assert_plain(&convlake, &["in/2025-03-0[12].json"]);
    assert_plain(&convlake, &["in/2025-03-01.json", "in/**/x.json"]);
    // A file is a file, also if its name looks like a pattern.
    assert_plain(&convlake, &["in/2025-03-01.json", "in/[odd].json"]);
}

#[test]
fn inputs_that_are_not_there_are_a_wrong_call() {
    let convlake = Convlake::new();
    fs::create_dir(convlake.path("empty")).unwrap();
    save(&convlake, "old/_convlake/lake.json", "{}");
    for (given, named) in [
        ("*.json", "nothing matches `*.json`"),
        ("empty", "`empty` holds no file"),
        ("old", "`old` is a lake"),
        ("missing.json", "`missing.json` is no file and no folder"),
        ("https://example.com/pages.json", "unknown scheme `https`"),
    ] {
        let run = convert(&convlake, &[given]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(named), "{given}: {}", run.stderr);
        assert!(!convlake.lake().exists(), "a wrong call leaves no lake: {given}");
    }
}

#[test]
fn of_a_folder_in_which_nothing_is_called_like_pages_everything_is_looked_at() {
    let convlake = Convlake::new();
    save(&convlake, "export/all.csv", "Conversation ID,Date\n0000-1,2025-03-04\n");
    let run = convert(&convlake, &["export"]);
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert!(run.stderr.contains("all.csv") && run.stderr.contains("CSV"), "{}", run.stderr);
    save(&convlake, "dump/pages", page(&ALL).to_string());
    assert_plain(&convlake, &["dump"]);
}

#[test]
fn within_a_folder_the_later_name_wins_and_arguments_keep_their_order() {
    let version = |tag: &str| {
        let mut conversation = ALL[0].clone();
        conversation["externalTag"] = json!(tag);
        conversation.to_string()
    };
    let convlake = Convlake::new();
    // Written in another order than that of their names.
    for name in ["in/b/1.json", "in/c.json", "in/a.json", "in/b.json"] {
        save(&convlake, name, version(name));
    }
    let won = |args: &[&str]| {
        let run = convert(&convlake, args);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let rows = duckdb(&format!("SELECT external_tag FROM {}", table(&convlake.lake(), "conversations")));
        rows[0]["external_tag"].as_str().unwrap().to_owned()
    };
    assert_eq!(won(&["in"]), "in/c.json");
    assert_eq!(won(&["in/*.json"]), "in/c.json");
    assert_eq!(won(&["in/c.json", "in/a.json"]), "in/a.json");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_read() {
    let convlake = Convlake::new();
    let pipe = convlake.path("pipe");
    common::succeed(std::process::Command::new("mkfifo").arg(&pipe));
    // Each part arrives on its own, and the first bytes are few.
    let writer = std::thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
        for part in utf16(&page(&ALL).to_string(), false, true).chunks(1001) {
            pipe.write_all(&part[..1]).unwrap();
            pipe.write_all(&part[1..]).unwrap();
        }
    });
    assert_plain(&convlake, &["pipe"]);
    writer.join().unwrap();

    let convlake = Convlake::new();
    let mut command = convlake.command(["convert", "/dev/stdin", "--out", "lake"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&zstd(page(&ALL).to_string().as_bytes())).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(contents(&convlake.lake()), *PLAIN);
}

/// How conversations that stand together are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lone,
    Page,
    Entities,
    List,
    Envelope(&'static str),
    TextIn(&'static str),
    Tap,
    Airbyte,
    AirbyteText,
    ListOfPages,
    ListOfLists,
    PageThenNothing,
}

const FORMS: [Form; 16] = [
    Form::Lone,
    Form::Page,
    Form::Entities,
    Form::List,
    Form::Envelope("data"),
    Form::Envelope("body"),
    Form::Envelope("result"),
    Form::Envelope("results"),
    Form::Envelope("response"),
    Form::Envelope("payload"),
    Form::TextIn("body"),
    Form::Tap,
    Form::Airbyte,
    Form::ListOfPages,
    Form::ListOfLists,
    Form::AirbyteText,
];

fn written(form: Form, some: &[Value]) -> Vec<Value> {
    let halves = some.split_at(some.len() / 2);
    let each = |wrap: fn(&Value) -> Value| some.iter().map(wrap).collect();
    match form {
        Form::Lone => some.to_vec(),
        Form::Page => vec![page(some)],
        Form::Entities => vec![json!({"entities": some, "paging": {"pageNumber": 1, "pageCount": 1}})],
        Form::List => vec![json!(some)],
        Form::Envelope(name) => vec![json!({"status": 200, name: page(some), "headers": {}})],
        Form::TextIn(name) => vec![json!({"statusCode": 200, name: page(some).to_string()})],
        Form::Tap => each(|one| json!({"type": "RECORD", "stream": "conversations", "record": one})),
        Form::Airbyte => each(|one| json!({"_airbyte_raw_id": "x", "_airbyte_data": one, "_airbyte_meta": {}})),
        Form::AirbyteText => each(|one| json!({"_airbyte_ab_id": "x", "_airbyte_data": one.to_string()})),
        Form::ListOfPages => vec![json!([page(halves.0), page(halves.1)])],
        Form::ListOfLists => vec![json!([halves.0, halves.1])],
        Form::PageThenNothing => vec![page(some), json!({})],
    }
}

fn spelling() -> impl Strategy<Value = (Vec<(Form, usize)>, usize, usize, bool)> {
    let form = prop::sample::select(&FORMS[..]);
    (prop::collection::vec((form, 1usize..6), 1..5), 0usize..5, 0usize..6, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn every_spelling_of_the_same_conversations_makes_the_same_lake((parts, layout, bytes, packed) in spelling()) {
        let mut rest = &ALL[..];
        let mut documents = Vec::new();
        for (form, count) in parts {
            let (some, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            if !some.is_empty() {
                documents.extend(written(form, some));
            }
        }
        documents.extend(written(Form::PageThenNothing, rest));
        let text: String = documents.iter().map(|document| match layout {
            0 => format!("{document}\n"),
            1 => document.to_string(),
            2 => serde_json::to_string_pretty(document).unwrap() + "\r\n",
            3 => format!("\u{1e}{document}\n"),
            _ => format!("\u{feff}{document} \u{1e}"),
        }).collect();
        let content = match bytes {
            0 => utf16(&text, false, true),
            1 => utf16(&text, true, true),
            2 => utf16(text.trim_start_matches(['\u{feff}', '\u{1e}']), false, false),
            3 => utf16(text.trim_start_matches(['\u{feff}', '\u{1e}']), true, false),
            4 => zstd(text.as_bytes()),
            _ => text.into_bytes(),
        };
        let content = if packed { gzip(&content) } else { content };
        let convlake = Convlake::new();
        save(&convlake, "input", content);
        assert_plain(&convlake, &["input"]);
    }
}

#[test]
fn every_form_alone_makes_the_same_lake() {
    for form in FORMS {
        let convlake = Convlake::new();
        save(
            &convlake,
            "input",
            written(form, &ALL).iter().map(|document| format!("{document}\n")).collect::<String>(),
        );
        assert_plain(&convlake, &["input"]);
        assert_eq!(quarantined(&convlake.lake()), Vec::<Value>::new(), "{form:?}");
    }
}

/// A half of a character is the only thing that UTF-16 can have and UTF-8 cannot: nothing beside it is lost.
#[test]
fn a_half_character_in_utf16_costs_nothing_beside_its_record() {
    let mut broken = utf16(&page(&ALL).to_string(), false, true);
    let tag: Vec<u8> = utf16("\"totalHits\"", false, false);
    let at = broken.windows(tag.len()).position(|window| window == tag).unwrap();
    let alone: Vec<u8> =
        utf16(",\"x\":\"", false, false).into_iter().chain([0x3d, 0xd8]).chain(utf16("\"", false, false)).collect();
    broken.splice(at - 2..at - 2, alone);
    let convlake = Convlake::new();
    save(&convlake, "input", broken);
    assert_plain(&convlake, &["input"]);
    let counts: BTreeMap<Day, usize> = ids(&convlake.lake()).into_iter().map(|(day, ids)| (day, ids.len())).collect();
    assert_eq!(counts.values().sum::<usize>(), ALL.len());
}
