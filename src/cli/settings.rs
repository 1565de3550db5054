//! Arguments become settings: files are read, values checked, flags that contradict each other refused. Behind this
//! no value is half-checked.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::time::Instant;

use super::Console;
use super::args::{AuthArg, LakeArgs, RequestArgs, SourceArgs};
use super::credentials::Environment;
use super::lakes;
use super::text::{count, parse_duration};
use crate::api::http::HttpTransport;
use crate::api::{Api, ApiSettings, AuthStyle, DEFAULT_REGION, Endpoint, Filters, Wanted};
use crate::error::{Error, Result};
use crate::flatten::Catalog;
use crate::lake::identity::{Family, Identity, Selection};
use crate::plan::{Protocol, ProtocolChoice};
use crate::time::Clock;

/// What is asked for, checked against what its protocol can say.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) protocol: ProtocolChoice,
    pub(super) wanted: Wanted,
}

impl Asking {
    /// All of everything.
    pub(super) fn everything() -> Asking {
        Asking { protocol: ProtocolChoice::Auto, wanted: Wanted::default() }
    }

    /// # Errors
    /// Usage: a flag that the protocol has no word for, a page size out of its bounds, an unreadable filter file.
    pub(super) fn new(args: &RequestArgs, env: &Environment) -> Result<Asking> {
        let protocol = args.protocol.one().map_or(ProtocolChoice::Auto, ProtocolChoice::One);
        let mut users = args.users.clone();
        if users.is_empty() {
            users.extend(env.user().map(str::to_owned));
        }
        let filters = Filters {
            queues: args.queues.clone(),
            users,
            skills: args.skills.clone(),
            media_types: args.media_types.clone(),
            directions: args.directions.clone(),
            divisions: args.divisions.clone(),
            raw: args.filter.as_deref().map(read_json).transpose()?,
        };
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let wanted = Wanted {
            filters: filters.normalized(),
            page_size: args.page_size,
            granularity: args.granularity.clone(),
            metrics: some(&args.metrics),
            group_by: some(&args.group_by),
        };
        let asking = Asking { protocol, wanted };
        for one in protocol.protocols() {
            asking.wanted.check(*one)?;
        }
        Ok(asking)
    }

    /// `no user filter: the whole organisation`, or which filters there are.
    pub(super) fn describe(&self) -> String {
        let f = &self.wanted.filters;
        let lists = [
            ("queue", &f.queues),
            ("user", &f.users),
            ("skill", &f.skills),
            ("media type", &f.media_types),
            ("direction", &f.directions),
            ("division", &f.divisions),
        ];
        let mut parts: Vec<String> = lists
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!("{name} {}", values.join(" or ")))
            .collect();
        if f.raw.is_some() {
            parts.push("a filter file".to_owned());
        }
        if parts.is_empty() {
            return "no user filter: the whole organisation".to_owned();
        }
        format!("only {}", parts.join(" and "))
    }

    /// The identity of a lake that holds what is asked for from `source`.
    pub(super) fn identity(&self, source: &str, lake: &LakeArgs) -> Result<Identity> {
        let mut selection = selection(lake);
        if !self.wanted.filters.is_empty() {
            selection.filters = serde_json::to_value(&self.wanted.filters)
                .map_err(|e| Error::bug("the filters cannot be written down").source(e))?;
        }
        let family = match self.protocol {
            ProtocolChoice::One(Protocol::Cursor) => Family::Cursor,
            ProtocolChoice::One(Protocol::Page) => Family::Page,
            ProtocolChoice::Auto | ProtocolChoice::One(Protocol::Query | Protocol::Jobs) => Family::Genesys,
        };
        if let ProtocolChoice::One(protocol @ (Protocol::Cursor | Protocol::Page)) = self.protocol {
            selection.metrics = self.wanted.metrics(protocol);
            match protocol {
                Protocol::Page => selection.group_by = self.wanted.group_by(),
                _ => selection.granularity = Some(self.wanted.granularity().to_owned()),
            }
        }
        Ok(Identity { family, source: source.to_owned(), organization: None, selection: selection.sorted() })
    }
}

/// The tables and columns of `lake`, as an identity keeps them.
pub(super) fn selection(lake: &LakeArgs) -> Selection {
    let tables = (!lake.tables.is_empty()).then(|| lake.tables.clone());
    Selection { tables, excluded: lake.excluded.clone(), ..Selection::default() }.sorted()
}

/// Whether what `lake` selects is there.
///
/// # Errors
/// Usage: an unknown table or column, or a key.
pub(super) fn check_columns(lake: &LakeArgs) -> Result<()> {
    let tables = (!lake.tables.is_empty()).then_some(lake.tables.as_slice());
    // The lake remembers what it leaves out of the dimensions for `convlake dimensions`; what is wrong with it is said now.
    let dimensions = Catalog::dimensions()?;
    let (of_dimensions, excluded): (Vec<_>, Vec<_>) =
        lake.excluded.iter().cloned().partition(|column| dimensions.has_table_of(column));
    dimensions.select(None, &of_dimensions)?;
    Catalog::builtin()?.select(tables, &excluded).map(drop)
}

/// What an export or a conversion does beside the source and the lake.
///
/// # Errors
/// Usage: a value out of its bounds.
pub(super) fn run_settings(
    command: &'static str,
    args: &LakeArgs,
    notes: Vec<String>,
) -> Result<crate::export::Settings> {
    if args.max_bad > 100 {
        return Err(Error::usage(format!("--max-bad {} is not a percentage", args.max_bad)));
    }
    if args.memory == 0 {
        return Err(Error::usage("--memory 0 holds nothing"));
    }
    Ok(crate::export::Settings {
        command,
        lake: lakes::location(args.out.as_deref())?.to_string(),
        notes,
        memory: args.memory.saturating_mul(1 << 20),
        max_bad: args.max_bad,
        allow_vanished: args.allow_vanished,
    })
}

/// A source over the network, and where it is.
pub(super) struct Connected {
    pub(super) api: Api,
    pub(super) endpoint: Endpoint,
}

/// Makes the source of `args`; no call yet.
///
/// # Errors
/// Config: credentials are missing. Usage: region, URL, rate or a length of time cannot be used.
pub(super) fn connect(args: &SourceArgs, asking: &Asking, env: &Environment, clock: Clock) -> Result<Connected> {
    let found = match &args.credentials_file {
        Some(file) => Environment::of_file(file)?.credentials()?,
        None => env.credentials()?,
    };
    let endpoint = endpoint(args, found.region.as_deref())?;
    let mut settings = ApiSettings::new(endpoint.clone(), found.credentials);
    settings.auth = match args.auth {
        AuthArg::Basic => AuthStyle::Basic,
        AuthArg::Body => AuthStyle::Body,
    };
    if args.rate_limit == Some(0) {
        return Err(Error::usage("--rate-limit 0 lets no call through").hint("calls a minute, at least 1"));
    }
    settings.rate_limit = args.rate_limit;
    settings.retry_for = parse_duration(&args.retry_for, "retry-for")?;
    let deadline = args.deadline.as_deref().map(|text| parse_duration(text, "deadline")).transpose()?;
    settings.deadline = deadline.map(|length| Instant::now() + length);
    settings.max_calls = args.max_calls;
    settings.wanted = asking.wanted.clone();
    let transport = HttpTransport::shared(&endpoint)?;
    Ok(Connected { api: Api::new(settings, transport, clock), endpoint })
}

fn endpoint(args: &SourceArgs, region_beside: Option<&str>) -> Result<Endpoint> {
    let endpoint = match &args.base_url {
        Some(url) => Endpoint::base_url(url, args.allow_http)?,
        None => Endpoint::region(args.region.as_deref().or(region_beside).unwrap_or(DEFAULT_REGION))?,
    };
    match &args.login_url {
        Some(url) => endpoint.with_login_url(url, args.allow_http),
        None => Ok(endpoint),
    }
}

/// A tutorial's protocol at a real region is not likely to be meant.
pub(super) fn warn_of_tutorial(asking: &Asking, endpoint: &Endpoint, console: &Console) {
    if !asking.protocol.is_real() && endpoint.is_genesys() {
        console.warn(&format!(
            "Genesys Cloud itself pages by query and jobs, not by {}; --protocol auto is for a real organisation",
            asking.protocol
        ));
    }
}

/// `3 windows, 90 days`.
pub(super) fn extent(windows: usize, days: usize) -> String {
    format!("{}, {}", count(windows as u64, "window"), count(days as u64, "day"))
}

fn read_json(path: &Path) -> Result<Value> {
    let refuse = |what: &str| Error::usage(format!("--filter `{}` {what}", path.display()));
    let text = fs::read(path).map_err(|e| refuse("cannot be read").source(e))?;
    serde_json::from_slice(&text).map_err(|e| refuse("is not JSON").source(e))
}
