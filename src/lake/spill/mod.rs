//! Rows that do not fit the memory wait on disk, day by day, as sorted runs.
//!
//! ```text
//! batches of a day ─sort─▶ run ─┐
//!                        run ─┼─merge─▶ run, or the day's files
//! ```
//! A run holds the records of a day by (conversation start, conversation id, position), every version of them: which
//! one counts is for the day to say when all of it is there. It is a list of *blocks*, of keys and of each table's rows,
//! small enough that many runs can be read side by side. Whatever the runs, the day that they make is the one that its
//! batches would have made.

mod file;
mod run;

use std::path::Path;
use std::sync::Arc;

use file::TempFile;
pub use run::SortedRun;
pub(super) use run::{KeyBlock, RunTable};
use tracing::debug;

use super::day_rows::DayRows;
use crate::error::Result;
use crate::memory::Memory;

/// Runs of a day that are merged into one as soon as there are so many of the same level. Reading a day takes one
/// block of each of its runs, and there are less than this of any level.
const FAN_IN: usize = 32;

/// A place for rows on disk. The file has no name in its folder, so it is gone when the last run in it is, or the
/// process ends.
#[derive(Clone, Debug)]
pub struct Spill {
    file: Arc<TempFile>,
}

impl Spill {
    /// An empty file in `folder`. What is read back from it counts in `memory`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be made.
    pub fn new(folder: &Path, memory: &Memory) -> Result<Spill> {
        Ok(Spill { file: Arc::new(TempFile::new(folder, memory)?) })
    }

    /// Moves the batches of a day to disk.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be written, [`crate::error::Kind::Bug`] when they do not fit
    /// together. Then the day's rows are lost.
    pub fn spill(&self, rows: &mut DayRows) -> Result<()> {
        let batches = DayRows::from(std::mem::take(&mut rows.batches));
        rows.runs.extend(SortedRun::write(&self.file, &batches, 0)?);
        if let Some(batch) = batches.batches.first() {
            debug!(day = %batch.day, bytes = rows.held.bytes(), "rows went to disk");
        }
        drop(batches);
        rows.held.set(0);
        self.merge(rows)
    }

    /// Makes one run of the last ones while there are too many of their level.
    fn merge(&self, rows: &mut DayRows) -> Result<()> {
        while let Some(level) = rows.runs.last().map(SortedRun::level) {
            let same = rows.runs.iter().rev().take_while(|run| run.level() == level).count();
            if same < FAN_IN {
                break;
            }
            let runs = rows.runs.split_off(rows.runs.len() - same);
            let merged = SortedRun::write(&self.file, &DayRows { runs, ..DayRows::default() }, level + 1)?;
            rows.runs.extend(merged);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
