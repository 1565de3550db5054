//! What an export costs, before it is made: windows, slices and calls.
//!
//! There is one estimate, for `plan`, for dry runs and for the start of every run. It follows the pipeline: windows take
//! their slices in turn, and jobs grow longer when the volume is known. How good it is depends on the [`Volume`].

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::api::{Api, QUERY_RESULTS_MAX, Wanted};
use crate::error::{Error, Result};
use crate::lake::Ledger;
use crate::plan::{Protocol, ProtocolChoice, Slice, SlicePolicy, Window};
use crate::time::{Day, Interval, Timestamp};

/// Days of a lake from which its volume is taken for days that it does not hold: the latest.
const VOLUME_DAYS: usize = 30;
/// Conversations a day of a large contact centre: the upper end of the range when nothing is known.
const CONVERSATIONS_A_DAY_MAX: u64 = 10_000;

/// Where an estimate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Nothing is known: the calls are a range.
    #[default]
    Unknown,
    /// The days that the lake holds.
    History,
    /// The totals that the source gives.
    Probe,
}

/// How many conversations a day has, as far as that is known before a run.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    basis: Basis,
    /// Of single days.
    days: BTreeMap<Day, u64>,
    /// Of a day, on average; for days that are not known one by one.
    average: Option<u64>,
    /// Conversations on a page of the cursor protocol, where the source chooses that.
    page_size: Option<u32>,
}

impl Volume {
    /// The volume of the days that a lake holds whole.
    pub fn of(ledger: &Ledger) -> Volume {
        let whole = ledger.days().filter_map(|(_, entry)| entry.receipt.as_ref()).filter(|r| r.is_whole());
        let days: BTreeMap<Day, u64> = whole.map(|receipt| (receipt.day, receipt.counts.conversations)).collect();
        let latest: Vec<u64> = days.values().rev().take(VOLUME_DAYS).copied().collect();
        let average = latest.iter().sum::<u64>().checked_div(latest.len() as u64);
        let basis = if average.is_some() { Basis::History } else { Basis::Unknown };
        Volume { basis, days, average, page_size: None }
    }

    /// The same number every day, by nobody's word.
    fn guess(average: u64) -> Volume {
        Volume { average: Some(average), ..Volume::default() }
    }

    /// The days that the average is of, and their conversations; none when nothing is known.
    pub(super) fn seen(&self) -> (u64, u64) {
        let days = self.days.len().min(VOLUME_DAYS) as u64;
        (days, days * self.average.unwrap_or(0))
    }

    /// Conversations of a day, on average.
    pub(super) fn average(&self) -> Option<u64> {
        self.average
    }

    /// Conversations that started in `interval`.
    fn conversations(&self, interval: &Interval) -> u64 {
        let of = |day: Day| self.days.get(&day).copied().or(self.average).unwrap_or(0);
        interval.days().map(of).sum()
    }

    /// The average that a run knows when it makes its slice number `nth`: a lake's history from the start, everything
    /// else when the first slices are there.
    fn average_at(&self, nth: usize, concurrency: usize) -> Option<u64> {
        self.average.filter(|_| self.basis == Basis::History || nth >= concurrency)
    }
}

/// The costs as data.
#[derive(Clone, Debug, Serialize)]
pub struct Expectation {
    /// Its windows, in order.
    pub windows: Vec<ExpectedWindow>,
    /// Page chains.
    pub slices: u64,
    /// Calls for conversations; those without any conversation when nothing is known.
    pub calls: u64,
    /// The calls at 10,000 conversations a day, when nothing is known.
    pub calls_max: Option<u64>,
    /// What `calls` is known from.
    pub basis: Basis,
    /// Conversations, when something is known.
    pub conversations: Option<u64>,
    /// Minutes at the rate limit, for `calls`.
    pub minutes: u64,
}

/// One window of it.
#[derive(Clone, Debug, Serialize)]
pub struct ExpectedWindow {
    /// First midnight.
    pub from: Timestamp,
    /// Midnight behind it.
    pub to: Timestamp,
    /// Page chains.
    pub slices: u64,
    /// Calls for conversations.
    pub calls: u64,
}

/// What the calls of a run depend on beside its volume.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The protocols.
    pub protocol: ProtocolChoice,
    /// Filters and page sizes.
    pub wanted: &'a Wanted,
    /// Up to where jobs are promised complete, for [`ProtocolChoice::Auto`].
    pub availability: Option<Timestamp>,
    /// Slices in flight at the same time.
    pub concurrency: usize,
    /// Calls a minute.
    pub rate_limit: u32,
}

/// What `plan` costs at `volume`; of an unknown volume, what it costs without conversations and with very many.
pub fn estimate(plan: &[Window], terms: &Terms<'_>, volume: &Volume) -> Expectation {
    // A source of cursors chooses how many conversations a page has, and a lake does not tell.
    let chooses = terms.protocol == ProtocolChoice::One(Protocol::Cursor) && terms.wanted.page_size.is_none();
    let basis = if chooses && volume.basis == Basis::History { Basis::Unknown } else { volume.basis };
    let known = basis != Basis::Unknown;
    let (none, many) = (Volume::guess(0), Volume::guess(CONVERSATIONS_A_DAY_MAX));
    let windows = price(plan, terms, if known { volume } else { &none });
    let total = |windows: &[ExpectedWindow]| windows.iter().map(|w| w.calls).sum::<u64>() + terms.extra_calls(plan);
    let calls = total(&windows);
    Expectation {
        slices: windows.iter().map(|window| window.slices).sum(),
        windows,
        calls,
        calls_max: (!known).then(|| total(&price(plan, terms, &many))),
        basis,
        conversations: known.then(|| plan.iter().map(|window| volume.conversations(&window.interval)).sum()),
        minutes: calls.div_ceil(u64::from(terms.rate_limit.max(1))),
    }
}

impl Terms<'_> {
    /// Calls that are no slice's: [`ProtocolChoice::Auto`] asks up to where jobs are complete.
    fn extra_calls(&self, plan: &[Window]) -> u64 {
        u64::from(self.protocol == ProtocolChoice::Auto && !plan.is_empty())
    }

    /// Calls that `records` in `slice` take, with pages of `size` where the source chooses.
    fn calls(&self, slice: &Slice, records: u64, size: Option<u32>) -> u64 {
        match slice.halves() {
            // The page on which the total is seen, and both halves.
            Some((first, second)) if slice.protocol == Protocol::Query && records > QUERY_RESULTS_MAX => {
                1 + self.calls(&first, records / 2, size) + self.calls(&second, records - records / 2, size)
            }
            _ => {
                let size = size.unwrap_or(self.wanted.page_size(slice.protocol));
                Api::expected_calls(slice.protocol, records, size)
            }
        }
    }
}

/// What is left of a window: its parts by protocol, the first one from `at` on.
struct Rest<'a> {
    window: &'a Window,
    parts: VecDeque<(Interval, Protocol)>,
    at: Timestamp,
}

impl Rest<'_> {
    fn slice(&mut self, policy: &SlicePolicy) -> Option<Slice> {
        let (part, protocol) = *self.parts.front()?;
        let slice = self.window.starting(part, self.at, protocol, policy)?;
        self.at = slice.interval.to();
        if self.at >= part.to() {
            self.parts.pop_front();
        }
        Some(slice)
    }
}

/// The slices of each window and their calls.
fn price(plan: &[Window], terms: &Terms<'_>, volume: &Volume) -> Vec<ExpectedWindow> {
    let rests = plan.iter().map(|window| Rest {
        window,
        parts: window.parts(terms.protocol, terms.availability).into(),
        at: window.interval.from(),
    });
    let mut rests: Vec<Rest<'_>> = rests.collect();
    let expected = |window: &Window| ExpectedWindow {
        from: window.interval.from(),
        to: window.interval.to(),
        slices: 0,
        calls: 0,
    };
    let mut windows: Vec<ExpectedWindow> = plan.iter().map(expected).collect();
    let (filtered, mut nth) = (!terms.wanted.filters.is_empty(), 0);
    while rests.iter().any(|rest| !rest.parts.is_empty()) {
        for (rest, window) in rests.iter_mut().zip(&mut windows) {
            let records_per_day = volume.average_at(nth, terms.concurrency);
            let Some(slice) = rest.slice(&SlicePolicy { filtered, records_per_day }) else {
                rest.parts.clear();
                continue;
            };
            nth += 1;
            window.slices += 1;
            window.calls += terms.calls(&slice, volume.conversations(&slice.interval), volume.page_size);
        }
    }
    windows
}

/// Asks the source for the totals of `plan`: one small call for each slice of a query, or of the tutorial's protocol.
///
/// # Errors
/// Those of [`Api::probe`]; [`crate::error::Kind::Usage`] for jobs alone, which cannot be counted without being run.
pub async fn probe(plan: &[Window], terms: &Terms<'_>, api: &Api) -> Result<Volume> {
    if terms.protocol == ProtocolChoice::One(Protocol::Jobs) {
        return Err(Error::usage("jobs cannot be counted without being run")
            .hint("`--probe --protocol query` asks for the same totals"));
    }
    let policy = SlicePolicy { filtered: !terms.wanted.filters.is_empty(), records_per_day: None };
    let (mut days, mut total, mut page_size) = (BTreeMap::new(), 0, None);
    for window in plan {
        for (part, protocol) in window.parts(terms.protocol, terms.availability) {
            // A job has no total; the query of the same days has.
            let counted = if protocol == Protocol::Jobs { Protocol::Query } else { protocol };
            for slice in window.slices(part, counted, &policy) {
                let probed = api.probe(&slice).await?;
                total += probed.records;
                page_size = page_size.or(probed.page_size);
                days.extend(spread(probed.records, slice.days().collect()));
            }
        }
    }
    let average = total.checked_div(days.len() as u64);
    Ok(Volume { basis: Basis::Probe, days, average, page_size })
}

/// `records` evenly over `days`, to the last one.
fn spread(records: u64, days: Vec<Day>) -> impl Iterator<Item = (Day, u64)> {
    let count = days.len() as u64;
    let share = move |n: u64| records / count + u64::from(n < records % count);
    (0..).zip(days).map(move |(n, day)| (day, share(n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_spread_to_the_last_one(records in 0u64..1_000_000, days in 1i64..40) {
            let first: Day = "2025-01-01".parse().unwrap();
            let days: Vec<Day> = (0..days).map(|n| first.plus(n)).collect();
            let spread: Vec<(Day, u64)> = spread(records, days.clone()).collect();
            prop_assert_eq!(spread.iter().map(|(day, _)| *day).collect::<Vec<_>>(), days);
            prop_assert_eq!(spread.iter().map(|(_, n)| n).sum::<u64>(), records);
            let (least, most) = (spread.iter().map(|(_, n)| n).min(), spread.iter().map(|(_, n)| n).max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1);
        }
    }
}
