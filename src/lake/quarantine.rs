//! What could not be read is kept as it came: bad records one a line, refused responses whole. Mode 0600.
//!
//! [`kept`] finds it again; [`retry`] reads it once more with today's schemas.

pub mod kept;
pub mod retry;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::forgotten::Forgotten;
use super::layout::{LakePath, RunId};
use super::open::Lake;
use crate::error::{Error, Result};
use crate::flatten::batch::BadRecord;
use crate::time::Day;

/// The bad records of one run: a file for those that were found together.
#[derive(Debug)]
pub struct Quarantine {
    lake: Arc<Lake>,
    run: RunId,
    records: AtomicU32,
    refused: AtomicU32,
}

/// Where a bad record came from, beside its position.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin<'a> {
    /// What was asked for: an interval, or an input file.
    pub place: Cow<'a, str>,
    /// The day that owns it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Day>,
    /// The generation of the observation that brought it.
    pub generation: u64,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    reason: &'static str,
    chain: u32,
    page: u32,
    index: u32,
    #[serde(flatten)]
    origin: Origin<'a>,
    run: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    /// In the place of `raw` when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

impl Quarantine {
    pub(super) fn new(lake: Arc<Lake>, run: RunId) -> Quarantine {
        Quarantine { lake, run, records: AtomicU32::new(0), refused: AtomicU32::new(0) }
    }

    /// Adds records, each with its `origin`, and makes them durable, but for those that name a conversation that is to be
    /// forgotten, or whose file is named like one.
    ///
    /// They can be read again as records of this lake, so the first of them makes it one.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be written; [`crate::error::Kind::Config`] when another run has
    /// made it another lake meanwhile.
    pub fn add<'o>(&self, origin: impl Fn(&BadRecord) -> Origin<'o>, records: &[BadRecord]) -> Result<()> {
        let place = || LakePath::Quarantine(self.run, self.records.fetch_add(1, Ordering::Relaxed));
        self.keep_records(origin, records, place)
    }

    /// Keeps what a slice brought that failed as a whole: like other records, or, where nothing was published yet, in the
    /// place of a response. A first run that fails binds nobody, and its records are those of no lake.
    ///
    /// # Errors
    /// Those of [`Quarantine::add`].
    pub fn add_failed<'o>(&self, origin: impl Fn(&BadRecord) -> Origin<'o>, records: &[BadRecord]) -> Result<()> {
        if self.lake.is_bound() {
            return self.add(origin, records);
        }
        self.keep_records(origin, records, || self.next_response())
    }

    fn keep_records<'o>(
        &self,
        origin: impl Fn(&BadRecord) -> Origin<'o>,
        records: &[BadRecord],
        place: impl Fn() -> LakePath,
    ) -> Result<()> {
        self.keep(|forgotten| {
            let mut lines = Vec::new();
            for record in records.iter().filter(|record| !forgotten.mentioned_in(&record.raw)) {
                let origin = origin(record);
                if forgotten.mentioned_in(origin.place.as_bytes()) {
                    continue;
                }
                serde_json::to_writer(&mut lines, &self.line(origin, record))
                    .map_err(|e| Error::bug("cannot write a line of quarantine").source(e))?;
                lines.push(b'\n');
            }
            Ok((!lines.is_empty()).then(|| (place(), lines)))
        })
        .map(drop)
    }

    fn next_response(&self) -> LakePath {
        LakePath::Refused(self.run, self.refused.fetch_add(1, Ordering::Relaxed))
    }

    /// Keeps a whole response that was refused, and says where; not one that names a conversation to be forgotten.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn keep_response(&self, body: &[u8]) -> Result<Option<LakePath>> {
        self.keep(|forgotten| Ok((!forgotten.mentioned_in(body)).then(|| (self.next_response(), body.to_vec()))))
    }

    /// Puts `lines` in the place of a file that was kept, which may be of another run.
    pub(super) fn replace(&self, old: &LakePath, lines: Vec<u8>) -> Result<()> {
        if !lines.is_empty() {
            let place = LakePath::Quarantine(self.run, self.records.fetch_add(1, Ordering::Relaxed));
            self.lake.store.write(self.run, &place, lines)?;
        }
        self.lake.store.remove_all(std::slice::from_ref(old))
    }

    /// Writes what `make` makes of what is to be forgotten, again if that became more meanwhile.
    fn keep(&self, make: impl Fn(&Forgotten) -> Result<Option<(LakePath, Vec<u8>)>>) -> Result<Option<LakePath>> {
        loop {
            let forgotten = self.lake.forgotten()?;
            let Some((place, bytes)) = make(&forgotten)? else { return Ok(None) };
            if matches!(place, LakePath::Quarantine(..)) && !self.lake.is_bound() {
                self.lake.bind(&self.lake.committing()?)?;
            }
            self.lake.store.write(self.run, &place, bytes)?;
            if self.lake.forgotten()? == forgotten {
                return Ok(Some(place));
            }
            self.lake.store.remove_all(&[place])?;
        }
    }

    fn line<'a>(&self, origin: Origin<'a>, record: &'a BadRecord) -> Line<'a> {
        let text = std::str::from_utf8(&record.raw).ok();
        Line {
            reason: record.reason.name(),
            chain: record.position.chain,
            page: record.position.page,
            index: record.position.index,
            origin,
            run: self.run,
            raw: text,
            raw_base64: text.is_none().then(|| BASE64_STANDARD.encode(&record.raw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatten::batch::{BadReason, Position};
    use crate::lake::layout::Dataset;
    use crate::lake::run::Run;
    use crate::lake::testing::{at, day, identity, run_id, specs};
    use crate::time::Clock;
    use serde_json::{Value, json};

    fn run(root: &std::path::Path) -> Run {
        let clock = Clock::starting_at(at("2025-02-01T00:00:00Z"));
        Lake::open(root, &identity()).unwrap().begin(run_id(1), Dataset::Conversations, specs(0).into(), clock).unwrap()
    }

    #[test]
    fn a_record_is_kept_as_it_came() {
        let temp = tempfile::tempdir().unwrap();
        let run = run(temp.path());
        let quarantine = run.quarantine();
        quarantine.add(|_| Origin::default(), &[]).unwrap();
        assert!(!temp.path().join("_convlake/quarantine").exists(), "no bad record, no file");

        let bad = |index, reason, raw: &'static [u8]| BadRecord {
            position: Position { chain: 1, page: 2, index },
            reason,
            raw: bytes::Bytes::from_static(raw),
        };
        let origin = Origin { place: "2025-01-01/2025-01-08".into(), day: Some(day("2025-01-01")), generation: 4 };
        quarantine
            .add(|_| origin.clone(), &[bad(0, BadReason::NoId, b"{\"a\":\"\n\"}"), bad(1, BadReason::NotJson, b"\xff")])
            .unwrap();
        quarantine
            .add(|_| Origin { place: "x.json".into(), day: None, generation: 0 }, &[bad(2, BadReason::NotObject, b"7")])
            .unwrap();

        let file = |n| temp.path().join(LakePath::Quarantine(run_id(1), n).to_string());
        let text = [0, 1].map(|n| std::fs::read_to_string(file(n)).unwrap()).concat();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let run = run_id(1).to_string();
        assert_eq!(
            lines,
            [
                json!({"reason": "no_id", "chain": 1, "page": 2, "index": 0, "place": origin.place, "day": "2025-01-01", "generation": 4, "run": run, "raw": "{\"a\":\"\n\"}"}),
                json!({"reason": "not_json", "chain": 1, "page": 2, "index": 1, "place": origin.place, "day": "2025-01-01", "generation": 4, "run": run, "raw_base64": "/w=="}),
                json!({"reason": "not_object", "chain": 1, "page": 2, "index": 2, "place": "x.json", "generation": 0, "run": run, "raw": "7"}),
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn responses_are_numbered_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let run = run(temp.path());
        let quarantine = run.quarantine();
        for (number, body) in [b"first".as_slice(), b"second"].into_iter().enumerate() {
            let place = quarantine.keep_response(body).unwrap().unwrap();
            assert_eq!(place, LakePath::Refused(run_id(1), number as u32));
            let path = temp.path().join(place.to_string());
            assert_eq!(std::fs::read(&path).unwrap(), body);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o177, 0);
        }
    }
}
