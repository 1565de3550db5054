//! What a merge is about to put into a day, written down before it touches the day's files.
//!
//! These hold conversations that nobody can fetch again, so a merge that dies halfway must not cost any. Of what is in
//! doubt then, the journal tells: the conversations that the merge brings or takes away. All others have the same rows
//! in the files that it has replaced and in those that it has not. Whoever brings the ones in doubt once more, in the
//! same or a later version, can go on from there; anyone else has to wait until that is done.
//!
//! It takes the place of the run's claim to the day, under the same name.

use std::collections::{BTreeSet, HashMap};

use crate::error::Result;
use crate::lake::decide;
use crate::lake::layout::LakePath;
use crate::lake::present::Present;
use crate::lake::rank::Rank;
use crate::lake::run::Run;
use crate::lake::store::Store;
use crate::time::Day;

/// Hash of the id, latest timestamp, hash of the rows.
const ENTRY: usize = 16 + 8 + 16;

/// Conversations by the hash of their id, each with the rank of the version that is brought, or `None` when it is taken
/// away.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Journal(pub(super) HashMap<u128, Option<Rank>>);

impl Journal {
    /// Whether the conversation is in doubt.
    pub(super) fn contains(&self, id: u128) -> bool {
        self.0.contains_key(&id)
    }

    /// Whether `own` has each version that was to be brought, or a later one.
    pub(super) fn is_in(&self, own: &HashMap<u128, Rank>) -> bool {
        let mut brought = self.0.iter().filter_map(|(id, rank)| Some((id, rank.as_ref()?)));
        brought.all(|(id, rank)| own.get(id).is_some_and(|own| own >= rank))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let entry = |(id, rank): (&u128, &Option<Rank>)| {
            let (latest, hash) = rank.map_or((i64::MIN, 0), Rank::to_parts);
            [&id.to_be_bytes()[..], &latest.to_be_bytes(), &hash.to_be_bytes()].concat()
        };
        self.0.iter().flat_map(entry).collect()
    }

    /// `None` when these are not the bytes of a journal.
    fn from_bytes(bytes: &[u8]) -> Option<Journal> {
        let (entries, []) = bytes.as_chunks::<ENTRY>() else { return None };
        let entry = |entry: &[u8; ENTRY]| {
            let (id, rest) = entry.split_first_chunk()?;
            let (latest, hash) = rest.split_first_chunk()?;
            let (latest, hash) = (i64::from_be_bytes(*latest), u128::from_be_bytes(hash.try_into().ok()?));
            let rank = (latest != i64::MIN).then(|| Rank::from_parts(latest, hash));
            Some((u128::from_be_bytes(*id), rank))
        };
        entries.iter().map(entry).collect::<Option<_>>().map(Journal)
    }
}

impl Run {
    /// Writes `journal` down, durably.
    pub(super) fn write_journal(&self, place: &LakePath, journal: &Journal) -> Result<()> {
        self.lake.store.write(self.id, place, journal.to_bytes())
    }

    /// What is in doubt of a day because merges did not come to their end, and their journals.
    ///
    /// # Errors
    /// When its files are not what the receipt says, and no journal tells why.
    pub(super) fn in_doubt(&self, day: Day, present: &Present) -> Result<(Journal, Vec<LakePath>)> {
        let in_bucket = matches!(self.lake.store, Store::Bucket(_));
        let (mut doubt, mut places) = (Journal::default(), Vec::new());
        if present.winner().is_none() && !in_bucket {
            // Files without a receipt are those of a run that has died, and has told nobody that they are there.
            return Ok((doubt, places));
        }
        let mut claims = BTreeSet::new();
        for (table, spec) in self.specs.iter().enumerate() {
            if present.stored(table, spec).is_some() {
                continue;
            }
            match present.label(table) {
                Some(label) => {
                    claims.insert(label.order);
                }
                None if present.is_taken(table) => return Err(decide::torn(in_bucket)),
                None if present.winner().is_some_and(|winner| winner.file(&spec.name).is_some()) => {
                    return Err(decide::torn(in_bucket));
                }
                None => {}
            }
        }
        for claim in claims {
            let place = LakePath::Claim(self.dataset, day, claim);
            let bytes = self.lake.store.read(&place)?.ok_or_else(|| decide::torn(in_bucket))?;
            let Journal(entries) = Journal::from_bytes(&bytes).ok_or_else(|| decide::torn(in_bucket))?;
            for (id, rank) in entries {
                let known = doubt.0.entry(id).or_insert(rank);
                *known = (*known).max(rank);
            }
            places.push(place);
        }
        Ok((doubt, places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let journal =
            Journal([(7, Some(Rank::from_parts(-1, 9))), (u128::MAX, None), (1, Some(Rank::from_parts(5, 0)))].into());
        assert_eq!(Journal::from_bytes(&journal.to_bytes()), Some(journal));
        assert_eq!(Journal::from_bytes(b"{}"), None, "a claim that is no journal");
    }
}
