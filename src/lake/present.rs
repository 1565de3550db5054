//! What is stored of a day: its entry in the ledger, and the file in each table's slot.

use std::sync::Arc;

use super::assemble::TableSpec;
use super::bucket::Expected;
use super::decide;
use super::encode::{CONVERSATIONS, Label};
use super::forgotten::Forgotten;
use super::layout::{LakePath, RunId, TableName};
use super::ledger::DayEntry;
use super::order::Order;
use super::receipt::{FileEntry, Receipt};
use super::run::Run;
use super::slot::read_label;
use super::store::Object;
use crate::error::{Error, Result};
use crate::time::Day;

/// A day as it is found. Two that are equal mean that nobody published the day in between, and that nothing more is to
/// be left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) entry: DayEntry,
    /// What must not be in its files.
    pub(super) forgotten: Arc<Forgotten>,
    /// One a table, in the order of the specifications.
    slots: Vec<Slot>,
    /// Whether an older run may still write to the slots: no file stays, because it could be replaced behind our back.
    fenced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    found: Found,
    /// What has to be in the slot when it is replaced.
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Absent,
    /// A file of convlake's.
    Labelled(Label),
    /// A file of the winning receipt's table that cannot be read any more.
    Damaged,
}

impl Present {
    /// Looks at `day`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when a partition holds a file that is not convlake's,
    /// [`crate::error::Kind::Config`] when the day has a table that this version does not know.
    pub(super) fn look(run: &Run, day: Day, fenced: bool) -> Result<Present> {
        let (store, specs) = (&run.lake.store, &run.specs);
        let forgotten = run.forgotten()?;
        let entry = run.records().day(day)?;
        let mut files = entry.receipt.iter().flat_map(|w| &w.files);
        if let Some(unknown) = files.find(|file| specs.iter().all(|spec| spec.name != file.table)) {
            return Err(Error::config(format!(
                "the day has a table `{}` that this version does not know",
                unknown.table
            ))
            .hint("use the version that wrote it, or a later one: this one would leave that table as it is"));
        }
        let places =
            |spec: &TableSpec| (LakePath::Partition(spec.name.clone(), day), LakePath::Part(spec.name.clone(), day));
        let opened = store.open_slots(&specs.iter().map(places).collect::<Vec<_>>())?;
        let slots = specs
            .iter()
            .zip(opened)
            .map(|(spec, (names, file))| slot(&spec.name, day, entry.receipt.as_ref(), &names, file));
        Ok(Present { slots: slots.collect::<Result<_>>()?, entry, forgotten, fenced })
    }

    /// The winning receipt.
    pub(super) fn winner(&self) -> Option<&Receipt> {
        self.entry.receipt.as_ref()
    }

    /// What the winning receipt says of the table's file, when that very file is in the slot.
    pub(super) fn stored(&self, table: usize, spec: &TableSpec) -> Option<&FileEntry> {
        let file = self.winner()?.file(&spec.name)?;
        self.label(table).is_some_and(|label| label.uuid == file.uuid).then_some(file)
    }

    /// The same, and the label of the file in the slot, when that is made of it: somebody took rows out of the day and
    /// did not come to the receipt.
    pub(super) fn origin(&self, table: usize, spec: &TableSpec) -> Option<(&FileEntry, &Label)> {
        let (file, label) = (self.winner()?.file(&spec.name)?, self.label(table)?);
        (label.uuid == file.uuid || label.of == Some(file.uuid)).then_some((file, label))
    }

    /// The first, when that file may stay there.
    pub(super) fn reusable(&self, table: usize, spec: &TableSpec) -> Option<&FileEntry> {
        self.stored(table, spec).filter(|_| !self.fenced)
    }

    /// Whether every slot holds what the winning receipt says, and nothing else.
    pub(super) fn is_committed(&self, specs: &[TableSpec]) -> bool {
        self.holds(specs, |table, spec| self.stored(table, spec).is_some())
    }

    /// The same of what is made of it.
    pub(super) fn is_amended(&self, specs: &[TableSpec]) -> bool {
        self.holds(specs, |table, spec| self.origin(table, spec).is_some())
    }

    fn holds(&self, specs: &[TableSpec], is_there: impl Fn(usize, &TableSpec) -> bool) -> bool {
        let Some(winner) = self.winner() else { return false };
        let mut tables = specs.iter().enumerate();
        tables.all(|(table, spec)| match winner.file(&spec.name) {
            Some(_) => is_there(table, spec),
            None => !self.is_taken(table),
        })
    }

    /// The label of the file in the table's slot.
    pub(super) fn label(&self, table: usize) -> Option<&Label> {
        match &self.slots.get(table)?.found {
            Found::Labelled(label) => Some(label),
            Found::Absent | Found::Damaged => None,
        }
    }

    /// The states of the day that the files in its slots are of.
    fn written(&self) -> impl Iterator<Item = Order> {
        (0..self.slots.len()).filter_map(|table| self.label(table)).map(|label| label.order)
    }

    /// The newest state that somebody wrote to a slot, when it is newer than `own` and than what is recorded.
    pub(super) fn unrecorded(&self, own: &Order) -> Option<Order> {
        let recorded = self.winner().map(Receipt::order);
        self.written().max().filter(|written| written > own && recorded.is_none_or(|recorded| *written > recorded))
    }

    /// The state that `writer` makes of the winning one: newer than it, and than what others have made of it so far.
    pub(super) fn successor(&self, winner: &Receipt, writer: RunId) -> Order {
        let winner = winner.order();
        let made_of_it = self.written().filter(|written| written.is_of_same_observation(&winner));
        made_of_it.fold(winner, Order::max).revised(writer)
    }

    /// Whether the table's slot holds a file.
    pub(super) fn is_taken(&self, table: usize) -> bool {
        self.slots.get(table).is_some_and(|slot| slot.found != Found::Absent)
    }

    /// Whether any slot holds a file.
    pub(super) fn is_taken_somewhere(&self) -> bool {
        (0..self.slots.len()).any(|table| self.is_taken(table))
    }

    /// What has to be in the table's slot when it is replaced.
    pub(super) fn expected(&self, table: usize) -> Expected {
        self.slots.get(table).map_or(Expected::Nothing, |slot| slot.expected.clone())
    }

    /// Whether the day has, should have, or may get any file.
    pub(super) fn has_files(&self) -> bool {
        self.fenced || self.is_taken_somewhere() || self.winner().is_some_and(|w| !w.files.is_empty())
    }
}

/// The table whose file says which conversations a day holds: `conversations`, or the first when that is not selected.
pub(super) fn table_of_ids(specs: &[TableSpec]) -> usize {
    specs.iter().position(|spec| spec.name.as_str() == CONVERSATIONS).unwrap_or(0)
}

fn slot(table: &TableName, day: Day, winner: Option<&Receipt>, names: &[String], file: Option<Object>) -> Result<Slot> {
    let partition = LakePath::Partition(table.clone(), day);
    let own = format!("{table}.parquet");
    if let Some(stranger) = names.iter().find(|name| name.ends_with(".parquet") && **name != own) {
        return Err(decide::foreign(&partition, stranger));
    }
    let expected = Object::expected(file.as_ref());
    let found = match file.as_ref().map(read_label) {
        None => Found::Absent,
        Some(Ok(Some(label))) => Found::Labelled(label),
        // It had our name and our receipt, so it was ours; it is replaced like any other file that is not committed.
        Some(_) if winner.is_some_and(|w| w.file(table).is_some()) => Found::Damaged,
        Some(_) => return Err(decide::foreign(&partition, &own)),
    };
    Ok(Slot { found, expected })
}
