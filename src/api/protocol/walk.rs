//! The way through one slice, part by part.

use chrono::{SubsecRound, TimeDelta};
use tokio::sync::mpsc::Sender;
use tracing::Instrument;

use super::chain::{Chain, Received, Said, Stop, TooLarge, Unread};
use super::numbered::{self, Pages};
use super::{Source, cursor, jobs, page, query};
use crate::api::heard::Heard;
use crate::api::limits::Objection;
use crate::api::page::Delivery;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::plan::{Protocol, Slice};
use crate::time::{Interval, Timestamp};

/// Times that a slice starts again because its cursors died or turned in a circle.
const RESTARTS_MAX: u32 = 3;
/// Below this no interval is split.
const SPLIT_MIN: TimeDelta = TimeDelta::minutes(1);

/// What a fetch of one slice brought. Pages and records of attempts that were abandoned do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Pages delivered; empty ones are not.
    pub pages: u64,
    /// Records on them.
    pub records: u64,
    /// How many the API said there were at first, when it did: a hint.
    pub hits: Option<u64>,
    /// How many it said there were at most, and as far as it did; of parts that say nothing, what was read. Page counts
    /// say it roughly: it is the nearest number to what was read that fits.
    pub told: Option<u64>,
    /// Records that were told of and are not among those read, chain by chain.
    pub missing: u64,
    /// Records beyond those that were told of, chain by chain.
    pub surplus: u64,
    /// The source promises to be complete before this, when it says (jobs); the earliest of all its answers.
    pub availability: Option<Timestamp>,
    /// When the first answer was given, by the server's clock.
    pub observed_at: Timestamp,
    /// By how many seconds that clock was ahead of the run's own, when it was more than [`crate::api::SKEW_MAX`].
    pub clock_skew: Option<i64>,
    /// Page chains: the ordinals `chain_base..chain_base + chains` are taken.
    pub chains: u32,
}

/// Pages `slice` to its end into `tx`.
pub(in crate::api) async fn fetch(
    source: &Source,
    slice: &Slice,
    chain_base: u32,
    memory: &Memory,
    tx: &Sender<Delivery>,
) -> Result<Fetched> {
    let place = || slice.to_string();
    let span = tracing::info_span!("slice", window = slice.window + 1, interval = %slice.interval);
    walk(source, slice, chain_base, memory, tx).instrument(span).await.map_err(|error| error.context(place()))
}

async fn walk(
    source: &Source,
    slice: &Slice,
    chain_base: u32,
    memory: &Memory,
    tx: &Sender<Delivery>,
) -> Result<Fetched> {
    let protocol = slice.protocol;
    let Some(whole) = wire_interval(source, slice) else {
        return Ok(Fetched::nothing(source.client.now()));
    };
    let size = source.settings.wanted.page_size(protocol);
    let chain =
        Chain { source, memory, tx, protocol, part: whole, matching: slice.matching, ordinal: chain_base, size };
    let mut walk =
        Walk { chain, done: Tally::default(), open: Tally::default(), availability: None, heard: None, halved: false };
    // The parts that are left, the next one last.
    let mut pending = vec![whole];
    let mut restarts = 0;
    while let Some(part) = pending.pop() {
        if let Some(longest) =
            source.limits.of(protocol).interval.filter(|longest| part.length() > *longest.max(&SPLIT_MIN))
        {
            pending.extend(pieces(part, longest).into_iter().rev());
            continue;
        }
        walk.begin(part);
        let stop = match walk.page().await {
            Ok(()) => {
                walk.close();
                continue;
            }
            Err(stop) if part == slice.interval => stop,
            Err(stop) => stop.context(|| format!("part {part}")),
        };
        match stop {
            Stop::Fail(error) => return Err(error),
            Stop::Unreadable(error, last) => {
                let Unread { number, body } = *last;
                let (chain, reason) = (walk.chain.ordinal, error.to_string());
                walk.chain.send(Delivery::Refused { chain, number, body, reason }).await?;
                return Err(error);
            }
            Stop::Restart(error) if restarts == RESTARTS_MAX => {
                return Err(error.context(format!("after {RESTARTS_MAX} restarts")));
            }
            Stop::Restart(error) => {
                restarts += 1;
                tracing::warn!("the slice starts again: {error}");
                pending.push(part);
            }
            Stop::Smaller(error) => {
                walk.slow_down(error)?;
                pending.push(part);
            }
            Stop::TooLarge { error, .. } => {
                walk.shrink(error)?;
                pending.push(part);
            }
            Stop::Object(objection, error) => pending.extend(answer(source, &mut walk, slice, part, objection, error)?),
        }
        walk.abandon().await?;
    }
    Ok(Fetched {
        pages: walk.done.pages,
        records: walk.done.records,
        hits: walk.done.hits,
        told: walk.done.told,
        missing: walk.done.missing,
        surplus: walk.done.surplus,
        availability: walk.availability,
        observed_at: walk.heard.map_or_else(|| source.client.now(), |heard| heard.at),
        clock_skew: walk.heard.and_then(|heard| heard.skew),
        chains: walk.chain.ordinal - chain_base,
    })
}

/// What to ask in place of `part`, the next one last.
fn answer(
    source: &Source,
    walk: &mut Walk<'_>,
    slice: &Slice,
    part: Interval,
    objection: Objection,
    error: Error,
) -> Result<Vec<Interval>> {
    source.limits.learn(slice.protocol, objection);
    match objection {
        Objection::PageSize(limit) => {
            // The text may name the size that was asked for, or none: then half of it, and for those that follow as well.
            if limit.is_none_or(|limit| limit >= walk.chain.size) {
                walk.slow_down(error)?;
            }
            Ok(vec![part])
        }
        Objection::Interval(Some(longest)) if part.length() > longest && longest >= SPLIT_MIN => Ok(vec![part]),
        Objection::Interval(_) | Objection::Results(_) => {
            walk.halved = matches!(objection, Objection::Interval(None));
            let halves = Slice { interval: part, ..*slice }.halves().filter(|_| can_split(part));
            let (first, second) = halves.ok_or_else(|| {
                let error = error.context("cannot split below 1 minute");
                match slice.protocol {
                    // A query returns all of a day for any part of it.
                    Protocol::Query => error.hint("jobs know no such limit: export these days with --protocol jobs"),
                    _ => error,
                }
            })?;
            Ok(vec![second.interval, first.interval])
        }
    }
}

/// Whether both halves are long enough to be asked for.
pub(super) fn can_split(part: Interval) -> bool {
    part.length() >= SPLIT_MIN * 2
}

/// The interval cut from its start into pieces of `longest`.
fn pieces(whole: Interval, longest: TimeDelta) -> Vec<Interval> {
    let longest = longest.max(SPLIT_MIN);
    let starts =
        std::iter::successors(Some(whole.from()), |from| Some(*from + longest)).take_while(|from| *from < whole.to());
    starts.filter_map(|from| Interval::new(from, whole.to().min(from + longest)).ok()).collect()
}

/// The slice's interval as far as it lies in the past, in the whole milliseconds of the wire: the API refuses a
/// future that it cannot know. `None` when nothing of it does.
pub(super) fn wire_interval(source: &Source, slice: &Slice) -> Option<Interval> {
    let now = source.client.now().trunc_subsecs(3);
    Interval::new(slice.interval.from(), slice.interval.to().min(now)).ok()
}

impl Fetched {
    /// Of a slice that has not begun.
    fn nothing(now: Timestamp) -> Fetched {
        Fetched {
            pages: 0,
            records: 0,
            hits: None,
            told: None,
            missing: 0,
            surplus: 0,
            availability: None,
            observed_at: now,
            clock_skew: None,
            chains: 0,
        }
    }
}

/// The way through one slice.
pub(super) struct Walk<'a> {
    pub(super) chain: Chain<'a>,
    done: Tally,
    open: Tally,
    availability: Option<Timestamp>,
    /// The first answer.
    heard: Option<Heard>,
    /// Whether the last part was too long for a limit that was not named.
    halved: bool,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    pages: u64,
    records: u64,
    hits: Option<u64>,
    told: Option<u64>,
    missing: u64,
    surplus: u64,
}

impl Walk<'_> {
    /// Takes note of what an answer says beside its records.
    pub(super) async fn note(&mut self, said: &Said) -> Result<()> {
        self.observed(said.heard).await?;
        // A watermark that goes backwards takes back its promise.
        self.availability = [self.availability, said.availability].into_iter().flatten().min();
        self.open.hits = self.open.hits.or(said.hits);
        self.open.told = self.open.told.max(said.hits);
        Ok(())
    }

    /// Takes note of when the first answer was given.
    pub(super) async fn observed(&mut self, heard: Heard) -> Result<()> {
        if self.heard.is_some() {
            return Ok(());
        }
        self.heard = Some(heard);
        self.chain.send(Delivery::Asked { at: heard.at }).await
    }

    /// Counts pages that are being delivered.
    pub(super) fn count(&mut self, pages: u64, records: usize) {
        self.open.pages += pages;
        self.open.records += records as u64;
    }

    /// Takes note of what the count of pages says about the records, where nothing else does.
    pub(super) fn counted(&mut self, pages: &Pages) {
        self.open.told = self.open.told.or(pages.told(self.open.records));
    }

    /// Records that the chain was told of and has not read.
    pub(super) fn lacks(&self) -> u64 {
        self.open.told.unwrap_or(0).saturating_sub(self.open.records)
    }

    /// Hands on a page of a chain that asks for one page at a time, or the name of the record that was all of it.
    pub(super) async fn deliver(&mut self, number: u32, received: Received) -> Result<()> {
        if let Some(TooLarge { error, id }) = received.too_large {
            tracing::warn!("the record of page {number} is set aside: {error}");
            self.count(0, 1);
            return self.chain.set_aside(number, id).await;
        }
        if received.is_empty() {
            return Ok(());
        }
        self.count(1, received.envelope.records.len());
        self.chain.deliver(number, received).await
    }

    /// Takes back what was delivered of this chain.
    pub(super) async fn abandon(&mut self) -> Result<()> {
        self.open = Tally::default();
        self.chain.send(Delivery::Restart { chain: self.chain.ordinal }).await
    }

    /// Half the records from now on, in this slice and in all that begin after it.
    ///
    /// # Errors
    /// `error` when there is nothing left to halve.
    pub(super) fn slow_down(&mut self, error: Error) -> Result<()> {
        self.shrink(error)?;
        self.chain.source.limits.learn(self.chain.protocol, Objection::PageSize(Some(self.chain.size)));
        Ok(())
    }

    /// Half the records from now on.
    ///
    /// # Errors
    /// `error` when there is nothing left to halve.
    pub(super) fn shrink(&mut self, error: Error) -> Result<()> {
        if self.chain.size <= 1 {
            return Err(error);
        }
        self.chain.size /= 2;
        tracing::warn!("pages of {} records from here: {error}", self.chain.size);
        Ok(())
    }

    fn begin(&mut self, part: Interval) {
        self.chain.part = part;
        if let Some(largest) = self.chain.source.limits.of(self.chain.protocol).page_size {
            self.chain.size = self.chain.size.min(largest).max(1);
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.halved) {
            // The first length that is served is the limit as far as it can be told. Not below a day: a query brings whole
            // days whatever is asked for.
            let longest = self.chain.part.length().max(TimeDelta::days(1));
            self.chain.source.limits.learn(self.chain.protocol, Objection::Interval(Some(longest)));
        }
        let open = std::mem::take(&mut self.open);
        if let Some(told) = open.told.filter(|told| *told != open.records) {
            tracing::debug!("{}: the API counts {told} records and sent {}", self.chain.part, open.records);
            self.done.missing += told.saturating_sub(open.records);
            self.done.surplus += open.records.saturating_sub(told);
        }
        self.done.told = match (self.done.told, open.told) {
            (None, None) => None,
            (before, told) => Some(before.unwrap_or(self.done.records) + told.unwrap_or(open.records)),
        };
        self.done.pages += open.pages;
        self.done.records += open.records;
        self.done.hits = [self.done.hits, open.hits].into_iter().flatten().reduce(|a, b| a + b);
        self.chain.ordinal += 1;
    }

    async fn page(&mut self) -> Result<(), Stop> {
        match self.chain.protocol {
            Protocol::Query => numbered::chain(self, &query::NUMBERING).await,
            Protocol::Jobs => jobs::chain(self).await,
            Protocol::Cursor => cursor::chain(self).await,
            Protocol::Page => numbered::chain(self, &page::NUMBERING).await,
        }
    }
}
