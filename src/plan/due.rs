//! Which days a lake should be brought up to date on, and why. Pure: what is known of the days goes in, days come out.
//!
//! | reason | a day from the anchor on … |
//! |---|---|
//! | [`Reason::New`] | that the source promises and the lake does not hold complete: a gap is found like a new day, and so is one that was fetched in the future |
//! | [`Reason::Fresh`] | that no job promises yet, as far as it has gone: asked by query |
//! | [`Reason::Lookback`] | that may still change, and was not looked at for a while |
//! | [`Reason::Unsettled`] | that was last looked at while it could still change, and no longer can: once more, and it rests |
//! | [`Reason::Dirty`] | or any other, that was seen to have changed |

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Serialize;

use super::protocol::{Protocol, ProtocolChoice, Source};
use crate::time::{Day, Interval, Timestamp};

/// How long after its end a day may still change, when nothing else is said.
pub const LOOKBACK: TimeDelta = TimeDelta::days(7);
/// How long before now the fresh tail ends, and the least that is worth asking for again: what started later may not
/// be known to the source yet.
pub const SAFETY: TimeDelta = TimeDelta::minutes(15);

/// How far the clocks of two runs that are right may be apart.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// What a lake knows of a day that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The part of the day that it is known to hold: nothing that had not happened yet when it was fetched. `None` when
    /// that is nothing.
    pub covers: Option<Interval>,
    /// How it was fetched.
    pub source: Source,
    /// Up to where the source had promised to be complete, if it promises anything.
    pub availability: Option<Timestamp>,
    /// When the source was last asked, at the earliest.
    pub observed_at: Timestamp,
    /// Whether the clocks differed by so much that nobody knows when that was: such a day does not come to rest.
    pub undated: bool,
    /// Whether it was seen to have changed since.
    pub dirty: bool,
    /// Whether it was removed for good: such a day is never asked for again.
    pub expired: bool,
}

/// What decides whether a day is due.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The first day.
    pub anchor: Day,
    /// The moment of deciding.
    pub now: Timestamp,
    /// How days are asked for.
    pub choice: ProtocolChoice,
    /// Up to where jobs are promised complete; `None` when no jobs are made, and then nothing is promised.
    pub availability: Option<Timestamp>,
    /// How long after its end a day may still change.
    pub lookback: TimeDelta,
    /// How long a day that may still change is left alone.
    pub recheck_every: TimeDelta,
    /// Leave every day alone until it no longer changes.
    pub settled_only: bool,
    /// Days of the lookback between two days that are due which cost no more to look at as well than to leave out:
    /// one job for all of them is cheaper than two around them.
    pub bridge: usize,
}

/// Why a day is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Promised, and not complete in the lake.
    New,
    /// Not promised yet.
    Fresh,
    /// It may still change.
    Lookback,
    /// It can no longer change, and was last looked at while it could.
    Unsettled,
    /// It was seen to have changed.
    Dirty,
}

impl Reason {
    /// All of them, in the order of their urgency.
    pub const ALL: [Reason; 5] = [Reason::New, Reason::Fresh, Reason::Lookback, Reason::Unsettled, Reason::Dirty];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::New => "new",
            Reason::Fresh => "fresh",
            Reason::Lookback => "lookback",
            Reason::Unsettled => "unsettled",
            Reason::Dirty => "dirty",
        }
    }
}

/// A day that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The day.
    pub day: Day,
    /// The part of it that has passed.
    pub part: Interval,
    /// Why.
    pub reason: Reason,
}

/// The days that are due, in order.
pub fn due(known: &BTreeMap<Day, Known>, policy: &Policy) -> Vec<Due> {
    let end = policy.now - SAFETY;
    let since_anchor = Interval::new(policy.anchor.start(), end).into_iter().flat_map(|all| all.days());
    // Before the anchor is what others exported: theirs to complete, but what changes there is seen here.
    let earlier = known.range(..policy.anchor).filter(|(_, known)| known.dirty).map(|(day, _)| *day);
    let due = |day: Day| {
        let part = Interval::new(day.start(), day.interval().to().min(end)).ok()?;
        let reason = policy.reason(part, day, known.get(&day))?;
        Some(Due { day, part, reason: if day < policy.anchor { Reason::Dirty } else { reason } })
    };
    bridged(earlier.chain(since_anchor).filter_map(due).collect(), known, policy)
}

/// Adds the days of the lookback between days that are due, where that saves a job.
fn bridged(due: Vec<Due>, known: &BTreeMap<Day, Known>, policy: &Policy) -> Vec<Due> {
    // What has changed is asked for by itself, and the fresh tail by query.
    let by_job = |due: &&Due| due.reason != Reason::Dirty && policy.promises(due.day);
    let jobs: Vec<Day> = due.iter().filter(by_job).map(|due| due.day).collect();
    let gaps = jobs.windows(2).filter_map(|pair| Interval::new(pair[0].next().start(), pair[1].start()).ok());
    let gaps = gaps.map(|gap| gap.days().collect::<Vec<Day>>()).filter(|gap| gap.len() <= policy.bridge);
    let gaps = gaps.filter(|gap| gap.iter().all(|day| policy.may_change(*day, known.get(day))));
    let along = gaps.flatten().map(|day| Due { day, part: day.interval(), reason: Reason::Lookback });
    let all: BTreeMap<Day, Due> = due.iter().copied().chain(along).map(|due| (due.day, due)).collect();
    all.into_values().collect()
}

impl Policy {
    /// Why the `part` of `day` that has passed is due, if it is.
    fn reason(&self, part: Interval, day: Day, known: Option<&Known>) -> Option<Reason> {
        let whole = day.interval();
        let promised = self.promises(day);
        let protocol = match self.choice {
            ProtocolChoice::One(protocol) => protocol,
            ProtocolChoice::Auto if promised => Protocol::Jobs,
            ProtocolChoice::Auto => Protocol::Query,
        };
        let at_rest = whole.to() + self.lookback <= self.now;
        if (protocol == Protocol::Jobs && !promised) || (self.settled_only && !(promised && at_rest)) {
            return None;
        }
        let first = if promised || (part == whole && self.choice != ProtocolChoice::Auto) {
            Reason::New
        } else {
            Reason::Fresh
        };
        let Some(known) = known else { return Some(first) };
        // Jobs bring more than the query that comes before them: it would be thrown away.
        let downgrade =
            self.choice == ProtocolChoice::Auto && protocol == Protocol::Query && known.source == Source::Jobs;
        if known.expired || downgrade {
            return None;
        }
        if self.is_yet_to_come(known.observed_at) {
            return Some(first);
        }
        let held = known.covers.is_some_and(|covers| {
            covers.covers(&part) || (part != whole && part.to() - covers.to() < SAFETY && covers.from() <= part.from())
        });
        let complete = held && (!promised || known.availability.is_some_and(|until| whole.to() <= until));
        let due = if !complete {
            Some(first)
        } else if part != whole || (whole.to() + self.lookback <= known.observed_at && !known.undated) {
            None
        } else if at_rest {
            (!known.undated || self.is_stale(known.observed_at)).then_some(Reason::Unsettled)
        } else {
            self.is_stale(known.observed_at).then_some(Reason::Lookback)
        };
        due.or(known.dirty.then_some(Reason::Dirty))
    }

    /// Whether the source has promised all of `day`.
    fn promises(&self, day: Day) -> bool {
        self.availability.is_some_and(|until| day.interval().to() <= until)
    }

    /// Whether `day` is held and may still change.
    fn may_change(&self, day: Day, known: Option<&Known>) -> bool {
        self.now < day.interval().to() + self.lookback && known.is_some_and(|known| !known.expired)
    }

    /// Whether a clock was ahead when that was written: what it says about the day is not to be believed.
    fn is_yet_to_come(&self, observed_at: Timestamp) -> bool {
        observed_at > self.now + CLOCKS_APART
    }

    /// Whether it is time to look again. A schedule that fires a little early must not make a day wait for the next
    /// round, so the last twenty-fourth of the time counts as passed.
    fn is_stale(&self, observed_at: Timestamp) -> bool {
        self.now - observed_at >= self.recheck_every - self.recheck_every / 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_timestamp;
    use proptest::prelude::*;

    const DAY: TimeDelta = TimeDelta::days(1);

    fn at(text: &str) -> Timestamp {
        parse_timestamp(text).unwrap()
    }

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    /// On 10 March at noon, with jobs complete up to six in the morning.
    fn policy() -> Policy {
        Policy {
            anchor: day("2025-03-01"),
            now: at("2025-03-10T12:00:00Z"),
            choice: ProtocolChoice::Auto,
            availability: Some(at("2025-03-10T06:00:00Z")),
            lookback: TimeDelta::days(7),
            recheck_every: DAY,
            settled_only: false,
            bridge: 0,
        }
    }

    fn known(part: Interval, policy: &Policy) -> Known {
        let jobs = policy.availability.is_some_and(|until| Day::of(part.from()).interval().to() <= until);
        let source = match policy.choice {
            ProtocolChoice::One(protocol) => protocol.into(),
            ProtocolChoice::Auto if jobs => Source::Jobs,
            ProtocolChoice::Auto => Source::Query,
        };
        let availability = policy.availability.filter(|_| source == Source::Jobs);
        Known {
            covers: Some(part),
            source,
            availability,
            observed_at: policy.now,
            undated: false,
            dirty: false,
            expired: false,
        }
    }

    /// What the lake knows after everything that is due was fetched.
    fn fetched(lake: &mut BTreeMap<Day, Known>, policy: &Policy) -> Vec<Due> {
        let due = due(lake, policy);
        for Due { day, part, .. } in &due {
            let now = known(*part, policy);
            lake.entry(*day)
                .and_modify(|old| *old = Known { covers: old.covers.map(|held| held.hull(part)), ..now })
                .or_insert(now);
        }
        due
    }

    fn reasons(due: &[Due]) -> Vec<(String, Reason)> {
        due.iter().map(|due| (due.day.to_string()[8..].to_owned(), due.reason)).collect()
    }

    fn days(due: &[Due], reason: Reason) -> usize {
        due.iter().filter(|due| due.reason == reason).count()
    }

    #[test]
    fn an_empty_lake_gets_every_day_from_its_anchor_to_now() {
        let due = due(&BTreeMap::new(), &policy());
        assert_eq!((due.len(), days(&due, Reason::New)), (10, 9));
        let today = due.last().unwrap();
        assert_eq!((today.reason, today.part.to()), (Reason::Fresh, at("2025-03-10T11:45:00Z")));
    }

    #[test]
    fn a_day_passes_through_its_reasons_and_rests() {
        let (mut lake, mut policy) = (BTreeMap::new(), Policy { anchor: day("2025-03-10"), ..policy() });
        let mut told = Vec::new();
        for _ in 0..14 {
            let due = fetched(&mut lake, &policy);
            told.extend(due.iter().find(|due| due.day == policy.anchor).map(|due| due.reason));
            policy.now += DAY;
            policy.availability = policy.availability.map(|until| until + DAY);
        }
        use Reason::*;
        assert_eq!(told, [Fresh, New, Lookback, Lookback, Lookback, Lookback, Lookback, Lookback, Unsettled]);
    }

    #[test]
    fn a_day_that_query_brought_is_new_to_jobs_whenever_they_reach_it() {
        let (mut lake, mut policy) = (BTreeMap::new(), policy());
        fetched(&mut lake, &Policy { availability: Some(at("2025-03-05T00:00:00Z")), ..policy });
        assert_eq!(lake[&day("2025-03-06")].source, Source::Query);
        let due = due(&lake, &policy);
        assert_eq!(reasons(&due)[..2], [("05".to_owned(), Reason::New), ("06".to_owned(), Reason::New)]);
        // The lag may be longer than the lookback: then the query looks once more, and jobs still come.
        policy.availability = Some(at("2025-03-05T00:00:00Z"));
        policy.now += TimeDelta::days(30);
        fetched(&mut lake, &policy);
        policy.availability = Some(policy.now);
        assert!(super::due(&lake, &policy).iter().any(|due| (due.day, due.reason) == (day("2025-03-06"), Reason::New)));
    }

    #[test]
    fn what_jobs_brought_is_left_alone_while_they_promise_less_than_they_did() {
        let (mut lake, mut policy) = (BTreeMap::new(), policy());
        fetched(&mut lake, &policy);
        policy.now += DAY;
        policy.availability = Some(at("2025-03-08T00:00:00Z"));
        let due = due(&lake, &policy);
        assert!(due.iter().all(|due| due.day < day("2025-03-08") || due.day > day("2025-03-09")), "{due:?}");
    }

    #[test]
    fn a_schedule_that_fires_early_does_not_skip_a_round() {
        let (mut lake, mut policy) = (BTreeMap::new(), policy());
        fetched(&mut lake, &policy);
        policy.now += TimeDelta::hours(22);
        assert_eq!(days(&due(&lake, &policy), Reason::Lookback), 0);
        policy.now += TimeDelta::minutes(119);
        assert!(days(&due(&lake, &policy), Reason::Lookback) > 5);
    }

    #[test]
    fn the_fresh_tail_is_asked_for_again_when_there_is_more_of_it() {
        let (mut lake, mut policy) = (BTreeMap::new(), policy());
        fetched(&mut lake, &policy);
        policy.now += TimeDelta::minutes(14);
        assert_eq!(due(&lake, &policy), []);
        policy.now += TimeDelta::minutes(1);
        assert_eq!(reasons(&due(&lake, &policy)), [("10".to_owned(), Reason::Fresh)]);
        // A day that has ended since is asked for whole, however little is missing.
        policy.now = at("2025-03-11T00:10:00Z");
        fetched(&mut lake, &policy);
        policy.now = at("2025-03-11T00:16:00Z");
        assert_eq!(reasons(&due(&lake, &policy)), [("10".to_owned(), Reason::Fresh), ("11".to_owned(), Reason::Fresh)]);
    }

    #[test]
    fn changed_days_are_due_wherever_they_are_and_expired_ones_never() {
        let (mut lake, policy) = (BTreeMap::new(), policy());
        fetched(&mut lake, &policy);
        lake.insert(day("2024-06-01"), Known { dirty: true, ..known(day("2024-06-01").interval(), &policy) });
        lake.insert(day("2024-06-02"), known(day("2024-06-02").interval(), &policy));
        lake.get_mut(&day("2025-03-09")).unwrap().dirty = true;
        let changed = due(&lake, &policy);
        assert_eq!(reasons(&changed), [("01".to_owned(), Reason::Dirty), ("09".to_owned(), Reason::Dirty)]);
        lake.values_mut().for_each(|known| known.expired = true);
        assert_eq!(due(&lake, &policy), []);
    }

    #[test]
    fn a_short_gap_in_the_lookback_is_looked_at_as_well() {
        let (mut lake, policy) = (BTreeMap::new(), Policy { bridge: 2, ..policy() });
        fetched(&mut lake, &policy);
        for date in ["2025-03-04", "2025-03-07"] {
            lake.get_mut(&day(date)).unwrap().observed_at -= DAY;
        }
        let days = |policy: &Policy| due(&lake, policy).iter().map(|due| due.day).collect::<Vec<_>>();
        let all = |from: &str, to: &str| day(from).interval().hull(&day(to).interval()).days().collect::<Vec<_>>();
        assert_eq!(days(&policy), all("2025-03-04", "2025-03-07"));
        assert_eq!(days(&Policy { bridge: 1, ..policy }), [day("2025-03-04"), day("2025-03-07")]);
        // What rests is left to rest.
        let older = Policy { lookback: TimeDelta::days(4), recheck_every: DAY, ..policy };
        assert!(!days(&older).contains(&day("2025-03-05")));
    }

    #[test]
    fn settled_only_waits_until_a_day_no_longer_changes() {
        let policy = Policy { settled_only: true, ..policy() };
        let mut lake = BTreeMap::new();
        assert_eq!(
            reasons(&fetched(&mut lake, &policy)),
            [("01".to_owned(), Reason::New), ("02".to_owned(), Reason::New)]
        );
        assert_eq!(due(&lake, &policy), []);
    }

    #[test]
    fn what_promises_nothing_is_new_once_and_looked_at_until_it_is_old() {
        for protocol in [Protocol::Query, Protocol::Cursor, Protocol::Page] {
            let mut policy = Policy { choice: ProtocolChoice::One(protocol), availability: None, ..policy() };
            let mut lake = BTreeMap::new();
            let first = fetched(&mut lake, &policy);
            assert_eq!((days(&first, Reason::New), days(&first, Reason::Fresh)), (9, 1));
            policy.now += TimeDelta::days(10);
            let second = fetched(&mut lake, &policy);
            assert_eq!((days(&second, Reason::New), days(&second, Reason::Fresh)), (10, 1));
            // The first two had been looked at when they were a week old.
            assert_eq!(days(&second, Reason::Unsettled), 7, "{second:?}");
            policy.now += TimeDelta::days(400);
            policy.anchor = Day::of(policy.now);
            assert_eq!(days(&due(&lake, &policy), Reason::Unsettled), 0);
        }
    }

    fn lakes() -> impl Strategy<Value = BTreeMap<Day, Known>> {
        let fact = (0i64..40, 0i64..24, 0i64..24, any::<bool>(), 0i64..60, 0i64..60, 0u8..32);
        proptest::collection::vec(fact, 0..40).prop_map(|facts| {
            let first = day("2025-02-10");
            let fact = |(n, from, hours, jobs, seen, until, flags): (i64, i64, i64, bool, i64, i64, u8)| {
                let day = first.plus(n);
                let start = day.start() + TimeDelta::hours(if flags & 1 == 0 { 0 } else { from });
                let to = if flags & 1 == 0 { day.interval().to() } else { start + TimeDelta::hours(hours + 1) };
                let covers = Interval::new(start, to.min(day.interval().to())).unwrap();
                let observed_at = to + TimeDelta::hours(seen * 6);
                let availability = jobs.then(|| observed_at.min(day.start() + TimeDelta::hours(until)));
                let source = if jobs { Source::Jobs } else { Source::Query };
                (
                    day,
                    Known {
                        covers: Some(covers),
                        source,
                        availability,
                        observed_at,
                        undated: flags & 16 == 16,
                        dirty: flags & 6 == 6,
                        expired: flags & 8 == 8,
                    },
                )
            };
            facts.into_iter().map(fact).collect()
        })
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (0i64..40, 0i64..1200, 0i64..100, 0i64..10, 1i64..72, any::<bool>(), 0usize..5, 0usize..5).prop_map(
            |(anchor, hour, lag, lookback, recheck, settled_only, choice, bridge)| {
                let choices = [
                    ProtocolChoice::Auto,
                    ProtocolChoice::One(Protocol::Jobs),
                    ProtocolChoice::One(Protocol::Query),
                    ProtocolChoice::One(Protocol::Cursor),
                    ProtocolChoice::One(Protocol::Page),
                ];
                let now = at("2025-02-10T00:00:00Z") + TimeDelta::hours(hour);
                Policy {
                    anchor: day("2025-02-10").plus(anchor),
                    now,
                    choice: choices[choice],
                    availability: (choice < 2).then(|| now - TimeDelta::hours(lag)),
                    lookback: TimeDelta::days(lookback),
                    recheck_every: TimeDelta::hours(recheck),
                    settled_only,
                    bridge,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn no_promised_day_is_forgotten_and_none_is_asked_for_in_vain(lake in lakes(), policy in policies()) {
            let due = due(&lake, &policy);
            prop_assert!(due.windows(2).all(|pair| pair[0].day < pair[1].day));
            for Due { day, part, reason } in &due {
                prop_assert!(part.to() <= policy.now && Day::of(part.from()) == *day);
                prop_assert!(*day >= policy.anchor || *reason == Reason::Dirty);
                prop_assert!(lake.get(day).is_none_or(|known| !known.expired));
            }
            let asked = |day: Day| due.iter().any(|due| due.day == day);
            let mut day = policy.anchor;
            while policy.availability.is_some_and(|until| day.interval().to() <= until.min(policy.now - SAFETY)) {
                let old = day.interval().to() + policy.lookback <= policy.now;
                let known = lake.get(&day);
                let complete = known.is_some_and(|known| {
                    known.covers == Some(day.interval()) && known.availability.is_some_and(|until| day.interval().to() <= until)
                });
                let at_rest = |k: &Known| !k.undated && k.observed_at <= policy.now + CLOCKS_APART && day.interval().to() + policy.lookback <= k.observed_at;
                let settled = complete && old && known.is_some_and(at_rest);
                let just_seen = known.is_some_and(|k| k.undated && !policy.is_stale(k.observed_at));
                let expired = known.is_some_and(|known| known.expired);
                let dirty = known.is_some_and(|known| known.dirty);
                if !expired && (old || !policy.settled_only) {
                    prop_assert!(complete || asked(day), "{day} is a hole: {known:?}");
                    prop_assert!(!old || settled || just_seen || asked(day), "{day} never settles: {known:?}");
                    prop_assert!(!dirty || asked(day), "{day} stays changed");
                }
                prop_assert!(!settled || dirty || !asked(day), "{day} rests");
                day = day.next();
            }
        }

        #[test]
        fn what_was_fetched_is_not_due_again_at_once(mut lake in lakes(), policy in policies()) {
            fetched(&mut lake, &policy);
            let again = due(&lake, &policy);
            prop_assert!(again.is_empty(), "{again:?}");
        }
    }
}
