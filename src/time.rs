//! UTC days, half-open intervals and the one way timestamps are read and written.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, SubsecRound, TimeDelta, TimeZone, Utc};

use crate::error::{Error, Result};

/// An instant; the lake stores microseconds, the API sends milliseconds.
pub type Timestamp = DateTime<Utc>;

/// One UTC day: the unit of publishing and the partition of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(NaiveDate);

impl Day {
    /// The UTC day that owns `at`.
    pub fn of(at: Timestamp) -> Day {
        Day(at.date_naive())
    }

    /// The day that owns `micros` since the Unix epoch, if it is a date of years 0001 to 9999.
    pub fn of_micros(micros: i64) -> Option<Day> {
        let date = DateTime::from_timestamp_micros(micros)?.date_naive();
        (1..=9999).contains(&date.year()).then_some(Day(date))
    }

    /// Midnight at which the day begins.
    pub fn start(self) -> Timestamp {
        Utc.from_utc_datetime(&self.0.and_time(chrono::NaiveTime::MIN))
    }

    /// The day after.
    pub fn next(self) -> Day {
        self.plus(1)
    }

    /// The day `days` later (earlier when negative); saturates at the calendar's ends.
    pub fn plus(self, days: i64) -> Day {
        let limit = if days < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
        Day(self.0.checked_add_signed(TimeDelta::days(days)).unwrap_or(limit))
    }

    /// Midnight to midnight.
    pub fn interval(self) -> Interval {
        Interval { from: self.start(), to: self.next().start() }
    }

    /// The calendar date.
    pub fn date(self) -> NaiveDate {
        self.0
    }

    /// `YYYY-MM`: the month that groups ledger records.
    pub fn month(self) -> String {
        self.0.format("%Y-%m").to_string()
    }
}

impl From<NaiveDate> for Day {
    fn from(date: NaiveDate) -> Self {
        Day(date)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = Error;

    /// `YYYY-MM-DD` and nothing else.
    fn from_str(text: &str) -> Result<Day> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(Day)
            .map_err(|e| Error::usage(format!("`{text}` is not a date: {e}")))
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Half-open UTC interval `[from, to)`. Invariant: `from < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Interval {
    from: Timestamp,
    to: Timestamp,
}

impl Interval {
    /// `[from, to)`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is empty or reversed.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Interval> {
        if from < to {
            return Ok(Interval { from, to });
        }
        Err(Error::usage(format!("the range [{}, {}) is empty or reversed", wire_time(from), wire_time(to)))
            .hint("the start must lie before the end; the end is exclusive"))
    }

    /// First instant inside.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// First instant behind.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Length.
    pub fn length(&self) -> TimeDelta {
        self.to - self.from
    }

    /// Whether `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Whether `other` lies inside.
    pub fn covers(&self, other: &Interval) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    /// The common part, if there is one.
    pub fn intersection(&self, other: &Interval) -> Option<Interval> {
        Interval::new(self.from.max(other.from), self.to.min(other.to)).ok()
    }

    /// The smallest interval that covers both.
    pub fn hull(&self, other: &Interval) -> Interval {
        Interval { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The two halves, cut at a whole millisecond; `None` below two milliseconds.
    pub fn halves(&self) -> Option<(Interval, Interval)> {
        let half = TimeDelta::milliseconds(self.length().num_milliseconds() / 2);
        let middle = self.from + half;
        Some((Interval::new(self.from, middle).ok()?, Interval::new(middle, self.to).ok()?))
    }

    /// Every UTC day that the interval touches, in order.
    pub fn days(&self) -> impl Iterator<Item = Day> + use<> {
        let (mut day, to) = (Day::of(self.from), self.to);
        std::iter::from_fn(move || {
            let current = day;
            day = day.next();
            (current.start() < to).then_some(current)
        })
    }

    /// The interval widened to whole UTC days.
    pub fn whole_days(&self) -> Interval {
        let last = Day::of(self.to);
        let to = if last.start() == self.to { self.to } else { last.next().start() };
        Interval { from: Day::of(self.from).start(), to }
    }
}

impl<'de> serde::Deserialize<'de> for Interval {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Ends {
            from: Timestamp,
            to: Timestamp,
        }
        let ends = Ends::deserialize(deserializer)?;
        Interval::new(ends.from, ends.to).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", wire_time(self.from), wire_time(self.to))
    }
}

/// A half-open run of days `[from, to)`; where a bound is not said it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// The first day inside.
    pub from: Option<Day>,
    /// The first day behind.
    pub to: Option<Day>,
}

impl Days {
    /// Whether `day` lies inside.
    pub fn contains(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }
}

/// `2025-01-01T00:00:00.000Z`: how the API and its documents write an instant.
pub fn wire_time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads an RFC 3339 timestamp with a zone into microseconds since the Unix epoch; finer digits are cut off.
/// Without a zone, or outside the years 0001 to 9999, it is not a timestamp.
pub fn parse_micros(text: &str) -> Option<i64> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (1..=9999).contains(&at.year()).then(|| at.timestamp_micros())
}

/// Like [`parse_micros`], as an instant.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(parse_micros(text)?)
}

/// Where "now" comes from: the wall clock is read once, by `main`, and then runs on with tokio's time, so that
/// tests under paused time see it stand still or jump.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: tokio::time::Instant,
}

impl Clock {
    /// A clock that shows `wall` at this moment.
    pub fn starting_at(wall: Timestamp) -> Clock {
        Clock { wall, started: tokio::time::Instant::now() }
    }

    /// The time now, in whole microseconds: what is written down reads back as it was.
    pub fn now(&self) -> Timestamp {
        let now = self.wall + TimeDelta::from_std(self.started.elapsed()).unwrap_or(TimeDelta::MAX);
        now.trunc_subsecs(6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        parse_timestamp(text).unwrap()
    }

    #[test]
    fn timestamps_are_exact_or_refused() {
        assert_eq!(parse_micros("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(parse_micros("1970-01-01T00:00:00.001Z"), Some(1_000));
        assert_eq!(parse_micros("1970-01-01T01:00:00.0000019+01:00"), Some(1));
        for bad in ["2025-01-01", "2025-01-01T00:00:00", "2021-04-2T15:30:51.418Z", "", "10000-01-01T00:00:00Z"] {
            assert_eq!(parse_micros(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_of_an_interval_are_those_it_touches() {
        let i = Interval::new(at("2024-02-28T23:00:00Z"), at("2024-03-01T00:00:00Z")).unwrap();
        let days: Vec<_> = i.days().map(|d| d.to_string()).collect();
        assert_eq!(days, ["2024-02-28", "2024-02-29"]);
        assert_eq!(i.whole_days().to_string(), "2024-02-28T00:00:00.000Z/2024-03-01T00:00:00.000Z");
        assert!(Interval::new(i.to(), i.from()).is_err());
    }

    #[test]
    fn halves_cover_and_do_not_overlap() {
        let day = Day::of(at("2025-05-05T01:00:00Z")).interval();
        let (a, b) = day.halves().unwrap();
        assert_eq!((a.from(), a.to(), b.to()), (day.from(), b.from(), day.to()));
    }
}
