//! What an export will cost, before it is made: windows, slices and calls.

use serde::Serialize;

use crate::api::{AVAILABILITY_LAG, Api, QUERY_RESULTS_MAX, Wanted};
use crate::error::{Error, Result};
use crate::plan::{Protocol, ProtocolChoice, Slice, SlicePolicy, Window};
use crate::time::Timestamp;

/// The plan as data. Without a probe, calls are the fewest that there can be.
#[derive(Debug, Serialize)]
pub struct Expectation {
    /// Its windows, in order.
    pub windows: Vec<ExpectedWindow>,
    /// Page chains.
    pub slices: u64,
    /// Calls for conversations.
    pub calls: u64,
    /// Conversations, when the source was asked.
    pub conversations: Option<u64>,
    /// Minutes at the rate limit.
    pub minutes: u64,
}

/// One window of it.
#[derive(Debug, Serialize)]
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

/// What is known without asking: the slices, and the fewest calls that they take.
pub fn expect(plan: &[Window], protocol: ProtocolChoice, wanted: &Wanted, now: Timestamp) -> Expectation {
    let policy = SlicePolicy { filtered: !wanted.filters.is_empty(), records_per_day: None };
    price(plan, protocol, wanted, Some(now - AVAILABILITY_LAG), &policy)
}

/// The slices that `policy` makes, and their calls at the volume that it knows.
pub(super) fn price(
    plan: &[Window],
    protocol: ProtocolChoice,
    wanted: &Wanted,
    availability: Option<Timestamp>,
    policy: &SlicePolicy,
) -> Expectation {
    let windows = plan.iter().map(|window| {
        let parts = window.parts(protocol, availability);
        let slices: Vec<Slice> =
            parts.into_iter().flat_map(|(part, protocol)| window.slices(part, protocol, policy)).collect();
        let calls = slices.iter().map(|slice| {
            let records = policy.records_per_day.unwrap_or(0) * slice.days().count() as u64;
            Api::expected_calls(slice.protocol, records, wanted.page_size(slice.protocol))
        });
        let (from, to) = (window.interval.from(), window.interval.to());
        ExpectedWindow { from, to, slices: slices.len() as u64, calls: calls.sum() }
    });
    sum(windows.collect(), None)
}

/// Asks the source for the total of every slice.
///
/// # Errors
/// Those of [`Api::probe`].
pub async fn probe(plan: &[Window], choice: ProtocolChoice, wanted: &Wanted, api: &Api) -> Result<Expectation> {
    if choice == ProtocolChoice::One(Protocol::Jobs) {
        return Err(Error::usage("jobs cannot be counted without being run")
            .hint("`--probe --protocol query` asks for the same totals"));
    }
    let availability = match choice {
        ProtocolChoice::Auto => Some(api.availability().await?),
        ProtocolChoice::One(_) => None,
    };
    let filtered = !wanted.filters.is_empty();
    let (mut windows, mut total) = (Vec::new(), 0);
    for window in plan {
        let (mut slices, mut calls) = (0, 0);
        for (part, protocol) in window.parts(choice, availability) {
            // A job has no total; the query of the same days has.
            let counted = if protocol == Protocol::Jobs { Protocol::Query } else { protocol };
            let policy = SlicePolicy { filtered, records_per_day: None };
            for slice in window.slices(part, counted, &policy) {
                let leaves = count_slice(api, slice).await?;
                let records: u64 = leaves.iter().sum();
                total += records;
                slices += leaves.len() as u64;
                let size = wanted.page_size(protocol);
                // Each halving costs the page on which the total was seen.
                calls += leaves.len() as u64 - 1;
                calls += leaves.iter().map(|leaf| Api::expected_calls(protocol, *leaf, size)).sum::<u64>();
            }
        }
        windows.push(ExpectedWindow { from: window.interval.from(), to: window.interval.to(), slices, calls });
    }
    Ok(sum(windows, Some(total)))
}

/// Conversations of a slice, or of its parts where it has to be asked for in parts.
async fn count_slice(api: &Api, slice: Slice) -> Result<Vec<u64>> {
    let (mut todo, mut leaves) = (vec![slice], Vec::new());
    while let Some(slice) = todo.pop() {
        let records = api.probe(&slice).await?;
        match slice.halves() {
            Some((first, second)) if slice.protocol == Protocol::Query && records > QUERY_RESULTS_MAX => {
                todo.extend([second, first]);
            }
            _ => leaves.push(records),
        }
    }
    Ok(leaves)
}

fn sum(windows: Vec<ExpectedWindow>, conversations: Option<u64>) -> Expectation {
    let (slices, calls) = (windows.iter().map(|w| w.slices).sum(), windows.iter().map(|w| w.calls).sum());
    Expectation { windows, slices, calls, conversations, minutes: 0 }
}
