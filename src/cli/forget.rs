//! `convlake forget`: conversations out of a lake, for good.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::args::ChangedLakeArg;
use super::consent::{self, Consent, ConsentArgs};
use super::text::count;
use super::{Console, Environment, lakes, outcome};
use crate::error::{Error, Result};
use crate::lake::forget::Forgot;
use crate::lake::{Dataset, Lake, RunId, TableSpec};
use crate::time::Clock;

/// What no command can reach, said whenever something was forgotten.
const BEYOND: &str = "not reached: what other conversations say of them, earlier versions that a bucket keeps, snapshots \
                      and backups, what readers copied, and reports that earlier runs wrote elsewhere";

/// Take conversations out of a lake for good, and keep them out
///
/// It asks before it takes anything out; where no one can be asked, and with `--file -`, it needs --yes.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("ids").required(true).multiple(true).args(["conversations", "file"])))]
pub(super) struct ForgetArgs {
    #[command(flatten)]
    lake: ChangedLakeArg,
    /// The id of a conversation (repeatable); other users of this machine may see it: --file hides it
    #[arg(long = "conversation", value_name = "ID")]
    conversations: Vec<String>,
    /// A file with one id a line; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    consent: ConsentArgs,
}

pub(super) async fn run(
    args: &ForgetArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    // What is read from stdin are ids, not the answer to a question.
    let from_stdin = args.file.as_deref() == Some(Path::new("-"));
    let consent = if from_stdin { args.consent.unasked()? } else { args.consent.resolve(console)? };
    let mut ids: HashSet<String> = args.file.as_deref().map(read_ids).transpose()?.unwrap_or_default();
    ids.extend(args.conversations.iter().map(|id| id.trim().to_owned()));
    ids.remove("");
    if ids.is_empty() {
        return Err(Error::usage("no conversation is named").hint("one id a line"));
    }
    let (asked, ids, id, mut stop) = (ids.len() as u64, Arc::new(ids), RunId::at(clock.now()), pin!(stop));
    let forget = |dry_run| {
        let ids = Arc::clone(&ids);
        move |lake: Arc<Lake>| {
            let specs = TableSpec::of(lakes::flattener_of(&lake)?.catalog())?;
            lake.begin(id, Dataset::Conversations, specs, clock)?.forget(&ids, dry_run)
        }
    };
    let open = Lake::open_to_change;
    if consent == Consent::Asked {
        let would = lakes::with_lake(&args.lake, env, stop.as_mut(), open, forget(true)).await?;
        consent::ask(&told(&would, asked, true), console, stop.as_mut()).await?;
    }
    let dry_run = consent == Consent::DryRun;
    let forgot = lakes::with_lake(&args.lake, env, stop, open, forget(dry_run)).await?;

    say(&forgot, asked, dry_run, console);
    let exit = outcome::failed(&forgot.failed, !forgot.days.is_empty(), console);
    if !console.stdout_is_terminal {
        let line = json!({
            "run": id, "exit": exit, "dry_run": dry_run, "asked": asked, "new": forgot.new,
            "conversations": forgot.conversations, "days": forgot.days.len(), "failed": forgot.failed.len(),
            "marked": forgot.marked, "quarantine": {"records": forgot.records, "responses": forgot.responses},
        });
        console.data(&line.to_string())?;
    }
    Ok(exit)
}

fn told(forgot: &Forgot, asked: u64, dry_run: bool) -> String {
    let verb = if dry_run { "would be forgotten" } else { "forgotten" };
    format!(
        "{} {verb} of {} asked for: {} written anew, {} and {} taken out of quarantine",
        count(forgot.conversations, "conversation"),
        count(asked, "id"),
        count(forgot.days.len() as u64, "day"),
        count(forgot.records, "record"),
        count(forgot.responses, "response"),
    )
}

fn say(forgot: &Forgot, asked: u64, dry_run: bool, console: &Console) {
    console.say(&told(forgot, asked, dry_run));
    if dry_run {
        return;
    }
    console.say(&format!("{} not known before, kept out from now on", count(forgot.new, "id")));
    if forgot.marked > 0 {
        console.say(&format!(
            "{} that other runs may be publishing at this moment: marked, so that the next sync fetches them again",
            count(forgot.marked, "day")
        ));
    }
    console.say(BEYOND);
}

/// The ids in a file. What is wrong with it is said without repeating any of it.
fn read_ids(path: &Path) -> Result<HashSet<String>> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        fs::read_to_string(path).map(|found| text = found)
    };
    read.map_err(|e| Error::usage(format!("--file `{}` cannot be read", path.display())).source(e))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}
