//! `convlake status`: what a lake holds, at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SubsecRound;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::calendar::{Style, calendar, legend};
use super::lakes::{self, Opened};
use super::place::LakeArg;
use super::range::DaysArgs;
use super::text::{bytes, count, duration, number, table};
use super::{Console, Environment};
use crate::error::{Error, Result};
use crate::lake::coverage::{Coverage, Gap};
use crate::lake::history::PastRun;
use crate::lake::{Lake, State};
use crate::time::{Clock, Day, Timestamp};

/// Days and gaps that are named; the JSON has all of them.
const NAMED_MAX: usize = 12;
/// Runs that are told of, the last ones.
const RUNS_MAX: usize = 10;

/// Show what a lake holds, day by day
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    lake: LakeArg,
    #[command(flatten)]
    days: DaysArgs,
    /// How to write it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A calendar, for reading in a terminal
    #[value(alias = "table")]
    Text,
    /// As data
    Json,
}

/// All that is shown.
struct Status {
    coverage: Coverage,
    /// Where the unbroken run of complete days begins.
    anchor: Option<Day>,
    watermark: Option<Timestamp>,
    /// The newest first.
    runs: Vec<PastRun>,
}

pub(super) async fn run(args: &StatusArgs, console: &Console, env: &Environment, clock: Clock) -> Result<()> {
    let days = args.days.resolve(clock.now())?;
    let Opened { lake, location } = lakes::existing_lake(&args.lake, env).await?;
    let read = Arc::clone(&lake);
    let status = lakes::blocking(move || {
        let ledger = read.ledger()?;
        let coverage = Coverage::of(&ledger, &days);
        // A lake that no sync keeps is meant to begin where it does.
        let first = ledger.days().find(|(_, entry)| entry.receipt.is_some()).map(|(day, _)| *day);
        let anchor = ledger.anchor().or(first);
        let runs = read.history().runs()?.take(RUNS_MAX).collect::<Result<_>>()?;
        Ok(Status { coverage, anchor, watermark: anchor.and_then(|day| ledger.watermark(day)), runs })
    })
    .await?;
    match args.format {
        Format::Json => console.data(&data(&status, &lake, &location.to_string())?),
        Format::Text => {
            let colour = console.stdout_is_terminal && env.get("NO_COLOR").is_none();
            let style = if colour { Style::Colour } else { Style::Plain };
            console.data(&show(&status, &lake, &location.to_string(), style))
        }
    }
}

fn data(status: &Status, lake: &Lake, location: &str) -> Result<String> {
    let coverage = &status.coverage;
    let mut value = json!({
        "lake": location,
        "id": lake.id(),
        "source": lake.identity().source,
        "anchor": status.anchor,
        "watermark": status.watermark,
        "conversations": coverage.conversations(),
        "runs": status.runs.iter().map(|run| json!({"begun": run.begun, "ended": run.ended})).collect::<Vec<_>>(),
    });
    let rest = serde_json::to_value(coverage);
    let rest = rest.map_err(|e| Error::bug("the status cannot be written").source(e))?;
    if let (Some(value), serde_json::Value::Object(rest)) = (value.as_object_mut(), rest) {
        value.extend(rest);
    }
    serde_json::to_string_pretty(&value).map_err(|e| Error::bug("the status cannot be written").source(e))
}

fn show(status: &Status, lake: &Lake, location: &str, style: Style) -> String {
    let coverage = &status.coverage;
    let mut text = format!("{location}, of {}\n", lake.identity().source);
    let (Some(first), Some(last)) = (coverage.first, coverage.last) else {
        return text + "no day is published\n";
    };
    text += &format!(
        "{first} to {last}: {}, {}, {}, {}\n",
        count(coverage.totals.days, "day"),
        count(coverage.conversations(), "conversation"),
        count(coverage.totals.rows, "row"),
        bytes(coverage.totals.bytes)
    );
    text += &match (status.anchor, status.watermark) {
        (Some(anchor), Some(until)) => format!("complete from {anchor} until {until:?}, as the source promised\n"),
        (anchor, _) => format!("the source has not promised {} complete\n", anchor.unwrap_or(first)),
    };
    let states: BTreeMap<Day, State> = coverage.days.iter().map(|held| (held.date, held.state)).collect();
    text += &format!("\n{}\n", calendar(first, last, |day| states.get(&day).copied(), style));
    text += &format!("{}\n", legend(style));
    text += &named("missing", coverage.missing.iter().map(gap));
    text += &named("changed at the source since", coverage.changed().iter().map(Day::to_string));
    text += &named("short of the source's own count", coverage.short.iter().map(Day::to_string));
    let rows: Vec<Vec<String>> = coverage
        .tables
        .iter()
        .map(|(name, totals)| vec![name.to_string(), number(totals.days), number(totals.rows), bytes(totals.bytes)])
        .collect();
    text += &format!("\n{}", table(&["table", "days", "rows", "size"], &rows, &[false, true, true, true]));
    text + &runs(&status.runs)
}

fn runs(runs: &[PastRun]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = runs.iter().map(past).collect();
    let header = ["run begun at", "command", "took", "exit", "days", "conversations", "calls"];
    format!("\n{}", table(&header, &rows, &[false, false, true, true, false, true, true]))
}

fn past(run: &PastRun) -> Vec<String> {
    let mut cells = vec![format!("{:?}", run.begun.begun_at.trunc_subsecs(0)), run.begun.command.clone()];
    let Some(ended) = &run.ended else {
        cells.extend(["", "", "interrupted, or going on", "", ""].map(str::to_owned));
        return cells;
    };
    let days = [
        (ended.days.published, "published"),
        (ended.days.unchanged, "unchanged"),
        (ended.days.kept, "kept"),
        (ended.days.skipped, "skipped"),
        (ended.days.not_available, "not available"),
        (ended.days.failed, "failed"),
    ];
    let days: Vec<String> =
        days.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", number(*n))).collect();
    let took = (ended.ended_at - run.begun.begun_at).to_std().map(duration).unwrap_or_default();
    cells.extend([took, ended.exit.to_string(), days.join(", "), number(ended.conversations), number(ended.calls)]);
    cells
}

/// A line with the first of them; none without any.
fn named(what: &str, mut names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let first: Vec<String> = names.by_ref().take(NAMED_MAX).collect();
    match more {
        _ if first.is_empty() => String::new(),
        0 => format!("\n{what}: {}\n", first.join(", ")),
        more => format!("\n{what}: {} and {} more\n", first.join(", "), number(more as u64)),
    }
}

fn gap(gap: &Gap) -> String {
    match gap.days {
        1 => gap.from.to_string(),
        days => format!("{} to {} ({})", gap.from, gap.to.plus(-1), count(days, "day")),
    }
}
