//! What people take for saved pages and is none: recognized by its first bytes, or by the members of an object. Only
//! what cannot be read is looked at, so nothing here has to be fast.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::api::complaint::Complaint;
use crate::error::Error;

/// How many bytes of a text are looked at.
const LOOKED_AT: usize = 4096;
/// Where the archives of tar say what they are.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Something that holds no conversations, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::export) struct Foreign {
    /// With its article or in the plural, as in `this looks like …`.
    pub(in crate::export) what: Cow<'static, str>,
    pub(in crate::export) instead: &'static str,
}

impl Foreign {
    const fn new(what: &'static str, instead: &'static str) -> Foreign {
        Foreign { what: Cow::Borrowed(what), instead }
    }

    /// That this was refused.
    pub(super) fn error(&self) -> Error {
        Error::data(format!("no conversations: this looks like {}", self.what)).hint(self.instead)
    }
}

const UNPACK: &str = "unpack it, and convert what is in it";
const EXPORT_JSON: &str = "convert reads the API's JSON: save the answers as they come";

/// Formats by the bytes that they begin with.
const MAGICS: [(&[u8], Foreign); 18] = [
    (b"PK\x03\x04", Foreign::new("a zip archive", UNPACK)),
    (b"PK\x05\x06", Foreign::new("an empty zip archive", UNPACK)),
    (b"BZh", Foreign::new("bzip2", "unpack it with bunzip2; gzip and zstd are read as they are")),
    (b"\xfd7zXZ\0", Foreign::new("xz", "unpack it with unxz; gzip and zstd are read as they are")),
    (b"7z\xbc\xaf\x27\x1c", Foreign::new("a 7z archive", UNPACK)),
    (b"Rar!", Foreign::new("a rar archive", UNPACK)),
    (b"\x04\x22\x4d\x18", Foreign::new("lz4", "unpack it with unlz4; gzip and zstd are read as they are")),
    (b"\xff\x06\0\0sNaPpY", Foreign::new("snappy", "unpack it; gzip and zstd are read as they are")),
    (b"\x1f\x9d", Foreign::new("a file of compress", "unpack it with gunzip")),
    (b"PAR1", Foreign::new("Parquet", "convert makes Parquet of the API's JSON: give it the JSON")),
    (b"Obj\x01", Foreign::new("Avro", EXPORT_JSON)),
    (b"ORC", Foreign::new("ORC", EXPORT_JSON)),
    (b"ARROW1", Foreign::new("Arrow", EXPORT_JSON)),
    (b"SQLite format 3", Foreign::new("a SQLite database", EXPORT_JSON)),
    (b"%PDF", Foreign::new("a PDF", EXPORT_JSON)),
    (b"HTTP/", Foreign::new("an answer with its HTTP headers", "save the body alone (curl without -i)")),
    (b"{'", Foreign::new("a printed Python dict", "save it by json.dump, not by print or str")),
    (b"[{'", Foreign::new("a printed Python list", "save it by json.dump, not by print or str")),
];

/// What bytes are that begin no JSON, or JSON that cannot be read.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<Foreign> {
    if let Some((_, foreign)) = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(foreign.clone());
    }
    let (at, magic) = TAR_MAGIC;
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
        return Some(Foreign::new("a tar archive", UNPACK));
    }
    if matches!(bytes.first(), None | Some(b'{' | b'[')) {
        return None;
    }
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    if head.contains(&0) {
        return Some(Foreign::new("binary data", EXPORT_JSON));
    }
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next().unwrap_or_default().trim();
    let lower = head.trim_start().to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return Some(Foreign::new(
            "HTML, such as the page of a login or a proxy",
            "ask the API itself, with a token and past the portal, and save its answer",
        ));
    }
    if line.starts_with('<') {
        return Some(Foreign::new("XML", EXPORT_JSON));
    }
    if line.starts_with('"') && line.contains("\\\"") {
        return Some(Foreign::new("JSON inside a JSON text", "take it out of its quotes (jq -r .)"));
    }
    if line == "---" || line.starts_with("- ") || is_yaml_member(line) {
        return Some(Foreign::new("YAML", "save it as JSON (yq -o json)"));
    }
    if let Some(separator) = [',', ';', '\t'].into_iter().find(|separator| line.contains(*separator)) {
        let columns = |line: &str| line.split(separator).count();
        let second = head.lines().nth(1).filter(|second| !second.trim().is_empty());
        if second.is_none_or(|second| columns(second) >= columns(line)) {
            return Some(Foreign::new(
                "CSV, such as an export of a view or a report",
                "a view's rows are not conversation details: ask the API for those and save its JSON",
            ));
        }
    }
    None
}

/// `name:`, or `name: value`.
fn is_yaml_member(line: &str) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '"'));
    is_name && (value.is_empty() || value.starts_with(' '))
}

/// An object by its members.
struct Known {
    is: fn(&Map<String, Value>) -> bool,
    foreign: Foreign,
}

const KNOWN: [Known; 8] = [
    Known {
        is: |object| object.contains_key("detail-type") && object.contains_key("detail"),
        foreign: Foreign::new(
            "EventBridge events",
            "events are not conversation details: ask the API for those, by an export or a job",
        ),
    },
    Known {
        is: |object| object.contains_key("topicName") && object.contains_key("eventBody"),
        foreign: Foreign::new(
            "notifications of a WebSocket",
            "events are not conversation details: ask the API for those, by an export or a job",
        ),
    },
    Known {
        is: |object| object.contains_key("id") && object.contains_key("participants"),
        foreign: Foreign::new(
            "live conversations of /api/v2/conversations",
            "convert reads analytics details: save what /api/v2/analytics/conversations/… answers",
        ),
    },
    Known {
        is: |object| object.get("results").is_some_and(|results| first(results, |one| one.contains_key("group"))),
        foreign: Foreign::new("aggregates", "aggregates hold sums: ask for the conversations' details"),
    },
    Known {
        is: |object| object.contains_key("jobId") || object.contains_key("state") && object.len() < 8,
        foreign: Foreign::new("the state of a job", "save the job's results, /…/details/jobs/{id}/results"),
    },
    Known {
        is: |object| object.contains_key("interval") && !object.contains_key("group"),
        foreign: Foreign::new("a request", "save the answer to it"),
    },
    Known {
        is: |object| object.contains_key("access_token"),
        foreign: Foreign::new("the answer to a login", "that file holds a secret: remove it, and save pages instead"),
    },
    Known {
        is: |object| object.get("log").is_some_and(|log| log.get("entries").is_some()),
        foreign: Foreign::new("a recording of a browser (HAR)", "take the answers out of it, and convert those"),
    },
];

/// PowerShell's word for what lies deeper than it writes.
const CUT: Foreign = Foreign::new(
    "objects that were cut to \"@{…}\" texts, as PowerShell's ConvertTo-Json does",
    "save the answer as it comes (Invoke-WebRequest -OutFile), or say ConvertTo-Json -Depth 20",
);

/// What a JSON value is that is no conversation and no page.
pub(super) fn of_json(text: &[u8]) -> Option<Foreign> {
    of_value(&serde_json::from_slice(text).ok()?)
}

fn of_value(value: &Value) -> Option<Foreign> {
    if is_cut(value) {
        return Some(CUT);
    }
    let object = match value {
        Value::Array(list) => list.first()?.as_object()?,
        other => other.as_object()?,
    };
    if let Some(known) = KNOWN.iter().find(|known| (known.is)(object)) {
        return Some(known.foreign.clone());
    }
    if let Some(inner) = super::open::ENVELOPES.iter().find_map(|name| of_value(object.get(*name)?)) {
        return Some(inner);
    }
    let complaint = Complaint::of_object(object);
    (!complaint.is_empty()).then(|| Foreign {
        what: format!("an error answer ({complaint})").into(),
        instead: "ask again, and save the answer",
    })
}

/// Whether a text stands somewhere in it that PowerShell writes for an object or a list.
fn is_cut(value: &Value) -> bool {
    match value {
        Value::String(text) => crate::flatten::is_cut(text.as_bytes()),
        Value::Array(list) => list.iter().any(is_cut),
        Value::Object(object) => object.values().any(is_cut),
        _ => false,
    }
}

fn first(list: &Value, is: fn(&Map<String, Value>) -> bool) -> bool {
    list.get(0).and_then(Value::as_object).is_some_and(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_by_their_first_bytes() {
        let mut tar = b"page.json".to_vec();
        tar.resize(257, 0);
        tar.extend_from_slice(b"ustar\x0000");
        for (bytes, want) in [
            (&b"PK\x03\x04\x14\0"[..], Some("zip")),
            (b"BZh91AY", Some("bzip2")),
            (b"\xfd7zXZ\0\0", Some("xz")),
            (b"PAR1\x15", Some("Parquet")),
            (&tar, Some("tar")),
            (b"\xca\xfe\0\x01", Some("binary")),
            (b"<!DOCTYPE html><html>", Some("HTML")),
            (b"<?xml version=\"1.0\"?>", Some("XML")),
            (b"HTTP/1.1 200 OK\r\n", Some("HTTP headers")),
            (b"conversations:\n- conversationId: 1\n", Some("YAML")),
            (b"---\na: 1\n", Some("YAML")),
            (b"- conversationId: 1\n", Some("YAML")),
            (b"Conversation ID,Date,Duration\n1,2,3\n", Some("CSV")),
            (b"Conversation ID;Date\n1;2\n", Some("CSV")),
            (b"a\tb\n", Some("CSV")),
            (br#""{\"conversations\":[]}""#, Some("inside a JSON text")),
            (b"{'conversations': []}", Some("Python")),
            (b"null", None),
            (b"{\"a\":1,", None),
            (b"", None),
        ] {
            let found = of_bytes(bytes).map(|foreign| foreign.what);
            let as_wanted = match (&found, want) {
                (Some(found), Some(want)) => found.contains(want),
                (found, want) => found.is_none() && want.is_none(),
            };
            assert!(as_wanted, "{}: {found:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn objects_are_named_by_their_members() {
        for (text, want) in [
            (r#"{"detail-type":"v2.detail","detail":{}}"#, Some("EventBridge")),
            (r#"{"topicName":"x","eventBody":{}}"#, Some("WebSocket")),
            (r#"{"id":"a","startTime":"2025-01-01T00:00:00Z","participants":[]}"#, Some("live conversations")),
            (r#"[{"id":"a","participants":[]}]"#, Some("live conversations")),
            (r#"{"results":[{"group":{"mediaType":"voice"},"data":[]}]}"#, Some("aggregates")),
            (r#"{"jobId":"x"}"#, Some("a job")),
            (r#"{"state":"FULFILLED","submissionDate":"x"}"#, Some("a job")),
            (r#"{"interval":"a/b","order":"asc"}"#, Some("a request")),
            (r#"{"access_token":"x","token_type":"bearer"}"#, Some("a login")),
            (r#"{"log":{"entries":[]}}"#, Some("HAR")),
            (r#"{"conversationId":"a","participants":["@{purpose=agent}"]}"#, Some("@{…}")),
            (r#"{"conversations":"System.Object[]"}"#, Some("@{…}")),
            (r#"{"status":500,"data":{"message":"no","code":"internal"}}"#, Some("internal: no")),
            (r#"{"something":"else"}"#, None),
            ("1", None),
            ("{", None),
        ] {
            let found = of_json(text.as_bytes()).map(|foreign| foreign.what);
            let as_wanted = match (&found, want) {
                (Some(found), Some(want)) => found.contains(want),
                (found, want) => found.is_none() && want.is_none(),
            };
            assert!(as_wanted, "{text}: {found:?}");
        }
    }
}
