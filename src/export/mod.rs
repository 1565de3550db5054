//! The pipeline, and the only place that knows all parts: slices are fetched concurrently, their pages flattened on
//! all processors, and each day published as soon as its slice is complete.
//!
//! ```text
//! window ─▶ slice ─▶ api::fetch ─(bounded channel)─▶ Workshop::gather ─▶ Harvest ─▶ lake::publish, days together
//!                                                        └─ days that are left behind ─▶ drafts ─┘
//! ```
//! `pipeline` is that way up to the end of a slice, `complete` the rest; which days its pages have left behind, the
//! `frontier` says, and those are encoded `ahead`. What goes through is a set of days: a range without what an interrupted
//! run had done (`resume`), or what is due (`sync`). `convert` goes the same way with saved pages: `reading` opens each
//! `input`, cuts it into `documents` and sends on what is in them. They replace days, or `merge` adds them to days.

mod ahead;
mod buffers;
mod closing;
mod compare;
mod complete;
mod convert;
mod days;
mod dimensions;
mod documents;
mod expect;
mod feed;
mod frontier;
mod harvest;
mod input;
mod merge;
mod names;
mod pipeline;
mod reading;
mod record;
mod report;
mod resume;
mod short;
mod sync;
mod workshop;

use std::sync::Arc;

pub use compare::{DayCount, count_days};
pub use convert::{Onto, convert};
pub use dimensions::{DimensionReport, DimensionsReport, DimensionsRequest, daily_dimensions, dimensions};
pub use expect::{Basis, Expectation, ExpectedWindow, Terms, Volume, estimate, probe};
pub use input::{Input, Inputs};
pub use names::{first_name, resolve_names, spelled_ids};
pub use report::{ClockReport, DayOutcome, DayReport, ErrorReport, Holdings, Report, Sample, Totals, WindowReport};
pub use resume::expired;
pub use sync::{Outlook, SyncRequest, outlook, sync};

use closing::conclude;
use days::Publisher;
use pipeline::{Exporter, Manner};
use record::Recorder;
use workshop::Workshop;

use crate::api::Api;
use crate::error::{Error, Result};
use crate::flatten::Flattener;
use crate::lake::Lake;
use crate::memory::Memory;
use crate::plan::due::LOOKBACK;
use crate::plan::{Asked, Matching, ProtocolChoice, windows};
use crate::time::{Clock, Interval};

/// What an export or a conversion does beside the source and the lake.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The command, for the report.
    pub command: &'static str,
    /// The lake as the operator named it, for the report.
    pub lake: String,
    /// Notes about the request, for the report.
    pub notes: Vec<String>,
    /// Bytes of pages and rows in memory; rows beyond it wait in files.
    pub memory: usize,
    /// Percent of a slice's records that may be unreadable.
    pub max_bad: u8,
    /// A slice of which the source counts more than it sends, also when it is asked again, fails.
    pub strict_totals: bool,
    /// Publish days from which more conversations vanished than a fault would explain.
    pub allow_vanished: bool,
}

/// What an export asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The conversations' start, not in the future.
    pub asked: Asked,
    /// How they are paged.
    pub protocol: ProtocolChoice,
    /// Whether any filter is set.
    pub filtered: bool,
    /// Slices in flight at the same time; more where it takes more to use every permitted call, unless it is one.
    pub concurrency: usize,
    /// Leave out the days that the lake holds as far as they are asked for.
    pub missing_only: bool,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something about the request that shows only when it is read.
    Note(&'a str),
    /// What the run is expected to cost, before its first call for conversations.
    Expected(&'a Expectation),
    /// A page with so many records arrived.
    Page(u64),
    /// A day is done.
    Day(&'a DayReport),
}

/// Hears the events of a run.
pub type Watch = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// What a run works with.
pub struct Means {
    /// Where the days go.
    pub lake: Arc<Lake>,
    /// The tables and columns.
    pub flattener: Flattener,
    /// The time.
    pub clock: Clock,
    /// Who hears of it.
    pub watch: Watch,
}

/// Exports `request` from `api` and says what became of it; errors are in the report. Days that an interrupted run of
/// the same request has published are not fetched again.
///
/// `stop` ends the run when it resolves: nothing more is asked for, a publish that has begun is finished, and the
/// report carries its error.
pub async fn export(
    settings: Settings,
    request: Request,
    api: Api,
    means: Means,
    stop: impl Future<Output = Error>,
) -> Report {
    let Request { asked, protocol, filtered, concurrency, missing_only } = request;
    let manner = Manner { protocol, filtered, concurrency, lookback: LOOKBACK };
    let range = asked.hull();
    run(settings, range, manner, api, means, stop, async |exporter: Arc<Exporter>| {
        let left = exporter.resume(asked, missing_only).await?;
        if left.is_empty() {
            return Ok(());
        }
        exporter.identify().await?;
        let availability = match protocol {
            ProtocolChoice::Auto => Some(exporter.api.availability().await?),
            ProtocolChoice::One(_) => None,
        };
        exporter.recorder.availability(availability);
        let volume = exporter.volume().await?;
        exporter.announce(&windows(&left, Matching::Start), availability, &volume);
        exporter.pass(left, Matching::Start, availability).await
    })
    .await
}

/// Does `work` on a lake, and tells what came of it.
async fn run(
    settings: Settings,
    range: Option<Interval>,
    manner: Manner,
    api: Api,
    means: Means,
    stop: impl Future<Output = Error>,
    work: impl AsyncFnOnce(Arc<Exporter>) -> Result<()>,
) -> Report {
    let clock = means.clock;
    let recorder = Recorder::start(&settings, range, clock.now(), Arc::clone(&means.watch));
    let exporter = match Exporter::begin(&settings, manner, api.clone(), means, Arc::clone(&recorder)) {
        Ok(exporter) => Arc::new(exporter),
        Err(error) => return recorder.finish(Some(error), clock.now()),
    };
    let outcome = tokio::select! {
        outcome = work(Arc::clone(&exporter)) => outcome,
        error = stop => Err(error),
    };
    recorder.calls(&api.stats());
    conclude(&exporter.publisher, &recorder, outcome, clock).await
}

/// The workshop and the publisher of a run.
fn begin(settings: &Settings, means: Means, recorder: &Arc<Recorder>) -> Result<(Workshop, Publisher)> {
    let publisher = Publisher::begin(settings, &means, Arc::clone(recorder))?;
    let workshop = Workshop::new(means.flattener, Memory::new(settings.memory), publisher.spill_directory()?)?;
    Ok((workshop, publisher))
}
