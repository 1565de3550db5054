//! `convlake sync`: a lake is kept up with its source; for schedulers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, ValueEnum};

use super::args::{LakeArgs, RequestArgs, SourceArgs};
use super::range::instant;
use super::settings::{self, Asking, Connected};
use super::text::{count, number, parse_duration, table};
use super::{Console, Environment, costs, lakes, outcome};
use crate::api::{Api, Endpoint, Filters};
use crate::error::{Error, Result};
use crate::export::{self, Means, Outlook, SyncRequest, outlook};
use crate::plan::due::Reason;
use crate::time::{Clock, Day};

/// Bring a lake up to date: what is new, what may have changed, nothing else
///
/// Meant for schedulers: run it as often as you like. It fills every gap since the lake's first sync, looks again at
/// days that may still change, and fetches days that were seen to have changed.
#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    #[command(flatten)]
    due: DueArgs,
    /// Only say which days are due, why, and what they cost; no call but for what the source promises
    #[arg(long, env = "CONVLAKE_DRY_RUN")]
    dry_run: bool,
    /// How --dry-run says it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "table")]
    format: Format,
    /// Also take today's snapshot of queues, users, wrap-up codes, skills, divisions, flows and teams, once a day
    #[arg(long, env = "CONVLAKE_DIMENSIONS")]
    dimensions: bool,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lake: LakeArgs,
}

/// What makes a day due.
#[derive(Debug, Args)]
#[command(next_help_heading = "Days")]
struct DueArgs {
    /// First day to keep, on the first run: `2025-01-01`, or `-30d` for 30 days ago. By default where the lake's latest
    /// days begin, or 7 days ago. Later runs may only move it back
    #[arg(long, env = "CONVLAKE_FROM", value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Days after which a day is taken not to change any more
    #[arg(long, env = "CONVLAKE_LOOKBACK", value_name = "DAYS", default_value_t = 7)]
    lookback: u16,
    /// How long a day that may still change is left alone
    #[arg(long, env = "CONVLAKE_RECHECK_EVERY", value_name = "TIME", default_value = "24h")]
    recheck_every: String,
    /// Publish a day only once it does not change any more
    #[arg(long, env = "CONVLAKE_SETTLED_ONLY")]
    settled_only: bool,
    /// Changed days that one run fetches again, the oldest first
    #[arg(long, env = "CONVLAKE_MAX_DIRTY", value_name = "DAYS", default_value_t = 62)]
    max_dirty: usize,
    /// Fail where the source counts more conversations than it sends, also when it is asked again (65)
    #[arg(long, env = "CONVLAKE_STRICT_TOTALS", help_heading = "Source")]
    strict_totals: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading in a terminal
    #[value(alias = "text")]
    Table,
    /// As data
    Json,
}

pub(super) async fn run(
    args: &SyncArgs,
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
    let (settings, request, api, means, filters) =
        begun.map_err(|error| outcome::refused("sync", &args.lake, None, clock, error, console))?;
    let lake = Arc::clone(&means.lake);
    let mut report = export::sync(settings, request, api.clone(), means, stop.as_mut()).await;
    outcome::warn_of_nothing(&mut report, &filters, console);
    // Whatever ended the sync early would end this as well.
    if args.dimensions && matches!(report.totals.exit, 0 | 3) {
        export::daily_dimensions(&mut report, &api, &lake, clock, stop).await;
    }
    let code = outcome::conclude(&report, args.lake.report.as_deref(), args.lake.sample, console)?;
    outcome::print(&report, console)?;
    Ok(code)
}

/// Everything that can be refused before the first call for conversations; and the filters, as they were resolved.
async fn begin(
    args: &SyncArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<(export::Settings, SyncRequest, Api, Means, Filters)> {
    let mut stop = pin!(stop);
    let asking = Asking::new(&args.request, &args.source, env)?;
    let request = args.request(&asking, clock)?;
    settings::check_columns(&args.lake)?;
    let Connected { api, endpoint } = settings::connect(&args.source, env, clock)?;
    let settings = settings::run_settings("sync", &args.lake, asking.notes.clone())?;
    let settings = export::Settings { strict_totals: args.due.strict_totals, ..settings };
    let lookup = asking.resolved(&api, lakes::find_lake(&args.lake, env));
    let asking = super::until(stop.as_mut(), lookup).await?;
    let api = api.asking(asking.wanted.clone());
    announce(&asking, &endpoint, console);
    let identity = asking.identity(endpoint.host(), &args.lake)?;
    let lake = lakes::open_lake(&args.lake, env, identity, stop).await?;
    let flattener = lakes::flattener_of(&lake)?;
    let means = Means { lake, flattener, clock, watch: outcome::watch(console, None) };
    Ok((settings, request, api, means, asking.wanted.filters))
}

impl SyncArgs {
    /// # Errors
    /// Usage: a value that cannot be read, a start in the future, or a promise asked of a protocol that makes none.
    fn request(&self, asking: &Asking, clock: Clock) -> Result<SyncRequest> {
        let now = clock.now();
        let from = self.due.from.as_deref().map(|text| instant(text, "from", now)).transpose()?;
        if from.is_some_and(|from| from >= now) {
            return Err(Error::usage("--from lies in the future").hint("the first day to keep, in UTC"));
        }
        if self.dimensions && !asking.protocol.is_real() {
            return Err(Error::usage(format!("--dimensions does not fit --protocol {}", asking.protocol))
                .hint("only Genesys Cloud itself lists queues, users and the like"));
        }
        let promises = asking.protocol.protocols().iter().any(|protocol| protocol.promises());
        if self.due.settled_only && !promises {
            return Err(Error::usage(format!("--settled-only does not fit --protocol {}", asking.protocol))
                .hint("only jobs say up to when they are complete, and without that no day settles"));
        }
        Ok(SyncRequest {
            protocol: asking.protocol,
            filtered: !asking.wanted.filters.is_empty(),
            concurrency: self.source.concurrency,
            from: from.map(Day::of),
            lookback: TimeDelta::days(self.due.lookback.into()),
            recheck_every: length(parse_duration(&self.due.recheck_every, "recheck-every")?),
            settled_only: self.due.settled_only,
            dirty_max: self.due.max_dirty,
        })
    }
}

/// Longer than any calendar is as good as for ever.
fn length(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn announce(asking: &Asking, endpoint: &Endpoint, console: &Console) {
    asking.notes.iter().for_each(|note| console.warn(note));
    settings::warn_of_tutorial(asking, endpoint, console);
    console.say(&format!("what is due from {}, {}, by {}", endpoint.describe(), asking.describe(), asking.protocol));
}

/// Says what is due; neither makes a lake nor touches one.
async fn dry_run(args: &SyncArgs, console: &Console, env: &Environment, clock: Clock) -> Result<()> {
    let asking = Asking::new(&args.request, &args.source, env)?;
    let request = args.request(&asking, clock)?;
    let Connected { api, endpoint } = settings::connect(&args.source, env, clock)?;
    let asking = asking.resolved(&api, lakes::find_lake(&args.lake, env)).await?;
    asking.notes.iter().for_each(|note| console.warn(note));
    let api = api.asking(asking.wanted.clone());
    let identity = asking.identity(endpoint.host(), &args.lake)?;
    let lake = lakes::find_lake(&args.lake, env).await?;
    if let Some(lake) = &lake {
        identity.check(lake.identity())?;
    }
    let outlook = outlook(&request, lake, &api, clock.now()).await?;
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&outlook);
            console.data(&text.map_err(|e| Error::bug("the outlook cannot be written").source(e))?)
        }
        Format::Table => console.data(&show(&outlook)),
    }
}

fn show(outlook: &Outlook) -> String {
    let rows: Vec<Vec<String>> = Reason::ALL
        .iter()
        .filter_map(|reason| {
            let days: Vec<Day> = outlook.days.iter().filter(|due| due.reason == *reason).map(|due| due.date).collect();
            let (first, last) = days.first().zip(days.last())?;
            Some(vec![reason.name().to_owned(), number(days.len() as u64), first.to_string(), last.to_string()])
        })
        .collect();
    let complete = match outlook.watermark {
        Some(until) => format!("complete from {} up to {}", outlook.anchor, Day::of(until)),
        None => format!("nothing is promised complete yet from {} on", outlook.anchor),
    };
    if rows.is_empty() {
        return format!("nothing is due: {complete}\n");
    }
    let mut text = table(&["due", "days", "first", "last"], &rows, &[false, true, false, false]);
    text += &format!(
        "\n{}, {}; {complete}\n{}\n",
        count(outlook.days.len() as u64, "day"),
        count(outlook.expected.slices, "slice"),
        costs::calls(&outlook.expected),
    );
    if outlook.dirty_left > 0 {
        text += &format!("{} changed as well and would be left to the next run\n", count(outlook.dirty_left, "day"));
    }
    text
}
