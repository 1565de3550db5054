//! What `export`, `convert` and `demo` have in common: what is said at the start and at the end, the report, and the
//! exit code.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::json;

use super::args::LakeArgs;
use super::text::{count, duration, number, table};
use super::{Console, lakes};
use crate::error::{Error, Kind, Result};
use crate::export::{DayOutcome, Event, Report, Watch};
use crate::plan::due::Reason;
use crate::time::{Clock, Interval};

/// Shows the days and conversations of a run as they come.
pub(super) fn watch(console: &Console, days: Option<u64>) -> Watch {
    let bar = console.progress(days);
    let records = AtomicU64::new(0);
    let console = console.clone();
    Arc::new(move |event| match event {
        Event::Note(note) => console.say(&format!("note: {note}")),
        Event::Page(n) => {
            let records = records.fetch_add(n, Ordering::Relaxed) + n;
            bar.set_message(format!("{} conversations read", number(records)));
        }
        Event::Day(_) => bar.inc(1),
    })
}

/// Tells how a run ended and returns its exit code.
pub(super) fn conclude(report: &Report, to: Option<&Path>, console: &Console) -> Result<u8> {
    if let Some(path) = to {
        write(report, path)?;
    }
    for line in summary(report) {
        console.say(&line);
    }
    for error in &report.errors {
        console.error_text(&error.message, error.hint.as_deref());
    }
    Ok(report.totals.exit)
}

/// Tells what failed of a command that went on with the rest, and returns its exit code; `some` says whether anything
/// was done.
pub(super) fn failed(errors: &[Error], some: bool, console: &Console) -> u8 {
    errors.iter().for_each(|error| console.error(error));
    let stopping = errors.iter().map(Error::kind).find(|kind| kind.stops_the_run());
    let kind = stopping.or_else(|| Some(if some { Kind::Partial } else { errors.first()?.kind() }));
    kind.filter(|_| !errors.is_empty()).map_or(0, Kind::exit_code)
}

/// Writes the report of a run that could not begin, so that nobody takes an older one for it; its error is what
/// matters, and stays what is returned.
pub(super) fn refused(
    command: &'static str,
    args: &LakeArgs,
    range: Option<Interval>,
    clock: Clock,
    error: Error,
    console: &Console,
) -> Error {
    if let Some(path) = &args.report {
        let lake = args.out.as_deref().map(lakes::named).unwrap_or_default();
        if let Err(unwritten) = write(&Report::refused(command, lake, range, clock.now(), &error), path) {
            console.warn(&unwritten.to_string());
        }
    }
    error
}

/// What the run did, as data: a table for people, one line for schedulers.
pub(super) fn print(report: &Report, console: &Console) -> Result<()> {
    console.data(&if console.stdout_is_terminal { rows(report) } else { one_line(report) })
}

fn one_line(report: &Report) -> String {
    let days = |outcome| report.days.iter().filter(|day| day.outcome == outcome).count();
    json!({
        "run": report.run,
        "exit": report.totals.exit,
        "range": report.range,
        "days": {
            "published": days(DayOutcome::Published),
            "unchanged": days(DayOutcome::Unchanged),
            "kept": days(DayOutcome::Kept),
            "skipped": days(DayOutcome::Skipped),
            "not_available": days(DayOutcome::NotAvailable),
            "failed": days(DayOutcome::Failed),
        },
        "totals": report.totals,
    })
    .to_string()
}

/// The tables that were written or found unchanged, with their rows.
pub(super) fn rows(report: &Report) -> String {
    let rows: Vec<Vec<String>> =
        report.totals.rows.iter().map(|(name, rows)| vec![name.clone(), number(*rows)]).collect();
    table(&["table", "rows"], &rows, &[false, true])
}

fn summary(report: &Report) -> Vec<String> {
    let totals = &report.totals;
    let days = |outcome| report.days.iter().filter(|day| day.outcome == outcome).count() as u64;
    let mut lines = Vec::new();
    if totals.conversations == 0 && totals.exit == 0 {
        lines.push(nothing(report));
    }
    let time = report.finished_at.and_then(|end| (end - report.started_at).to_std().ok()).unwrap_or_default();
    let mut parts = vec![count(totals.conversations, "conversation")];
    for (outcome, word) in [
        (DayOutcome::Published, "published"),
        (DayOutcome::Unchanged, "unchanged"),
        (DayOutcome::Kept, "kept"),
        (DayOutcome::Skipped, "not fetched again"),
        (DayOutcome::NotAvailable, "not available yet"),
        (DayOutcome::Failed, "failed"),
    ] {
        if days(outcome) > 0 {
            parts.push(format!("{} {word}", count(days(outcome), "day")));
        }
    }
    if totals.calls > 0 {
        parts.push(format!("{} ({})", count(totals.calls, "call"), retries(totals.retries)));
    }
    let memory = totals.peak_rss_bytes.map_or(String::new(), |bytes| format!(" and {} MiB of memory", bytes >> 20));
    lines.push(format!("{} in {}{memory}", parts.join(", "), duration(time)));
    lines.extend(due(report));
    for (n, what) in [
        (totals.duplicates, "delivered again: the later version was kept"),
        (totals.out_of_window, "of days outside of the slice that brought them: left out, their days marked"),
        (totals.vanished, "gone at the source: gone from the lake"),
        (totals.forgotten, "left out: the lake was told to forget them"),
    ] {
        if n > 0 {
            lines.push(format!("{} {what}", count(n, "conversation")));
        }
    }
    if totals.dirty_left > 0 {
        lines.push(format!("{} changed as well and left to the next run", count(totals.dirty_left, "day")));
    }
    if let Some(until) = totals.watermark {
        lines.push(format!("complete up to {until:?}, as the source promised"));
    }
    if totals.quarantined > 0 {
        lines.push(format!(
            "warning: {} could not be read: kept under `_convlake/quarantine` of the lake",
            count(totals.quarantined, "record")
        ));
    }
    if !report.unknown.is_empty() {
        lines.push(format!(
            "{} unknown to the schema, kept in `extra` or `metrics_other`: {}",
            count(report.unknown.len() as u64, "field"),
            report.unknown.keys().take(UNKNOWN_NAMED_MAX).cloned().collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(sample) = &report.sample {
        let end = sample.conversation_end.map_or("not ended".to_owned(), |end| format!("ended {end:?}"));
        let handled = sample.handle_ms.map_or(String::new(), |ms| format!(", handled {} s", ms / 1000));
        lines.push(format!(
            "for example {}: started {:?}, {end}{handled}",
            sample.conversation_id, sample.conversation_start
        ));
    }
    lines
}

/// Why the days of a sync were worked on.
fn due(report: &Report) -> Option<String> {
    let of = |reason| report.days.iter().filter(|day| day.due == Some(reason)).count();
    let parts = Reason::ALL.map(|reason| (of(reason), reason)).into_iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, reason)| format!("{n} {}", reason.name())).collect();
    (!parts.is_empty()).then(|| format!("due were {}", parts.join(", ")))
}

/// Unknown fields that the summary names; the report names all.
const UNKNOWN_NAMED_MAX: usize = 8;

fn nothing(report: &Report) -> String {
    match &report.range {
        Some(range) => format!(
            "no conversations between {:?} and {:?}: check the range (UTC, end exclusive), the filters, and that the client's role and divisions see the conversations",
            range.from(),
            range.to()
        ),
        None if report.command == "sync" => "nothing is due".to_owned(),
        None => "no conversations in the inputs".to_owned(),
    }
}

fn retries(n: u64) -> String {
    match n {
        0 => "none repeated".to_owned(),
        n => format!("{} repeated", number(n)),
    }
}

/// Writes a report to a file.
pub(super) fn write(report: &impl Serialize, path: &Path) -> Result<()> {
    let mut text =
        serde_json::to_vec_pretty(report).map_err(|e| Error::bug("the report cannot be written").source(e))?;
    text.push(b'\n');
    fs::write(path, text)
        .map_err(|e| Error::storage(format!("the report `{}` cannot be written", path.display())).source(e))
}
