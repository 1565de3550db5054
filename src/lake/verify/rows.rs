//! The rows of a file, one after the other: whether they belong there, by the two columns that place them.

use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use super::finding::Damage;
use crate::lake::encode::{ID, START};
use crate::lake::receipt::id_hash;
use crate::time::Day;

/// What is wrong with rows, and the hashes of the ids if these rows are conversations.
pub(super) type Scanned = (Vec<(Damage, String)>, Option<Vec<u128>>);

/// How many rows are wrong in one way, and which is the first.
#[derive(Default)]
struct Tally {
    count: u64,
    first: u64,
}

impl Tally {
    fn add(&mut self, row: u64) {
        if self.count == 0 {
            self.first = row;
        }
        self.count += 1;
    }

    fn told(&self, damage: Damage, what: &str) -> Option<(Damage, String)> {
        let told = || (damage, format!("{} rows {what}; the first is row {}", self.count, self.first));
        (self.count > 0).then(told)
    }
}

/// The rows of a file, one after the other.
pub(super) struct Scan<'a> {
    day: Range<i64>,
    parents: Option<&'a [u128]>,
    /// Whether a row is a conversation.
    conversations: bool,
    rows: u64,
    last_start: i64,
    last_id: String,
    /// Whether the last row's conversation is among the parents.
    last_is_known: bool,
    ids: Vec<u128>,
    elsewhere: Tally,
    unordered: Tally,
    orphans: Tally,
}

impl<'a> Scan<'a> {
    /// The rows of a file of `day`; `parents` are the hashes of the ids of its conversations, sorted, when they are known.
    pub(super) fn new(day: Day, parents: Option<&'a [u128]>, conversations: bool) -> Scan<'a> {
        let interval = day.interval();
        Scan {
            day: interval.from().timestamp_micros()..interval.to().timestamp_micros(),
            parents,
            conversations,
            rows: 0,
            last_start: i64::MIN,
            last_id: String::new(),
            last_is_known: false,
            ids: Vec::new(),
            elsewhere: Tally::default(),
            unordered: Tally::default(),
            orphans: Tally::default(),
        }
    }

    /// The next rows; `false` when their keys are of other types.
    #[must_use]
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> bool {
        let column = |name| batch.column_by_name(name);
        let starts = column(START).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let ids = column(ID).and_then(|c| c.as_string_opt::<i32>());
        let (Some(starts), Some(ids)) = (starts, ids) else { return false };
        for (start, id) in starts.iter().zip(ids) {
            // Without a start or an id it is nowhere; the schema allows neither.
            self.row(start.unwrap_or(i64::MIN), id.unwrap_or_default());
        }
        true
    }

    fn row(&mut self, start: i64, id: &str) {
        let row = self.rows;
        self.rows += 1;
        if !self.day.contains(&start) {
            self.elsewhere.add(row);
        }
        if (self.last_start, self.last_id.as_str()) > (start, id) {
            self.unordered.add(row);
        }
        // The children of a conversation stand together, so most ids are those of the row before.
        if row == 0 || self.last_id != id {
            let hash = id_hash(id);
            self.last_is_known = self.parents.is_none_or(|parents| parents.binary_search(&hash).is_ok());
            self.ids.extend(self.conversations.then_some(hash));
            id.clone_into(&mut self.last_id);
        }
        self.last_start = start;
        if !self.last_is_known {
            self.orphans.add(row);
        }
    }

    /// Hashes are sorted, each there once.
    pub(super) fn finish(mut self) -> Scanned {
        self.ids.sort_unstable();
        self.ids.dedup();
        let repeated = self.rows - self.ids.len() as u64;
        let mut found = Vec::new();
        found.extend(self.elsewhere.told(Damage::OtherDay, "start on another day"));
        found.extend(self.unordered.told(Damage::Order, "come before the row that they stand behind"));
        found.extend(self.orphans.told(Damage::Orphan, "have no conversation in the same day"));
        if self.conversations && repeated > 0 {
            found.push((Damage::Duplicate, format!("{repeated} rows repeat a conversation of the same day")));
        }
        (found, self.conversations.then_some(self.ids))
    }
}
