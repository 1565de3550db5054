//! Records of quarantine, read once more with today's schemas. Those that can be read now join their day: what the lake
//! holds of it and they are published together, as one more state of the same observation.
//!
//! A day that the lake does not hold stays away: a few records are not a day. What the day holds already wins when it
//! is of a newer observation than the record.

use std::collections::{BTreeMap, HashSet};

use super::super::assemble::assemble;
use super::super::day_rows::DayRows;
use super::super::layout::RunId;
use super::super::order::Order;
use super::super::present::{Present, table_of_ids};
use super::super::publish::Outcome;
use super::super::receipt::{Receipt, State};
use super::super::run::Run;
use super::super::stored::{self, Stored};
use super::super::transaction::Step;
use super::super::versions::Rule;
use super::kept::{Kept, Record, records};
use crate::error::{Context, Error, Kind, Result};
use crate::flatten::Flattener;
use crate::flatten::batch::DayBatch;
use crate::time::Day;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is in its day now.
    Joined,
    /// The day holds a newer version of its conversation: removed.
    Superseded,
    /// Its conversation is to be forgotten: removed.
    Forgotten,
    /// Its day has expired: removed.
    Expired,
    /// It still cannot be read.
    Unreadable,
    /// It can be read, and the lake does not hold the part of the day that it is of.
    NoDay,
    /// It can be read, and its day has to be exported anew first: it is not whole, or of an earlier schema.
    OldDay,
    /// It can be read, and another run publishes its day, or its day failed.
    Later,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Fate; 8] = [
        Fate::Joined,
        Fate::Superseded,
        Fate::Forgotten,
        Fate::Expired,
        Fate::Unreadable,
        Fate::NoDay,
        Fate::OldDay,
        Fate::Later,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Joined => "joined",
            Fate::Superseded => "superseded",
            Fate::Forgotten => "forgotten",
            Fate::Expired => "expired",
            Fate::Unreadable => "unreadable",
            Fate::NoDay => "no_day",
            Fate::OldDay => "old_day",
            Fate::Later => "later",
        }
    }

    /// Whether the record leaves quarantine.
    pub const fn is_done(self) -> bool {
        matches!(self, Fate::Joined | Fate::Superseded | Fate::Forgotten | Fate::Expired)
    }
}

/// What a retry did.
#[derive(Debug, Default)]
pub struct Retried {
    /// Records by fate.
    pub fates: BTreeMap<Fate, u64>,
    /// Days that records joined.
    pub days: Vec<Day>,
    /// What kept a day from being published.
    pub failed: Vec<Error>,
}

/// A record that can be read now.
struct Readable {
    /// Its place among all records of quarantine.
    record: usize,
    run: RunId,
    /// The generation of the observation that it was found by.
    generation: u64,
    batch: DayBatch,
}

impl Run {
    /// Reads everything in quarantine again. Blocks; not on one of rayon's threads.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`]; what went wrong with one day is in [`Retried::failed`], and its records stay.
    pub fn retry_quarantine(&self, flattener: &Flattener) -> Result<Retried> {
        let mut files: Vec<(Kept, Vec<Record>)> = Vec::new();
        for kept in self.lake.quarantined()? {
            if let Kept::Records(..) = kept
                && let Some(content) = self.lake.store.read(&kept.place())?
            {
                files.push((kept, records(&content)));
            }
        }
        let all: Vec<&Record> = files.iter().flat_map(|(_, records)| records).collect();
        let mut fates = vec![Fate::Unreadable; all.len()];
        let mut retried = Retried::default();
        for (day, readable) in read_again(&all, flattener)? {
            let outcome = self.join(day, &readable).context(|| format!("day {day}"));
            let (outcome, error) = match outcome {
                Ok(outcome) => (outcome, None),
                Err(error) if error.kind() == Kind::Bug => return Err(error),
                Err(error) => (vec![Fate::Later; readable.len()], Some(error)),
            };
            retried.failed.extend(error);
            retried.days.extend(outcome.contains(&Fate::Joined).then_some(day));
            readable.iter().zip(outcome).for_each(|(readable, fate)| fates[readable.record] = fate);
        }
        let quarantine = self.quarantine();
        let mut rest = fates.as_slice();
        for (kept, records) in &files {
            let (own, others) = rest.split_at(records.len());
            rest = others;
            own.iter().for_each(|fate| *retried.fates.entry(*fate).or_default() += 1);
            if own.iter().any(|fate| fate.is_done()) {
                let staying = records.iter().zip(own).filter(|(_, fate)| !fate.is_done());
                let lines = staying.flat_map(|(record, _)| record.line.iter().copied().chain([b'\n'])).collect();
                quarantine.replace(&kept.place(), lines)?;
            }
        }
        Ok(retried)
    }

    /// Lets `readable` records join their day, and says what became of each.
    fn join(&self, day: Day, readable: &[Readable]) -> Result<Vec<Fate>> {
        let Some(winner) = self.records().day(day)?.receipt else { return Ok(vec![Fate::NoDay; readable.len()]) };
        let mut fates = Vec::new();
        let joined = winner.order();
        let outcome = self.transact(day, joined.revised(self.id), |present| {
            if let Some(newer) = present.winner().map(Receipt::order).filter(|o| !o.is_of_same_observation(&joined)) {
                // Others go by what was claimed.
                return Ok(Step::End(Outcome::Superseded { by: newer }));
            }
            let (step, found) = self.prepare_join(day, readable, present)?;
            fates = found;
            Ok(step)
        })?;
        Ok(match outcome {
            Outcome::Superseded { .. } | Outcome::NeedsWhole | Outcome::NeedsConfirmation { .. } => {
                vec![Fate::Later; readable.len()]
            }
            Outcome::Published(_) | Outcome::Unchanged(_) | Outcome::Kept { .. } => fates,
        })
    }

    fn prepare_join(&self, day: Day, readable: &[Readable], present: &Present) -> Result<(Step, Vec<Fate>)> {
        let nothing = |fate| (Step::nothing(), vec![fate; readable.len()]);
        let Some(winner) = present.winner() else { return Ok(nothing(Fate::NoDay)) };
        if winner.is_expired() {
            return Ok(nothing(Fate::Expired));
        }
        let Some(stored) = self.stored_tables(day, present)? else { return Ok(nothing(Fate::OldDay)) };
        let mut batches =
            if stored.is_empty() { Vec::new() } else { stored::batches(day, &stored, table_of_ids(&self.specs))? };
        let held: HashSet<&str> = batches.iter().flat_map(|batch| &batch.keys).map(|key| &*key.id).collect();
        let fate = |readable: &Readable| match readable.batch.keys.first() {
            None => Fate::Unreadable,
            Some(key) if present.forgotten.contains(&key.id) => Fate::Forgotten,
            Some(key) if !covers(winner, key.start) => Fate::NoDay,
            Some(key) if held.contains(&*key.id) && is_older(readable, winner) => Fate::Superseded,
            Some(_) => Fate::Joined,
        };
        let fates: Vec<Fate> = readable.iter().map(fate).collect();
        let joining = readable.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Joined);
        let before = batches.len();
        batches.extend(joining.map(|(readable, _)| readable.batch.clone()));
        let joined = (batches.len() - before) as u64;
        if joined == 0 {
            return Ok((Step::nothing(), fates));
        }

        let rows = DayRows::from(batches);
        let rule = if winner.merged { Rule::Content } else { Rule::Position };
        let assembled = assemble(&self.specs, &rows, &winner.covers, &present.forgotten, rule)?;
        let order = present.successor(winner, self.id);
        let drafts = self.draft_all(&assembled.tables, || self.label(day, order, winner.observed_at))?;
        let files = self.settle(present, &drafts)?;
        let mut receipt = self.amended(winner, order, &files);
        receipt.counts.records += joined;
        receipt.counts.duplicates += assembled.duplicates;
        receipt.counts.conversations = assembled.conversations;
        if receipt.state == State::Empty {
            receipt.state = State::Provisional;
        }
        Ok((Step::Commit(files, receipt), fates))
    }

    /// The tables of a day, in the order of the run's; none of a day without files, and `None` when they are not what
    /// the receipt says, or have other columns than today's.
    fn stored_tables(&self, day: Day, present: &Present) -> Result<Option<Vec<Stored>>> {
        if !present.is_committed(&self.specs) {
            return Ok(None);
        }
        let mut tables = Vec::new();
        for (table, spec) in self.specs.iter().enumerate() {
            let Some(entry) = present.stored(table, spec) else { continue };
            let read = self.read_stored(day, entry.uuid, spec, |_| true)?;
            match read.fit(spec) {
                Some(fitting) => tables.push(fitting),
                None => return Ok(None),
            }
        }
        Ok((tables.is_empty() || tables.len() == self.specs.len()).then_some(tables))
    }
}

fn covers(receipt: &Receipt, start: i64) -> bool {
    chrono::DateTime::from_timestamp_micros(start).is_some_and(|start| receipt.covers.contains(start))
}

/// Whether a record was not found by a newer observation than the receipt is of: then the version that the day holds
/// stays. Of two that know no generation the clocks of that time decide.
fn is_older(record: &Readable, receipt: &Receipt) -> bool {
    let Some(began) = record.run.began() else { return true };
    let found = Order::observed(record.generation, began, record.run);
    found <= receipt.order()
}

/// The records that can be read now, by day. Of two versions of a conversation the one that was found later stands
/// later.
fn read_again(all: &[&Record], flattener: &Flattener) -> Result<BTreeMap<Day, Vec<Readable>>> {
    let mut order: Vec<_> = all.iter().enumerate().filter_map(|(n, r)| Some((n, r.said.as_ref()?))).collect();
    order.sort_by_key(|(_, said)| (said.generation, said.run, said.chain, said.page, said.index));
    let mut days: BTreeMap<Day, Vec<Readable>> = BTreeMap::new();
    for (chain, (record, said)) in (1..).zip(order) {
        // Chain 0 is what the day holds already.
        let page = flattener.flatten(chain, said.page, said.raw().into_iter())?;
        for batch in page.days {
            days.entry(batch.day).or_default().push(Readable {
                record,
                run: said.run,
                generation: said.generation,
                batch,
            });
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests;
