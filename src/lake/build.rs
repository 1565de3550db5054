//! A table of a day becomes a finished file in the run's scratch: encoded, compared with what its slot holds, durable,
//! and read back.

use std::fs::File;
use std::io;

use rayon::prelude::*;
use serde_json::Map;
use tracing::warn;
use uuid::Uuid;

use super::assemble::{SortedTable, TableSpec};
use super::encode::{Encoded, Known, Label, encode};
use super::layout::LakePath;
use super::local::failed;
use super::order::Order;
use super::present::Present;
use super::receipt::FileEntry;
use super::run::Run;
use super::slot;
use super::store::Store;
use super::together::together;
use super::transaction::Built;
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// A table's file, encoded in the run's scratch. Nothing is decided about it.
#[derive(Debug)]
pub(super) struct Draft {
    /// The table's place among the specifications.
    table: usize,
    pub(super) label: Label,
    pub(super) entry: FileEntry,
    pub(super) staged: LakePath,
    encoded: Encoded,
    /// Open while it is not durable.
    file: Option<File>,
}

impl Draft {
    /// Whether `old` is a file with the same content.
    fn is_same(&self, old: &FileEntry) -> bool {
        self.entry.is_same(old)
    }

    /// Whether the file that is published holds the same.
    pub(super) fn is_published(&self, present: &Present, specs: &[TableSpec]) -> bool {
        let published = specs.get(self.table).and_then(|spec| present.stored(self.table, spec));
        published.is_some_and(|old| self.is_same(old))
    }
}

impl Run {
    /// The label of a file that this run makes for the state `order` of the day.
    pub(super) fn label(&self, day: Day, order: Order, observed_at: Timestamp) -> Label {
        Label { uuid: Uuid::new_v4(), day, order, observed_at, of: None }
    }

    /// Encodes all tables of a day into the run's scratch: on all processors, but one after the other when they are
    /// read back from disk, because a row group of each is in memory then.
    pub(super) fn draft_all(&self, tables: &[SortedTable<'_>], label: impl Fn() -> Label + Sync) -> Result<Vec<Draft>> {
        let known = Known::default();
        let draft = |(index, table): (usize, &SortedTable<'_>)| self.draft(index, table, label(), &known);
        if tables.iter().any(SortedTable::is_on_disk) {
            tables.iter().enumerate().map(draft).collect()
        } else {
            tables.par_iter().enumerate().map(draft).collect()
        }
    }

    fn draft(&self, index: usize, table: &SortedTable<'_>, label: Label, known: &Known) -> Result<Draft> {
        let spec = table.spec;
        let staged = LakePath::Staged(self.id, spec.name.clone(), label.day, label.uuid);
        let (encoded, file) = encode(self.scratch.create(&staged)?, spec, table.pieces(), &label, known)?;
        let entry = FileEntry {
            table: spec.name.clone(),
            path: LakePath::Part(spec.name.clone(), label.day).to_string(),
            uuid: label.uuid,
            rows: encoded.rows,
            bytes: encoded.bytes,
            schema: spec.version,
            content: encoded.content.clone(),
            hash: encoded.hash.clone(),
            other: Map::new(),
        };
        Ok(Draft { table: index, label, entry, staged, encoded, file: Some(file) })
    }

    /// Makes every draft durable and reads it back.
    pub(super) fn secure_all(&self, drafts: &mut [Draft]) -> Result<()> {
        together(drafts, |draft| self.secure_one(draft))?;
        drafts.iter_mut().for_each(|draft| draft.file = None);
        Ok(())
    }

    /// Decides what is to be swapped in: what a slot already holds stays there, the rest is durable after this.
    pub(super) fn settle(&self, present: &Present, drafts: &[Draft]) -> Result<Vec<Built>> {
        // Not on a thread of rayon's: it may wait for a store.
        let kept = drafts.iter().map(|draft| self.kept(present, draft)).collect::<Result<Vec<_>>>()?;
        let new: Vec<&Draft> =
            drafts.iter().zip(&kept).filter_map(|(draft, kept)| kept.is_none().then_some(draft)).collect();
        together(&new, |draft| self.secure_one(draft))?;
        let settled = drafts.iter().zip(kept).map(|(draft, kept)| match kept {
            Some(entry) => Built { entry, staged: None },
            None => Built { entry: draft.entry.clone(), staged: Some(draft.staged.clone()) },
        });
        Ok(settled.collect())
    }

    /// Encodes one table and decides.
    pub(super) fn build(
        &self,
        present: &Present,
        index: usize,
        table: &SortedTable<'_>,
        label: Label,
    ) -> Result<Built> {
        let drafts = [self.draft(index, table, label, &Known::default())?];
        self.settle(present, &drafts)?.pop().ok_or_else(|| Error::bug("a draft is not settled"))
    }

    /// Removes what was not swapped in.
    pub(super) fn discard(&self, drafts: &[Draft]) -> Result<()> {
        drafts.iter().try_for_each(|draft| match self.scratch.open(&draft.staged)? {
            Some(_) => self.scratch.remove(&draft.staged),
            None => Ok(()),
        })
    }

    /// The file that stays in its place because it holds the same. It has to have the bytes that were written: a day
    /// that is fetched again is a day that is whole again, whatever befell its files.
    fn kept(&self, present: &Present, draft: &Draft) -> Result<Option<FileEntry>> {
        let spec = self.specs.get(draft.table).ok_or_else(|| Error::bug("a draft of no table"))?;
        let Some(old) = present.reusable(draft.table, spec).filter(|old| draft.is_same(old)) else { return Ok(None) };
        let place = LakePath::Part(old.table.clone(), draft.label.day);
        let file = self.lake.store.open(&place)?;
        if file.is_some_and(|file| slot::hash(&file).is_ok_and(|hash| hash == old.hash)) {
            return Ok(Some(old.clone()));
        }
        warn!(file = %place, "a published file is damaged and is written again");
        Ok(None)
    }

    /// Makes what is to be swapped in durable, and reads it back.
    fn secure_one(&self, draft: &Draft) -> Result<()> {
        let (scratch, Some(file)) = (&self.scratch, &draft.file) else { return Ok(()) };
        let staged = &draft.staged;
        if matches!(self.lake.store, Store::Disk(_)) {
            // The very file is renamed into place; what is uploaded need not outlive this process.
            scratch.sync(file, staged)?;
        }
        let written = scratch.open(staged)?.ok_or_else(|| Error::storage(format!("`{staged}` is gone")))?;
        slot::verify(&written, &draft.label, &draft.encoded)
            .map_err(|e| failed("verify", &scratch.root().join(staged.to_string()), io::Error::other(e)))
    }
}
