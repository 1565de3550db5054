//! The decisions of publishing, as small functions of what is known. Pure.

use super::layout::LakePath;
use super::receipt::{Receipt, State};
use crate::error::{Error, Result};
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp};

/// Conversations of a day that may vanish, whatever its size.
pub(super) const VANISHED_FREE: usize = 20;
/// One in this many conversations of a day may vanish.
pub(super) const VANISHED_SHARE: usize = 100;

/// The part of `day` that its files will hold: what was asked for, together with what they hold by now and the gap
/// between. The observation has to be of all of that, so nothing in it is unknown, and 24 hourly runs make one day.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when nothing of the day was asked for.
pub(super) fn hull(day: Day, asked: &Interval, winner: Option<&Receipt>) -> Result<Interval> {
    let asked = asked.intersection(&day.interval());
    let asked = asked.ok_or_else(|| Error::bug("the observation is not of the day that it is to replace"))?;
    let covered = winner.and_then(|w| w.covers.intersection(&day.interval()));
    Ok(covered.map_or(asked, |covered| covered.hull(&asked)))
}

/// Why the files of a day stay although there is a newer observation.
pub(super) fn reason_to_keep(
    winner: &Receipt,
    source: Source,
    availability: Option<Timestamp>,
    forced: bool,
) -> Option<&'static str> {
    if availability.is_some_and(|until| until < winner.covers.to()) {
        // The tail that is cut off would look as if it had vanished.
        return Some("the source promises less of it now than the lake holds");
    }
    let loses = winner.source == Source::Jobs && source == Source::Query && winner.counts.conversations > 0;
    (loses && !forced).then_some("it was fetched by jobs, which bring the participants' attributes; query does not")
}

/// What a day covers to which conversations of `part` are added, and whether it is merged. What was known of it still
/// is, as long as nothing is added from beyond; otherwise what it covers is only where its conversations lie.
pub(super) fn merged(day: Day, part: Option<Interval>, winner: Option<&Receipt>) -> (Interval, bool) {
    match (winner, part) {
        (Some(winner), None) => (winner.covers, winner.merged),
        (Some(winner), Some(part)) if winner.holds(&part) => (winner.covers, false),
        (Some(winner), Some(part)) => (winner.covers.hull(&part), true),
        (None, part) => (part.unwrap_or(day.interval()), true),
    }
}

/// The error of a day whose files cannot be built on.
pub(super) fn torn(may_be_in_work: bool) -> Error {
    let what = "its files are not those that its receipt names: nothing can be added to them";
    if may_be_in_work {
        return Error::later(what)
            .hint("let other runs end, then run again; if none runs, export the day, or convert all its pages without `--merge`");
    }
    Error::data(what)
        .hint("a run that died left them: export the day, or convert all its pages in one call without `--merge`")
}

/// The error of a day whose files an unfinished merge of other conversations has left.
pub(super) fn unfinished() -> Error {
    Error::later("another merge into the day has not ended, and what it brings is not among these pages")
        .hint("let it end, then run again; if it was interrupted, run that one again first, or both together")
}

/// How final the day is with these files.
pub(super) fn state(
    day: Day,
    covers: &Interval,
    has_files: bool,
    availability: Option<Timestamp>,
    settled_before: Option<Timestamp>,
) -> State {
    let end = day.interval().to();
    if !covers.covers(&day.interval()) {
        State::Partial
    } else if !has_files {
        State::Empty
    } else if settled_before.is_some_and(|old| end <= old) && availability.is_some_and(|until| end <= until) {
        State::Settled
    } else {
        State::Provisional
    }
}

/// What to do about conversations that were there and are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shrink {
    /// Publish.
    Accepted,
    /// Fetch the day again first.
    Unconfirmed,
    /// Keep the files: a source that answers in part must not delete data.
    Refused,
}

/// Judges `vanished` of `present` conversations.
pub(super) fn shrink(vanished: usize, present: usize, confirmed: bool, allowed: bool) -> Shrink {
    let few = vanished <= VANISHED_FREE.max(present / VANISHED_SHARE);
    match (vanished, few, confirmed) {
        _ if allowed => Shrink::Accepted,
        (0, ..) | (_, true, true) => Shrink::Accepted,
        (_, _, false) => Shrink::Unconfirmed,
        (_, false, true) => Shrink::Refused,
    }
}

/// The error of [`Shrink::Refused`].
pub(super) fn shrink_refused(vanished: usize, present: usize) -> Error {
    Error::data(format!("{vanished} of {present} conversations are gone at the source: the day keeps its files"))
        .hint("a source that answers in part looks like this: run again later. If they were deleted there, say `--allow-vanished`")
}

/// The error of a file that nobody can vouch for.
pub(super) fn foreign(place: &LakePath, name: &str) -> Error {
    Error::data(format!("`{place}/{name}` is not convlake's: readers would count it with the day's own file"))
        .hint("move it out of the lake, then run again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{day, receipt};
    use chrono::TimeDelta;
    use proptest::prelude::*;

    #[test]
    fn hourly_runs_make_one_day() {
        let date = day("2025-01-01");
        let hour = |n| date.start() + TimeDelta::hours(n);
        let mut winner: Option<Receipt> = None;
        for n in 0..24 {
            let asked = Interval::new(hour(n), hour(n + 1)).unwrap();
            let covers = hull(date, &asked, winner.as_ref()).unwrap();
            assert_eq!(covers, Interval::new(hour(0), hour(n + 1)).unwrap());
            winner = Some(Receipt { covers, ..receipt("2025-01-01", "2025-01-02T00:00:00Z", 1) });
        }
        assert!(winner.is_some_and(|w| w.is_whole()));
        let elsewhere = day("2025-01-02").interval();
        assert!(hull(date, &elsewhere, None).is_err());
        let wide = date.interval().hull(&elsewhere);
        assert_eq!(hull(date, &wide, None).unwrap(), date.interval());
    }

    #[test]
    fn a_merged_day_is_whole_only_if_it_was() {
        let date = day("2025-01-01");
        let part = |from, to| {
            Interval::new(date.start() + TimeDelta::hours(from), date.start() + TimeDelta::hours(to)).unwrap()
        };
        let whole = receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        assert_eq!(merged(date, Some(part(3, 5)), Some(&whole)), (date.interval(), false));
        let morning = Receipt { covers: part(0, 12), ..whole.clone() };
        assert_eq!(merged(date, Some(part(3, 5)), Some(&morning)), (part(0, 12), false));
        assert_eq!(merged(date, Some(part(3, 13)), Some(&morning)), (part(0, 13), true));
        assert_eq!(merged(date, Some(date.interval()), None), (date.interval(), true));
        let merged_to = Receipt { merged: true, ..whole };
        assert!(!merged_to.is_whole() && !merged_to.holds(&part(3, 5)));
        assert_eq!(merged(date, Some(part(3, 5)), Some(&merged_to)), (date.interval(), true));
        assert_eq!(merged(date, None, Some(&morning)), (part(0, 12), false), "nothing was added");
    }

    #[test]
    fn jobs_give_way_to_query_only_when_told_or_when_nothing_is_lost() {
        let jobs = receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        assert!(reason_to_keep(&jobs, Source::Query, None, false).is_some());
        assert!(reason_to_keep(&jobs, Source::Query, None, true).is_none());
        assert!(reason_to_keep(&jobs, Source::Jobs, None, false).is_none());
        let end = jobs.day.interval().to();
        assert!(reason_to_keep(&jobs, Source::Jobs, Some(end), false).is_none());
        assert!(reason_to_keep(&jobs, Source::Jobs, Some(end - TimeDelta::hours(1)), true).is_some());
        let query = Receipt { source: Source::Query, ..jobs.clone() };
        assert!(reason_to_keep(&query, Source::Query, None, false).is_none());
        let mut empty = jobs;
        empty.counts.conversations = 0;
        assert!(reason_to_keep(&empty, Source::Query, None, false).is_none());
    }

    #[test]
    fn a_day_is_settled_when_it_is_old_and_was_promised() {
        let date = day("2025-01-01");
        let (whole, end) = (date.interval(), date.interval().to());
        let before = end - TimeDelta::microseconds(1);
        assert_eq!(state(date, &whole, true, Some(end), Some(end)), State::Settled);
        assert_eq!(state(date, &whole, true, Some(before), Some(end)), State::Provisional);
        assert_eq!(state(date, &whole, true, Some(end), Some(before)), State::Provisional);
        assert_eq!(state(date, &whole, true, Some(end), None), State::Provisional, "clocks that differ");
        assert_eq!(state(date, &whole, true, None, Some(end)), State::Provisional);
        assert_eq!(state(date, &whole, false, Some(end), Some(end)), State::Empty);
        assert_eq!(state(date, &whole.halves().unwrap().0, false, Some(end), Some(end)), State::Partial);
    }

    #[test]
    fn few_may_vanish_when_a_second_look_agrees() {
        assert_eq!(shrink(0, 10, false, false), Shrink::Accepted);
        assert_eq!(shrink(1, 10, false, false), Shrink::Unconfirmed);
        assert_eq!(shrink(20, 20, true, false), Shrink::Accepted);
        assert_eq!(shrink(21, 2_099, true, false), Shrink::Refused);
        assert_eq!(shrink(21, 2_100, true, false), Shrink::Accepted);
        assert_eq!(shrink(2_100, 2_100, false, true), Shrink::Accepted);
    }

    proptest! {
        #[test]
        fn nothing_vanishes_unconfirmed(vanished in 1usize..10_000, present in 1usize..1_000_000) {
            prop_assert_eq!(shrink(vanished, present, false, false), Shrink::Unconfirmed);
        }
    }
}
