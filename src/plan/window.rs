//! Windows and slices: disjoint, covering, in whole UTC days.

use std::fmt;

use chrono::TimeDelta;

use super::asked::Asked;
use super::policy::{SlicePolicy, WINDOW_DAYS_MAX};
use super::protocol::{Protocol, ProtocolChoice};
use crate::time::{Day, Interval, Timestamp};

/// Which conversations an interval brings, where the protocol leaves the choice: jobs do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// Those that started on its days.
    #[default]
    Start,
    /// Those that were active in it as well: they show which earlier days have changed.
    Activity,
}

/// Whole UTC days, at most [`WINDOW_DAYS_MAX`]; the unit of planning and of concurrency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its place in the plan, from 0.
    pub index: usize,
    /// Midnight to midnight.
    pub interval: Interval,
    /// From the first instant in it that is asked for to the last one.
    pub asked: Interval,
    /// Which conversations are asked for.
    pub matching: Matching,
}

/// What one page chain covers inside one window; the grain of retry and resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The window it belongs to.
    pub window: usize,
    /// Midnight to midnight, unless parts of days are asked for and the protocol brings them, or the API made us bisect below
    /// a day.
    pub interval: Interval,
    /// How it is asked for.
    pub protocol: Protocol,
    /// Which conversations are asked for.
    pub matching: Matching,
}

impl Slice {
    /// Every day that the slice owns.
    pub fn days(&self) -> impl Iterator<Item = Day> + use<> {
        self.interval.days()
    }

    /// Whether a conversation of `day` belongs to this slice. Below a day every slice of that day takes it:
    /// the API returns a conversation for any part of the day it started on.
    pub fn owns(&self, day: Day) -> bool {
        self.interval.intersection(&day.interval()).is_some()
    }

    /// Whether it brings what was active in it, so that a conversation of another day shows that this day has changed.
    /// What the other ways bring of other days are the neighbours of an inclusive bound.
    pub fn brings_active(&self) -> bool {
        self.protocol == Protocol::Jobs && self.matching == Matching::Activity
    }

    /// The two halves, cut at a midnight while there is one inside.
    pub fn halves(&self) -> Option<(Slice, Slice)> {
        let days = self.interval.length().num_days();
        let (a, b) = if days >= 2 {
            let middle = self.interval.from() + TimeDelta::days(days / 2);
            (Interval::new(self.interval.from(), middle).ok()?, Interval::new(middle, self.interval.to()).ok()?)
        } else {
            self.interval.halves()?
        };
        Some((Slice { interval: a, ..*self }, Slice { interval: b, ..*self }))
    }
}

impl fmt::Display for Slice {
    /// Where something happened: windows are counted from 1, as the plan shows them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window {}, slice {}", self.window + 1, self.interval)
    }
}

/// The windows of a request: its days, cut into pieces of at most [`WINDOW_DAYS_MAX`] without a gap inside.
pub fn windows(asked: &Asked, matching: Matching) -> Vec<Window> {
    let pieces = asked.stretches().into_iter().flat_map(|stretch| cut(stretch, WINDOW_DAYS_MAX));
    let window = |(index, interval): (usize, Interval)| {
        let part = |day| asked.part(day).copied();
        let (first, last) = (part(Day::of(interval.from())), interval.days().last().and_then(part));
        let ends = first.zip(last).map_or(interval, |(first, last)| first.hull(&last));
        Window { index, interval, asked: ends, matching }
    };
    pieces.enumerate().map(window).collect()
}

impl Window {
    /// The parts of the window by protocol, in order. `availability` is the instant up to which jobs are promised
    /// complete; with [`ProtocolChoice::Auto`] a day belongs to jobs when it ends by then.
    pub fn parts(&self, choice: ProtocolChoice, availability: Option<Timestamp>) -> Vec<(Interval, Protocol)> {
        let whole = self.interval;
        if let ProtocolChoice::One(protocol) = choice {
            return vec![(if protocol.brings_parts() { self.asked } else { whole }, protocol)];
        }
        let promised = availability.map_or(whole.from(), |at| Day::of(at).start());
        let border = promised.clamp(whole.from(), whole.to());
        let jobs = Interval::new(whole.from(), border).map(|part| (part, Protocol::Jobs));
        let query = Interval::new(border, whole.to()).map(|part| (part, Protocol::Query));
        [jobs, query].into_iter().flatten().collect()
    }

    /// All slices of `part` of this window under one policy.
    pub fn slices(&self, part: Interval, protocol: Protocol, policy: &SlicePolicy) -> Vec<Slice> {
        cut(part, policy.days(protocol)).map(|interval| self.slice(interval, protocol)).collect()
    }

    /// The slice of `part` of this window that starts at `from`, as many days long as the policy allows; `None` behind its
    /// end.
    pub fn starting(&self, part: Interval, from: Timestamp, protocol: Protocol, policy: &SlicePolicy) -> Option<Slice> {
        let to = part.to().min(Day::of(from).plus(policy.days(protocol)).start());
        let interval = Interval::new(from.max(part.from()), to).ok()?;
        Some(self.slice(interval, protocol))
    }

    fn slice(&self, interval: Interval, protocol: Protocol) -> Slice {
        Slice { window: self.index, interval, protocol, matching: self.matching }
    }
}

/// Pieces of at most `days` days, from the start.
fn cut(whole: Interval, days: i64) -> impl Iterator<Item = Interval> {
    let mut from = whole.from();
    std::iter::from_fn(move || {
        let to = whole.to().min(from + TimeDelta::days(days));
        let piece = Interval::new(from, to).ok()?;
        from = to;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_timestamp;
    use proptest::prelude::*;

    fn interval(from: &str, to: &str) -> Interval {
        Interval::new(parse_timestamp(from).unwrap(), parse_timestamp(to).unwrap()).unwrap()
    }

    fn of(range: Interval) -> Vec<Window> {
        windows(&range.into(), Matching::Start)
    }

    #[test]
    fn auto_is_jobs_up_to_the_last_promised_midnight_and_query_after_it() {
        let window = of(interval("2025-01-01T00:00:00Z", "2025-01-11T00:00:00Z"))[0];
        let parts = |available: &str| -> Vec<(i64, Protocol)> {
            window
                .parts(ProtocolChoice::Auto, parse_timestamp(available))
                .iter()
                .map(|(part, protocol)| (part.length().num_days(), *protocol))
                .collect()
        };
        assert_eq!(parts("2025-01-08T04:10:03Z"), [(7, Protocol::Jobs), (3, Protocol::Query)]);
        assert_eq!(parts("2024-12-31T00:00:00Z"), [(10, Protocol::Query)]);
        assert_eq!(parts("2025-02-01T00:00:00Z"), [(10, Protocol::Jobs)]);
    }

    #[test]
    fn a_year_is_twelve_windows_of_thirty_days_and_one_of_five() {
        let year = of(interval("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"));
        let days: Vec<_> = year.iter().map(|w| w.interval.length().num_days()).collect();
        assert_eq!(days, [[30; 12].as_slice(), &[5]].concat());
    }

    proptest! {
        #[test]
        fn windows_and_slices_are_disjoint_and_cover(from_min in 0i64..40_000_000, length_min in 1i64..600_000, filtered: bool, rate in 0u64..1_000_000) {
            let epoch = parse_timestamp("2020-01-01T00:00:00Z").unwrap();
            let from = epoch + TimeDelta::minutes(from_min % 3_000_000);
            let request = Interval::new(from, from + TimeDelta::minutes(length_min)).unwrap();
            let policy = SlicePolicy { filtered, records_per_day: Some(rate) };
            for protocol in [Protocol::Query, Protocol::Jobs, Protocol::Cursor, Protocol::Page] {
                let mut at = request.whole_days().from();
                for window in of(request) {
                    prop_assert!(window.interval.length() <= TimeDelta::days(WINDOW_DAYS_MAX));
                    for slice in window.slices(window.interval, protocol, &policy) {
                        prop_assert_eq!(slice.interval.from(), at);
                        prop_assert_eq!(Day::of(slice.interval.to()).start(), slice.interval.to());
                        at = slice.interval.to();
                    }
                    prop_assert_eq!(at, window.interval.to());
                }
                prop_assert_eq!(at, request.whole_days().to());
            }
        }

        #[test]
        fn parts_of_days_are_asked_for_where_the_protocol_brings_them(from_min in 0i64..4_000, length_min in 1i64..100_000) {
            let from = parse_timestamp("2025-01-01T00:00:00Z").unwrap() + TimeDelta::minutes(from_min);
            let range = Interval::new(from, from + TimeDelta::minutes(length_min)).unwrap();
            let policy = SlicePolicy::default();
            for protocol in [Protocol::Query, Protocol::Jobs, Protocol::Cursor, Protocol::Page] {
                let wanted = if protocol.brings_parts() { range } else { range.whole_days() };
                let mut at = wanted.from();
                for window in of(range) {
                    let parts = window.parts(ProtocolChoice::One(protocol), None);
                    prop_assert_eq!(parts.len(), 1);
                    let mut slices = Vec::new();
                    while let Some(slice) = window.starting(parts[0].0, at, protocol, &policy) {
                        at = slice.interval.to();
                        slices.push(slice);
                    }
                    prop_assert_eq!(slices.last().map(|slice| slice.interval.to()), Some(parts[0].0.to()));
                    prop_assert_eq!(slices.first().map(|slice| slice.interval.from()), Some(parts[0].0.from()));
                }
                prop_assert_eq!(at, wanted.to());
            }
        }

        #[test]
        fn windows_hold_the_days_that_are_asked_for_and_no_other(days in proptest::collection::btree_set(0i64..400, 0..200)) {
            let first: Day = "2024-12-20".parse().unwrap();
            let days: Vec<Day> = days.into_iter().map(|n| first.plus(n)).collect();
            let asked: Asked = days.iter().map(|day| day.interval()).collect();
            let windows = windows(&asked, Matching::Start);
            let covered: Vec<Day> = windows.iter().flat_map(|window| window.interval.days()).collect();
            prop_assert_eq!(&covered, &days);
            prop_assert!(windows.iter().all(|window| window.interval.length() <= TimeDelta::days(WINDOW_DAYS_MAX)));
            prop_assert!(windows.iter().enumerate().all(|(n, window)| window.index == n));
            prop_assert_eq!(asked.hull().map(|hull| hull.days().count()), days.last().map(|last| {
                (last.date() - days[0].date()).num_days() as usize + 1
            }));
        }

        #[test]
        fn what_is_asked_of_a_range_is_the_range(from_min in 0i64..10_000, length_min in 1i64..20_000) {
            let from = parse_timestamp("2025-01-01T00:00:00Z").unwrap() + TimeDelta::minutes(from_min);
            let range = Interval::new(from, from + TimeDelta::minutes(length_min)).unwrap();
            let asked = Asked::from(range);
            prop_assert_eq!(asked.hull(), Some(range));
            prop_assert_eq!(asked.parts().map(|(_, part)| part.length()).sum::<TimeDelta>(), range.length());
            prop_assert!(asked.parts().all(|(day, part)| day.interval().covers(part)));
        }

        #[test]
        fn halving_ends_and_loses_nothing(days in 1i64..31) {
            let from = parse_timestamp("2025-01-01T00:00:00Z").unwrap();
            let whole = Interval::new(from, from + TimeDelta::days(days)).unwrap();
            let slice = of(whole)[0].slice(whole, Protocol::Query);
            let (a, b) = slice.halves().unwrap();
            prop_assert_eq!((a.interval.from(), b.interval.to()), (whole.from(), whole.to()));
            prop_assert_eq!(a.interval.to(), b.interval.from());
        }
    }
}
