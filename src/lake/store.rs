//! Where the bytes of a lake are: a folder or a bucket, and what both can do. Blocks.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use super::bucket::{Bucket, Expected, Location, RemoteObject, RemoteReader, StoreOptions};
use super::layout::{LakePath, RunId, TableName};
use super::local::{Disk, FailPoint};
use crate::error::Result;
use crate::time::Day;

/// The bytes of a lake.
#[derive(Clone, Debug)]
pub enum Store {
    /// A folder.
    Disk(Disk),
    /// A bucket.
    Bucket(Bucket),
}

impl Store {
    /// The store at `location`; no call yet.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the options make no store.
    pub fn connect(location: &Location, options: &StoreOptions) -> Result<Store> {
        Ok(match location {
            Location::Folder(path) => path.into(),
            Location::Bucket(url) => Store::Bucket(Bucket::connect(url, options)?),
        })
    }

    /// The names in a folder, sorted; none when it is not there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`], as for every operation here.
    pub fn list(&self, place: &LakePath) -> Result<Vec<String>> {
        match self {
            Store::Disk(disk) => disk.list(place),
            Store::Bucket(bucket) => bucket.list(place),
        }
    }

    /// The names at the root, sorted.
    pub fn list_root(&self) -> Result<Vec<String>> {
        match self {
            Store::Disk(disk) => disk.list_root(),
            Store::Bucket(bucket) => bucket.list_root(),
        }
    }

    /// Reads a file whole; `None` when it is not there.
    pub fn read(&self, place: &LakePath) -> Result<Option<Bytes>> {
        match self {
            Store::Disk(disk) => Ok(disk.read(place)?.map(Bytes::from)),
            Store::Bucket(bucket) => bucket.read(place),
        }
    }

    /// Reads files whole, in their order.
    pub fn read_all(&self, places: &[LakePath]) -> Result<Vec<Option<Bytes>>> {
        match self {
            Store::Disk(_) => places.iter().map(|place| self.read(place)).collect(),
            Store::Bucket(bucket) => bucket.read_all(places),
        }
    }

    /// Opens a file for reading; `None` when it is not there.
    pub fn open(&self, place: &LakePath) -> Result<Option<Object>> {
        Ok(match self {
            Store::Disk(disk) => disk.open(place)?.map(Object::File),
            Store::Bucket(bucket) => bucket.open(place)?.map(Object::Remote),
        })
    }

    /// For each pair of a folder and a file in it: the names in the folder, and the file.
    pub(super) fn open_slots(&self, slots: &[(LakePath, LakePath)]) -> Result<Vec<(Vec<String>, Option<Object>)>> {
        match self {
            Store::Disk(_) => slots.iter().map(|(folder, part)| Ok((self.list(folder)?, self.open(part)?))).collect(),
            Store::Bucket(bucket) => {
                let opened = bucket.open_slots(slots)?.into_iter();
                Ok(opened.map(|(names, object)| (names, object.map(Object::Remote))).collect())
            }
        }
    }

    /// Writes a whole durable file under a name that is used once; `run` is alive on this store.
    pub fn write(&self, run: RunId, place: &LakePath, bytes: Vec<u8>) -> Result<()> {
        match self {
            Store::Disk(disk) => disk.place(run, place, &bytes),
            Store::Bucket(bucket) => bucket.write(place, bytes.into()),
        }
    }

    /// Writes a whole durable file if there is none; what is there then may be another's. On a disk the caller holds
    /// the right to commit.
    pub(super) fn create(&self, run: RunId, place: &LakePath, bytes: Vec<u8>) -> Result<()> {
        match self {
            Store::Disk(disk) if disk.read(place)?.is_some() => Ok(()),
            Store::Disk(disk) => disk.place(run, place, &bytes),
            Store::Bucket(bucket) => bucket.create(place, bytes.into()).map(drop),
        }
    }

    /// Removes files, durably; one that is not there is removed.
    pub fn remove_all(&self, places: &[LakePath]) -> Result<()> {
        match self {
            Store::Disk(disk) => {
                places.iter().try_for_each(|place| disk.remove(place))?;
                let folders: BTreeSet<LakePath> = places.iter().filter_map(LakePath::folder).collect();
                folders.iter().try_for_each(|folder| disk.sync_folder(folder))
            }
            Store::Bucket(bucket) => bucket.remove_all(places),
        }
    }
}

impl Store {
    /// Removes the files of a day that are in the slots of `tables`, durably, and on a disk their folders if nothing
    /// else is in them.
    pub(super) fn remove_day(&self, tables: &[TableName], day: Day) -> Result<()> {
        let part = |table: &TableName| LakePath::Part(table.clone(), day);
        match self {
            Store::Disk(disk) => tables.iter().try_for_each(|table| {
                disk.remove(&part(table))?;
                disk.remove_empty_folder(&LakePath::Partition(table.clone(), day))?;
                disk.sync_folder(&LakePath::Table(table.clone()))
            }),
            Store::Bucket(bucket) => bucket.remove_all(&tables.iter().map(part).collect::<Vec<_>>()),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Disk(disk) => write!(f, "{}", disk.root().display()),
            Store::Bucket(bucket) => write!(f, "{bucket}"),
        }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Store {
    fn from(root: &P) -> Store {
        Store::Disk(Disk::new(root.as_ref(), FailPoint::default()))
    }
}

impl From<Disk> for Store {
    fn from(disk: Disk) -> Store {
        Store::Disk(disk)
    }
}

impl From<Bucket> for Store {
    fn from(bucket: Bucket) -> Store {
        Store::Bucket(bucket)
    }
}

/// An open file of a lake.
#[derive(Debug)]
pub enum Object {
    /// On disk.
    File(File),
    /// In a bucket, at the version that was opened.
    Remote(RemoteObject),
}

impl Object {
    /// What a slot has to hold for this file to be replaced.
    pub(super) fn expected(object: Option<&Object>) -> Expected {
        match object {
            Some(Object::Remote(remote)) => Expected::Version(remote.tag().clone()),
            // On disk a lock keeps a slot as it was seen.
            Some(Object::File(_)) | None => Expected::Nothing,
        }
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        match self {
            Object::File(file) => Length::len(file),
            Object::Remote(remote) => Length::len(remote),
        }
    }
}

impl ChunkReader for Object {
    type T = ObjectReader;

    fn get_read(&self, start: u64) -> ParquetResult<ObjectReader> {
        Ok(match self {
            Object::File(file) => ObjectReader::File(file.get_read(start)?),
            Object::Remote(remote) => ObjectReader::Remote(remote.get_read(start)?),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Object::File(file) => file.get_bytes(start, length),
            Object::Remote(remote) => remote.get_bytes(start, length),
        }
    }
}

/// Reads an open file from some byte to its end.
#[derive(Debug)]
pub enum ObjectReader {
    /// On disk.
    File(BufReader<File>),
    /// In a bucket.
    Remote(RemoteReader),
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            ObjectReader::File(file) => file.read(into),
            ObjectReader::Remote(remote) => remote.read(into),
        }
    }
}
