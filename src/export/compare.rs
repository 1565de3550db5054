//! Days of a lake against the source's own counts.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::api::Api;
use crate::error::Result;
use crate::lake::{Ledger, Receipt, State};
use crate::plan::{Matching, Protocol, ProtocolChoice, Slice, Source};
use crate::time::{Day, Days};

/// How many conversations a day has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DayCount {
    /// The day.
    pub day: Day,
    /// In the lake.
    pub lake: u64,
    /// At the source.
    pub source: u64,
    /// Records that the fetch of the day set aside; which day they are of is not known.
    pub quarantined: u64,
    /// Conversations that were forgotten on purpose.
    pub forgotten: u64,
    /// Whether the source is not expected to change the day any more.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl DayCount {
    /// Whether what was set aside or forgotten can be what the lake lacks.
    pub fn is_explained(&self) -> bool {
        self.lake <= self.source && self.source - self.lake <= self.quarantined + self.forgotten
    }
}

/// Asks the source for its count of every whole day in `ledger`, with one small call each. Days of saved pages have
/// no source, those that expired are gone on purpose, and of a part of a day the source has no count.
///
/// # Errors
/// Those of [`Api::probe`].
pub async fn count_days(
    api: &Api,
    protocol: ProtocolChoice,
    ledger: &Ledger,
    days: &Days,
    concurrency: usize,
) -> Result<Vec<DayCount>> {
    let protocol = match protocol {
        ProtocolChoice::One(protocol @ (Protocol::Cursor | Protocol::Page)) => protocol,
        // A job has no total; the query of the same days has.
        _ => Protocol::Query,
    };
    let entries = ledger.days().filter(|(day, _)| days.contains(**day));
    let known = entries.filter_map(|(_, entry)| Some((entry.receipt.as_ref()?, entry.state()?)));
    let counted = known
        .filter(|(receipt, state)| receipt.is_whole() && receipt.source != Source::Files && *state != State::Expired);
    let count = |(receipt, state): (&Receipt, State)| {
        let (day, counts) = (receipt.day, receipt.counts);
        let is_final = state == State::Settled || state == State::Empty && receipt.is_promised();
        async move {
            let slice = Slice { window: 0, interval: day.interval(), protocol, matching: Matching::Start };
            let source = api.probe(&slice).await?.records;
            let (lake, quarantined, forgotten) = (counts.conversations, counts.quarantined, counts.forgotten);
            Ok(DayCount { day, lake, source, quarantined, forgotten, is_final })
        }
    };
    stream::iter(counted.map(count).collect::<Vec<_>>()).buffered(concurrency.max(1)).try_collect().await
}
