//! What a lake holds, day by day, as its ledger tells. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layout::TableName;
use super::ledger::Ledger;
use super::receipt::State;
use crate::plan::Source;
use crate::time::{Day, Days, Interval, Timestamp};

/// The days of a lake, their sums and the gaps between them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// The first day that has a receipt.
    pub first: Option<Day>,
    /// The last one.
    pub last: Option<Day>,
    /// Everything together.
    pub totals: Totals,
    /// Days by state, `missing` among them.
    pub states: BTreeMap<&'static str, u64>,
    /// What each table has.
    pub tables: BTreeMap<TableName, Totals>,
    /// Days without a receipt between the first and the last.
    pub missing: Vec<Gap>,
    /// Days that are dirty: seen to have changed since, or short.
    pub dirty: Vec<Day>,
    /// Those that have not changed: the source counts more conversations than it sends.
    pub short: Vec<Day>,
    /// Every day that has a receipt, in order.
    pub days: Vec<HeldDay>,
}

/// Sums over days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Days; of a table, those that have a file.
    pub days: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Consecutive days without a receipt, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first of them.
    pub from: Day,
    /// The first day behind.
    pub to: Day,
    /// How many.
    pub days: u64,
}

/// One day that has a receipt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldDay {
    /// The day.
    pub date: Day,
    /// How final it is.
    pub state: State,
    /// How it was fetched.
    pub source: Source,
    /// The part of it that the files hold.
    pub covers: Interval,
    /// When the source was asked last.
    pub fetched_at: Timestamp,
    /// Conversations.
    pub conversations: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Coverage {
    /// What `ledger` says about `days`.
    pub fn of(ledger: &Ledger, days: &Days) -> Coverage {
        let mut coverage = Coverage {
            first: None,
            last: None,
            totals: Totals::default(),
            states: BTreeMap::new(),
            tables: BTreeMap::new(),
            missing: Vec::new(),
            dirty: Vec::new(),
            short: Vec::new(),
            days: Vec::new(),
        };
        for (day, entry) in ledger.days().filter(|(day, _)| days.contains(**day)) {
            let (Some(receipt), Some(state)) = (&entry.receipt, entry.state()) else { continue };
            let (mut rows, mut bytes) = (0, 0);
            for file in &receipt.files {
                coverage.tables.entry(file.table.clone()).or_default().add(file.rows, file.bytes);
                rows += file.rows;
                bytes += file.bytes;
            }
            coverage.totals.add(rows, bytes);
            *coverage.states.entry(state.name()).or_default() += 1;
            if let Some(last) = coverage.last.filter(|last| last.next() < *day) {
                coverage.missing.push(Gap::between(last.next(), *day));
            }
            coverage.first.get_or_insert(*day);
            coverage.last = Some(*day);
            coverage.dirty.extend((state == State::Dirty).then_some(*day));
            coverage.short.extend((state == State::Dirty && !entry.is_dirty()).then_some(*day));
            coverage.days.push(HeldDay {
                date: *day,
                state,
                source: receipt.source,
                covers: receipt.covers,
                fetched_at: receipt.observed_at,
                conversations: receipt.counts.conversations,
                rows,
                bytes,
            });
        }
        let missing = coverage.missing.iter().map(|gap| gap.days).sum();
        coverage.states.insert("missing", missing);
        coverage
    }

    /// Days that were seen to have changed since.
    pub fn changed(&self) -> Vec<Day> {
        self.dirty.iter().copied().filter(|day| self.short.binary_search(day).is_err()).collect()
    }

    /// Conversations of all days.
    pub fn conversations(&self) -> u64 {
        self.days.iter().map(|day| day.conversations).sum()
    }
}

impl Totals {
    fn add(&mut self, rows: u64, bytes: u64) {
        self.days += 1;
        self.rows += rows;
        self.bytes += bytes;
    }
}

impl Gap {
    fn between(from: Day, to: Day) -> Gap {
        let days = (to.date() - from.date()).num_days();
        Gap { from, to, days: u64::try_from(days).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::ledger::Record;
    use crate::lake::testing::{day, receipt};
    use proptest::prelude::*;

    fn ledger(days: impl IntoIterator<Item = Day>) -> Ledger {
        let receipts = days.into_iter().map(|day| receipt(&day.to_string(), "2025-06-01T00:00:00Z", 1)).collect();
        let mut ledger = Ledger::default();
        ledger.absorb(Record { receipts, ..Record::default() });
        ledger
    }

    proptest! {
        #[test]
        fn days_and_gaps_make_up_the_whole(held in proptest::collection::btree_set(0i64..60, 0..30), from in 0i64..60, length in 0i64..60) {
            let day = |n: i64| day("2025-01-15").plus(n);
            let days = Days { from: Some(day(from)), to: Some(day(from + length)) };
            let coverage = Coverage::of(&ledger(held.iter().map(|n| day(*n))), &days);
            let wanted: Vec<Day> = held.iter().map(|n| day(*n)).filter(|day| days.contains(*day)).collect();
            prop_assert_eq!(&coverage.days.iter().map(|held| held.date).collect::<Vec<_>>(), &wanted);
            let mut all = wanted.clone();
            for gap in &coverage.missing {
                let mut day = gap.from;
                for _ in 0..gap.days {
                    all.push(day);
                    day = day.next();
                }
                prop_assert_eq!(day, gap.to);
            }
            all.sort_unstable();
            let span = wanted.first().zip(wanted.last()).map_or(0, |(first, last)| (last.date() - first.date()).num_days() + 1);
            prop_assert_eq!(all.len() as i64, span);
            all.dedup();
            prop_assert_eq!(all.len() as i64, span);
            prop_assert_eq!(coverage.states.values().sum::<u64>() as i64, span);
            prop_assert_eq!(coverage.totals.rows, 3 * wanted.len() as u64);
        }
    }
}
