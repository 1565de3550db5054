//! What runs did to a lake: one record when a run begins, before its first call, and one when it ends. A run without
//! the second was interrupted, or is still going on.
//!
//! Like the ledger's, these records are immutable and uniquely named. Nothing that the lake holds depends on them:
//! they say which days an interrupted run had done already, and what `status` tells of the last runs.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::warn;

use super::layout::{LakePath, RunId};
use super::store::Store;
use crate::error::{Error, Result};
use crate::time::{Interval, Timestamp};

/// The version of both records.
pub const VERSION: u32 = 1;
/// Runs that are remembered; older ones are forgotten.
pub const RUNS_MAX: usize = 200;

/// Said before the first call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The version of this record's format.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// `export`, `sync`, `convert`, …
    pub command: String,
    /// Fingerprint of what was asked for, in hexadecimal: equal for equal requests. Absent where an interrupted run
    /// has nothing that another could continue.
    #[serde(default)]
    pub request: Option<String>,
    /// What was asked for, where that is a range.
    #[serde(default)]
    pub asked: Option<Interval>,
    /// When it began.
    pub begun_at: Timestamp,
    /// Name and version of the tool.
    pub tool: String,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Said when everything is over, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The version of this record's format.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// Conversations in the days that it published or confirmed.
    #[serde(default)]
    pub conversations: u64,
    /// Calls that it made.
    #[serde(default)]
    pub calls: u64,
    /// What became of its days.
    #[serde(default)]
    pub days: DayCounts,
    /// The lake's watermark after it.
    #[serde(default)]
    pub watermark: Option<Timestamp>,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Days of a run by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DayCounts {
    /// New files are in place.
    pub published: u64,
    /// The lake held the very same.
    pub unchanged: u64,
    /// The lake keeps what it has: it is better or newer.
    pub kept: u64,
    /// Not fetched, because the lake has them.
    pub skipped: u64,
    /// Not promised by the source yet.
    pub not_available: u64,
    /// Failed.
    pub failed: u64,
}

/// A run that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// How it began.
    pub begun: Begun,
    /// How it ended; `None` when it was interrupted or goes on.
    pub ended: Option<Ended>,
}

impl PastRun {
    /// Whether it did all that it was asked to do.
    pub fn completed(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.exit == 0)
    }
}

/// The runs of a lake.
#[derive(Clone, Debug)]
pub struct History {
    store: Store,
}

impl History {
    /// The runs of the lake in `store`.
    pub(super) fn new(store: impl Into<Store>) -> History {
        History { store: store.into() }
    }

    /// Records that a run begins, and forgets the oldest beyond [`RUNS_MAX`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`], as for every operation here.
    pub fn begin(&self, begun: &Begun) -> Result<()> {
        self.write(begun.run, &LakePath::RunBegun(begun.run), begun)?;
        let ids = self.ids()?;
        let forgotten = ids.len().saturating_sub(RUNS_MAX);
        // In this order, so that a run that completed never looks as if it had been interrupted.
        for half in [LakePath::RunBegun, LakePath::RunEnded] {
            self.store.remove_all(&ids.iter().take(forgotten).copied().map(half).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Records how a run ended.
    pub fn end(&self, ended: &Ended) -> Result<()> {
        self.write(ended.run, &LakePath::RunEnded(ended.run), ended)
    }

    /// Every run that is remembered, the newest first, each read when it is asked for.
    pub fn runs(&self) -> Result<impl Iterator<Item = Result<PastRun>> + use<>> {
        let history = self.clone();
        Ok(self.ids()?.into_iter().rev().filter_map(move |run| history.run(run).transpose()))
    }

    /// One run; `None` when its beginning is not there or cannot be read.
    fn run(&self, run: RunId) -> Result<Option<PastRun>> {
        let Some(begun) = self.read(&LakePath::RunBegun(run))? else { return Ok(None) };
        Ok(Some(PastRun { begun, ended: self.read(&LakePath::RunEnded(run))? }))
    }

    /// The ids of all runs, the oldest first: they are ordered by the time at which their runs began.
    fn ids(&self) -> Result<BTreeSet<RunId>> {
        let names = self.store.list(&LakePath::RunsFolder)?;
        Ok(names.iter().filter_map(|name| RunId::parse(name.split('.').next()?)).collect())
    }

    fn write(&self, run: RunId, place: &LakePath, record: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(record).map_err(|e| Error::bug("cannot write the record of a run").source(e))?;
        self.store.write(run, place, json)
    }

    /// A record. What is not one, as a crash may leave it, is reported and counts as absent.
    fn read<T: DeserializeOwned>(&self, place: &LakePath) -> Result<Option<T>> {
        let Some(bytes) = self.store.read(place)? else { return Ok(None) };
        let record = serde_json::from_slice(&bytes);
        if let Err(e) = &record {
            warn!(record = %place, cause = %e, "ignored what is not the record of a run");
        }
        Ok(record.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::local::{Disk, FailPoint};
    use crate::lake::testing::{at, run_id};

    fn history() -> (tempfile::TempDir, History) {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(temp.path(), FailPoint::never());
        (0..RUNS_MAX as u128 + 3).for_each(|run| disk.create_folder(&LakePath::Staging(run_id(run))).unwrap());
        (temp, History::new(disk))
    }

    fn begun(run: u128) -> Begun {
        Begun {
            version: VERSION,
            run: run_id(run),
            command: "export".to_owned(),
            request: Some("0f".to_owned()),
            asked: None,
            begun_at: at("2025-02-01T00:00:00Z"),
            tool: "convlake 0".to_owned(),
            other: Map::new(),
        }
    }

    fn ended(run: u128, exit: u8) -> Ended {
        Ended {
            version: VERSION,
            run: run_id(run),
            ended_at: at("2025-02-01T01:00:00Z"),
            exit,
            conversations: 7,
            calls: 8,
            days: DayCounts { published: 1, ..DayCounts::default() },
            watermark: None,
            other: Map::new(),
        }
    }

    fn runs(history: &History) -> Vec<PastRun> {
        history.runs().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn runs_are_told_newest_first_with_their_ends() {
        let (_temp, history) = history();
        assert!(runs(&history).is_empty());
        for run in 1..=3 {
            history.begin(&begun(run)).unwrap();
        }
        history.end(&ended(1, 0)).unwrap();
        history.end(&ended(3, 75)).unwrap();
        let told = runs(&history);
        assert_eq!(told.iter().map(|run| run.begun.clone()).collect::<Vec<_>>(), [begun(3), begun(2), begun(1)]);
        assert_eq!(
            told.iter().map(|run| run.ended.clone()).collect::<Vec<_>>(),
            [Some(ended(3, 75)), None, Some(ended(1, 0))]
        );
        assert_eq!(told.iter().map(PastRun::completed).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn only_the_latest_runs_are_remembered() {
        let (_temp, history) = history();
        for run in 0..RUNS_MAX as u128 + 3 {
            history.begin(&begun(run)).unwrap();
            history.end(&ended(run, 0)).unwrap();
        }
        let told = runs(&history);
        assert_eq!(told.len(), RUNS_MAX);
        assert_eq!(told.last().unwrap().begun, begun(3));
        assert_eq!(history.store.list(&LakePath::RunsFolder).unwrap().len(), 2 * RUNS_MAX);
    }

    #[test]
    fn what_is_not_a_record_is_no_run_and_no_error() {
        let (_temp, history) = history();
        history.begin(&begun(1)).unwrap();
        history.begin(&begun(2)).unwrap();
        history.store.write(run_id(1), &LakePath::RunEnded(run_id(1)), b"{\"version\": 1, \"ru".to_vec()).unwrap();
        history.store.write(run_id(2), &LakePath::RunBegun(run_id(2)), Vec::new()).unwrap();
        history.end(&ended(3, 0)).unwrap();
        assert_eq!(runs(&history), [PastRun { begun: begun(1), ended: None }]);
    }

    #[test]
    fn what_a_later_version_adds_is_read_and_kept() {
        let mut later = serde_json::to_value(begun(1)).unwrap();
        later["host"] = "a".into();
        let read: Begun = serde_json::from_value(later.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), later);
    }
}
