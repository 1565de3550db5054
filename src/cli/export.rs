//! `convlake export`: a range of days from the source into the lake.

use clap::Args;

use super::args::{LakeArgs, RequestArgs, SourceArgs};
use super::range::{Range, RangeArgs};
use super::settings::{self, Asking, Connected};
use super::{Console, Environment, outcome};
use crate::api::{Api, Endpoint};
use crate::error::{Error, Result};
use crate::export::{self, Means, Request, Settings};
use crate::lake::Lake;
use crate::plan::{ProtocolChoice, windows};
use crate::time::Clock;

/// Export a range of days into a lake
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(super) async fn run(
    args: &ExportArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let begun = begin(args, console, env, clock);
    let (settings, request, api, means) = begun.map_err(|error| {
        let range = args.range.resolve(clock.now()).ok().map(|range| range.asked);
        outcome::refused("export", &args.lake, range, clock, error, console)
    })?;
    let report = export::export(settings, request, api, means, stop).await;
    let code = outcome::conclude(&report, args.lake.report.as_deref(), console)?;
    outcome::print(&report, console)?;
    Ok(code)
}

/// Everything that can be refused before the first call.
fn begin(
    args: &ExportArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
) -> Result<(Settings, Request, Api, Means)> {
    let range = args.range.resolve(clock.now())?;
    let asking = Asking::new(&args.request, env)?;
    let flattener = settings::flattener(&args.lake)?;
    let path = settings::lake_path(&args.lake)?;
    let Connected { api, endpoint } = settings::connect(&args.source, &asking, env, clock)?;
    let settings = settings::run_settings("export", &path, &args.lake, range.notes.clone())?;
    let days = announce(&range, &asking, &endpoint, console);
    let lake = Lake::open(&path, &asking.identity(endpoint.host(), &args.lake)?)?;
    let request = Request {
        asked: range.asked,
        protocol: asking.protocol,
        filtered: !asking.wanted.filters.is_empty(),
        concurrency: args.source.concurrency,
    };
    Ok((settings, request, api, Means { lake, flattener, clock, watch: outcome::watch(console, Some(days)) }))
}

/// Says what is about to be asked for; returns its number of days.
fn announce(range: &Range, asking: &Asking, endpoint: &Endpoint, console: &Console) -> u64 {
    for note in &range.notes {
        console.warn(note);
    }
    if !asking.protocol.is_real() && endpoint.is_genesys() {
        console.warn(&format!(
            "Genesys Cloud itself pages by query and jobs, not by {}; --protocol auto is for a real organisation",
            asking.protocol
        ));
    }
    let days = range.asked.days().count();
    let windows = windows(&range.asked);
    console.say(&format!(
        "{} from {}: {:?} to {:?}, {}, by {}",
        settings::extent(windows.len(), days),
        endpoint.describe(),
        range.asked.from(),
        range.asked.to(),
        asking.describe(),
        asking.protocol,
    ));
    let expected = export::expect(&windows, asking.protocol, &asking.wanted, range.asked.to());
    console
        .say(&format!("at least {}; `convlake plan --probe` counts them", super::text::count(expected.calls, "call")));
    if asking.protocol == ProtocolChoice::Auto {
        console.say("jobs bring the days that the source promises complete, query the fresh ones after them");
    }
    days as u64
}
