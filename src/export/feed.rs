//! What pages come from: a slice of a source, or what was saved.

use std::borrow::Cow;
use std::sync::Arc;

use super::input::Input;
use crate::plan::Slice;
use crate::time::Day;

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
