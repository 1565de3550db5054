//! When something last happened in a conversation.

use serde_json::Value;

use super::record;
use crate::time::parse_micros;

/// What customers' own systems wrote: a date in it says nothing about the conversation.
const NOT_ACTIVITY: &str = "attributes";

/// The latest timestamp anywhere in the `raw` record that is not after `now`, both in microseconds since the Unix
/// epoch. What is scheduled for later has not happened. `None` when there is none, or the record cannot be read.
pub fn last_activity(raw: &[u8], now: i64) -> Option<i64> {
    let object = record::parse(raw).ok()?;
    let mut latest = None;
    let mut todo: Vec<&Value> = object.values().collect();
    while let Some(value) = todo.pop() {
        match value {
            Value::String(text) => latest = latest.max(parse_micros(text).filter(|at| *at <= now)),
            Value::Array(list) => todo.extend(list),
            Value::Object(object) => todo.extend(object.iter().filter(|(key, _)| *key != NOT_ACTIVITY).map(|(_, v)| v)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_moment_counts_wherever_it_is() {
        let at = |text: &str| parse_micros(text).unwrap();
        let now = at("2025-03-10T00:00:00Z");
        let record = br#"{"conversationId": "a", "conversationStart": "2025-03-01T00:00:00.000Z",
            "participants": [{"sessions": [{"callbackScheduledTime": "2025-04-01T00:00:00Z",
                "metrics": [{"emitDate": "2025-03-02T00:00:00.5Z", "value": 20250309}]}],
                "attributes": {"appointment": "2025-03-09T00:00:00Z"}}]}"#;
        assert_eq!(last_activity(record, now), Some(at("2025-03-02T00:00:00.5Z")));
        assert_eq!(last_activity(record, at("2025-03-01T12:00:00Z")), Some(at("2025-03-01T00:00:00Z")));
        assert_eq!(last_activity(record, at("2025-02-01T00:00:00Z")), None);
        for none in [&b"{}"[..], b"[\"2025-03-01T00:00:00Z\"]", b"{", b""] {
            assert_eq!(last_activity(none, now), None);
        }
    }
}
