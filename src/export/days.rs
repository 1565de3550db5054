//! The lake's side of the pipeline: what a harvest holds is published, day by day, on threads that may block.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Semaphore;

use super::feed::Feed;
use super::harvest::Harvest;
use super::record::Recorder;
use super::report::{DayOutcome, DayReport};
use super::workshop::LeftBehind;
use super::{Means, Settings};
use crate::error::{Error, Result};
use crate::flatten::batch::BadRecord;
use crate::lake::Run;
use crate::lake::assemble::TableSpec;
use crate::lake::day_rows::DayRows;
use crate::lake::draft::Drafted;
use crate::lake::expire::EXPIRED;
use crate::lake::layout::Dataset;
use crate::lake::merge::Addition;
use crate::lake::publish::{Observation, Outcome};
use crate::lake::quarantine::{Origin, Quarantine};
use crate::lake::receipt::{Counts, Receipt, Shortage, State};
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp};

/// Days published at the same time. Each is encoded on all processors, so more would only take memory.
pub(super) const PUBLISHING_MAX: usize = 2;
/// How long a run that ends waits for the publishes that have begun.
const FINISHING_MAX: Duration = Duration::from_secs(8);

/// How and when a day was observed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observer {
    pub(super) source: Source,
    /// Whether the operator named the protocol: what it brings replaces what a better one brought.
    pub(super) forced: bool,
    pub(super) availability: Option<Timestamp>,
    /// The generation of what was fetched.
    pub(super) generation: u64,
    pub(super) observed_at: Timestamp,
    /// By how many seconds the source's clock was ahead, when that was too much.
    pub(super) clock_skew: Option<i64>,
    /// How long after its end a day may still change.
    pub(super) lookback: TimeDelta,
    /// Records of days that the fetch does not own.
    pub(super) out_of_window: u64,
    /// Records that could not be read; which day they are of is not known.
    pub(super) quarantined: u64,
    /// What the source counts and did not send.
    pub(super) shortage: Option<Shortage>,
}

/// How publishing a day ended, when it did not fail.
pub(super) enum Publishing {
    /// The day is done and recorded.
    Done,
    /// The lake holds more of the day by now than was fetched: all of it has to be.
    Narrow(Box<Observation>),
    /// Conversations are gone: the day has to be fetched once more before that is believed.
    Doubtful(Box<Observation>),
}

/// Publishes the days of one run.
pub(super) struct Publisher {
    run: Arc<Run>,
    quarantine: Arc<Quarantine>,
    recorder: Arc<Recorder>,
    permits: Arc<Semaphore>,
    /// Days are encoded ahead one at a time: each is on all processors, so more would only take memory.
    drafting: Semaphore,
    allow_vanished: bool,
}

impl Publisher {
    pub(super) fn begin(settings: &Settings, means: &Means, recorder: Arc<Recorder>) -> Result<Publisher> {
        let specs = TableSpec::of(means.flattener.catalog())?;
        let run = means.lake.begin(recorder.run_id(), Dataset::Conversations, specs, means.clock)?;
        Ok(Publisher {
            quarantine: Arc::new(run.quarantine()),
            run: Arc::new(run),
            recorder,
            permits: Arc::new(Semaphore::new(PUBLISHING_MAX)),
            drafting: Semaphore::new(1),
            allow_vanished: settings.allow_vanished,
        })
    }

    /// Where rows beyond the memory wait.
    pub(super) fn spill_directory(&self) -> Result<PathBuf> {
        self.run.staging()
    }

    /// Checks the organization that the source says it is against the lake's, and notes it there the first time.
    pub(super) async fn identify(&self, organization: Option<String>) -> Result<()> {
        let Some(organization) = organization else { return Ok(()) };
        self.with_run(move |run| run.lake().identify(&organization)).await
    }

    /// The generation of what is asked for from here on about `days`, or about any day.
    pub(super) async fn next_generation(&self, days: Option<BTreeSet<Day>>) -> Result<u64> {
        self.with_run(move |run| run.next_generation(days.as_ref())).await
    }

    /// Keeps the records of `harvest` that could not be read, and the responses that were refused; `failed` says whether
    /// nothing of it will be published.
    pub(super) async fn quarantine(
        &self,
        (feed, generation): (Feed, u64),
        harvest: &mut Harvest,
        failed: bool,
    ) -> Result<()> {
        let (mut bad, refused) = (std::mem::take(&mut harvest.bad), std::mem::take(&mut harvest.refused));
        if bad.is_empty() && refused.is_empty() {
            return Ok(());
        }
        // In the order in which they came, whichever page was read first.
        bad.sort_unstable_by_key(|record| record.position);
        let quarantine = Arc::clone(&self.quarantine);
        self.blocking(move || {
            let origin =
                |record: &BadRecord| Origin { place: feed.place(record.position.chain), day: None, generation };
            if failed {
                quarantine.add_failed(origin, &bad)?
            } else {
                quarantine.add(origin, &bad)?
            }
            for (body, reason) in refused {
                if let Some(kept) = quarantine.keep_response(&body)? {
                    tracing::warn!("{}: an answer was refused ({reason}); it is kept as `{kept}`", feed.place(0));
                }
            }
            Ok(())
        })
        .await
    }

    /// Marks the days that were `active` after the lake had looked at them.
    pub(super) async fn mark_dirty(&self, active: BTreeMap<Day, Timestamp>, seen_at: Timestamp) -> Result<()> {
        if active.is_empty() {
            return Ok(());
        }
        self.with_run(move |run| run.mark_dirty(active, seen_at).map(drop)).await
    }

    /// Does `work` on a thread that may block.
    pub(super) async fn with_run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Run) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let run = Arc::clone(&self.run);
        self.blocking(move || work(&run)).await
    }

    /// What `rows` say about the part `asked` of `day`, all of which was fetched.
    pub(super) fn observation(&self, by: &Observer, day: Day, asked: Interval, rows: DayRows) -> Observation {
        Observation {
            day,
            rows,
            drafted: None,
            asked,
            fetched: day.interval(),
            source: by.source,
            availability: by.availability,
            generation: by.generation,
            observed_at: by.observed_at,
            clock_skew: by.clock_skew,
            settled_before: by.observed_at - by.lookback,
            out_of_window: by.out_of_window,
            quarantined: by.quarantined,
            shortage: by.shortage,
            refetched: 0,
            moved: Arc::new(HashSet::new()),
            confirmed: false,
            force_protocol: by.forced,
            allow_vanished: self.allow_vanished,
        }
    }

    /// Encodes a day when it is its turn.
    pub(super) async fn draft(&self, left: LeftBehind) -> Result<Drafted> {
        let turn = self.drafting.acquire().await.map_err(|e| Error::bug("nothing is drafted any more").source(e))?;
        let LeftBehind { day, rows, generation, observed_at, leaving } = left;
        let draft = move |run: &Run| {
            let drafted = run.draft_day(day, &rows, generation, observed_at);
            // Whoever waits for it finds the rows gone.
            drop((rows, leaving));
            drafted
        };
        let drafted = self.with_run(draft).await;
        drop(turn);
        drafted
    }

    /// Removes drafts that are not published.
    pub(super) async fn discard(&self, drafts: Vec<Arc<Drafted>>) -> Result<()> {
        self.with_run(move |run| drafts.iter().try_for_each(|drafted| run.discard_draft(drafted))).await
    }

    /// How many days are best published together.
    pub(super) fn together_max(&self) -> usize {
        self.run.together_max()
    }

    /// Publishes a day and records what became of it.
    pub(super) async fn publish(&self, observation: Observation) -> Result<Publishing> {
        let mut published = self.publish_all(vec![observation]).await?;
        published.pop().ok_or_else(|| Error::bug("a day was not published"))?.1
    }

    /// Publishes days together, and records what became of each.
    pub(super) async fn publish_all(&self, days: Vec<Observation>) -> Result<Vec<(Day, Result<Publishing>)>> {
        let room = Arc::clone(&self.permits).acquire_owned().await;
        let room = room.map_err(|e| Error::bug("the publisher is closed").source(e))?;
        let (run, recorder) = (Arc::clone(&self.run), Arc::clone(&self.recorder));
        // The whole of it, recording included, is on the blocking thread: a stopped run does not lose the outcome of
        // a publish that has begun.
        self.blocking(move || {
            let _until_recorded = room;
            let outcomes = run.publish_all(&days);
            let ended = days.into_iter().zip(outcomes).map(|(observation, outcome)| {
                let record = |outcome| {
                    let Some(day) = report(observation.day, observation.source, outcome) else { return false };
                    recorder.day(day);
                    true
                };
                let again =
                    if matches!(outcome, Ok(Outcome::NeedsWhole)) { Publishing::Narrow } else { Publishing::Doubtful };
                let recorded = outcome.map(record);
                let ended = recorded.map(|done| if done { None } else { Some(again) });
                let day = observation.day;
                (day, ended.map(|again| again.map_or(Publishing::Done, |again| again(Box::new(observation)))))
            });
            Ok(ended.collect())
        })
        .await
    }

    /// Adds to days together, and records what became of each.
    pub(super) async fn merge_all(&self, additions: Vec<Addition>) -> Result<Vec<(Day, Result<()>)>> {
        let room = Arc::clone(&self.permits).acquire_owned().await;
        let room = room.map_err(|e| Error::bug("the publisher is closed").source(e))?;
        let (run, recorder) = (Arc::clone(&self.run), Arc::clone(&self.recorder));
        self.blocking(move || {
            let _until_recorded = room;
            let outcomes = run.merge_all(&additions);
            let ended = additions.iter().zip(outcomes).map(|(addition, outcome)| {
                let day = addition.day;
                let recorded = outcome.map(|outcome| {
                    if let Some(day) = report(day, Source::Files, outcome) {
                        recorder.day_again(day);
                    }
                });
                (day, recorded)
            });
            Ok(ended.collect())
        })
        .await
    }

    /// Waits for publishes that have begun, but not longer than a scheduler waits before it kills: what does not end
    /// in time is not committed, which is safe. None begins any more: a task that was given up may still be running.
    pub(super) async fn finish(&self) {
        let all = self.permits.acquire_many(PUBLISHING_MAX as u32);
        if tokio::time::timeout(FINISHING_MAX, all).await.is_err() {
            tracing::warn!("a publish that takes longer was given up: its day is fetched again by the next run");
        }
        self.permits.close();
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        tokio::task::spawn_blocking(work).await.map_err(|e| Error::bug("a publish died").source(e))?
    }
}

/// What became of the day; `None` while that is in doubt.
fn report(day: Day, source: Source, outcome: Outcome) -> Option<DayReport> {
    let new = |outcome| DayReport::new(day, outcome, source);
    let kept = |reason| DayReport { reason: Some(reason), ..new(DayOutcome::Kept) };
    if matches!(outcome, Outcome::Kept { reason: EXPIRED }) {
        return Some(expired(day, source));
    }
    match outcome {
        Outcome::Published(receipt) => {
            let vanished = receipt.counts.vanished;
            Some(DayReport { vanished, ..seen(new(DayOutcome::Published), &receipt) })
        }
        // What vanished from these files had vanished before.
        Outcome::Unchanged(receipt) => Some(seen(new(DayOutcome::Unchanged), &receipt)),
        Outcome::Kept { reason } => Some(kept(reason.to_owned())),
        Outcome::Superseded { by } => {
            Some(kept(format!("run {} has published a newer observation, or is about to", by.writer())))
        }
        Outcome::NeedsWhole | Outcome::NeedsConfirmation { .. } => None,
    }
}

/// The day has expired: it is not asked for, or what was brought of it is left out.
pub(super) fn expired(day: Day, source: Source) -> DayReport {
    let state = Some(State::Expired.name());
    DayReport { state, reason: Some(EXPIRED.to_owned()), ..DayReport::new(day, DayOutcome::Kept, source) }
}

/// What the lake holds of the day, and what the fetch brought beside it.
fn seen(report: DayReport, receipt: &Receipt) -> DayReport {
    let Counts { duplicates, forgotten, .. } = receipt.counts;
    DayReport { duplicates, forgotten, ..held(report, receipt) }
}

/// What the lake holds of the day, by its receipt.
pub(super) fn held(report: DayReport, receipt: &Receipt) -> DayReport {
    DayReport {
        state: Some(receipt.state().name()),
        conversations: receipt.counts.conversations,
        rows: receipt.files.iter().map(|file| (file.table.to_string(), file.rows)).collect(),
        ..report
    }
}
