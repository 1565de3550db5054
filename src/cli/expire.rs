//! `convlake expire`: days out of a lake, for good.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::args::ChangedLakeArg;
use super::range;
use super::text::{count, number};
use super::{Console, Environment, lakes};
use crate::error::{Error, Result};
use crate::lake::expire::Expiry;
use crate::lake::{Dataset, Lake, RunId, TableSpec};
use crate::time::Clock;

/// Remove the days of a lake that are older than it is to hold, and keep them out
#[derive(Debug, Args)]
pub(super) struct ExpireArgs {
    #[command(flatten)]
    lake: ChangedLakeArg,
    /// The first day that stays: a date, or as in `-400d`
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    before: String,
    /// Only say how much would go
    #[arg(long)]
    dry_run: bool,
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
    let (id, dry_run) = (RunId::at(now), args.dry_run);
    let (days, snapshots) = lakes::with_lake(&args.lake, env, stop, Lake::open_to_change, move |lake| {
        let specs = TableSpec::of(lakes::flattener_of(&lake)?.catalog())?;
        let begin = |dataset, specs| lake.begin(id, dataset, specs, clock);
        let days = begin(Dataset::Conversations, specs)?.expire(before, dry_run)?;
        let dimensions = Dataset::ALL.into_iter().filter(|dataset| *dataset != Dataset::Conversations);
        let snapshots = dimensions.map(|dataset| begin(dataset, Arc::default())?.expire(before, dry_run));
        let snapshots: Vec<Expiry> = snapshots.collect::<Result<_>>()?;
        Ok((days, snapshots.into_iter().fold(Expiry::default(), |sum, next| sum + next)))
    })
    .await?;

    for (expiry, what) in [(days, "day"), (snapshots, "snapshot")] {
        if expiry.days > 0 {
            console.say(&say(&expiry, what, dry_run));
        }
    }
    if days.days + snapshots.days == 0 {
        console.say(&format!("nothing before {before} is left to expire"));
    }
    if !console.stdout_is_terminal {
        let told = |expiry: &Expiry| json!({"days": expiry.days, "conversations": expiry.conversations, "files": expiry.files, "bytes": expiry.bytes});
        let line = json!({
            "run": id, "exit": 0, "dry_run": dry_run, "before": before,
            "conversations": told(&days), "dimensions": told(&snapshots),
        });
        console.data(&line.to_string())?;
    }
    Ok(0)
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
