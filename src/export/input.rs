//! What pages come from: a slice of a source, or what was saved.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::documents::{self, Documents};
use crate::error::{Error, Result};
use crate::plan::Slice;
use crate::time::Day;

/// Where saved pages are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Input {
    /// What it is called in quarantine.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Input::Stdin => "stdin".into(),
            Input::File(path) => path.to_string_lossy(),
        }
    }

    /// Its documents.
    pub(super) fn documents(&self) -> Result<Documents<Box<dyn Read + Send>>> {
        let raw: Box<dyn Read + Send> = match self {
            Input::Stdin => Box::new(io::stdin()),
            Input::File(path) => {
                Box::new(File::open(path).map_err(|e| Error::usage(format!("{self} cannot be opened")).source(e))?)
            }
        };
        documents::open(raw).map_err(|e| Error::storage(format!("{self} cannot be read")).source(e))
    }
}

impl From<&Path> for Input {
    /// `-` is standard input.
    fn from(path: &Path) -> Input {
        if path == Path::new("-") { Input::Stdin } else { Input::File(path.to_owned()) }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("stdin"),
            Input::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// What pages come from.
#[derive(Clone, Debug)]
pub(super) enum Feed {
    /// A source that is asked for a slice.
    Slice(Slice),
    /// Saved pages, a chain an input, in order.
    Saved(Arc<[Input]>),
}

impl Feed {
    pub(super) fn is_saved(&self) -> bool {
        matches!(self, Feed::Saved(_))
    }

    /// Whether rows of `day` are wanted.
    pub(super) fn owns(&self, day: Day) -> bool {
        match self {
            Feed::Slice(slice) => slice.owns(day),
            Feed::Saved(_) => true,
        }
    }

    /// Where the records of `chain` came from, for quarantine.
    pub(super) fn place(&self, chain: u32) -> Cow<'_, str> {
        match self {
            Feed::Slice(slice) => slice.to_string().into(),
            Feed::Saved(inputs) => inputs.get(chain as usize).map_or("convert".into(), Input::name),
        }
    }

    /// Where a page is, for errors.
    pub(super) fn page(&self, chain: u32, number: u32) -> String {
        match self {
            Feed::Slice(_) => format!("page {number}"),
            Feed::Saved(inputs) => {
                let input = inputs.get(chain as usize).map(|input| format!("{input}: ")).unwrap_or_default();
                format!("{input}document {number}")
            }
        }
    }
}
