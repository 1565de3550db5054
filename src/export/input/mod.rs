//! What saved pages are read from.

mod decode;
mod expand;
mod utf16;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::documents::Documents;
use crate::error::{Error, Result};
use crate::lake::bucket::Item;

pub use expand::Inputs;

/// Where saved pages are read from.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, a pipe or a device.
    File(PathBuf),
    /// An object of a store.
    Object(Item),
}

impl Input {
    /// What it is called in quarantine.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Input::Stdin => "stdin".into(),
            Input::File(path) => path.to_string_lossy(),
            Input::Object(item) => item.name().into(),
        }
    }

    /// Its documents.
    pub(super) fn documents(&self) -> Result<Documents<Box<dyn Read + Send>>> {
        let raw: Box<dyn Read + Send> = match self {
            Input::Stdin => Box::new(io::stdin()),
            Input::File(path) => {
                Box::new(File::open(path).map_err(|e| Error::usage(format!("{self} cannot be opened")).source(e))?)
            }
            Input::Object(item) => Box::new(item.reader()),
        };
        decode::decoded(raw).map(Documents::new).map_err(|e| reading(e).context(self.to_string()))
    }
}

/// What reading failed of: an error of ours that came through a reader, or one of the storage.
pub(super) fn reading(cause: io::Error) -> Error {
    cause.downcast::<Error>().unwrap_or_else(|cause| Error::storage("cannot be read").source(cause))
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("stdin"),
            Input::File(_) | Input::Object(_) => write!(f, "`{}`", self.name()),
        }
    }
}
