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

/// Days that are encoded at the same time: one on all processors, while another waits for the disk.
const DRAFTING_MAX: usize = 2;

/// Encodes `days` as they come. A day that fails is told with the others; what stops the run ends it.
pub(super) fn draft(
    publisher: &Publisher,
    days: impl Stream<Item = (Day, DayRows)>,
    recorder: &Recorder,
    observed_at: Timestamp,
) -> impl Stream<Item = Result<(Day, Result<Drafted>)>> {
    let draft = move |(day, rows): (Day, DayRows)| async move {
        if recorder.wants_sample() {
            recorder.offer(Sample::among(&rows, publisher.run().lake()));
        }
        match publisher.with_run(move |run| run.draft_day(day, rows, observed_at)).await {
            Err(error) if error.kind().stops_the_run() => Err(error),
            drafted => {
                debug!(%day, "encoded ahead");
                Ok((day, drafted))
            }
        }
    };
    days.map(draft).buffer_unordered(DRAFTING_MAX)
}
