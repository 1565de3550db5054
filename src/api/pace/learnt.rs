//! A limit below the known one, learnt from refusals that do not name it.
//!
//! The API counts a minute whose beginning is not known. What was served in the minute before a refusal is therefore no
//! less than the limit, and may be almost twice as much: the pace falls to that number, but never by less than a quarter
//! and never by more than a half. A limit may be temporary, so the pace rises again: after a while, by a little, and
//! faster as long as each rise holds. A rise that does not hold is taken back, and the next one waits twice as long.

use std::time::Duration;

use tokio::time::Instant;

/// The share of the pace that is left after a refusal, at least and at most.
const KEPT_MIN: f64 = 0.5;
const KEPT_MAX: f64 = 0.75;
/// The first rise, as a share of the pace; each one that holds doubles it, up to the whole.
const RISE_FIRST: f64 = 0.1;
const RISE_MAX: f64 = 1.0;
/// How long a pace has to hold before it rises; twice as long after each rise that did not, up to the longest.
const PATIENCE_FIRST: Duration = Duration::from_secs(120);
const PATIENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// What refusals have taught; nothing at first.
#[derive(Debug)]
pub(super) struct Learnt {
    /// Calls a minute; none when the known limit is right as far as can be told.
    limit: Option<f64>,
    /// The limit before the last rise, until that has held.
    before: Option<f64>,
    /// What was served in the minute before the refusal that is waited out.
    served: usize,
    /// When the limit changed, or the wait after a refusal ended.
    changed: Instant,
    rise: f64,
    patience: Duration,
}

impl Learnt {
    pub(super) fn new(now: Instant) -> Learnt {
        let (rise, patience) = (RISE_FIRST, PATIENCE_FIRST);
        Learnt { limit: None, before: None, served: 0, changed: now, rise, patience }
    }

    /// Calls a minute at most; `known` is the limit that holds otherwise.
    pub(super) fn limit(&mut self, known: f64, now: Instant) -> f64 {
        let Some(limit) = self.limit else { return known };
        if now < self.changed + self.patience {
            return limit.min(known);
        }
        let risen = limit * (1.0 + self.rise);
        (self.before, self.changed) = (Some(limit), now);
        self.rise = (self.rise * 2.0).min(RISE_MAX);
        self.limit = (risen < known).then_some(risen);
        risen.min(known)
    }

    /// A call was refused at the pace of `current`, after so many `served` in a minute.
    pub(super) fn refused(&mut self, current: f64, served: usize) {
        let lower = match self.before.take() {
            Some(held) => {
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
                held
            }
            None => (served as f64).clamp(current * KEPT_MIN, current * KEPT_MAX),
        };
        (self.limit, self.served, self.rise) = (Some(lower.max(1.0)), served, RISE_FIRST);
    }

    /// The one call after the wait was refused too: this is no passing trouble. Where nothing was served, others have used
    /// the minute up, and nothing is known.
    pub(super) fn refused_again(&mut self) {
        if self.served > 0 {
            let served = self.served as f64;
            self.limit = Some(self.limit.map_or(served, |limit| limit.min(served)));
        }
    }

    /// Calls are served again.
    pub(super) fn served_again(&mut self, now: Instant) {
        self.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_falls_to_what_was_served_within_bounds() {
        for (served, lower) in [(0, 150.0), (100, 150.0), (200, 200.0), (299, 225.0)] {
            let mut learnt = Learnt::new(Instant::now());
            learnt.refused(300.0, served);
            assert!((learnt.limit(300.0, Instant::now()) - lower).abs() < 0.01, "{served}");
        }
        let mut learnt = Learnt::new(Instant::now());
        learnt.refused(300.0, 12);
        learnt.refused_again();
        assert!((learnt.limit(300.0, Instant::now()) - 12.0).abs() < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rise_that_does_not_hold_is_taken_back_and_waits_longer() {
        let mut learnt = Learnt::new(Instant::now());
        learnt.refused(300.0, 160);
        let mut at = Instant::now();
        for minutes in [2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(minutes * 60);
            assert!((learnt.limit(300.0, at + wait - Duration::from_secs(1)) - 160.0).abs() < 0.01, "{minutes}");
            at += wait;
            assert!((learnt.limit(300.0, at) - 176.0).abs() < 0.01, "{minutes}");
            learnt.refused(176.0, 160);
            learnt.served_again(at);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_has_gone_is_forgotten() {
        let mut learnt = Learnt::new(Instant::now());
        learnt.refused(300.0, 10);
        learnt.refused_again();
        let (mut at, mut rises) = (Instant::now(), 0);
        while learnt.limit(300.0, at) < 300.0 {
            at += PATIENCE_FIRST;
            rises += 1;
        }
        assert!(rises <= 8, "{rises}");
    }
}
