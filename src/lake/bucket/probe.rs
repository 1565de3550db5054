//! What a store can do, found out before the first call to the source. A store that does not know a condition may
//! ignore it and answer 200, so it is not enough to ask; it has to be seen to refuse.

use bytes::Bytes;
use object_store::{PutMode, UpdateVersion};
use tracing::{debug, warn};
use uuid::Uuid;

use super::super::layout::LakePath;
use super::{Bucket, StoreError, Tag, is_refusal};
use crate::error::{Error, Result};

/// No version of any object: no store makes such a tag.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";
/// A probe older than this was left by a run that died.
const STALE_SECONDS: u64 = 24 * 3600;
/// Older than any version of an object that exists.
const NO_VERSION: &str = "1";

impl Bucket {
    /// Writes, lists and removes an object, and tries the conditions that publishing depends on.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when objects cannot be written, listed and removed;
    /// [`crate::error::Kind::Config`] when the store does not keep to conditions and the operator did not say that
    /// there is a single writer.
    pub(in crate::lake) fn probe(&self) -> Result<()> {
        let id = Uuid::now_v7();
        let place = LakePath::Probe(id);
        self.write(&place, Bytes::from_static(b"probe"))?;
        let missing = if self.is_for_a_single_writer() { None } else { self.missing_condition(&place)? };
        let listed = self.list(&LakePath::Probes)?;
        let listed: Vec<Uuid> = listed.iter().filter_map(|name| name.parse().ok()).collect();
        if !listed.contains(&id) {
            return Err(Error::storage(format!("`{self}` does not list an object that was just written"))
                .hint("a lake needs a store whose listings are up to date"));
        }
        let done = listed.into_iter().filter(|other| *other == id || is_stale(*other, id)).map(LakePath::Probe);
        self.remove_all(&done.collect::<Vec<_>>())?;
        match missing {
            None => Ok(()),
            Some(what) => Err(Error::config(format!("`{self}` cannot hold a lake that several runs write to: {what}"))
                .hint("make sure that only one run writes at a time, and say so with --single-writer")),
        }
    }

    /// The first condition that the store does not keep to.
    fn missing_condition(&self, place: &LakePath) -> Result<Option<&'static str>> {
        let body = || Bytes::from_static(b"probe again");
        let wrong = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: Some(NO_VERSION.to_owned()) };
        for (mode, ignored, unknown) in [
            (
                PutMode::Create,
                "it creates an object that is there already (`If-None-Match` is ignored)",
                "it does not create an object on condition (`If-None-Match` is not supported)",
            ),
            (
                PutMode::Update(wrong),
                "it replaces another version than the one it was told (`If-Match` is ignored)",
                "it does not replace an object on condition (`If-Match` is not supported)",
            ),
        ] {
            match self.put(place, body(), mode)? {
                Ok(_) => return Ok(Some(ignored)),
                Err(e) if is_refusal(&e) => {}
                Err(StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }) => return Ok(Some(unknown)),
                // Not an answer to the question.
                Err(e) => return Err(self.failed("write", &place.to_string(), e)),
            }
        }
        let tag: Option<Tag> = self.open(place)?.map(|object| object.tag().clone());
        let Some(tag) = tag else { return Ok(Some("an object that was just written is not there")) };
        match self.put(place, body(), PutMode::Update(tag))? {
            Ok(_) => {
                debug!(store = %self, "creates and replaces on condition");
                Ok(None)
            }
            Err(e) => {
                warn!(store = %self, cause = %super::cause(&e, &self.0.secrets), "a conditional replacement failed");
                Ok(Some("it does not replace the version that it was told (`If-Match` is not supported)"))
            }
        }
    }
}

/// Whether the run that made the probe `other` is long dead; ids begin with the time they were made.
fn is_stale(other: Uuid, now: Uuid) -> bool {
    let seconds = |id: Uuid| id.get_timestamp().map(|at| at.to_unix().0);
    seconds(other).zip(seconds(now)).is_some_and(|(other, now)| other + STALE_SECONDS < now)
}
