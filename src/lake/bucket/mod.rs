//! A lake's objects in S3, Google Cloud Storage, Azure Blob Storage, or a store that speaks like one of them.
//!
//! A store has no locks, no renames and no appends, but an object appears whole or not at all, and a write can be made
//! to depend on what it replaces. Everything here blocks: the calls run on a runtime of the bucket's own, so that any
//! thread may wait for them, also one of a runtime whose time is simulated.
//!
//! After an error of a conditional write nothing is concluded from its kind: a client repeats requests, and a repeated
//! write that had arrived the first time is refused. What stands in the object is read back instead.

mod items;
mod location;
mod object;
mod patience;
mod probe;
mod swap;

use std::fmt;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};

pub use items::{Item, ItemReader};
pub use location::{Location, StoreOptions};
pub use object::{RemoteObject, RemoteReader};
pub(super) use swap::{Expected, Swap};

use super::layout::LakePath;
use crate::error::{Error, Result};
use crate::secrets::{Secrets, Told};

/// Calls to a store at the same time, over all that one batch asks for.
const CALLS_MAX: usize = 16;
/// Threads that drive the calls; they only wait.
const IO_THREADS: usize = 2;
/// Bytes from the end of a file that are read with its metadata: the footer of all but the widest files.
const TAIL_BYTES: u64 = 64 * 1024;

/// What identifies one version of an object.
pub type Tag = UpdateVersion;

/// The objects of a lake.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// As the operator wrote it.
    name: String,
    single_writer: bool,
    /// What the store was told and may say again.
    secrets: Secrets,
    io: Io,
}

/// Runs the calls; given up without waiting when the last lake is dropped, wherever that happens.
struct Io(Option<Runtime>);

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.name).finish()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl Bucket {
    /// The lake below `prefix` of `objects`; `name` is what people call it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when no threads can be had.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Path, name: String) -> Result<Bucket> {
        let io = Builder::new_multi_thread().worker_threads(IO_THREADS).thread_name("store").enable_all().build();
        let io = Io(Some(io.map_err(|e| Error::bug("cannot start the store's runtime").source(e))?));
        Ok(Bucket(Arc::new(Inner { objects, prefix, name, single_writer: false, secrets: Secrets::default(), io })))
    }

    /// The same lake, whose errors do not show these.
    #[must_use]
    pub fn hiding<'a>(self, secrets: impl IntoIterator<Item = &'a str>) -> Bucket {
        secrets.into_iter().for_each(|secret| self.0.secrets.keep(secret));
        self
    }

    /// The same lake, for an operator who says that no other run writes to it: nothing is asked of the store but whole
    /// objects.
    #[must_use]
    pub fn for_a_single_writer(self) -> Bucket {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Bucket(Arc::new(Inner { single_writer: true, ..inner })),
            Err(shared) => Bucket(shared),
        }
    }

    /// Whether no other run may write at the same time.
    pub fn is_for_a_single_writer(&self) -> bool {
        self.0.single_writer
    }

    /// The names of objects and folders in a folder, sorted.
    pub fn list(&self, place: &LakePath) -> Result<Vec<String>> {
        let folder = self.key(place)?;
        Ok(self.listing(Some(folder), place.to_string())?.into_iter().map(|(name, _)| name).collect())
    }

    /// The names at the root of the lake, sorted.
    pub fn list_root(&self) -> Result<Vec<String>> {
        let root = (self.0.prefix != Path::default()).then(|| self.0.prefix.clone());
        Ok(self.listing(root, String::new())?.into_iter().map(|(name, _)| name).collect())
    }

    fn listing(&self, folder: Option<Path>, place: String) -> Result<Vec<(String, Option<ObjectMeta>)>> {
        let objects = Arc::clone(&self.0.objects);
        let listed = self.wait(async move { listing(objects.as_ref(), folder).await })?;
        listed.map_err(|e| self.failed("list", &place, e))
    }

    /// Reads an object whole; `None` when it is not there.
    pub fn read(&self, place: &LakePath) -> Result<Option<Bytes>> {
        Ok(self.read_all(std::slice::from_ref(place))?.pop().flatten())
    }

    /// Reads objects whole, in their order; `None` for one that is not there.
    pub fn read_all(&self, places: &[LakePath]) -> Result<Vec<Option<Bytes>>> {
        self.each(places, "read", |objects, key| async move {
            let found = match objects.get(&key).await {
                Ok(found) => found.bytes().await,
                Err(e) => Err(e),
            };
            match found {
                Err(StoreError::NotFound { .. }) => Ok(None),
                found => found.map(Some),
            }
        })
    }

    /// Reads an object whole, and which version it is of; `None` when it is not there.
    pub(super) fn read_tagged(&self, place: &LakePath) -> Result<Option<(Bytes, Tag)>> {
        let mut found = self.each(std::slice::from_ref(place), "read", |objects, key| async move {
            match objects.get(&key).await {
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
                Ok(found) => {
                    let tag = Tag { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                    Ok(Some((found.bytes().await?, tag)))
                }
            }
        })?;
        Ok(found.pop().flatten())
    }

    /// Opens an object for reading; `None` when it is not there.
    pub fn open(&self, place: &LakePath) -> Result<Option<RemoteObject>> {
        let mut opened = self.each(std::slice::from_ref(place), "open", |objects, key| async move {
            let size = match objects.head(&key).await {
                Ok(found) => found.size,
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(e) => return Err(e),
            };
            tail(objects.as_ref(), &key, size).await
        })?;
        Ok(opened.pop().flatten().map(|tail| RemoteObject::new(self.clone(), place.clone(), tail)))
    }

    /// Opens the object `place` of a `folder` together with the names in it: two calls at a time for every pair, all
    /// pairs concurrently.
    pub(super) fn open_slots(
        &self,
        slots: &[(LakePath, LakePath)],
    ) -> Result<Vec<(Vec<String>, Option<RemoteObject>)>> {
        let folders: Vec<LakePath> = slots.iter().map(|(folder, _)| folder.clone()).collect();
        let parts: Vec<Path> = slots.iter().map(|(_, part)| self.key(part)).collect::<Result<_>>()?;
        let found = self.each_with(&folders, parts, "look at", |objects, folder, part| async move {
            let listed = listing(objects.as_ref(), Some(folder)).await?;
            let own = listed.iter().filter_map(|(_, meta)| meta.as_ref()).find(|meta| meta.location == part);
            let opened = match own {
                Some(meta) => tail(objects.as_ref(), &part, meta.size).await?,
                None => None,
            };
            Ok((listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), opened))
        })?;
        let found = found.into_iter().zip(slots).map(|((names, tail), (_, part))| {
            (names, tail.map(|tail| RemoteObject::new(self.clone(), part.clone(), tail)))
        });
        Ok(found.collect())
    }

    /// Writes a whole object under a name that is used once.
    pub fn write(&self, place: &LakePath, bytes: Bytes) -> Result<()> {
        let (objects, key) = (Arc::clone(&self.0.objects), self.key(place)?);
        let put = self.wait(async move { objects.put(&key, PutPayload::from_bytes(bytes)).await })?;
        put.map(drop).map_err(|e| self.failed("write", &place.to_string(), e))
    }

    /// Writes a whole object if there is none; whether it did. When in doubt, no: read what is there.
    pub(super) fn create(&self, place: &LakePath, bytes: Bytes) -> Result<bool> {
        self.write_if(place, bytes, PutMode::Create)
    }

    /// Writes a whole object in the place of the version `tag`; whether it did. When in doubt, no.
    pub(super) fn replace(&self, place: &LakePath, bytes: Bytes, tag: Tag) -> Result<bool> {
        self.write_if(place, bytes, PutMode::Update(tag))
    }

    fn write_if(&self, place: &LakePath, bytes: Bytes, mode: PutMode) -> Result<bool> {
        let mode = if self.0.single_writer { PutMode::Overwrite } else { mode };
        match self.put(place, bytes, mode)? {
            Ok(_) => Ok(true),
            Err(e) if is_refusal(&e) => Ok(false),
            Err(e) => Err(self.failed("write", &place.to_string(), e)),
        }
    }

    fn put(&self, place: &LakePath, bytes: Bytes, mode: PutMode) -> Result<object_store::Result<Tag>> {
        let (objects, key) = (Arc::clone(&self.0.objects), self.key(place)?);
        let options = PutOptions { mode, ..PutOptions::default() };
        self.wait(async move { objects.put_opts(&key, bytes.into(), options).await.map(Tag::from) })
    }

    /// Removes objects; one that is not there is removed.
    pub fn remove_all(&self, places: &[LakePath]) -> Result<()> {
        let removed = self.each(places, "remove", |objects, key| async move {
            match objects.delete(&key).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                removed => removed,
            }
        })?;
        debug_assert_eq!(removed.len(), places.len());
        Ok(())
    }

    /// Bytes `from..to` of the version `tag` of an object.
    pub(super) fn range(&self, place: &LakePath, tag: &Tag, from: u64, to: u64) -> Result<Bytes> {
        let (objects, key, if_match) = (Arc::clone(&self.0.objects), self.key(place)?, tag.e_tag.clone());
        let options = GetOptions { range: Some(GetRange::Bounded(from..to)), if_match, ..GetOptions::default() };
        let read = self.wait(async move { objects.get_opts(&key, options).await?.bytes().await })?;
        read.map_err(|e| self.failed("read", &place.to_string(), e))
    }

    fn each<T, F, C>(&self, places: &[LakePath], verb: &str, call: C) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
        C: Fn(Arc<dyn ObjectStore>, Path) -> F + Send + Sync + 'static,
    {
        self.each_with(places, vec![(); places.len()], verb, move |objects, key, ()| call(objects, key))
    }

    /// One call a place, many at a time; the results in the order of the places, or the first error.
    fn each_with<T, W, F, C>(&self, places: &[LakePath], with: Vec<W>, verb: &str, call: C) -> Result<Vec<T>>
    where
        T: Send + 'static,
        W: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
        C: Fn(Arc<dyn ObjectStore>, Path, W) -> F + Send + Sync + 'static,
    {
        let keys: Vec<Path> = places.iter().map(|place| self.key(place)).collect::<Result<_>>()?;
        let objects = Arc::clone(&self.0.objects);
        let done = self.wait(async move {
            let calls = keys.into_iter().zip(with).enumerate().map(|(index, (key, with))| {
                let call = call(Arc::clone(&objects), key, with);
                async move { call.await.map_err(|e| (index, e)) }
            });
            futures::stream::iter(calls).buffered(CALLS_MAX).try_collect::<Vec<T>>().await
        })?;
        done.map_err(|(index, e)| {
            let place = places.get(index).map(ToString::to_string).unwrap_or_default();
            self.failed(verb, &place, e)
        })
    }

    fn key(&self, place: &LakePath) -> Result<Path> {
        let text = format!("{}/{place}", self.0.prefix);
        Path::parse(text.trim_start_matches('/'))
            .map_err(|e| Error::bug(format!("`{place}` cannot be the name of an object")).source(e))
    }

    /// Waits for a call without taking part in any runtime of the caller's.
    fn wait<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (send, receive) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.0.io.0 {
            runtime.spawn(async move { drop(send.send(call.await)) });
        }
        receive.recv().map_err(|e| Error::bug("a call of the store died").source(e))
    }

    /// A storage error with the object's name and, where the cause is a known one, what to do.
    fn failed(&self, verb: &str, place: &str, error: StoreError) -> Error {
        let hint = match &error {
            StoreError::Unauthenticated { .. } => "the store does not know these credentials",
            StoreError::PermissionDenied { .. } => {
                "these credentials may not do that: a lake needs to list, read, write and delete below its prefix"
            }
            StoreError::NotFound { .. } => "does the bucket exist, in this region and account?",
            StoreError::Precondition { .. } => "another run replaced it meanwhile: run again",
            _ => "what is published is untouched: run again when the store is back",
        };
        Error::storage(format!("cannot {verb} `{self}/{place}`")).source(cause(&error, &self.0.secrets)).hint(hint)
    }
}

/// Whether a conditional write was refused by its condition, as far as the store's word goes.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotFound { .. })
}

/// What a store said, as one line without our secrets and the queries of URLs, which may hold signatures.
fn cause(error: &StoreError, secrets: &Secrets) -> Told {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?…"),
        _ => word.to_owned(),
    });
    secrets.tell(&words.collect::<Vec<_>>().join(" "))
}

/// Names in a folder; objects come with what the store says of them.
async fn listing(
    objects: &dyn ObjectStore,
    folder: Option<Path>,
) -> object_store::Result<Vec<(String, Option<ObjectMeta>)>> {
    let listed = match objects.list_with_delimiter(folder.as_ref()).await {
        Ok(listed) => listed,
        Err(StoreError::NotFound { .. }) if folder.is_some() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let folders = listed.common_prefixes.into_iter().map(|path| (path, None));
    let files = listed.objects.into_iter().map(|meta| (meta.location.clone(), Some(meta)));
    let mut names: Vec<_> = folders
        .chain(files)
        .filter_map(|(path, meta)| Some((path.parts().next_back()?.as_ref().to_owned(), meta)))
        .collect();
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// The end of an object, and which version it is of.
pub(super) struct Tail {
    pub(super) bytes: Bytes,
    pub(super) size: u64,
    pub(super) tag: Tag,
}

/// Reads the end of an object that was `size` bytes long a moment ago; `None` when it is gone.
async fn tail(objects: &dyn ObjectStore, key: &Path, mut size: u64) -> object_store::Result<Option<Tail>> {
    loop {
        let range = (size > 0).then(|| GetRange::Bounded(size.saturating_sub(TAIL_BYTES)..size));
        let found = match objects.get_opts(key, GetOptions { range, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => match objects.head(key).await {
                // It was replaced by a shorter one, so the range was none of it.
                Ok(now) if now.size != size => {
                    size = now.size;
                    continue;
                }
                _ => return Err(e),
            },
        };
        if found.meta.size != size {
            size = found.meta.size;
            continue;
        }
        let tag = Tag { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        return Ok(Some(Tail { bytes: found.bytes().await?, size, tag }));
    }
}

#[cfg(test)]
mod tests;
