//! A body taken apart: where its records stand, and what it says about going on.

use std::ops::Range;

use memchr::memmem;
use serde_json::{Map, Value};

use super::complaint::{Complaint, quote, text, whole};
use super::scan::{Malformed, Scanner};
use crate::error::{Error, Result};
use crate::time::{Timestamp, parse_timestamp};

/// Keys under which a page keeps its records.
const RECORD_KEYS: [&str; 2] = ["conversations", "entities"];
/// Keys whose values say how to go on, or why not.
const KNOWN_KEYS: [&str; 11] = [
    "cursor",
    "nextPageCursor",
    "totalHits",
    "totalRecords",
    "paging",
    "dataAvailabilityDate",
    "message",
    "code",
    "contextId",
    "status",
    "error",
];
/// What a list of entities says about itself. These alone make no page: a record may have such fields.
const LIST_KEYS: [&str; 3] = ["pageCount", "nextUri", "total"];
/// Top-level keys that an error names, at most.
const KEYS_NAMED_MAX: usize = 20;

/// What the second tutorial's answers say about their pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// The page that this is, from 1.
    pub page_number: Option<u64>,
    /// Records on it, by its own account.
    pub page_size: Option<u64>,
    /// Pages that there are.
    pub page_count: Option<u64>,
}

/// One response body, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Where in the body each record stands, in order.
    pub records: Vec<Range<usize>>,
    /// `cursor`: where a job's results go on.
    pub cursor: Option<String>,
    /// `nextPageCursor`: where the first tutorial's pages go on.
    pub next_page_cursor: Option<String>,
    /// `totalHits`: a hint, never a proof.
    pub total_hits: Option<u64>,
    /// `totalRecords`: the same.
    pub total_records: Option<u64>,
    /// `paging`, when there is one.
    pub paging: Option<Paging>,
    /// `pageCount` of a list of entities.
    pub page_count: Option<u64>,
    /// `nextUri` of such a list: where it goes on.
    pub next_uri: Option<String>,
    /// `total` of such a list: a hint.
    pub total: Option<u64>,
    /// Whether there is a place for records, also when it is empty.
    pub names_records: bool,
    /// `dataAvailabilityDate`: the source promises to be complete before it.
    pub availability: Option<Timestamp>,
    /// An error object in place of a page.
    pub complaint: Option<Complaint>,
    /// Whether anything in it makes it a page: records, or what is said about going on. An empty object is one.
    pub is_page: bool,
}

impl Envelope {
    /// Takes `body` apart. Records are cut out, not read: each may be broken without harm to the others.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when the body is no whole JSON object, or keeps something other than a list
    /// under the records' key. The text names top-level keys, never a value.
    pub fn read(body: &[u8]) -> Result<Envelope> {
        let mut page = Parts::default();
        page.scan(body).map_err(|e| Error::data(format!("the answer is not a page: {e}")))?;
        if let Some(key) = page.odd_records {
            let known: Vec<_> = page.keys.iter().map(|k| format!("`{}`", quote(k))).collect();
            return Err(Error::data(format!("`{key}` is not a list; the answer's keys: {}", known.join(", "))));
        }
        Ok(page.envelope())
    }
}

impl Envelope {
    /// Takes apart what was saved: a page, a conversation that stands alone, or a bare list of conversations, which is
    /// a page without an envelope.
    ///
    /// # Errors
    /// Like [`Envelope::read`].
    pub fn of_saved(document: &[u8]) -> Result<Envelope> {
        if document.first() != Some(&b'[') {
            return Envelope::read(document);
        }
        let mut scanner = Scanner::new(document);
        let records = scanner.list().and_then(|records| scanner.end().map(|()| records));
        let records = records.map_err(|e| Error::data(format!("the list is not one of conversations: {e}")))?;
        Ok(Envelope { records, names_records: true, is_page: true, ..Envelope::default() })
    }
}

/// Where the list of records seems to stand in a saved page that begins with it, or is nothing else: the text around it
/// is as it should be, and it begins and ends like one. Whoever reads it finds out whether it is one; if not,
/// [`Envelope::of_saved`] says what is.
pub(crate) fn seeming_list(page: &[u8]) -> Option<Range<usize>> {
    let mut scanner = Scanner::new(page);
    let bare = scanner.peek() == Some(b'[');
    if !bare {
        let key = scanner.key(true).ok()??;
        RECORD_KEYS.iter().find(|known| page[key.start + 1..key.end - 1] == *known.as_bytes())?;
    }
    let start = scanner.at();
    if scanner.peek() != Some(b'[') {
        return None;
    }
    let end = memmem::rfind(page, b"}]").filter(|end| *end > start)? + 2;
    let mut behind = scanner.from(end);
    if !bare {
        while let Some(key) = behind.key(false).ok()? {
            let key: String = serde_json::from_slice(&page[key]).ok()?;
            behind.value().ok().filter(|_| !RECORD_KEYS.contains(&key.as_str()))?;
        }
    }
    behind.end().ok().map(|()| start..end)
}

/// The members of the top-level object, sorted into records and the rest.
#[derive(Default)]
struct Parts {
    records: Vec<Range<usize>>,
    names_records: bool,
    keeps_records: bool,
    odd_records: Option<&'static str>,
    known: Map<String, Value>,
    keys: Vec<String>,
}

impl Parts {
    fn scan(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(body);
        let mut first = true;
        while let Some(key) = scanner.key(first)? {
            first = false;
            // A key that cannot be read is nobody's we know; its value is passed over like any other.
            let key: String = serde_json::from_slice(&body[key]).unwrap_or_default();
            if let Some(name) = RECORD_KEYS.iter().find(|name| **name == key) {
                self.names_records = true;
                self.records_at(&mut scanner, body, name)?;
            } else {
                let value = scanner.value()?;
                if KNOWN_KEYS.iter().chain(&LIST_KEYS).any(|known| *known == key)
                    && let Ok(value) = serde_json::from_slice(&body[value])
                {
                    self.known.insert(key.clone(), value);
                }
            }
            if self.keys.len() < KEYS_NAMED_MAX {
                self.keys.push(key);
            }
        }
        scanner.end()
    }

    fn records_at(&mut self, scanner: &mut Scanner<'_>, body: &[u8], name: &'static str) -> Result<(), Malformed> {
        if scanner.peek() == Some(b'[') {
            self.keeps_records = true;
            self.records.append(&mut scanner.list()?);
            return Ok(());
        }
        let value = scanner.value()?;
        match serde_json::from_slice::<Value>(&body[value]) {
            Ok(Value::Null) => {}
            Ok(Value::Object(object)) if object.is_empty() => self.keeps_records = true,
            _ => self.odd_records = Some(name),
        }
        Ok(())
    }

    fn envelope(self) -> Envelope {
        let complaint = Some(Complaint::of_object(&self.known)).filter(|c| !self.keeps_records && !c.is_empty());
        let says_more = KNOWN_KEYS.iter().any(|key| self.known.contains_key(*key));
        let is_page = self.names_records || says_more || self.keys.is_empty();
        let known = |name: &str| self.known.get(name);
        let paging = known("paging").and_then(Value::as_object).map(|paging| Paging {
            page_number: paging.get("pageNumber").and_then(whole),
            page_size: paging.get("pageSize").and_then(whole),
            page_count: paging.get("pageCount").and_then(whole),
        });
        Envelope {
            cursor: known("cursor").and_then(text),
            next_page_cursor: known("nextPageCursor").and_then(text),
            total_hits: known("totalHits").and_then(whole),
            total_records: known("totalRecords").and_then(whole),
            availability: known("dataAvailabilityDate").and_then(Value::as_str).and_then(parse_timestamp),
            page_count: known("pageCount").and_then(whole),
            next_uri: known("nextUri").and_then(text),
            total: known("total").and_then(whole),
            names_records: self.names_records,
            paging,
            complaint,
            is_page,
            records: self.records,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Envelope {
        Envelope::read(body.as_bytes()).unwrap()
    }

    fn texts<'a>(body: &'a [u8], envelope: &Envelope) -> Vec<&'a [u8]> {
        envelope.records.iter().map(|r| &body[r.clone()]).collect()
    }

    #[test]
    fn everything_a_page_says_is_read() {
        let page = read(
            r#"{"entities": [ {"a":1} , 2 ], "cursor":"c=","nextPageCursor":"n","totalHits":7,"totalRecords":"8",
                "paging":{"pageNumber":1,"pageSize":2,"pageCount":9.0},"dataAvailabilityDate":"2024-04-29T04:10:03Z","new":{}}"#,
        );
        assert_eq!(page.records.len(), 2);
        assert_eq!((page.cursor.as_deref(), page.next_page_cursor.as_deref()), (Some("c="), Some("n")));
        assert_eq!((page.total_hits, page.total_records), (Some(7), Some(8)));
        assert_eq!(page.paging, Some(Paging { page_number: Some(1), page_size: Some(2), page_count: Some(9) }));
        assert_eq!(page.availability, parse_timestamp("2024-04-29T04:10:03.000Z"));
        assert_eq!(page.complaint, None);
    }

    #[test]
    fn no_records_is_said_in_many_ways() {
        for body in
            ["{}", r#"{"conversations":null}"#, r#"{"conversations":[]}"#, r#"{"entities":{}}"#, "\u{feff} {} \n"]
        {
            let names_records = body.contains('"');
            assert_eq!(read(body), Envelope { is_page: true, names_records, ..Envelope::default() }, "{body}");
        }
        let ended = read(r#"{"entities":[],"nextPageCursor":""}"#);
        assert_eq!(ended.next_page_cursor, None);
    }

    #[test]
    fn a_record_that_stands_alone_is_not_a_page() {
        assert!(!read(r#"{"conversationId":"c","participants":[]}"#).is_page);
        assert!(!read(r#"{"conversationId":"c","total":1}"#).is_page);
        assert!(read(r#"{"totalHits":0}"#).is_page);
    }

    #[test]
    fn an_error_object_is_not_an_empty_page() {
        let page = read(r#"{"message":"slow down","code":"too.many.requests","status":429}"#);
        assert_eq!(page.complaint.unwrap().status, Some(429));
        assert_eq!(read(r#"{"entities":[],"message":"fine"}"#).complaint, None);
    }

    #[test]
    fn a_broken_record_is_one_element() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        let records: Vec<Vec<u8>> = vec![
            br#"{"a":NaN,"b":"]}\"\\"}"#.to_vec(),
            b"{\"bad\":\"\xff\xfe\"}".to_vec(),
            br#"{"lone":"\ud800"}"#.to_vec(),
            deep.into_bytes(),
            b"Infinity".to_vec(),
        ];
        let body = [b"{\"conversations\":[".as_slice(), &records.join(b" , ".as_slice()), b"]}"].concat();
        let envelope = Envelope::read(&body).unwrap();
        assert_eq!(texts(&body, &envelope), records);
    }

    #[test]
    fn what_is_no_page_is_refused_without_its_content() {
        let odd = Envelope::read(br#"{"conversations":"secret","totalHits":1}"#).unwrap_err().to_string();
        assert_eq!(odd, "`conversations` is not a list; the answer's keys: `conversations`, `totalHits`");
        for bad in [
            "",
            "[]",
            "null",
            "<html>",
            "{",
            "{}x",
            r#"{"a":1,}"#,
            r#"{"entities":[1,]}"#,
            r#"{"entities":[{]}]}"#,
            r#"{"a" 1}"#,
        ] {
            assert!(Envelope::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_seems_to_be_where_it_is() {
        for page in [
            r#"{"conversations":[{"a":1},{}]}"#,
            r#" {"entities" : [{"b":"}]"}], "total":7,"more":{"x":[1]} } "#,
            r#"[{"c":1}] "#,
        ] {
            let list = seeming_list(page.as_bytes()).unwrap();
            let alone = Envelope::of_saved(page[list.clone()].as_bytes()).unwrap().records;
            let shifted: Vec<_> = alone.iter().map(|r| r.start + list.start..r.end + list.start).collect();
            assert_eq!(shifted, Envelope::of_saved(page.as_bytes()).unwrap().records, "{page}");
        }
        for other in [
            r#"{"conversationId":"c","participants":[{}]}"#,
            r#"{"conversations":[]}"#,
            r#"{"conversations":{"a":[{}]}}"#,
            r#"{"conversations":[{}],"entities":[1]}"#,
            r#"{"conversations":[{}],"message":"no comma" "code":1}"#,
            r#"{"conversations":[{}]"#,
            r#"{"conversations":[{}]} {}"#,
            r#"{"message":"}]"}"#,
            r#"[{}],[]"#,
            "[",
            "{",
            "",
        ] {
            assert_eq!(seeming_list(other.as_bytes()), None, "{other}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| Value::Number(n.into())),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_those_of_a_json_parser(records in prop::collection::vec(json(), 0..6), other in json(), pretty: bool) {
            let page = serde_json::json!({"before": other, "conversations": records, "totalHits": 3});
            let body = if pretty { serde_json::to_vec_pretty(&page) } else { serde_json::to_vec(&page) }.unwrap();
            let envelope = Envelope::read(&body).unwrap();
            let cut: Vec<Value> = texts(&body, &envelope).into_iter().map(|t| serde_json::from_slice(t).unwrap()).collect();
            prop_assert_eq!(cut, records);
            prop_assert_eq!(envelope.total_hits, Some(3));
        }

        #[test]
        fn no_truncation_passes_for_a_page(records in prop::collection::vec(json(), 0..4)) {
            let body = serde_json::to_vec(&serde_json::json!({"conversations": records, "cursor": "x"})).unwrap();
            for end in 0..body.len() {
                prop_assert!(Envelope::read(&body[..end]).is_err(), "cut at {}", end);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b'['), Just(b'}'), Just(b']'), Just(b':'), Just(b','), Just(b'\\'), any::<u8>()], 0..64)) {
            let _ = Envelope::read(&body);
        }
    }
}
