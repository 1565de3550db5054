//! What a source is asked, and how: everything the caller decides.

use std::time::Duration;

use tokio::time::Instant;

use super::filter::Filters;
use super::pace::{CALLS_PER_MINUTE, CALLS_PER_MINUTE_PAGE};
use super::region::Endpoint;
use super::token::{AuthStyle, Credentials};
use super::vocabulary::corrected;
use crate::error::{Error, Result};
use crate::plan::{Protocol, ProtocolChoice};

/// How long one call is retried when nothing else is said.
pub const RETRY_FOR: Duration = Duration::from_secs(300);
/// How long a job may run when nothing else is said.
pub const JOB_CEILING: Duration = Duration::from_secs(30 * 60);

/// The steps in which the first tutorial's API counts.
const GRANULARITIES: [&str; 4] = ["hour", "day", "week", "month"];
const CURSOR_METRICS: [&str; 5] = ["handleDuration", "talkDuration", "waitDuration", "holdDuration", "wrapupDuration"];
const PAGE_METRICS: [&str; 3] = ["offerRate", "offerAnswerRate", "talkRate"];
const PAGE_GROUP_BY: [&str; 1] = ["queueId"];
/// What the tutorials' APIs group by, as far as they say.
const DIMENSIONS: [&str; 2] = ["queueId", "userId"];

/// Where a request of the cursor protocol carries the cursor of the page that it asks for.
///
/// The document's script passes it beside the body, which makes it a parameter of the URL; its text speaks of the query
/// object as well. A source that reads one place finds it there, and has no reason to look at the other: both is right
/// for either. One that refuses what it does not know says so at the second page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CursorIn {
    /// `pageCursor` in the body.
    Body,
    /// `pageCursor` in the URL.
    Query,
    /// In both.
    #[default]
    Both,
}

impl CursorIn {
    /// Whether the body is one of its places.
    pub fn in_body(self) -> bool {
        self != CursorIn::Query
    }

    /// Whether the URL is one of its places.
    pub fn in_query(self) -> bool {
        self != CursorIn::Body
    }
}

/// What the end of a range means to a source of the cursor or page protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// The last moment that is wanted.
    Inclusive,
    /// The first one that is not.
    Exclusive,
}

/// Which conversations and what of them, in whatever protocol. Needs neither a source nor credentials.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which conversations.
    pub filters: Filters,
    /// Records in one answer; the protocol's own when absent.
    pub page_size: Option<u32>,
    /// `granularity` of the cursor protocol: `hour`, `day`, `week` or `month`; a day when absent.
    pub granularity: Option<String>,
    /// `metrics` of the cursor and page protocols; their documents' own when absent.
    pub metrics: Option<Vec<String>>,
    /// `groupBy` of the page protocol; its document's own when absent.
    pub group_by: Option<Vec<String>>,
    /// Where the cursor protocol puts its cursor; in both places when absent.
    pub cursor_in: Option<CursorIn>,
    /// What the end of a range means to the cursor and page protocols; exclusive when absent.
    pub end: Option<RangeEnd>,
}

impl Wanted {
    /// The same with every word as the API spells it. Metrics and dimensions are the source's own, so that of those only
    /// what is almost a known name is taken for a mistake.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a word that cannot be right, naming the flag and what was probably meant.
    pub fn spelled(mut self) -> Result<Wanted> {
        self.filters = self.filters.spelled()?;
        let known = [CURSOR_METRICS.as_slice(), &PAGE_METRICS].concat();
        let metrics = self.metrics.iter_mut().flatten().map(|word| ("--metrics", word, known.as_slice()));
        let dimensions = self.group_by.iter_mut().flatten().map(|word| ("--group-by", word, DIMENSIONS.as_slice()));
        for (flag, word, known) in metrics.chain(dimensions) {
            *word = corrected(flag, word, known)?;
        }
        Ok(self)
    }

    /// Whether `protocol` can say this.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] naming the flag and the protocol.
    pub fn check(&self, protocol: Protocol) -> Result<()> {
        self.filters.wire(protocol)?;
        let largest = page_size_max(protocol);
        if let Some(size) = self.page_size
            && !(1..=largest).contains(&size)
        {
            return Err(Error::usage(format!("--page-size {size} does not fit --protocol {protocol}"))
                .hint(format!("a whole number from 1 to {largest}")));
        }
        let (cursor, page) = (protocol == Protocol::Cursor, protocol == Protocol::Page);
        for (flag, said, known, of) in [
            ("--metrics", self.metrics.is_some(), cursor || page, "cursor and page"),
            ("--granularity", self.granularity.is_some(), cursor, "cursor"),
            ("--group-by", self.group_by.is_some(), page, "page"),
            ("--cursor-in", self.cursor_in.is_some(), cursor, "cursor"),
            ("--end", self.end.is_some(), cursor || page, "cursor and page"),
        ] {
            if said && !known {
                return Err(Error::usage(format!("{flag} means nothing to --protocol {protocol}"))
                    .hint(format!("only {of} can say it; query and jobs always return whole conversations")));
            }
        }
        if !GRANULARITIES.contains(&self.granularity()) {
            return Err(Error::usage(format!("--granularity `{}` is not known", self.granularity()))
                .hint(format!("one of {}", GRANULARITIES.join(", "))));
        }
        Ok(())
    }

    /// Records in one answer of `protocol`.
    pub fn page_size(&self, protocol: Protocol) -> u32 {
        self.page_size.unwrap_or(protocol.page_size()).clamp(1, page_size_max(protocol))
    }

    /// `granularity` as it is sent.
    pub fn granularity(&self) -> &str {
        self.granularity.as_deref().unwrap_or(GRANULARITIES[1])
    }

    /// `metrics` as `protocol` sends them.
    pub fn metrics(&self, protocol: Protocol) -> Vec<String> {
        let default: &[&str] = if protocol == Protocol::Page { &PAGE_METRICS } else { &CURSOR_METRICS };
        self.metrics.clone().unwrap_or_else(|| owned(default))
    }

    /// What the end of a range means to the source. Unless it is said, the first moment behind the range is sent: whatever
    /// the source means, nothing is missing then, and what an inclusive end adds belongs to no day of the range.
    pub fn end(&self) -> RangeEnd {
        self.end.unwrap_or(RangeEnd::Exclusive)
    }

    /// `groupBy` as it is sent.
    pub fn group_by(&self) -> Vec<String> {
        self.group_by.clone().unwrap_or_else(|| owned(&PAGE_GROUP_BY))
    }
}

/// Settings of an [`super::Api`].
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// Who asks.
    pub credentials: Credentials,
    /// How the credentials are shown.
    pub auth: AuthStyle,
    /// What is asked for.
    pub wanted: Wanted,
    /// How long a job may run before it is given up.
    pub job_ceiling: Duration,
    /// Calls a minute; the protocol's own when absent.
    pub rate_limit: Option<u32>,
    /// How long one call is retried.
    pub retry_for: Duration,
    /// The end of the run.
    pub deadline: Option<Instant>,
    /// Calls at analytics endpoints that the run may make.
    pub max_calls: Option<u64>,
    /// Makes the jitter of retries repeatable.
    pub seed: Option<u64>,
}

impl ApiSettings {
    /// Everything at its default.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> ApiSettings {
        ApiSettings {
            endpoint,
            credentials,
            auth: AuthStyle::default(),
            wanted: Wanted::default(),
            job_ceiling: JOB_CEILING,
            rate_limit: None,
            retry_for: RETRY_FOR,
            deadline: None,
            max_calls: None,
            seed: None,
        }
    }
}

/// Calls that may be made in a minute when nothing is said.
pub fn calls_per_minute(choice: ProtocolChoice) -> u32 {
    match choice {
        ProtocolChoice::One(Protocol::Page) => CALLS_PER_MINUTE_PAGE,
        _ => CALLS_PER_MINUTE,
    }
}

/// Largest page that the protocol's document allows, or that practice has seen.
const fn page_size_max(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Query => 100,
        Protocol::Cursor | Protocol::Page => 1000,
        Protocol::Jobs => 10_000,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
