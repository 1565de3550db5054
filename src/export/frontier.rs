//! How far an input has been read, and which days it has left behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Day;

/// A day that so many pages have not touched is taken for complete. Days of inputs that are in order are left behind at
/// midnight; with a wrong guess the day is encoded twice.
const PAGES_BEHIND: u64 = 8;

/// The pages of an input on their way, in the order in which they stand in it.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    pages: u64,
    /// Pages that have begun and are not done: until then rows of theirs may be in an open sheet.
    under_way: BTreeSet<u64>,
    /// Days that are not left behind, with the last page that touched them.
    open: BTreeMap<Day, u64>,
    /// Days that were told. What comes of them afterwards waits for the end of the input: it belongs behind what is
    /// encoded by then.
    told: BTreeSet<Day>,
}

impl Frontier {
    /// The next page begins; its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.pages += 1;
        self.under_way.insert(self.pages);
        self.pages
    }

    /// A page has records of `days`.
    pub(super) fn touched(&mut self, page: u64, days: &BTreeSet<Day>) {
        for &day in days.difference(&self.told) {
            self.open.entry(day).and_modify(|last| *last = page.max(*last)).or_insert(page);
        }
    }

    /// The rows of `pages` are with their days.
    pub(super) fn done(&mut self, pages: impl IntoIterator<Item = u64>) {
        for page in pages {
            self.under_way.remove(&page);
        }
    }

    /// Days that no page up to here has touched for long, each told once, even if it comes back. Every record of such a
    /// day that still comes stands later in the input than those that have come.
    pub(super) fn left_behind(&mut self) -> Vec<Day> {
        // Every page before this one is done.
        let reached = self.under_way.first().copied().unwrap_or(self.pages + 1);
        let left: Vec<Day> =
            self.open.extract_if(.., |_, last| *last + PAGES_BEHIND < reached).map(|(day, _)| day).collect();
        self.told.extend(&left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> Day {
        Day::of_micros(n * 86_400_000_000).unwrap()
    }

    /// A page that has been read; its rows are not with their days yet.
    fn read(frontier: &mut Frontier, days: &[i64]) -> u64 {
        let page = frontier.begin();
        frontier.touched(page, &days.iter().map(|&n| day(n)).collect());
        page
    }

    #[test]
    fn a_day_is_left_behind_when_all_pages_for_long_are_done_without_it() {
        let mut frontier = Frontier::default();
        for n in 1..=PAGES_BEHIND {
            let page = read(&mut frontier, &[if n == 1 { 0 } else { 1 }]);
            frontier.done([page]);
        }
        let slow = frontier.begin();
        let quick = read(&mut frontier, &[1]);
        frontier.done([quick]);
        assert_eq!(frontier.left_behind(), [], "a page that stands nearer is not done");
        frontier.touched(slow, &[day(1)].into());
        frontier.done([slow]);
        assert_eq!(frontier.left_behind(), [day(0)]);
        assert_eq!(frontier.left_behind(), [], "it is told once");
        for n in 0..=PAGES_BEHIND + 1 {
            let page = read(&mut frontier, &[if n == 0 { 0 } else { 1 }]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(), [], "also when it comes back and is left behind again");
    }

    #[test]
    fn a_day_with_rows_in_an_open_sheet_is_not_left_behind() {
        let mut frontier = Frontier::default();
        let sheet = read(&mut frontier, &[0, 1]);
        for _ in 0..2 * PAGES_BEHIND {
            let page = read(&mut frontier, &[1]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(), []);
        frontier.done([sheet]);
        assert_eq!(frontier.left_behind(), [day(0)]);
    }
}
