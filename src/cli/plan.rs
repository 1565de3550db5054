//! `convlake plan`: windows, slices and calls, before any call is made.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::args::{RequestArgs, SourceArgs};
use super::place::LakeArg;
use super::range::RangeArgs;
use super::settings::{self, Asking, Connected};
use super::text::{count, number, table};
use super::{Console, Environment, costs, lakes};
use crate::api::{AVAILABILITY_LAG, calls_per_minute};
use crate::error::{Error, Result};
use crate::export::{Basis, Expectation, Terms, Volume, estimate, probe};
use crate::lake::Lake;
use crate::plan::{Asked, Matching, ProtocolChoice, windows};
use crate::time::{Clock, Timestamp};

/// Show windows, slices and expected calls, without any call but those that look up names in filters
///
/// With a lake, the calls are those for what it holds, and days that have expired in it are left out.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    lake: LakeArg,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Ask the source for its totals: one small call a slice
    #[arg(long, env = "CONVLAKE_PROBE")]
    probe: bool,
    /// How to write it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading in a terminal
    #[value(alias = "text")]
    Table,
    /// As data
    Json,
}

pub(super) async fn run(args: &PlanArgs, console: &Console, env: &Environment, clock: Clock) -> Result<()> {
    let range = args.range.resolve(clock.now())?;
    let mut asking = Asking::new(&args.request, &args.source, env)?;
    for note in range.notes.iter().chain(&asking.notes) {
        console.warn(note);
    }
    let lake = lakes::named_lake(&args.lake, env).await?;
    let mut source = None;
    if args.probe || asking.first_name().is_some() {
        let connected = settings::connect(&args.source, env, clock);
        let Connected { api, .. } =
            connected.map_err(|error| if args.probe { error } else { unasked(&asking, &error) })?;
        asking = asking.resolved(&api, async { Ok(lake.clone()) }).await?;
        source = args.probe.then(|| api.asking(asking.wanted.clone()));
    }
    let (asked, held) = known_to(lake, range.asked.into(), &args.lake, console).await?;
    let plan = windows(&asked, Matching::Start);
    let mut terms = terms(&asking, &args.source, clock);
    let volume = if let Some(api) = source {
        if asking.protocol == ProtocolChoice::Auto {
            terms.availability = Some(api.availability().await?);
        }
        probe(&plan, &terms, &api).await?
    } else {
        held
    };
    let expected = estimate(&plan, &terms, &volume);
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&expected);
            console.data(&text.map_err(|e| Error::bug("the plan cannot be written").source(e))?)
        }
        Format::Table => console.data(&show(&expected, &asking, asked.parts().len())),
    }
}

/// The error of a name for which there is nobody to ask.
fn unasked(asking: &Asking, error: &Error) -> Error {
    let (flag, name) = asking.first_name().unwrap_or_default();
    let why = Error::usage(format!("{flag} `{name}` is no id (a UUID), and a name cannot be looked up: {error}"));
    why.hint(format!("give the id, or {}", error.hint_text().unwrap_or("correct that")))
}

/// What the calls depend on, before the source is asked anything.
pub(super) fn terms<'a>(asking: &'a Asking, source: &SourceArgs, clock: Clock) -> Terms<'a> {
    Terms {
        protocol: asking.protocol,
        wanted: &asking.wanted,
        availability: Some(clock.now() - AVAILABILITY_LAG),
        concurrency: source.concurrency,
        rate_limit: source.rate_limit.unwrap_or(calls_per_minute(asking.protocol)),
    }
}

/// What an export of `asked` would ask of the source, and how much that is by what `lake` holds. Days that have expired
/// in it, which is `named`, are left out and told.
///
/// # Errors
/// Storage: the lake cannot be read.
pub(super) async fn known_to(
    lake: Option<Arc<Lake>>,
    mut asked: Asked,
    named: &LakeArg,
    console: &Console,
) -> Result<(Asked, Volume)> {
    let Some(lake) = lake else { return Ok((asked, Volume::default())) };
    let expired = lakes::expired(&lake, &asked).await?;
    if let Some(note) = lakes::tell_expired(&expired, named) {
        console.warn(&note);
    }
    expired.into_iter().for_each(|day| asked.remove(day));
    let ledger = lakes::blocking(move || lake.ledger()).await?;
    Ok((asked, Volume::of(&ledger)))
}

/// The plan for people.
pub(super) fn show(expected: &Expectation, asking: &Asking, days: usize) -> String {
    let rows: Vec<Vec<String>> = (1..)
        .zip(&expected.windows)
        .map(|(n, window)| {
            let date = |at: Timestamp| at.format("%Y-%m-%d").to_string();
            vec![number(n), date(window.from), date(window.to), number(window.slices), number(window.calls)]
        })
        .collect();
    // Of an unknown volume these are the calls of windows without conversations.
    let calls = if expected.basis == Basis::Unknown { "calls if empty" } else { "calls" };
    let head = ["window", "from", "to", "slices", calls];
    format!(
        "{}, by {}, {}\n\n{}\n{}, {}\n{}\n",
        count(days as u64, "day"),
        asking.protocol,
        asking.describe(),
        table(&head, &rows, &[true, false, false, true, true]),
        count(expected.windows.len() as u64, "window"),
        count(expected.slices, "slice"),
        costs::calls(expected),
    )
}
