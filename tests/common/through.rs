//! An export through any transport, with any selection of tables: what [`super::org`] does not need.

use std::path::Path;
use std::sync::Arc;

use convlake::api::transport::Transport;
use convlake::api::{Api, ApiSettings, Credentials, Endpoint};
use convlake::export::{self, Means, Report, Request, Settings, Terms, Watch};
use convlake::flatten::{Catalog, Flattener};
use convlake::lake::{Family, Identity, Lake, Selection};
use convlake::plan::{Protocol, ProtocolChoice};
use convlake::simulator::Simulator;
use convlake::time::{Clock, Interval, Timestamp};

/// Settings for `simulator`, wherever it is reached.
pub(crate) fn settings(simulator: &Simulator) -> ApiSettings {
    let endpoint = Endpoint::base_url("http://localhost", false).expect("an endpoint");
    let credentials = Credentials::new(simulator.client_id(), simulator.client_secret()).expect("credentials");
    ApiSettings { seed: Some(1), ..ApiSettings::new(endpoint, credentials) }
}

/// Slices in flight at the same time.
const CONCURRENCY: usize = 6;

/// What the calls of these exports depend on.
pub(crate) fn terms(api: &Api, protocol: ProtocolChoice, availability: Option<Timestamp>) -> Terms<'_> {
    let rate_limit = api.calls_per_minute(protocol);
    Terms { protocol, wanted: api.wanted(), availability, concurrency: CONCURRENCY, rate_limit }
}

/// Exports `asked` by one protocol, all tables or only some.
pub(crate) async fn export(
    source: (ApiSettings, Arc<dyn Transport>),
    protocol: Protocol,
    asked: Interval,
    lake: &Path,
    tables: Option<&[String]>,
    clock: Clock,
) -> Report {
    export_by(ProtocolChoice::One(protocol), source, asked, lake, tables, clock).await
}

/// The same by any choice of protocols.
pub(crate) async fn export_by(
    protocol: ProtocolChoice,
    source: (ApiSettings, Arc<dyn Transport>),
    asked: Interval,
    lake: &Path,
    tables: Option<&[String]>,
    clock: Clock,
) -> Report {
    export_watched(protocol, source, asked, lake, tables, (clock, Arc::new(|_| ()))).await
}

/// The same, with somebody who hears its events.
pub(crate) async fn export_watched(
    protocol: ProtocolChoice,
    (api, transport): (ApiSettings, Arc<dyn Transport>),
    asked: Interval,
    lake: &Path,
    tables: Option<&[String]>,
    (clock, watch): (Clock, Watch),
) -> Report {
    let family = match protocol {
        ProtocolChoice::One(Protocol::Cursor) => Family::Cursor,
        ProtocolChoice::One(Protocol::Page) => Family::Page,
        ProtocolChoice::Auto | ProtocolChoice::One(Protocol::Query | Protocol::Jobs) => Family::Genesys,
    };
    let selection = Selection { tables: tables.map(<[_]>::to_vec), ..Selection::default() };
    let identity = Identity { family, source: "localhost".to_owned(), organization: None, selection };
    let catalog = Catalog::builtin().expect("schemas").select(tables, &[]).expect("tables");
    let lake = Lake::open(lake, &identity).expect("a lake");
    let means = Means {
        flattener: Flattener::new(Arc::new(catalog.with(lake.columns()))).expect("a flattener"),
        lake,
        clock,
        watch,
    };
    let settings = Settings {
        command: "export",
        lake: "lake".to_owned(),
        notes: Vec::new(),
        memory: 256 << 20,
        max_bad: 50,
        strict_totals: false,
        allow_vanished: false,
    };
    let request =
        Request { asked: asked.into(), protocol, filtered: false, concurrency: CONCURRENCY, missing_only: false };
    export::export(settings, request, Api::new(api, transport, clock), means, std::future::pending()).await
}
