//! Saved pages in the place of the world: real records, cut into pages as a query asks for them, for almost no work.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;

use super::world::Millis;
use crate::api::envelope::Envelope;
use crate::api::shape::Shape;
use crate::error::{Context, Error, Result};
use crate::time::parse_timestamp;

/// The records of saved pages, found by their start.
#[derive(Clone, Debug)]
pub struct SavedPages {
    text: Bytes,
    /// When each record started and where it stands, in order of start.
    records: Vec<(Millis, Range<usize>)>,
}

/// What is read of a record.
#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, rename = "conversationStart")]
    start: &'a str,
}

impl SavedPages {
    /// Finds the records of `text`: pages, one a line.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] where a line is no page, or a record does not say when it started.
    pub fn new(text: impl Into<Bytes>) -> Result<SavedPages> {
        let text = text.into();
        let (mut records, mut at) = (Vec::new(), 0);
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if !line.trim_ascii().is_empty() {
                let place = || format!("line {}", number + 1);
                let page = Envelope::read(line).context(place)?;
                if page.shape() != Shape::Page {
                    return Err(Error::data("it is not a page").context(place()));
                }
                for record in page.records {
                    let start = line
                        .get(record.clone())
                        .and_then(start)
                        .ok_or_else(|| Error::data("a record does not say when it started").context(place()))?;
                    records.push((start, at + record.start..at + record.end));
                }
            }
            at += line.len() + 1;
        }
        records.sort_by_key(|(start, _)| *start);
        Ok(SavedPages { text, records })
    }

    /// The records that started in `[from, to)`: how many there are, and those of one page.
    pub(crate) fn page(&self, from: Millis, to: Millis, offset: usize, size: usize) -> (usize, Vec<Bytes>) {
        let place = |at: Millis| self.records.partition_point(|(start, _)| *start < at);
        let found = self.records.get(place(from)..place(to)).unwrap_or_default();
        let page = found.iter().skip(offset).take(size);
        (found.len(), page.map(|(_, record)| self.text.slice(record.clone())).collect())
    }
}

fn start(record: &[u8]) -> Option<Millis> {
    let Start { start } = serde_json::from_slice(record).ok()?;
    parse_timestamp(start).map(Millis::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Millis {
        Millis::of(parse_timestamp(text).unwrap())
    }

    #[test]
    fn records_are_found_by_their_start_whatever_page_they_were_on() {
        let record = |hour: u32| format!(r#"{{"conversationStart":"2025-01-01T{hour:02}:00:00.000Z","n":[{hour}]}}"#);
        let line = |hours: &[u32]| {
            let records: Vec<_> = hours.iter().map(|hour| record(*hour)).collect();
            format!(r#"{{"totalHits":9,"conversations":[{}]}}"#, records.join(", "))
        };
        let saved = SavedPages::new(format!("{}\n\n{}\n", line(&[3, 1]), line(&[0, 2, 23]))).unwrap();
        let page = |offset, size| {
            let (from, to) = (millis("2025-01-01T01:00:00Z"), millis("2025-01-01T23:00:00Z"));
            let (total, records) = saved.page(from, to, offset, size);
            (total, records.into_iter().map(|r| String::from_utf8(r.into()).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(page(0, 2), (3, vec![record(1), record(2)]));
        assert_eq!(page(2, 2), (3, vec![record(3)]));
        assert_eq!(page(4, 2), (3, vec![]));
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let error = |text: &str| SavedPages::new(text.to_owned()).unwrap_err().to_string();
        assert!(error("{}\n[]").starts_with("line 2: "));
        assert_eq!(error(r#"{"conversationId":"c","conversationStart":"s"}"#), "line 1: it is not a page");
        assert_eq!(error(r#"{"conversations":[{"id":1}]}"#), "line 1: a record does not say when it started");
    }
}
