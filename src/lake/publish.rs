//! Publishing: the observation of a day becomes its files and its receipt, whole or not at all.
//!
//! ```text
//! look ─▶ assemble ─▶ encode, compare ─▶ sync, verify ─▶ lock ─▶ look again ─▶ swap in ─▶ sync folders ─▶ receipt
//! ```
//! Until the receipt is durable the day is what it was, or *not committed*: a file that is not its receipt's is
//! treated as absent and written again by the next run. That is the whole of recovery. Child tables are swapped in
//! first and `conversations` last, so that a conversation that is seen has its children.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Map;
use tracing::{debug, warn};
use uuid::Uuid;

use super::assemble::{Assembled, SortedTable, assemble};
use super::decide::{self, Shrink};
use super::encode::{Label, encode, hex};
use super::layout::{LakePath, Month, RecordName, RunId};
use super::ledger::Record;
use super::local::failed;
use super::present::{Present, table_of_ids};
use super::receipt::{Counts, FileEntry, Receipt, VERSION, id_hash};
use super::slot;
use super::store::{Committing, Run};
use crate::error::{Context, Error, Result};
use crate::flatten::batch::DayBatch;
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp};

/// How often a day is prepared without the lock, and again because another run published it meanwhile. After that it
/// is prepared under the lock: slower for the others, but it ends.
const FREE_ATTEMPTS: usize = 3;

/// Everything the source said about one day.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The day. All of it was fetched, whatever part was asked for.
    pub day: Day,
    /// Its records, in any order of arrival; positions are unique.
    pub batches: Vec<DayBatch>,
    /// The part that was asked for; what reaches beyond the day is ignored.
    pub asked: Interval,
    /// How it was fetched.
    pub source: Source,
    /// Up to where the source promised to be complete; `None` when it promises nothing, and such a day never settles.
    pub availability: Option<Timestamp>,
    /// When the source was asked.
    pub observed_at: Timestamp,
    /// Days that end here or earlier are older than the lookback.
    pub settled_before: Timestamp,
    /// Records that the fetch returned for days that it does not own.
    pub out_of_window: u64,
    /// Records that were set aside.
    pub quarantined: u64,
    /// Hashes (see [`id_hash`]) of conversations that this run saw on another day, or that were forgotten on purpose:
    /// they may vanish from this one.
    pub moved: Arc<HashSet<u128>>,
    /// Whether `batches` already holds a second fetch of the day.
    pub confirmed: bool,
    /// Whether the operator asked for this protocol, whatever is lost.
    pub force_protocol: bool,
    /// Whether the operator said that conversations may vanish.
    pub allow_vanished: bool,
}

/// How publishing ended, when nothing went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The day has new files and this receipt.
    Published(Receipt),
    /// The files already held these records. The receipt is new if what it says about them is.
    Unchanged(Receipt),
    /// The files stay although this observation is newer.
    Kept {
        /// Why.
        reason: &'static str,
    },
    /// A newer observation is already published.
    Superseded {
        /// The run that made it.
        by: RunId,
    },
    /// Conversations are gone: fetch the day again and publish both fetches together as `confirmed`.
    NeedsConfirmation {
        /// How many.
        vanished: usize,
    },
}

/// One table's file, encoded.
struct Candidate<'a> {
    entry: FileEntry,
    /// Where it waits to be swapped in; `None` when the slot already holds its content.
    staged: Option<LakePath>,
    table: &'a SortedTable<'a>,
}

impl Run {
    /// Publishes a day. Blocks: call it from a thread that may, and not from one of rayon's, which could take up
    /// another day while this one waits for its tables, and wait for itself.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when too many conversations vanished, or a file in the day's partitions is not
    /// convlake's; [`crate::error::Kind::Config`] when the day was written by a later version;
    /// [`crate::error::Kind::Storage`]; [`crate::error::Kind::Later`] when another process keeps the lake's lock.
    /// Whatever the error, the day is as it was or is exported again by the next run.
    pub fn publish(&self, observation: &Observation) -> Result<Outcome> {
        self.try_publish(observation).context(|| format!("day {}", observation.day))
    }

    fn try_publish(&self, observation: &Observation) -> Result<Outcome> {
        for _ in 0..FREE_ATTEMPTS {
            if let Some(outcome) = self.attempt(observation, None)? {
                return Ok(outcome);
            }
            debug!(day = %observation.day, "another run published the day meanwhile");
        }
        let committing = self.lake.committing()?;
        let outcome = self.attempt(observation, Some(committing))?;
        outcome.ok_or_else(|| Error::storage("its files change under the lake's lock").hint(
            "something else than convlake writes to the lake, or its file system has no working locks: end it, run again",
        ))
    }

    /// `None` when the day changed under our hands, which nobody does who respects the lock.
    fn attempt(&self, observation: &Observation, committing: Option<Committing<'_>>) -> Result<Option<Outcome>> {
        let present = Present::look(&self.lake, &self.specs, observation.day)?;
        if let Some(winner) = present.winner() {
            if winner.order() > (observation.observed_at, self.id) {
                return Ok(Some(Outcome::Superseded { by: winner.run }));
            }
            let reason = decide::reason_to_keep(winner, observation.source, observation.force_protocol);
            if let (Some(reason), true) = (reason, present.is_committed(&self.specs)) {
                return Ok(Some(Outcome::Kept { reason }));
            }
        }
        let covers = decide::hull(observation.day, &observation.asked, present.winner())?;
        let assembled = assemble(&self.specs, &observation.batches, &covers)?;
        let has_files = !assembled.ids.is_empty() || present.has_files();
        let candidates: Vec<Candidate<'_>> = if has_files {
            let tables = assembled.tables.par_iter().enumerate();
            tables.map(|(index, table)| self.stage(observation, &present, index, table)).collect::<Result<_>>()?
        } else {
            Vec::new()
        };

        let ids = table_of_ids(&self.specs);
        let (mut vanished, mut before) = (Vec::new(), 0);
        if candidates.get(ids).is_some_and(|c| c.staged.is_some()) {
            let Some(found) = self.vanished(observation, &present, &assembled)? else { return Ok(None) };
            (vanished, before) = found;
        }
        match decide::shrink(vanished.len(), before, observation.confirmed, observation.allow_vanished) {
            Shrink::Accepted => {}
            Shrink::Unconfirmed => return Ok(Some(Outcome::NeedsConfirmation { vanished: vanished.len() })),
            Shrink::Refused => return Err(decide::shrink_refused(vanished.len(), before)),
        }
        let receipt = self.receipt(observation, &assembled, covers, &candidates, &vanished);
        self.commit(&present, candidates, receipt, committing)
    }

    /// Encodes one table. What the slot already holds is not made durable again.
    fn stage<'a>(
        &self,
        observation: &Observation,
        present: &Present,
        index: usize,
        table: &'a SortedTable<'a>,
    ) -> Result<Candidate<'a>> {
        let (disk, spec, day) = (&self.lake.disk, table.spec, observation.day);
        let label = Label { uuid: Uuid::new_v4(), day, run: self.id, observed_at: observation.observed_at };
        let staged = LakePath::Staged(self.id, spec.name.clone(), day);
        let (encoded, file) = encode(disk.create(&staged)?, table, &label)?;
        if let Some(entry) = present.committed(index, spec)
            && (&entry.content, entry.schema, entry.rows) == (&encoded.content, spec.version, encoded.rows)
        {
            drop(file);
            disk.remove(&staged)?;
            return Ok(Candidate { entry: entry.clone(), staged: None, table });
        }
        disk.sync(&file, &staged)?;
        drop(file);
        let written = disk.open(&staged)?.ok_or_else(|| Error::storage(format!("`{staged}` is gone")))?;
        slot::verify(written, &label, &encoded)
            .map_err(|e| failed("verify", &disk.root().join(staged.to_string()), e))?;
        let entry = FileEntry {
            table: spec.name.clone(),
            path: LakePath::Part(spec.name.clone(), day).to_string(),
            uuid: label.uuid,
            rows: encoded.rows,
            bytes: encoded.bytes,
            schema: spec.version,
            content: encoded.content,
            hash: encoded.hash,
            other: Map::new(),
        };
        Ok(Candidate { entry, staged: Some(staged), table })
    }

    /// The conversations that are in the day's committed files and not in the new ones, and how many those hold.
    /// `None` when the file is not the one that was looked at any more.
    fn vanished(
        &self,
        observation: &Observation,
        present: &Present,
        assembled: &Assembled<'_>,
    ) -> Result<Option<(Vec<u128>, usize)>> {
        let table = table_of_ids(&self.specs);
        let spec = &self.specs[table];
        let Some(committed) = present.committed(table, spec) else { return Ok(Some((Vec::new(), 0))) };
        let place = LakePath::Part(spec.name.clone(), observation.day);
        let Some(file) = self.lake.disk.open(&place)? else { return Ok(None) };
        let before: BTreeSet<u128> = match slot::read_ids(file, committed.uuid) {
            Ok(None) => return Ok(None),
            Ok(Some(ids)) => ids.into_iter().collect(),
            Err(e) => {
                warn!(file = %place, cause = %e, "a published file cannot be read and is written again");
                return Ok(Some((Vec::new(), 0)));
            }
        };
        let now: HashSet<u128> = assembled.ids.iter().map(|id| id_hash(id)).collect();
        let gone = before.iter().filter(|id| !now.contains(id) && !observation.moved.contains(id));
        Ok(Some((gone.copied().collect(), before.len())))
    }

    fn receipt(
        &self,
        observation: &Observation,
        assembled: &Assembled<'_>,
        covers: Interval,
        candidates: &[Candidate<'_>],
        vanished: &[u128],
    ) -> Receipt {
        let Observation { day, availability, .. } = *observation;
        let has_files = !candidates.is_empty();
        Receipt {
            version: VERSION,
            day,
            run: self.id,
            observed_at: observation.observed_at,
            recorded_at: self.clock.now(),
            covers,
            state: decide::state(day, &covers, has_files, availability, observation.settled_before),
            source: observation.source,
            availability,
            counts: Counts {
                records: assembled.records,
                conversations: assembled.ids.len() as u64,
                duplicates: assembled.duplicates,
                outside: assembled.outside,
                out_of_window: observation.out_of_window,
                quarantined: observation.quarantined,
                vanished: vanished.len() as u64,
            },
            vanished: vanished.iter().map(|id| hex(*id)).collect(),
            files: candidates.iter().map(|c| c.entry.clone()).collect(),
            other: Map::new(),
        }
    }

    /// Swaps the files in and records them; `None` when the day is not `present` any more.
    fn commit(
        &self,
        present: &Present,
        candidates: Vec<Candidate<'_>>,
        mut receipt: Receipt,
        committing: Option<Committing<'_>>,
    ) -> Result<Option<Outcome>> {
        let (lake, day) = (&self.lake, receipt.day);
        let mut changed: Vec<(LakePath, &Candidate<'_>)> =
            candidates.iter().filter_map(|c| Some((c.staged.clone()?, c))).collect();
        let same = changed.is_empty();
        if let (true, Some(winner)) = (same, present.winner()) {
            if says_the_same(&receipt, winner) && !present.entry.is_dirty() {
                return Ok(Some(Outcome::Unchanged(winner.clone())));
            }
            // The files are those of the winner, so what it says of their making stays.
            receipt.counts.vanished = winner.counts.vanished;
            receipt.vanished.clone_from(&winner.vanished);
        }
        // Stable, so only the table that is looked for first moves to the end.
        let last = &self.specs[table_of_ids(&self.specs)].name;
        changed.sort_by_key(|(_, c)| c.table.spec.name == *last);
        let partition = |c: &Candidate<'_>| LakePath::Partition(c.table.spec.name.clone(), day);
        changed.iter().try_for_each(|(_, c)| lake.disk.create_folder(&partition(c)))?;

        let _committing = committing.map_or_else(|| lake.committing(), Ok)?;
        if Present::look(lake, &self.specs, day)? != *present {
            return Ok(None);
        }
        for (staged, c) in &changed {
            let part = LakePath::Part(c.table.spec.name.clone(), day);
            lake.disk.rename(staged, &part)?;
            debug!(%part, rows = c.entry.rows, "swapped in");
        }
        changed.par_iter().try_for_each(|(_, c)| lake.disk.sync_folder(&partition(c)))?;
        let json = Record { receipts: vec![receipt.clone()], dirty: Vec::new() }.to_json()?;
        let hash = xxhash_rust::xxh3::xxh3_128(&json);
        let name = RecordName::receipt(day, receipt.observed_at, self.id, hash);
        lake.records.append(self.id, Month::of(day), name, &json)?;
        debug!(%day, files = changed.len(), "recorded");
        let unchanged = same && present.winner().is_some();
        Ok(Some(if unchanged { Outcome::Unchanged(receipt) } else { Outcome::Published(receipt) }))
    }
}

/// Whether a receipt would tell a reader nothing new. A promise counts by what it means for the day: the date itself
/// moves with every run.
fn says_the_same(new: &Receipt, old: &Receipt) -> bool {
    (&new.files, new.covers, new.state, new.source, new.is_promised())
        == (&old.files, old.covers, old.state, old.source, old.is_promised())
}

#[cfg(test)]
mod tests;
