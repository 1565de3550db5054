//! Days are encoded before they are published: those that an input has left behind while the rest is read, so that their
//! rows need no memory, and the others while the first are committed.

use futures::{Stream, StreamExt};
use tracing::debug;

use super::days::Publisher;
use super::record::Recorder;
use super::report::Sample;
use crate::error::Result;
use crate::lake::day_rows::DayRows;
use crate::lake::draft::Drafted;
use crate::time::{Day, Timestamp};

/// Days that are encoded at the same time: each is on all processors, so more would only take memory.
const ENCODING_MAX: usize = 1;
/// Encoded days that wait for the disk at the same time.
const SECURING_MAX: usize = 3;

/// Encodes `days` as they come. A day that fails is told with the others; what stops the run ends it.
pub(super) fn draft(
    publisher: &Publisher,
    days: impl Stream<Item = (Day, DayRows)>,
    recorder: &Recorder,
    observed_at: Timestamp,
) -> impl Stream<Item = Result<(Day, Result<Drafted>)>> {
    let encode = move |(day, rows): (Day, DayRows)| async move {
        if recorder.wants_sample() {
            recorder.offer(Sample::among(&rows, publisher.run().lake()));
        }
        (day, publisher.with_run(move |run| run.draft_day(day, &rows, observed_at)).await)
    };
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
    days.map(encode).buffer_unordered(ENCODING_MAX).map(secure).buffer_unordered(SECURING_MAX)
}
