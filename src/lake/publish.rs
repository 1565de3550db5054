//! Publishing: the observation of a day becomes its files and its receipt.
//!
//! ```text
//! draft: assemble, encode ─▶ compare with what is there ─▶ sync, verify ─▶ has anything vanished? ─▶ commit
//! ```
//! This is the preparing; how it is committed is `transaction`'s.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::slice;
use std::sync::Arc;

use serde_json::Map;
use tracing::warn;

use super::day_rows::DayRows;
use super::decide::{self, Shrink};
use super::draft::Drafted;
use super::encode::hex;
use super::expire;
use super::layout::LakePath;
use super::order::Order;
use super::present::{Present, table_of_ids};
use super::receipt::{Counts, Receipt, Shortage, VERSION, id_hash};
use super::run::Run;
use super::slot;
use super::store::Store;
use super::transaction::{Built, Change, Step};
use crate::error::{Context, Error, Result};
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp};

/// Days that are published together at most: other processes wait as long as they are swapped in.
const TOGETHER_MAX: usize = 32;

/// Everything the source said about one day.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The day.
    pub day: Day,
    /// Its records, in any order of arrival; positions are unique.
    pub rows: DayRows,
    /// What was drafted of the day before these came, which stand behind it.
    pub drafted: Option<Arc<Drafted>>,
    /// The part that was asked for; what reaches beyond the day is ignored.
    pub asked: Interval,
    /// What was fetched: all of the day, or a part that holds the one that was asked for.
    pub fetched: Interval,
    /// Records among `rows` that a second fetch brought: of those the source has sent none twice for that.
    pub refetched: u64,
    /// How it was fetched.
    pub source: Source,
    /// Up to where the source promised to be complete; `None` when it promises nothing, and such a day never settles.
    pub availability: Option<Timestamp>,
    /// Its generation, see [`Run::next_generation`]: taken before the source was asked.
    pub generation: u64,
    /// When the source was asked. It is shown, and orders nothing.
    pub observed_at: Timestamp,
    /// By how many seconds the source's clock was ahead of this run's, when that was too much: then no day is final.
    pub clock_skew: Option<i64>,
    /// Days that end here or earlier are older than the lookback.
    pub settled_before: Timestamp,
    /// Records that the fetch returned for days that it does not own.
    pub out_of_window: u64,
    /// Records that were set aside.
    pub quarantined: u64,
    /// What the source counts and did not send, where there is such; which of the days of a fetch lack it is not known.
    pub shortage: Option<Shortage>,
    /// Hashes (see [`id_hash`]) of conversations that this run saw on another day: they may vanish from this one.
    pub moved: Arc<HashSet<u128>>,
    /// Whether `rows` already hold a second fetch of the day.
    pub confirmed: bool,
    /// Whether the operator asked for this protocol, whatever is lost.
    pub force_protocol: bool,
    /// Whether the operator said that conversations may vanish.
    pub allow_vanished: bool,
}

impl Observation {
    /// Its place among the states of the day, when `run` publishes it.
    fn order(&self, run: &Run) -> Order {
        Order::observed(self.generation, self.observed_at, run.id)
    }

    /// Whether the day of `receipt` holds the part that was asked for.
    fn is_covered_by(&self, receipt: &Receipt) -> bool {
        self.asked.intersection(&self.day.interval()).is_none_or(|asked| receipt.covers.covers(&asked))
    }

    /// Whether `drafted` was there before this was looked at.
    fn came_with(&self, drafted: &Arc<Drafted>) -> bool {
        self.drafted.as_ref().is_some_and(|before| Arc::ptr_eq(before, drafted))
    }
}

/// How publishing ended, when nothing went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The day has new files and this receipt.
    Published(Receipt),
    /// The files already held these records; the receipt says that they were looked at.
    Unchanged(Receipt),
    /// The files stay although this observation is newer.
    Kept {
        /// Why.
        reason: &'static str,
    },
    /// A newer observation is published, or about to be. If this one says anything else, the day is marked to be fetched
    /// again: which of two runs at the same time knows more is not known.
    Superseded {
        /// The newer state.
        by: Order,
    },
    /// The lake holds more of the day by now than was fetched: fetch all of it.
    NeedsWhole,
    /// Conversations are gone: fetch the day again and publish both fetches together as `confirmed`.
    NeedsConfirmation {
        /// How many.
        vanished: usize,
    },
}

impl Run {
    /// How many days are best published in one call: on a disk they share the waiting, in a bucket they share nothing.
    pub fn together_max(&self) -> usize {
        match self.lake.store {
            Store::Disk(_) => TOGETHER_MAX,
            Store::Bucket(_) => 1,
        }
    }

    /// Publishes days, and says how each ended. Blocks: call it from a thread that may, and not from one of rayon's,
    /// which could take up another day while this one waits for its tables, and wait for itself.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when too many conversations vanished, or a file in the day's partitions is not
    /// convlake's; [`crate::error::Kind::Config`] when the day was written by a later version;
    /// [`crate::error::Kind::Storage`]; [`crate::error::Kind::Later`] when another process keeps the lake's lock.
    /// Whatever the error, the day is as it was or is exported again by the next run.
    pub fn publish_all(&self, observations: &[Observation]) -> Vec<Result<Outcome>> {
        let usable = |observation: &Observation| observation.drafted.clone().filter(|_| observation.rows.is_empty());
        let mut drafts: Vec<Option<Arc<Drafted>>> = observations.iter().map(usable).collect();
        let changes = observations.iter().zip(&mut drafts).map(|(day, drafted)| self.change(day, drafted)).collect();
        let outcomes = self.transact_all(changes);
        let ended = observations.iter().zip(drafts).zip(outcomes).map(|((observation, drafted), outcome)| {
            let outcome = match outcome {
                Ok(Outcome::Superseded { by }) => self.give_way(observation, drafted.as_deref(), by),
                outcome => outcome,
            };
            let made = drafted.filter(|drafted| !observation.came_with(drafted));
            // A day in doubt comes again, with what it came with and a second fetch.
            let is_done = !matches!(outcome, Ok(Outcome::NeedsConfirmation { .. } | Outcome::NeedsWhole));
            let mut spent = made.iter().chain(observation.drafted.iter().filter(|_| is_done));
            let discarded = spent.try_for_each(|drafted| self.discard_draft(drafted));
            discarded.and(outcome).context(|| format!("day {}", observation.day))
        });
        ended.collect()
    }

    fn change<'a>(&'a self, observation: &'a Observation, drafted: &'a mut Option<Arc<Drafted>>) -> Change<'a> {
        let prepare = Box::new(|present: &Present| self.prepare(observation, present, drafted));
        Change { day: observation.day, order: Some(observation.order(self)), builds_on: false, prepare }
    }

    /// Leaves the day to the state `by`. Nobody knows which of two observations at the same time is newer at the source,
    /// and whoever has not published yet may have died: so the day is fetched again, unless this one says the same.
    fn give_way(&self, observation: &Observation, drafted: Option<&Drafted>, by: Order) -> Result<Outcome> {
        let day = observation.day;
        let entry = self.records().day(day)?;
        if !entry.receipt.as_ref().is_some_and(|receipt| receipt.is_expired() || observation.is_covered_by(receipt)) {
            return Err(unpublished(by));
        }
        let is_known = entry.receipt.as_ref().is_some_and(|receipt| {
            receipt.is_expired() || receipt.order() >= by && drafted.is_some_and(|drafted| drafted.is_what(receipt))
        });
        if !is_known {
            let generation = entry.generation().max(by.generation());
            self.mark(&[(day, (entry.era(), generation))].into(), self.clock.now())?;
        }
        Ok(Outcome::Superseded { by })
    }

    /// Publishes one day.
    ///
    /// # Errors
    /// Like [`Run::publish_all`].
    pub fn publish(&self, observation: &Observation) -> Result<Outcome> {
        self.publish_all(slice::from_ref(observation)).pop().ok_or_else(|| Error::bug("a day has no outcome"))?
    }

    /// `drafted` is what the day was drafted as before.
    pub(super) fn prepare(
        &self,
        observation: &Observation,
        present: &Present,
        drafted: &mut Option<Arc<Drafted>>,
    ) -> Result<Step> {
        if let Some(winner) = present.winner() {
            if winner.is_expired() {
                self.clear(observation.day, present)?;
                return Ok(Step::End(Outcome::Kept { reason: expire::EXPIRED }));
            }
            // A day whose files are not those of its receipt is repaired by whoever finds it, and one of which the newer
            // observation is only another part is fetched as a whole.
            let is_newer = winner.order() > observation.order(self);
            if is_newer && present.is_committed(&self.specs) && observation.is_covered_by(winner) {
                return Ok(Step::End(Outcome::Superseded { by: winner.order() }));
            }
            let reason = decide::reason_to_keep(
                winner,
                observation.source,
                observation.availability,
                observation.force_protocol,
            );
            if let (Some(reason), true) = (reason, present.is_committed(&self.specs)) {
                return Ok(Step::End(Outcome::Kept { reason }));
            }
        }
        let covers = decide::hull(observation.day, &observation.asked, present.winner())?;
        if !observation.fetched.covers(&covers) {
            return Ok(Step::End(Outcome::NeedsWhole));
        }
        let drafted = match drafted {
            Some(drafted) if drafted.holds(&covers, &present.forgotten, present.has_files()) => drafted,
            stale => {
                if let Some(made) = stale.take().filter(|made| !observation.came_with(made)) {
                    self.discard_draft(&made)?;
                }
                let Observation { day, generation, observed_at, .. } = *observation;
                let rows = match &observation.drafted {
                    None => Cow::Borrowed(&observation.rows),
                    Some(before) => {
                        let mut rows = DayRows::from(self.undraft(before)?);
                        rows.extend(observation.rows.clone());
                        Cow::Owned(rows)
                    }
                };
                let without = Arc::clone(&present.forgotten);
                let seen = (generation, observed_at);
                let mut drafted = self.drafted(day, &rows, covers, without, seen, present.has_files())?;
                if let Some(before) = &observation.drafted {
                    drafted.count_in(before);
                }
                stale.insert(Arc::new(drafted))
            }
        };
        let files = self.settle(present, &drafted.files)?;

        let (mut vanished, mut before) = (Vec::new(), 0);
        if files.get(table_of_ids(&self.specs)).is_some_and(|file| file.staged.is_some()) {
            (vanished, before) = self.vanished(observation, present, drafted)?;
        }
        match decide::shrink(vanished.len(), before, observation.confirmed, observation.allow_vanished) {
            Shrink::Accepted => {}
            Shrink::Unconfirmed => {
                return Ok(Step::Shrunk(Ok(Outcome::NeedsConfirmation { vanished: vanished.len() })));
            }
            Shrink::Refused => return Ok(Step::Shrunk(Err(decide::shrink_refused(vanished.len(), before)))),
        }
        let mut receipt = self.receipt(observation, drafted, covers, &files, &vanished);
        let known = present.winner().and_then(|winner| winner.counts.shortage);
        receipt.counts.shortage = observation.shortage.map(|shortage| shortage.after(known));
        if let (Some(winner), true) = (present.winner(), files.iter().all(|file| file.staged.is_none())) {
            // The files are those of the winner, so what it says of their making stays.
            receipt.counts.vanished = winner.counts.vanished;
            receipt.vanished.clone_from(&winner.vanished);
        }
        Ok(Step::Commit(files, receipt))
    }

    /// The conversations that are in the day's files and not in the new ones, and how many those hold. Files that a run
    /// left which died before its receipt count as well: readers have seen them. But not while the day is known in
    /// part only: such a run may have asked for another part.
    fn vanished(&self, observation: &Observation, present: &Present, drafted: &Drafted) -> Result<(Vec<u128>, usize)> {
        let index = table_of_ids(&self.specs);
        let table = &self.specs[index].name;
        let label = present.label(index).filter(|label| label.day == observation.day);
        let (Some(winner), Some(label)) = (present.winner(), label) else { return Ok((Vec::new(), 0)) };
        if !winner.is_whole() && winner.file(table).is_none_or(|file| file.uuid != label.uuid) {
            return Ok((Vec::new(), 0));
        }
        let place = LakePath::Part(table.clone(), observation.day);
        let Some(file) = self.lake.store.open(&place)? else { return Ok((Vec::new(), 0)) };
        let staying = |id: &str| (!present.forgotten.contains(id)).then(|| id_hash(id));
        let before: BTreeSet<u128> = match slot::read_ids(file, label.uuid, staying) {
            // Another run's file by now: then the commit finds the slot changed, and all of this is done again.
            Ok(None) => return Ok((Vec::new(), 0)),
            Ok(Some(ids)) => ids.into_iter().collect(),
            Err(e) => {
                warn!(file = %place, cause = %e, "a published file cannot be read and is written again");
                return Ok((Vec::new(), 0));
            }
        };
        let now = self.drafted_ids(drafted)?;
        let gone = before.iter().filter(|id| !now.contains(id) && !observation.moved.contains(id));
        Ok((gone.copied().collect(), before.len()))
    }

    fn receipt(
        &self,
        observation: &Observation,
        drafted: &Drafted,
        covers: Interval,
        files: &[Built],
        vanished: &[u128],
    ) -> Receipt {
        let Observation { day, availability, clock_skew, .. } = *observation;
        // With clocks that differ nobody knows how old a day is.
        let settled_before = clock_skew.is_none().then_some(observation.settled_before);
        let refetched = observation.refetched.min(drafted.duplicates);
        Receipt {
            version: VERSION,
            day,
            era: 0,
            run: self.id,
            generation: observation.generation,
            observer: None,
            revision: 0,
            observed_at: observation.observed_at,
            clock_skew: observation.clock_skew,
            recorded_at: self.clock.now(),
            covers,
            state: decide::state(day, &covers, !files.is_empty(), availability, settled_before),
            source: observation.source,
            availability,
            counts: Counts {
                records: drafted.records - refetched,
                conversations: drafted.conversations,
                duplicates: drafted.duplicates - refetched,
                outside: drafted.outside,
                out_of_window: observation.out_of_window,
                quarantined: observation.quarantined,
                vanished: vanished.len() as u64,
                forgotten: drafted.forgotten,
                shortage: observation.shortage,
            },
            vanished: vanished.iter().map(|id| hex(*id)).collect(),
            files: files.iter().map(|file| file.entry.clone()).collect(),
            merged: false,
            other: Map::new(),
        }
    }
}

/// The error of a day that is left to the state `by`, of which nothing is published yet: it would be missing, and nothing
/// would say so.
pub(super) fn unpublished(by: Order) -> Error {
    Error::later(format!("run {} is about to publish the day, or died while it was", by.writer()))
        .hint("let it end, then run again")
}

#[cfg(test)]
mod tests;
