//! What a JSON object is: a conversation, a page of conversations, or neither.
//!
//! This is the one place that decides, for what a source answers and for what was saved. Only the names of the
//! top-level members count, and of the record lists whether they are lists.

use std::borrow::Cow;

/// Spellings of the member that names a conversation. A bare `id` is none: other objects have one.
const ID_KEYS: [&str; 2] = ["conversationId", "conversation_id"];
/// Spellings of the member that says when it started.
const START_KEYS: [&str; 4] = ["conversationStart", "startTime", "conversation_start", "start_time"];
/// Members under which a page keeps its records.
const LIST_KEYS: [&str; 2] = ["conversations", "entities"];
/// What a page says about itself beside its records.
const PAGE_KEYS: [&str; 16] = [
    "cursor",
    "nextPageCursor",
    "totalHits",
    "totalRecords",
    "aggregations",
    "dataAvailabilityDate",
    "paging",
    "pageSize",
    "pageNumber",
    "pageCount",
    "total",
    "nextUri",
    "previousUri",
    "firstUri",
    "lastUri",
    "selfUri",
];
/// Names of top-level members that are kept for messages, at most.
const KEYS_NAMED_MAX: usize = 20;

/// What an object is, by its top-level members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A conversation: it has an id and a start, whatever else it has.
    Record,
    /// A page: it has a list of records, or null in its place, or nothing beside what ends a chain of pages.
    Page,
    /// Something else.
    #[default]
    Neither,
}

/// What stands where a page keeps its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nothing.
    #[default]
    Absent,
    /// Null.
    Null,
    /// A list.
    List,
    /// A value that is neither.
    Odd,
}

/// What a top-level member is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// The id of a conversation.
    Id,
    /// The start of one.
    Start,
    /// A list of records.
    Records,
    /// Something that a page says about itself.
    PageTalk,
    /// Nobody knows it.
    Unknown,
}

impl Member {
    /// What the member called `name` is.
    pub(crate) fn of(name: &str) -> Member {
        let is = |keys: &[&str]| keys.contains(&name);
        match name {
            _ if is(&LIST_KEYS) => Member::Records,
            _ if is(&PAGE_KEYS) => Member::PageTalk,
            _ if is(&ID_KEYS) => Member::Id,
            _ if is(&START_KEYS) => Member::Start,
            _ => Member::Unknown,
        }
    }
}

/// The names of an object's top-level members, as far as they tell what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Where its records stand; of several places the one that says most.
    pub place: Place,
    /// The first of its names, in order.
    names: Vec<String>,
    /// The first of those that no page has, or whose value is not what a page has there.
    unknown: Vec<String>,
    has_id: bool,
    has_start: bool,
    leads_on: bool,
}

impl Members {
    /// Those of a page that is a list of records and nothing else.
    pub(crate) fn of_list() -> Members {
        Members { place: Place::List, ..Members::default() }
    }

    /// Takes in a member other than a list of records.
    pub(crate) fn saw(&mut self, name: &str, member: Member) {
        self.has_id |= member == Member::Id;
        self.has_start |= member == Member::Start;
        if !matches!(member, Member::Records | Member::PageTalk) {
            keep(&mut self.unknown, name);
        }
        keep(&mut self.names, name);
    }

    /// Takes in a place for records.
    pub(crate) fn saw_records(&mut self, name: &str, place: Place) {
        self.place = self.place.max(place);
        keep(&mut self.names, name);
    }

    /// What a page has by this name is not what pages have there.
    pub(crate) fn misunderstood(&mut self, name: &str) {
        keep(&mut self.unknown, name);
    }

    /// It says where to go on.
    pub(crate) fn leads_on(&mut self) {
        self.leads_on = true;
    }

    /// Whether the object says where to go on, by whatever name.
    pub fn lead_on(&self) -> bool {
        self.leads_on
    }

    /// Whether it has an id or a start, as a conversation has both.
    pub fn tell_of_a_conversation(&self) -> bool {
        self.has_id || self.has_start
    }

    /// Whether nothing is in it that a page does not have.
    pub fn are_known(&self) -> bool {
        self.unknown.is_empty()
    }

    /// Whether nothing is in it but records and these members.
    pub fn are_only(&self, names: &[&str]) -> bool {
        let known = |name: &String| names.contains(&name.as_str()) || Member::of(name) == Member::Records;
        self.are_known() && self.names.iter().all(known)
    }

    /// What the object is.
    pub fn shape(&self) -> Shape {
        match self.place {
            _ if self.has_id && self.has_start => Shape::Record,
            Place::List | Place::Null => Shape::Page,
            Place::Absent if self.are_known() && !self.leads_on => Shape::Page,
            Place::Absent | Place::Odd => Shape::Neither,
        }
    }

    /// The names, for a message: never a value.
    pub fn named(&self) -> String {
        use super::complaint::quote;
        let names: Vec<String> = self.names.iter().map(|name| format!("`{}`", quote(name))).collect();
        let more = if names.len() == KEYS_NAMED_MAX { ", …" } else { "" };
        if names.is_empty() { "it has no keys".to_owned() } else { format!("its keys: {}{more}", names.join(", ")) }
    }
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < KEYS_NAMED_MAX {
        names.push(name.to_owned());
    }
}

/// The name that a key with its quotes stands for. One that cannot be read is nobody's that we know.
pub(crate) fn name(key: &[u8]) -> Cow<'_, str> {
    let bare = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")).unwrap_or(key);
    match serde_json::from_slice(key) {
        Ok(name) if bare.contains(&b'\\') => Cow::Owned(name),
        _ => String::from_utf8_lossy(bare),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::envelope::Envelope;
    use serde_json::{Map, Value, json};

    fn shape(object: &Value) -> Shape {
        Envelope::read(object.to_string().as_bytes()).unwrap().shape()
    }

    #[test]
    fn an_id_and_a_start_make_a_conversation_whatever_stands_beside_them() {
        for (id, start) in ID_KEYS.iter().flat_map(|id| START_KEYS.map(|start| (*id, start))) {
            assert_eq!(shape(&json!({id: "c", start: "2025-01-01T00:00:00Z"})), Shape::Record);
            for beside in PAGE_KEYS.iter().chain(&LIST_KEYS).chain(&["status", "error", "message", "code", "data"]) {
                for value in [json!(null), json!([]), json!({}), json!("x"), json!(7), json!([{}])] {
                    let members = [(*beside, value), (id, json!("c")), (start, json!("s"))];
                    let object: Map<String, Value> = members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                    let envelope = Envelope::read(Value::Object(object.clone()).to_string().as_bytes()).unwrap();
                    assert_eq!(envelope.shape(), Shape::Record, "{object:?}");
                    assert_eq!((envelope.complaint, envelope.records), (None, vec![]), "{object:?}");
                }
            }
        }
    }

    #[test]
    fn a_list_or_null_in_its_place_makes_a_page() {
        for key in LIST_KEYS {
            for value in [json!([]), json!([{"conversationId": "c"}]), json!(null)] {
                assert_eq!(shape(&json!({key: value, "new": {}})), Shape::Page, "{value}");
            }
            for value in [json!({}), json!("x"), json!({"a": []}), json!(0), json!(false)] {
                assert_eq!(shape(&json!({key: value})), Shape::Neither, "{value}");
            }
        }
        assert_eq!(shape(&json!({"conversations": [{}], "entities": {"a": 1}})), Shape::Neither);
    }

    #[test]
    fn without_a_list_only_what_ends_a_chain_is_a_page() {
        for end in [
            json!({}),
            json!({"totalHits": 7}),
            json!({"totalHits": 7, "aggregations": []}),
            json!({"dataAvailabilityDate": "2024-04-29T04:10:03Z", "cursor": null}),
            json!({"paging": {"pageCount": 0}}),
            json!({"totalRecords": 0, "nextPageCursor": ""}),
        ] {
            assert_eq!(shape(&end), Shape::Page, "{end}");
        }
        for other in [
            json!({"result": {"conversations": []}}),
            json!({"status": "maintenance"}),
            json!({"data": [{"conversationId": "c"}]}),
            json!({"cursor": "c"}),
            json!({"nextPageCursor": 7}),
            json!({"cursor": true}),
            json!({"totalHits": "many"}),
            json!({"totalHits": -1}),
            json!({"paging": [1]}),
            json!({"paging": {"pageCount": "many"}}),
            json!({"id": "c", "startTime": "2025-01-01T00:00:00Z"}),
            json!({"conversationId": "c", "participants": []}),
            json!({"conversationStart": "2025-01-01T00:00:00Z", "id": "c"}),
        ] {
            assert_eq!(shape(&other), Shape::Neither, "{other}");
        }
    }

    #[test]
    fn keys_are_named_and_values_are_not() {
        let object = json!({"a\nb": "secret", "totalHits": "hunter2", "data": [{"deep": 1}]});
        let envelope = Envelope::read(object.to_string().as_bytes()).unwrap();
        assert_eq!(envelope.members.named(), "its keys: `a b`, `totalHits`, `data`");
        assert_eq!(Members::default().named(), "it has no keys");
        let many: Map<String, Value> = (0..100).map(|n| (format!("k{n}"), Value::Null)).collect();
        let envelope = Envelope::read(Value::Object(many).to_string().as_bytes()).unwrap();
        assert!(envelope.members.named().ends_with("`k19`, …"), "{}", envelope.members.named());
    }

    #[test]
    fn a_key_is_known_however_it_is_written() {
        let shape = |text: &[u8]| Envelope::read(text).unwrap().shape();
        assert_eq!(shape(br#"{"\u0063onversationId":"c","startTim\u0065":"s"}"#), Shape::Record);
        assert_eq!(shape(br#"{"entiti\u0065s":[]}"#), Shape::Page);
        assert_eq!(shape(b"{\"\xff\":1}"), Shape::Neither);
    }
}
