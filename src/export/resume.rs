//! What need not be fetched: days that have expired, and what the lake has, which are the days of an interrupted run of
//! the same request, or every day on demand. And what is remembered of a run so that the next one can tell.

use std::collections::HashSet;

use serde_json::{Map, json};

use super::pipeline::Exporter;
use super::record::Recorder;
use super::report::{DayOutcome, Report};
use crate::api::SKEW_MAX;
use crate::error::Result;
use crate::lake::history::{Begun, DayCounts, Ended, PastRun, VERSION};
use crate::lake::layout::RunId;
use crate::lake::receipt::Receipt;
use crate::lake::{Lake, Run, TOOL};
use crate::plan::{Asked, ProtocolChoice};
use crate::time::{Day, Interval, Timestamp};

/// Equal for runs that ask a lake for the same: command, whole days and protocol; and the selection, which today is
/// the lake's own.
fn fingerprint(command: &str, lake: &Lake, asked: &Interval, protocol: ProtocolChoice) -> String {
    let days = asked.whole_days();
    let selection = &lake.identity().selection;
    let request = json!([command, days, protocol.to_string(), selection]).to_string();
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(request.as_bytes()))
}

/// The days of `asked` that have expired in `lake`: nobody asks for them. Blocks.
///
/// # Errors
/// [`crate::error::Kind::Storage`] when the ledger cannot be read.
pub fn expired(lake: &Lake, asked: &Asked) -> Result<Vec<Day>> {
    Ok(gone(lake, asked)?.into_iter().map(|receipt| receipt.day).collect())
}

/// The receipts of these days.
fn gone(lake: &Lake, asked: &Asked) -> Result<Vec<Receipt>> {
    let days = || asked.parts().map(|(day, _)| day);
    let ledger = lake.ledger_about(days())?;
    Ok(days().filter_map(|day| ledger.receipt(day).filter(|receipt| receipt.is_expired()).cloned()).collect())
}

/// The days of `asked` that run `own` of the request `fingerprint` need not fetch, with what the lake has. With
/// `missing_only` that is every day whose receipt holds what is asked of it. What was fetched later than `now` was fetched
/// by a clock that is ahead, and is fetched again.
fn held(
    run: &Run,
    asked: &Asked,
    fingerprint: &str,
    missing_only: bool,
    now: Timestamp,
) -> Result<Vec<(Day, Receipt)>> {
    let lake = run.lake();
    let interrupted = if missing_only { HashSet::new() } else { interrupted(lake, run.id(), fingerprint)? };
    if interrupted.is_empty() && !missing_only {
        return Ok(Vec::new());
    }
    let ledger = lake.ledger()?;
    let held = asked.parts().filter_map(|(day, part)| {
        let entry = ledger.day(day)?;
        let receipt = entry.receipt.as_ref().filter(|receipt| receipt.holds(part) && receipt.asked_at() <= now)?;
        let counts = missing_only || (interrupted.contains(&receipt.run) && !entry.is_dirty());
        counts.then(|| (day, receipt.clone()))
    });
    Ok(held.collect())
}

/// The earlier runs of the same request that did not complete, back to the last one that did.
fn interrupted(lake: &Lake, own: RunId, fingerprint: &str) -> Result<HashSet<RunId>> {
    let mut interrupted = HashSet::new();
    for past in lake.history().runs()? {
        let past = past?;
        let same = past.begun.request.as_deref() == Some(fingerprint);
        match past {
            PastRun { begun, .. } if begun.run == own => {}
            _ if same && !past.completed() => {
                interrupted.insert(past.begun.run);
            }
            _ if same => break,
            // It may have died between the files of a day that an older run had finished.
            PastRun { ended: None, .. } => break,
            _ => {}
        }
    }
    Ok(interrupted)
}

impl Exporter {
    /// Records that the run begins to work on `asked`, and returns what is left to fetch of it.
    pub(super) async fn resume(&self, mut asked: Asked, missing_only: bool) -> Result<Asked> {
        let (choice, range) = (self.manner.protocol, asked.hull());
        let begun = begun(&self.recorder, range);
        let (wanted, now) = (asked.clone(), self.clock.now() + SKEW_MAX);
        let held = self.publisher.with_run(move |run| {
            let request = range.map(|range| fingerprint(&begun.command, run.lake(), &range, choice));
            run.lake().history().begin(&Begun { request: request.clone(), ..begun })?;
            let gone = gone(run.lake(), &wanted)?;
            // What an expiry that was stopped left of them.
            run.clear_expired(&gone.iter().map(|receipt| receipt.day).collect())?;
            Ok((gone, held(run, &wanted, &request.unwrap_or_default(), missing_only, now)?))
        });
        let (gone, held) = held.await?;
        for receipt in gone {
            asked.remove(receipt.day);
            self.recorder.expired(&receipt);
        }
        if !held.is_empty() && !missing_only {
            tracing::info!(days = held.len(), "goes on where an interrupted run of the same request ended");
        }
        for (day, receipt) in held.into_iter().filter(|(_, receipt)| !receipt.is_expired()) {
            asked.remove(day);
            self.recorder.skipped(&receipt);
        }
        Ok(asked)
    }
}

/// That a run begins. Nothing continues it unless its request is filled in.
pub(super) fn begun(recorder: &Recorder, asked: Option<Interval>) -> Begun {
    let (command, begun_at) = recorder.beginning();
    Begun {
        version: VERSION,
        run: recorder.run_id(),
        command: command.to_owned(),
        request: None,
        asked,
        begun_at,
        tool: TOOL.to_owned(),
        other: Map::new(),
    }
}

/// How a run ended.
pub(super) fn ended(report: &Report, run: RunId, ended_at: Timestamp) -> Ended {
    let of = |outcome| report.days.iter().filter(|day| day.outcome == outcome).count() as u64;
    Ended {
        version: VERSION,
        run,
        ended_at,
        exit: report.totals.exit,
        conversations: report.totals.conversations,
        calls: report.totals.calls,
        days: DayCounts {
            published: of(DayOutcome::Published),
            unchanged: of(DayOutcome::Unchanged),
            kept: of(DayOutcome::Kept),
            skipped: of(DayOutcome::Skipped),
            not_available: of(DayOutcome::NotAvailable),
            failed: of(DayOutcome::Failed),
        },
        watermark: report.totals.watermark,
        other: Map::new(),
    }
}
