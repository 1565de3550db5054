//! Cursors seen: a chain ends at its end, or when it turns in a circle.

use std::collections::HashSet;

use super::chain::Stop;
use crate::api::envelope::Cursor;
use crate::error::Error;

/// Where a chain of cursors has been.
#[derive(Default)]
pub(super) struct Trail {
    seen: HashSet<String>,
    /// The cursor that the next request carries.
    current: Option<String>,
    repeating: bool,
}

/// Whether an answer is a step forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its page counts, and there is more.
    On,
    /// Its page counts, and is the last.
    End,
    /// It leads back: the same request once more.
    Again,
}

impl Trail {
    /// The cursor of the next request; none for the first.
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Follows the cursor of an answer.
    pub(super) fn follow(&mut self, next: Cursor) -> Result<Step, Stop> {
        let next = match next {
            Cursor::End => return Ok(Step::End),
            Cursor::At(next) => next,
            Cursor::Odd => return Err(Stop::Fail(Error::data("the cursor is neither a text nor a number"))),
        };
        if self.seen.contains(&next) {
            if self.repeating {
                return Err(Stop::Restart(Error::data("the API returned a cursor for the second time")));
            }
            self.repeating = true;
            return Ok(Step::Again);
        }
        self.repeating = false;
        self.seen.insert(next.clone());
        self.current = Some(next);
        Ok(Step::On)
    }
}
