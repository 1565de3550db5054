//! Which version of a conversation counts, when a day's rows hold several.

use std::collections::HashSet;

use super::day_rows::{DayRows, Place};
use super::forgotten::Forgotten;
use super::rank::ranks;
use super::receipt::id_hash;
use crate::error::Result;
use crate::flatten::batch::Position;

/// Ids whose versions are compared in one go: 12 MiB of them. More are compared part by part, by their hashes.
pub(super) const VERSIONS_MAX: usize = 1 << 18;

/// What decides between two versions of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Where they stood in the source: the later one counts.
    Position,
    /// What they say: the one with the latest timestamp anywhere in it counts, and among equals the one with the larger
    /// hash. So the order in which they came makes no difference.
    Content,
}

/// Which version of each conversation counts.
pub(super) struct Versions {
    /// Whether the record of this number is a version that does not count, or to be forgotten.
    pub(super) gone: Vec<bool>,
    /// Records but for those that are to be forgotten.
    pub(super) records: usize,
    /// Conversations among them.
    pub(super) conversations: usize,
    /// Conversations that are to be forgotten.
    pub(super) left_out: usize,
}

/// One version of a conversation. Ordered, so that the versions of one conversation stand together, the one that stood
/// last in the source last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    id: u128,
    position: Position,
    place: Place,
}

/// Compares the versions of all conversations, about `at_once` of them at a time.
pub(super) fn versions(rows: &DayRows, forgotten: &Forgotten, rule: Rule, at_once: usize) -> Result<Versions> {
    let number = numbered(rows);
    let all: usize = rows.records().sum();
    let mut found = Versions { gone: vec![false; all], records: 0, conversations: 0, left_out: 0 };
    let parts = all.div_ceil(at_once) as u128;
    for part in 0..parts {
        let mut left_out = HashSet::new();
        let mut versions = Vec::with_capacity(all / parts as usize);
        rows.visit(|key, place| {
            let id = id_hash(key.id);
            if id % parts != part {
                return;
            }
            if forgotten.contains(key.id) {
                left_out.insert(id);
                found.gone[number(place)] = true;
            } else {
                versions.push(Version { id, position: key.position, place });
            }
        })?;
        versions.sort_unstable();
        if rule == Rule::Content {
            by_content(rows, &mut versions)?;
        }
        let others = versions.windows(2).filter(|pair| pair[0].id == pair[1].id);
        let others = others.map(|pair| found.gone[number(pair[0].place)] = true).count();
        found.records += versions.len();
        found.conversations += versions.len() - others;
        found.left_out += left_out.len();
    }
    Ok(found)
}

/// Puts the version that counts by its content behind the others of its conversation. Only where there are several is
/// content looked at.
fn by_content(rows: &DayRows, versions: &mut [Version]) -> Result<()> {
    let same = |a: &Version, b: &Version| a.id == b.id;
    let several = versions.chunk_by(same).filter(|versions| versions.len() > 1);
    let mut places: Vec<Place> = several.flatten().map(|version| version.place).collect();
    places.sort_unstable();
    let ranks = ranks(rows, &places)?;
    let rank = |version: &Version| places.binary_search(&version.place).ok().and_then(|n| ranks.get(n));
    for versions in versions.chunk_by_mut(same).filter(|versions| versions.len() > 1) {
        versions.sort_by_key(|version| (rank(version), version.position));
    }
    Ok(())
}

/// Numbers all records of `rows`.
pub(super) fn numbered(rows: &DayRows) -> impl Fn(Place) -> usize {
    let before = |total: &mut usize, records| Some(std::mem::replace(total, *total + records));
    let first: Vec<usize> = rows.records().scan(0, before).collect();
    move |place| first[place.source as usize] + place.record as usize
}
