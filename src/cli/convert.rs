//! `convlake convert`: saved pages into a lake, without any API.

use std::path::PathBuf;
use std::pin::pin;

use clap::Args;

use super::args::LakeArgs;
use super::{Console, Environment, lakes, outcome, settings};
use crate::error::{Error, Result};
use crate::export::{self, Input, Means, Settings};
use crate::lake::identity::{Family, Identity};
use crate::time::Clock;

/// Convert saved pages into a lake, without any API
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// Files of pages or conversations: a JSON document, JSON lines, or gzip of either; `-` is stdin
    #[arg(required = true, value_name = "PAGES")]
    pages: Vec<PathBuf>,
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
    let report = export::convert(settings, inputs, means, stop).await;
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
    let inputs: Vec<Input> = args.pages.iter().map(|path| Input::from(path.as_path())).collect();
    for input in &inputs {
        if let Input::File(path) = input
            && !path.is_file()
        {
            return Err(Error::usage(format!("{input} is not a file")));
        }
    }
    let flattener = settings::flattener(&args.lake)?;
    let identity = Identity {
        family: Family::Genesys,
        source: "files".to_owned(),
        organization: None,
        selection: settings::selection(&args.lake),
    };
    let settings = settings::run_settings("convert", &args.lake, Vec::new())?;
    let lake = lakes::open_lake(&args.lake, env, identity, stop).await?;
    Ok((settings, inputs, Means { lake, flattener, clock, watch: outcome::watch(console, None) }))
}
