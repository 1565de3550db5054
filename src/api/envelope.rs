//! A body taken apart: where its records stand, and what it says about going on.

use std::ops::Range;

use memchr::memmem;
use serde_json::{Map, Value};

use super::complaint::{Complaint, text, whole};
use super::scan::{Malformed, Scanner};
use super::shape::{Member, Members, Place, Shape, name};
use crate::error::{Error, Result};
use crate::time::{Timestamp, parse_timestamp};

/// Members that an error has in place of a page.
const COMPLAINT_KEYS: [&str; 5] = ["message", "code", "contextId", "status", "error"];

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

/// Where a chain of pages goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// Nowhere: it is absent, null or empty.
    #[default]
    End,
    /// Behind this one.
    At(String),
    /// It is neither a text nor a number.
    Odd,
}

impl Cursor {
    fn of(value: &Value) -> Cursor {
        match value {
            Value::Null => Cursor::End,
            Value::String(text) if text.is_empty() => Cursor::End,
            value => text(value).map_or(Cursor::Odd, Cursor::At),
        }
    }
}

/// One response body, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Its top-level members: they say what it is.
    pub members: Members,
    /// Where in the body each record stands, in order.
    pub records: Vec<Range<usize>>,
    /// `cursor`: where a job's results go on.
    pub cursor: Cursor,
    /// `nextPageCursor`: where the first tutorial's pages go on.
    pub next_page_cursor: Cursor,
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
    /// `dataAvailabilityDate`: the source promises to be complete before it.
    pub availability: Option<Timestamp>,
    /// What it says is wrong, where it has neither records nor a place for them.
    pub complaint: Option<Complaint>,
}

impl Envelope {
    /// Takes `body` apart. Records are cut out, not read: each may be broken without harm to the others.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when the body is no whole JSON object.
    pub fn read(body: &[u8]) -> Result<Envelope> {
        let mut parts = Parts::default();
        parts.scan(body).map_err(|e| Error::data(format!("the answer is not a page: {e}")))?;
        Ok(parts.envelope())
    }

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
        Ok(Envelope { records, ..Envelope::of_list() })
    }

    /// A page that is a list of records and nothing else.
    pub(crate) fn of_list() -> Envelope {
        Envelope { members: Members::of_list(), ..Envelope::default() }
    }

    /// What the object is.
    pub fn shape(&self) -> Shape {
        self.members.shape()
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
        Some(Member::of(&name(&page[key]))).filter(|member| *member == Member::Records)?;
    }
    let start = scanner.at();
    if scanner.peek() != Some(b'[') {
        return None;
    }
    let end = memmem::rfind(page, b"}]").filter(|end| *end > start)? + 2;
    let mut behind = scanner.from(end);
    if !bare {
        while let Some(key) = behind.key(false).ok()? {
            // A second list, and a conversation that has a list of its own, are not told apart here.
            let member = Member::of(&name(&page[key]));
            behind.value().ok().filter(|_| matches!(member, Member::PageTalk | Member::Unknown))?;
        }
    }
    behind.end().ok().map(|()| start..end)
}

/// The members of the top-level object, sorted into records and the rest.
#[derive(Default)]
struct Parts {
    records: Vec<Range<usize>>,
    members: Members,
    /// What a page says about itself, and what an error says.
    said: Map<String, Value>,
}

impl Parts {
    fn scan(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(body);
        let mut first = true;
        while let Some(key) = scanner.key(first)? {
            first = false;
            let name = name(&body[key]);
            let member = Member::of(&name);
            if member == Member::Records {
                let place = self.records_at(&mut scanner, body)?;
                self.members.saw_records(&name, place);
                continue;
            }
            let value = scanner.value()?;
            self.members.saw(&name, member);
            if member == Member::PageTalk || COMPLAINT_KEYS.contains(&&*name) {
                match serde_json::from_slice(&body[value]) {
                    Ok(value) => drop(self.said.insert(name.into_owned(), value)),
                    // It is nothing that this place may have.
                    Err(_) => drop(self.said.insert(name.into_owned(), Value::Bool(false))),
                }
            }
        }
        scanner.end()
    }

    fn records_at(&mut self, scanner: &mut Scanner<'_>, body: &[u8]) -> Result<Place, Malformed> {
        if scanner.peek() == Some(b'[') {
            self.records.append(&mut scanner.list()?);
            return Ok(Place::List);
        }
        let value = scanner.value()?;
        Ok(if &body[value] == b"null" { Place::Null } else { Place::Odd })
    }

    fn envelope(mut self) -> Envelope {
        let paging = match self.said.get("paging") {
            None | Some(Value::Null) => None,
            Some(Value::Object(paging)) => {
                let mut number = |name: &str| count(paging, name, || self.members.misunderstood("paging"));
                let (page_number, page_size) = (number("pageNumber"), number("pageSize"));
                Some(Paging { page_number, page_size, page_count: number("pageCount") })
            }
            Some(_) => {
                self.members.misunderstood("paging");
                None
            }
        };
        let mut number = |name: &str| count(&self.said, name, || self.members.misunderstood(name));
        let (total_hits, total_records) = (number("totalHits"), number("totalRecords"));
        let (page_count, total) = (number("pageCount"), number("total"));
        let cursor = |name: &str| self.said.get(name).map(Cursor::of).unwrap_or_default();
        let (cursor, next_page_cursor) = (cursor("cursor"), cursor("nextPageCursor"));
        for (name, cursor) in [("cursor", &cursor), ("nextPageCursor", &next_page_cursor)] {
            match cursor {
                Cursor::End => {}
                Cursor::At(_) => self.members.leads_on(),
                Cursor::Odd => self.members.misunderstood(name),
            }
        }
        let next_uri = self.said.get("nextUri").and_then(text);
        if next_uri.is_some() {
            self.members.leads_on();
        }
        let availability = self.said.get("dataAvailabilityDate").filter(|value| !value.is_null());
        let availability = availability.and_then(|value| {
            let at = value.as_str().and_then(parse_timestamp);
            if at.is_none() {
                self.members.misunderstood("dataAvailabilityDate");
            }
            at
        });
        let complains = self.members.shape() != Shape::Record && self.members.place != Place::List;
        let complaint = Some(Complaint::of_object(&self.said)).filter(|c| complains && !c.is_empty());
        Envelope {
            records: if self.members.shape() == Shape::Page { self.records } else { Vec::new() },
            cursor,
            next_page_cursor,
            total_hits,
            total_records,
            availability,
            page_count,
            next_uri,
            total,
            paging,
            complaint,
            members: self.members,
        }
    }
}

/// A count that may be absent or null; `odd` is told when it is neither that nor a count.
fn count(object: &Map<String, Value>, name: &str, odd: impl FnOnce()) -> Option<u64> {
    let value = object.get(name).filter(|value| !value.is_null())?;
    let count = whole(value);
    if count.is_none() {
        odd();
    }
    count
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
        assert_eq!((&page.cursor, &page.next_page_cursor), (&Cursor::At("c=".to_owned()), &Cursor::At("n".to_owned())));
        assert_eq!((page.total_hits, page.total_records), (Some(7), Some(8)));
        assert_eq!(page.paging, Some(Paging { page_number: Some(1), page_size: Some(2), page_count: Some(9) }));
        assert_eq!(page.availability, parse_timestamp("2024-04-29T04:10:03.000Z"));
        assert_eq!(page.complaint, None);
    }

    #[test]
    fn where_a_page_goes_on_is_a_text_or_a_number() {
        for (written, cursor) in [
            (r#""c=""#, Cursor::At("c=".to_owned())),
            ("7", Cursor::At("7".to_owned())),
            ("0", Cursor::At("0".to_owned())),
            ("null", Cursor::End),
            (r#""""#, Cursor::End),
            ("true", Cursor::Odd),
            ("false", Cursor::Odd),
            ("[]", Cursor::Odd),
            (r#"{"a":1}"#, Cursor::Odd),
            ("NaN", Cursor::Odd),
        ] {
            let page = read(&format!(r#"{{"entities":[],"cursor":{written},"nextPageCursor":{written}}}"#));
            assert_eq!((&page.cursor, &page.next_page_cursor), (&cursor, &cursor), "{written}");
            assert_eq!(page.members.lead_on(), matches!(cursor, Cursor::At(_)), "{written}");
            assert_eq!(page.members.are_known(), cursor != Cursor::Odd, "{written}");
        }
        assert_eq!(read("{}").cursor, Cursor::End);
    }

    #[test]
    fn what_stands_where_records_belong_is_told() {
        for (body, place) in [
            ("{}", Place::Absent),
            (r#"{"conversations":null}"#, Place::Null),
            (r#"{"conversations":[]}"#, Place::List),
            (r#"{"entities":{}}"#, Place::Odd),
            ("\u{feff} {} \n", Place::Absent),
        ] {
            let page = read(body);
            assert_eq!((page.members.place, page.records.len()), (place, 0), "{body}");
        }
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
        assert_eq!(read(r#"{"conversations":"secret","totalHits":1}"#).shape(), Shape::Neither);
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
            r#"{"conversations":[{}],"conversationId":"c","conversationStart":"s"}"#,
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
