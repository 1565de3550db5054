//! `convlake expire`: days out of a lake, for good, and the way back for those that were not meant.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::args::ChangedLakeArg;
use super::consent::{self, Consent, ConsentArgs};
use super::range;
use super::text::{count, number};
use super::{Console, Environment, lakes};
use crate::error::{Error, Result};
use crate::lake::expire::Expiry;
use crate::lake::{Dataset, Lake, Run, RunId, TableSpec};
use crate::time::{Clock, Day, Days};

/// Remove the days of a lake that are older than it is to hold, and keep them out
///
/// It asks before it removes anything; where no one can be asked it needs --yes.
#[derive(Debug, Args)]
pub(super) struct ExpireArgs {
    #[command(flatten)]
    lake: ChangedLakeArg,
    /// The first day that stays: a date, or as in `-400d`
    #[arg(long, env = "CONVLAKE_BEFORE", value_name = "DATE", allow_hyphen_values = true)]
    before: String,
    /// Take it back for the days before that: they count as never exported, and are due again
    #[arg(long)]
    undo: bool,
    /// With --undo: the first day that comes back; all of them by default
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, requires = "undo")]
    since: Option<String>,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// Days of conversations, and snapshots of dimensions.
#[derive(Clone, Copy, Default)]
struct Removed {
    days: Expiry,
    snapshots: Expiry,
}

pub(super) async fn run(
    args: &ExpireArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let now = clock.now();
    let before = range::past_day(&args.before, "before", now)?;
    if args.undo {
        return undo(args, before, console, env, clock, stop).await;
    }
    let consent = args.consent.resolve(console)?;
    let (id, mut stop) = (RunId::at(now), pin!(stop));
    let expire = |dry_run| {
        move |lake: Arc<Lake>| {
            let mut removed = Removed::default();
            for dataset in Dataset::ALL {
                let expiry = begin(&lake, id, dataset, clock)?.expire(before, dry_run)?;
                match dataset {
                    Dataset::Conversations => removed.days = expiry,
                    _ => removed.snapshots = removed.snapshots + expiry,
                }
            }
            Ok(removed)
        }
    };
    let open = Lake::open_to_change;
    if consent == Consent::Asked {
        let would: Removed = lakes::with_lake(&args.lake, env, stop.as_mut(), open, expire(true)).await?;
        if would.days.days + would.snapshots.days > 0 {
            consent::ask(&told(&would, before, true).join("\n"), console, stop.as_mut()).await?;
        }
    }
    let dry_run = consent == Consent::DryRun;
    let removed = lakes::with_lake(&args.lake, env, stop, open, expire(dry_run)).await?;
    told(&removed, before, dry_run).iter().for_each(|line| console.say(line));
    if !console.stdout_is_terminal {
        let told = |expiry: &Expiry| json!({"days": expiry.days, "conversations": expiry.conversations, "files": expiry.files, "bytes": expiry.bytes});
        let line = json!({
            "run": id, "exit": 0, "dry_run": dry_run, "before": before,
            "conversations": told(&removed.days), "dimensions": told(&removed.snapshots),
        });
        console.data(&line.to_string())?;
    }
    Ok(0)
}

/// A run on one dataset.
fn begin(lake: &Arc<Lake>, id: RunId, dataset: Dataset, clock: Clock) -> Result<Run> {
    let specs = match dataset {
        Dataset::Conversations => TableSpec::of(lakes::flattener_of(lake)?.catalog())?,
        _ => Arc::default(),
    };
    lake.begin(id, dataset, specs, clock)
}

fn told(removed: &Removed, before: Day, dry_run: bool) -> Vec<String> {
    let all = [(removed.days, "day"), (removed.snapshots, "snapshot")];
    let lines: Vec<String> =
        all.iter().filter(|(expiry, _)| expiry.days > 0).map(|(expiry, what)| say(expiry, what, dry_run)).collect();
    if lines.is_empty() {
        return vec![format!("nothing before {before} is left to expire")];
    }
    lines
}

fn say(expiry: &Expiry, what: &str, dry_run: bool) -> String {
    format!(
        "{} {}: {}, {} bytes",
        count(expiry.days, what),
        if dry_run { "would expire" } else { "expired" },
        count(expiry.files, "file"),
        number(expiry.bytes),
    )
}

/// Takes the mark off expired days. It removes nothing, so it asks nothing.
async fn undo(
    args: &ExpireArgs,
    before: Day,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let now = clock.now();
    let since = args.since.as_deref().map(|text| range::past_day(text, "since", now)).transpose()?;
    if since.is_some_and(|since| since >= before) {
        return Err(Error::usage("--since is not before --before: no day is named"));
    }
    let (id, dry_run) = (RunId::at(now), args.consent.is_dry_run());
    let days = Days { from: since, to: Some(before) };
    let restore = move |lake: Arc<Lake>| {
        let mut restored = BTreeSet::new();
        let mut snapshots = 0;
        for dataset in Dataset::ALL {
            let found = begin(&lake, id, dataset, clock)?.restore(&days, dry_run)?;
            match dataset {
                Dataset::Conversations => restored = found,
                _ => snapshots += found.len() as u64,
            }
        }
        Ok((restored, snapshots))
    };
    let (restored, snapshots) = lakes::with_lake(&args.lake, env, stop, Lake::open_to_change, restore).await?;
    let verb = if dry_run { "would be" } else { "are" };
    match (restored.first(), restored.last()) {
        (Some(first), Some(last)) => console.say(&format!(
            "{} from {first} to {last} {verb} due again: `sync` fetches them if the lake's first day is not later, \
             `export --from {first} --to {}` in any case",
            count(restored.len() as u64, "expired day"),
            last.next(),
        )),
        _ => console.say(&format!("no day before {before} has expired")),
    }
    if snapshots > 0 {
        console.say(&format!("{} {verb} no longer marked as expired", count(snapshots, "snapshot")));
    }
    if !console.stdout_is_terminal {
        let line = json!({
            "run": id, "exit": 0, "dry_run": dry_run, "undo": true, "since": since, "before": before,
            "days": restored, "snapshots": snapshots,
        });
        console.data(&line.to_string())?;
    }
    Ok(0)
}
