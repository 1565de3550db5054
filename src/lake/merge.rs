//! Merging: records are added to what the lake holds of their day, in any order.
//!
//! ```text
//! look ─▶ the rows of the day's files and the new ones ─▶ of each conversation the version that counts ─▶ commit
//! ```
//! Which version counts, its content decides: [`Rule::Content`]. So the days are the same whatever came first, and
//! merging once more changes nothing.
//!
//! What is merged says nothing about what is missing. A day that was known to be whole stays so; any other is `merged`,
//! and partial. Nobody was asked for it: the merge joins the observation that it found, as a revision of it, and a day
//! of which there is none has generation 0. So whoever asks a source for such a day knows more.
//!
//! A merge that dies halfway has lost nothing: see `journal`.
//!
//! A conversation of which another version starts on another day is in both days at first. Then [`Run::misplaced`] finds
//! it, and the day with the earlier version loses it: not before the other one holds it.

mod journal;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::slice;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

use super::assemble::{TableSpec, assemble};
use super::build::Draft;
use super::day_rows::{DayRows, Place};
use super::decide;
use super::expire;
use super::ids::Ids;
use super::layout::{LakePath, RunId};
use super::order::Order;
use super::present::{Present, table_of_ids};
use super::publish::Outcome;
use super::rank::{Rank, ranks};
use super::receipt::{Counts, Receipt, State, VERSION, id_hash};
use super::run::Run;
use super::slot;
use super::store::Store;
use super::transaction::{Change, Step};
use super::versions::Rule;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::Source;
use crate::time::{Day, Interval};

/// How often a day is looked at again that other runs publish meanwhile.
const ATTEMPTS: usize = 4;

/// Rows of a day's files that are in memory; more of them wait on disk.
const ROWS_BYTES: usize = 32 << 20;

/// What is to be added to a day.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The day.
    pub day: Day,
    /// Records of it, in any order.
    pub rows: DayRows,
    /// Records that were set aside.
    pub quarantined: u64,
    /// Hashes (see [`id_hash`]) of conversations that another day holds in a version that counts: they leave this one.
    pub leaving: Arc<HashSet<u128>>,
}

/// What a merge of one day has made so far.
#[derive(Default)]
struct Work {
    drafts: Vec<Draft>,
    /// In a bucket, its claim to the day.
    claim: Option<LakePath>,
    /// Its own journal, and those of merges that died, which it goes on with; none before it touches anything.
    journals: Vec<LakePath>,
}

impl Run {
    /// Adds to days, and says how each ended. Blocks, like [`Run::publish_all`].
    ///
    /// # Errors
    /// Those of [`Run::publish_all`]; [`crate::error::Kind::Data`] as well when the day's files are not what its receipt
    /// says, and [`crate::error::Kind::Later`] when other runs keep publishing the day. Then nothing was added to it.
    pub fn merge_all(&self, additions: &[Addition]) -> Vec<Result<Outcome>> {
        let mut outcomes = self.merge_once(additions);
        for (addition, outcome) in additions.iter().zip(&mut outcomes) {
            let day = addition.day;
            for _ in 0..ATTEMPTS {
                // Who has given way to a state of the day that is there by now goes on from that.
                let Ok(Outcome::Superseded { by }) = *outcome else { break };
                match self.records().day(day) {
                    Ok(entry) if entry.receipt.as_ref().is_some_and(|winner| winner.order() >= by) => {}
                    Ok(_) => break,
                    Err(error) => {
                        *outcome = Err(error);
                        break;
                    }
                }
                *outcome = self.merge_once(slice::from_ref(addition)).pop().unwrap_or_else(no_outcome);
            }
            if let Ok(Outcome::Superseded { by }) = outcome {
                *outcome =
                    Err(Error::later(format!("run {} is publishing the day, or died while it did", by.writer())).hint(
                        "let it end, then run again; if it is dead, export the day, or convert all its pages anew",
                    ));
            }
        }
        let days = additions.iter().map(|addition| addition.day);
        outcomes.into_iter().zip(days).map(|(outcome, day)| outcome.context(|| format!("day {day}"))).collect()
    }

    fn merge_once(&self, additions: &[Addition]) -> Vec<Result<Outcome>> {
        let mut works: Vec<Work> = additions.iter().map(|_| Work::default()).collect();
        let change = |(addition, work)| self.addition(addition, work);
        let changes = additions.iter().zip(&mut works).map(change).collect::<Result<Vec<_>>>();
        let outcomes = match changes.map(|changes| self.transact_all(changes)) {
            Ok(outcomes) => outcomes,
            Err(error) => return additions.iter().map(|_| Err(error.clone())).collect(),
        };
        let ended = outcomes.into_iter().zip(works).map(|(outcome, work)| {
            self.discard(&work.drafts)?;
            // Who has begun to replace files and did not come to an end leaves them in doubt.
            let is_over = match outcome {
                Ok(Outcome::Superseded { .. }) | Err(_) => work.journals.is_empty(),
                Ok(_) => true,
            };
            let done: Vec<LakePath> = work.claim.into_iter().chain(work.journals).collect();
            if is_over
                && !done.is_empty()
                && let Err(e) = self.lake.store.remove_all(&done)
            {
                tracing::debug!(cause = %e, "left a journal behind");
            }
            outcome
        });
        ended.collect()
    }

    fn addition<'a>(&'a self, addition: &'a Addition, work: &'a mut Work) -> Result<Change<'a>> {
        let day = addition.day;
        let joined = self.joined(day, self.records().day(day)?.receipt.as_ref());
        let claims = self.lake.claims(self.dataset, day)?;
        let of_dead = claims.iter().filter(|claim| claim.is_of_same_observation(&joined));
        let claim = of_dead.fold(joined, |newest, claim| newest.max(*claim)).revised(self.id);
        work.claim = matches!(self.lake.store, Store::Bucket(_)).then(|| LakePath::Claim(self.dataset, day, claim));
        let prepare = Box::new(move |present: &Present| self.prepare_merge(addition, claim, present, work));
        Ok(Change { day, order: Some(claim), builds_on: true, prepare })
    }

    /// The state that is joined: what `winner` says. A day of which nothing is known was never asked for.
    fn joined(&self, day: Day, winner: Option<&Receipt>) -> Order {
        winner.map_or(Order::observed(0, day.start(), RunId::from(Uuid::nil())), Receipt::order)
    }

    fn prepare_merge(&self, addition: &Addition, claimed: Order, present: &Present, work: &mut Work) -> Result<Step> {
        self.discard(&work.drafts)?;
        work.drafts.clear();
        let (day, winner) = (addition.day, present.winner());
        if winner.is_some_and(Receipt::is_expired) {
            self.clear(day, present)?;
            return Ok(Step::End(Outcome::Kept { reason: expire::EXPIRED }));
        }
        let (joined, in_bucket) = (self.joined(day, winner), matches!(self.lake.store, Store::Bucket(_)));
        let order = if in_bucket { claimed } else { joined.revised(self.id) };
        if !order.is_of_same_observation(&joined) || order <= joined {
            // Others go by what was claimed.
            return Ok(Step::End(Outcome::Superseded { by: joined }));
        }
        let observed_at = winner.map_or(day.start(), |winner| winner.observed_at);

        let (doubt, journals) = self.in_doubt(day, present)?;
        let own = ranks_of(&addition.rows, |_| true)?;
        if !doubt.is_in(&own) {
            return Err(decide::unfinished());
        }
        let stays = |id: u128| !addition.leaving.contains(&id) && !doubt.contains(id);
        let mut rows = match winner.filter(|winner| !winner.files.is_empty()) {
            Some(_) => self.reread(day, |table, _| Some(present.label(table)?.uuid), stays, ROWS_BYTES)?,
            None => DayRows::default(),
        };
        let held = ranks_of(&rows, |id| own.contains_key(&id))?;
        rows.extend(addition.rows.clone());
        let assembled = assemble(&self.specs, &rows, &day.interval(), &present.forgotten, Rule::Content)?;
        work.drafts = self.draft_all(&assembled.tables, || self.label(day, order, observed_at))?;

        let counts = Counts {
            records: assembled.records,
            conversations: assembled.conversations,
            duplicates: assembled.duplicates,
            quarantined: addition.quarantined,
            forgotten: assembled.forgotten,
            ..Counts::default()
        };
        if let Some(winner) = winner
            && work.drafts.iter().all(|draft| draft.is_published(present, &self.specs))
        {
            return Ok(Step::End(Outcome::Unchanged(Receipt { counts, ..winner.clone() })));
        }
        work.journals.extend(journals);
        if winner.is_some() || in_bucket {
            // What was in doubt before is so until this comes to its end.
            let mut journal = doubt;
            journal.0.extend(addition.leaving.iter().map(|id| (*id, None)));
            let news = own.iter().filter(|(id, rank)| held.get(id).is_none_or(|held| held < rank));
            journal.0.extend(news.map(|(id, rank)| (*id, Some(*rank))));
            let place = LakePath::Claim(self.dataset, day, order);
            self.write_journal(&place, &journal)?;
            work.journals.push(place);
        }
        let files = self.settle(present, &work.drafts)?;
        let (covers, merged) = decide::merged(day, span(&addition.rows)?, winner);
        let receipt = Receipt {
            version: VERSION,
            day,
            era: 0,
            run: self.id,
            generation: 0,
            observer: None,
            revision: 0,
            observed_at,
            clock_skew: winner.and_then(|winner| winner.clock_skew),
            recorded_at: self.clock.now(),
            covers,
            state: match winner.map(|winner| winner.state) {
                Some(State::Empty) if !merged => State::Provisional,
                Some(state) if !merged => state,
                _ => State::Partial,
            },
            source: winner.map_or(Source::Files, |winner| winner.source),
            availability: winner.and_then(|winner| winner.availability),
            counts,
            vanished: Vec::new(),
            files: files.iter().map(|file| file.entry.clone()).collect(),
            merged,
            other: winner.map(|winner| winner.other.clone()).unwrap_or_default(),
        };
        Ok(Step::Commit(files, receipt.ordered(order)))
    }

    /// Conversations that `days` or their neighbors hold as well as another of these days: by day, the hashes of those
    /// of which another day has the version that counts. Days that have nothing to do with `days` are not looked at.
    ///
    /// # Errors
    /// Like `Run::reread`.
    pub fn misplaced(&self, days: &BTreeSet<Day>) -> Result<BTreeMap<Day, HashSet<u128>>> {
        let ledger = self.records().all()?;
        let around = days.iter().flat_map(|day| [day.plus(-1), *day, day.next()]);
        let held = around.filter_map(|day| Some((day, ledger.receipt(day)?))).collect::<BTreeMap<Day, &Receipt>>();
        let ids = Ids::new();
        for (day, receipt) in &held {
            ids.add(*day, &self.finished(receipt, |receipt| self.ids_of(receipt))?)?;
        }
        let mut holders: BTreeMap<Day, HashSet<u128>> = BTreeMap::new();
        ids.repeated(|id, first, second| {
            if days.contains(&first) || days.contains(&second) {
                for day in [first, second] {
                    holders.entry(day).or_default().insert(id);
                }
            }
        })?;
        let mut best: HashMap<u128, (Rank, Day)> = HashMap::new();
        for (day, ids) in &holders {
            let Some(receipt) = held.get(day) else { continue };
            let read = |receipt: &Receipt| {
                let file = |_, spec: &TableSpec| Some(receipt.file(&spec.name)?.uuid);
                ranks_of(&self.reread(*day, file, |id| ids.contains(&id), ROWS_BYTES)?, |_| true)
            };
            for (id, rank) in self.finished(receipt, read)? {
                let found = best.entry(id).or_insert((rank, *day));
                *found = (*found).max((rank, *day));
            }
        }
        for (day, ids) in &mut holders {
            ids.retain(|id| best.get(id).is_some_and(|(_, owner)| owner != day));
        }
        holders.retain(|_, ids| !ids.is_empty());
        Ok(holders)
    }

    /// What `look` finds in a day's files. When they are not what its receipt says, a merge may have died that only
    /// took something away: that is done first.
    fn finished<T>(&self, receipt: &Receipt, look: impl Fn(&Receipt) -> Result<T>) -> Result<T> {
        match look(receipt) {
            Err(error) if error.kind() == Kind::Later => {}
            found => return found,
        }
        let nothing = Addition { day: receipt.day, rows: DayRows::default(), quarantined: 0, leaving: Arc::default() };
        self.merge_all(&[nothing]).into_iter().try_for_each(|outcome| outcome.map(drop))?;
        let receipt = self.records().day(receipt.day)?.receipt;
        look(&receipt.ok_or_else(|| Error::bug("a day has no receipt any more"))?)
    }

    /// Hashes of the conversations that a day's files hold.
    fn ids_of(&self, receipt: &Receipt) -> Result<Vec<u128>> {
        let table = &self.specs[table_of_ids(&self.specs)].name;
        let Some(file) = receipt.file(table) else { return Ok(Vec::new()) };
        let place = LakePath::Part(table.clone(), receipt.day);
        let ids = slot::read_ids(self.lake.part(table, receipt.day)?, file.uuid, |id| Some(id_hash(id)));
        ids.map_err(|e| super::forget::unreadable(&place).source(e))?.ok_or_else(|| super::forget::replaced(&place))
    }
}

/// The best rank of each conversation that is `wanted`.
fn ranks_of(rows: &DayRows, wanted: impl Fn(u128) -> bool) -> Result<HashMap<u128, Rank>> {
    let mut found: Vec<(Place, u128)> = Vec::new();
    rows.visit(|key, place| {
        let id = id_hash(key.id);
        found.extend(wanted(id).then_some((place, id)));
    })?;
    found.sort_unstable();
    let (places, ids): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let mut best: HashMap<u128, Rank> = HashMap::new();
    for (id, rank) in ids.into_iter().zip(ranks(rows, &places)?) {
        let known = best.entry(id).or_insert(rank);
        *known = (*known).max(rank);
    }
    Ok(best)
}

fn no_outcome() -> Result<Outcome> {
    Err(Error::bug("a day has no outcome"))
}

/// The part of the day in which conversations start; `None` when there is none.
fn span(rows: &DayRows) -> Result<Option<Interval>> {
    let mut span: Option<(i64, i64)> = None;
    rows.visit(|key, _| {
        let (first, last) = span.unwrap_or((key.start, key.start));
        span = Some((first.min(key.start), last.max(key.start)));
    })?;
    let Some((first, last)) = span else { return Ok(None) };
    let (first, last) = (DateTime::from_timestamp_micros(first), DateTime::from_timestamp_micros(last));
    let (Some(first), Some(last)) = (first, last) else { return Err(Error::bug("a start that is no moment")) };
    Interval::new(first, last + TimeDelta::microseconds(1)).map(Some)
}

#[cfg(test)]
mod tests;
