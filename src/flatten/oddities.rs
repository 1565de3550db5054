//! What the report says about values that are not where they were meant to be, or not as they came: counts by name.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts by name, never with a value. What does not look like a name is counted as `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Oddities {
    /// Fields that the schema does not know (`sessions.someNewField`), second values of a column, and metrics without a
    /// column (`sessions.metrics.tNew`).
    pub unknown: BTreeMap<String, u64>,
    /// Fields that the schema knows, with a value of another type: the column is NULL, and the value is in `extra`.
    pub wrong_type: BTreeMap<String, u64>,
    /// Columns that are NULL in a row because the sum of a metric has more than 64 bits; the emissions are rows of
    /// `metrics`.
    pub overflowed: BTreeMap<String, u64>,
    /// Columns with texts in which half a character (an unpaired surrogate) became U+FFFD.
    pub replaced: BTreeMap<String, u64>,
}

impl Oddities {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Oddities) {
        for (into, from) in [
            (&mut self.unknown, &other.unknown),
            (&mut self.wrong_type, &other.wrong_type),
            (&mut self.overflowed, &other.overflowed),
            (&mut self.replaced, &other.replaced),
        ] {
            for (name, count) in from {
                *into.entry(name.clone()).or_default() += count;
            }
        }
    }
}

/// Which of [`Oddities`] something is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Unknown,
    WrongType,
    Overflowed,
    Replaced,
}

/// The notes of a page. Those of a record count only once the record is known to be good.
#[derive(Debug, Default)]
pub(super) struct Noted {
    counts: Oddities,
    /// Of the record that is being read.
    fresh: Vec<(Oddity, String)>,
}

impl Noted {
    /// Counts field `name` at `place`. A name that does not look like one may be data, and is not repeated.
    pub(super) fn field(&mut self, note: Oddity, place: &str, name: &[u8]) {
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name)).unwrap_or("?");
        self.fresh.push((note, format!("{place}.{name}")));
    }

    /// Counts the column of this name.
    pub(super) fn column(&mut self, note: Oddity, name: &str) {
        self.fresh.push((note, name.to_owned()));
    }

    /// The record is good.
    pub(super) fn keep(&mut self) {
        for (note, name) in self.fresh.drain(..) {
            let counts = match note {
                Oddity::Unknown => &mut self.counts.unknown,
                Oddity::WrongType => &mut self.counts.wrong_type,
                Oddity::Overflowed => &mut self.counts.overflowed,
                Oddity::Replaced => &mut self.counts.replaced,
            };
            *counts.entry(name).or_default() += 1;
        }
    }

    /// The record is not.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
    }

    /// All counts so far, which begin anew.
    pub(super) fn take(&mut self) -> Oddities {
        std::mem::take(&mut self.counts)
    }
}

/// Whether the name of a field looks like one of the API's, and not like data.
pub fn is_name(name: &str) -> bool {
    const NAME_MAX: usize = 64;
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
