//! Proves from the lake alone that it holds what it says: whole files, each conversation once and with its children,
//! nothing that no receipt names, and states that the receipts bear out.
//!
//! Days are checked in parallel, on `READERS` threads: more than there are processors, for on a store they mostly
//! wait. A file of up to `WHOLE_BYTES_MAX` is read once and whole, a larger one piece by piece and then by its two
//! key columns. So memory is bounded by `READERS × WHOLE_BYTES_MAX` = 256 MiB, 16 bytes for each conversation of the
//! days in hand, and what `ids` holds to find a conversation that is in two days.

mod finding;
mod folders;
mod part;
mod receipts;
mod rows;

use std::borrow::Cow;

use parquet::file::reader::{ChunkReader, Length};
use rayon::prelude::*;

pub use finding::{Damage, Finding, Repair};

use self::folders::Folders;
use self::part::{Checked, Part};
use super::assemble::TableSpec;
use super::encode::CONVERSATIONS;
use super::ids::Ids;
use super::layout::{Dataset, LakePath};
use super::open::Lake;
use super::receipt::{FileEntry, Receipt};
use crate::error::{Context, Error, Result};
use crate::time::{Day, Days};

/// Days that are read at the same time.
const READERS: usize = 16;
/// Files up to this size are read with one call.
const WHOLE_BYTES_MAX: u64 = 16 << 20;
/// How often a day is looked at again because it was published meanwhile.
const LOOKS_MAX: usize = 3;

/// What is checked, and how well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// These days.
    pub days: Days,
    /// Only sizes and footers: no row is read and no byte hashed.
    pub quick: bool,
}

/// What was checked and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Days.
    pub days: u64,
    /// Files.
    pub files: u64,
    /// Rows, as the receipts say.
    pub rows: u64,
    /// Bytes, as the receipts say.
    pub bytes: u64,
    /// What is wrong, by day.
    pub findings: Vec<Finding>,
}

/// A check of one lake.
struct Verifier<'a> {
    lake: &'a Lake,
    specs: &'a [TableSpec],
    quick: bool,
    ids: Ids,
}

impl Lake {
    /// Checks the lake against its own ledger; `specs` are the tables as this version knows them, and `done` hears of
    /// every day. Nothing is written. Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when something cannot be read, which proves neither that it is good nor that it
    /// is broken.
    pub fn verify(&self, specs: &[TableSpec], scope: Scope, done: &(dyn Fn(Day) + Sync)) -> Result<Verification> {
        let readers = rayon::ThreadPoolBuilder::new().num_threads(READERS).build();
        let readers = readers.map_err(|e| Error::bug("cannot start the threads that read").source(e))?;
        readers.install(|| Verifier { lake: self, specs, quick: scope.quick, ids: Ids::new() }.run(&scope.days, done))
    }
}

impl Verifier<'_> {
    fn run(self, days: &Days, done: &(dyn Fn(Day) + Sync)) -> Result<Verification> {
        let mut all = Verification::default();
        let mut ledgers = Vec::new();
        for dataset in Dataset::ALL {
            all.findings.extend(receipts::unreadable(self.lake, dataset)?);
            ledgers.push((dataset, self.lake.records(dataset).all()?));
        }
        let published = ledgers.iter().flat_map(|(dataset, ledger)| {
            let receipts = ledger.days().filter_map(|(_, entry)| entry.receipt.as_ref());
            receipts.filter(|receipt| days.contains(receipt.day)).map(|receipt| (*dataset, receipt))
        });
        let checked: Vec<Verification> = published
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(dataset, receipt)| {
                let checked = self.day(dataset, receipt).context(|| format!("day {}", receipt.day))?;
                done(receipt.day);
                Ok(checked)
            })
            .collect::<Result<_>>()?;
        checked.into_iter().for_each(|day| all.add(day));
        all.findings.extend(Folders { lake: self.lake, ledgers: &ledgers }.strangers(days)?);
        for ((first, second), count) in self.ids.shared()? {
            for (day, other) in [(first, second), (second, first)] {
                let what = format!("{count} of its conversations are in {other} as well");
                all.findings.push(Finding::of_day(day, Damage::Duplicate, what));
            }
        }
        all.findings.sort_unstable();
        Ok(all)
    }

    /// One day, looked at again while others publish it.
    fn day(&self, dataset: Dataset, receipt: &Receipt) -> Result<Verification> {
        let mut receipt = Cow::Borrowed(receipt);
        let mut looks = 1;
        let (checked, ids) = loop {
            let found = self.look(dataset, &receipt)?;
            if found.0.findings.is_empty() || looks == LOOKS_MAX {
                break found;
            }
            match self.lake.records(dataset).day(receipt.day)?.receipt {
                Some(newer) if newer != *receipt => receipt = Cow::Owned(newer),
                _ => break found,
            }
            looks += 1;
        };
        self.ids.add(receipt.day, &ids)?;
        Ok(checked)
    }

    /// What one receipt says, and its files; the hashes of the ids of its conversations as well.
    fn look(&self, dataset: Dataset, receipt: &Receipt) -> Result<(Verification, Vec<u128>)> {
        let mut all =
            Verification { days: 1, findings: receipts::contradictions(dataset, receipt), ..Verification::default() };
        // Conversations first: the others are looked up among them.
        let (conversations, others): (Vec<_>, Vec<_>) =
            receipt.files.iter().partition(|file| file.table.as_str() == CONVERSATIONS);
        let mut ids: Option<Vec<u128>> = None;
        for file in conversations.into_iter().chain(others) {
            let checked = self.file(dataset, receipt.day, file, ids.as_deref())?;
            all.files += 1;
            all.rows += file.rows;
            all.bytes += file.bytes;
            all.findings.extend(checked.findings);
            ids = ids.or(checked.ids);
        }
        Ok((all, ids.unwrap_or_default()))
    }

    fn file(&self, dataset: Dataset, day: Day, entry: &FileEntry, parents: Option<&[u128]>) -> Result<Checked> {
        let spec = self.specs.iter().find(|spec| spec.name == entry.table);
        let part = Part { dataset, day, entry, spec, parents, quick: self.quick };
        let place = LakePath::Part(entry.table.clone(), day);
        let Some(file) = self.lake.store.open(&place)? else {
            let finding = part.finding(Damage::Missing, "its receipt names it, and it is not there".to_owned());
            return Ok(Checked { findings: vec![finding], ids: None });
        };
        let bytes = file.len();
        if self.quick || bytes > WHOLE_BYTES_MAX {
            return part.check(file).context(|| place.to_string());
        }
        let whole = file.get_bytes(0, bytes as usize);
        let whole = whole.map_err(|e| Error::storage(format!("cannot read `{place}`")).source(e))?;
        part.check(whole).context(|| place.to_string())
    }
}

impl Verification {
    fn add(&mut self, day: Verification) {
        self.days += day.days;
        self.files += day.files;
        self.rows += day.rows;
        self.bytes += day.bytes;
        self.findings.extend(day.findings);
    }
}
