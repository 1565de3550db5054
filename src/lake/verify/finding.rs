//! What can be wrong with a lake, and what repairs it.

use serde::Serialize;

use crate::lake::layout::{Dataset, LakePath, TableName};
use crate::time::Day;

/// What is wrong. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// A record of the ledger cannot be read.
    Record,
    /// What a receipt says contradicts itself.
    Receipt,
    /// A file that a receipt names is not there.
    Missing,
    /// The file is not the one that the receipt names: an older or a newer one of convlake's.
    Uncommitted,
    /// The bytes of a file are not those that were written.
    Bytes,
    /// The columns of a file are not those of its table.
    Columns,
    /// A file has more or fewer rows than its receipt says.
    Rows,
    /// Rows stand in the partition of another day.
    OtherDay,
    /// Rows are not in their order.
    Order,
    /// A conversation is there more than once.
    Duplicate,
    /// Rows have no conversation in the same day.
    Orphan,
    /// A file of convlake's that no receipt names.
    Unrecorded,
    /// A file that is not convlake's.
    Foreign,
    /// The source has more or fewer conversations.
    Source,
}

impl Damage {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Damage::Record => "record",
            Damage::Receipt => "receipt",
            Damage::Missing => "missing",
            Damage::Uncommitted => "uncommitted",
            Damage::Bytes => "bytes",
            Damage::Columns => "columns",
            Damage::Rows => "rows",
            Damage::OtherDay => "other_day",
            Damage::Order => "order",
            Damage::Duplicate => "duplicate",
            Damage::Orphan => "orphan",
            Damage::Unrecorded => "unrecorded",
            Damage::Foreign => "foreign",
            Damage::Source => "source",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The day that it is about, where that is known.
    pub day: Option<Day>,
    /// What was published with it.
    pub dataset: Dataset,
    /// The table, where it is about one.
    pub table: Option<TableName>,
    /// The path of the file below the lake's root, where it is about one.
    pub file: Option<String>,
    /// What is wrong.
    pub damage: Damage,
    /// The same in words, with figures.
    pub what: String,
}

/// What repairs a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair<'a> {
    /// Take this file out of the lake.
    MoveAway(&'a str),
    /// Export this day again.
    Export(Day),
    /// Take the snapshot of this table again, to stand for this day.
    Snapshot(&'a TableName, Day),
}

impl Finding {
    /// About the file of a day's table.
    pub fn of_part(dataset: Dataset, table: &TableName, day: Day, damage: Damage, what: String) -> Finding {
        let file = LakePath::Part(table.clone(), day).to_string();
        Finding { day: Some(day), dataset, table: Some(table.clone()), file: Some(file), damage, what }
    }

    /// About a day of conversations as a whole.
    pub fn of_day(day: Day, damage: Damage, what: String) -> Finding {
        Finding { day: Some(day), dataset: Dataset::Conversations, table: None, file: None, damage, what }
    }

    /// What to do about it: what convlake wrote it writes again, and what it did not write is not its to remove.
    pub fn repair(&self) -> Option<Repair<'_>> {
        if matches!(self.damage, Damage::Foreign | Damage::Record) {
            return self.file.as_deref().map(Repair::MoveAway);
        }
        match (self.dataset, &self.table) {
            (Dataset::Conversations, _) => self.day.map(Repair::Export),
            (_, table) => Some(Repair::Snapshot(table.as_ref()?, self.day?)),
        }
    }
}
