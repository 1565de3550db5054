//! What is in quarantine: found again, told, read record by record, removed by age.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::super::layout::{LakePath, RunId};
use super::super::open::Lake;
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// One file of quarantine. Displayed and read as `RUN-NUMBER`, or `refused-RUN-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Records that could not be read, one a line.
    Records(RunId, u32),
    /// A whole response that was refused.
    Response(RunId, u32),
}

impl Kept {
    /// Where it is.
    pub fn place(self) -> LakePath {
        match self {
            Kept::Records(run, number) => LakePath::Quarantine(run, number),
            Kept::Response(run, number) => LakePath::Refused(run, number),
        }
    }

    /// The run that wrote the file: not always the one that found its records.
    pub fn run(self) -> RunId {
        match self {
            Kept::Records(run, _) | Kept::Response(run, _) => run,
        }
    }

    fn of_file(name: &str) -> Option<Kept> {
        match LakePath::parse(&format!("{}/{name}", LakePath::QuarantineFolder))? {
            LakePath::Quarantine(run, number) => Some(Kept::Records(run, number)),
            LakePath::Refused(run, number) => Some(Kept::Response(run, number)),
            _ => None,
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Records(run, number) => write!(f, "{run}-{number}"),
            Kept::Response(run, number) => write!(f, "refused-{run}-{number}"),
        }
    }
}

impl FromStr for Kept {
    type Err = Error;

    fn from_str(text: &str) -> Result<Kept> {
        let found = Kept::of_file(&format!("{text}.jsonl")).or_else(|| Kept::of_file(&format!("{text}.json")));
        found.ok_or_else(|| {
            Error::usage("this is no name of a file in quarantine").hint("RUN-NUMBER, as `list` shows it")
        })
    }
}

/// What a file of quarantine is, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The file.
    pub kept: Kept,
    /// When the run began that found what is in it.
    pub found_at: Option<Timestamp>,
    /// Its records by reason; none of a response.
    pub reasons: BTreeMap<String, u64>,
    /// Its size.
    pub bytes: u64,
}

/// One record of quarantine.
#[derive(Clone, Debug)]
pub struct Record {
    /// The line that it stands on, as it stands there.
    pub line: Bytes,
    /// What the line says, when it can be read.
    pub said: Option<Said>,
}

/// What a line of quarantine says.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    /// Why the record is here.
    pub reason: String,
    /// Its chain.
    #[serde(default)]
    pub chain: u32,
    /// Its page.
    #[serde(default)]
    pub page: u32,
    /// Its place on the page.
    #[serde(default)]
    pub index: u32,
    /// What was asked for.
    #[serde(default)]
    pub place: String,
    /// The day that owns it, where that is known.
    #[serde(default)]
    pub day: Option<Day>,
    /// The run that found it.
    pub run: RunId,
    /// The generation of the observation that it was found by.
    #[serde(default)]
    pub generation: u64,
    #[serde(default)]
    raw: Option<String>,
    #[serde(default)]
    raw_base64: Option<String>,
}

impl Said {
    /// The record as it came.
    pub fn raw(&self) -> Option<Bytes> {
        let coded = || BASE64_STANDARD.decode(self.raw_base64.as_deref()?).ok();
        self.raw.clone().map(String::into_bytes).or_else(coded).map(Bytes::from)
    }
}

impl Lake {
    /// Every file of quarantine, in the order of the runs that wrote them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`], as for everything here.
    pub fn quarantined(&self) -> Result<Vec<Kept>> {
        let names = self.store().list(&LakePath::QuarantineFolder)?;
        let mut kept: Vec<Kept> = names.iter().filter_map(|name| Kept::of_file(name)).collect();
        kept.sort_unstable_by_key(|kept| (kept.run(), *kept));
        Ok(kept)
    }

    /// What can be said of each file of quarantine without repeating what is in it.
    pub fn quarantine_told(&self) -> Result<Vec<Told>> {
        let mut all = Vec::new();
        for kept in self.quarantined()? {
            let Some(bytes) = self.store().read(&kept.place())? else { continue };
            let mut told =
                Told { kept, found_at: kept.run().began(), reasons: BTreeMap::new(), bytes: bytes.len() as u64 };
            if let Kept::Records(..) = kept {
                let records = records(&bytes);
                // A file that was written anew holds records of an earlier run.
                let runs = records.iter().filter_map(|record| record.said.as_ref()?.run.began());
                told.found_at = runs.max().or(told.found_at);
                for record in records {
                    let reason = record.said.map_or_else(|| "unreadable line".to_owned(), |said| said.reason);
                    *told.reasons.entry(reason).or_default() += 1;
                }
            }
            all.push(told);
        }
        Ok(all)
    }

    /// What is in a file of quarantine.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is not there.
    pub fn quarantine_content(&self, kept: Kept) -> Result<Bytes> {
        self.store().read(&kept.place())?.ok_or_else(|| {
            Error::usage(format!("`{kept}` is not in quarantine")).hint("`convlake quarantine list` shows what is")
        })
    }

    /// Removes what was found before `before`, but in a dry run, and says what that was.
    pub fn purge_quarantine(&self, before: Timestamp, dry_run: bool) -> Result<Vec<Told>> {
        let mut old = self.quarantine_told()?;
        old.retain(|told| told.found_at.is_some_and(|at| at < before));
        if dry_run {
            return Ok(old);
        }
        self.store().remove_all(&old.iter().map(|told| told.kept.place()).collect::<Vec<_>>())?;
        Ok(old)
    }
}

/// The records in the content of a file.
pub fn records(content: &Bytes) -> Vec<Record> {
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Record { line: content.slice_ref(line), said: serde_json::from_slice(line).ok() }).collect()
}
