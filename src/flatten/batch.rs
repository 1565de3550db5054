//! What flattening hands to the lake: rows by owner day, and the records that could not become rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::oddities::Oddities;
use super::rows::Rows;
use crate::time::Day;

/// Where a record stood in its source. Ordered: of two versions of a conversation the later position wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Ordinal of the page chain within its observation (a slice, a part of a bisected slice, an input file).
    pub chain: u32,
    /// Page number within the chain, from 1; of an input file the number of the document.
    pub page: u32,
    /// Place on the page, from 0.
    pub index: u32,
}

/// What identifies and orders one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKey {
    /// `conversation_start` in microseconds since the Unix epoch.
    pub start: i64,
    /// `conversation_id`, as the API sent it.
    pub id: Box<str>,
    /// Where it stood.
    pub position: Position,
}

/// The rows of one table for all records of a [`DayBatch`].
#[derive(Clone, Debug)]
pub struct TableRows {
    /// Columns in schema order.
    pub rows: Arc<Rows>,
    /// Rows `offsets[i]..offsets[i + 1]` belong to record `i`; one more entry than there are records.
    pub offsets: Vec<u32>,
}

/// Records that one UTC day owns, flattened. They stand in the order in which they were read, duplicates included.
#[derive(Clone, Debug)]
pub struct DayBatch {
    /// The owner: the UTC day of every record's `conversation_start`.
    pub day: Day,
    /// One entry a record.
    pub keys: Vec<RecordKey>,
    /// One entry a table of the catalog, in its order.
    pub tables: Vec<TableRows>,
}

impl DayBatch {
    /// Memory held by the columns and keys, in bytes.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.tables.iter().map(|t| t.rows.bytes() + t.offsets.len() * 4).sum();
        rows + self.keys.iter().map(|k| k.id.len() + size_of::<RecordKey>()).sum::<usize>()
    }
}

/// Why a record went to quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BadReason {
    /// Not valid JSON, or not valid UTF-8.
    NotJson,
    /// Nested deeper than [`crate::flatten`] reads.
    TooDeep,
    /// Valid JSON, but not an object.
    NotObject,
    /// No `conversationId` (`conversation_id`) that is a non-empty string.
    NoId,
    /// More bytes than an answer may have: never received, and kept by reference.
    TooLarge,
    /// No `conversationStart`, nor another field that the schema takes for it, that is a timestamp.
    NoStart,
    /// Objects of it were written as texts, such as `"@{…}"`, by a tool that writes only so deep.
    DepthCut,
}

impl BadReason {
    /// Its name in quarantine files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            BadReason::NotJson => "not_json",
            BadReason::TooDeep => "too_deep",
            BadReason::NotObject => "not_object",
            BadReason::NoId => "no_id",
            BadReason::TooLarge => "too_large",
            BadReason::NoStart => "no_start",
            BadReason::DepthCut => "depth_cut",
        }
    }
}

/// A record that could not become rows, kept as it came.
#[derive(Clone, Debug)]
pub struct BadRecord {
    /// Where it stood.
    pub position: Position,
    /// Why it is here.
    pub reason: BadReason,
    /// Its bytes as they came.
    pub raw: Bytes,
}

/// Everything one page became. Every record of the page is in exactly one place:
/// `records = Σ days.keys + bad`.
#[derive(Clone, Debug, Default)]
pub struct FlatPage {
    /// Rows by owner day, days ascending.
    pub days: Vec<DayBatch>,
    /// Records set aside.
    pub bad: Vec<BadRecord>,
    /// See [`PageRead::oddities`].
    pub oddities: Oddities,
}

/// What was on a page beside the rows that went into a sheet.
#[derive(Clone, Debug, Default)]
pub struct PageRead {
    /// Its records; each is in the sheet, unwanted, or bad.
    pub records: u64,
    /// The days of those in the sheet.
    pub days: BTreeSet<Day>,
    /// Records of days that are not wanted, by their place on the page.
    pub unwanted: Vec<(Day, u32)>,
    /// Records set aside.
    pub bad: Vec<BadRecord>,
    /// Values that are not where they were meant to be, or not as they came.
    pub oddities: Oddities,
}
