//! `convlake quarantine`: what could not be read, shown without being told, read again, and removed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::args::ChangedLakeArg;
use super::consent::{self, Consent, ConsentArgs};
use super::text::{count, duration, escaped, number, parse_duration, table};
use super::{Console, Environment, lakes, outcome};
use crate::error::{Error, Result};
use crate::flatten::is_name;
use crate::lake::quarantine::kept::{Kept, Told, records};
use crate::lake::quarantine::retry::Retried;
use crate::lake::{Dataset, Lake, RunId, Store, TableSpec};
use crate::time::{Clock, Timestamp};

/// Look after the records of a lake that could not be read
#[derive(Debug, Args)]
pub(super) struct QuarantineArgs {
    #[command(flatten)]
    lake: ChangedLakeArg,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// What there is: by run and reason, with age and size
    List {
        /// How to write it
        #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "table")]
        format: Format,
    },
    /// One record: how it is made, without its values
    Show {
        /// RUN-NUMBER as `list` shows it, and which of its records, from 1
        #[arg(value_name = "RUN-NUMBER[:LINE]")]
        record: String,
        /// With its values: they may be personal
        #[arg(long)]
        raw: bool,
    },
    /// Read all records again; those that can be read now join their day
    Retry,
    /// Remove what is older
    Purge {
        /// How old it may be, as in `30d`
        #[arg(long, env = "CONVLAKE_OLDER_THAN", value_name = "TIME")]
        older_than: String,
        #[command(flatten)]
        consent: ConsentArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One line of JSON a file
    Json,
}

impl QuarantineArgs {
    /// The name of what is to be done, if that writes and has no dry run.
    pub(super) fn writes_without_dry_run(&self) -> Option<&'static str> {
        matches!(self.action, Action::Retry).then_some("quarantine retry")
    }
}

pub(super) async fn run(
    args: &QuarantineArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let now = clock.now();
    match &args.action {
        Action::List { format } => {
            let told = on_lake(args, env, stop, Lake::open_existing, |lake| lake.quarantine_told()).await?;
            list(&told, *format, now, console)
        }
        Action::Show { record, raw } => {
            let (name, line) = record.split_once(':').unwrap_or((record, "1"));
            let kept: Kept = name.parse()?;
            let line = line.parse().ok().filter(|line| *line > 0);
            let line = line.ok_or_else(|| Error::usage("the record after `:` is not a number from 1"))?;
            let content =
                on_lake(args, env, stop, Lake::open_existing, move |lake| lake.quarantine_content(kept)).await?;
            show(kept, &content, line, *raw, console)
        }
        Action::Retry => {
            let id = RunId::at(now);
            let retry = move |lake: Arc<Lake>| {
                let flattener = lakes::flattener_of(&lake)?;
                let specs = TableSpec::of(flattener.catalog())?;
                lake.begin(id, Dataset::Conversations, specs, clock)?.retry_quarantine(&flattener)
            };
            let retried = on_lake(args, env, stop, Lake::open_to_change, retry).await?;
            tell_retry(&retried, id, console)
        }
        Action::Purge { older_than, consent } => {
            let age = parse_duration(older_than, "older-than")?;
            let before = TimeDelta::from_std(age).ok().and_then(|age| now.checked_sub_signed(age));
            let before = before.ok_or_else(|| Error::usage(format!("--older-than {older_than} is before all time")))?;
            let consent = consent.resolve(console)?;
            let mut stop = pin!(stop);
            let purge = |dry_run| move |lake: Arc<Lake>| lake.purge_quarantine(before, dry_run);
            if consent == Consent::Asked {
                let would = on_lake(args, env, stop.as_mut(), Lake::open_to_change, purge(true)).await?;
                if !would.is_empty() {
                    consent::ask(&purged(&would, true), console, stop.as_mut()).await?;
                }
            }
            let dry_run = consent == Consent::DryRun;
            let done = on_lake(args, env, stop, Lake::open_to_change, purge(dry_run)).await?;
            tell_purge(&done, dry_run, console)
        }
    }
}

async fn on_lake<T: Send + 'static>(
    args: &QuarantineArgs,
    env: &Environment,
    stop: impl Future<Output = Error>,
    open: fn(Store) -> Result<Arc<Lake>>,
    work: impl FnOnce(Arc<Lake>) -> Result<T> + Send + 'static,
) -> Result<T> {
    lakes::with_lake(&args.lake, env, stop, open, work).await
}

fn list(all: &[Told], format: Format, now: Timestamp, console: &Console) -> Result<u8> {
    let text = match format {
        Format::Json => all.iter().map(|told| format!("{}\n", one_line(told))).collect(),
        Format::Table => {
            let rows: Vec<Vec<String>> = all.iter().flat_map(|told| rows(told, now)).collect();
            table(&["name", "reason", "records", "age", "bytes"], &rows, &[false, false, true, true, true])
        }
    };
    if !text.is_empty() {
        console.data(&text)?;
    }
    Ok(0)
}

fn one_line(told: &Told) -> Value {
    let kind = match told.kept {
        Kept::Records(..) => "records",
        Kept::Response(..) => "response",
    };
    json!({
        "name": told.kept.to_string(), "kind": kind, "path": told.kept.place().to_string(),
        "run": told.kept.run(), "found_at": told.found_at,
        "reasons": told.reasons, "records": told.reasons.values().sum::<u64>(), "bytes": told.bytes,
    })
}

/// A row for each reason; the size stands in the first.
fn rows(told: &Told, now: Timestamp) -> Vec<Vec<String>> {
    let age = told.found_at.and_then(|at| (now - at).to_std().ok()).map_or_else(|| "?".to_owned(), duration);
    let response = BTreeMap::from([("refused response".to_owned(), 1)]);
    let reasons = if told.reasons.is_empty() { &response } else { &told.reasons };
    let row = |(n, (reason, records)): (usize, (&String, &u64))| {
        let bytes = if n == 0 { number(told.bytes) } else { String::new() };
        vec![told.kept.to_string(), escaped(reason.as_bytes()), number(*records), age.clone(), bytes]
    };
    reasons.iter().enumerate().map(row).collect()
}

fn show(kept: Kept, content: &Bytes, line: usize, raw: bool, console: &Console) -> Result<u8> {
    let (record, said) = match kept {
        Kept::Response(..) => (content.clone(), None),
        Kept::Records(..) => {
            let all = records(content);
            let found = all.get(line - 1).ok_or_else(|| {
                Error::usage(format!("`{kept}` has no record {line}")).hint(format!("it has {}", all.len()))
            })?;
            console.say(&format!("record {line} of {}", all.len()));
            (
                found.said.as_ref().and_then(|said| said.raw()).unwrap_or_else(|| found.line.clone()),
                found.said.as_ref().cloned(),
            )
        }
    };
    if let Some(said) = said {
        let day = said.day.map_or(String::new(), |day| format!(", of {day}"));
        console.say(&format!(
            "{}: {}, chain {}, page {}, record {}{day}, by run {}",
            escaped(said.reason.as_bytes()),
            escaped(said.place.as_bytes()),
            said.chain,
            said.page,
            said.index,
            said.run
        ));
    }
    console.data(&if raw { escaped(&record) } else { made_of(&record)? })?;
    Ok(0)
}

/// How a record is made, without any of its values.
fn made_of(record: &[u8]) -> Result<String> {
    match serde_json::from_slice::<Value>(record) {
        Ok(value) => serde_json::to_string_pretty(&shape(&value, true))
            .map_err(|e| Error::bug("a shape cannot be written").source(e)),
        Err(e) => Ok(format!(
            "no JSON: it breaks at line {}, column {}; {} bytes",
            e.line(),
            e.column(),
            number(record.len() as u64)
        )),
    }
}

/// The same with a word for each value. Names of fields stay where they are the API's and not somebody's.
fn shape(value: &Value, names: bool) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) => format!("string of {}", text.chars().count()).into(),
        Value::Array(items) => items.iter().map(|item| shape(item, names)).collect(),
        Value::Object(fields) => {
            let field = |(n, (name, value)): (usize, (&String, &Value))| {
                let shown = if names && is_name(name) { name.clone() } else { format!("?{}", n + 1) };
                // What stands in `attributes` was named by whoever runs the contact centre.
                (shown, shape(value, names && name != "attributes"))
            };
            Value::Object(fields.iter().enumerate().map(field).collect::<Map<_, _>>())
        }
    }
}

fn tell_retry(retried: &Retried, run: RunId, console: &Console) -> Result<u8> {
    use crate::lake::quarantine::retry::Fate;
    let all: u64 = retried.fates.values().sum();
    console.say(&format!("{} read again", count(all, "record")));
    for (fate, records) in &retried.fates {
        let what = match fate {
            Fate::Joined => "joined their day",
            Fate::Superseded => "removed: the lake holds a newer version",
            Fate::Forgotten => "removed: the lake was told to forget them",
            Fate::Expired => "removed: their day has expired",
            Fate::Unreadable => "still cannot be read",
            Fate::NoDay => "wait: the lake does not hold the part of the day that they are of; export it",
            Fate::OldDay => "wait: their day is not whole, or was written with an earlier schema; export it again",
            Fate::Later => "wait: their day could not be published now",
        };
        console.say(&format!("{} {what}", count(*records, "record")));
    }
    let exit = outcome::failed(&retried.failed, !retried.days.is_empty(), console);
    if !console.stdout_is_terminal {
        let records = |fate: Fate| (fate.name().to_owned(), retried.fates.get(&fate).copied().unwrap_or(0).into());
        let fates: Map<String, Value> = Fate::ALL.into_iter().map(records).collect();
        console.data(&json!({"run": run, "exit": exit, "records": fates, "days": retried.days}).to_string())?;
    }
    Ok(exit)
}

/// Records, responses and bytes.
fn amount(purged: &[Told]) -> (u64, u64, u64) {
    let records = purged.iter().flat_map(|told| told.reasons.values()).sum();
    let responses = purged.iter().filter(|told| matches!(told.kept, Kept::Response(..))).count() as u64;
    (records, responses, purged.iter().map(|told| told.bytes).sum())
}

fn purged(purged: &[Told], dry_run: bool) -> String {
    let (records, responses, bytes) = amount(purged);
    let verb = if dry_run { "would be removed" } else { "removed" };
    format!("{} and {} {verb}, {} bytes", count(records, "record"), count(responses, "response"), number(bytes))
}

fn tell_purge(done: &[Told], dry_run: bool, console: &Console) -> Result<u8> {
    console.say(&purged(done, dry_run));
    let (records, responses, bytes) = amount(done);
    if !console.stdout_is_terminal {
        let line = json!({"exit": 0, "dry_run": dry_run, "records": records, "responses": responses, "bytes": bytes});
        console.data(&line.to_string())?;
    }
    Ok(0)
}
