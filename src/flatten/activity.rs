//! When something last happened in a conversation.

use super::cursor::{Broken, Cursor, Text};
use super::dates::Dates;
use super::halves;
use super::reader::start;
use super::values::{timestamp, with_t};
use crate::time;

/// What customers' own systems wrote: a date in it says nothing about the conversation.
const NOT_ACTIVITY: &[u8] = b"attributes";

/// The latest timestamp anywhere in the `raw` record that is not after `now`, both in microseconds since the Unix
/// epoch. What is scheduled for later has not happened. `None` when there is none, or the record cannot be read.
pub fn last_activity(raw: &[u8], now: i64) -> Option<i64> {
    let text = halves::utf8(start(raw))?;
    let mut cursor = Cursor::new(&text).with_halves();
    if cursor.space() != b'{' {
        return None;
    }
    let mut latest = None;
    Search { now, dates: Dates::default(), latest: &mut latest }.value(&mut cursor).ok()?;
    cursor.end().ok()?;
    latest
}

struct Search<'l> {
    now: i64,
    dates: Dates,
    latest: &'l mut Option<i64>,
}

impl Search<'_> {
    fn value(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        match cursor.peek() {
            b'{' => {
                let mut more = cursor.open(b'}')?;
                while more {
                    let name = cursor.key()?;
                    if *name.decoded() == *NOT_ACTIVITY {
                        cursor.skip()?;
                    } else {
                        self.value(cursor)?;
                    }
                    more = cursor.more(b'}')?;
                }
            }
            b'[' => {
                let mut more = cursor.open(b']')?;
                while more {
                    self.value(cursor)?;
                    more = cursor.more(b']')?;
                }
            }
            b'"' => {
                let mut text = *cursor;
                let at = match timestamp(cursor, &mut self.dates)? {
                    None => spaced(text.string()?),
                    at => at,
                };
                *self.latest = (*self.latest).max(at.filter(|at| *at <= self.now));
            }
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }
}

/// A timestamp as Python writes it.
fn spaced(text: Text<'_>) -> Option<i64> {
    time::parse_micros(std::str::from_utf8(&with_t(&text.decoded())?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_micros;

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
        let cut =
            b"{\"a\": \"\\ud83d\", \"b\": \"\xed\xa0\xbd\", \"conversation_end\": \"2025-03-04 10:00:00.5+00:00\"}";
        assert_eq!(last_activity(cut, now), Some(at("2025-03-04T10:00:00.5Z")));
        for none in [&b"{}"[..], b"[\"2025-03-01T00:00:00Z\"]", b"{", b""] {
            assert_eq!(last_activity(none, now), None);
        }
    }
}
