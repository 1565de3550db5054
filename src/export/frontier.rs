//! How far an input has been read, and which days it has left behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Day;

/// A day that so many pages have not touched is taken for complete. Days of inputs that are in order are left behind at
/// midnight; with a wrong guess the day is encoded twice.
const PAGES_BEHIND: u64 = 8;

/// Pages that one that arrives may have overtaken.
const OVERTAKEN_MAX: u32 = 64;
/// Places from here on are those of pages that are nowhere.
const UNPLACED: u64 = 1 << 48;

/// The pages of an input on their way, in the order in which they stand in it.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    /// Whether the pages of a chain may become void together, and come again: no day is told then that has rows of
    /// more than one.
    by_chain: bool,
    chain: u32,
    /// Where the chain stands in the input.
    base: u64,
    /// Pages of the chain up to the last one that has come.
    came: u32,
    /// Pages that are not done: until then rows of theirs may be in an open sheet. Those that others have overtaken
    /// are among them.
    under_way: BTreeSet<u64>,
    /// Days that are not left behind.
    open: BTreeMap<Day, Touched>,
    /// Days that were told, with the chain that touched them last. What comes of them afterwards waits for the end of
    /// the input: it belongs behind what is encoded by then.
    told: BTreeMap<Day, u32>,
    /// Whether nothing is told any more.
    lost: bool,
    /// Pages that have come so far behind the others that what is between them cannot be waited for: parts of pages
    /// that were too large.
    unplaced: u64,
}

/// By what a day was touched.
#[derive(Clone, Copy, Debug)]
struct Touched {
    /// The last page.
    page: u64,
    first_chain: u32,
    last_chain: u32,
}

impl Frontier {
    /// The frontier of an input; `by_chain` when chains of it may start again.
    pub(super) fn new(by_chain: bool) -> Frontier {
        Frontier { by_chain, ..Frontier::default() }
    }

    /// Page `number` of `chain` begins; its place in the input, which is no other's. Chains come one after the other,
    /// their pages in any order.
    pub(super) fn begin(&mut self, chain: u32, number: u32) -> u64 {
        if chain != self.chain {
            (self.chain, self.base, self.came) = (chain, self.base + u64::from(self.came), 0);
        }
        if number.saturating_sub(self.came) > OVERTAKEN_MAX {
            self.lost = true;
            self.unplaced += 1;
            return UNPLACED + self.unplaced;
        }
        let place = |number: u32| self.base + u64::from(number);
        self.under_way.extend((self.came + 1..=number).chain([number]).map(place));
        self.came = self.came.max(number);
        place(number)
    }

    /// The next page of `chain` begins, if its pages come in order, whatever their numbers are.
    pub(super) fn begin_next(&mut self, chain: u32) -> u64 {
        let came = if chain == self.chain { self.came } else { 0 };
        self.begin(chain, came + 1)
    }

    /// A page of `chain` has records of `days`.
    pub(super) fn touched(&mut self, chain: u32, page: u64, days: &BTreeSet<Day>) {
        for &day in days.iter().filter(|day| !self.told.contains_key(day)) {
            let first = Touched { page, first_chain: chain, last_chain: chain };
            let touched = self.open.entry(day).or_insert(first);
            touched.page = page.max(touched.page);
            touched.first_chain = chain.min(touched.first_chain);
            touched.last_chain = chain.max(touched.last_chain);
        }
    }

    /// The rows of `pages` are with their days.
    pub(super) fn done(&mut self, pages: impl IntoIterator<Item = u64>) {
        for page in pages {
            self.under_way.remove(&page);
        }
    }

    /// Days that are wanted and that no page up to here has touched for long, each told once, even if it comes back.
    /// Every record of such a day that still comes stands later in the input than those that have come.
    pub(super) fn left_behind(&mut self, wants: impl Fn(Day) -> bool) -> Vec<Day> {
        if self.lost {
            return Vec::new();
        }
        // Every page before this one is done.
        let reached = self.under_way.first().copied().unwrap_or(self.base + u64::from(self.came) + 1);
        let is_left = |day: &Day, touched: &mut Touched| {
            let is_whole = !self.by_chain || touched.first_chain == touched.last_chain;
            is_whole && touched.page + PAGES_BEHIND < reached && wants(*day)
        };
        let left: Vec<(Day, Touched)> = self.open.extract_if(.., is_left).collect();
        self.told.extend(left.iter().map(|(day, touched)| (*day, touched.last_chain)));
        left.into_iter().map(|(day, _)| day).collect()
    }

    /// `chain` and later chains start again: what was told of them is void, and returned. Nothing is told any more: it
    /// is rare, and would tell a day twice.
    pub(super) fn restart(&mut self, chain: u32) -> Vec<Day> {
        self.lost = true;
        self.told.extract_if(.., |_, last| *last >= chain).map(|(day, _)| day).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> Day {
        Day::of_micros(n * 86_400_000_000).unwrap()
    }

    fn touch(frontier: &mut Frontier, chain: u32, number: u32, days: &[i64]) -> u64 {
        let page = frontier.begin(chain, number);
        frontier.touched(chain, page, &days.iter().map(|&n| day(n)).collect());
        page
    }

    /// The next page has been read; its rows are not with their days yet.
    fn read(frontier: &mut Frontier, days: &[i64]) -> u64 {
        let page = frontier.begin_next(0);
        frontier.touched(0, page, &days.iter().map(|&n| day(n)).collect());
        page
    }

    #[test]
    fn a_day_is_left_behind_when_all_pages_for_long_are_done_without_it() {
        let mut frontier = Frontier::default();
        for n in 1..=PAGES_BEHIND {
            let page = read(&mut frontier, &[if n == 1 { 0 } else { 1 }]);
            frontier.done([page]);
        }
        let slow = frontier.begin_next(0);
        let quick = read(&mut frontier, &[1]);
        frontier.done([quick]);
        assert_eq!(frontier.left_behind(|_| true), [], "a page that stands nearer is not done");
        frontier.touched(0, slow, &[day(1)].into());
        frontier.done([slow]);
        assert_eq!(frontier.left_behind(|_| true), [day(0)]);
        assert_eq!(frontier.left_behind(|_| true), [], "it is told once");
        for n in 0..=PAGES_BEHIND + 1 {
            let page = read(&mut frontier, &[if n == 0 { 0 } else { 1 }]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(|_| true), [], "also when it comes back and is left behind again");
    }

    #[test]
    fn a_day_with_rows_in_an_open_sheet_is_not_left_behind() {
        let mut frontier = Frontier::default();
        let sheet = read(&mut frontier, &[0, 1]);
        for _ in 0..2 * PAGES_BEHIND {
            let page = read(&mut frontier, &[1]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(|_| true), []);
        frontier.done([sheet]);
        assert_eq!(frontier.left_behind(|_| true), [day(0)]);
    }

    #[test]
    fn a_page_that_others_overtook_is_waited_for() {
        let mut frontier = Frontier::default();
        let first = touch(&mut frontier, 0, 1, &[0]);
        frontier.done([first]);
        for number in 3..=20 {
            let page = touch(&mut frontier, 0, number, &[1]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(|_| true), [], "page 2 may be of that day");
        let late = touch(&mut frontier, 0, 2, &[1]);
        frontier.done([late]);
        assert_eq!(frontier.left_behind(|_| true), [day(0)]);
        let part = touch(&mut frontier, 0, 1 << 31, &[2]);
        frontier.done([part]);
        for number in 21..=40 {
            let page = touch(&mut frontier, 0, number, &[3]);
            frontier.done([page]);
        }
        assert_eq!(frontier.left_behind(|_| true), [], "it is not known what comes before the part of a page");
    }

    #[test]
    fn what_may_come_again_is_void_as_a_whole() {
        for by_chain in [false, true] {
            let mut frontier = Frontier::new(by_chain);
            for (chain, days) in [(0, [0, 1]), (1, [1, 2]), (2, [3, 3])] {
                for number in 1..=20 {
                    let page = touch(&mut frontier, chain, number, &[days[usize::from(number > 5)]]);
                    frontier.done([page]);
                }
            }
            let told = frontier.left_behind(|_| true);
            assert_eq!(told, if by_chain { vec![day(0), day(2)] } else { vec![day(0), day(1), day(2)] });
            assert_eq!(frontier.restart(1), if by_chain { vec![day(2)] } else { vec![day(1), day(2)] });
            assert!(frontier.left_behind(|_| true).is_empty());
        }
    }
}
