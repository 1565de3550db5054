//! `convlake verify`: proves what a lake holds, names what is broken and the commands that repair it.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::args::{LakeArgs, RequestArgs, SourceArgs};
use super::lakes::{self, Opened};
use super::place::LakeArg;
use super::range::DaysArgs;
use super::repair::Repairs;
use super::settings::{self, Asking, Connected};
use super::text::{bytes, count};
use super::{Console, Environment};
use crate::error::{Error, Kind, Result};
use crate::export::{DayCount, count_days};
use crate::flatten::Catalog;
use crate::lake::verify::{Damage, Finding, Scope};
use crate::lake::{Lake, TableSpec, Verification};
use crate::time::{Clock, Days};

/// Prove what a lake holds; name what is broken and what repairs it
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    lake: LakeArg,
    /// Only sizes and footers: no row is read
    #[arg(long, env = "CONVLAKE_QUICK")]
    quick: bool,
    /// Count the conversations of each day at the source as well: one small call a day
    #[arg(long, env = "CONVLAKE_COMPARE_SOURCE")]
    source: bool,
    /// How to write it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    days: DaysArgs,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    from: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading
    #[value(alias = "table")]
    Text,
    /// As data
    Json,
}

pub(super) async fn run(args: &VerifyArgs, console: &Console, env: &Environment, clock: Clock) -> Result<u8> {
    let days = args.days.resolve(clock.now())?;
    let opened = lakes::existing_lake(&args.lake, env).await?;
    let counts = if args.source { compare(args, &opened.lake, &days, env, clock).await? } else { Vec::new() };
    let specs = specs(&opened.lake)?;
    let scope = Scope { days, quick: args.quick };
    let (lake, bar) = (Arc::clone(&opened.lake), console.progress(None));
    let mut verification = lakes::blocking(move || lake.verify(&specs, scope, &|_| bar.inc(1))).await?;
    verification.findings.extend(counts.iter().filter_map(different));
    verification.findings.sort_unstable();
    console.data(&match args.format {
        Format::Text => show(args, &opened, &verification, &counts),
        Format::Json => data(args, &opened, &verification, &counts)?,
    })?;
    Ok(if verification.findings.is_empty() { 0 } else { Kind::Data.exit_code() })
}

/// The lake's tables as this version knows them.
fn specs(lake: &Lake) -> Result<Vec<TableSpec>> {
    let conversations = TableSpec::of(lakes::flattener_of(lake)?.catalog())?;
    let dimensions = TableSpec::of(&Catalog::dimensions()?)?;
    Ok(conversations.iter().chain(dimensions.iter()).cloned().collect())
}

/// Asks the source how many conversations each day has.
async fn compare(
    args: &VerifyArgs,
    lake: &Arc<Lake>,
    days: &Days,
    env: &Environment,
    clock: Clock,
) -> Result<Vec<DayCount>> {
    let asking = Asking::new(&args.request, &args.from, env)?;
    let Connected { api, endpoint } = settings::connect(&args.from, env, clock)?;
    let asking = asking.resolved(&api, async { Ok(Some(Arc::clone(lake))) }).await?;
    let api = api.asking(asking.wanted.clone());
    let mut identity = asking.identity(endpoint.host(), &LakeArgs::of(""))?;
    // Tables and columns do not change which conversations there are.
    let theirs = &lake.identity().selection;
    identity.selection.tables.clone_from(&theirs.tables);
    identity.selection.excluded.clone_from(&theirs.excluded);
    identity.check(lake.identity())?;
    let read = Arc::clone(lake);
    let ledger = lakes::blocking(move || read.ledger()).await?;
    count_days(&api, asking.protocol, &ledger, days, args.from.concurrency).await
}

/// A day that may still change is different by right, and so is one of which records were set aside or forgotten.
fn different(count: &DayCount) -> Option<Finding> {
    let what = format!("the source counts {} conversations, the lake has {}", count.source, count.lake);
    (count.is_final && !count.is_explained()).then(|| Finding::of_day(count.day, Damage::Source, what))
}

fn data(args: &VerifyArgs, opened: &Opened, verification: &Verification, counts: &[DayCount]) -> Result<String> {
    let repairs = Repairs { location: &opened.location, identity: opened.lake.identity() };
    let findings: Vec<_> = verification
        .findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.damage.name(),
                "day": finding.day,
                "table": finding.table,
                "file": finding.file,
                "what": finding.what,
                "repair": repairs.of(finding),
            })
        })
        .collect();
    let value = json!({
        "lake": opened.location.to_string(),
        "id": opened.lake.id(),
        "ok": findings.is_empty(),
        "quick": args.quick,
        "days": verification.days,
        "files": verification.files,
        "rows": verification.rows,
        "bytes": verification.bytes,
        "findings": findings,
        "repairs": repairs.all(&verification.findings),
        "source": args.source.then_some(counts),
    });
    serde_json::to_string_pretty(&value).map_err(|e| Error::bug("the findings cannot be written").source(e))
}

fn show(args: &VerifyArgs, opened: &Opened, verification: &Verification, counts: &[DayCount]) -> String {
    let mut text = String::new();
    for finding in &verification.findings {
        let day = finding.day.map(|day| day.to_string()).unwrap_or_default();
        let file = finding.file.as_deref().unwrap_or("the whole day");
        text += &format!("{day:10}  {file}\n            {}: {}\n", finding.damage.name(), finding.what);
    }
    for count in counts.iter().filter(|count| count.lake != count.source && different(count).is_none()) {
        let why = if count.is_final { "records were set aside or forgotten" } else { "it may still change" };
        text += &format!(
            "note: {}: the source counts {} conversations, the lake has {}; {why}\n",
            count.day, count.source, count.lake
        );
    }
    let extent = format!(
        "{}, {}, {}, {}",
        count(verification.days, "day"),
        count(verification.files, "file"),
        count(verification.rows, "row"),
        bytes(verification.bytes)
    );
    let looked = if args.quick { "sizes and footers" } else { "every byte, every row's place" };
    if verification.findings.is_empty() {
        return text + &format!("{extent}: whole ({looked})\n");
    }
    text += &format!("\n{extent}: {} broken. To repair:\n\n", count(verification.findings.len() as u64, "thing"));
    let repairs = Repairs { location: &opened.location, identity: opened.lake.identity() };
    for command in repairs.all(&verification.findings) {
        text += &format!("  {command}\n");
    }
    text
}
