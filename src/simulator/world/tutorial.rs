//! The flat records of the two tutorials, made of the same conversations: their numbers are sums over the
//! sessions' metrics.

use serde_json::{Map, Number, Value, json};

use super::model::Conversation;

/// The first tutorial's metrics and what each of them adds up.
const DURATIONS: [(&str, &str); 5] = [
    ("handleDuration", "tHandle"),
    ("talkDuration", "tTalkComplete"),
    ("waitDuration", "tAcd"),
    ("holdDuration", "tHeldComplete"),
    ("wrapupDuration", "tAcw"),
];

/// The second tutorial's metrics.
const RATES: [&str; 3] = ["offerRate", "offerAnswerRate", "talkRate"];

/// Whether the first tutorial knows `metric`.
pub(crate) fn knows_duration(metric: &str) -> bool {
    DURATIONS.iter().any(|(name, _)| *name == metric)
}

/// Whether the second tutorial knows `metric`.
pub(crate) fn knows_rate(metric: &str) -> bool {
    RATES.contains(&metric)
}

/// A record of the first tutorial: durations as `{"total": ms}`, only those asked for, absent when never emitted.
pub(crate) fn cursor_record(conversation: &Conversation, metrics: &[String]) -> Map<String, Value> {
    let mut record = head(conversation);
    let asked = DURATIONS.iter().filter(|(name, _)| metrics.iter().any(|metric| metric == name));
    let totals = asked.filter_map(|(name, source)| {
        let total = conversation.total(source)?;
        Some((name.to_string(), json!({ "total": total })))
    });
    record.insert("metrics".to_owned(), Value::Object(totals.collect()));
    record
}

/// A record of the second tutorial: rates between 0 and 1, only those asked for, absent where there is nothing to
/// divide by; the queue when the query groups by it.
pub(crate) fn page_record(conversation: &Conversation, metrics: &[String], by_queue: bool) -> Map<String, Value> {
    let mut record = head(conversation);
    if let Some(queue) = conversation.last_queue().filter(|_| by_queue) {
        record.insert("queueId".to_owned(), Value::String(queue.to_string()));
    }
    let total = |name| conversation.total(name).unwrap_or(0);
    let (offered, answered) = (total("nOffered"), total("tAnswered"));
    let life = match (conversation.conversation_start, conversation.conversation_end) {
        (Some(start), Some(end)) => end.0 - start.0,
        _ => 0,
    };
    let mut values = Map::new();
    for name in metrics {
        let rate = match name.as_str() {
            "offerRate" => Some(if offered > 0 { 1.0 } else { 0.0 }),
            "offerAnswerRate" if offered > 0 => Some(if answered > 0 { 1.0 / offered as f64 } else { 0.0 }),
            "talkRate" if life > 0 => Some((total("tTalkComplete") as f64 / life as f64).min(1.0)),
            _ => None,
        };
        if let Some(number) = rate.and_then(Number::from_f64) {
            values.insert(name.clone(), Value::Number(number));
        }
    }
    record.insert("metrics".to_owned(), Value::Object(values));
    record
}

fn head(conversation: &Conversation) -> Map<String, Value> {
    let mut record = Map::new();
    let times = [("startTime", conversation.conversation_start), ("endTime", conversation.conversation_end)];
    let id = conversation.conversation_id.as_deref().unwrap_or_default();
    record.insert("conversationId".to_owned(), Value::String(id.to_owned()));
    for (name, at) in times {
        if let Some(at) = at {
            record.insert(name.to_owned(), Value::String(crate::time::wire_time(at.timestamp())));
        }
    }
    record
}
