//! Arguments become settings: files are read, values checked, flags that contradict each other refused. Behind this
//! no value is half-checked.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::Console;
use super::args::{AuthArg, CursorInArg, EndArg, LakeArgs, RequestArgs, SourceArgs};
use super::credentials::Environment;
use super::lakes;
use super::text::{count, parse_duration};
use crate::api::http::HttpTransport;
use crate::api::{Api, ApiSettings, AuthStyle, CursorIn, DEFAULT_REGION, Endpoint, Filters, RangeEnd, Wanted};
use crate::error::{Error, Result};
use crate::export::{first_name, resolve_names, spelled_ids};
use crate::flatten::Catalog;
use crate::lake::Lake;
use crate::lake::identity::{Family, Identity, Selection};
use crate::plan::{Protocol, ProtocolChoice};
use crate::time::Clock;

/// What is asked for, checked against what its protocol can say.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) protocol: ProtocolChoice,
    pub(super) wanted: Wanted,
    /// What the operator has to know about it.
    pub(super) notes: Vec<String>,
    /// Whether values that are no ids of Genesys Cloud may be names.
    names: bool,
    /// Whether the user comes from the environment.
    user_of_environment: bool,
}

impl Asking {
    /// # Errors
    /// Usage: a word that cannot be right, a flag that the protocol has no word for, a page size out of its bounds, an
    /// unreadable filter file. Config: the credentials file cannot be read.
    pub(super) fn new(args: &RequestArgs, source: &SourceArgs, env: &Environment) -> Result<Asking> {
        let protocol = args.protocol.one().map_or(ProtocolChoice::Auto, ProtocolChoice::One);
        let beside = beside(source, env)?;
        let mut users = words("--user", &args.users)?;
        let user = beside.user().filter(|_| users.is_empty()).map(str::to_owned);
        let user_of_environment = user.is_some();
        users.extend(user);
        let unused = [&beside, env].into_iter().find_map(Environment::unused_user);
        let notes = unused.filter(|_| users.is_empty()).into_iter().collect();
        let filters = Filters {
            queues: words("--queue", &args.queues)?,
            users,
            skills: words("--skill", &args.skills)?,
            media_types: words("--media-type", &args.media_types)?,
            directions: words("--direction", &args.directions)?,
            divisions: words("--division", &args.divisions)?,
            raw: args.filter.as_deref().map(read_json).transpose()?,
        };
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let mut wanted = Wanted {
            filters,
            page_size: args.page_size,
            granularity: args.granularity.clone(),
            metrics: some(words("--metrics", &args.metrics)?),
            group_by: some(words("--group-by", &args.group_by)?),
            cursor_in: args.cursor_in.map(|place| match place {
                CursorInArg::Body => CursorIn::Body,
                CursorInArg::Query => CursorIn::Query,
                CursorInArg::Both => CursorIn::Both,
            }),
            end: args.end.map(|end| match end {
                EndArg::Inclusive => RangeEnd::Inclusive,
                EndArg::Exclusive => RangeEnd::Exclusive,
            }),
        };
        if !args.allow_unknown {
            wanted = wanted.spelled()?;
        }
        let names = !args.allow_unknown && source.base_url.is_none();
        wanted.filters = if names { spelled_ids(wanted.filters) } else { wanted.filters.normalized() };
        let asking = Asking { protocol, wanted, notes, names, user_of_environment };
        for one in protocol.protocols() {
            asking.wanted.check(*one)?;
        }
        Ok(asking)
    }

    /// The first value that has to be looked up, with its flag.
    pub(super) fn first_name(&self) -> Option<(&'static str, String)> {
        first_name(&self.wanted.filters).filter(|_| self.names)
    }

    /// The same with ids in the place of names; `lake` is only looked for when there are names.
    ///
    /// # Errors
    /// Usage: a name that is nobody's or that of several. Access: it cannot be looked up by this client. Those of
    /// `lake` and of the source.
    pub(super) async fn resolved(
        mut self,
        api: &Api,
        lake: impl Future<Output = Result<Option<Arc<Lake>>>>,
    ) -> Result<Asking> {
        if let Some((flag, _)) = self.first_name() {
            let filters = resolve_names(self.wanted.filters, api, lake.await?.as_ref()).await;
            let of_environment = flag == "--user" && self.user_of_environment;
            self.wanted.filters =
                filters.map_err(|error| if of_environment { error.context("GENESYS_CLOUD_USER_ID") } else { error })?;
        }
        Ok(self)
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

/// The values of a flag, each without the space around it.
///
/// # Errors
/// Usage: one is empty, which is most likely a variable that is not set.
fn words(flag: &str, values: &[String]) -> Result<Vec<String>> {
    let words: Vec<String> = values.iter().map(|value| value.trim().to_owned()).collect();
    match words.iter().any(String::is_empty) {
        true => Err(Error::usage(format!("{flag} has an empty value"))
            .hint("leave the flag out to ask for everything; a comma separates values")),
        false => Ok(words),
    }
}

/// Where credentials and what belongs to them are set: the file that is named, or else the environment.
fn beside(args: &SourceArgs, env: &Environment) -> Result<Environment> {
    args.credentials_file.as_deref().map_or_else(|| Ok(env.clone()), Environment::of_file)
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
        lake: lakes::location(&args.place.at)?.to_string(),
        notes,
        memory: args.memory.saturating_mul(1 << 20),
        max_bad: args.max_bad,
        strict_totals: false,
        allow_vanished: args.allow_vanished,
    })
}

/// A source over the network, and where it is.
pub(super) struct Connected {
    pub(super) api: Api,
    pub(super) endpoint: Endpoint,
}

/// Makes the source of `args`, of which nothing is wanted yet; no call yet.
///
/// # Errors
/// Config: credentials are missing. Usage: region, URL, rate or a length of time cannot be used.
pub(super) fn connect(args: &SourceArgs, env: &Environment, clock: Clock) -> Result<Connected> {
    let found = beside(args, env)?.credentials()?;
    let endpoint = endpoint(args, found.region.as_deref())?;
    let mut settings = ApiSettings::new(endpoint.clone(), found.credentials);
    settings.auth = match args.auth {
        Some(AuthArg::Basic) => AuthStyle::Basic,
        Some(AuthArg::Body) => AuthStyle::Body,
        None => found.auth,
    };
    if args.rate_limit == Some(0) {
        return Err(Error::usage("--rate-limit 0 lets no call through").hint("calls a minute, at least 1"));
    }
    settings.rate_limit = args.rate_limit;
    settings.retry_for = parse_duration(&args.retry_for, "retry-for")?;
    let deadline = args.deadline.as_deref().map(|text| parse_duration(text, "deadline")).transpose()?;
    settings.deadline = deadline.map(|length| Instant::now() + length);
    settings.max_calls = args.max_calls;
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
    let hint = "name a JSON file with filters in the form of the protocol's request";
    let text = fs::read(path).map_err(|e| refuse("cannot be read").source(e).hint(hint))?;
    serde_json::from_slice(&text).map_err(|e| refuse("is not JSON").source(e).hint(hint))
}
