//! The same conversations in every wrapping that files have: each becomes the same lake.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::convlake::{Convlake, Run};
use crate::common::{succeed, write};
use crate::world::ids_in;

fn record(number: usize) -> Value {
    json!({ "conversationId": format!("c{number}"), "conversationStart": "2025-03-04T10:00:00.000Z",
        "externalTag": "käse \u{1f9c0}" })
}

fn page() -> Value {
    json!({ "conversations": [record(0), record(1)], "totalHits": 2 })
}

fn convert(convlake: &Convlake, inputs: &[&str]) -> Run {
    convlake.run([&["convert"], inputs, &["--out", "lake"]].concat())
}

/// Bytes of a file become the two conversations.
fn becomes(name: &str, bytes: &[u8]) -> Result<(), String> {
    let convlake = Convlake::new();
    fs::write(convlake.path(name), bytes).expect("a file");
    let run = convert(&convlake, &[name]);
    let count = ids_in(&convlake.lake()).len();
    let right = run.code == Some(0) && count == 2;
    if right { Ok(()) } else { Err(format!("{name}: exit {:?}, {count} conversations: {}", run.code, run.stderr)) }
}

fn all(results: impl IntoIterator<Item = Result<(), String>>) {
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} are not read:\n{}", wrong.len(), wrong.join("\n"));
}

fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
}

#[test]
fn encodings_and_compressions() {
    let text = page().to_string();
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).expect("memory");
        writer.finish().expect("memory")
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory");
    let marked = format!("\u{feff}{text}");
    all([
        becomes("plain.json", text.as_bytes()),
        becomes("utf8-with-mark.json", marked.as_bytes()),
        becomes("utf16le.json", &utf16(&text, u16::to_le_bytes)),
        becomes("utf16be.json", &utf16(&text, u16::to_be_bytes)),
        becomes("page.json.gz", &gzip(text.as_bytes())),
        becomes(
            "two-members.json.gz",
            &[gzip(b"{\"conversations\":["), gzip(format!("{},{}]}}", record(0), record(1)).as_bytes())].concat(),
        ),
        becomes("page.json.zst", &zstd(text.as_bytes())),
        becomes("gzip-without-a-name", &gzip(text.as_bytes())),
        becomes("zstd-without-a-name", &zstd(text.as_bytes())),
        becomes("utf16.json.gz", &gzip(&utf16(&text, u16::to_le_bytes))),
        becomes("crlf.ndjson", format!("{}\r\n{}\r\n", record(0), record(1)).as_bytes()),
    ]);
}

#[test]
fn shapes() {
    let (first, second) = (record(0), record(1));
    let text = |value: Value| value.to_string();
    let mut shapes = vec![
        ("lines", format!("{first}\n{second}\n")),
        ("lines with empty ones", format!("\n{first}\n\n{second}")),
        ("pages a line", format!("{}\n{}\n", json!({ "conversations": [first] }), json!({ "conversations": [second] }))),
        ("one after the other", format!("{first}{second}")),
        ("text sequences", format!("\u{1e}{first}\n\u{1e}{second}\n")),
        ("a list of records", text(json!([first, second]))),
        ("a list of pages", text(json!([{ "conversations": [first] }, { "conversations": [second], "totalHits": 2 }]))),
        ("a list with an empty page", text(json!([page(), { "totalHits": 2 }]))),
        ("entities", text(json!({ "entities": [first, second], "totalRecords": 2, "nextPageCursor": null }))),
        ("jobs", text(json!({ "conversations": [first, second], "dataAvailabilityDate": "2025-04-01T00:00:00Z" }))),
        ("pretty", serde_json::to_string_pretty(&page()).expect("JSON")),
        (
            "singer",
            [
                json!({ "type": "SCHEMA", "stream": "conversations", "schema": {}, "key_properties": [] }),
                json!({ "type": "RECORD", "stream": "conversations", "record": first }),
                json!({ "type": "STATE", "value": {} }),
                json!({ "type": "RECORD", "stream": "conversations", "record": second }),
            ]
            .iter()
            .map(|line| format!("{line}\n"))
            .collect(),
        ),
        (
            "airbyte, as text",
            [&first, &second]
                .iter()
                .map(|record| json!({ "_airbyte_ab_id": "x", "_airbyte_emitted_at": 1, "_airbyte_data": record.to_string() }))
                .map(|line| format!("{line}\n"))
                .collect(),
        ),
    ];
    for key in ["data", "body", "result", "results", "response", "payload"] {
        shapes.push((key, text(json!({ "status": 200, key: page() }))));
    }
    shapes.push(("body as text", text(json!({ "statusCode": 200, "body": page().to_string() }))));
    shapes.push(("data with records", text(json!({ "data": [first, second] }))));
    shapes.push((
        "enveloped, a line each",
        format!(
            "{}\n{}\n",
            json!({ "data": { "conversations": [first] } }),
            json!({ "data": { "conversations": [second] } })
        ),
    ));
    let snake = json!({ "conversations": [
        { "conversation_id": "c0", "conversation_start": "2025-03-04T10:00:00.000Z", "participants": null },
        { "conversation_id": "c1", "conversation_start": "2025-03-04 10:00:00.123000+00:00", "external_tag": "x" },
    ], "total_hits": 2 });
    shapes.push(("snake_case", text(snake)));
    all(shapes.iter().map(|(name, text)| becomes(&format!("{name}.json"), text.as_bytes())));
}

/// Two envelopes are one too many: it is named, and nothing is passed over.
#[test]
fn one_envelope_is_looked_through() {
    for nested in [json!({ "data": { "data": page() } }), json!({ "result": { "response": page() } })] {
        let convlake = Convlake::new();
        write(&convlake.path("page.json"), &nested.to_string());
        let run = convert(&convlake, &["page.json"]);
        assert_eq!(run.code, Some(65), "{}", run.stderr);
        assert_eq!(ids_in(&convlake.lake()).len(), 0);
    }
}

fn has_two(convlake: &Convlake, run: &Run) {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(ids_in(&convlake.lake()).len(), 2, "{}", run.stderr);
}

#[test]
fn folders_and_patterns() {
    for input in ["pages", "pages/", "pages/*.json", "pag*/?.json", "pages/**/*.json"] {
        let convlake = Convlake::new();
        write(&convlake.path("pages/0.json"), &record(0).to_string());
        write(&convlake.path("pages/1.json"), &record(1).to_string());
        has_two(&convlake, &convert(&convlake, &[input]));
    }
}

/// A pattern or a folder that has nothing is a mistake in the command.
#[test]
fn nothing_matches() {
    for input in ["nothing/*.json", "*.json", "empty", "no-such-file.json"] {
        let convlake = Convlake::new();
        fs::create_dir(convlake.path("empty")).expect("a folder");
        let run = convert(&convlake, &[input]);
        assert_eq!(run.code, Some(2), "{input}: {}", run.stderr);
        assert!(run.stderr.contains(input) && run.stderr.contains("hint: "), "{input}: {}", run.stderr);
    }
}

#[test]
fn pipes() {
    for input in ["-", "/dev/stdin"] {
        let convlake = Convlake::new();
        let mut command = convlake.command(["convert", input, "--out", "lake"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(page().to_string().as_bytes()).expect("a reader");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{input}");
        assert_eq!(ids_in(&convlake.lake()).len(), 2, "{input}");
    }
    let convlake = Convlake::new();
    let fifo: PathBuf = convlake.path("fifo");
    succeed(Command::new("mkfifo").arg(&fifo));
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || fs::write(fifo, page().to_string()))
    };
    let run = convert(&convlake, &["fifo"]);
    has_two(&convlake, &run);
    writer.join().expect("a writer").expect("a pipe");
    assert!(Path::new(&fifo).exists());
}

/// What is no page is named with what to do; nothing of it is published.
#[test]
fn what_it_looks_like() {
    let live = json!({ "id": "c1", "startTime": "2025-03-04T10:00:00.000Z", "participants": [], "selfUri":
        "/api/v2/conversations/c1" });
    let kinds: [(&str, Vec<u8>, &str); 7] = [
        ("page.html", b"<!DOCTYPE html><html><body>Log in</body></html>".to_vec(), "html"),
        ("page.yaml", b"conversations:\n- conversationId: c1\n".to_vec(), "yaml"),
        ("export.csv", b"Conversation ID,Date\nc1,2025-03-04\n".to_vec(), "csv"),
        ("page.zip", b"PK\x03\x04\x14\x00\x00\x00".to_vec(), "zip"),
        ("page.bz2", b"BZh91AY&SY\x00\x01".to_vec(), "bzip2"),
        ("live.json", live.to_string().into_bytes(), "live conversation"),
        ("error.json", b"{\"message\":\"no\",\"code\":\"bad.request\",\"status\":400}".to_vec(), "error"),
    ];
    let check = |(name, bytes, word): &(&str, Vec<u8>, &str)| {
        let convlake = Convlake::new();
        fs::write(convlake.path(name), bytes).expect("a file");
        let run = convert(&convlake, &[name]);
        let says = run.stderr.to_lowercase();
        let right = run.code == Some(65) && says.contains("hint: ") && says.replace(name, "").contains(word);
        if right { Ok(()) } else { Err(format!("{name}: exit {:?}: {}", run.code, run.stderr)) }
    };
    all(kinds.iter().map(check));
}
