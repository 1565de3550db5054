//! Numbered pages: the first answer says about how many there are, the others are asked for at the same time.
//!
//! What is said about the number is a hint: it decides what is asked for ahead, never what is the end. A page is
//! placed by its number, whenever it arrives.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use xxhash_rust::xxh3::xxh3_128;

use super::Source;
use super::chain::{Chain, Received, Said, Stop};
use super::walk::{Walk, can_split};
use crate::api::client::Call;
use crate::api::envelope::Envelope;
use crate::api::limits::Objection;
use crate::error::{Error, Result};
use crate::time::Interval;

/// Pages of one slice that are asked for ahead: as many calls may be in vain when the count is wrong.
const PAGES_AHEAD_MAX: usize = 16;
/// Parts of pages that were too large are numbered behind all pages, by the place of their first record.
const PARTS: u32 = 1 << 31;

/// How a protocol numbers its pages, and where they end.
pub(super) struct Numbering {
    /// The request for a page of `part`, by size and number.
    pub(super) request: fn(source: &Source, part: Interval, size: u32, number: u32) -> Result<Call>,
    /// Pages of `size` with records, as far as the answer says.
    pub(super) count: fn(envelope: &Envelope, size: u32) -> Option<u64>,
    pub(super) end: End,
}

/// What ends a chain of numbered pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Only a page without records.
    Empty,
    /// A page that is not full, once the count is reached. A page that should have records and has none is asked for
    /// again.
    NotFull,
}

/// What one page brought, whole or in parts.
#[derive(Default)]
struct Delivered {
    number: u32,
    /// Answers with records.
    pages: u64,
    records: usize,
    full: bool,
    /// The pages that it says there are.
    count: Option<u64>,
    said: Option<Said>,
    /// Of its bytes, where nothing is said about the count: the next page may be the same again. Not the page itself,
    /// whose room the next one may wait for.
    hash: Option<u128>,
}

/// How many pages there are by the API's account, and how many of them have records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pages {
    /// The largest count that was heard, if any was.
    counted: Option<u64>,
    filled: u64,
    /// Records that fit on one.
    size: u64,
}

impl Pages {
    /// The number of records nearest to `read` that fits the count: at least one on each page, and no page overfull.
    pub(super) fn told(&self, read: u64) -> Option<u64> {
        let counted = self.counted?;
        Some(if counted > self.filled { read + (counted - self.filled) } else { read.min(counted * self.size) })
    }
}

/// What is known of the chain so far.
struct Known {
    end: End,
    pages: Pages,
    last_full: u64,
    last_filled: u64,
    first_empty: Option<u64>,
    /// The first page, by its number, that could not be had.
    failed: Option<(u64, Stop)>,
}

impl Known {
    fn count(&self) -> u64 {
        self.pages.counted.unwrap_or(0)
    }

    /// The last page worth asking for.
    fn reach(&self) -> u64 {
        let reach = match self.end {
            End::Empty => {
                let reach = self.count().max(self.last_filled) + 1;
                self.first_empty.map_or(reach, |empty| reach.min(empty))
            }
            End::NotFull => {
                let reach = self.count().max(self.last_full + 1);
                // Behind an empty page one more shows whether it was the end.
                self.first_empty.map_or(reach, |empty| reach.min(empty + 1))
            }
        };
        self.failed.as_ref().map_or(reach, |(number, _)| reach.min(*number))
    }

    fn learn(&mut self, page: &Delivered) {
        let number = u64::from(page.number);
        self.pages.counted = self.pages.counted.max(page.count);
        if page.full {
            self.last_full = self.last_full.max(number);
        }
        if page.records == 0 {
            self.first_empty = Some(self.first_empty.map_or(number, |empty| empty.min(number)));
        } else {
            self.last_filled = self.last_filled.max(number);
            self.pages.filled += 1;
        }
    }

    fn fail(&mut self, number: u64, stop: Stop) {
        if self.failed.as_ref().is_none_or(|(first, _)| number < *first) {
            self.failed = Some((number, stop));
        }
    }

    /// Why the chain failed, once no page below `open` is still awaited. What lies behind its end was asked for in vain,
    /// and so it does not matter what became of it.
    fn failure(&mut self, open: Option<u64>) -> Option<Stop> {
        let first_empty = self.first_empty;
        let is_moot = |number: u64| first_empty.is_some_and(|empty| empty < number);
        let (_, stop) = self.failed.take_if(|(n, _)| !is_moot(*n) && open.is_none_or(|open| *n < open))?;
        Some(stop)
    }

    /// Whether pages were under way while the data changed, or an answer was wrong.
    fn check(&self) -> Result<(), Stop> {
        if let Some(empty) = self.first_empty.filter(|empty| *empty <= self.count() && self.end == End::NotFull) {
            tracing::warn!("the API counts {} pages, and page {empty} is empty", self.count());
        }
        let Some(empty) = self.first_empty.filter(|empty| *empty < self.last_filled) else { return Ok(()) };
        Err(self.hole(empty, self.last_filled))
    }

    /// Page `filled` has records, and page `empty`, which is not behind it, had none.
    fn hole(&self, empty: u64, filled: u64) -> Stop {
        let error = match filled.checked_sub(empty) {
            None | Some(0) => Error::data(format!("page {empty} was empty, and has records now")),
            Some(_) => Error::data(format!("page {empty} is empty, and page {filled} behind it is not")),
        };
        match self.end {
            // Each call is answered from current data: what grows meanwhile looks like this for a moment.
            End::Empty => Stop::Restart(error),
            End::NotFull => Stop::Fail(error),
        }
    }
}

/// All pages of the part.
pub(super) async fn chain(walk: &mut Walk<'_>, numbering: &Numbering) -> Result<(), Stop> {
    let chain = walk.chain;
    let pages = Pages { size: chain.size.into(), ..Pages::default() };
    let mut known = Known { end: numbering.end, pages, last_full: 0, last_filled: 0, first_empty: None, failed: None };
    let (mut open, mut next, mut last_hash) = (FuturesUnordered::new(), 1u32, None);
    let (mut turn, mut awaited) = (None, BTreeSet::new());
    loop {
        let (reach, deepest) = (known.reach(), deepest(chain));
        if reach < u64::from(next) + PAGES_AHEAD_MAX as u64 {
            // All that is left is under way soon.
            turn = None;
        } else if turn.is_none() && open.is_empty() {
            // Nothing of this chain is under way: the one whose turn it is may need the memory.
            turn = Some(chain.source.turn.acquire().await.map_err(|e| Error::bug("turns have ended").source(e))?);
        }
        while u64::from(next) <= reach.min(deepest) && open.len() < PAGES_AHEAD_MAX {
            let (number, counted) = (next, u64::from(next) <= known.count());
            let page = page(chain, numbering, number, counted, last_hash.take());
            open.push(async move { (number, page.await) });
            awaited.insert(u64::from(number));
            next += 1;
        }
        if let Some(stop) = known.failure(awaited.first().copied()) {
            return Err(stop);
        }
        let Some((number, outcome)) = open.next().await else {
            if reach > deepest {
                return Err(too_many(chain));
            }
            known.check()?;
            if numbering.end == End::NotFull {
                walk.counted(&known.pages);
            } else if let Some(empty) = known.first_empty
                && walk.lacks() >= chain.size.into()
            {
                return look_again(chain, numbering, &known, empty).await;
            }
            return Ok(());
        };
        awaited.remove(&u64::from(number));
        let page = match outcome {
            Ok(page) => page,
            Err(stop) => {
                known.fail(number.into(), stop);
                continue;
            }
        };
        known.learn(&page);
        walk.count(page.pages, page.records);
        if page.number == 1 {
            if page.count == Some(0) && page.records > 0 {
                tracing::warn!("the API counts no page and sent {} records; they are kept", page.records);
            }
            // A part that cannot be split is paged as far as it goes: the total is only a hint.
            if known.count() > deepest && can_split(chain.part) {
                return Err(too_many(chain));
            }
        }
        // Of the first page nothing is heard when each of its records was too large.
        if let Some(said) = &page.said {
            walk.note(said).await?;
        }
        last_hash = page.hash;
    }
}

/// Asks for the page that was `empty`, and for the one behind it, once more: by the total, a whole page is missing.
async fn look_again(chain: Chain<'_>, numbering: &Numbering, known: &Known, empty: u64) -> Result<(), Stop> {
    for n in [empty, empty + 1] {
        let Ok(number) = u32::try_from(n.min(deepest(chain))) else { break };
        if u64::from(number) < n {
            break;
        }
        match ask(chain, numbering, number).await {
            Ok(received) if received.is_empty() => {}
            Ok(_) | Err(Stop::TooLarge { .. }) => return Err(known.hole(empty, n)),
            // What is behind the end does not matter.
            Err(stop) if n == empty => return Err(stop),
            Err(_) => {}
        }
    }
    Ok(())
}

/// The last page that the API gives access to.
fn deepest(chain: Chain<'_>) -> u64 {
    let results = chain.source.limits.of(chain.protocol).results.unwrap_or(u64::MAX);
    results.min(u64::from(PARTS - 1)) / u64::from(chain.size)
}

fn too_many(chain: Chain<'_>) -> Stop {
    let results = chain.source.limits.of(chain.protocol).results.unwrap_or(u64::MAX);
    let error = Error::data(format!("more than the {results} results that the API pages through"));
    Stop::Object(Objection::Results(None), error)
}

/// Asks for a page and hands it on; in parts if it is too large.
async fn page(
    chain: Chain<'_>,
    numbering: &Numbering,
    number: u32,
    counted: bool,
    previous: Option<u128>,
) -> Result<Delivered, Stop> {
    let mut answer = ask(chain, numbering, number).await;
    let asks_again = counted && numbering.end == End::NotFull;
    if asks_again && answer.as_ref().is_ok_and(Received::is_empty) {
        // Its room is given back first: a page that is here must not wait for another.
        drop(answer);
        answer = ask(chain, numbering, number).await;
    }
    let received = match answer {
        Err(stop @ Stop::TooLarge { .. }) => return parts(chain, numbering, number, stop).await,
        other => other?,
    };
    let mut page = Delivered {
        number,
        count: (numbering.count)(&received.envelope, chain.size),
        said: Some(received.said()),
        ..Delivered::default()
    };
    if numbering.end == End::NotFull && page.count.unwrap_or(0) == 0 {
        page.hash = Some(xxh3_128(&received.body));
        if number > 1 && page.hash == previous {
            tracing::warn!("page {number} repeats page {}: the API does not page, and there is no more", number - 1);
            return Ok(page);
        }
    }
    page.records = received.envelope.records.len();
    // Paging that does not count leaves open whether there is more.
    let uncounted = received.envelope.paging.is_some() && page.count.is_none();
    page.full = page.records >= chain.size as usize || page.records > 0 && uncounted;
    if page.records > 0 {
        page.pages = 1;
        chain.deliver(number, received).await?;
    }
    Ok(page)
}

/// Asks for a page that is too large in ever smaller ones until each fits; a record that does not fit alone is set
/// aside.
async fn parts(chain: Chain<'_>, numbering: &Numbering, number: u32, too_large: Stop) -> Result<Delivered, Stop> {
    let mut page = Delivered { number, ..Delivered::default() };
    let (mut first, mut size) = ((number - 1) * chain.size, chain.size);
    let mut answer: Result<Received, Stop> = Err(too_large);
    // First record, from 0, and size of the parts that are left, the next one last.
    let mut pending = Vec::new();
    loop {
        let place = PARTS + first;
        match answer {
            Err(Stop::TooLarge { .. }) if size > 1 => pending.extend(smaller(first, size)),
            Err(Stop::TooLarge { error, id }) => {
                tracing::warn!("record {} is set aside: {error}", first + 1);
                chain.set_aside(place, id).await?;
                page.records += 1;
            }
            Err(stop) => return Err(stop),
            Ok(received) => {
                let records = received.envelope.records.len();
                let count = (numbering.count)(&received.envelope, size);
                let in_whole_pages = |count: u64| (count * u64::from(size)).div_ceil(u64::from(chain.size));
                page.count = page.count.max(count.map(in_whole_pages));
                page.said.get_or_insert(received.said());
                if records < size as usize {
                    pending.clear();
                }
                if records > 0 {
                    page.pages += 1;
                    page.records += records;
                    chain.deliver(place, received).await?;
                }
            }
        }
        let Some(next) = pending.pop() else { break };
        (first, size) = next;
        answer = ask(Chain { size, ..chain }, numbering, first / size + 1).await;
    }
    page.full = page.records >= chain.size as usize;
    Ok(page)
}

/// The records from `first` on in pages as large as can be without the remainder: numbers go on only where sizes
/// divide.
fn smaller(first: u32, size: u32) -> Vec<(u32, u32)> {
    let pieces = (2..=size).find(|n| size.is_multiple_of(*n)).unwrap_or(1);
    let step = size / pieces;
    (0..pieces).rev().map(|piece| (first + piece * step, step)).collect()
}

async fn ask(chain: Chain<'_>, numbering: &Numbering, number: u32) -> Result<Received, Stop> {
    let call = (numbering.request)(chain.source, chain.part, chain.size, number)?;
    chain.ask(call, number).await
}
