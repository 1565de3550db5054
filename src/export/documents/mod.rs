//! Saved pages as documents: each is a conversation, a page, a list of either, or something that carries them. `cut`
//! cuts a stream into documents, `open` finds conversations in what other tools lay around them, and `foreign` names
//! what holds none.

mod cut;
mod foreign;
mod open;

use std::ops::Range;

use bytes::Bytes;

pub(super) use cut::{Document, Documents};
pub(super) use foreign::Foreign;
pub(super) use open::{Opened, Wrap};

use crate::api::envelope::Envelope;
use crate::api::nesting::{Found, Nesting};
use crate::api::scan::Scanner;
use crate::api::shape::{self, Member, Shape};
use crate::error::{Error, Kind, Result};
use crate::flatten::batch::{BadReason, BadRecord};
use cut::blank;

/// What a document is for the lake.
#[derive(Debug)]
pub(super) enum Content {
    /// A conversation that stands alone: where in the chunk.
    Record(Range<usize>),
    /// Conversations together.
    Page {
        body: Bytes,
        /// Where in it each of them stands.
        records: Vec<Range<usize>>,
        /// Set if nobody has looked for them: where their list seems to stand.
        list: Option<Range<usize>>,
    },
    /// Nothing that belongs into a lake.
    Nothing,
}

impl Document {
    /// Its text.
    fn body(&self) -> Bytes {
        self.chunk.slice(self.range.clone())
    }

    /// What it is, and what had to be opened for that.
    ///
    /// # Errors
    /// Data: it is nothing that convlake reads.
    pub(super) fn content(&self) -> Result<(Content, Option<Opened>)> {
        let page = |records, list| Content::Page { body: self.body(), records, list };
        if self.list.is_some() {
            return Ok((page(Vec::new(), self.list.clone()), None));
        }
        let text = &self.chunk[self.range.clone()];
        match self.envelope.shape() {
            Shape::Record => return Ok((Content::Record(self.range.clone()), None)),
            Shape::Page if open::is_whole(&self.envelope) && (text.first() == Some(&b'{') || is_of_records(text)) => {
                return Ok((page(self.envelope.records.clone(), None), None));
            }
            Shape::Page | Shape::Neither => {}
        }
        let opened = open::open(&self.body())?;
        let content = match opened.in_place() {
            Some(records) if records.is_empty() => Content::Nothing,
            // A message with a record, or a conversation that is not whole.
            Some(mut records) if records.len() == 1 && text.first() == Some(&b'{') => {
                let record = records.remove(0);
                Content::Record(self.range.start + record.start..self.range.start + record.end)
            }
            Some(records) => page(records, None),
            None => {
                let (body, records) = opened.list();
                Content::Page { body, records, list: None }
            }
        };
        Ok((content, Some(opened)))
    }
}

/// Whether a bare list is one of conversations by its first element.
fn is_of_records(list: &[u8]) -> bool {
    let mut scanner = Scanner::new(list);
    let Some(b'[') = scanner.peek() else { return false };
    scanner = scanner.from(scanner.at() + 1);
    if scanner.peek() != Some(b'{') {
        return scanner.peek() == Some(b']');
    }
    let (mut id, mut start, mut first) = (false, false, true);
    while let Ok(Some(key)) = scanner.key(first) {
        first = false;
        match Member::of(&shape::name(&list[key])) {
            Member::Id => id = true,
            Member::Start => start = true,
            Member::Records | Member::PageTalk | Member::Unknown => {}
        }
        if id && start {
            return true;
        }
        if scanner.value().is_err() {
            return false;
        }
    }
    false
}

/// What a record is that cannot be read, if it looks like something.
pub(super) fn named(record: &BadRecord) -> Option<Foreign> {
    foreign::of_json(&record.raw)
}

/// Refuses a page or a list of conversations that has pages or other carriers of conversations among them: read as
/// conversations, they would be set aside with all that is in them.
///
/// # Errors
/// Data.
pub(super) fn check_set_aside(bad: &[BadRecord]) -> Result<()> {
    let carries = |record: &&BadRecord| {
        matches!(record.reason, BadReason::NoId | BadReason::NoStart)
            && open::open(&record.raw)
                .is_ok_and(|opened| opened.in_place().is_none_or(|places| carried(record, &places)))
    };
    match bad.iter().find(carries) {
        None => Ok(()),
        Some(record) => Err(refused(
            Error::data(format!(
                "element {} is a page among conversations: it is not known what it stands for",
                record.position.index
            ))
            .hint("nothing was published: save the pages one a line"),
        )),
    }
}

/// Whether there are records in `record` that are not all of it.
fn carried(record: &BadRecord, places: &[Range<usize>]) -> bool {
    places.iter().any(|place| *place != (0..record.raw.len()))
}

/// Adds what to do about a document that is refused.
pub(super) fn refused(error: Error) -> Error {
    match error.kind() {
        Kind::Data => error.hint("nothing was published: save the page again, or convert without it"),
        _ => error,
    }
}

/// Where the records stand in `text`, which was taken for one page by its looks.
pub(super) fn records(text: &[u8]) -> Result<Vec<Range<usize>>> {
    told_apart(text).map_err(refused)
}

fn told_apart(text: &[u8]) -> Result<Vec<Range<usize>>> {
    let mut records = Vec::new();
    for (document, envelope) in apart(text)? {
        let at = document.start;
        let within = match envelope.shape() {
            Shape::Record => {
                records.push(document);
                continue;
            }
            Shape::Page if text[at] == b'{' && open::is_whole(&envelope) => envelope.records,
            Shape::Page | Shape::Neither => {
                let opened = open::open(&Bytes::copy_from_slice(&text[document]))?;
                opened.in_place().ok_or_else(|| Error::data("a line has several documents, one of them in a text"))?
            }
        };
        records.extend(within.into_iter().map(|record| record.start + at..record.end + at));
    }
    Ok(records)
}

/// The documents of a text that begins with one.
fn apart(text: &[u8]) -> Result<Vec<(Range<usize>, Envelope)>> {
    if let Ok(envelope) = Envelope::of_saved(text) {
        return Ok(vec![(0..text.len(), envelope)]);
    }
    let (mut documents, mut at) = (Vec::new(), 0);
    while at < text.len() {
        // Whatever has no end is refused as a whole.
        let end = match Nesting::default().read(&text[at..]) {
            Found::End(length) => at + length,
            Found::Mismatch(_) | Found::Open => text.len(),
        };
        documents.push((at..end, Envelope::of_saved(&text[at..end])?));
        at = end + blank(&text[end..]);
    }
    Ok(documents)
}
