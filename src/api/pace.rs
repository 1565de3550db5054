//! One pace for all callers: never more calls in a minute than the API permits, and hardly one fewer.
//!
//! The API counts calls in minutes of its own; where they begin is not known. A log of the calls of the last
//! minute that never holds more than the limit is right for every such minute. In front of it stands a bucket of a few
//! seconds, so that a minute's calls are spread over it: few go out at once, however long nothing was asked. The answers'
//! `inin-ratelimit-*` headers lower the pace when others use the same token; refusals without them lower it too
//! ([`learnt`]).

mod learnt;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use self::learnt::Learnt;
use crate::error::{Error, Result};

/// Calls a minute that the real API permits a client.
pub const CALLS_PER_MINUTE: u32 = 300;
/// Calls a minute that the second tutorial's document permits.
pub const CALLS_PER_MINUTE_PAGE: u32 = 200;
/// Calls that may be on their way at the same time: with answers that take 3 s the pace needs half of them on average, and
/// all of them after a stretch of silence.
pub const CALLS_IN_FLIGHT_MAX: usize = 32;

/// For a source that counts nothing: calls go out as they come.
pub const UNPACED: u32 = u32::MAX;

/// How long the calls took to permit that go out at once after a silence: with those of the second after it they are less
/// than a tenth of a minute's.
const BUCKET: Duration = Duration::from_secs(4);
/// How much faster than permitted the bucket fills: what was not asked for in time can be caught up, since the count over
/// a minute is what bounds the calls.
const CATCHING_UP: f64 = 1.05;
/// The silence after a refusal that names none: twice as long each time that the one call after it is refused too.
const SILENCE_FIRST: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(30);
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

impl Quota {
    /// Whether the minute has no call left.
    fn is_spent(&self, now: Instant) -> bool {
        now < self.ends && self.count >= self.allowed
    }
}

#[derive(Debug)]
struct State {
    limit: u32,
    /// When each call of the last minute counts from, and its number.
    log: BTreeSet<(Instant, u64)>,
    /// Numbers and stamps of the calls that have no answer yet.
    open: Vec<(u64, Instant)>,
    granted: u64,
    /// Calls a minute as the API last named them.
    allowed: Option<u64>,
    quota: Option<Quota>,
    learnt: Learnt,
    /// When the bucket is full again.
    full: Instant,
    /// The API asked for silence until then.
    paused: Option<Instant>,
    /// How long the next silence is when the API does not say.
    silence: Duration,
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
        let now = Instant::now();
        let state = State {
            limit: calls_per_minute.max(1),
            log: BTreeSet::new(),
            open: Vec::new(),
            granted: 0,
            allowed: None,
            quota: None,
            learnt: Learnt::new(now),
            full: now,
            paused: None,
            silence: SILENCE_FIRST,
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
        let mut state = self.state();
        let a_second = state.limit(Instant::now()) / 60.0;
        let needed = (a_second * state.latency.as_secs_f64() * HEADROOM).ceil();
        (needed as usize).clamp(1, CALLS_IN_FLIGHT_MAX)
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
        if served && state.throttled.is_some_and(|last| last < self.number) {
            state.throttled = None;
            state.silence = SILENCE_FIRST;
            state.learnt.served_again(now);
        }
    }

    /// The call was refused because calls come too fast: silence for all callers, as long as was `asked` for, or else at
    /// least for `wait`.
    pub(crate) fn refused(&self, asked: Option<Duration>, wait: Duration) {
        self.pace.state().refuse(self.number, asked, wait, Instant::now());
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
        let limit = self.limit(now);
        if let Some(quota) = self.quota.filter(|quota| now < quota.ends) {
            // What is counted beyond the calls of this run, others made: the log does not know them. Calls on their way may
            // be in the count already; those that come back will tell.
            let counted = |at: &Instant| *at + WINDOW + RESET_SLACK >= quota.ends;
            let own = self.log.iter().filter(|(at, _)| counted(at)).count() as u64;
            if quota.count > own && quota.count + self.open.len() as u64 >= quota.allowed {
                return if self.open.is_empty() { Admission::At(quota.ends) } else { Admission::WhenAnswered };
            }
        }
        let oldest = self.log.len().checked_sub(limit as usize).and_then(|excess| self.log.iter().nth(excess));
        // One call always fits into the bucket.
        let room = BUCKET.saturating_sub(interval(limit));
        let spread = now + self.full.saturating_duration_since(now).saturating_sub(room);
        let next = oldest.map_or(spread, |(oldest, _)| spread.max(*oldest + WINDOW));
        if next <= now { Admission::Now } else { Admission::At(next) }
    }

    /// Calls a minute by all that is known; at least one.
    fn limit(&mut self, now: Instant) -> f64 {
        let known = f64::from(self.limit);
        let known = self.allowed.map_or(known, |allowed| known.min(allowed as f64));
        self.learnt.limit(known, now).max(1.0)
    }

    /// Call `number` was refused. Those that were on their way with it are refused for the same reason and count as one.
    fn refuse(&mut self, number: u64, asked: Option<Duration>, wait: Duration, now: Instant) {
        self.log.retain(|(_, logged)| *logged != number);
        // Where the API counts aloud, its own numbers are better than what can be guessed.
        let explained = self.quota.is_some_and(|quota| quota.is_spent(now));
        match self.throttled {
            Some(last) if number <= last => {}
            Some(_) => {
                self.silence = SILENCE_MAX.min(self.silence * 2);
                if !explained {
                    self.learnt.refused_again();
                }
            }
            None if explained => {}
            None => {
                // Of the others that are under way nothing is known yet.
                let under_way = self.open.iter().filter(|(open, _)| *open != number).count();
                let served = self.log.len().saturating_sub(under_way);
                let current = self.limit(now);
                self.learnt.refused(current, served);
            }
        }
        self.throttled.get_or_insert(self.granted);
        let until = now + asked.unwrap_or(wait.max(self.silence));
        self.paused = Some(self.paused.map_or(until, |earlier| earlier.max(until)));
    }

    fn grant(&mut self, now: Instant) -> u64 {
        self.granted += 1;
        self.full = self.full.max(now) + interval(self.limit(now));
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
        self.allowed = Some(allowed);
        let ends = now + Duration::from_secs(reset);
        // Answers overtake each other: within one minute of the API the largest count is the newest. No answer puts its
        // end too early, and each too late by what it took to arrive and a part of a second: the earliest is the best.
        let same = self.quota.filter(|quota| now < quota.ends && ends < quota.ends + RESET_SLACK);
        let count = same.map_or(count, |quota| quota.count.max(count));
        self.quota = Some(Quota { allowed, count, ends: same.map_or(ends, |quota| quota.ends.min(ends)) });
    }
}

/// The time in which the bucket gains one call.
fn interval(limit: f64) -> Duration {
    Duration::from_secs(60).div_f64(limit * CATCHING_UP)
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
    const OFFSETS: [u64; 8] = [0, 137, 8_000, 20_000, 41_000, 55_000, 59_700, 59_990];

    /// From the server to the caller.
    const BACK: Duration = Duration::from_millis(300);

    /// Counts calls in fixed minutes of its own and refuses those above its limit.
    struct Server {
        epoch: Instant,
        /// The limit until a moment after the start, and the one after it.
        limits: [u64; 2],
        changes: Duration,
        minute: Mutex<(u64, u64)>,
        refused: AtomicU64,
        served: AtomicU64,
        /// When calls came.
        arrived: Mutex<Vec<Instant>>,
        /// When the answers to refused calls were back, without those that were under way with another one.
        events: Mutex<Vec<Instant>>,
    }

    impl Server {
        fn new(limit: u32, offset_ms: u64) -> Server {
            Server {
                epoch: Instant::now() - Duration::from_millis(offset_ms),
                limits: [u64::from(limit); 2],
                changes: Duration::MAX,
                minute: Mutex::default(),
                refused: AtomicU64::new(0),
                served: AtomicU64::new(0),
                arrived: Mutex::default(),
                events: Mutex::default(),
            }
        }

        /// Whether the call that was sent at `sent` is served, and what the headers say.
        fn call(&self, sent: Instant, strangers: u64) -> (bool, HeaderMap) {
            let now = Instant::now();
            let elapsed = now - self.epoch;
            let limit = self.limits[usize::from(elapsed >= self.changes)];
            let minute = elapsed.as_secs() / 60;
            let mut state = self.minute.lock().unwrap();
            if state.0 != minute {
                *state = (minute, strangers);
            }
            self.arrived.lock().unwrap().push(now);
            let serves = state.1 < limit;
            if serves {
                state.1 += 1;
                self.served.fetch_add(1, Relaxed);
            } else {
                self.refused.fetch_add(1, Relaxed);
                let mut events = self.events.lock().unwrap();
                if events.last().is_none_or(|last| *last < sent) {
                    events.push(now + BACK);
                }
            }
            let reset = 60 - elapsed.as_secs() % 60;
            let values =
                [("inin-ratelimit-allowed", limit), ("inin-ratelimit-count", state.1), ("inin-ratelimit-reset", reset)];
            (serves, values.into_iter().map(|(k, v)| (k.parse::<http::HeaderName>().unwrap(), v.into())).collect())
        }
    }

    /// Some minutes of callers that always want to call, at a pace of `limit`; calls made by the end of each.
    async fn minutes(server: &Arc<Server>, limit: u32, minutes: u64, strangers: u64, headers: bool) {
        let pace = Arc::new(Pace::new(limit));
        let end = Instant::now() + Duration::from_secs(minutes * 60);
        let callers: Vec<_> = (0..24u64)
            .map(|seed| {
                let (pace, server) = (Arc::clone(&pace), Arc::clone(server));
                tokio::spawn(async move {
                    let mut random = seed * 7919 + 17;
                    let silent = HeaderMap::new();
                    loop {
                        let permit = pace.acquire(FOREVER).await.unwrap();
                        let sent = Instant::now();
                        if sent >= end {
                            break;
                        }
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let jitter = Duration::from_millis((random >> 33) % 400);
                        tokio::time::sleep(jitter).await;
                        let (served, answer) = server.call(sent, strangers);
                        tokio::time::sleep(BACK).await;
                        permit.answered(if headers { &answer } else { &silent }, served);
                        if !served {
                            permit.refused(None, Duration::from_secs(5));
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    }

    /// The same against a server of that limit: the share of permitted calls that were used in five minutes.
    async fn five_minutes(limit: u32, offset_ms: u64, strangers: u64, headers: bool) -> (Arc<Server>, f64) {
        let server = Arc::new(Server::new(limit, offset_ms));
        minutes(&server, limit, 5, strangers, headers).await;
        let share = server.served.load(Relaxed) as f64 / (f64::from(limit) - strangers as f64) / 5.0;
        (server, share)
    }

    #[tokio::test(start_paused = true)]
    async fn every_permitted_call_is_used_and_none_refused() {
        for limit in [CALLS_PER_MINUTE, CALLS_PER_MINUTE_PAGE, 60, 12] {
            for offset in OFFSETS {
                for headers in [false, true] {
                    let (server, share) = five_minutes(limit, offset, 0, headers).await;
                    let place = format!("limit {limit}, offset {offset}, headers {headers}");
                    assert_eq!(server.refused.load(Relaxed), 0, "{place}");
                    assert!(share >= 0.98, "share {share}, {place}");
                }
            }
        }
    }

    /// Not only at the start: in no second, however long nothing was asked before.
    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_a_tenth_of_the_calls_of_a_minute() {
        for limit in [CALLS_PER_MINUTE, CALLS_PER_MINUTE_PAGE, 60] {
            let pace = Pace::new(limit);
            let mut granted = Vec::new();
            for silence in [0, 30, 90] {
                tokio::time::sleep(Duration::from_secs(silence)).await;
                for _ in 0..limit / 2 {
                    let permit = pace.acquire(FOREVER).await.unwrap();
                    granted.push(Instant::now());
                    permit.answered(&HeaderMap::new(), true);
                }
            }
            let second = |from: &Instant| granted.iter().filter(|at| (*from..*from + SECOND).contains(at)).count();
            let most = granted.iter().map(second).max().unwrap();
            assert!(most <= limit as usize / 10, "{most} of {limit}");
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// A run of few calls is not held up by the spreading.
    #[tokio::test(start_paused = true)]
    async fn a_few_calls_go_out_at_once() {
        let (pace, start) = (Pace::new(CALLS_PER_MINUTE), Instant::now());
        for (calls, seconds) in [(20, 0), (20, 3)] {
            for _ in 0..calls {
                drop(pace.acquire(FOREVER).await.unwrap());
            }
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_use_of_the_minute_is_left_to_them() {
        let (server, share) = five_minutes(300, 0, 120, true).await;
        // Their calls are seen in the first answers of a minute: a handful is on its way by then at most.
        assert!(server.refused.load(Relaxed) <= 5 * CALLS_IN_FLIGHT_MAX as u64, "{:?}", server.refused);
        assert!(share >= 0.98, "share {share}");
    }

    /// Whatever the limit and wherever its minutes begin. A rise that is tried and does not hold is one refusal more.
    #[tokio::test(start_paused = true)]
    async fn a_lower_limit_is_learnt_from_refusals_that_do_not_name_it() {
        for limit in [6, 12, 30, 60, 100, 150, 200, 250, 290] {
            for offset in OFFSETS {
                let server = Arc::new(Server::new(limit, offset));
                minutes(&server, CALLS_PER_MINUTE, 10, 0, false).await;
                let place = format!("limit {limit}, offset {offset}");
                let start = server.epoch + Duration::from_millis(offset);
                let events: Vec<u64> = server.events.lock().unwrap().iter().map(|at| (*at - start).as_secs()).collect();
                let fits = events.iter().filter(|at| **at < 150).count();
                assert!(fits <= 5 && events.len() <= 7, "{events:?}, {place}");
                let arrived = server.arrived.lock().unwrap();
                let late = arrived.iter().filter(|at| **at >= start + Duration::from_secs(180)).count();
                assert!(late as f64 >= f64::from(limit) * 7.0 * 0.7, "{late} calls in 7 minutes, {place}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_temporary_is_not_kept() {
        let (pace, quarter) = (CALLS_PER_MINUTE, 15 * 60);
        let changes = Duration::from_secs(180);
        let server = Server { limits: [30, u64::from(pace)], changes, ..Server::new(pace, 0) };
        let server = Arc::new(server);
        let start = Instant::now();
        minutes(&server, pace, 20, 0, false).await;
        let arrived = server.arrived.lock().unwrap();
        let last = arrived.iter().filter(|at| **at >= start + Duration::from_secs(quarter)).count();
        assert!(last >= 5 * pace as usize * 95 / 100, "{last}");
    }

    /// Another run has used the minute up, and nothing was served in it: that says nothing about the limit.
    #[tokio::test(start_paused = true)]
    async fn a_minute_that_others_have_used_up_teaches_little() {
        let server = Arc::new(Server { minute: Mutex::new((0, 300)), ..Server::new(300, 1_000) });
        let start = Instant::now();
        minutes(&server, 300, 3, 0, false).await;
        let arrived = server.arrived.lock().unwrap();
        let last = arrived.iter().filter(|at| **at >= start + Duration::from_secs(120)).count();
        assert!(last >= 140, "{last}");
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
    async fn a_refusal_that_the_headers_explain_teaches_nothing_else() {
        let pace = Pace::new(300);
        let permit = pace.acquire(FOREVER).await.unwrap();
        permit.answered(&headers("300", "301", "20"), false);
        permit.refused(Some(Duration::from_secs(20)), Duration::ZERO);
        drop(permit);
        pace.acquire(FOREVER).await.unwrap().answered(&headers("300", "1", "60"), true);
        assert!((pace.state().limit(Instant::now()) - 300.0).abs() < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_refused_at_once() {
        let pace = Pace::new(1);
        let start = Instant::now();
        let soon = Patience { deadline: Some(start + Duration::from_secs(30)), ..FOREVER };
        let permit = pace.acquire(soon).await.unwrap();
        assert_eq!(pace.acquire(soon).await.unwrap_err().kind(), crate::error::Kind::Later);
        permit.refused(Some(Duration::from_secs(301)), Duration::ZERO);
        assert_eq!(pace.acquire(FOREVER).await.unwrap_err().kind(), crate::error::Kind::Later);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_goes_first() {
        let pace = Pace::new(300);
        pace.acquire(FOREVER).await.unwrap().refused(Some(Duration::from_secs(5)), Duration::ZERO);
        let first = pace.acquire(FOREVER).await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(60), pace.acquire(FOREVER));
        assert!(second.await.is_err(), "the second waits for the first to be served");
        first.answered(&HeaderMap::new(), true);
        drop(first);
        let (_a, _b) = (pace.acquire(FOREVER).await.unwrap(), pace.acquire(FOREVER).await.unwrap());
    }
}
