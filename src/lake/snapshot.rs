//! A snapshot: a dimension as the source listed it, which becomes one day of one table.
//!
//! It is built, verified, swapped in and receipted like a day of conversations. What is different: a list is complete
//! by itself, so what is gone from it is gone, and a day has a file even when the list is empty.

use serde_json::Map;

use super::assemble::assemble;
use super::day_rows::DayRows;
use super::present::Present;
use super::publish::Outcome;
use super::receipt::{Counts, Receipt, State, VERSION};
use super::run::Run;
use super::transaction::Step;
use super::versions::Rule;
use crate::error::{Context, Error, Result};
use crate::plan::Source;
use crate::time::{Day, Timestamp};

/// What the source listed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The day that it stands for.
    pub day: Day,
    /// Its rows, in any order; positions are unique.
    pub rows: DayRows,
    /// When the source was asked.
    pub observed_at: Timestamp,
    /// Entities that were set aside.
    pub quarantined: u64,
}

impl Run {
    /// Publishes a snapshot of the run's only table; of two snapshots of a day the later one stays. Blocks, like
    /// [`Run::publish`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when a file in the partition is not convlake's, otherwise those of
    /// [`Run::publish`].
    pub fn snapshot(&self, snapshot: &Snapshot) -> Result<Outcome> {
        let prepare = |present: &Present| self.prepare_snapshot(snapshot, present);
        self.transact(snapshot.day, snapshot.observed_at, prepare).context(|| format!("snapshot of {}", snapshot.day))
    }

    fn prepare_snapshot(&self, snapshot: &Snapshot, present: &Present) -> Result<Step> {
        let Snapshot { day, observed_at, quarantined, ref rows } = *snapshot;
        if let Some(winner) = present.winner()
            && winner.order() > (observed_at, self.id)
        {
            return Ok(Step::End(Outcome::Superseded { by: winner.run }));
        }
        let assembled = assemble(&self.specs, rows, &day.interval(), &present.forgotten, Rule::Position)?;
        let [table] = assembled.tables.as_slice() else {
            return Err(Error::bug(format!("a snapshot is one table, not {}", assembled.tables.len())));
        };
        let file = self.build(present, 0, table, self.label(day, observed_at))?;
        let receipt = Receipt {
            version: VERSION,
            day,
            era: 0,
            run: self.id,
            observed_at,
            recorded_at: self.clock.now(),
            covers: day.interval(),
            state: if observed_at < day.interval().to() { State::Provisional } else { State::Settled },
            source: Source::List,
            // What is listed is complete at that moment, so a day that was over by then is settled.
            availability: Some(observed_at),
            counts: Counts {
                records: assembled.records,
                duplicates: assembled.duplicates,
                quarantined,
                ..Counts::default()
            },
            vanished: Vec::new(),
            files: vec![file.entry.clone()],
            merged: false,
            other: Map::new(),
        };
        Ok(Step::Commit(vec![file], receipt))
    }
}

#[cfg(test)]
mod tests;
