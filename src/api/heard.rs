//! When an answer was given: the source says it in `Date`, and the run's own clock checks that.

use chrono::TimeDelta;

use crate::time::Timestamp;

/// How far two clocks that are right may be apart.
pub const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// When the source gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The source's own clock, or the run's where it says nothing.
    pub(crate) at: Timestamp,
    /// By how many seconds the source's clock is ahead of the run's, when that is too much.
    pub(crate) skew: Option<i64>,
}

impl Heard {
    /// Of an answer that says `date`. It was asked for at `sent` and was there at `now`, by the run's clock.
    pub(crate) fn new(date: Option<Timestamp>, sent: Timestamp, now: Timestamp) -> Heard {
        let at = date.unwrap_or(now);
        let ahead = (at - now).max(TimeDelta::zero()) + (at - sent).min(TimeDelta::zero());
        Heard { at, skew: (ahead.abs() > SKEW_MAX).then(|| ahead.num_seconds()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_timestamp;

    #[test]
    fn clocks_that_differ_by_more_than_five_minutes_are_told() {
        let at = |text: &str| parse_timestamp(text).unwrap();
        let (sent, now) = (at("2025-02-01T00:00:00Z"), at("2025-02-01T00:10:00Z"));
        let skew = |date: &str| Heard::new(Some(at(date)), sent, now).skew;
        for right in ["2025-01-31T23:55:00Z", "2025-02-01T00:00:00Z", "2025-02-01T00:05:00Z", "2025-02-01T00:15:00Z"] {
            assert_eq!(skew(right), None, "{right}");
        }
        assert_eq!(skew("2025-02-01T00:15:01Z"), Some(301));
        assert_eq!(skew("2025-01-31T23:54:59Z"), Some(-301));
        assert_eq!(Heard::new(None, sent, now), Heard { at: now, skew: None });
    }
}
