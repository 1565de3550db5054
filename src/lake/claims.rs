//! What runs say of days before they publish them, and the generation of what is observed next.

use std::collections::BTreeSet;

use super::layout::{Dataset, LakePath};
use super::open::Lake;
use super::order::Order;
use crate::error::{Error, Result};
use crate::time::Day;

impl Lake {
    /// The generation of an observation of `days` that begins now, before its source is asked anything: one more than the
    /// highest that anyone has recorded, marked or claimed of them. Without `days`, of all that the lake holds.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when the ledger cannot be read.
    pub fn next_generation(&self, dataset: Dataset, days: Option<&BTreeSet<Day>>) -> Result<u64> {
        let wanted = |day: &Day| days.is_none_or(|days| days.contains(day));
        let ledger = match days {
            Some(days) => self.records(dataset).about(days.iter().copied())?,
            None => self.records(dataset).all()?,
        };
        let known = ledger.days().filter(|(day, _)| wanted(day)).map(|(_, entry)| entry.generation());
        let mut highest = known.max().unwrap_or_default();
        for day in self.claimed(dataset)?.iter().filter(|day| wanted(day)) {
            highest = self.claims(dataset, *day)?.iter().map(Order::generation).fold(highest, u64::max);
        }
        highest.checked_add(1).ok_or_else(|| {
            Error::data("the ledger holds a generation beyond which there is none")
                .hint("a receipt or a claim was not written by convlake: `convlake verify` the lake")
        })
    }

    /// The days that some run has a claim to, living or dead. On a disk only merges leave such: there runs have a lock.
    pub(super) fn claimed(&self, dataset: Dataset) -> Result<BTreeSet<Day>> {
        let names = self.store.list(&LakePath::Claimed(dataset))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The states of `day` that runs are about to publish, or died while they did.
    pub(super) fn claims(&self, dataset: Dataset, day: Day) -> Result<Vec<Order>> {
        let folder = LakePath::Claims(dataset, day);
        let names = self.store.list(&folder)?;
        let claims = names.iter().filter_map(|name| match LakePath::parse(&format!("{folder}/{name}")) {
            Some(LakePath::Claim(_, _, claim)) => Some(claim),
            _ => None,
        });
        Ok(claims.collect())
    }
}
