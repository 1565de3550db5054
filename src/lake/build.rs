//! A table of a day becomes a finished file in the run's scratch: encoded, compared with what its slot holds, durable,
//! and read back.

use std::fs::File;
use std::io;

use rayon::prelude::*;
use serde_json::Map;
use tracing::warn;
use uuid::Uuid;

use super::assemble::SortedTable;
use super::encode::{Encoded, Label, encode};
use super::layout::LakePath;
use super::local::failed;
use super::present::Present;
use super::receipt::FileEntry;
use super::run::Run;
use super::slot;
use super::store::Store;
use super::transaction::Built;
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// A table's file, encoded and not yet durable.
struct Draft {
    label: Label,
    encoded: Encoded,
    file: File,
    staged: LakePath,
    entry: FileEntry,
    /// The file that stays in its place, because it holds the same.
    kept: Option<FileEntry>,
}

impl Run {
    /// The label of a file that this run makes.
    pub(super) fn label(&self, day: Day, observed_at: Timestamp) -> Label {
        Label { uuid: Uuid::new_v4(), day, run: self.id, observed_at, of: None }
    }

    /// Encodes all tables of a day into the run's scratch, on all processors. What a slot already holds stays there.
    pub(super) fn build_all(
        &self,
        present: &Present,
        tables: &[SortedTable<'_>],
        label: impl Fn() -> Label + Sync,
    ) -> Result<Vec<Built>> {
        let drafts = tables.par_iter().enumerate().map(|(index, table)| self.draft(present, index, table, label()));
        let mut drafts: Vec<Draft> = drafts.collect::<Result<_>>()?;
        // Not on a thread of rayon's: it may wait for a store.
        drafts.iter_mut().try_for_each(|draft| self.keep_intact(draft))?;
        drafts.into_par_iter().map(|draft| self.finish(draft)).collect()
    }

    /// Like [`Run::build_all`] for one table.
    pub(super) fn build(
        &self,
        present: &Present,
        index: usize,
        table: &SortedTable<'_>,
        label: Label,
    ) -> Result<Built> {
        let mut draft = self.draft(present, index, table, label)?;
        self.keep_intact(&mut draft)?;
        self.finish(draft)
    }

    fn draft(&self, present: &Present, index: usize, table: &SortedTable<'_>, label: Label) -> Result<Draft> {
        let spec = table.spec;
        let staged = LakePath::Staged(self.id, spec.name.clone(), label.day);
        let (encoded, file) = encode(self.scratch.create(&staged)?, table, &label)?;
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
        let same =
            |old: &&FileEntry| (&old.content, old.schema, old.rows) == (&entry.content, entry.schema, entry.rows);
        let kept = present.reusable(index, spec).filter(same).cloned();
        Ok(Draft { label, encoded, file, staged, entry, kept })
    }

    /// The file that would stay has to have the bytes that were written: a day that is fetched again is a day that is
    /// whole again, whatever befell its files.
    fn keep_intact(&self, draft: &mut Draft) -> Result<()> {
        let Some(kept) = &draft.kept else { return Ok(()) };
        let place = LakePath::Part(kept.table.clone(), draft.label.day);
        let file = self.lake.store.open(&place)?;
        if !file.is_some_and(|file| slot::hash(&file).is_ok_and(|hash| hash == kept.hash)) {
            warn!(file = %place, "a published file is damaged and is written again");
            draft.kept = None;
        }
        Ok(())
    }

    /// Makes what is to be swapped in durable, and reads it back.
    fn finish(&self, draft: Draft) -> Result<Built> {
        let (scratch, Draft { label, encoded, file, staged, entry, kept }) = (&self.scratch, draft);
        if let Some(kept) = kept {
            drop(file);
            scratch.remove(&staged)?;
            return Ok(Built { entry: kept, staged: None });
        }
        if matches!(self.lake.store, Store::Disk(_)) {
            // The very file is renamed into place; what is uploaded need not outlive this process.
            scratch.sync(&file, &staged)?;
        }
        drop(file);
        let written = scratch.open(&staged)?.ok_or_else(|| Error::storage(format!("`{staged}` is gone")))?;
        slot::verify(&written, &label, &encoded)
            .map_err(|e| failed("verify", &scratch.root().join(staged.to_string()), io::Error::other(e)))?;
        Ok(Built { entry, staged: Some(staged) })
    }
}
