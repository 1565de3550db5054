//! No value is lost to its spelling: half a character, an integer with a point in it, the Python SDK's names and times.
//! Each through the command, with what the report and the summary say about it.

#![cfg(test)]

mod common;

use common::convlake::{Convlake, Run};
use common::{duckdb, read, table, write};
use serde_json::{Value, json};

/// A page, converted into a lake of its own.
struct Converted {
    convlake: Convlake,
    run: Run,
    report: Value,
}

impl Converted {
    fn new(page: &[u8]) -> Converted {
        let convlake = Convlake::new();
        let (path, report) = (convlake.path("page.json"), convlake.path("report.json"));
        std::fs::write(&path, page).expect("the page is written");
        let (path, lake) = (path.to_string_lossy(), convlake.lake());
        let to = report.to_string_lossy();
        let run = convlake.succeed(["convert", &path, "--out", &lake.to_string_lossy(), "--report", &to]);
        let report = serde_json::from_str(&read(&report)).expect("the report is JSON");
        Converted { convlake, run, report }
    }

    fn rows(&self, columns: &str, of: &str) -> Vec<Value> {
        duckdb(&format!("SELECT {columns} FROM {} ORDER BY conversation_id", table(&self.convlake.lake(), of)))
    }
}

#[test]
fn a_text_cut_in_a_character_costs_that_character() {
    let escaped = br#"{"conversations":[
        {"conversationId":"c1","conversationStart":"2025-03-04T10:00:00.000Z","externalTag":"cut \ud83d"},
        {"conversationId":"c2","conversationStart":"2025-03-04T10:00:00.000Z","externalTag":"\ud83d\ude00"}]}"#;
    let as_bytes = b"{\"conversations\":[
        {\"conversationId\":\"c1\",\"conversationStart\":\"2025-03-04T10:00:00.000Z\",\"externalTag\":\"cut \xed\xa0\xbd\"},
        {\"conversationId\":\"c2\",\"conversationStart\":\"2025-03-04T10:00:00.000Z\",\"externalTag\":\"\xed\xa0\xbd\xed\xb8\x80\"}]}";
    for page in [&escaped[..], as_bytes] {
        let converted = Converted::new(page);
        let tags = converted.rows("external_tag", "conversations");
        assert_eq!(tags, [json!({"external_tag": "cut \u{fffd}"}), json!({"external_tag": "\u{1F600}"})]);
        assert_eq!(converted.report["replaced"], json!({"conversations.external_tag": 1}));
        assert_eq!(converted.report["totals"]["quarantined"], 0);
        let said = "1 column with texts in which half a character became U+FFFD: conversations.external_tag";
        assert!(converted.run.stderr.contains(said), "{}", converted.run.stderr);
        assert!(!converted.report.to_string().contains("cut"), "no value is in the report");
    }
}

#[test]
fn an_integer_with_a_point_is_that_integer_and_a_fraction_is_of_another_type() {
    let converted = Converted::new(
        br#"{"conversations":[{"conversationId":"c1","conversationStart":"2025-03-04T10:00:00.000Z","brandNew":1,
        "participants":[{"sessions":[{"sessionId":"s","metrics":[
            {"name":"tHandle","value":1200.0},{"name":"tTalk","value":9e2},{"name":"tHeld","value":0.5},
            {"name":"tAcw","value":9223372036854775807},{"name":"tAcw","value":1}]}]}]}]}"#,
    );
    let columns = "t_handle_ms, t_talk_ms, t_held_ms, t_acw_ms";
    let expected = json!({"t_handle_ms": 1200, "t_talk_ms": 900, "t_held_ms": null, "t_acw_ms": null});
    for of in ["sessions", "conversations"] {
        assert_eq!(converted.rows(columns, of), std::slice::from_ref(&expected), "{of}");
    }
    let report = &converted.report;
    assert_eq!(report["wrong_type"], json!({"metrics.value": 1}));
    assert_eq!(report["unknown"], json!({"conversations.brandNew": 1}));
    assert_eq!(report["overflowed"], json!({"conversations.t_acw_ms": 1, "sessions.t_acw_ms": 1}));
    for said in [
        "1 field unknown to the schema, kept in `extra` or `metrics_other`: conversations.brandNew",
        "1 field with a value of another type than the schema says, kept in `extra`: metrics.value",
        "2 columns NULL where a sum has more than 64 bits",
    ] {
        assert!(converted.run.stderr.contains(said), "{said} in {}", converted.run.stderr);
    }
}

#[test]
fn the_python_sdk_s_records_are_conversations() {
    let page = r#"{"conversations":[{"conversation_id":"c1","conversation_start":"2025-03-04 10:00:00+00:00",
        "conversation_end":null,"participants":[{"participant_id":"p","purpose":"agent","user_id":"u",
        "attributes":{"some_key":"some_value"},"sessions":[{"session_id":"s","media_type":"voice",
        "metrics":[{"emit_date":"2025-03-04 10:05:00.123000+00:00","name":"tHandle","value":1200}],
        "segments":[{"segment_start":"2025-03-04 10:00:00+00:00","queue_id":"q"}]}]}]}]}"#;
    let converted = Converted::new(page.as_bytes());
    let start = "strftime(conversation_start, '%H:%M') AS at, conversation_end, extra";
    assert_eq!(
        converted.rows(start, "conversations"),
        [json!({"at": "10:00", "conversation_end": null, "extra": null})]
    );
    let sessions = converted.rows("media_type, user_id, queue_id, t_handle_ms", "sessions");
    assert_eq!(sessions, [json!({"media_type": "voice", "user_id": "u", "queue_id": "q", "t_handle_ms": 1200})]);
    let attributes = converted.rows("key, value", "participant_attributes");
    assert_eq!(attributes, [json!({"key": "some_key", "value": "some_value"})]);
    assert_eq!(converted.rows("epoch_ms(emit_date) AS at", "metrics"), [json!({"at": 1_741_082_700_123_u64})]);
    assert_eq!((&converted.report["unknown"], &converted.report["wrong_type"]), (&json!({}), &json!({})));
}

#[test]
fn a_record_in_another_spelling_is_the_same_wherever_it_is_saved() {
    let record = r#"{"conversation_id":"c1","conversation_start":"2025-03-04 10:00:00+00:00"}"#;
    for saved in [record.to_owned(), format!("[{record}]"), format!("{{\"conversations\":[{record}]}}")] {
        let converted = Converted::new(saved.as_bytes());
        assert_eq!(converted.rows("conversation_id", "conversations"), [json!({"conversation_id": "c1"})], "{saved}");
    }
    let convlake = Convlake::new();
    write(&convlake.path("none.json"), r#"{"conversations":[{"conversation_idd":"c1"}]}"#);
    let run = convlake.run(["convert", "none.json", "--out", "lake"]);
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert!(run.stderr.contains("its only record cannot be read (no_id 1)"), "{}", run.stderr);
}
