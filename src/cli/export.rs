//! `convlake export`: a range of days from the source into the lake.

use std::pin::pin;

use clap::Args;

use super::args::{LakeArgs, RequestArgs, SourceArgs};
use super::range::{Range, RangeArgs};
use super::settings::{self, Asking, Connected};
use super::{Console, Environment, lakes, outcome, plan};
use crate::api::{Api, Endpoint, Filters};
use crate::error::{Error, Result};
use crate::export::{self, Means, Request, Settings};
use crate::plan::{Asked, Matching, ProtocolChoice, windows};
use crate::time::{Clock, Day};

/// Export a range of days into a lake
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// Leave out the days that the lake holds as far as they are asked for
    #[arg(long, env = "CONVLAKE_MISSING_ONLY", help_heading = "Range")]
    missing_only: bool,
    /// Fail where the source counts more conversations than it sends, also when it is asked again (65)
    #[arg(long, env = "CONVLAKE_STRICT_TOTALS", help_heading = "Source")]
    strict_totals: bool,
    /// Only show windows, slices and expected calls; nothing is asked for but names in filters, and nothing is written
    #[arg(long, env = "CONVLAKE_DRY_RUN", help_heading = "Range")]
    dry_run: bool,
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
    if args.dry_run {
        return super::until(stop, dry_run(args, console, env, clock)).await.map(|()| 0);
    }
    let mut stop = pin!(stop);
    let begun = begin(args, console, env, clock, stop.as_mut()).await;
    let (settings, request, api, means, filters) = begun.map_err(|error| {
        let range = args.range.resolve(clock.now()).ok().map(|range| range.asked);
        outcome::refused("export", &args.lake, range, clock, error, console)
    })?;
    let mut report = export::export(settings, request, api, means, stop).await;
    outcome::warn_of_nothing(&mut report, &filters, console);
    let code = outcome::conclude(&report, args.lake.report.as_deref(), args.lake.sample, console)?;
    outcome::print(&report, console)?;
    Ok(code)
}

/// Everything that can be refused before the first call for conversations; and the filters, as they were resolved.
async fn begin(
    args: &ExportArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<(Settings, Request, Api, Means, Filters)> {
    let mut stop = pin!(stop);
    let range = args.range.resolve(clock.now())?;
    let asking = Asking::new(&args.request, &args.source, env)?;
    settings::check_columns(&args.lake)?;
    let Connected { api, endpoint } = settings::connect(&args.source, env, clock)?;
    let settings = settings::run_settings("export", &args.lake, [&range.notes[..], &asking.notes].concat())?;
    let mut settings = Settings { strict_totals: args.strict_totals, ..settings };
    let lookup = asking.resolved(&api, lakes::find_lake(&args.lake, env));
    let asking = super::until(stop.as_mut(), lookup).await?;
    let api = api.asking(asking.wanted.clone());
    let days = announce(&range, &asking, &endpoint, console);
    let identity = asking.identity(endpoint.host(), &args.lake)?;
    let lake = lakes::open_lake(&args.lake, env, identity, stop).await?;
    let asked = Asked::from(range.asked);
    if let Some(note) = lakes::tell_expired(&lakes::expired(&lake, &asked).await?, &args.lake.place.at) {
        console.warn(&note);
        settings.notes.push(note);
    }
    let flattener = lakes::flattener_of(&lake)?;
    let request = Request {
        asked,
        protocol: asking.protocol,
        filtered: !asking.wanted.filters.is_empty(),
        concurrency: args.source.concurrency,
        missing_only: args.missing_only,
    };
    let means = Means { lake, flattener, clock, watch: outcome::watch(console, Some(days)) };
    Ok((settings, request, api, means, asking.wanted.filters))
}

/// Shows what would be asked for; it makes no call but those that look up names, and touches no lake.
async fn dry_run(args: &ExportArgs, console: &Console, env: &Environment, clock: Clock) -> Result<()> {
    let range = args.range.resolve(clock.now())?;
    let asking = Asking::new(&args.request, &args.source, env)?;
    settings::check_columns(&args.lake)?;
    let Connected { api, endpoint } = settings::connect(&args.source, env, clock)?;
    settings::run_settings("export", &args.lake, Vec::new())?;
    for note in range.notes.iter().chain(&asking.notes) {
        console.warn(note);
    }
    let lake = lakes::find_lake(&args.lake, env).await?;
    let asking = asking.resolved(&api, async { Ok(lake.clone()) }).await?;
    let identity = asking.identity(endpoint.host(), &args.lake)?;
    if let Some(lake) = &lake {
        identity.check(lake.identity())?;
    }
    let (asked, volume) = plan::known_to(lake, range.asked.into(), &args.lake.place.at, console).await?;
    let terms = plan::terms(&asking, &args.source, clock);
    let expected = export::estimate(&windows(&asked, Matching::Start), &terms, &volume);
    console.data(&plan::show(&expected, &asking, asked.parts().len()))
}

/// Says what is about to be asked for; returns its number of days.
fn announce(range: &Range, asking: &Asking, endpoint: &Endpoint, console: &Console) -> u64 {
    for note in range.notes.iter().chain(&asking.notes) {
        console.warn(note);
    }
    settings::warn_of_tutorial(asking, endpoint, console);
    let days = range.asked.days().count();
    let windows = windows(&range.asked.into(), Matching::Start);
    console.say(&format!(
        "{} from {}: {:?} to {:?}, {}, by {}",
        settings::extent(windows.len(), days),
        endpoint.describe(),
        range.asked.from(),
        range.asked.to(),
        asking.describe(),
        asking.protocol,
    ));
    let whole = range.asked.whole_days();
    if asking.protocol.is_real() && whole != range.asked {
        console.say(&format!(
            "whole UTC days are asked for, {} to {}; what starts outside of the range is left out",
            Day::of(whole.from()),
            Day::of(range.asked.to())
        ));
    }
    if asking.protocol == ProtocolChoice::Auto {
        console.say("jobs bring the days that the source promises complete, query the fresh ones after them");
    }
    days as u64
}
