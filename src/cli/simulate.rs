//! `convlake simulate`: the API on loopback, until it is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::Console;
use super::text::parse_duration;
use crate::error::{Context, Error, Kind, Result};
use crate::simulator::{Faults, Rules, SavedPages, Simulator, SimulatorSettings, WorldSettings, serve, startup_lines};
use crate::time::{Clock, Timestamp, parse_timestamp};

/// Serve a simulated Genesys Cloud on loopback
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// TCP port on 127.0.0.1; 0 takes a free one
    #[arg(long, env = "CONVLAKE_SIMULATE_PORT", default_value_t = 0)]
    port: u16,
    /// What the world is derived from: the same seed is the same world
    #[arg(long, env = "CONVLAKE_SIMULATE_SEED", default_value_t = 7)]
    seed: u64,
    /// Conversations that start on every UTC day since 2020
    #[arg(long, env = "CONVLAKE_SIMULATE_CONVERSATIONS_PER_DAY", value_name = "N", default_value_t = 500)]
    conversations_per_day: u32,
    /// What time it is in the simulated world, as RFC 3339; by default now
    #[arg(long, env = "CONVLAKE_SIMULATE_NOW", value_name = "TIME")]
    now: Option<String>,
    /// Calls a minute that a token may make; 0 is no limit
    #[arg(long, env = "CONVLAKE_SIMULATE_RATE_LIMIT", value_name = "CALLS", default_value_t = 300)]
    rate_limit: u32,
    /// Milliseconds from a request to its answer
    #[arg(long, env = "CONVLAKE_SIMULATE_LATENCY", value_name = "MS", default_value_t = 20)]
    latency: u64,
    /// How long a token lives, as in `1h`
    #[arg(long, env = "CONVLAKE_SIMULATE_TOKEN_LIFETIME", value_name = "TIME", default_value = "1d")]
    token_lifetime: String,
    /// How far the jobs' data lags behind, as in `6h`
    #[arg(long, env = "CONVLAKE_SIMULATE_AVAILABILITY_LAG", value_name = "TIME", default_value = "6h")]
    availability_lag: String,
    /// Let conversations change days after their start
    #[arg(long, env = "CONVLAKE_SIMULATE_LATE_CHANGES")]
    late_changes: bool,
    /// Let some conversations vanish days after their start
    #[arg(long, env = "CONVLAKE_SIMULATE_DELETIONS")]
    deletions: bool,
    /// Make one record in 40 ugly: wrong types, bad JSON, missing ids
    #[arg(long, env = "CONVLAKE_SIMULATE_UGLY")]
    ugly: bool,
    /// A file of saved pages, one a line, in the place of the world: served by query, not compressed, for measuring clients
    #[arg(long, env = "CONVLAKE_SIMULATE_PAGES", value_name = "FILE")]
    pages: Option<PathBuf>,
    /// A JSON file of scripted or random faults
    #[arg(long, env = "CONVLAKE_SIMULATE_FAULTS", value_name = "FILE")]
    faults: Option<PathBuf>,
}

pub(super) async fn run(
    args: &SimulateArgs,
    console: &Console,
    clock: Clock,
    stop: impl Future<Output = Error> + Send + 'static,
) -> Result<()> {
    let simulator = Simulator::new(settings(args)?, Clock::starting_at(now(args, clock)?));
    let (listener, base_url) = listen(args.port).await?;
    console.data(&startup_lines(&base_url, simulator.client_id(), simulator.client_secret()).join("\n"))?;
    console.say("simulating until interrupted");
    // Being stopped is how a server ends.
    let shutdown = async {
        let error = stop.await;
        if !matches!(error.kind(), Kind::Interrupted | Kind::Terminated) {
            tracing::warn!("{error}");
        }
    };
    serve(simulator, listener, shutdown).await
}

/// A listening socket on loopback, and its address.
pub(super) async fn listen(port: u16) -> Result<(TcpListener, String)> {
    let failed = |e: std::io::Error| {
        Error::config(format!("cannot listen on 127.0.0.1:{port}")).source(e).hint("--port 0 takes a free one")
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{address}")))
}

fn settings(args: &SimulateArgs) -> Result<SimulatorSettings> {
    let faults = match &args.faults {
        None => Faults::default(),
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|e| Error::usage(format!("--faults `{}` cannot be read", path.display())).source(e))?;
            Faults::parse(&text)?
        }
    };
    let world = WorldSettings {
        seed: args.seed,
        conversations_per_day: args.conversations_per_day,
        late_changes: args.late_changes,
        deletions: args.deletions,
        ugly: args.ugly,
        ..WorldSettings::default()
    };
    let rules = Rules {
        latency: Duration::from_millis(args.latency),
        rate_limit: (args.rate_limit > 0).then_some(args.rate_limit),
        token_lifetime: parse_duration(&args.token_lifetime, "token-lifetime")?,
        availability_lag: parse_duration(&args.availability_lag, "availability-lag")?,
        ..Rules::default()
    };
    let saved = args.pages.as_deref().map(saved).transpose()?;
    Ok(SimulatorSettings { world, rules, faults, saved })
}

fn saved(path: &Path) -> Result<SavedPages> {
    let place = || format!("--pages `{}`", path.display());
    let text = fs::read(path).map_err(|e| Error::usage(format!("{} cannot be read", place())).source(e))?;
    SavedPages::new(text).context(place)
}

fn now(args: &SimulateArgs, clock: Clock) -> Result<Timestamp> {
    match &args.now {
        None => Ok(clock.now()),
        Some(text) => parse_timestamp(text)
            .ok_or_else(|| Error::usage(format!("--now: `{text}` is not a timestamp")).hint("`2026-01-01T00:00:00Z`")),
    }
}
