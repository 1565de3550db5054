//! `convlake convert`: saved pages into a lake, without any API.

use std::path::PathBuf;
use std::pin::pin;

use clap::Args;

use super::args::LakeArgs;
use super::{Console, Environment, lakes, outcome, settings, stores};
use crate::error::{Error, Result};
use crate::export::{self, Input, Inputs, Means, Onto, Settings};
use crate::lake::identity::{Family, Identity};
use crate::time::Clock;

/// Convert saved pages into a lake, without any API
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// Saved pages: files, folders, patterns, pipes, `-` for stdin, or objects and prefixes of s3://, gs:// and az://
    ///
    /// JSON documents, JSON lines or a JSON text sequence, in UTF-8 or UTF-16, plain or packed by gzip or zstd. Pages of
    /// the API are read, lists of pages, conversations alone or in lists, and either of them in one envelope (`data`,
    /// `body`, `result`, `results`, `response`, `payload`), in the records of a Singer tap or in the raw rows of
    /// Airbyte. Folders and prefixes are read below as well, by names such as .json, .jsonl and .ndjson, also with .gz
    /// or .zst.
    #[arg(required = true, value_name = "PAGES")]
    pages: Vec<PathBuf>,
    /// Add the pages to the days that the lake holds, instead of replacing these: what the pages do not mention stays,
    /// and of a conversation the version with the latest timestamp in it counts
    #[arg(long, env = "CONVLAKE_MERGE")]
    merge: bool,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(super) async fn run(
    args: &ConvertArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let mut stop = pin!(stop);
    let begun = begin(args, console, env, clock, stop.as_mut()).await;
    let (settings, inputs, means) =
        begun.map_err(|error| outcome::refused("convert", &args.lake, None, clock, error, console))?;
    let onto = if args.merge { Onto::Merge } else { Onto::Replace };
    let report = export::convert(settings, inputs, onto, means, stop).await;
    let code = outcome::conclude(&report, args.lake.report.as_deref(), args.lake.sample, console)?;
    outcome::print(&report, console)?;
    Ok(code)
}

/// Everything that can be refused before the first byte is read.
async fn begin(
    args: &ConvertArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<(Settings, Vec<Input>, Means)> {
    let (named, options) = (args.pages.clone(), stores::options(env, false));
    let mut stop = pin!(stop);
    let Inputs { inputs, notes } = tokio::select! {
        inputs = lakes::blocking(move || Inputs::named(&named, &options)) => inputs?,
        error = stop.as_mut() => return Err(error),
    };
    notes.iter().for_each(|note| console.say(&format!("note: {note}")));
    settings::check_columns(&args.lake)?;
    let identity = Identity {
        family: Family::Genesys,
        source: "files".to_owned(),
        organization: None,
        selection: settings::selection(&args.lake),
    };
    let settings = settings::run_settings("convert", &args.lake, notes)?;
    let lake = lakes::open_lake(&args.lake, env, identity, stop).await?;
    let flattener = lakes::flattener_of(&lake)?;
    Ok((settings, inputs, Means { lake, flattener, clock, watch: outcome::watch(console, None) }))
}
