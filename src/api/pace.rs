//! One pace for all callers: never more calls in a minute than the API permits, and hardly one fewer.
//!
//! The API counts calls in minutes of its own; where they begin is not known. A log of the calls of the last
//! minute that never holds more than the limit is right for every such minute, and it starts full: the first
//! calls go out at once. The answers' `inin-ratelimit-*` headers lower it when others use the same token.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Result};

/// Calls a minute that the real API permits a client.
pub const CALLS_PER_MINUTE: u32 = 300;
/// Calls a minute that the second tutorial's document permits.
pub const CALLS_PER_MINUTE_PAGE: u32 = 200;
/// Calls that may be on their way at the same time: with answers that take 3 s the pace needs half of them on average, and
/// all of them after a stretch of silence.
pub const CALLS_IN_FLIGHT_MAX: usize = 32;

/// The API's minute, and a little for its clock.
const WINDOW: Duration = Duration::from_millis(60_020);
/// A call is counted by the API when it arrives: at the latest when its answer is here, and as a rule within this.
const ARRIVAL_MAX: Duration = Duration::from_millis(750);
/// How many times the calls needed on average are to be under way. Permissions come back as the calls went out, in
/// bursts: what cannot be used at once comes back later from then on.
const HEADROOM: f64 = 2.0;
/// `inin-ratelimit-reset` is in whole seconds: ends of the API's minute this far apart are the same end.
const RESET_SLACK: Duration = Duration::from_secs(3);

/// Hands out permission to call.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    /// The head of the queue: callers are served in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    in_flight: Semaphore,
    answered: Notify,
}

/// How long a caller is ready to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The end of the run.
    pub(crate) deadline: Option<Instant>,
    /// The longest pause that the API may ask for.
    pub(crate) pause_max: Duration,
}

/// One call on its way. Dropped without an answer, it still counts as a call.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    pace: &'a Pace,
    number: u64,
    _slot: SemaphorePermit<'a>,
}

/// What the API last said about its own count.
#[derive(Clone, Copy, Debug)]
struct Quota {
    allowed: u64,
    count: u64,
    ends: Instant,
}

#[derive(Debug)]
struct State {
    limit: u32,
    /// When each call of the last minute counts from, and its number.
    log: BTreeSet<(Instant, u64)>,
    /// Numbers and stamps of the calls that have no answer yet.
    open: Vec<(u64, Instant)>,
    granted: u64,
    quota: Option<Quota>,
    /// The API asked for silence until then.
    paused: Option<Instant>,
    /// From a call to its answer, lately.
    latency: Duration,
    /// The last call granted before a 429: behind it one call at a time goes out until one is served.
    throttled: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Now,
    At(Instant),
    PausedUntil(Instant),
    WhenAnswered,
}

impl Pace {
    pub(crate) fn new(calls_per_minute: u32) -> Pace {
        let state = State {
            limit: calls_per_minute.max(1),
            log: BTreeSet::new(),
            open: Vec::new(),
            granted: 0,
            quota: None,
            paused: None,
            latency: Duration::ZERO,
            throttled: None,
        };
        Pace {
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
            in_flight: Semaphore::new(CALLS_IN_FLIGHT_MAX),
            answered: Notify::new(),
        }
    }

    /// From now on not faster than this.
    pub(crate) fn cap(&self, calls_per_minute: u32) {
        let mut state = self.state();
        state.limit = state.limit.min(calls_per_minute.max(1));
    }

    /// Waits for this caller's turn.
    ///
    /// # Errors
    /// [`crate::error::Kind::Later`] as soon as it is certain that the turn comes too late.
    pub(crate) async fn acquire(&self, patience: Patience) -> Result<Permit<'_>> {
        let closed = |_| Error::bug("the pace was closed");
        let slot = self.in_flight.acquire().await.map_err(closed)?;
        let _turn = self.turn.lock().await;
        loop {
            let now = Instant::now();
            let admission = self.state().admit(now);
            let until = match admission {
                Admission::Now => break,
                Admission::WhenAnswered => None,
                Admission::At(at) => Some(at),
                Admission::PausedUntil(at) if at > now + patience.pause_max => {
                    let asked = (at - now).as_secs();
                    return Err(Error::later(format!("the API asks for a pause of {asked} s"))
                        .hint("run again later; progress is kept"));
                }
                Admission::PausedUntil(at) => Some(at),
            };
            if patience.deadline.is_some_and(|deadline| until.unwrap_or(now) >= deadline) {
                return Err(deadline_passed());
            }
            let wait = until.or(patience.deadline);
            tokio::select! {
                () = async { match wait { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
                () = self.answered.notified() => {}
            }
        }
        let number = self.state().grant(Instant::now());
        Ok(Permit { pace: self, number, _slot: slot })
    }

    /// Calls that have to be under way at the same time for the pace to be used up, as long as answers take as long as
    /// they did lately.
    pub(crate) fn calls_needed(&self) -> usize {
        let state = self.state();
        let a_second = f64::from(state.limit) / 60.0;
        let needed = (a_second * state.latency.as_secs_f64() * HEADROOM).ceil();
        (needed as usize).clamp(1, CALLS_IN_FLIGHT_MAX)
    }

    /// Silence for all callers: the API said 429.
    pub(crate) fn pause(&self, length: Duration) {
        let mut state = self.state();
        let until = Instant::now() + length;
        state.paused = Some(state.paused.map_or(until, |earlier| earlier.max(until)));
        state.throttled = Some(state.granted);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update is a few assignments: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The answer is here: its headers say how much is left, and a call that was served ends a throttling.
    pub(crate) fn answered(&self, headers: &HeaderMap, served: bool) {
        let now = Instant::now();
        let mut state = self.pace.state();
        state.settle(self.number, now);
        state.learn(headers, now);
        state.throttled = state.throttled.filter(|last| !served || self.number <= *last);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.pace.state().open.retain(|(number, _)| *number != self.number);
        self.pace.answered.notify_one();
    }
}

impl State {
    fn admit(&mut self, now: Instant) -> Admission {
        while self.log.first().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.log.pop_first();
        }
        self.paused = self.paused.filter(|until| *until > now);
        if let Some(until) = self.paused {
            return Admission::PausedUntil(until);
        }
        if self.throttled.is_some() && !self.open.is_empty() {
            return Admission::WhenAnswered;
        }
        let mut limit = self.limit as usize;
        if let Some(quota) = self.quota.filter(|quota| now < quota.ends) {
            limit = limit.min(usize::try_from(quota.allowed).unwrap_or(usize::MAX));
            // What is counted beyond the calls of this run, others made: the log does not know them. Calls on their way may
            // be in the count already; those that come back will tell.
            let counted = |at: &Instant| *at + WINDOW + RESET_SLACK >= quota.ends;
            let own = self.log.iter().filter(|(at, _)| counted(at)).count() as u64;
            if quota.count > own && quota.count + self.open.len() as u64 >= quota.allowed {
                return if self.open.is_empty() { Admission::At(quota.ends) } else { Admission::WhenAnswered };
            }
        }
        match self.log.len().checked_sub(limit).and_then(|excess| self.log.iter().nth(excess)) {
            Some((oldest, _)) => Admission::At(*oldest + WINDOW),
            None => Admission::Now,
        }
    }

    fn grant(&mut self, now: Instant) -> u64 {
        self.granted += 1;
        let stamp = now + ARRIVAL_MAX;
        self.log.insert((stamp, self.granted));
        self.open.push((self.granted, stamp));
        self.granted
    }

    /// The API has counted the call before it answered.
    fn settle(&mut self, number: u64, now: Instant) {
        let Some((_, stamp)) = self.open.iter().find(|(open, _)| *open == number) else { return };
        let took = (now + ARRIVAL_MAX).saturating_duration_since(*stamp);
        self.latency = if self.latency.is_zero() { took } else { (self.latency * 7 + took) / 8 };
        if now < *stamp && self.log.remove(&(*stamp, number)) {
            self.log.insert((now, number));
        }
    }

    fn learn(&mut self, headers: &HeaderMap, now: Instant) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let (Some(allowed), Some(count), Some(reset)) =
            (number("inin-ratelimit-allowed"), number("inin-ratelimit-count"), number("inin-ratelimit-reset"))
        else {
            return;
        };
        // Nothing allowed, or a minute of many minutes, is nothing that can be meant.
        if allowed == 0 || reset > 10 * WINDOW.as_secs() {
            return;
        }
        let ends = now + Duration::from_secs(reset);
        // Answers overtake each other: within one minute of the API the largest count is the newest. No answer puts its
        // end too early, and each too late by what it took to arrive and a part of a second: the earliest is the best.
        let same = self.quota.filter(|quota| now < quota.ends && ends < quota.ends + RESET_SLACK);
        let count = same.map_or(count, |quota| quota.count.max(count));
        self.quota = Some(Quota { allowed, count, ends: same.map_or(ends, |quota| quota.ends.min(ends)) });
    }
}

/// The end of a run that has run out of time.
pub(crate) fn deadline_passed() -> Error {
    Error::later("the deadline leaves no time for the next call").hint("run again; progress is kept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    const FOREVER: Patience = Patience { deadline: None, pause_max: Duration::from_secs(300) };

    /// Counts calls in fixed minutes of its own and refuses those above its limit.
    struct Server {
        epoch: Instant,
        limit: u64,
        minute: Mutex<(u64, u64)>,
        refused: AtomicU64,
        served: AtomicU64,
    }

    impl Server {
        fn call(&self, now: Instant, strangers: u64) -> HeaderMap {
            let elapsed = now - self.epoch;
            let minute = elapsed.as_secs() / 60;
            let mut state = self.minute.lock().unwrap();
            if state.0 != minute {
                *state = (minute, strangers);
            }
            if state.1 >= self.limit {
                self.refused.fetch_add(1, Relaxed);
            } else {
                state.1 += 1;
                self.served.fetch_add(1, Relaxed);
            }
            let reset = 60 - elapsed.as_secs() % 60;
            let values = [
                ("inin-ratelimit-allowed", self.limit),
                ("inin-ratelimit-count", state.1),
                ("inin-ratelimit-reset", reset),
            ];
            values.into_iter().map(|(k, v)| (k.parse::<http::HeaderName>().unwrap(), v.into())).collect()
        }
    }

    /// Ten minutes of `callers` against the server; returns it and the share of permitted calls that were used.
    async fn ten_minutes(limit: u32, offset_ms: u64, strangers: u64, headers: bool) -> (Arc<Server>, f64) {
        let start = Instant::now();
        let server = Arc::new(Server {
            epoch: start - Duration::from_millis(offset_ms),
            limit: u64::from(limit),
            minute: Mutex::new((0, 0)),
            refused: AtomicU64::new(0),
            served: AtomicU64::new(0),
        });
        let pace = Arc::new(Pace::new(limit));
        let end = start + Duration::from_secs(600);
        let callers: Vec<_> = (0..24u64)
            .map(|seed| {
                let (pace, server) = (Arc::clone(&pace), Arc::clone(&server));
                tokio::spawn(async move {
                    let mut random = seed * 7919 + 17;
                    let silent = HeaderMap::new();
                    while Instant::now() < end {
                        let permit = pace.acquire(FOREVER).await.unwrap();
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let jitter = Duration::from_millis((random >> 33) % 400);
                        tokio::time::sleep(jitter).await;
                        let answer = server.call(Instant::now(), strangers);
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        permit.answered(if headers { &answer } else { &silent }, true);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let share = server.served.load(Relaxed) as f64 / (f64::from(limit) - strangers as f64) / 10.0;
        (server, share)
    }

    #[tokio::test(start_paused = true)]
    async fn every_permitted_call_is_used_and_none_refused() {
        for offset in [0, 137, 20_000, 59_700, 59_850, 59_990] {
            for headers in [false, true] {
                let (server, share) = ten_minutes(300, offset, 0, headers).await;
                assert_eq!(server.refused.load(Relaxed), 0, "offset {offset}, headers {headers}");
                assert!(share >= 0.98, "share {share}, offset {offset}, headers {headers}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_use_of_the_minute_is_left_to_them() {
        let (server, share) = ten_minutes(300, 0, 120, true).await;
        // Their calls are seen in the first answers of a minute: a handful is on its way by then at most.
        assert!(server.refused.load(Relaxed) <= 10 * CALLS_IN_FLIGHT_MAX as u64, "{:?}", server.refused);
        assert!(share >= 0.98, "share {share}");
    }

    fn headers(allowed: &str, count: &str, reset: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("allowed", allowed), ("count", count), ("reset", reset)] {
            headers
                .insert(format!("inin-ratelimit-{name}").parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_minute_is_waited_out_and_odd_headers_are_ignored() {
        let pace = Pace::new(300);
        let start = Instant::now();
        for odd in [
            headers("0", "5", "30"),
            headers("x", "5", "30"),
            headers("300", "300", "99999"),
            headers("300", "-1", "30"),
        ] {
            pace.acquire(FOREVER).await.unwrap().answered(&odd, true);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.acquire(FOREVER).await.unwrap().answered(&headers("180", "180", "31"), true);
        drop(pace.acquire(FOREVER).await.unwrap());
        assert_eq!(start.elapsed(), Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_refused_at_once() {
        let pace = Pace::new(1);
        let start = Instant::now();
        let soon = Patience { deadline: Some(start + Duration::from_secs(30)), ..FOREVER };
        drop(pace.acquire(soon).await.unwrap());
        assert_eq!(pace.acquire(soon).await.unwrap_err().kind(), crate::error::Kind::Later);
        pace.pause(Duration::from_secs(301));
        assert_eq!(pace.acquire(FOREVER).await.unwrap_err().kind(), crate::error::Kind::Later);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_goes_first() {
        let pace = Pace::new(300);
        pace.pause(Duration::from_secs(5));
        let first = pace.acquire(FOREVER).await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(60), pace.acquire(FOREVER));
        assert!(second.await.is_err(), "the second waits for the first to be served");
        first.answered(&HeaderMap::new(), true);
        drop(first);
        let (_a, _b) = (pace.acquire(FOREVER).await.unwrap(), pace.acquire(FOREVER).await.unwrap());
    }
}
