//! Whether to ask again: a policy bounded in tries and in time, shared by all calls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::pace::{Patience, deadline_passed};
use super::verdict::{Cause, Trouble};
use crate::error::{Error, Result};

/// Tries that a call gets, even when they took longer than `retry_for`.
const TRIES_MIN: u32 = 5;
/// Tries for an answer that arrives whole and is not the API's, or not readable.
const TRIES_UNREADABLE: u32 = 3;
/// The first wait; each further one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How much longer than its turn a wait may be, so that callers do not return together.
const JITTER: f64 = 0.25;
/// Added to a wait that the API asked for, at most.
const ASKED_JITTER: Duration = Duration::from_secs(1);
/// The wait after a 429 that names none.
const THROTTLED_MIN: Duration = Duration::from_secs(5);
/// Retries saved up in quiet times, and those that each served call earns. While nothing is saved every retry
/// waits the longest: a source in trouble is not asked much more often than one that is well.
const BUDGET_MAX: f64 = 100.0;
const BUDGET_EARNED: f64 = 0.1;

/// How persistent calls are, for the whole run.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Bounds one call.
    retry_for: Duration,
    /// Bounds the run.
    deadline: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: StdRng,
    /// Retries saved up.
    budget: f64,
    /// When a call was last served.
    served: Option<Instant>,
    /// A call was given up and none was served since it began: until one is, none is repeated.
    down: bool,
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    policy: &'a Policy,
    /// Bounds this call while it is answered 429: longer than the policy's for what may wait its turn.
    throttled_for: Duration,
    failed: u32,
    unreadable: u32,
    since: Option<Instant>,
}

impl Policy {
    pub(crate) fn new(retry_for: Duration, deadline: Option<Instant>, seed: Option<u64>) -> Policy {
        let random = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        let state = State { random, budget: BUDGET_MAX, served: None, down: false };
        Policy { retry_for, deadline, state: Mutex::new(state) }
    }

    /// A new call; 429s may go on for `throttled_for` when that is longer than the policy's bound.
    pub(crate) fn tries(&self, throttled_for: Option<Duration>) -> Tries<'_> {
        let throttled_for = throttled_for.unwrap_or_default().max(self.retry_for);
        Tries { policy: self, throttled_for, failed: 0, unreadable: 0, since: None }
    }

    /// A call was served.
    pub(crate) fn earn(&self) {
        let mut state = self.state();
        state.budget = (state.budget + BUDGET_EARNED).min(BUDGET_MAX);
        state.served = Some(Instant::now());
        state.down = false;
    }

    /// Ends `work` when the run ends.
    ///
    /// # Errors
    /// [`crate::error::Kind::Later`] at the deadline.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.map_err(|_| deadline_passed()),
        }
    }

    /// Waits, unless the run ends before.
    ///
    /// # Errors
    /// [`crate::error::Kind::Later`] at once when it does.
    pub(crate) async fn sleep(&self, wait: Duration) -> Result<()> {
        let until = Instant::now() + wait;
        if self.deadline.is_some_and(|deadline| until >= deadline) {
            return Err(deadline_passed());
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update is a few assignments: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Spends one retry; whether there was one to spend.
    fn spend(&mut self) -> bool {
        let had = self.budget >= 1.0;
        self.budget = (self.budget - 1.0).max(0.0);
        had
    }
}

impl Tries<'_> {
    /// How often the call has failed so far.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// How long this caller waits for its turn.
    pub(crate) fn patience(&self) -> Patience {
        Patience { deadline: self.policy.deadline, pause_max: self.throttled_for }
    }

    /// Whether another try for an unreadable answer is left, this failure included.
    pub(crate) fn reads_left(&self) -> bool {
        self.unreadable + 1 < TRIES_UNREADABLE
    }

    /// The wait before the next try.
    ///
    /// # Errors
    /// [`crate::error::Kind::Later`] when the wait is longer than what is left, or a 429 does not end;
    /// [`crate::error::Kind::Unavailable`] when the source stays down.
    pub(crate) fn next(&mut self, trouble: &Trouble) -> Result<Duration> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let spent = now - since;
        self.failed += 1;
        self.unreadable += u32::from(trouble.cause == Cause::Unreadable);
        let mut state = self.policy.state();
        // A wait that was asked for costs the source nothing and is not charged.
        let strained = trouble.asked.is_none() && trouble.cause != Cause::Throttled && !state.spend();
        let bound = if trouble.cause == Cause::Throttled { self.throttled_for } else { self.policy.retry_for };
        let wait = wait(self.failed, trouble, self.policy.retry_for, strained, state.random.random_range(0.0..1.0));
        let late = |what: String| Error::later(what).hint("run again later; progress is kept");
        let down = |what: String| Error::unavailable(what).hint("run again when the API answers; progress is kept");
        let what = || format!("{} ({} tries)", trouble.what, self.failed);
        let over = self.failed >= TRIES_MIN && spent + wait > bound;
        match trouble.asked {
            Some(asked) if spent + asked > bound => {
                return Err(late(format!("{}; it asks for a wait of {} s", trouble.what, asked.as_secs())));
            }
            _ if self.unreadable >= TRIES_UNREADABLE => return Err(down(what())),
            _ if trouble.cause == Cause::Throttled && over => return Err(late(what())),
            _ if trouble.cause == Cause::Throttled => {}
            _ if state.down => return Err(down(trouble.what.to_string())),
            _ if over => {
                state.down = state.served.is_none_or(|served| served <= since);
                return Err(down(what()));
            }
            _ => {}
        }
        if self.policy.deadline.is_some_and(|deadline| now + wait >= deadline) {
            return Err(deadline_passed().context(trouble.what.clone()));
        }
        Ok(wait)
    }
}

/// The wait after the failure number `failed` (from 1); `jitter` lies in `0..1`. A short `retry_for` shortens the
/// first waits so that the least tries fit into it.
fn wait(failed: u32, trouble: &Trouble, retry_for: Duration, strained: bool, jitter: f64) -> Duration {
    if let Some(asked) = trouble.asked {
        return asked + ASKED_JITTER.mul_f64(jitter);
    }
    let doublings = failed.saturating_sub(1).min(16);
    let first = BACKOFF_FIRST.min(retry_for / (1 << (TRIES_MIN - 1)));
    let longest = BACKOFF_MAX.div_f64(1.0 + JITTER);
    let turn = if strained { longest } else { longest.min(first * (1 << doublings)) };
    let backoff = turn.mul_f64(1.0 + JITTER * jitter);
    if trouble.cause == Cause::Throttled { backoff.max(THROTTLED_MIN) } else { backoff }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::secrets::Told;

    #[test]
    fn waits_double_from_two_seconds_to_thirty() {
        let trouble = Trouble { cause: Cause::Busy, what: Told::default(), asked: None };
        let waits = |jitter: f64, retry_for: u64| -> Vec<f64> {
            (1..8).map(|n| wait(n, &trouble, Duration::from_secs(retry_for), false, jitter).as_secs_f64()).collect()
        };
        assert_eq!(waits(0.0, 300), [2.0, 4.0, 8.0, 16.0, 24.0, 24.0, 24.0]);
        assert_eq!(waits(1.0, 300), [2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0]);
        // Five tries fit into a short bound.
        assert!(waits(1.0, 16)[..4].iter().sum::<f64>() < 20.0);
        let throttled = Trouble { cause: Cause::Throttled, ..trouble.clone() };
        assert_eq!(wait(1, &throttled, Duration::from_secs(300), false, 0.0), THROTTLED_MIN);
        let asked = Trouble { asked: Some(Duration::from_secs(7)), ..throttled };
        let asked = wait(1, &asked, Duration::from_secs(300), true, 0.99);
        assert!(asked >= Duration::from_secs(7) && asked < Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_stays_down_is_given_up_within_the_bound() {
        let policy = Policy::new(Duration::from_secs(300), None, Some(1));
        let mut tries = policy.tries(None);
        let trouble = Trouble { cause: Cause::Busy, what: Told::default(), asked: None };
        let start = Instant::now();
        let error = loop {
            match tries.next(&trouble) {
                Ok(wait) => tokio::time::sleep(wait).await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(tries.failed() >= TRIES_MIN);
        assert!(start.elapsed() > Duration::from_secs(240) && start.elapsed() <= Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_does_not_fit_is_refused_at_once() {
        let asked = |seconds| Trouble {
            cause: Cause::Throttled,
            what: Told::default(),
            asked: Some(Duration::from_secs(seconds)),
        };
        let policy = Policy::new(Duration::from_secs(300), Some(Instant::now() + Duration::from_secs(60)), Some(1));
        assert_eq!(policy.tries(None).next(&asked(3600)).unwrap_err().kind(), Kind::Later);
        assert_eq!(policy.tries(None).next(&asked(61)).unwrap_err().kind(), Kind::Later);
        assert!(policy.tries(None).next(&asked(30)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_slows_retries_down() {
        let policy = Policy::new(Duration::from_secs(300), None, Some(1));
        let trouble = Trouble { cause: Cause::Busy, what: Told::default(), asked: None };
        let first = |policy: &Policy| policy.tries(None).next(&trouble).unwrap();
        for _ in 0..BUDGET_MAX as usize {
            assert!(first(&policy) <= Duration::from_millis(2500));
        }
        assert!(first(&policy) >= Duration::from_secs(24));
        (0..11).for_each(|_| policy.earn());
        assert!(first(&policy) <= Duration::from_millis(2500));
    }
}
