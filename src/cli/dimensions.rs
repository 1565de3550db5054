//! `convlake dimensions`: a snapshot of what conversations name by id only.

use std::path::PathBuf;
use std::pin::pin;

use clap::Args;
use serde_json::json;

use super::args::{ChangedLakeArg, LakeArgs, SourceArgs};
use super::settings::{self, Connected};
use super::text::{count, duration, number, table};
use super::{Console, Environment, lakes, outcome};
use crate::error::{Error, Result};
use crate::export::{self, DayOutcome, DimensionReport, DimensionsReport, DimensionsRequest};
use crate::flatten::Catalog;
use crate::time::{Clock, Day};

/// Take a snapshot of queues, users, wrap-up codes, skills, divisions, flows and teams, so that ids have names
#[derive(Debug, Args)]
pub(super) struct DimensionsArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
struct WantedArgs {
    /// Only these: queues, users, wrap_up_codes, skills, divisions, flows, teams
    #[arg(long, env = "CONVLAKE_ONLY", value_name = "TABLE", value_delimiter = ',')]
    only: Vec<String>,
    /// The UTC day that the snapshot stands for; by default today. What is listed is always the present
    #[arg(long, env = "CONVLAKE_DATE", value_name = "DATE")]
    date: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Lake")]
struct PlaceArgs {
    #[command(flatten)]
    lake: ChangedLakeArg,
    /// Write what the run did to this file, as JSON, whatever the outcome
    #[arg(long, env = "CONVLAKE_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(
    args: &DimensionsArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let place = LakeArgs { place: args.place.lake.clone(), report: args.place.report.clone(), ..LakeArgs::of("") };
    let report = snapshots(args, &place, env, clock, stop).await;
    let report = report.map_err(|error| outcome::refused("dimensions", &place, None, clock, error, console))?;
    if let Some(path) = &place.report {
        outcome::write(&report, path)?;
    }
    // A run whose login fails has no figures.
    if report.exit == 0 || report.calls > 0 {
        conclude(&report, console);
        console.data(&if console.stdout_is_terminal { rows(&report) } else { one_line(&report) })?;
    }
    for error in &report.errors {
        console.error_text(&error.message, error.hint.as_deref());
    }
    Ok(report.exit)
}

async fn snapshots(
    args: &DimensionsArgs,
    place: &LakeArgs,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<DimensionsReport> {
    let mut stop = pin!(stop);
    let only = args.wanted.only.clone();
    Catalog::dimensions()?.select(Some(&only), &[])?;
    let day = day(args.wanted.date.as_deref(), Day::of(clock.now()))?;
    let Connected { api, endpoint } = settings::connect(&args.source, env, clock)?;
    let lake = lakes::open_known_lake(place, env, endpoint.host(), stop.as_mut()).await?;
    let request = DimensionsRequest { lake: lake.store().to_string(), day, only };
    Ok(export::dimensions(request, &api, &lake, clock, stop).await)
}

fn day(named: Option<&str>, today: Day) -> Result<Day> {
    let Some(text) = named else { return Ok(today) };
    let day: Day = text.parse()?;
    match day > today {
        true => Err(Error::usage(format!("--date {day} lies in the future")).hint("days are in UTC")),
        false => Ok(day),
    }
}

fn conclude(report: &DimensionsReport, console: &Console) {
    for dimension in &report.dimensions {
        if dimension.cut {
            console.warn(&format!(
                "{}: the API would not page to the end; the snapshot has what it sent",
                dimension.table
            ));
        }
        if dimension.quarantined > 0 {
            let entities = count(dimension.quarantined, "record");
            console
                .warn(&format!("{}: {entities} could not be read: kept under `_convlake/quarantine`", dimension.table));
        }
    }
    let said = [
        (DayOutcome::Published, "published"),
        (DayOutcome::Unchanged, "unchanged"),
        (DayOutcome::Kept, "kept"),
        (DayOutcome::Failed, "failed"),
    ];
    let mut parts: Vec<String> = said
        .into_iter()
        .map(|(outcome, word)| (report.count(outcome), word))
        .filter(|(dimensions, _)| *dimensions > 0)
        .map(|(dimensions, word)| format!("{} {word}", count(dimensions, "dimension")))
        .collect();
    parts.push(count(report.calls, "call"));
    let time = (report.finished_at - report.started_at).to_std().unwrap_or_default();
    console.say(&format!("{}: {} in {}", report.date, parts.join(", "), duration(time)));
}

/// Those that were written or found unchanged.
fn in_the_lake(report: &DimensionsReport) -> impl Iterator<Item = &DimensionReport> {
    let there = [DayOutcome::Published, DayOutcome::Unchanged];
    report.dimensions.iter().filter(move |dimension| there.contains(&dimension.outcome))
}

fn rows(report: &DimensionsReport) -> String {
    let rows: Vec<Vec<String>> = in_the_lake(report).map(|d| vec![d.table.to_owned(), number(d.rows)]).collect();
    table(&["table", "rows"], &rows, &[false, true])
}

fn one_line(report: &DimensionsReport) -> String {
    let rows = in_the_lake(report).map(|dimension| (dimension.table.to_owned(), json!(dimension.rows)));
    let tables = |outcome| report.dimensions.iter().filter(move |d| d.outcome == outcome).map(|d| d.table);
    json!({
        "run": report.run,
        "exit": report.exit,
        "date": report.date,
        "dimensions": {
            "published": tables(DayOutcome::Published).collect::<Vec<_>>(),
            "unchanged": tables(DayOutcome::Unchanged).collect::<Vec<_>>(),
            "kept": tables(DayOutcome::Kept).collect::<Vec<_>>(),
            "failed": tables(DayOutcome::Failed).collect::<Vec<_>>(),
        },
        "rows": rows.collect::<serde_json::Map<_, _>>(),
        "calls": report.calls,
    })
    .to_string()
}
