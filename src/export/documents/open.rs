//! What other tools lay around pages and conversations: lists of pages, the answers of client libraries and gateways,
//! the messages of Singer taps, the rows of Airbyte. Only documents that are plainly none of ours come here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::{blank, foreign};
use crate::api::complaint::whole;
use crate::api::envelope::Envelope;
use crate::api::nesting::{Found, Nesting};
use crate::api::scan::Scanner;
use crate::api::shape::{self, Place, Shape};
use crate::error::{Error, Result};

/// Members in which an answer may lie. One level of them is looked through.
pub(super) const ENVELOPES: [&str; 6] = ["data", "body", "result", "results", "response", "payload"];
/// Members in which an envelope repeats the status of the answer.
const STATUSES: [&str; 3] = ["status", "statusCode", "code"];
/// Where Airbyte keeps a record.
const AIRBYTE: &str = "_airbyte_data";
/// Messages of a tap that carry no record.
const TAP_TALK: [&str; 6] = ["SCHEMA", "STATE", "ACTIVATE_VERSION", "LOG", "SPEC", "CATALOG"];
/// Members that such a message has, any of them.
const TAP_TALK_MEMBERS: [&str; 6] = ["stream", "value", "state", "log", "spec", "catalog"];
/// Lists in lists, at most: a list of pages that are bare lists.
const LISTS_MAX: u8 = 2;

/// What was laid around something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::export) enum Wrap {
    /// A member of an object.
    Member(&'static str),
    /// A JSON text in a member of an object.
    Text(&'static str),
    /// The record of a message of a tap.
    Tap,
}

impl fmt::Display for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrap::Member(name) => write!(f, "`{name}`"),
            Wrap::Text(name) => write!(f, "the JSON text in `{name}`"),
            Wrap::Tap => f.write_str("the records of a Singer tap"),
        }
    }
}

/// A part of a document.
#[derive(Clone, Debug)]
struct Piece {
    text: Bytes,
    /// Where in the document it stands; nowhere, if it was written as a text there.
    at: Option<usize>,
}

impl Piece {
    fn part(&self, range: Range<usize>) -> Piece {
        Piece { at: self.at.map(|at| at + range.start), text: self.text.slice(range) }
    }
}

/// What was in a document.
#[derive(Debug, Default)]
pub(in crate::export) struct Opened {
    records: Vec<Piece>,
    /// Whether there was a place for records, also if it was empty.
    has_place: bool,
    /// What was laid around them.
    pub(in crate::export) wraps: BTreeSet<Wrap>,
    /// Records of a tap that are no conversations, by their stream.
    pub(in crate::export) others: BTreeMap<String, u64>,
}

/// What may still be looked through.
#[derive(Clone, Copy)]
struct Depth {
    envelope: bool,
    lists: u8,
}

/// Looks for conversations in `document`.
///
/// # Errors
/// Data: something in it is neither a conversation nor a page, nor anything that is known to carry them.
pub(in crate::export) fn open(document: &Bytes) -> Result<Opened> {
    let mut opened = Opened::default();
    let whole = Piece { text: document.clone(), at: Some(0) };
    opened.value(whole, Depth { envelope: true, lists: LISTS_MAX })?;
    Ok(opened)
}

impl Opened {
    /// Where in the document its records stand; `None` if one of them was written as a text there.
    pub(in crate::export) fn in_place(&self) -> Option<Vec<Range<usize>>> {
        self.records.iter().map(|piece| piece.at.map(|at| at..at + piece.text.len())).collect()
    }

    /// Its records as a list of their own.
    pub(in crate::export) fn list(&self) -> (Bytes, Vec<Range<usize>>) {
        let (mut body, mut places) = (Vec::new(), Vec::new());
        for piece in &self.records {
            body.push(if body.is_empty() { b'[' } else { b',' });
            places.push(body.len()..body.len() + piece.text.len());
            body.extend_from_slice(&piece.text);
        }
        body.push(b']');
        (body.into(), places)
    }

    fn value(&mut self, piece: Piece, depth: Depth) -> Result<()> {
        match piece.text.first() {
            Some(b'{') => self.object(piece, depth),
            Some(b'[') if depth.lists > 0 => {
                let mut scanner = Scanner::new(&piece.text);
                let elements = scanner.list().and_then(|elements| scanner.end().map(|()| elements));
                let elements = elements.map_err(|e| Error::data(format!("the list is broken: {e}")))?;
                let elements = elements.into_iter().map(|element| piece.part(element)).collect();
                self.elements(elements, Depth { lists: depth.lists - 1, ..depth })
            }
            // It is set aside where it stands.
            _ => {
                self.records.push(piece);
                Ok(())
            }
        }
    }

    /// Takes what is in the elements of a list. Among conversations something else is one of them that is broken.
    fn elements(&mut self, elements: Vec<Piece>, depth: Depth) -> Result<()> {
        let mut odd = None;
        for element in &elements {
            if let Err(error) = self.value(element.clone(), depth) {
                odd.get_or_insert(error);
                self.records.push(element.clone());
            }
        }
        let is_record = |element: &Piece| Envelope::read(&element.text).is_ok_and(|e| e.shape() == Shape::Record);
        match odd {
            Some(error) if !elements.iter().any(is_record) => Err(error),
            _ => Ok(()),
        }
    }

    fn object(&mut self, piece: Piece, depth: Depth) -> Result<()> {
        let Ok(envelope) = Envelope::read(&piece.text) else {
            self.records.push(piece);
            return Ok(());
        };
        match envelope.shape() {
            Shape::Record => self.records.push(piece),
            Shape::Page if is_whole(&envelope) => {
                self.has_place |= envelope.members.place != Place::Absent;
                self.records.extend(envelope.records.into_iter().map(|record| piece.part(record)));
            }
            Shape::Page | Shape::Neither => {
                let members = Members::of(&piece);
                let found = match members.message()? {
                    Message::None => match members.row()? {
                        None if depth.envelope => members.envelope(depth),
                        row => row,
                    },
                    Message::Talk => Some(Opened::default()),
                    Message::Record(record, stream) => Some(of_stream(record, stream, depth)),
                };
                match found {
                    Some(found) => self.absorb(found),
                    None if envelope.members.tell_of_a_conversation() && foreign::of_json(&piece.text).is_none() => {
                        self.records.push(piece);
                    }
                    None => return Err(neither(&piece.text, &envelope)),
                }
            }
        }
        Ok(())
    }

    fn absorb(&mut self, other: Opened) {
        self.records.extend(other.records);
        self.has_place |= other.has_place;
        self.wraps.extend(other.wraps);
        for (stream, count) in other.others {
            *self.others.entry(stream).or_default() += count;
        }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.has_place
    }
}

/// Whether nothing is missing of a page: without a list it neither says that there is more nor anything that is not
/// known.
pub(super) fn is_whole(envelope: &Envelope) -> bool {
    let members = &envelope.members;
    members.place == Place::List || members.are_known() && !members.lead_on()
}

/// Says what is in the place of a conversation or a page.
fn neither(text: &[u8], envelope: &Envelope) -> Error {
    if let Some(complaint) = &envelope.complaint {
        return Error::data(format!("an error answer, not a page: {complaint}"));
    }
    if let Some(foreign) = foreign::of_json(text) {
        return foreign.error();
    }
    let what = match envelope.shape() {
        Shape::Page => "a page without its list of conversations",
        Shape::Record | Shape::Neither => "neither a conversation nor a page of them",
    };
    Error::data(format!("{what}: {}", envelope.members.named())).hint(
        "conversations have a conversationId and a conversationStart, pages a list called conversations or entities",
    )
}

/// A record of a tap. Taps have other streams than that of the conversations.
fn of_stream(record: Piece, stream: String, depth: Depth) -> Opened {
    let mut found = Opened::default();
    match found.object(record, depth) {
        Ok(()) => drop(found.wraps.insert(Wrap::Tap)),
        Err(_) => found = Opened { others: [(stream, 1)].into(), ..Opened::default() },
    }
    found
}

/// A message of a tap.
enum Message {
    /// It is none.
    None,
    /// It carries no record.
    Talk,
    /// A record of a stream.
    Record(Piece, String),
}

/// The members of an object, by name.
struct Members<'p> {
    piece: &'p Piece,
    places: BTreeMap<String, Range<usize>>,
}

impl<'p> Members<'p> {
    fn of(piece: &'p Piece) -> Members<'p> {
        let (mut scanner, mut places, mut first) = (Scanner::new(&piece.text), BTreeMap::new(), true);
        while let Ok(Some(key)) = scanner.key(first)
            && let Ok(value) = scanner.value()
        {
            first = false;
            places.insert(shape::name(&piece.text[key]).into_owned(), value);
        }
        Members { piece, places }
    }

    fn get(&self, name: &str) -> Option<Piece> {
        self.places.get(name).map(|range| self.piece.part(range.clone()))
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_slice(&self.get(name)?.text).ok()
    }

    fn message(&self) -> Result<Message> {
        let Some(kind) = self.text("type") else { return Ok(Message::None) };
        let record = self.get("record").filter(|record| record.text.starts_with(b"{"));
        Ok(match (kind.as_str(), record) {
            ("RECORD", Some(record)) => {
                let stream = self.text("stream").or_else(|| Members::of(&record).text("stream"));
                Message::Record(record, stream.unwrap_or_default())
            }
            ("BATCH", None) if self.get("manifest").is_some() => {
                return Err(Error::data("a tap's batch names other files").hint("convert the files of its manifest"));
            }
            (talk, _)
                if TAP_TALK.contains(&talk) && TAP_TALK_MEMBERS.iter().any(|name| self.places.contains_key(*name)) =>
            {
                Message::Talk
            }
            _ => Message::None,
        })
    }

    /// What is in a row of Airbyte.
    fn row(&self) -> Result<Option<Opened>> {
        self.get(AIRBYTE).map(|data| inside(&data, AIRBYTE, Depth { envelope: false, lists: 1 })).transpose()
    }

    /// What is in it as in an envelope. Nothing at all is believed only to an answer that says that it went well.
    fn envelope(&self, depth: Depth) -> Option<Opened> {
        let depth = Depth { envelope: false, ..depth };
        let mut all = None;
        for name in ENVELOPES {
            let found = self.get(name).and_then(|value| inside(&value, name, depth).ok());
            if let Some(found) = found.filter(|found| !found.is_empty() || self.went_well()) {
                all.get_or_insert_with(Opened::default).absorb(found);
            }
        }
        all
    }

    fn went_well(&self) -> bool {
        let status = |name: &&str| whole(&serde_json::from_slice(&self.get(name)?.text).ok()?);
        STATUSES.iter().find_map(status).is_some_and(|status| (200..300).contains(&status))
    }
}

/// What is in a member, written as it is or as a text.
fn inside(value: &Piece, name: &'static str, depth: Depth) -> Result<Opened> {
    let mut found = Opened::default();
    match value.text.first() {
        Some(b'{' | b'[') => {
            found.value(value.clone(), depth)?;
            found.wraps.insert(Wrap::Member(name));
        }
        Some(b'"') => {
            let text = written(&value.text).ok_or_else(|| Error::data(format!("`{name}` is no JSON text")))?;
            text.into_iter().try_for_each(|piece| found.value(piece, depth))?;
            found.wraps.insert(Wrap::Text(name));
        }
        _ => return Err(Error::data(format!("`{name}` holds no object"))),
    }
    Ok(found)
}

/// The documents in a text that is itself written as JSON.
fn written(quoted: &[u8]) -> Option<Vec<Piece>> {
    let text: Bytes = serde_json::from_slice(quoted).ok()?;
    let (mut pieces, mut at) = (Vec::new(), blank(&text));
    while at < text.len() {
        if !matches!(text[at], b'{' | b'[') {
            return None;
        }
        let Found::End(length) = Nesting::default().read(&text[at..]) else { return None };
        pieces.push(Piece { text: text.slice(at..at + length), at: None });
        at += length;
        at += blank(&text[at..]);
    }
    (!pieces.is_empty()).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const RECORD: &str = r#"{"conversationId":"c","conversationStart":"2025-03-04T10:00:00Z"}"#;

    /// The records in `text`, and what was around them.
    fn found(text: &str) -> (Vec<String>, Vec<String>) {
        let document = Bytes::copy_from_slice(text.as_bytes());
        let opened = open(&document).unwrap_or_else(|e| panic!("{text}: {e}"));
        let (body, records) = match opened.in_place() {
            Some(records) => (document, records),
            None => opened.list(),
        };
        let texts = records.into_iter().map(|record| String::from_utf8(body[record].to_vec()).unwrap()).collect();
        (texts, opened.wraps.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn conversations_are_found_in_what_is_laid_around_them() {
        let text = |inner: &str| serde_json::to_string(inner).unwrap();
        let page = format!(r#"{{"conversations":[{RECORD},{RECORD}],"totalHits":2}}"#);
        for (document, count, wraps) in [
            (format!("[{page},{RECORD},{page}]"), 5, vec![]),
            (format!("[[{RECORD}],[{RECORD}]]"), 2, vec![]),
            (format!(r#"{{"status":200,"statusText":"OK","data":{page}}}"#), 2, vec!["`data`"]),
            (format!(r#"{{"message":"fine","code":"ok","payload":{page}}}"#), 2, vec!["`payload`"]),
            (format!(r#"{{"results":[{page},{page}]}}"#), 4, vec!["`results`"]),
            (format!(r#"{{"result":[{RECORD}]}}"#), 1, vec!["`result`"]),
            (format!(r#"{{"response":{RECORD}}}"#), 1, vec!["`response`"]),
            (format!(r#"[{{"data":{page}}},{{"data":{page}}}]"#), 4, vec!["`data`"]),
            (format!(r#"{{"statusCode":200,"body":{}}}"#, text(&page)), 2, vec!["the JSON text in `body`"]),
            (format!(r#"{{"body":{}}}"#, text(&format!("{RECORD}\n{RECORD}\n"))), 2, vec!["the JSON text in `body`"]),
            (r#"{"status":200,"data":{}}"#.to_owned(), 0, vec!["`data`"]),
            (format!(r#"{{"conversations":null,"data":{page}}}"#), 2, vec!["`data`"]),
            (format!(r#"{{"type":"RECORD","stream":"s","record":{RECORD}}}"#), 1, vec!["the records of a Singer tap"]),
            (
                format!(r#"{{"type":"RECORD","record":{{"stream":"s","data":{RECORD}}}}}"#),
                1,
                vec!["`data`", "the records of a Singer tap"],
            ),
            (r#"{"type":"STATE","value":{}}"#.to_owned(), 0, vec![]),
            (r#"{"type":"SCHEMA","stream":"s","schema":{}}"#.to_owned(), 0, vec![]),
            (format!(r#"{{"_airbyte_raw_id":"x","_airbyte_data":{RECORD}}}"#), 1, vec!["`_airbyte_data`"]),
            (format!(r#"{{"_airbyte_data":{}}}"#, text(RECORD)), 1, vec!["the JSON text in `_airbyte_data`"]),
            (r#"[{"conversationId":"c"}]"#.to_owned(), 1, vec![]),
            (format!(r#"[{{"else":{RECORD}}},{RECORD}]"#), 2, vec![]),
        ] {
            let (records, around) = found(&document);
            assert_eq!(around, wraps, "{document}");
            assert_eq!(records.len(), count, "{document}");
            assert!(records.iter().all(|record| record.contains(r#""conversationId":"c""#)), "{document}");
        }
    }

    #[test]
    fn other_streams_of_a_tap_are_counted() {
        let opened = open(&Bytes::from_static(br#"{"type":"RECORD","stream":"users","record":{"id":1}}"#)).unwrap();
        assert_eq!((opened.records.len(), opened.others.get("users")), (0, Some(&1)));
    }

    #[test]
    fn what_carries_no_conversations_is_refused_and_named() {
        for (document, named) in [
            (r#"{"status":"maintenance"}"#, "its keys: `status`"),
            (r#"{"data":{}}"#, "its keys: `data`"),
            (r#"{"status":503,"data":{}}"#, "its keys: `status`, `data`"),
            (r#"{"data":{"data":{"conversations":[]}}}"#, "its keys: `data`"),
            (r#"{"body":"not JSON"}"#, "its keys: `body`"),
            (r#"{"conversations":null,"cursor":"x"}"#, "a page without its list"),
            (r#"{"message":"no","code":"internal"}"#, "an error answer, not a page: internal: no"),
            (r#"[{"conversations":[]},{"else":1}]"#, "its keys: `else`"),
            (r#"{"_airbyte_data":{"id":1}}"#, "its keys: `id`"),
            (r#"{"id":"x","startTime":"2025-01-01T00:00:00Z","participants":[]}"#, "live conversations"),
            (r#"{"detail-type":"x","detail":{}}"#, "EventBridge"),
        ] {
            let error = open(&Bytes::from_static(document.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), Kind::Data);
            assert!(error.to_string().contains(named), "{document}: {error}");
        }
    }
}
