//! What `export`, `convert` and `demo` have in common: what is said at the start and at the end, the report, and the
//! exit code.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::json;

use super::args::LakeArgs;
use super::repair::quoted;
use super::text::{bytes, count, duration, number, table};
use super::{Console, costs, lakes, oddities};
use crate::api::Filters;
use crate::error::{Error, Kind, Result};
use crate::export::{DayOutcome, Event, Holdings, Report, Sample, Watch};
use crate::lake::State;
use crate::plan::due::Reason;
use crate::time::{Clock, Interval};

/// Shows the days and conversations of a run as they come.
pub(super) fn watch(console: &Console, days: Option<u64>) -> Watch {
    let bar = console.progress(days);
    let records = AtomicU64::new(0);
    let console = console.clone();
    Arc::new(move |event| match event {
        Event::Note(note) => console.say(&format!("note: {note}")),
        Event::Expected(expected) => console.say(&costs::calls(expected)),
        Event::Page(n) => {
            let records = records.fetch_add(n, Ordering::Relaxed) + n;
            bar.set_message(format!("{} conversations read", number(records)));
        }
        Event::Day(_) => bar.inc(1),
    })
}

/// Tells how a run ended and returns its exit code. `sample` shows one of its conversations.
pub(super) fn conclude(report: &Report, to: Option<&Path>, sample: bool, console: &Console) -> Result<u8> {
    if let Some(path) = to {
        write(report, path)?;
    }
    if let Some(bytes) = report.totals.peak_rss_bytes {
        tracing::info!("{} MiB of memory at most", bytes >> 20);
    }
    let has_figures = has_figures(report);
    for line in summary(report).iter().filter(|_| has_figures) {
        console.say(line);
    }
    if let Some(sample) = report.sample.as_ref().filter(|_| sample) {
        console.say(&example(sample));
    }
    for error in &report.errors {
        console.error_text(&error.message, error.hint.as_deref());
    }
    if let Some(next) = next(report).filter(|_| has_figures) {
        console.say(&format!("next: {next}"));
    }
    Ok(report.totals.exit)
}

/// Warns, in the report too, of filters that let nothing through: a value that nothing has looks like that.
pub(super) fn warn_of_nothing(report: &mut Report, filters: &Filters, console: &Console) {
    let looked = report.days.iter().any(|day| matches!(day.outcome, DayOutcome::Published | DayOutcome::Unchanged));
    if filters.is_empty() || !looked || report.totals.conversations > 0 {
        return;
    }
    let warning = format!("nothing at all was found with {}: is it what was meant?", filters.flags().join(" "));
    console.warn(&warning);
    report.notes.push(warning);
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
        let lake = args.place.at.named.as_deref().map(lakes::named).unwrap_or_default();
        if let Err(unwritten) = write(&Report::refused(command, lake, range, clock.now(), &error), path) {
            console.warn(&unwritten.to_string());
        }
    }
    error
}

/// Whether there is anything to sum up: not of a run that an error ended before it came to any day, as one does whose
/// login fails.
pub(super) fn has_figures(report: &Report) -> bool {
    report.totals.exit == 0 || !report.days.is_empty() || !report.dimensions.is_empty()
}

/// What the run did, as data: a table for people, one line for schedulers.
pub(super) fn print(report: &Report, console: &Console) -> Result<()> {
    if !has_figures(report) {
        return Ok(());
    }
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

/// The tables that have rows in the days that were written or found unchanged.
pub(super) fn rows(report: &Report) -> String {
    let filled = report.totals.rows.iter().filter(|(_, rows)| **rows > 0);
    let rows: Vec<Vec<String>> = filled.map(|(name, rows)| vec![name.clone(), number(*rows)]).collect();
    if rows.is_empty() { String::new() } else { table(&["table", "rows"], &rows, &[false, true]) }
}

fn summary(report: &Report) -> Vec<String> {
    let totals = &report.totals;
    let days = |outcome| report.days.iter().filter(|day| day.outcome == outcome).count() as u64;
    let mut lines = Vec::new();
    let expired = report.days.iter().filter(|day| day.is_expired()).count();
    let all_expired = expired > 0 && expired == report.days.len();
    if totals.conversations == 0 && totals.exit == 0 && !all_expired {
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
    lines.push(format!("{} in {}", parts.join(", "), duration(time)));
    lines.extend(due(report));
    lines.extend(report.holds.as_ref().map(|holds| holdings(&report.lake, holds)));
    lines.extend(short(report));
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
    if expired > 0 {
        lines.push(format!(
            "{} expired and stayed away: `convlake expire --undo` makes them due again",
            count(expired as u64, "day")
        ));
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
    lines.extend(oddities::lines(&report.oddities));
    lines
}

/// What the lake holds now.
fn holdings(lake: &str, holds: &Holdings) -> String {
    let Some((first, last)) = holds.first.zip(holds.last) else { return format!("the lake `{lake}` holds no day yet") };
    let held = format!("the lake `{lake}` holds {}, {first} to {last}", count(holds.days, "day"));
    format!("{held}, in {}", bytes(holds.bytes))
}

/// One conversation as the lake has it.
fn example(sample: &Sample) -> String {
    let Sample { conversation_id, conversation_start, conversation_end, handle_ms } = sample;
    let end = conversation_end.map_or("not ended".to_owned(), |end| format!("ended {end:?}"));
    let handled = handle_ms.map_or(String::new(), |ms| format!(", handled {} s", ms / 1000));
    format!("for example {conversation_id}: started {conversation_start:?}, {end}{handled}")
}

/// What to run next: what does the rest when something is left undone, else what shows the lake.
fn next(report: &Report) -> Option<String> {
    let days = |outcome| report.days.iter().filter(|day| day.outcome == outcome).count() as u64;
    let (failed, early) = (days(DayOutcome::Failed), days(DayOutcome::NotAvailable));
    let changed = report.holds.map_or(0, |holds| holds.dirty);
    // What the operator has to repair first is in the hint of the error.
    const AGAIN: [Kind; 5] = [Kind::Partial, Kind::Unavailable, Kind::Later, Kind::Interrupted, Kind::Terminated];
    if report.totals.exit != 0 {
        let again = AGAIN.iter().any(|kind| kind.exit_code() == report.totals.exit);
        let left = [(failed, "failed"), (early, "not available yet")];
        let left: Vec<String> = left.iter().filter(|(n, _)| *n > 0).map(|(n, what)| left_undone(*n, what)).collect();
        let left = if left.is_empty() { String::new() } else { format!(" ({})", left.join(", ")) };
        return again.then(|| format!("run the same command again, it goes on where this run ended{left}"));
    }
    let lake = quoted(&report.lake);
    Some(match (changed, report.command) {
        (0, _) => format!("convlake status {lake}"),
        (n, "convert") => format!("convlake status {lake}, which names {}", left_undone(n, "that changed since")),
        (n, _) => {
            format!("convlake sync with the same options, for {}", left_undone(n, "that changed at the source since"))
        }
    })
}

fn left_undone(days: u64, what: &str) -> String {
    format!("{} {what}", count(days, "day"))
}

/// Why the days of a sync were worked on.
fn due(report: &Report) -> Option<String> {
    let of = |reason| report.days.iter().filter(|day| day.due == Some(reason)).count();
    let parts = Reason::ALL.map(|reason| (of(reason), reason)).into_iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, reason)| format!("{n} {}", reason.name())).collect();
    (!parts.is_empty()).then(|| format!("due were {}", parts.join(", ")))
}

/// Days that a line of the summary names; the report names all.
const DAYS_NAMED_MAX: usize = 8;

/// What the source counts otherwise than it sent.
fn short(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if report.totals.missing > 0 {
        // A day that this run published is dirty for no other reason.
        let short = report.days.iter().filter(|day| day.state == Some(State::Dirty.name()));
        let days: Vec<String> = short.map(|day| day.date.to_string()).collect();
        let more = days.len().saturating_sub(DAYS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!(
            "warning: the source counts {} more than it sent, also when it was asked again; marked dirty: {}{more}",
            count(report.totals.missing, "conversation"),
            days[..days.len().min(DAYS_NAMED_MAX)].join(", ")
        ));
    }
    if report.totals.surplus > 0 {
        lines.push(format!(
            "the source sent {} more than it counts: all were kept",
            count(report.totals.surplus, "conversation")
        ));
    }
    lines
}

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
