//! The way from slices to published days: fetched concurrently, flattened as pages arrive, published when complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use futures::{TryStreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::days::{Observer, Publisher, Publishing};
use super::harvest::Harvest;
use super::record::Recorder;
use super::workshop::{Early, Gathered, Owner, PAGES_WAITING_MAX, Workshop};
use super::{Means, Settings, ahead, begin};
use crate::api::{Api, Fetched};
use crate::error::{Context, Error, Result};
use crate::lake::draft::Drafted;
use crate::lake::publish::Observation;
use crate::plan::{Asked, Matching, Protocol, ProtocolChoice, Slice, SlicePolicy, Window, windows};
use crate::time::{Clock, Day, Interval, Timestamp};

/// How a run asks its source, whatever it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) protocol: ProtocolChoice,
    /// Whether any filter is set.
    pub(super) filtered: bool,
    /// Slices in flight at the same time; more where it takes more to use every permitted call.
    pub(super) concurrency: usize,
    /// How long after its end a day may still change.
    pub(super) lookback: TimeDelta,
}

/// What a run fetches and publishes with.
pub(super) struct Exporter {
    pub(super) manner: Manner,
    pub(super) api: Api,
    pub(super) publisher: Publisher,
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: Clock,
    max_bad: u8,
    workshop: Workshop,
    room: Room,
}

/// Room for slices in flight; it grows when answers take long.
struct Room {
    slices: Arc<Semaphore>,
    size: AtomicUsize,
}

impl Room {
    fn new(size: usize) -> Room {
        Room { slices: Arc::new(Semaphore::new(size)), size: AtomicUsize::new(size) }
    }

    fn at_least(&self, size: usize) {
        let before = self.size.fetch_max(size, Ordering::Relaxed);
        self.slices.add_permits(size.saturating_sub(before));
    }
}

/// What the fetch of a slice brought.
struct Brought {
    fetched: Fetched,
    harvest: Harvest,
    /// Days that were encoded while the rest of the slice was fetched.
    ahead: BTreeMap<Day, Result<Arc<Drafted>>>,
}

/// One way through some days.
struct Pass {
    asked: Asked,
    /// Up to where jobs are promised complete, where both protocols are used.
    availability: Option<Timestamp>,
}

impl Exporter {
    pub(super) fn begin(
        settings: &Settings,
        manner: Manner,
        api: Api,
        means: Means,
        recorder: Arc<Recorder>,
    ) -> Result<Exporter> {
        let clock = means.clock;
        let (workshop, publisher) = begin(settings, means, &recorder)?;
        let room = Room::new(manner.concurrency.max(1));
        Ok(Exporter { manner, api, publisher, recorder, clock, max_bad: settings.max_bad, workshop, room })
    }

    /// Whether the source is the organization that the lake is of, where both are known.
    pub(super) async fn identify(&self) -> Result<()> {
        if self.manner.protocol.is_real() {
            self.publisher.identify(self.api.organization().await?).await?;
        }
        Ok(())
    }

    /// Fetches and publishes what is asked for: all windows at the same time; their slices share the room.
    pub(super) async fn pass(
        self: &Arc<Self>,
        asked: Asked,
        matching: Matching,
        availability: Option<Timestamp>,
    ) -> Result<()> {
        let plan = self.recorder.plan(windows(&asked, matching));
        let pass = Arc::new(Pass { asked, availability });
        let mut running = JoinSet::new();
        for window in plan {
            running.spawn(Arc::clone(self).window(window, Arc::clone(&pass)));
        }
        all(running).await
    }

    /// The slices of one window, each carved when there is room for it, so that jobs can be as long as the volume
    /// seen so far allows.
    async fn window(self: Arc<Self>, window: Window, pass: Arc<Pass>) -> Result<()> {
        let mut running = JoinSet::new();
        for (part, protocol) in window.parts(self.manner.protocol, pass.availability) {
            let mut at = Day::of(part.from());
            while at.start() < part.to() {
                let room = tokio::select! {
                    // What ends the run is noticed before the next slice begins.
                    Some(done) = running.join_next() => {
                        finished(done)?;
                        continue;
                    }
                    room = Arc::clone(&self.room.slices).acquire_owned() => room,
                };
                let room = room.map_err(|e| Error::bug("there is no room for slices").source(e))?;
                let policy =
                    SlicePolicy { filtered: self.manner.filtered, records_per_day: self.recorder.records_per_day() };
                let Some(slice) = window.starting(part, at, protocol, &policy) else { break };
                at = Day::of(slice.interval.to());
                let (exporter, pass) = (Arc::clone(&self), Arc::clone(&pass));
                running.spawn(async move {
                    let done = exporter.slice(slice, &pass).await;
                    drop(room);
                    done
                });
            }
        }
        all(running).await
    }

    /// Fetches a slice and publishes its days. An error that is only this slice's is recorded; one that stops the
    /// run is returned.
    async fn slice(&self, slice: Slice, pass: &Pass) -> Result<()> {
        match self.fetch_and_publish(&slice, &pass.asked).await {
            Err(error) if !error.kind().stops_the_run() => {
                self.recorder.slice_failed(&slice, &error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn fetch_and_publish(&self, slice: &Slice, asked: &Asked) -> Result<()> {
        // Early days are those that will be published as they are: of others a part would be cut off again.
        let whole = |day: Day| asked.part(day).is_some_and(|part| *part == day.interval());
        let brought = self.fetch(slice, 0, &whole).await?;
        let drafts = brought.ahead.values().flatten().map(Arc::clone).collect();
        let published = self.publish_days(slice, asked, brought).await;
        // Of those that were published nothing is left.
        self.publisher.discard(drafts).await?;
        published
    }

    async fn publish_days(&self, slice: &Slice, asked: &Asked, brought: Brought) -> Result<()> {
        let Brought { fetched, mut harvest, mut ahead } = brought;
        self.recorder.slice_fetched(slice, &fetched, &harvest);
        let readable = harvest.check_readable(self.max_bad).context(|| slice.to_string());
        let observer = Observer {
            source: slice.protocol.into(),
            forced: self.manner.protocol == ProtocolChoice::One(Protocol::Query),
            availability: fetched.availability,
            observed_at: fetched.observed_at,
            lookback: self.manner.lookback,
            out_of_window: harvest.seen().out_of_window,
            quarantined: harvest.bad.len() as u64,
        };
        self.publisher.quarantine(slice.to_string(), &mut harvest).await?;
        readable?;
        self.publisher.mark_dirty(active_elsewhere(slice, &harvest, asked), fetched.observed_at).await?;
        for day in slice.days() {
            let Some(part) = asked.part(day) else { continue };
            let Some(promised) = promised(part, slice.protocol, fetched.availability) else {
                self.recorder.not_available(day, observer.source);
                continue;
            };
            let rest = self.publisher.observation(&observer, day, promised, harvest.take(day));
            let published = match ahead.remove(&day).transpose() {
                Ok(drafted) => self.publish(slice, Observation { drafted, ..rest }, harvest.next_chain()).await,
                Err(error) => Err(error),
            };
            match published {
                Err(error) if !error.kind().stops_the_run() => self.recorder.day_failed(day, observer.source, &error),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Publishes a day. When conversations vanished from it, it is fetched once more, and what either fetch brought
    /// counts.
    async fn publish(&self, slice: &Slice, observation: Observation, chain: u32) -> Result<()> {
        let Publishing::Doubtful(mut observation) = self.publisher.publish(observation).await? else { return Ok(()) };
        let again = Slice { interval: observation.day.interval(), matching: Matching::Start, ..*slice };
        let Brought { mut harvest, fetched, .. } = self.fetch(&again, chain, &|_| false).await?;
        // Most of these the first fetch brought as well: better kept twice than lost.
        self.publisher.quarantine(again.to_string(), &mut harvest).await?;
        observation.rows.extend(harvest.take(observation.day));
        observation.observed_at = fetched.observed_at;
        observation.confirmed = true;
        match self.publisher.publish(*observation).await? {
            Publishing::Done => Ok(()),
            Publishing::Doubtful(_) => Err(Error::bug("a confirmed observation is doubted")),
        }
    }

    /// The pages of one slice, flattened; its chains are numbered from `chain`. Days that are wanted `early` are encoded
    /// when its pages have left them behind.
    async fn fetch(&self, slice: &Slice, chain: u32, early: &(dyn Fn(Day) -> bool + Sync)) -> Result<Brought> {
        let (pages, delivered) = mpsc::channel(PAGES_WAITING_MAX);
        let fetching = async {
            let fetched = self.api.fetch(slice, chain, self.workshop.memory(), &pages).await;
            drop(pages);
            fetched
        };
        let owner = Owner { slice: Some(*slice), now: self.clock.now() };
        let seen = |records| {
            self.recorder.page(records);
            self.room.at_least(self.api.slices_needed(slice.protocol, self.workshop.memory()));
        };
        let (left, mut behind) = mpsc::channel(1);
        let early = Early { to: left, wants: early, spilled: false };
        let gathering = self.workshop.gather(delivered, owner, seen, Some(early));
        let behind = stream::poll_fn(move |context| behind.poll_recv(context));
        let drafting = ahead::draft(&self.publisher, behind, &self.recorder)
            .map_ok(|(day, drafted)| (day, drafted.map(Arc::new)))
            .try_collect::<BTreeMap<_, _>>();
        let (fetched, gathered, ahead) = tokio::join!(fetching, gathering, drafting);
        let mut ahead = ahead.context(|| slice.to_string())?;
        let Gathered { mut harvest, void } = gathered.context(|| slice.to_string())?;
        let void = match &fetched {
            Ok(_) => ahead.extract_if(.., |day, _| void.contains(day)).collect(),
            Err(_) => std::mem::take(&mut ahead),
        };
        self.publisher.discard(void.into_values().flatten().collect()).await?;
        match fetched {
            Ok(fetched) => Ok(Brought { fetched, harvest, ahead }),
            Err(error) => {
                // What the source said last is evidence; the records of a slice that failed are asked for again.
                harvest.bad.clear();
                self.publisher.quarantine(slice.to_string(), &mut harvest).await?;
                Err(error)
            }
        }
    }
}

/// Days that are not asked for on which `harvest` shows activity. Those that are asked for are fetched by their own
/// slices.
fn active_elsewhere(slice: &Slice, harvest: &Harvest, asked: &Asked) -> BTreeMap<Day, Timestamp> {
    if !slice.brings_active() {
        return BTreeMap::new();
    }
    harvest.seen().active.into_iter().filter(|(day, _)| asked.part(*day).is_none()).collect()
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
fn promised(asked: &Interval, protocol: Protocol, availability: Option<Timestamp>) -> Option<Interval> {
    match (protocol, availability) {
        (Protocol::Jobs, Some(to)) => Interval::new(asked.from(), asked.to().min(to)).ok(),
        _ => Some(*asked),
    }
}
