//! `convlake demo`: a simulated Genesys Cloud on loopback, 90 days of it in a lake, and the line that reads them.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;

use super::args::LakeArgs;
use super::place::LakeArg;
use super::{Console, Environment, lakes, outcome, settings, simulate};
use crate::api::http::HttpTransport;
use crate::api::{Api, ApiSettings, Credentials, Endpoint, UNPACED};
use crate::error::{Error, Result};
use crate::export::{self, Means, Request};
use crate::lake::identity::{Family, Identity, Selection};
use crate::plan::ProtocolChoice;
use crate::simulator::{Rules, Simulator, SimulatorSettings, WorldSettings, serve};
use crate::time::{Clock, Day, Interval};

/// Three windows of 30 days.
const DAYS: i64 = 90;
const CONVERSATIONS_PER_DAY: u32 = 250;
const SEED: u64 = 2025;
/// Where the lake is when none is named.
const LAKE: &str = "lake";

/// Simulate a Genesys Cloud and export 90 days of it; no account needed
///
/// The lake is `lake` in the present folder unless another is named.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    lake: LakeArg,
    /// Write what the run did to this file, as JSON
    #[arg(long, env = "CONVLAKE_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(
    args: &DemoArgs,
    console: &Console,
    env: &Environment,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> Result<u8> {
    let identity = Identity {
        family: Family::Genesys,
        source: "demo".to_owned(),
        organization: None,
        selection: Selection::default(),
    };
    let mut stop = pin!(stop);
    let out = args.lake.named.as_deref().unwrap_or(LAKE);
    let lake_args = LakeArgs::of(out);
    let lake = lakes::open_lake(&lake_args, env, identity, stop.as_mut()).await?;
    let from = first_day()?;
    let simulator = Simulator::new(
        SimulatorSettings {
            world: WorldSettings {
                seed: SEED,
                conversations_per_day: CONVERSATIONS_PER_DAY,
                ..WorldSettings::default()
            },
            // A demo need not wait for jobs as long as the real API lets one wait, and its calls are not counted.
            rules: Rules {
                rate_limit: None,
                job_queued: Duration::from_millis(100),
                job_running: Duration::from_millis(400),
                ..Rules::default()
            },
            ..SimulatorSettings::default()
        },
        clock,
    );
    let (listener, base_url) = simulate::listen(0).await?;
    console.say(&format!(
        "a simulated Genesys Cloud at {base_url}: {CONVERSATIONS_PER_DAY} conversations a day, {DAYS} days from {from}"
    ));
    let endpoint = Endpoint::base_url(&base_url, false)?;
    let credentials = Credentials::new(simulator.client_id(), simulator.client_secret())?;
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(simulator, listener, async {
        // Dropping the sender ends the server as well.
        let _ = ended.await;
    }));
    let source = ApiSettings { rate_limit: Some(UNPACED), ..ApiSettings::new(endpoint.clone(), credentials) };
    let api = Api::new(source, HttpTransport::shared(&endpoint)?, clock);
    let request = Request {
        asked: Interval::new(from.start(), from.plus(DAYS).start())?.into(),
        protocol: ProtocolChoice::Auto,
        filtered: false,
        concurrency: 6,
        missing_only: false,
    };
    let means = Means {
        flattener: lakes::flattener_of(&lake)?,
        lake,
        clock,
        watch: outcome::watch(console, Some(DAYS as u64)),
    };
    let run_settings = settings::run_settings("demo", &lake_args, Vec::new())?;
    let report = export::export(run_settings, request, api, means, stop).await;
    drop(end);
    let served = serving.await.map_err(|e| Error::bug("the simulator died").source(e))?;
    let code = outcome::conclude(&report, args.report.as_deref(), false, console)?;
    served?;
    if outcome::has_figures(&report) {
        console.data(&format!("{}\n{}", outcome::rows(&report), reading(out)))?;
    }
    Ok(code)
}

/// The first day of the 90. They lie far enough back that nothing of them changes any more, so that a second demo
/// finds them as they are.
fn first_day() -> Result<Day> {
    "2025-01-01".parse()
}

fn reading(lake: &str) -> String {
    format!(
        "Read it with DuckDB:\n\n  duckdb -c \"SELECT media_type, count(*) AS sessions, round(avg(t_handle_ms) / 1000) AS handle_s \
         FROM read_parquet('{lake}/sessions/**/*.parquet', union_by_name=true, hive_partitioning=true) \
         WHERE purpose = 'agent' GROUP BY ALL ORDER BY ALL\""
    )
}
