//! Ugly records: what the network, other people's serialisers and time do to JSON. Raw bytes, for some of them are
//! not JSON at all.

use serde_json::{Map, Value};

use super::birth::UGLY;
use super::dice::{Dice, Stream};

/// Everything that can be wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ugly {
    /// Optional fields are null instead of absent.
    NullFields,
    /// No `conversationId`.
    NoId,
    /// `conversationId` is null.
    NullId,
    /// `conversationId` is a number.
    NumericId,
    /// `conversationId` is empty.
    EmptyId,
    /// `conversationId` is no UUID and holds slashes, dots, quotes and a line break.
    OddId,
    /// The id of the record before it, with other content. A good record that stands twice.
    Twin,
    /// No start.
    NoStart,
    /// The start is not a timestamp: one digit of the day is missing.
    BrokenStart,
    /// The start is a number.
    NumericStart,
    /// The start is in the year 9999.
    FarFuture,
    /// The start is in the year 1.
    FarPast,
    /// The end is before the start.
    EndBeforeStart,
    /// Fields of another JSON type than documented.
    WrongTypes,
    /// A number above `i64` and one above `f64`'s exact integers.
    BigNumbers,
    /// `1e400`.
    HugeNumber,
    /// The literal `NaN`.
    NotANumber,
    /// The escape of half a surrogate pair.
    LoneSurrogate,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// NUL, escape sequences, text direction marks, emoji.
    ControlCharacters,
    /// A string of a megabyte.
    HugeString,
    /// The same key twice.
    DuplicateKeys,
    /// An array nested 200 deep.
    Deep,
    /// Fields, metrics and enum values that nobody has documented yet.
    Unknown,
    /// Empty arrays and objects where there should be some.
    Empty,
    /// A number instead of the record.
    Number,
    /// An array instead of the record.
    Array,
    /// Null instead of the record.
    Null,
    /// A string instead of the record.
    Text,
}

impl Ugly {
    /// All of them.
    pub const ALL: [Ugly; 29] = [
        Ugly::NullFields,
        Ugly::NoId,
        Ugly::NullId,
        Ugly::NumericId,
        Ugly::EmptyId,
        Ugly::OddId,
        Ugly::Twin,
        Ugly::NoStart,
        Ugly::BrokenStart,
        Ugly::NumericStart,
        Ugly::FarFuture,
        Ugly::FarPast,
        Ugly::EndBeforeStart,
        Ugly::WrongTypes,
        Ugly::BigNumbers,
        Ugly::HugeNumber,
        Ugly::NotANumber,
        Ugly::LoneSurrogate,
        Ugly::InvalidUtf8,
        Ugly::ControlCharacters,
        Ugly::HugeString,
        Ugly::DuplicateKeys,
        Ugly::Deep,
        Ugly::Unknown,
        Ugly::Empty,
        Ugly::Number,
        Ugly::Array,
        Ugly::Null,
        Ugly::Text,
    ];

    /// Whether a conversation can still be read out of it: it has an id and a start, and it is JSON that a strict
    /// reader takes, or takes when half a character becomes U+FFFD.
    pub fn readable(self) -> bool {
        use Ugly::*;
        match self {
            NullFields | OddId | Twin | FarFuture | FarPast | EndBeforeStart | WrongTypes | BigNumbers | HugeNumber
            | LoneSurrogate | ControlCharacters | HugeString | DuplicateKeys | Unknown | Empty => true,
            NoId | NullId | NumericId | EmptyId | NoStart | BrokenStart | NumericStart | NotANumber | InvalidUtf8
            | Deep | Number | Array | Null | Text => false,
        }
    }

    /// Which ugliness a record of an ugly world has, if any.
    pub(super) fn draw(seed: u64, day: i64, number: u32) -> Option<Ugly> {
        let mut dice = Dice::new(seed, Stream::Ugly, day, number.into());
        let index = dice.between(0, Ugly::ALL.len() as i64 - 1) as usize;
        dice.chance(UGLY).then_some(Ugly::ALL[index])
    }

    /// Spoils a good record, of either the real API or a tutorial.
    pub(crate) fn spoil(self, json: Vec<u8>) -> Vec<u8> {
        let Ok(Value::Object(mut record)) = serde_json::from_slice(&json) else { return json };
        let start = if record.contains_key("startTime") { "startTime" } else { "conversationStart" };
        let end = if start == "startTime" { "endTime" } else { "conversationEnd" };
        match self {
            Ugly::Twin => return json,
            Ugly::NotANumber => return splice(&json, br#""mediaStatsMinConversationMos":NaN"#),
            Ugly::HugeNumber => return splice(&json, br#""someNewRatio":1e400"#),
            Ugly::LoneSurrogate => return splice(&json, br#""externalTag":"\ud800""#),
            Ugly::InvalidUtf8 => return splice(&json, b"\"externalTag\":\"\xff\xfe\""),
            Ugly::DuplicateKeys => return splice(&json, br#""conversationId":"overwritten","conversationId":null"#),
            Ugly::Deep => {
                let deep = format!(r#""deep":{}{}"#, "[".repeat(200), "]".repeat(200));
                return splice(&json, deep.as_bytes());
            }
            Ugly::Number => return b"42".to_vec(),
            Ugly::Array => return b"[]".to_vec(),
            Ugly::Null => return b"null".to_vec(),
            Ugly::Text => return br#""conversation""#.to_vec(),
            Ugly::NoId => drop(record.remove("conversationId")),
            Ugly::NoStart => drop(record.remove(start)),
            Ugly::NullId => set(&mut record, "conversationId", "null"),
            Ugly::NumericId => set(&mut record, "conversationId", "4711"),
            Ugly::EmptyId => set(&mut record, "conversationId", r#""""#),
            Ugly::OddId => {
                let odd = record.get("conversationId").and_then(Value::as_str).unwrap_or_default();
                let odd = format!("/../{odd}/%2e%2e'\"\n");
                record.insert("conversationId".to_owned(), Value::String(odd));
            }
            Ugly::BrokenStart => {
                let broken = record.get(start).and_then(Value::as_str).unwrap_or_default();
                let broken = format!("{}2T15:30:51.418Z", broken.get(..8).unwrap_or_default());
                record.insert(start.to_owned(), Value::String(broken));
            }
            Ugly::NumericStart => set(&mut record, start, "1735689600000"),
            Ugly::FarFuture => set(&mut record, start, r#""9999-12-31T23:59:59.999Z""#),
            Ugly::FarPast => set(&mut record, start, r#""0001-01-01T00:00:00.000Z""#),
            Ugly::EndBeforeStart => set(&mut record, end, r#""2019-12-31T23:59:59.999Z""#),
            Ugly::NullFields => {
                for key in ["conferenceStart", "divisionIds", "externalTag", "participants", "metrics", end] {
                    set(&mut record, key, "null");
                }
            }
            Ugly::WrongTypes => {
                set(&mut record, "divisionIds", r#"["a",7,null]"#);
                set(&mut record, "externalTag", r#"{"crm":1}"#);
                set(&mut record, "customerParticipation", r#""true""#);
                set(&mut record, end, "true");
                set(&mut record, "metrics", r#"{"handleDuration":"n/a","offerRate":"0.5"}"#);
            }
            Ugly::BigNumbers => {
                set(&mut record, "someNewCount", "9223372036854775808");
                set(&mut record, "someOtherCount", "9007199254740993");
                if let Some(value) = record.get_mut("participants").and_then(first_metric) {
                    *value = parsed("9223372036854775808");
                }
            }
            Ugly::ControlCharacters => {
                set(&mut record, "externalTag", r#""\u0000\u001b[31m\u202eabc\u2066 \ud83d\ude00 'quoted' \\ /""#);
            }
            Ugly::HugeString => {
                record.insert("externalTag".to_owned(), Value::String("x".repeat(1 << 20)));
            }
            Ugly::Unknown => {
                set(&mut record, "someNewField", r#"{"nested":[1,{"deep":true}]}"#);
                set(&mut record, "originatingDirection", r#""sideways""#);
                if let Some(name) = record.get_mut("participants").and_then(first_metric_name) {
                    *name = Value::String("tSomethingNew".to_owned());
                }
            }
            Ugly::Empty => {
                for key in ["participants", "divisionIds", "evaluations", "accessAttributes"] {
                    set(&mut record, key, "[]");
                }
                set(&mut record, "metrics", "{}");
            }
        }
        // Keys stay in place; what cannot be written (nothing here can) stays as it was.
        serde_json::to_vec(&record).unwrap_or(json)
    }
}

/// Writes `member` in front of the members of the object `json`.
fn splice(json: &[u8], member: &[u8]) -> Vec<u8> {
    let rest = json.strip_prefix(b"{").unwrap_or(json);
    [b"{", member, b",", rest].concat()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

fn set(record: &mut Map<String, Value>, key: &str, json: &str) {
    record.insert(key.to_owned(), parsed(json));
}

fn metric_of(participants: &mut Value) -> Option<&mut Value> {
    let sessions = participants.as_array_mut()?.iter_mut().filter_map(|p| p.get_mut("sessions")?.as_array_mut());
    sessions.flatten().filter_map(|s| s.get_mut("metrics")?.get_mut(0)).next()
}

fn first_metric(participants: &mut Value) -> Option<&mut Value> {
    metric_of(participants)?.get_mut("value")
}

fn first_metric_name(participants: &mut Value) -> Option<&mut Value> {
    metric_of(participants)?.get_mut("name")
}
