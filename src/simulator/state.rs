//! What the simulator remembers between calls: tokens with their windows, jobs, counters.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::TimeDelta;

use super::call::Endpoint;
use super::catalog::Selection;
use super::faults::Fate;
use super::rules::Rules;
use crate::time::Timestamp;

/// Length of the rate limit's window.
const WINDOW: TimeDelta = TimeDelta::seconds(60);

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls by endpoint, whatever became of them.
    pub calls: BTreeMap<Endpoint, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers that broke on the way.
    pub broken: u64,
    /// Connections of clients; none in process.
    pub connections: u64,
    /// Most jobs that were queued or running at once.
    pub jobs_concurrent_max: usize,
}

impl Counts {
    /// Calls of one endpoint.
    pub fn of(&self, endpoint: Endpoint) -> u64 {
        self.calls.get(&endpoint).copied().unwrap_or(0)
    }

    /// Answers with one status.
    pub fn with(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// The mutable part of a simulator.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) calls: u64,
    pub(crate) tokens_issued: u64,
    pub(crate) tokens: VecDeque<Token>,
    pub(crate) jobs: Vec<Job>,
    /// One counter an entry of the fault script.
    pub(crate) script: Vec<u64>,
    pub(crate) counts: Counts,
}

/// A bearer token.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) expires: Timestamp,
    /// When the current window began.
    window: Timestamp,
    used: u32,
}

impl Token {
    pub(crate) fn new(value: String, now: Timestamp, rules: &Rules) -> Token {
        Token { value, expires: after(now, rules.token_lifetime), window: now, used: 0 }
    }

    /// Counts a call; returns the calls of the window and the seconds until the next one.
    pub(crate) fn count(&mut self, now: Timestamp) -> (u32, u64) {
        if now >= self.window + WINDOW {
            (self.window, self.used) = (now, 0);
        }
        self.used += 1;
        let left = (self.window + WINDOW - now).num_milliseconds();
        (self.used, u64::try_from(left).unwrap_or(0).div_ceil(1_000))
    }
}

/// An asynchronous query.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) submitted: Timestamp,
    /// What it brings; its `as_of` is the submission, so the result is a snapshot.
    pub(crate) selection: Selection,
    /// Most results wanted.
    pub(crate) limit: usize,
    pub(crate) fate: Option<Fate>,
    pub(crate) deleted: bool,
}

/// What the API calls the state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Pending,
    Fulfilled,
    Failed,
    Expired,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Queued => "QUEUED",
            Phase::Pending => "PENDING",
            Phase::Fulfilled => "FULFILLED",
            Phase::Failed => "FAILED",
            Phase::Expired => "EXPIRED",
        }
    }

    pub(crate) fn busy(self) -> bool {
        matches!(self, Phase::Queued | Phase::Pending)
    }
}

impl Job {
    /// When it is done.
    pub(crate) fn completed(&self, rules: &Rules) -> Timestamp {
        after(self.submitted, rules.job_queued.saturating_add(rules.job_running))
    }

    /// When its results are gone.
    pub(crate) fn expires(&self, rules: &Rules) -> Timestamp {
        after(self.completed(rules), rules.job_results_kept)
    }

    pub(crate) fn phase(&self, now: Timestamp, rules: &Rules) -> Phase {
        if now < after(self.submitted, rules.job_queued) {
            return Phase::Queued;
        }
        if now < self.completed(rules) || self.fate == Some(Fate::Stuck) {
            return Phase::Pending;
        }
        match self.fate {
            Some(Fate::Failed) => Phase::Failed,
            Some(Fate::Expired) => Phase::Expired,
            _ if now >= self.expires(rules) => Phase::Expired,
            _ => Phase::Fulfilled,
        }
    }

    /// Whether anybody remembers it.
    pub(crate) fn known(&self) -> bool {
        !self.deleted && self.fate != Some(Fate::Lost)
    }
}

impl State {
    /// A job by its id, with its ordinal from 1.
    pub(crate) fn job(&mut self, id: &str) -> Option<(u64, &mut Job)> {
        let index = self.jobs.iter().position(|job| job.id == id)?;
        Some((index as u64 + 1, self.jobs.get_mut(index)?))
    }

    /// Jobs that are queued or running.
    pub(crate) fn busy_jobs(&self, now: Timestamp, rules: &Rules) -> usize {
        self.jobs.iter().filter(|job| job.known() && job.phase(now, rules).busy()).count()
    }
}

/// `at` so much later, up to the end of the calendar.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    at.checked_add_signed(delta).unwrap_or(Timestamp::MAX_UTC)
}

/// `at` so much earlier, down to the beginning of the calendar.
pub(crate) fn before(at: Timestamp, duration: Duration) -> Timestamp {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    at.checked_sub_signed(delta).unwrap_or(Timestamp::MIN_UTC)
}
