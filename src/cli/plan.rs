//! `convlake plan`: windows, slices and calls, before any call is made.

use clap::{Args, ValueEnum};

use super::args::{RequestArgs, SourceArgs};
use super::range::RangeArgs;
use super::settings::{self, Asking};
use super::text::{count, number, table};
use super::{Console, Environment};
use crate::api::{CALLS_PER_MINUTE, CALLS_PER_MINUTE_PAGE};
use crate::error::{Error, Result};
use crate::export::{Expectation, expect, probe};
use crate::plan::{Matching, Protocol, ProtocolChoice, windows};
use crate::time::{Clock, Timestamp};

/// Show windows, slices and expected calls, without any call
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Ask the source for its totals: one small call a slice
    #[arg(long, env = "CONVLAKE_PROBE")]
    probe: bool,
    /// How to write it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading in a terminal
    Table,
    /// As data
    Json,
}

pub(super) async fn run(args: &PlanArgs, console: &Console, env: &Environment, clock: Clock) -> Result<()> {
    let range = args.range.resolve(clock.now())?;
    let asking = Asking::new(&args.request, env)?;
    for note in &range.notes {
        console.warn(note);
    }
    let plan = windows(&range.asked.into(), Matching::Start);
    let mut expected = if args.probe {
        let api = settings::connect(&args.source, &asking, env, clock)?.api;
        probe(&plan, asking.protocol, &asking.wanted, &api).await?
    } else {
        expect(&plan, asking.protocol, &asking.wanted, clock.now())
    };
    expected.minutes = minutes(expected.calls, args.source.rate_limit.unwrap_or(rate_limit(asking.protocol)));
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&expected);
            console.data(&text.map_err(|e| Error::bug("the plan cannot be written").source(e))?)
        }
        Format::Table => console.data(&show(&expected, &asking, range.asked.days().count(), args.probe)),
    }
}

/// Calls a minute when none are said.
fn rate_limit(protocol: ProtocolChoice) -> u32 {
    match protocol {
        ProtocolChoice::One(Protocol::Page) => CALLS_PER_MINUTE_PAGE,
        _ => CALLS_PER_MINUTE,
    }
}

/// The bucket starts full, so the first minute's calls take no time.
fn minutes(calls: u64, rate: u32) -> u64 {
    calls.saturating_sub(1) / u64::from(rate.max(1))
}

fn show(expected: &Expectation, asking: &Asking, days: usize, probed: bool) -> String {
    let rows: Vec<Vec<String>> = (1..)
        .zip(&expected.windows)
        .map(|(n, window)| {
            let date = |at: Timestamp| at.format("%Y-%m-%d").to_string();
            vec![number(n), date(window.from), date(window.to), number(window.slices), number(window.calls)]
        })
        .collect();
    let mut text = format!("{}, by {}, {}\n\n", count(days as u64, "day"), asking.protocol, asking.describe());
    text += &table(&["window", "from", "to", "slices", "calls"], &rows, &[true, false, false, true, true]);
    let known = expected.conversations.map_or(String::new(), |n| format!("{}, ", count(n, "conversation")));
    text += &format!(
        "\n{}, {}, {known}{}{}, {}\n",
        count(expected.windows.len() as u64, "window"),
        count(expected.slices, "slice"),
        if probed { "" } else { "at least " },
        count(expected.calls, "call"),
        match expected.minutes {
            0 => "within the first minute's calls".to_owned(),
            n => format!("about {}", count(n, "minute")),
        }
    );
    text
}
