//! The pipeline, and the only place that knows all parts: slices are fetched concurrently, their pages flattened on
//! all processors, and each day published as soon as its slice is complete.
//!
//! ```text
//! window ─▶ slice ─▶ api::fetch ─(bounded channel)─▶ Workshop::gather ─▶ Harvest ─▶ lake::publish, day by day
//! ```

mod convert;
mod days;
mod documents;
mod expect;
mod harvest;
mod record;
mod report;
mod workshop;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub use convert::{Input, convert};
pub use expect::{Expectation, ExpectedWindow, expect, probe};
pub use report::{DayOutcome, DayReport, ErrorReport, Report, Sample, Totals, WindowReport};

use days::{Observer, Publisher, Publishing};
use harvest::Harvest;
use record::Recorder;
use workshop::{PAGES_WAITING_MAX, Workshop};

use crate::api::{Api, Fetched};
use crate::error::{Context, Error, Result};
use crate::flatten::Flattener;
use crate::lake::Lake;
use crate::lake::publish::Observation;
use crate::plan::{Protocol, ProtocolChoice, Slice, SlicePolicy, Window, windows};
use crate::time::{Clock, Day, Interval, Timestamp};

/// What an export or a conversion does beside the source and the lake.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The command, for the report.
    pub command: &'static str,
    /// The lake as the operator named it, for the report.
    pub lake: String,
    /// Notes about the request, for the report.
    pub notes: Vec<String>,
    /// Bytes of rows held in memory; what is beyond it waits in files.
    pub memory: usize,
    /// Percent of a slice's records that may be unreadable.
    pub max_bad: u8,
    /// Publish days from which more conversations vanished than a fault would explain.
    pub allow_vanished: bool,
}

/// What an export asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The conversations' start, half-open, not in the future.
    pub asked: Interval,
    /// How they are paged.
    pub protocol: ProtocolChoice,
    /// Whether any filter is set.
    pub filtered: bool,
    /// Slices in flight at the same time.
    pub concurrency: usize,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
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

/// Exports `request` from `api` and says what became of it; errors are in the report.
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
    let plan = windows(&request.asked);
    let clock = means.clock;
    let recorder = Recorder::start(&settings, Some(request.asked), &plan, clock.now(), Arc::clone(&means.watch));
    let outcome = async {
        let exporter = Arc::new(Exporter::begin(&settings, request, api.clone(), means, Arc::clone(&recorder))?);
        let outcome = tokio::select! {
            outcome = Arc::clone(&exporter).run(plan) => outcome,
            error = stop => Err(error),
        };
        exporter.publisher.finish().await;
        outcome
    }
    .await;
    recorder.calls(&api.stats());
    recorder.finish(outcome.err(), clock.now())
}

struct Exporter {
    request: Request,
    max_bad: u8,
    api: Api,
    workshop: Workshop,
    publisher: Publisher,
    recorder: Arc<Recorder>,
    /// Room for slices in flight.
    slices: Arc<Semaphore>,
}

impl Exporter {
    fn begin(
        settings: &Settings,
        request: Request,
        api: Api,
        means: Means,
        recorder: Arc<Recorder>,
    ) -> Result<Exporter> {
        let (workshop, publisher) = begin(settings, means, &recorder)?;
        let slices = Arc::new(Semaphore::new(request.concurrency.max(1)));
        Ok(Exporter { request, max_bad: settings.max_bad, api, workshop, publisher, recorder, slices })
    }

    /// All windows at the same time; their slices share the room.
    async fn run(self: Arc<Self>, plan: Vec<Window>) -> Result<()> {
        self.identify().await?;
        let availability = match self.request.protocol {
            ProtocolChoice::Auto => Some(self.api.availability().await?),
            ProtocolChoice::One(_) => None,
        };
        self.recorder.availability(availability);
        let mut running = JoinSet::new();
        for window in plan {
            running.spawn(Arc::clone(&self).window(window, availability));
        }
        all(running).await
    }

    /// Whether the source is the organization that the lake is of, where both are known.
    async fn identify(&self) -> Result<()> {
        if self.request.protocol.is_real() {
            self.publisher.identify(self.api.organization().await?).await?;
        }
        Ok(())
    }

    /// The slices of one window, each carved when there is room for it, so that jobs can be as long as the volume
    /// seen so far allows.
    async fn window(self: Arc<Self>, window: Window, availability: Option<Timestamp>) -> Result<()> {
        let mut running = JoinSet::new();
        for (part, protocol) in window.parts(self.request.protocol, availability) {
            let mut at = Day::of(part.from());
            while at.start() < part.to() {
                let room = tokio::select! {
                    // What ends the run is noticed before the next slice begins.
                    Some(done) = running.join_next() => {
                        finished(done)?;
                        continue;
                    }
                    room = Arc::clone(&self.slices).acquire_owned() => room,
                };
                let room = room.map_err(|e| Error::bug("there is no room for slices").source(e))?;
                let policy =
                    SlicePolicy { filtered: self.request.filtered, records_per_day: self.recorder.records_per_day() };
                let Some(slice) = Slice::starting(window.index, part, at, protocol, &policy) else { break };
                at = Day::of(slice.interval.to());
                let exporter = Arc::clone(&self);
                running.spawn(async move {
                    let done = exporter.slice(slice).await;
                    drop(room);
                    done
                });
            }
        }
        all(running).await
    }

    /// Fetches a slice and publishes its days. An error that is only this slice's is recorded; one that stops the
    /// run is returned.
    async fn slice(&self, slice: Slice) -> Result<()> {
        match self.fetch_and_publish(&slice).await {
            Err(error) if !error.kind().stops_the_run() => {
                self.recorder.slice_failed(&slice, &error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn fetch_and_publish(&self, slice: &Slice) -> Result<()> {
        let (mut harvest, fetched) = self.fetch(slice, 0).await?;
        self.recorder.slice_fetched(slice, &fetched, &harvest);
        let readable = harvest.check_readable(self.max_bad).context(|| slice.to_string());
        let observer = Observer {
            source: slice.protocol.into(),
            forced: self.request.protocol == ProtocolChoice::One(Protocol::Query),
            availability: fetched.availability,
            observed_at: fetched.observed_at,
            out_of_window: harvest.seen().out_of_window,
            quarantined: harvest.bad.len() as u64,
        };
        self.publisher.quarantine(slice.to_string(), &mut harvest).await?;
        readable?;
        self.publisher.mark_dirty(self.changed_elsewhere(slice, &harvest), fetched.observed_at).await?;
        for day in slice.days() {
            let Some(asked) = self.request.asked.intersection(&day.interval()) else { continue };
            let Some(promised) = promised(asked, slice.protocol, fetched.availability) else {
                self.recorder.not_available(day, observer.source);
                continue;
            };
            let observation = self.publisher.observation(&observer, day, promised, harvest.take(day)?);
            match self.publish(slice, observation, harvest.next_chain()).await {
                Err(error) if !error.kind().stops_the_run() => self.recorder.day_failed(day, observer.source, &error),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Days of other runs on which `harvest` shows activity. The days of this run are fetched by its own slices.
    fn changed_elsewhere(&self, slice: &Slice, harvest: &Harvest) -> BTreeSet<Day> {
        if !self.api.brings_active(slice.protocol) {
            return BTreeSet::new();
        }
        let own = self.request.asked.whole_days();
        harvest.seen().foreign_days.into_iter().filter(|day| !own.covers(&day.interval())).collect()
    }

    /// Publishes a day. When conversations vanished from it, it is fetched once more, and what either fetch brought
    /// counts.
    async fn publish(&self, slice: &Slice, observation: Observation, chain: u32) -> Result<()> {
        let Publishing::Doubtful(mut observation) = self.publisher.publish(observation).await? else { return Ok(()) };
        let again = Slice { interval: observation.day.interval(), ..*slice };
        let (mut harvest, fetched) = self.fetch(&again, chain).await?;
        // Most of these the first fetch brought as well: better kept twice than lost.
        self.publisher.quarantine(again.to_string(), &mut harvest).await?;
        observation.batches.extend(harvest.take(observation.day)?);
        observation.observed_at = fetched.observed_at;
        observation.confirmed = true;
        match self.publisher.publish(*observation).await? {
            Publishing::Done => Ok(()),
            Publishing::Doubtful(_) => Err(Error::bug("a confirmed observation is doubted")),
        }
    }

    /// The pages of one slice, flattened; its chains are numbered from `chain`.
    async fn fetch(&self, slice: &Slice, chain: u32) -> Result<(Harvest, Fetched)> {
        let (pages, delivered) = mpsc::channel(PAGES_WAITING_MAX);
        let fetching = async {
            let fetched = self.api.fetch(slice, chain, &pages).await;
            drop(pages);
            fetched
        };
        let gathering = self.workshop.gather(delivered, |day| slice.owns(day), |records| self.recorder.page(records));
        let (fetched, harvest) = tokio::join!(fetching, gathering);
        match (fetched, harvest) {
            (Ok(fetched), Ok(harvest)) => Ok((harvest, fetched)),
            (Err(error), Ok(mut harvest)) => {
                // What the source said last is evidence; the records of a slice that failed are asked for again.
                harvest.bad.clear();
                self.publisher.quarantine(slice.to_string(), &mut harvest).await?;
                Err(error)
            }
            (_, Err(error)) => Err(error.context(slice.to_string())),
        }
    }
}

/// The workshop and the publisher of a run.
fn begin(settings: &Settings, means: Means, recorder: &Arc<Recorder>) -> Result<(Workshop, Publisher)> {
    let publisher = Publisher::begin(settings, &means, Arc::clone(recorder))?;
    let workshop = Workshop::new(means.flattener, settings.memory, publisher.spill_directory()?)?;
    Ok((workshop, publisher))
}

/// Waits for all tasks; the first error ends the others.
async fn all(mut running: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = running.join_next().await {
        finished(done)?;
    }
    Ok(())
}

/// How a task ended.
fn finished(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(|e| Error::bug("a task of the export died").source(e))?
}

/// The part of `asked` that the source promises to know completely. Only jobs promise anything, and cut off silently
/// what lies behind it.
fn promised(asked: Interval, protocol: Protocol, availability: Option<Timestamp>) -> Option<Interval> {
    match (protocol, availability) {
        (Protocol::Jobs, Some(to)) => Interval::new(asked.from(), asked.to().min(to)).ok(),
        _ => Some(asked),
    }
}
