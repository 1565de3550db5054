//! The end of a run: what its lake holds now goes into the report, and the report into the run history.

use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::DateTime;
use tokio::time::timeout;

use super::days::Publisher;
use super::record::Recorder;
use super::report::{Holdings, Report, Sample};
use super::resume;
use crate::error::{Kind, Result};
use crate::lake::coverage::Coverage;
use crate::lake::sample::first_conversation;
use crate::lake::{Ledger, Run};
use crate::time::{Clock, Day, Days, Timestamp};

/// How long a run that is told to stop waits for each of its last words to be written.
const PARTING_MAX: Duration = Duration::from_millis(500);
/// How long an agent handled a conversation: the real API's name, then the first tutorial's.
const HANDLED: [&str; 2] = ["t_handle_ms", "handle_duration_ms"];

/// Ends a run: waits for publishes that have begun, and records what came of it all.
pub(super) async fn conclude(publisher: &Publisher, recorder: &Recorder, outcome: Result<()>, clock: Clock) -> Report {
    publisher.finish().await;
    // On shutdown, do not wait for a slow store. A run without an end counts as interrupted, which it was.
    let stopped = outcome.as_ref().is_err_and(|e| matches!(e.kind(), Kind::Interrupted | Kind::Terminated));
    let patience = if stopped { PARTING_MAX } else { Duration::MAX };
    let days = recorder.days_done();
    match timeout(patience, publisher.with_run(move |run| State::of(run, &days))).await {
        Ok(Ok(state)) => recorder.closing(state.watermark, state.holdings, state.sample),
        Ok(Err(error)) => tracing::warn!("the lake cannot be read for the summary: {error}"),
        Err(_) => tracing::debug!("the summary does not wait for the lake"),
    }
    let report = recorder.finish(outcome.err(), clock.now());
    let ended = resume::ended(&report, recorder.run_id(), clock.now());
    let recorded = timeout(patience, publisher.with_run(move |run| run.lake().history().end(&ended))).await;
    if let Ok(Err(error)) = recorded {
        tracing::warn!("the run's end is not recorded: {error}");
    }
    report
}

/// The lake at the end of a run.
struct State {
    watermark: Option<Timestamp>,
    holdings: Holdings,
    sample: Option<Sample>,
}

impl State {
    fn of(run: &Run, done: &[Day]) -> Result<State> {
        let ledger = run.lake().ledger()?;
        let sample = sample(run, &ledger, done).unwrap_or_else(|error| {
            tracing::warn!("no conversation can be shown: {error}");
            None
        });
        let watermark = ledger.anchor().and_then(|anchor| ledger.watermark(anchor));
        Ok(State { watermark, holdings: Holdings::from(Coverage::of(&ledger, &Days::default())), sample })
    }
}

impl From<Coverage> for Holdings {
    fn from(coverage: Coverage) -> Holdings {
        let (dirty, short) = (coverage.changed().len() as u64, coverage.short.len() as u64);
        let Coverage { first, last, totals, .. } = coverage;
        Holdings { first, last, days: totals.days, bytes: totals.bytes, dirty, short }
    }
}

/// A conversation of the first of the days `done` that has any, read from its published file.
fn sample(run: &Run, ledger: &Ledger, done: &[Day]) -> Result<Option<Sample>> {
    let receipts = done.iter().filter_map(|day| ledger.day(*day)?.receipt.as_ref());
    let Some(receipt) = receipts.into_iter().find(|receipt| receipt.counts.conversations > 0) else { return Ok(None) };
    let columns = ["conversation_id", "conversation_start", "conversation_end", HANDLED[0], HANDLED[1]];
    Ok(first_conversation(run.lake(), receipt, &columns)?.as_ref().and_then(Sample::of))
}

impl Sample {
    /// The first row of `rows`.
    fn of(rows: &RecordBatch) -> Option<Sample> {
        let time = |name| {
            let column = rows.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
            column.is_valid(0).then(|| DateTime::from_timestamp_micros(column.value(0)))?
        };
        let handled = HANDLED.iter().find_map(|name| {
            let column = rows.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
            column.is_valid(0).then(|| column.value(0))
        });
        Some(Sample {
            conversation_id: rows.column_by_name("conversation_id")?.as_string_opt::<i32>()?.value(0).to_owned(),
            conversation_start: time("conversation_start")?,
            conversation_end: time("conversation_end"),
            handle_ms: handled,
        })
    }
}
