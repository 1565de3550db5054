//! The way from slices to published days: fetched concurrently, flattened as pages arrive, published when complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use futures::{Stream, TryStreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::days::Publisher;
use super::expect::{Terms, Volume, estimate};
use super::feed::Feed;
use super::harvest::Harvest;
use super::record::Recorder;
use super::workshop::{Early, Gathered, LeftBehind, Owner, PAGES_WAITING_MAX, Workshop};
use super::{Means, Settings, ahead, begin};
use crate::api::{Api, Fetched};
use crate::error::{Context, Error, Result};
use crate::lake::draft::Drafted;
use crate::lake::receipt::Shortage;
use crate::plan::{Asked, Matching, ProtocolChoice, Slice, SlicePolicy, Window, windows};
use crate::time::{Clock, Day, Interval, Timestamp};

/// How a run asks its source, whatever it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) protocol: ProtocolChoice,
    /// Whether any filter is set.
    pub(super) filtered: bool,
    /// Slices in flight at the same time; more where it takes more to use every permitted call, unless it is one.
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
    pub(super) max_bad: u8,
    pub(super) strict_totals: bool,
    pub(super) workshop: Workshop,
    room: Room,
}

/// Room for slices in flight; it grows when answers take long. Room for one stays room for one.
struct Room {
    slices: Arc<Semaphore>,
    size: AtomicUsize,
    grows: bool,
}

impl Room {
    fn new(size: usize) -> Room {
        Room { slices: Arc::new(Semaphore::new(size)), size: AtomicUsize::new(size), grows: size > 1 }
    }

    fn at_least(&self, size: usize) {
        if !self.grows {
            return;
        }
        let before = self.size.fetch_max(size, Ordering::Relaxed);
        self.slices.add_permits(size.saturating_sub(before));
    }
}

/// What the fetch of a slice brought.
pub(super) struct Brought {
    pub(super) fetched: Fetched,
    /// The generation of what was fetched.
    pub(super) generation: u64,
    pub(super) harvest: Harvest,
    /// Days that were encoded while the rest of the slice was fetched.
    pub(super) ahead: BTreeMap<Day, Result<Arc<Drafted>>>,
    /// What the source counts and did not send, twice.
    pub(super) shortage: Option<Shortage>,
    /// Records that a second fetch brought, by day: no second delivery by the source.
    pub(super) refetched: BTreeMap<Day, u64>,
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
        let Settings { max_bad, strict_totals, .. } = *settings;
        Ok(Exporter { manner, api, publisher, recorder, clock, max_bad, strict_totals, workshop, room })
    }

    /// Whether the source is the organization that the lake is of, where both are known.
    pub(super) async fn identify(&self) -> Result<()> {
        if self.manner.protocol.is_real() {
            self.publisher.identify(self.api.organization().await?).await?;
        }
        Ok(())
    }

    /// The volume of what the lake holds; the recorder starts from it.
    pub(super) async fn volume(&self) -> Result<Volume> {
        let ledger = self.publisher.with_run(|run| run.lake().ledger()).await?;
        let volume = Volume::of(&ledger);
        self.recorder.volume(&volume);
        Ok(volume)
    }

    /// Tells what `plan` is expected to cost.
    pub(super) fn announce(&self, plan: &[Window], availability: Option<Timestamp>, volume: &Volume) {
        let terms = Terms {
            protocol: self.manner.protocol,
            wanted: self.api.wanted(),
            availability,
            concurrency: self.manner.concurrency,
            rate_limit: self.api.calls_per_minute(self.manner.protocol),
        };
        self.recorder.expected(&estimate(plan, &terms, volume));
    }

    /// Fetches and publishes what is asked for: all windows at the same time; their slices share the room.
    pub(super) async fn pass(
        self: &Arc<Self>,
        asked: Asked,
        matching: Matching,
        availability: Option<Timestamp>,
    ) -> Result<()> {
        let plan = self.recorder.plan(windows(&self.with_what_is_held(&asked).await?, matching));
        let pass = Arc::new(Pass { asked, availability });
        let mut running = JoinSet::new();
        for window in plan {
            running.spawn(Arc::clone(self).window(window, Arc::clone(&pass)));
        }
        all(running).await
    }

    /// What has to be fetched so that the days in `asked` can be replaced. Of a day that is asked for in part, what the lake
    /// holds of it by now and the gap between are fetched as well: its file is replaced whole. What another run adds
    /// meanwhile is noticed when the day is published.
    async fn with_what_is_held(&self, asked: &Asked) -> Result<Asked> {
        let brings_parts = self.manner.protocol.protocols().iter().all(|protocol| protocol.brings_parts());
        if !brings_parts || asked.parts().all(|(day, part)| *part == day.interval()) {
            return Ok(asked.clone());
        }
        let ledger = self.publisher.with_run(|run| run.lake().ledger()).await?;
        let with_held = |(day, part): (Day, &Interval)| {
            let covers = ledger.day(day).and_then(|entry| entry.receipt.as_ref()).map(|receipt| receipt.covers);
            covers.and_then(|covers| covers.intersection(&day.interval())).map_or(*part, |covers| covers.hull(part))
        };
        Ok(asked.parts().map(with_held).collect())
    }

    /// The slices of one window, each carved when there is room for it, so that jobs can be as long as the volume
    /// seen so far allows.
    async fn window(self: Arc<Self>, window: Window, pass: Arc<Pass>) -> Result<()> {
        let mut running = JoinSet::new();
        for (part, protocol) in window.parts(self.manner.protocol, pass.availability) {
            let mut at = part.from();
            while at < part.to() {
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
                at = slice.interval.to();
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
        // The last thing before the first question: what is published from here on may be newer, or not.
        let generation = self.publisher.next_generation(Some(slice.days().collect())).await?;
        let mut brought = self.fetch(slice, (generation, 0), &whole).await?;
        if brought.fetched.missing > 0 {
            brought = self.fetch_again(slice, brought).await?;
        }
        let drafts = brought.ahead.values().flatten().map(Arc::clone).collect();
        let published = self.publish_days(slice, asked, brought).await;
        // Of those that were published nothing is left.
        self.publisher.discard(drafts).await?;
        published
    }

    /// Encodes `days` as they come.
    pub(super) async fn draft(
        &self,
        days: impl Stream<Item = LeftBehind>,
    ) -> Result<BTreeMap<Day, Result<Arc<Drafted>>>> {
        let drafts = ahead::draft(&self.publisher, days);
        drafts.map_ok(|(day, drafted)| (day, drafted.map(Arc::new))).try_collect().await
    }

    /// The pages of one slice, flattened, in a generation; its chains are numbered from `chain`. Days that are wanted `early` are encoded
    /// when its pages have left them behind.
    pub(super) async fn fetch(
        &self,
        slice: &Slice,
        (generation, chain): (u64, u32),
        early: &(dyn Fn(Day) -> bool + Sync),
    ) -> Result<Brought> {
        let (pages, delivered) = mpsc::channel(PAGES_WAITING_MAX);
        let fetching = async {
            let fetched = self.api.fetch(slice, chain, self.workshop.memory(), &pages).await;
            drop(pages);
            fetched
        };
        let owner = Owner { feed: Feed::Slice(*slice), generation, now: self.clock.now() };
        let seen = |records| {
            self.recorder.page(records);
            self.room.at_least(self.api.slices_needed(slice.protocol, self.workshop.memory()));
        };
        let (left, mut behind) = mpsc::channel(1);
        let early = Early { to: left, wants: early, spilled: false };
        let gathering = self.workshop.gather(delivered, owner, seen, Some(early));
        let behind = stream::poll_fn(move |context| behind.poll_recv(context));
        let (fetched, gathered, ahead) = tokio::join!(fetching, gathering, self.draft(behind));
        let mut ahead = ahead.context(|| slice.to_string())?;
        let Gathered { mut harvest, void } = gathered.context(|| slice.to_string())?;
        let void = match &fetched {
            Ok(_) => ahead.extract_if(.., |day, _| void.contains(day)).collect(),
            Err(_) => std::mem::take(&mut ahead),
        };
        self.publisher.discard(void.into_values().flatten().collect()).await?;
        match fetched {
            Ok(fetched) => {
                let (shortage, refetched) = (None, BTreeMap::new());
                Ok(Brought { fetched, generation, harvest, ahead, shortage, refetched })
            }
            Err(error) => {
                // What the source said last is evidence; the records of a slice that failed are asked for again.
                harvest.bad.clear();
                self.publisher.quarantine((Feed::Slice(*slice), generation), &mut harvest, true).await?;
                Err(error)
            }
        }
    }
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
