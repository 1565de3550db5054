//! Days that an input has left behind are encoded while the rest of it is read, so that their rows need no memory.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::days::Publisher;
use super::record::Recorder;
use super::report::Sample;
use crate::error::{Error, Result};
use crate::lake::day_rows::DayRows;
use crate::lake::draft::Drafted;
use crate::time::{Day, Timestamp};

/// Days that are encoded at the same time: each is on all processors, so more would only take memory.
const DRAFTING_MAX: usize = 1;

/// Encodes `days` as they come. A day that fails is told with the others; what stops the run ends it.
pub(super) async fn draft(
    publisher: &Publisher,
    mut days: mpsc::Receiver<(Day, DayRows)>,
    recorder: &Recorder,
    observed_at: Timestamp,
) -> Result<BTreeMap<Day, Result<Drafted>>> {
    let mut ahead = BTreeMap::new();
    let mut working: JoinSet<(Day, Result<Drafted>)> = JoinSet::new();
    let mut more = true;
    while more || !working.is_empty() {
        tokio::select! {
            Some(done) = working.join_next() => match done {
                Ok((_, Err(error))) if error.kind().stops_the_run() => return Err(error),
                Ok((day, drafted)) => {
                    debug!(%day, "encoded ahead");
                    ahead.insert(day, drafted);
                }
                Err(e) => return Err(Error::bug("a day could not be encoded").source(e)),
            },
            next = days.recv(), if more && working.len() < DRAFTING_MAX => match next {
                Some((day, rows)) => {
                    let run = publisher.run();
                    if recorder.wants_sample() {
                        recorder.offer(Sample::among(&rows, run.lake()));
                    }
                    working.spawn_blocking(move || (day, run.draft_day(day, &rows, observed_at)));
                }
                None => more = false,
            },
        }
    }
    Ok(ahead)
}
