//! Days are encoded before they are published: those that an input has left behind while the rest is read, so that their
//! rows need no memory, and the others while the first are committed.

use futures::{Stream, StreamExt};
use tracing::debug;

use super::days::Publisher;
use super::workshop::LeftBehind;
use crate::error::Result;
use crate::lake::draft::Drafted;
use crate::time::Day;

/// Encoded days that wait for the disk at the same time.
const SECURING_MAX: usize = 3;

/// Encodes `days` as they come. A day that fails is told with the others; what stops the run ends it.
pub(super) fn draft(
    publisher: &Publisher,
    days: impl Stream<Item = LeftBehind>,
) -> impl Stream<Item = Result<(Day, Result<Drafted>)>> {
    let encode = move |left: LeftBehind| async move { (left.day, publisher.draft(left).await) };
    let secure = move |(day, encoded): (Day, Result<Drafted>)| async move {
        let secured = match encoded {
            Ok(encoded) => publisher.with_run(|run| run.secure(encoded)).await,
            Err(error) => Err(error),
        };
        match secured {
            Err(error) if error.kind().stops_the_run() => Err(error),
            drafted => {
                debug!(%day, "encoded ahead");
                Ok((day, drafted))
            }
        }
    };
    days.then(encode).map(secure).buffer_unordered(SECURING_MAX)
}
