//! What could not be read is kept as it came: bad records one a line, refused responses whole. Mode 0600.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::layout::{LakePath, RunId};
use super::local::{Disk, failed};
use crate::error::{Error, Result};
use crate::flatten::batch::BadRecord;
use crate::time::Day;

/// The bad records of one run. Its files are made when the first one comes.
#[derive(Debug)]
pub struct Quarantine {
    disk: Disk,
    run: RunId,
    file: Mutex<Option<File>>,
    refused: AtomicU32,
}

/// Where a bad record came from, beside its position.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Origin<'a> {
    /// What was asked for: an interval, or an input file.
    pub place: &'a str,
    /// The day that owns it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Day>,
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
    pub(super) fn new(disk: Disk, run: RunId) -> Quarantine {
        Quarantine { disk, run, file: Mutex::default(), refused: AtomicU32::new(0) }
    }

    /// Adds records and makes them durable.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be written.
    pub fn add(&self, origin: Origin<'_>, records: &[BadRecord]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, &self.line(origin, record))
                .map_err(|e| Error::bug("cannot write a line of quarantine").source(e))?;
            lines.push(b'\n');
        }
        let place = LakePath::Quarantine(self.run);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match file.as_mut() {
            Some(open) => open,
            None => {
                self.disk.create_folder(&LakePath::QuarantineFolder)?;
                let made = self.disk.append(&place)?;
                self.disk.sync_folder(&LakePath::QuarantineFolder)?;
                file.insert(made)
            }
        };
        open.write_all(&lines).map_err(|e| failed("write", &self.disk.root().join(place.to_string()), e))?;
        self.disk.sync(open, &place)
    }

    /// Keeps a whole response that was refused, and says where.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn keep_response(&self, body: &[u8]) -> Result<LakePath> {
        let place = LakePath::Refused(self.run, self.refused.fetch_add(1, Ordering::Relaxed));
        self.disk.create_folder(&LakePath::QuarantineFolder)?;
        self.disk.write(&place, body)?;
        self.disk.sync_folder(&LakePath::QuarantineFolder)?;
        Ok(place)
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
    use crate::lake::local::FailPoint;
    use crate::lake::testing::{day, run_id};
    use serde_json::{Value, json};

    #[test]
    fn a_record_is_kept_as_it_came() {
        let temp = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Disk::new(temp.path(), FailPoint::default()), run_id(1));
        quarantine.add(Origin::default(), &[]).unwrap();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "no bad record, no file");

        let bad = |index, reason, raw: &'static [u8]| BadRecord {
            position: Position { chain: 1, page: 2, index },
            reason,
            raw: bytes::Bytes::from_static(raw),
        };
        let origin = Origin { place: "2025-01-01/2025-01-08", day: Some(day("2025-01-01")) };
        quarantine
            .add(origin, &[bad(0, BadReason::NoId, b"{\"a\":\"\n\"}"), bad(1, BadReason::NotJson, b"\xff")])
            .unwrap();
        quarantine.add(Origin { place: "x.json", day: None }, &[bad(2, BadReason::NotObject, b"7")]).unwrap();

        let text = std::fs::read_to_string(temp.path().join(LakePath::Quarantine(run_id(1)).to_string())).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let run = run_id(1).to_string();
        assert_eq!(
            lines,
            [
                json!({"reason": "no_id", "chain": 1, "page": 2, "index": 0, "place": origin.place, "day": "2025-01-01", "run": run, "raw": "{\"a\":\"\n\"}"}),
                json!({"reason": "not_json", "chain": 1, "page": 2, "index": 1, "place": origin.place, "day": "2025-01-01", "run": run, "raw_base64": "/w=="}),
                json!({"reason": "not_object", "chain": 1, "page": 2, "index": 2, "place": "x.json", "run": run, "raw": "7"}),
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn responses_are_numbered_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Disk::new(temp.path(), FailPoint::default()), run_id(1));
        for (number, body) in [b"first".as_slice(), b"second"].into_iter().enumerate() {
            let place = quarantine.keep_response(body).unwrap();
            assert_eq!(place, LakePath::Refused(run_id(1), number as u32));
            let path = temp.path().join(place.to_string());
            assert_eq!(std::fs::read(&path).unwrap(), body);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o177, 0);
        }
    }
}
