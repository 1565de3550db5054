//! What is on disk for a day: its entry in the ledger, and the file in each table's slot.

use super::assemble::TableSpec;
use super::decide;
use super::encode::CONVERSATIONS;
use super::layout::LakePath;
use super::ledger::DayEntry;
use super::receipt::{FileEntry, Receipt};
use super::slot::read_label;
use super::store::Lake;
use crate::error::{Error, Result};
use crate::time::Day;
use uuid::Uuid;

/// A day as it is found. Two that are equal mean that nobody published the day in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) entry: DayEntry,
    /// One a table, in the order of the specifications.
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Absent,
    /// A file of convlake's.
    Labelled(Uuid),
    /// A file of the winning receipt's table that cannot be read any more.
    Damaged,
}

impl Present {
    /// Looks at `day`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when a partition holds a file that is not convlake's,
    /// [`crate::error::Kind::Config`] when the day has a table that this version does not know.
    pub(super) fn look(lake: &Lake, specs: &[TableSpec], day: Day) -> Result<Present> {
        let entry = lake.records.day(day)?;
        let mut files = entry.receipt.iter().flat_map(|w| &w.files);
        if let Some(unknown) = files.find(|file| specs.iter().all(|spec| spec.name != file.table)) {
            return Err(Error::config(format!(
                "the day has a table `{}` that this version does not know",
                unknown.table
            ))
            .hint("use the version that wrote it, or a later one: this one would leave that table as it is"));
        }
        let slots = specs.iter().map(|spec| slot(lake, spec, day, entry.receipt.as_ref())).collect::<Result<_>>()?;
        Ok(Present { entry, slots })
    }

    /// The winning receipt.
    pub(super) fn winner(&self) -> Option<&Receipt> {
        self.entry.receipt.as_ref()
    }

    /// What the winning receipt says of the table's file, when that very file is in the slot.
    pub(super) fn committed(&self, table: usize, spec: &TableSpec) -> Option<&FileEntry> {
        let file = self.winner()?.file(&spec.name)?;
        (self.slots.get(table) == Some(&Slot::Labelled(file.uuid))).then_some(file)
    }

    /// Whether every slot holds what the winning receipt says, and nothing else.
    pub(super) fn is_committed(&self, specs: &[TableSpec]) -> bool {
        let Some(winner) = self.winner() else { return false };
        let mut tables = specs.iter().enumerate();
        tables.all(|(table, spec)| match winner.file(&spec.name) {
            Some(_) => self.committed(table, spec).is_some(),
            None => self.slots.get(table) == Some(&Slot::Absent),
        })
    }

    /// Whether the day has, or should have, any file.
    pub(super) fn has_files(&self) -> bool {
        self.winner().is_some_and(|w| !w.files.is_empty()) || self.slots.iter().any(|slot| *slot != Slot::Absent)
    }
}

/// The table whose file says which conversations a day holds: `conversations`, or the first when that is not selected.
pub(super) fn table_of_ids(specs: &[TableSpec]) -> usize {
    specs.iter().position(|spec| spec.name.as_str() == CONVERSATIONS).unwrap_or(0)
}

fn slot(lake: &Lake, spec: &TableSpec, day: Day, winner: Option<&Receipt>) -> Result<Slot> {
    let (partition, part) = (LakePath::Partition(spec.name.clone(), day), LakePath::Part(spec.name.clone(), day));
    let own = format!("{}.parquet", spec.name);
    let names = lake.disk.list(&partition)?;
    if let Some(stranger) = names.iter().find(|name| name.ends_with(".parquet") && **name != own) {
        return Err(decide::foreign(&partition, stranger));
    }
    let Some(file) = lake.disk.open(&part)? else { return Ok(Slot::Absent) };
    match read_label(&file) {
        Ok(Some(label)) => Ok(Slot::Labelled(label.uuid)),
        // It had our name and our receipt, so it was ours; it is replaced like any other file that is not committed.
        _ if winner.is_some_and(|w| w.file(&spec.name).is_some()) => Ok(Slot::Damaged),
        _ => Err(decide::foreign(&partition, &own)),
    }
}
