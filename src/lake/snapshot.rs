//! A snapshot: a dimension as the source listed it, which becomes one day of one table.
//!
//! It is built, verified, swapped in and receipted like a day of conversations. What is different: a list is complete
//! by itself, so what is gone from it is gone, and a day has a file even when the list is empty.

use serde_json::Map;

use super::assemble::assemble;
use super::day_rows::DayRows;
use super::order::Order;
use super::present::Present;
use super::publish::{Outcome, unpublished};
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
    /// The generation of what was listed, see [`Run::next_generation`].
    pub generation: u64,
    /// When the source was asked.
    pub observed_at: Timestamp,
    /// By how many seconds its clock was ahead of this run's, when that was too much.
    pub clock_skew: Option<i64>,
    /// Entities that were set aside.
    pub quarantined: u64,
}

impl Snapshot {
    fn order(&self, run: &Run) -> Order {
        Order::observed(self.generation, self.observed_at, run.id)
    }
}

impl Run {
    /// Publishes a snapshot of the run's only table; of two snapshots of a day the newer one stays. Blocks, like
    /// [`Run::publish`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when a file in the partition is not convlake's, otherwise those of
    /// [`Run::publish`].
    pub fn snapshot(&self, snapshot: &Snapshot) -> Result<Outcome> {
        let prepare = |present: &Present| self.prepare_snapshot(snapshot, present);
        let outcome = self.transact(snapshot.day, snapshot.order(self), prepare);
        let outcome = outcome.and_then(|outcome| match outcome {
            Outcome::Superseded { by } if self.records().day(snapshot.day)?.receipt.is_none() => Err(unpublished(by)),
            outcome => Ok(outcome),
        });
        outcome.context(|| format!("snapshot of {}", snapshot.day))
    }

    fn prepare_snapshot(&self, snapshot: &Snapshot, present: &Present) -> Result<Step> {
        let Snapshot { day, generation, observed_at, clock_skew, quarantined, ref rows } = *snapshot;
        let order = snapshot.order(self);
        if let Some(winner) = present.winner()
            && winner.order() > order
            && present.is_committed(&self.specs)
        {
            return Ok(Step::End(Outcome::Superseded { by: winner.order() }));
        }
        let assembled = assemble(&self.specs, rows, &day.interval(), &present.forgotten, Rule::Position)?;
        let [table] = assembled.tables.as_slice() else {
            return Err(Error::bug(format!("a snapshot is one table, not {}", assembled.tables.len())));
        };
        let file = self.build(present, 0, table, self.label(day, order, observed_at))?;
        let receipt = Receipt {
            version: VERSION,
            day,
            era: 0,
            run: self.id,
            generation,
            observer: None,
            revision: 0,
            observed_at,
            clock_skew,
            recorded_at: self.clock.now(),
            covers: day.interval(),
            state: match clock_skew {
                None if day.interval().to() <= observed_at => State::Settled,
                _ => State::Provisional,
            },
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
