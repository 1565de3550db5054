//! The command: arguments become settings in two steps (`args` as written, `settings` as checked), one file a
//! command. stdout is data, stderr is talk.

mod args;
mod consent;
mod console;
mod costs;
mod credentials;
mod flags;
mod lakes;
mod oddities;
mod outcome;
mod place;
mod range;
mod settings;
mod stores;
mod text;

mod calendar;
mod convert;
mod demo;
mod dimensions;
mod expire;
mod export;
mod files;
mod forget;
mod plan;
mod quarantine;
mod repair;
mod schema;
mod simulate;
mod status;
mod sync;
mod verify;

use clap::{FromArgMatches, Parser, Subcommand};

pub use console::Console;
pub use credentials::Environment;

use crate::error::{Error, Result};
use crate::time::{Clock, Timestamp};

/// Where the flags stand in `--help` that say how much is said.
const TALK: &str = "Talk";

/// Conversation history of a Genesys Cloud contact centre as a columnar data lake.
#[derive(Debug, Parser)]
#[command(name = "convlake", version, about, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// More talk: -v for what is done, -vv for every call
    #[arg(short, long, global = true, help_heading = TALK, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Less talk: only warnings and errors
    #[arg(short, long, global = true, help_heading = TALK, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How log lines are written
    #[arg(long, global = true, help_heading = TALK, env = "CONVLAKE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Export(Box<export::ExportArgs>),
    Sync(Box<sync::SyncArgs>),
    Plan(Box<plan::PlanArgs>),
    Convert(Box<convert::ConvertArgs>),
    Status(status::StatusArgs),
    Verify(Box<verify::VerifyArgs>),
    Files(files::FilesArgs),
    Dimensions(Box<dimensions::DimensionsArgs>),
    Quarantine(quarantine::QuarantineArgs),
    Forget(forget::ForgetArgs),
    Expire(expire::ExpireArgs),
    Schema(schema::SchemaArgs),
    Simulate(simulate::SimulateArgs),
}

impl Cli {
    /// What the command line of this process and its environment say. Ends the process when that is nothing that can be
    /// run.
    pub fn of_process() -> Cli {
        Cli::from_arg_matches(&flags::command().get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Runs a command and returns its exit code. `now` is the wall clock's reading; `stop` resolves when the operator
/// wants the run to end.
///
/// # Errors
/// What kept the command from running; what went wrong during an export is in its report and its exit code.
pub async fn run(
    cli: Cli,
    console: &Console,
    env: Environment,
    now: Timestamp,
    stop: impl Future<Output = Error> + Send + 'static,
) -> Result<u8> {
    let clock = Clock::starting_at(now);
    for idle in flags::idle(&env) {
        console.warn(&idle);
    }
    if let Some(command) = cli.command.writes_without_dry_run() {
        flags::refuse_dry_run(command, &env)?;
    }
    match &cli.command {
        Command::Demo(args) => demo::run(args, console, &env, clock, stop).await,
        Command::Export(args) => export::run(args, console, &env, clock, stop).await,
        Command::Sync(args) => sync::run(args, console, &env, clock, stop).await,
        Command::Convert(args) => convert::run(args, console, &env, clock, stop).await,
        Command::Quarantine(args) => quarantine::run(args, console, &env, clock, stop).await,
        Command::Forget(args) => forget::run(args, console, &env, clock, stop).await,
        Command::Expire(args) => expire::run(args, console, &env, clock, stop).await,
        Command::Plan(args) => until(stop, plan::run(args, console, &env, clock)).await.map(|()| 0),
        Command::Status(args) => until(stop, status::run(args, console, &env, clock)).await.map(|()| 0),
        Command::Verify(args) => until(stop, verify::run(args, console, &env, clock)).await,
        Command::Files(args) => until(stop, files::run(args, console, &env)).await.map(|()| 0),
        Command::Dimensions(args) => dimensions::run(args, console, &env, clock, stop).await,
        Command::Schema(args) => schema::run(args, console).map(|()| 0),
        Command::Simulate(args) => simulate::run(args, console, clock, stop).await.map(|()| 0),
    }
}

impl Command {
    /// The name of a command that writes to a lake and has no dry run.
    fn writes_without_dry_run(&self) -> Option<&'static str> {
        match self {
            Command::Demo(_) => Some("demo"),
            Command::Convert(_) => Some("convert"),
            Command::Dimensions(_) => Some("dimensions"),
            Command::Quarantine(args) => args.writes_without_dry_run(),
            Command::Export(_) | Command::Sync(_) | Command::Forget(_) | Command::Expire(_) => None,
            Command::Plan(_) | Command::Status(_) | Command::Verify(_) | Command::Files(_) => None,
            Command::Schema(_) | Command::Simulate(_) => None,
        }
    }
}

/// Runs a command that writes nothing and so may be given up anywhere.
async fn until<T>(stop: impl Future<Output = Error>, command: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = command => done,
        error = stop => Err(error),
    }
}
