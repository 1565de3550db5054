//! `sync`: what is new, what may have changed, what was seen to have changed; nothing else.
//!
//! The ledger and the source's promise say which days are due ([`due`]). Those that are new or may have changed are
//! asked for by activity, so that the same jobs show which earlier days have changed; these are then fetched as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;

use super::expect::{Expectation, Terms, Volume, estimate};
use super::pipeline::{Exporter, Manner};
use super::{Means, Report, Settings, resume, run};
use crate::api::Api;
use crate::error::{Error, Result};
use crate::lake::{Lake, Ledger};
use crate::plan::due::{Due, Known, Policy, Reason, SAFETY, due};
use crate::plan::{Asked, Matching, Protocol, ProtocolChoice, WINDOW_DAYS_MAX, Window, windows};
use crate::time::{Day, Timestamp};

/// Days before the present at which an empty lake begins when nothing is said.
const FIRST_DAYS: i64 = 7;

/// What a sync is to keep up.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// How conversations are paged.
    pub protocol: ProtocolChoice,
    /// Whether any filter is set.
    pub filtered: bool,
    /// Slices in flight at the same time.
    pub concurrency: usize,
    /// The first day to keep. It counts when it is earlier than the lake's anchor, or when there is none.
    pub from: Option<Day>,
    /// How long after its end a day may still change.
    pub lookback: TimeDelta,
    /// How long a day that may still change is left alone.
    pub recheck_every: TimeDelta,
    /// Publish days only once they no longer change.
    pub settled_only: bool,
    /// Changed days that are fetched again in one run, the oldest first.
    pub dirty_max: usize,
}

/// What a sync would do.
#[derive(Debug, Serialize)]
pub struct Outlook {
    /// The first day that is kept.
    pub anchor: Day,
    /// Up to where the source promises its jobs to be complete, where jobs are made.
    pub availability_date: Option<Timestamp>,
    /// End of the gap-free run of complete days.
    pub watermark: Option<Timestamp>,
    /// The days that are due, in order.
    pub days: Vec<DueDay>,
    /// Days that have changed and would be left to the next run.
    pub dirty_left: u64,
    /// What they cost, by the volume of the days that the lake holds.
    #[serde(flatten)]
    pub expected: Expectation,
}

/// A day that is due.
#[derive(Debug, Serialize)]
pub struct DueDay {
    /// UTC date.
    pub date: Day,
    /// Why.
    pub reason: Reason,
}

/// What is due on a lake at a moment.
struct Survey {
    anchor: Day,
    /// Whether the lake does not know the anchor yet.
    moves_anchor: bool,
    policy: Policy,
    /// New, fresh, to be looked at again, to be settled.
    forward: Vec<Due>,
    matching: Matching,
}

/// Brings a lake up to date and says what became of it; errors are in the report. `stop` as for [`super::export`].
pub async fn sync(
    settings: Settings,
    request: SyncRequest,
    api: Api,
    means: Means,
    stop: impl Future<Output = Error>,
) -> Report {
    let SyncRequest { protocol, filtered, concurrency, lookback, .. } = request;
    let manner = Manner { protocol, filtered, concurrency, lookback };
    run(settings, None, manner, api, means, stop, async |exporter: Arc<Exporter>| exporter.sync(&request).await).await
}

/// What [`sync`] would do now. Asks the source for nothing but its promise; `lake` is `None` when there is none yet.
///
/// # Errors
/// Those of [`Api::availability`], and [`crate::error::Kind::Storage`] when the lake cannot be read.
pub async fn outlook(request: &SyncRequest, lake: Option<Arc<Lake>>, api: &Api, now: Timestamp) -> Result<Outlook> {
    let reading = tokio::task::spawn_blocking(move || lake.map(|lake| lake.ledger()).transpose());
    let ledger = reading.await.map_err(|e| Error::bug("the ledger was not read").source(e))??.unwrap_or_default();
    let availability = request.availability(api).await?;
    let survey = request.survey(&ledger, availability, now);
    let (changed, dirty_left) = request.changed(&ledger, &survey);
    let terms = Terms {
        protocol: request.protocol,
        wanted: api.wanted(),
        availability: survey.policy.availability,
        concurrency: request.concurrency,
        rate_limit: api.calls_per_minute(request.protocol),
    };
    let expected = estimate(&survey.plan(&changed), &terms, &Volume::of(&ledger));
    let mut days: Vec<DueDay> =
        survey.forward.iter().chain(&changed).map(|due| DueDay { date: due.day, reason: due.reason }).collect();
    days.sort_by_key(|due| due.date);
    Ok(Outlook {
        anchor: survey.anchor,
        availability_date: availability,
        watermark: ledger.watermark(survey.anchor),
        days,
        dirty_left: dirty_left as u64,
        expected,
    })
}

impl Exporter {
    async fn sync(self: Arc<Self>, request: &SyncRequest) -> Result<()> {
        let begun = resume::begun(&self.recorder, None);
        let ledger = self.publisher.with_run(move |run| {
            run.lake().history().begin(&begun)?;
            run.lake().ledger()
        });
        let ledger = ledger.await?;
        let availability = request.availability(&self.api).await?;
        self.recorder.availability(availability);
        let survey = request.survey(&ledger, availability, self.clock.now());
        let volume = Volume::of(&ledger);
        self.recorder.volume(&volume);
        let (changed, _) = request.changed(&ledger, &survey);
        if survey.forward.is_empty() && changed.is_empty() {
            return Ok(());
        }
        self.identify().await?;
        if survey.moves_anchor {
            self.publisher.with_run(move |run| run.set_anchor(survey.anchor)).await?;
        }
        self.recorder.due(&survey.forward);
        self.announce(&survey.plan(&changed), survey.policy.availability, &volume);
        self.pass(asked(&survey.forward), survey.matching, survey.policy.availability).await?;
        // Now it is known what has changed.
        let ledger = self.publisher.with_run(|run| run.lake().ledger()).await?;
        let (changed, left) = request.changed(&ledger, &survey);
        self.recorder.due(&changed);
        self.recorder.dirty_left(left);
        self.pass(asked(&changed), Matching::Start, survey.policy.availability).await
    }
}

impl Survey {
    /// The windows of what is due, and of the days that are known to have `changed`.
    fn plan(&self, changed: &[Due]) -> Vec<Window> {
        let mut plan = windows(&asked(&self.forward), self.matching);
        plan.extend(windows(&asked(changed), Matching::Start));
        plan
    }
}

impl SyncRequest {
    /// Up to where jobs are promised complete, if jobs are made.
    async fn availability(&self, api: &Api) -> Result<Option<Timestamp>> {
        if !self.protocol.protocols().iter().any(|protocol| protocol.promises()) {
            return Ok(None);
        }
        api.availability().await.map(Some)
    }

    fn survey(&self, ledger: &Ledger, availability: Option<Timestamp>, now: Timestamp) -> Survey {
        let first = ledger.anchor().into_iter().chain(self.from).min();
        let anchor = first.unwrap_or_else(|| beginning(ledger).unwrap_or(Day::of(now).plus(-FIRST_DAYS)));
        let policy = Policy {
            anchor,
            now,
            choice: self.protocol,
            availability: availability.map(|until| until.min(now - SAFETY)),
            lookback: self.lookback,
            recheck_every: self.recheck_every,
            settled_only: self.settled_only,
            bridge: bridge(Volume::of(ledger).average()),
        };
        let mut forward = due(&known(ledger), &policy);
        forward.retain(|due| due.reason != Reason::Dirty);
        // Only who holds earlier days learns from what was active.
        let earlier = ledger.days().next().zip(forward.first()).is_some_and(|((day, _), due)| *day < due.day);
        let matching = if earlier { Matching::Activity } else { Matching::Start };
        Survey { anchor, moves_anchor: ledger.anchor() != Some(anchor), policy, forward, matching }
    }

    /// The days that have changed, as many as one run may fetch, and how many are left. What the run has tried already
    /// is not tried again.
    fn changed(&self, ledger: &Ledger, survey: &Survey) -> (Vec<Due>, usize) {
        let mut changed = due(&known(ledger), &survey.policy);
        changed.retain(|due| {
            due.reason == Reason::Dirty && survey.forward.binary_search_by_key(&due.day, |tried| tried.day).is_err()
        });
        let left = changed.len().saturating_sub(self.dirty_max);
        changed.truncate(self.dirty_max);
        (changed, left)
    }
}

/// The first day of the latest stretch of days without a gap: who has exported before goes on from there.
fn beginning(ledger: &Ledger) -> Option<Day> {
    let mut held = ledger.days().rev().filter(|(_, entry)| entry.receipt.is_some()).map(|(day, _)| *day);
    let mut first = held.next()?;
    for day in held {
        if day.next() != first {
            break;
        }
        first = day;
    }
    Some(first)
}

fn asked(due: &[Due]) -> Asked {
    due.iter().map(|due| due.part).collect()
}

/// What is known of every day of which the lake holds a part that somebody fetched.
fn known(ledger: &Ledger) -> BTreeMap<Day, Known> {
    let known = ledger.days().filter_map(|(day, entry)| {
        // What was merged says nothing about what is missing: such a day is fetched like one that is not there.
        let receipt = entry.receipt.as_ref().filter(|receipt| !receipt.merged)?;
        let known = Known {
            covers: receipt.known(),
            source: receipt.source,
            availability: receipt.availability,
            observed_at: receipt.asked_at(),
            undated: receipt.clock_skew.is_some(),
            dirty: entry.is_due(),
            expired: receipt.is_expired(),
        };
        Some((*day, known))
    });
    known.collect()
}

/// Days whose pages cost less than one more job.
fn bridge(records_per_day: Option<u64>) -> usize {
    let size = Protocol::Jobs.page_size();
    let worth = Api::expected_calls(Protocol::Jobs, 0, size) * u64::from(size);
    let days = records_per_day.map_or(0, |rate| worth / rate.max(1));
    days.min(WINDOW_DAYS_MAX as u64) as usize
}
