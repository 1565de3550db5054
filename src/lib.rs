//! Conversation history of a Genesys Cloud contact centre as a columnar data lake.
//!
//! ```text
//! request ─plan─▶ Window, Slice ─api─▶ Page ─flatten─▶ DayBatch ─lake─▶ file a table and day ─▶ Receipt
//! ```
//!
//! Data flows one way, and the modules below stand in its order. [`plan`] cuts the request into windows and slices;
//! [`api`] pages a slice over the one trait that knows the network; [`flatten`] turns records into Arrow batches, as
//! `schemas/*.json` say; [`lake`] sorts a day, encodes it and swaps it in whole, the receipt last; [`export`] is the
//! pipeline, the only place that knows them all. [`simulator`] is the API as a state machine, for tests and for trying
//! things out; [`cli`] is the command.
//!
//! `plan` and `flatten` do no I/O and read no clock. The wall clock is read once, in `main`.
//!
//! # Example
//! Ten days of a simulated organization, exported in virtual time:
//! ```
//! use std::sync::Arc;
//! use convlake::api::{Api, ApiSettings, Credentials, Endpoint};
//! use convlake::export::{self, Means, Request, Settings};
//! use convlake::flatten::{Catalog, Flattener};
//! use convlake::lake::{Family, Identity, Lake, Selection};
//! use convlake::plan::{Protocol, ProtocolChoice};
//! use convlake::simulator::{Simulator, SimulatorSettings, WorldSettings};
//! use convlake::time::{Clock, Interval, parse_timestamp};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let at = |text| parse_timestamp(text).ok_or("not a timestamp");
//! let clock = Clock::starting_at(at("2025-06-01T00:00:00Z")?);
//! let world = WorldSettings { conversations_per_day: 3, ..WorldSettings::default() };
//! let simulator = Simulator::new(SimulatorSettings { world, ..Default::default() }, clock);
//!
//! let endpoint = Endpoint::base_url("http://localhost", false)?;
//! let credentials = Credentials::new(simulator.client_id(), simulator.client_secret())?;
//! let api = Api::new(ApiSettings::new(endpoint, credentials), simulator.transport(), clock);
//!
//! let folder = tempfile::tempdir()?;
//! let identity = Identity {
//!     family: Family::Genesys,
//!     source: "localhost".to_owned(),
//!     organization: None,
//!     selection: Selection::default(),
//! };
//! let lake = Lake::open(folder.path(), &identity)?;
//! let flattener = Flattener::new(Arc::new(Catalog::builtin()?.with(lake.columns())))?;
//!
//! let report = export::export(
//!     Settings {
//!         command: "example",
//!         lake: "temporary".to_owned(),
//!         notes: Vec::new(),
//!         memory: 64 << 20,
//!         max_bad: 50,
//!         strict_totals: false,
//!         allow_vanished: false,
//!     },
//!     Request {
//!         asked: Interval::new(at("2025-01-01T00:00:00Z")?, at("2025-01-11T00:00:00Z")?)?.into(),
//!         protocol: ProtocolChoice::One(Protocol::Query),
//!         filtered: false,
//!         concurrency: 4,
//!         missing_only: false,
//!     },
//!     api,
//!     Means { lake, flattener, clock, watch: Arc::new(|_| ()) },
//!     std::future::pending(),
//! )
//! .await;
//!
//! assert_eq!((report.totals.exit, report.totals.conversations), (0, 30));
//! assert!(folder.path().join("conversations/date=2025-01-10/conversations.parquet").is_file());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod error;
pub mod memory;
pub mod secrets;
pub mod time;

pub mod plan;

pub mod api;

pub mod flatten;

pub mod lake;

pub mod simulator;

pub mod export;

pub mod cli;
