//! The records of a page come in, one by one: into a sheet, or among those that are set aside.

use std::ops::Range;

use bytes::Bytes;

use super::batch::{BadReason, BadRecord, PageRead, Position, RecordKey};
use super::buffers::Column;
use super::cursor::{Broken, Cursor, is_too_deep};
use super::halves;
use super::mend;
use super::oddities::Oddity;
use super::plan::Plan;
use super::reader::{Reader, is_value, start};
use super::scratch::Scratch;
use super::sheet::Sheet;
use crate::error::{Error, Result};
use crate::time::Day;

/// A list of records in a text, which nobody has looked into yet.
#[derive(Clone, Debug)]
pub struct List<'b> {
    /// What holds it.
    pub body: &'b Bytes,
    /// Where in it the list seems to stand, brackets included.
    pub range: Range<usize>,
}

/// What reads a page. `owner` says which day a record belongs to and its place in the day's order, `wanted` whether
/// the day's records are.
pub(super) struct Intake<'i, O, W> {
    pub(super) plan: &'i Plan,
    pub(super) sheet: &'i mut Sheet,
    /// Where the next record stands.
    pub(super) at: Position,
    pub(super) owner: O,
    pub(super) wanted: W,
    pub(super) read: PageRead,
}

impl<O: Fn(&Scratch) -> Result<(Day, i64), BadReason>, W: Fn(Day) -> bool> Intake<'_, O, W> {
    /// Takes `records`, each of which may be anything.
    pub(super) fn all(&mut self, records: impl Iterator<Item = Bytes>) -> Result<()> {
        for raw in records {
            self.room(raw.len())?;
            let read = self.whole(&raw);
            self.settle(read, raw);
        }
        Ok(())
    }

    /// Takes the records of `list`, whose places go into `records`, while it is a list of objects as they should be.
    /// Returns whether it is to its end; else what comes behind the last of `records` has not been taken.
    pub(super) fn list(&mut self, list: &List<'_>, records: &mut Vec<Range<usize>>) -> Result<bool> {
        self.room(list.range.len())?;
        let text = list.body.get(..list.range.end).unwrap_or_default();
        let mut cursor = Cursor::new(text).from(list.range.start + 1);
        while cursor.space() == b'{' {
            let start = cursor.at();
            let read = self.object(&mut cursor);
            let record = start..cursor.at();
            // A record ends where its brackets say, whatever its bytes are: it is as well looked at now, in the cache.
            if read.is_err() || simdutf8::basic::from_utf8(&text[record.clone()]).is_err() {
                self.sheet.scratch.forget(self.plan);
                return Ok(false);
            }
            self.settle(Ok(()), list.body.slice(record.clone()));
            records.push(record);
            match cursor.space() {
                b',' => cursor.pass(1),
                b']' => return Ok(cursor.at() + 1 == text.len()),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Forgets everything that was taken.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when there are rows of it.
    pub(super) fn take_back(&mut self) -> Result<()> {
        if self.read.bad.len() as u64 != self.read.records {
            return Err(Error::data(
                "a conversation cannot be told from a page: it has a list of conversations itself",
            ));
        }
        self.read = PageRead::default();
        self.at.index = 0;
        Ok(())
    }

    /// What became of the page.
    pub(super) fn done(mut self) -> PageRead {
        self.read.oddities = self.sheet.scratch.noted.take();
        self.read
    }

    /// A sheet counts the bytes of its texts in 31 bits.
    fn room(&self, bytes: usize) -> Result<()> {
        if self.sheet.text + bytes > i32::MAX as usize {
            return Err(Error::data("pages have more than 2 GiB").hint("ask for smaller pages"));
        }
        Ok(())
    }

    /// Decides about the next record, whose rows, if it is `read`, are behind those of the others.
    fn settle(&mut self, read: Result<(), BadReason>, raw: Bytes) {
        let (Sheet { scratch, keys, text }, position) = (&mut *self.sheet, self.at);
        *text += raw.len();
        let key = read.and_then(|()| {
            if scratch.cut {
                return Err(BadReason::DepthCut);
            }
            let id = id(self.plan, scratch)?;
            let (day, start) = (self.owner)(scratch)?;
            Ok((day, RecordKey { start, id, position }))
        });
        match key {
            Ok((day, key)) if (self.wanted)(day) => {
                scratch.keep();
                self.read.days.insert(day);
                keys.push((day, key));
            }
            Ok((day, _)) => {
                scratch.pass(self.plan);
                self.read.unwanted.push((day, position.index));
            }
            Err(reason) => {
                scratch.forget(self.plan);
                self.read.bad.push(BadRecord { position, reason, raw });
            }
        }
        self.read.records += 1;
        self.at.index += 1;
    }

    /// Writes the rows of the record that is all of `raw`.
    fn whole(&mut self, raw: &[u8]) -> Result<(), BadReason> {
        let raw = start(raw);
        let broken = || if is_too_deep(raw) { BadReason::TooDeep } else { BadReason::NotJson };
        let text = halves::utf8(raw).ok_or_else(broken)?;
        let mut cursor = Cursor::new(&text);
        if cursor.space() != b'{' {
            return Err(if is_value(&text) { BadReason::NotObject } else { broken() });
        }
        self.object(&mut cursor).and_then(|()| cursor.end()).map_err(|_| broken())
    }

    /// Writes the rows of the object at `cursor`, and passes it.
    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        let (plan, scratch) = (self.plan, &mut self.sheet.scratch);
        let begin = *cursor;
        if Reader::record(plan, cursor, scratch, false).is_ok() {
            return Ok(());
        }
        scratch.forget(plan);
        *cursor = begin;
        let mended = mend::record(plan, cursor)?;
        Reader::record(plan, &mut Cursor::new(&mended.text), scratch, true)?;
        mended.halves.iter().for_each(|&column| scratch.noted.column(Oddity::Replaced, &plan.names[column]));
        Ok(())
    }
}

/// The id of the record read last.
fn id(plan: &Plan, scratch: &Scratch) -> Result<Box<str>, BadReason> {
    let id = match &scratch.columns[plan.id] {
        Column::String(ids) => ids.last().filter(|&(row, id)| row + 1 == scratch.tables[0].rows && !id.is_empty()),
        _ => None,
    };
    id.and_then(|(_, id)| std::str::from_utf8(id).ok()).map(Into::into).ok_or(BadReason::NoId)
}

#[cfg(test)]
mod tests {
    use super::super::batch::FlatPage;
    use super::super::{Catalog, Flattener};
    use super::*;
    use proptest::prelude::*;
    use std::sync::{Arc, LazyLock};

    static FLATTENER: LazyLock<Flattener> =
        LazyLock::new(|| Flattener::new(Arc::new(Catalog::builtin().unwrap())).unwrap());

    const GOOD: &str = r#"{"conversationId":"a","conversationStart":"2025-01-01T08:00:00.000Z","participants":[{}]}"#;
    const OTHER_DAY: &str =
        "{ \"conversationId\" : \"]}\" , \"conversationStart\":\"2025-01-03T00:00:00Z\",\"new\":{}\n}";
    const TWINS: &str = r#"{"conversationId":"b","conversationId":"c","conversationStart":"2025-01-01T09:00:00Z"}"#;
    const NO_ID: &str = r#"{"conversationStart":"2025-01-01T08:00:00.000Z"}"#;
    const BROKEN: &[u8] = br#"{"conversationId":"d","conversationStart":"2025-01-01T08:00:00.000Z","x":NaN}"#;
    const NO_UTF8: &[u8] =
        b"{\"conversationId\":\"\xff\",\"conversationStart\":\"2025-01-01T08:00:00.000Z\",\"\xfe\":1}";

    /// A list of `records`, and where each stands.
    fn list(records: &[&[u8]], between: &str) -> (Bytes, Vec<Range<usize>>) {
        let (mut body, mut ranges) = (b"[".to_vec(), Vec::new());
        for (n, record) in records.iter().enumerate() {
            body.extend_from_slice(if n == 0 { b"" } else { b"," });
            body.extend_from_slice(between.as_bytes());
            ranges.push(body.len()..body.len() + record.len());
            body.extend_from_slice(record);
            body.extend_from_slice(between.as_bytes());
        }
        body.push(b']');
        (body.into(), ranges)
    }

    fn read(
        body: &Bytes,
        cut: impl FnOnce(&[u8]) -> Result<Vec<Range<usize>>>,
    ) -> Result<(FlatPage, Vec<Range<usize>>)> {
        let mut sheet = FLATTENER.sheet();
        let list = List { body, range: 0..body.len() };
        let (PageRead { bad, oddities, .. }, ranges) = FLATTENER.read_list(&mut sheet, (1, 2), list, cut, |_| true)?;
        Ok((FlatPage { days: FLATTENER.cut(sheet)?, bad, oddities }, ranges))
    }

    fn no_cut(_: &[u8]) -> Result<Vec<Range<usize>>> {
        Err(Error::data("it was cut"))
    }

    #[test]
    fn only_what_is_not_plainly_a_list_is_cut() {
        for between in ["", " \n"] {
            let (body, ranges) =
                list(&[GOOD.as_bytes(), OTHER_DAY.as_bytes(), TWINS.as_bytes(), NO_ID.as_bytes()], between);
            let (page, found) = read(&body, no_cut).unwrap();
            assert_eq!((page.days.len(), page.bad.len(), found), (2, 1, ranges));
        }
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(127), "]".repeat(127));
        for odd in [BROKEN, NO_UTF8, deep.as_bytes(), b"null", b"", b"{} {}", b"{}]", b"{}\x0c", b"{"] {
            let (body, _) = list(&[GOOD.as_bytes(), odd, GOOD.as_bytes()], "");
            assert_eq!(read(&body, no_cut).unwrap_err().to_string(), "it was cut", "{odd:?}");
        }
        assert!(read(&Bytes::from_static(b"[]"), no_cut).is_err());
    }

    proptest! {
        #[test]
        fn a_list_becomes_what_its_records_become(
            records in prop::collection::vec(
                prop::sample::select(vec![GOOD.as_bytes(), OTHER_DAY.as_bytes(), TWINS.as_bytes(), NO_ID.as_bytes(), BROKEN, NO_UTF8, b"7"]),
                1..7,
            ),
            between in prop::sample::select(&["", "\r\n "][..]),
        ) {
            let (body, ranges) = list(&records, between);
            let (page, found) = read(&body, |_| Ok(ranges.clone())).unwrap();
            let one_by_one = FLATTENER.flatten(1, 2, records.iter().map(|record| Bytes::copy_from_slice(record))).unwrap();
            prop_assert_eq!(format!("{page:?}"), format!("{one_by_one:?}"));
            prop_assert_eq!(found, ranges);
        }
    }
}
