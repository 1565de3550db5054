//! Conversations that are in more than one day of the lake, found in bounded memory.
//!
//! An id is 16 bytes of hash and 4 of day. [`HELD_MAX`] of them wait in memory, in [`PARTS`] parts by the first byte
//! of the hash; what is beyond waits in a file without a name, 20 bytes a conversation. Equal ids are in equal parts,
//! so one part at a time is sorted: a lake of 350 million conversations, 100,000 a day for ten years, takes 7 GB of
//! disk and 64 MiB of memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use chrono::{Datelike, NaiveDate};

use crate::error::{Error, Result};
use crate::lake::local::failed;
use crate::time::Day;

/// Parts that are sorted one at a time.
const PARTS: usize = 256;
/// Ids in memory: 64 MiB of them.
const HELD_MAX: usize = (64 << 20) / ENTRY;
const ENTRY: usize = 20;

/// Hash and day, in this order, so that sorting brings equal ids together.
type Entry = [u8; ENTRY];

/// The ids of all days.
pub(super) struct Ids {
    held_max: usize,
    state: Mutex<State>,
}

struct State {
    parts: Vec<Vec<Entry>>,
    held: usize,
    spilled: Option<Spilled>,
}

/// The file, and where in it each part has pieces.
struct Spilled {
    file: File,
    end: u64,
    pieces: Vec<Vec<(u64, usize)>>,
}

impl Ids {
    pub(super) fn new() -> Ids {
        Ids::holding(HELD_MAX)
    }

    fn holding(held_max: usize) -> Ids {
        let state = State { parts: vec![Vec::new(); PARTS], held: 0, spilled: None };
        Ids { held_max, state: Mutex::new(state) }
    }

    /// Adds the ids of `day`, each of them once.
    pub(super) fn add(&self, day: Day, ids: &[u128]) -> Result<()> {
        let number = day.date().num_days_from_ce().to_be_bytes();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let id = id.to_be_bytes();
            let mut entry = [0; ENTRY];
            entry[..16].copy_from_slice(&id);
            entry[16..].copy_from_slice(&number);
            state.parts[usize::from(id[0])].push(entry);
        }
        state.held += ids.len();
        if state.held > self.held_max {
            state.spill().map_err(|e| failed("write ids to a temporary file in", &std::env::temp_dir(), e))?;
        }
        Ok(())
    }

    /// For each pair of days, how many conversations are in both. Of one in many days, neighbours are paired.
    pub(super) fn shared(self) -> Result<BTreeMap<(Day, Day), u64>> {
        let mut shared = BTreeMap::new();
        self.repeated(|_, first, second| *shared.entry((first, second)).or_default() += 1)?;
        Ok(shared)
    }

    /// Shows every id that is in several days, with two neighbors of these at a time.
    pub(super) fn repeated(self, mut show: impl FnMut(u128, Day, Day)) -> Result<()> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for part in 0..PARTS {
            let mut entries = std::mem::take(&mut state.parts[part]);
            if let Some(spilled) = &mut state.spilled {
                let read = spilled.read(part, &mut entries);
                read.map_err(|e| failed("read ids from a temporary file in", &std::env::temp_dir(), e))?;
            }
            entries.sort_unstable();
            for pair in entries.windows(2).filter(|pair| pair[0][..16] == pair[1][..16]) {
                show(id(&pair[0]), day(&pair[0])?, day(&pair[1])?);
            }
        }
        Ok(())
    }
}

fn id(entry: &Entry) -> u128 {
    let [id @ .., _, _, _, _] = *entry;
    u128::from_be_bytes(id)
}

fn day(entry: &Entry) -> Result<Day> {
    let [.., a, b, c, d] = *entry;
    let date = NaiveDate::from_num_days_from_ce_opt(i32::from_be_bytes([a, b, c, d]));
    date.map(Day::from).ok_or_else(|| Error::storage("what is read back from a temporary file is not what was written"))
}

impl State {
    fn spill(&mut self) -> std::io::Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            None => self.spilled.insert(Spilled::new()?),
        };
        for (part, entries) in self.parts.iter_mut().enumerate() {
            spilled.write(part, entries)?;
            entries.clear();
        }
        self.held = 0;
        Ok(())
    }
}

impl Spilled {
    fn new() -> std::io::Result<Spilled> {
        Ok(Spilled { file: tempfile::tempfile()?, end: 0, pieces: vec![Vec::new(); PARTS] })
    }

    fn write(&mut self, part: usize, entries: &[Entry]) -> std::io::Result<()> {
        self.file.write_all(entries.as_flattened())?;
        self.pieces[part].push((self.end, entries.len()));
        self.end += entries.as_flattened().len() as u64;
        Ok(())
    }

    fn read(&mut self, part: usize, entries: &mut Vec<Entry>) -> std::io::Result<()> {
        for &(from, count) in &self.pieces[part] {
            let start = entries.len();
            entries.resize(start + count, [0; ENTRY]);
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(entries[start..].as_flattened_mut())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::receipt::id_hash;
    use crate::lake::testing::day;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_in_two_days_is_found_whether_it_was_spilled_or_not(days in vec(btree_set(0u32..60, 0..20), 0..8), held_max in 0usize..80) {
            let ids = Ids::holding(held_max);
            let date = |n: usize| day("2025-01-01").plus(n as i64);
            for (n, numbers) in days.iter().enumerate() {
                let hashes: Vec<u128> = numbers.iter().map(|id| id_hash(&id.to_string())).collect();
                ids.add(date(n), &hashes).unwrap();
            }
            let mut wanted = BTreeMap::new();
            for id in 0..60 {
                let holders: Vec<usize> = (0..days.len()).filter(|n| days[*n].contains(&id)).collect();
                for pair in holders.windows(2) {
                    *wanted.entry((date(pair[0]), date(pair[1]))).or_default() += 1;
                }
            }
            prop_assert_eq!(ids.shared().unwrap(), wanted);
        }
    }
}
