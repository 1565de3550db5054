//! Which parts of which days a run asks for.

use std::collections::BTreeMap;

use crate::time::{Day, Interval};

/// A part of each of some UTC days: one range, what is left of it, or days all over the calendar. Disjoint by its
/// making, since a day has one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<Day, Interval>);

impl Asked {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part of `day` that is asked for.
    pub fn part(&self, day: Day) -> Option<&Interval> {
        self.0.get(&day)
    }

    /// Every day with its part, in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (Day, &Interval)> {
        self.0.iter().map(|(day, part)| (*day, part))
    }

    /// From the first instant to the last one; `None` when nothing is asked for.
    pub fn hull(&self) -> Option<Interval> {
        let (first, last) = (self.0.first_key_value()?.1, self.0.last_key_value()?.1);
        Some(first.hull(last))
    }

    /// Leaves a day out.
    pub fn remove(&mut self, day: Day) {
        self.0.remove(&day);
    }

    /// The stretches of days without a gap between them, in order, as whole days.
    pub(super) fn stretches(&self) -> Vec<Interval> {
        let mut stretches: Vec<Interval> = Vec::new();
        for day in self.0.keys() {
            match stretches.last_mut() {
                Some(last) if last.to() == day.start() => *last = last.hull(&day.interval()),
                _ => stretches.push(day.interval()),
            }
        }
        stretches
    }
}

impl From<Interval> for Asked {
    fn from(range: Interval) -> Asked {
        range.days().filter_map(|day| range.intersection(&day.interval())).collect()
    }
}

impl FromIterator<Interval> for Asked {
    /// Parts of days. One that reaches beyond the day on which it begins is cut there.
    fn from_iter<T: IntoIterator<Item = Interval>>(parts: T) -> Asked {
        let of_day = |part: Interval| {
            let day = Day::of(part.from());
            Some((day, part.intersection(&day.interval())?))
        };
        Asked(parts.into_iter().filter_map(of_day).collect())
    }
}
