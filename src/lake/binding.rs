//! What a lake is, is decided with the first thing that stays in it: `lake.json` is written before the first file of the
//! first published day, or before the first record that is kept in quarantine. Until then a run that failed binds
//! nobody: the next one may be of another source or another selection.
//!
//! Of two first runs at the same time one writes it, and the other belongs to it or ends before it publishes anything.

use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use tracing::info;

use super::bucket::Tag;
use super::identity::{FORMAT, Identity, LakeFile};
use super::layout::{Dataset, LakePath, Month, RecordName};
use super::ledger::Record;
use super::local::Disk;
use super::open::{Committing, Lake};
use super::receipt::Anchor;
use super::store::Store;
use crate::error::{Error, Result};

/// How often the identity is written again because another run wrote it meanwhile.
const ATTEMPTS: usize = 8;

/// Whether `lake.json` says what the lake is.
#[derive(Debug)]
pub(super) enum Binding {
    /// It does.
    Bound,
    /// It does, in the format of an earlier version.
    Early,
    /// Nothing that stays was written yet. What is to be noted of the lake waits.
    Open {
        /// The organization that the source says it is.
        organization: Option<String>,
        /// Where `sync` begins.
        anchor: Option<Anchor>,
    },
}

impl Binding {
    /// The binding of a lake of which `lake.json` says that it has `format`, or nothing.
    pub(super) fn new(format: Option<u32>) -> Binding {
        match format {
            Some(FORMAT) => Binding::Bound,
            Some(_) => Binding::Early,
            None => Binding::Open { organization: None, anchor: None },
        }
    }
}

impl Lake {
    /// Checks the organization that the source says it is against the lake's, and notes it there the first time.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the lake is of another one; [`crate::error::Kind::Storage`].
    pub fn identify(&self, organization: &str) -> Result<()> {
        let held = self.committing()?;
        let known = Identity { organization: Some(organization.to_owned()), ..self.identity().clone() };
        {
            let mut binding = self.binding();
            match &mut *binding {
                Binding::Bound | Binding::Early => {}
                Binding::Open { organization, .. } => organization.clone_from(&known.organization),
            }
        }
        self.settle(&known, false, &held)
    }

    /// Notes where `sync` begins: now, or with the first thing that stays.
    pub(super) fn note_anchor(&self, noted: Anchor) -> Result<()> {
        if let Binding::Open { anchor, .. } = &mut *self.binding() {
            *anchor = Some(noted);
            return Ok(());
        }
        self.write_anchor(noted)
    }

    /// Makes the lake what this run takes it for. Called before anything is written that stays. The caller has the right
    /// to commit.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when another run has made it another lake meanwhile;
    /// [`crate::error::Kind::Storage`].
    pub(super) fn bind(&self, held: &Committing<'_>) -> Result<()> {
        if let Some(mine) = self.awaited() {
            self.settle(&mine, true, held)?;
        }
        let is_early = matches!(*self.binding(), Binding::Early);
        if is_early { self.raise(held) } else { Ok(()) }
    }

    /// Makes a lake of an earlier format one of this version's: from here on an earlier version refuses it.
    fn raise(&self, held: &Committing<'_>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some((mut file, tag)) = read_identity(&self.store)? else { break };
            if file.format == FORMAT {
                return self.bound(FORMAT);
            }
            info!(lake = %self.id(), from = file.format, to = FORMAT, "raises the lake's format");
            file.format = FORMAT;
            self.write_identity(&file, tag, held)?;
        }
        Err(Error::later("other runs keep writing `lake.json`").hint("run again"))
    }

    /// Writes `lake.json` in the place of the version with `tag`, or of none. Another run may be first.
    fn write_identity(&self, file: &LakeFile, tag: Option<Tag>, _held: &Committing<'_>) -> Result<()> {
        match (&self.store, tag) {
            (Store::Disk(disk), _) => write_identity(disk, file),
            // Written by us or by another run at the same moment: what counts is what is there then.
            (Store::Bucket(bucket), Some(tag)) => {
                bucket.replace(&LakePath::Identity, file.to_json()?.into(), tag).map(drop)
            }
            (Store::Bucket(bucket), None) => bucket.create(&LakePath::Identity, file.to_json()?.into()).map(drop),
        }
    }

    /// Whether the lake is still what this run takes it for, if it is anything by now.
    ///
    /// # Errors
    /// Those of [`Lake::bind`].
    pub(super) fn agree(&self) -> Result<()> {
        let Some(mine) = self.awaited() else { return Ok(()) };
        let held = self.committing()?;
        self.settle(&mine, false, &held)
    }

    /// Whether `lake.json` says what the lake is, as far as this run knows.
    pub(super) fn is_bound(&self) -> bool {
        self.awaited().is_none()
    }

    /// What the lake is to be; `None` when it is that.
    fn awaited(&self) -> Option<Identity> {
        match &*self.binding() {
            Binding::Bound | Binding::Early => None,
            Binding::Open { organization, .. } => {
                Some(Identity { organization: organization.clone(), ..self.identity().clone() })
            }
        }
    }

    /// Compares `lake.json` with `mine`, adds the organization to it, and if it is not there yet, may `make` it. Then
    /// what waited for it is noted.
    fn settle(&self, mine: &Identity, make: bool, held: &Committing<'_>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let (mut file, tag) = match read_identity(&self.store)? {
                Some((file, tag)) => {
                    mine.check(&file.identity)?;
                    if mine.organization.is_none() || file.identity.organization.is_some() {
                        return self.bound(file.format);
                    }
                    (file, tag)
                }
                None if make => {
                    info!(lake = %self.id(), root = %self.store, "makes the lake");
                    (self.file().clone(), None)
                }
                None => return Ok(()),
            };
            file.identity.organization.clone_from(&mine.organization);
            self.write_identity(&file, tag, held)?;
        }
        Err(Error::later("other runs keep writing `lake.json`").hint("run again"))
    }

    /// Notes what waited for a lake of `format`.
    fn bound(&self, format: u32) -> Result<()> {
        let mut binding = self.binding();
        if let Binding::Open { anchor: Some(anchor), .. } = &*binding {
            self.write_anchor(anchor.clone())?;
        }
        *binding = Binding::new(Some(format));
        Ok(())
    }

    fn write_anchor(&self, anchor: Anchor) -> Result<()> {
        let (day, run) = (anchor.day, anchor.run);
        let json = Record { anchors: vec![anchor], ..Record::default() }.to_json()?;
        let name = RecordName::anchor(day, run, xxhash_rust::xxh3::xxh3_128(&json));
        self.records(Dataset::Conversations).append(run, Month::of(day), name, json)
    }

    fn binding(&self) -> MutexGuard<'_, Binding> {
        // A panic while it was held left nothing half said.
        self.binding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the lake is, and in a bucket the version of the object that says so.
pub(super) fn read_identity(store: &Store) -> Result<Option<(LakeFile, Option<Tag>)>> {
    let found = match store {
        Store::Disk(disk) => disk.read(&LakePath::Identity)?.map(|text| (text.into(), None)),
        Store::Bucket(bucket) => bucket.read_tagged(&LakePath::Identity)?.map(|(text, tag)| (text, Some(tag))),
    };
    found.map(|(text, tag): (Bytes, _)| Ok((LakeFile::from_json(&text)?, tag))).transpose()
}

fn write_identity(disk: &Disk, file: &LakeFile) -> Result<()> {
    disk.write(&LakePath::StagedIdentity, &file.to_json()?)?;
    disk.rename(&LakePath::StagedIdentity, &LakePath::Identity)?;
    disk.sync_folder(&LakePath::Control)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::error::Kind;
    use crate::flatten::batch::{BadReason, BadRecord, Position};
    use crate::lake::identity::Family;
    use crate::lake::local::FailPoint;
    use crate::lake::testing::{at, bind, day, identity, run_id, specs};
    use crate::lake::{Origin, Run};
    use crate::time::Clock;

    fn other() -> Identity {
        Identity { family: Family::Cursor, ..identity() }
    }

    fn run(lake: &Arc<Lake>, id: u128) -> Run {
        let clock = Clock::starting_at(at("2025-02-01T00:00:00Z"));
        lake.begin(run_id(id), Dataset::Conversations, specs(1).into(), clock).unwrap()
    }

    fn anchor(root: &Path) -> Option<crate::time::Day> {
        Lake::open_existing(root).unwrap().ledger().unwrap().anchor()
    }

    #[test]
    fn a_run_that_keeps_nothing_leaves_a_lake_that_may_become_another() {
        let temp = tempfile::tempdir().unwrap();
        let failed = Lake::open(temp.path(), &identity()).unwrap();
        let begun = run(&failed, 1);
        failed.identify("a").unwrap();
        begun.set_anchor(day("2020-01-01")).unwrap();
        begun.quarantine().keep_response(b"<html>").unwrap();
        begun.quarantine().add_failed(|_| Origin::default(), &[bad(b"{}")]).unwrap();
        drop(begun);
        assert_eq!(Lake::open_existing(temp.path()).unwrap_err().kind(), Kind::Config);
        let corrected = Lake::open(temp.path(), &other()).unwrap();
        corrected.identify("b").unwrap();
        let begun = run(&corrected, 2);
        begun.set_anchor(day("2025-01-01")).unwrap();
        bind(&corrected).unwrap();
        assert_eq!(anchor(temp.path()), Some(day("2025-01-01")));
        let made = Lake::open_existing(temp.path()).unwrap();
        assert_eq!(made.identity(), &Identity { organization: Some("b".to_owned()), ..other() });
        assert_eq!(Lake::open(temp.path(), &identity()).unwrap_err().kind(), Kind::Config);
    }

    fn bad(raw: &'static [u8]) -> BadRecord {
        let position = Position { chain: 0, page: 1, index: 0 };
        BadRecord { position, reason: BadReason::NoId, raw: Bytes::from_static(raw) }
    }

    #[test]
    fn a_record_that_is_kept_makes_the_lake() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        run(&lake, 1).quarantine().add(|_| Origin::default(), &[bad(b"{}")]).unwrap();
        assert_eq!(Lake::open_existing(temp.path()).unwrap().id(), lake.id());
    }

    #[test]
    fn of_two_first_runs_the_second_to_keep_anything_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let open = |identity: &Identity| Lake::open(temp.path(), identity).unwrap();
        let (first, same, another) = (open(&identity()), open(&identity()), open(&other()));
        let begun = run(&same, 2);
        begun.set_anchor(day("2025-01-01")).unwrap();
        bind(&first).unwrap();
        for refused in [bind(&another), another.agree(), another.identify("a")] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), Kind::Config);
            assert!(refused.to_string().contains("another family"), "{refused}");
        }
        let kept = run(&another, 3).quarantine().add(|_| Origin::default(), &[bad(b"{}")]);
        assert_eq!(kept.unwrap_err().kind(), Kind::Config);
        assert!(!temp.path().join("_convlake/quarantine").exists());
        same.agree().unwrap();
        assert_eq!(anchor(temp.path()), Some(day("2025-01-01")), "what waited is noted, whoever made the lake");
    }

    #[test]
    fn the_organization_is_noted_once_and_then_has_to_be_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        lake.identify("a").unwrap();
        bind(&lake).unwrap();
        lake.identify("a").unwrap();
        let again = Lake::open(temp.path(), &identity()).unwrap();
        assert_eq!(again.identity().organization.as_deref(), Some("a"));
        let refused = again.identify("b").unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.to_string().contains("\"a\"") && refused.to_string().contains("\"b\""), "{refused}");

        let temp = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Lake::open(temp.path(), &identity()).unwrap());
        bind(&first).unwrap();
        second.identify("a").unwrap();
        assert_eq!(first.identify("b").unwrap_err().kind(), Kind::Config, "also in a lake that had none");
    }

    #[test]
    fn a_lake_that_was_hardly_made_is_made_by_the_next_run() {
        for operations in 0.. {
            let temp = tempfile::tempdir().unwrap();
            let root = temp.path().join("lake");
            let dying = Disk::new(&root, FailPoint::after(operations));
            let done = Lake::open(dying, &identity()).and_then(|lake| bind(&lake)).is_ok();
            bind(&Lake::open(root.as_path(), &identity()).unwrap()).unwrap();
            assert_eq!(Lake::open_existing(root.as_path()).unwrap().identity(), &identity());
            if done {
                assert!(operations > 5);
                return;
            }
        }
    }
}
