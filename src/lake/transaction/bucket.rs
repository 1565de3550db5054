//! A day is committed to a bucket, slot by slot.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::debug;

use super::{Change, Step, committed, following};
use crate::error::{Error, Result};
use crate::lake::bucket::{Bucket, Swap};
use crate::lake::layout::LakePath;
use crate::lake::order::Order;
use crate::lake::present::{Present, table_of_ids};
use crate::lake::publish::Outcome;
use crate::lake::receipt::FileEntry;
use crate::lake::run::Run;
use crate::lake::together::together;
use crate::time::Day;

/// How often a day is prepared for a bucket in which other runs change it meanwhile. Each of them is older and makes
/// at most one attempt that this run can lose to.
const BUCKET_ATTEMPTS: usize = 16;

/// What a run knows of others that may be publishing the same day.
#[derive(Default)]
struct Rivals {
    /// Their claims.
    claims: Vec<Order>,
    /// A newer file that was found at the last attempt, without a claim or a receipt.
    unclaimed: Option<Order>,
}

impl Run {
    pub(super) fn transact_in_bucket(&self, bucket: &Bucket, mut change: Change<'_>) -> Result<Outcome> {
        let Change { day, order, .. } = change;
        let change = &mut change;
        // A claim is the first that others see of a run: one that belongs to another lake lays down none.
        self.lake.bind(&self.lake.committing()?)?;
        let claim = order.filter(|_| !bucket.is_for_a_single_writer());
        let place = claim.map(|claim| LakePath::Claim(self.dataset, day, claim));
        if let Some(place) = &place {
            bucket.write(place, b"{}".as_slice().into())?;
        }
        let mut rivals = Rivals::default();
        for _ in 0..BUCKET_ATTEMPTS {
            if let Some(own) = claim {
                rivals.claims = self.lake.claims(self.dataset, day)?;
                rivals.claims.retain(|other| *other != own);
            }
            if let Some(outcome) = self.attempt_in_bucket(bucket, change, claim, &mut rivals)? {
                // After an error the claim stays: a write whose answer was lost may still arrive.
                // So does that of a merge, whose journal it is: the merge knows whether it is needed.
                let mut done: Vec<LakePath> = place.into_iter().filter(|_| !change.builds_on).collect();
                // A merge that has nothing to change has replaced nothing of theirs.
                let replaced = matches!(outcome, Outcome::Published(_))
                    || matches!(outcome, Outcome::Unchanged(_)) && !change.builds_on;
                if let (Some(own), true) = (claim, replaced) {
                    let older = rivals.claims.into_iter().filter(|other| *other < own);
                    done.extend(older.map(|other| LakePath::Claim(self.dataset, day, other)));
                }
                if let Err(e) = bucket.remove_all(&done) {
                    // The day is what it is; claims of the dead cost the next run a rewrite and are removed by it.
                    debug!(%day, cause = %e, "left a claim behind");
                }
                return Ok(outcome);
            }
            debug!(%day, "another run published the day meanwhile");
        }
        Err(contended())
    }

    fn attempt_in_bucket(
        &self,
        bucket: &Bucket,
        change: &mut Change<'_>,
        claim: Option<Order>,
        rivals: &mut Rivals,
    ) -> Result<Option<Outcome>> {
        let Change { day, builds_on, ref mut prepare, .. } = *change;
        if let Some(newer) = rivals.claims.iter().max().filter(|other| claim.is_some_and(|own| **other > own)) {
            return Ok(Some(Outcome::Superseded { by: *newer }));
        }
        let fenced = builds_on || !rivals.claims.is_empty() || rivals.unclaimed.is_some();
        let present = Present::look(self, day, fenced)?;
        let unclaimed = claim.and_then(|own| present.unrecorded(&own));
        if unclaimed.is_some() && std::mem::replace(&mut rivals.unclaimed, unclaimed) != unclaimed {
            return Ok(None);
        }
        let (files, receipt) = match prepare(&present)? {
            Step::End(outcome) => return Ok(Some(outcome)),
            // A swap under way would be a newer run's, which has overtaken this one, or an older run's, which loses.
            Step::Shrunk(verdict) => return verdict.map(Some),
            Step::Commit(files, receipt) => (files, receipt),
        };
        let mut changed = self.changed(&files);
        // The table that is looked for first comes last and alone, when all its children are there.
        let last = changed.pop_if(|(table, ..)| *table == table_of_ids(&self.specs));
        let (first, rest) = changed.split_at(usize::from(builds_on).min(changed.len()));
        for group in [first, rest, last.as_slice()] {
            if !self.swap_in(bucket, &present, day, group)? {
                return Ok(None);
            }
        }
        let (receipt, mark) = following(&present, receipt);
        self.record([(receipt.clone(), mark)])?;
        let outcome = committed(&present, changed.is_empty() && last.is_none(), receipt);
        Ok((!self.is_overruled(&present, day)?).then_some(outcome))
    }

    /// Whether it was decided since the day was looked at that less of it may stay.
    fn is_overruled(&self, present: &Present, day: Day) -> Result<bool> {
        let entry = self.records().day(day)?;
        let expired = entry.is_expired() || entry.era() != present.entry.era();
        Ok(expired || self.forgotten()? != present.forgotten)
    }

    /// Swaps files in, some at a time; `false` as soon as one slot is found changed.
    fn swap_in(
        &self,
        bucket: &Bucket,
        present: &Present,
        day: Day,
        files: &[(usize, &LakePath, &FileEntry)],
    ) -> Result<bool> {
        let lost = AtomicBool::new(false);
        together(files, |(table, staged, file)| {
            if lost.load(Ordering::Relaxed) {
                return Ok(());
            }
            let part = LakePath::Part(file.table.clone(), day);
            let from = self.scratch.locate(staged)?;
            match bucket.swap(&from, &part, file.uuid, &present.expected(*table))? {
                Swap::Done => debug!(%part, rows = file.rows, "swapped in"),
                Swap::Lost => lost.store(true, Ordering::Relaxed),
            }
            Ok(())
        })?;
        Ok(!lost.into_inner())
    }
}

fn contended() -> Error {
    Error::later("other runs keep publishing the day").hint("let them end, then run again")
}
