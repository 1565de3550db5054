//! Objects that belong to no lake, such as saved pages: found, and read from their beginning to their end.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};
use url::{Position, Url};

use super::{Bucket, StoreError, StoreOptions, cause};
use crate::error::{Error, Result};

/// Bytes that are asked for at a time.
const READ_BYTES: u64 = 8 << 20;

/// One version of an object.
#[derive(Clone)]
pub struct Item {
    bucket: Bucket,
    /// As people write it.
    name: String,
    key: Path,
    size: u64,
    e_tag: Option<String>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Item").field(&self.name).finish()
    }
}

impl Item {
    /// The object at `url`; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the settings make no store, [`crate::error::Kind::Storage`] when it cannot
    /// be asked.
    pub fn at(url: &Url, options: &StoreOptions) -> Result<Option<Item>> {
        let bucket = Bucket::connect(url, options)?;
        let (objects, key) = (Arc::clone(&bucket.0.objects), bucket.0.prefix.clone());
        match bucket.wait(async move { objects.head(&key).await })? {
            Ok(meta) => Ok(Some(Item::new(&bucket, url, meta))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(&bucket, "look at", url.as_str(), &e)),
        }
    }

    /// All objects below `url`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`Item::at`].
    pub fn below(url: &Url, options: &StoreOptions) -> Result<Vec<Item>> {
        let bucket = Bucket::connect(url, options)?;
        let (objects, prefix) = (Arc::clone(&bucket.0.objects), bucket.0.prefix.clone());
        let prefix = (prefix != Path::default()).then_some(prefix);
        let listed = bucket.wait(async move { objects.list(prefix.as_ref()).try_collect::<Vec<_>>().await })?;
        let mut listed = listed.map_err(|e| failed(&bucket, "list", url.as_str(), &e))?;
        listed.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(listed.into_iter().map(|meta| Item::new(&bucket, url, meta)).collect())
    }

    fn new(bucket: &Bucket, url: &Url, meta: ObjectMeta) -> Item {
        let name = format!("{}/{}", &url[..Position::BeforePath], meta.location);
        Item { bucket: bucket.clone(), name, key: meta.location, size: meta.size, e_tag: meta.e_tag }
    }

    /// Its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key in the bucket.
    pub fn key(&self) -> &str {
        self.key.as_ref()
    }

    /// Reads it; a version that replaces it meanwhile is an error.
    pub fn reader(&self) -> ItemReader {
        ItemReader { item: self.clone(), next: 0, buffer: Bytes::new() }
    }

    fn range(&self, from: u64, to: u64) -> Result<Bytes> {
        let (objects, key) = (Arc::clone(&self.bucket.0.objects), self.key.clone());
        let range = Some(GetRange::Bounded(from..to));
        let options = GetOptions { range, if_match: self.e_tag.clone(), ..GetOptions::default() };
        let read = self.bucket.wait(async move { objects.get_opts(&key, options).await?.bytes().await })?;
        let bytes = read.map_err(|e| failed(&self.bucket, "read", &self.name, &e))?;
        if bytes.len() as u64 != to - from {
            return Err(Error::storage(format!("`{}`: {} bytes came for {}", self.name, bytes.len(), to - from)));
        }
        Ok(bytes)
    }
}

/// Reads an [`Item`]. Its errors hold one of ours.
#[derive(Debug)]
pub struct ItemReader {
    item: Item,
    next: u64,
    buffer: Bytes,
}

impl Read for ItemReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.next < self.item.size {
            let to = (self.next + READ_BYTES).min(self.item.size);
            self.buffer = self.item.range(self.next, to).map_err(io::Error::other)?;
            self.next = to;
        }
        let count = self.buffer.len().min(into.len());
        self.buffer.split_to(count).copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

fn failed(bucket: &Bucket, verb: &str, name: &str, error: &StoreError) -> Error {
    let hint = match error {
        StoreError::Unauthenticated { .. } => "the store does not know these credentials",
        StoreError::PermissionDenied { .. } => "these credentials may not do that: inputs need to be listed and read",
        StoreError::NotFound { .. } => "does the bucket exist, in this region and account?",
        StoreError::Precondition { .. } => "it was replaced meanwhile: convert again",
        _ => "nothing was published: convert again when the store is back",
    };
    Error::storage(format!("cannot {verb} `{name}`")).source(cause(error, &bucket.0.secrets)).hint(hint)
}
