//! Reads saved pages, input by input, and sends what is in them on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::documents::{self, Content, Document, Documents, Opened, Wrap};
use super::harvest::Harvest;
use super::input::Input;
use super::record::Recorder;
use crate::api::complaint::quote;
use crate::api::page::{Delivery, Page};
use crate::error::{Context, Error, Result};
use crate::memory::Memory;

/// Conversations that stand alone in their documents are gathered into pages of this size.
const LONE_RECORDS_A_PAGE: usize = 500;

/// Sends the pages of all inputs, one chain an input.
pub(super) struct Reading {
    inputs: Arc<[Input]>,
    memory: Memory,
    pages: mpsc::Sender<Delivery>,
    recorder: Arc<Recorder>,
    /// What was looked through and has been said.
    said: BTreeSet<Wrap>,
    /// Records that are no conversations and were left out, by the stream that they are of.
    others: BTreeMap<String, u64>,
}

impl Reading {
    /// Pages of `inputs` go to `pages`, and count in `memory` until they are flattened.
    pub(super) fn new(
        inputs: Arc<[Input]>,
        memory: Memory,
        pages: mpsc::Sender<Delivery>,
        recorder: Arc<Recorder>,
    ) -> Reading {
        Reading { inputs, memory, pages, recorder, said: BTreeSet::new(), others: BTreeMap::new() }
    }

    /// Sends everything. Returns how many records were left out.
    pub(super) fn all(mut self) -> Result<u64> {
        let inputs = Arc::clone(&self.inputs);
        for (chain, input) in (0..).zip(&*inputs) {
            let read = self.one(input, input.documents()?, chain);
            read.map_err(documents::refused).context(|| input.to_string())?;
        }
        for (stream, count) in &self.others {
            let records = if *count == 1 { "1 record is no conversation" } else { "records are no conversations" };
            let count = if *count == 1 { String::new() } else { format!("{count} ") };
            self.recorder.note(format!("stream `{}`: {count}{records} and left out", quote(stream)));
        }
        Ok(self.others.values().sum())
    }

    fn one<R: Read>(&mut self, input: &Input, documents: Documents<R>, chain: u32) -> Result<()> {
        let mut lone = Lone::default();
        for (n, document) in (1_u64..).zip(documents) {
            let document = document?;
            let number = u32::try_from(n).map_err(|_| Error::data("there are over 4 billion documents"))?;
            let (content, opened) = document.content().context(|| format!("document {n}"))?;
            if let Some(opened) = opened {
                self.looked_through(input, opened);
            }
            // A page in between must not overtake the lone records before it: order decides between versions.
            if !lone.takes(number, &document, &content)
                && let Some(page) = lone.take()
                && !self.send(chain, lone.first, page, None)
            {
                return Ok(());
            }
            let goes_on = match content {
                Content::Record(range) => {
                    lone.add(number, document, range);
                    true
                }
                Content::Page { body, records, list } => self.send(chain, number, (body, records), list),
                Content::Nothing => true,
            };
            if !goes_on {
                return Ok(());
            }
        }
        if let Some(page) = lone.take() {
            self.send(chain, lone.first, page, None);
        }
        Ok(())
    }

    /// Whether anyone still listens: only when the conversion has ended with an error of its own, nobody does.
    fn send(
        &self,
        chain: u32,
        number: u32,
        (body, records): (Bytes, Vec<Range<usize>>),
        list: Option<Range<usize>>,
    ) -> bool {
        let body = Handle::current().block_on(self.memory.page(body));
        self.pages.blocking_send(Delivery::Page(Page { chain, number, body, records, list })).is_ok()
    }

    /// Says once what was looked through.
    fn looked_through(&mut self, input: &Input, opened: Opened) {
        for wrap in opened.wraps {
            if self.said.insert(wrap) {
                self.recorder.note(format!("{input}: the conversations are read from {wrap}"));
            }
        }
        for (stream, count) in opened.others {
            *self.others.entry(stream).or_default() += count;
        }
    }
}

/// Refuses inputs of which nothing can be read at all.
pub(super) fn check_any_readable(harvest: &Harvest, inputs: &[Input], max_bad: u8) -> Result<()> {
    let unreadable = harvest.unreadable_chains();
    let nothing = harvest.seen().records == harvest.bad.len() as u64;
    for (chain, bad) in unreadable {
        let foreign = bad.iter().find_map(|record| documents::named(record));
        // One record that is broken may be a file of its own; what is something else was given by mistake.
        if max_bad == 100 || !nothing && foreign.is_none() {
            continue;
        }
        let input = inputs.get(chain as usize).map(ToString::to_string).unwrap_or_default();
        let none = match bad.len() {
            1 => "its only record cannot be read".to_owned(),
            records => format!("none of its {records} records can be read"),
        };
        let looks = foreign.as_ref().map_or(String::new(), |foreign| format!(": this looks like {}", foreign.what));
        let stay = "the records are under `_convlake/quarantine`; --max-bad 100 lets them stay there";
        return Err(Error::data(format!("{input}: {none} ({}){looks}", Harvest::reasons(bad)))
            .hint(foreign.map_or(stay, |foreign| foreign.instead)));
    }
    Ok(())
}

/// Conversations that stand alone, one a document, in the same chunk.
#[derive(Default)]
struct Lone {
    /// The number of the first of them.
    first: u32,
    chunk: Bytes,
    records: Vec<Range<usize>>,
}

impl Lone {
    /// Whether `document` goes on the same page as those before, which are numbered from the first on.
    fn takes(&self, number: u32, document: &Document, content: &Content) -> bool {
        let records = self.records.len();
        let is_next =
            self.chunk.as_ptr() == document.chunk.as_ptr() && number as usize == self.first as usize + records;
        records == 0 || is_next && records < LONE_RECORDS_A_PAGE && matches!(content, Content::Record(_))
    }

    fn add(&mut self, number: u32, document: Document, record: Range<usize>) {
        if self.records.is_empty() {
            self.first = number;
        }
        self.chunk = document.chunk;
        self.records.push(record);
    }

    fn take(&mut self) -> Option<(Bytes, Vec<Range<usize>>)> {
        let (chunk, records) = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.records));
        let whole = records.first()?.start..records.last()?.end;
        let shifted = |record: Range<usize>| record.start - whole.start..record.end - whole.start;
        Some((chunk.slice(whole.clone()), records.into_iter().map(shifted).collect()))
    }
}
