//! The flags that commands share, as close to the command line as possible: nothing here looks at the world.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::place::LakeArg;
use crate::plan::Protocol;

/// For what is counted: pages and rows in flight.
const MEMORY_MIB: usize = 160;
const MAX_BAD_PERCENT: u8 = 50;
/// What a run that is killed has asked for in vain is at most this many slices: of 50, an eighth.
const SLICES_IN_FLIGHT: usize = 6;

/// How the source is paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolArg {
    /// jobs up to the availability date, query for the fresh days after it
    Auto,
    /// The real API's paged query: fresh data, without participant attributes
    Query,
    /// The real API's asynchronous jobs: bulk data, with participant attributes
    Jobs,
    /// Pages linked by `nextPageCursor`
    Cursor,
    /// Pages counted by `paging.pageCount`, fetched concurrently
    Page,
}

impl ProtocolArg {
    /// The one protocol that was asked for; `None` for auto.
    pub(super) fn one(self) -> Option<Protocol> {
        match self {
            ProtocolArg::Auto => None,
            ProtocolArg::Query => Some(Protocol::Query),
            ProtocolArg::Jobs => Some(Protocol::Jobs),
            ProtocolArg::Cursor => Some(Protocol::Cursor),
            ProtocolArg::Page => Some(Protocol::Page),
        }
    }
}

/// Where the OAuth client's id and secret stand in the token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AuthArg {
    /// In the Authorization header
    Basic,
    /// In the form body
    Body,
}

/// Where the cursor stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CursorInArg {
    /// In the body
    Body,
    /// In the URL
    Query,
    /// In both
    Both,
}

/// What the end of a range means to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EndArg {
    /// The last millisecond that is wanted
    Inclusive,
    /// The first moment that is not
    Exclusive,
}

/// What is asked of the source: enough to plan, without credentials.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Request")]
pub(super) struct RequestArgs {
    /// How the source is paged
    #[arg(long, env = "CONVLAKE_PROTOCOL", value_enum, default_value = "auto")]
    pub(super) protocol: ProtocolArg,
    /// Only conversations of this queue, by id or name (repeatable)
    #[arg(long = "queue", env = "CONVLAKE_QUEUE", value_name = "ID|NAME", value_delimiter = ',')]
    pub(super) queues: Vec<String>,
    /// Only conversations of this user, by id or name (repeatable) [env also: GENESYS_CLOUD_USER_ID, in its family]
    #[arg(long = "user", env = "CONVLAKE_USER", value_name = "ID|NAME", value_delimiter = ',')]
    pub(super) users: Vec<String>,
    /// Only conversations that asked for this skill, by id or name (repeatable)
    #[arg(long = "skill", env = "CONVLAKE_SKILL", value_name = "ID|NAME", value_delimiter = ',')]
    pub(super) skills: Vec<String>,
    /// Only this media type: voice, chat, email, message, callback, … (repeatable)
    #[arg(long = "media-type", env = "CONVLAKE_MEDIA_TYPE", value_name = "TYPE", value_delimiter = ',')]
    pub(super) media_types: Vec<String>,
    /// Only this direction: inbound or outbound (repeatable)
    #[arg(long = "direction", env = "CONVLAKE_DIRECTION", value_name = "DIRECTION", value_delimiter = ',')]
    pub(super) directions: Vec<String>,
    /// Only conversations of this division, by id or name (repeatable)
    #[arg(long = "division", env = "CONVLAKE_DIVISION", value_name = "ID|NAME", value_delimiter = ',')]
    pub(super) divisions: Vec<String>,
    /// A JSON file with filters in the protocol's own form, added to the others
    #[arg(long, env = "CONVLAKE_FILTER", value_name = "FILE")]
    pub(super) filter: Option<PathBuf>,
    /// Take filters as they are written: media types and directions that convlake does not know, and any text as an id
    #[arg(long = "allow-unknown")]
    pub(super) allow_unknown: bool,
    /// Metrics to ask for (cursor and page)
    #[arg(long, env = "CONVLAKE_METRICS", value_name = "NAME", value_delimiter = ',')]
    pub(super) metrics: Vec<String>,
    /// hour, day, week or month (cursor)
    #[arg(long, env = "CONVLAKE_GRANULARITY", value_name = "GRAIN")]
    pub(super) granularity: Option<String>,
    /// Dimensions to group by (page)
    #[arg(long = "group-by", env = "CONVLAKE_GROUP_BY", value_name = "NAME", value_delimiter = ',')]
    pub(super) group_by: Vec<String>,
    /// Where `pageCursor` stands in a request (cursor) [default: both, for a source that reads either]
    #[arg(long, env = "CONVLAKE_CURSOR_IN", value_enum, value_name = "PLACE")]
    pub(super) cursor_in: Option<CursorInArg>,
    /// What the end of a range means to the source (cursor and page) [default: exclusive, which leaves no gap by either]
    #[arg(long, env = "CONVLAKE_END", value_enum, value_name = "MEANING")]
    pub(super) end: Option<EndArg>,
    /// Conversations to ask for in one call; by default the most the protocol allows
    #[arg(long, env = "CONVLAKE_PAGE_SIZE", value_name = "N")]
    pub(super) page_size: Option<u32>,
}

/// Where the source is and how hard it may be asked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Source")]
pub(super) struct SourceArgs {
    /// AWS region name or Genesys domain [default: us-east-1] [env: GENESYSCLOUD_REGION, GENESYS_CLOUD_ENV]
    #[arg(long, env = "CONVLAKE_REGION", value_name = "REGION")]
    pub(super) region: Option<String>,
    /// API address instead of a region; tokens come from `/oauth/token` below it
    #[arg(long, env = "CONVLAKE_BASE_URL", value_name = "URL", conflicts_with = "region")]
    pub(super) base_url: Option<String>,
    /// The whole token URL, if it is elsewhere
    #[arg(long, env = "CONVLAKE_LOGIN_URL", value_name = "URL")]
    pub(super) login_url: Option<String>,
    /// Let --base-url and --login-url be unencrypted beyond this machine; said each time, without a variable
    #[arg(long)]
    pub(super) allow_http: bool,
    /// A file of NAME=value lines with the credentials, instead of the environment; mode 0600
    #[arg(long, env = "CONVLAKE_CREDENTIALS_FILE", value_name = "FILE")]
    pub(super) credentials_file: Option<PathBuf>,
    /// Where id and secret stand in the token request [default: basic; with GENESYS_CLIENT_ID also body, when basic is
    /// refused as `invalid_client`]
    #[arg(long, env = "CONVLAKE_AUTH", value_enum)]
    pub(super) auth: Option<AuthArg>,
    /// Calls a minute [default: 300, and 200 for page]
    #[arg(long, env = "CONVLAKE_RATE_LIMIT", value_name = "CALLS")]
    pub(super) rate_limit: Option<u32>,
    /// How long one call is retried, as in `90s` or `5m`
    #[arg(long, env = "CONVLAKE_RETRY_FOR", value_name = "TIME", default_value = "5m")]
    pub(super) retry_for: String,
    /// How long the whole run may take, as in `45m` or `6h`; then it ends with 75 and can be continued
    #[arg(long, env = "CONVLAKE_DEADLINE", value_name = "TIME")]
    pub(super) deadline: Option<String>,
    /// Calls that the run may make; then it ends with 75 and can be continued
    #[arg(long, env = "CONVLAKE_MAX_CALLS", value_name = "CALLS")]
    pub(super) max_calls: Option<u64>,
    /// Slices under way at the same time, and more while answers take long, unless it is 1; of those with numbered pages one
    /// has many of them asked for
    #[arg(long, env = "CONVLAKE_CONCURRENCY", value_name = "N", default_value_t = SLICES_IN_FLIGHT)]
    pub(super) concurrency: usize,
}

/// Which lake is written to.
#[derive(Clone, Debug, Args)]
pub(super) struct ChangedLakeArg {
    #[command(flatten)]
    pub(super) at: LakeArg,
    /// No other run writes to the lake: for stores that cannot create and replace objects on condition
    #[arg(long, env = "CONVLAKE_SINGLE_WRITER")]
    pub(super) single_writer: bool,
}

/// Which columns go where.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Lake")]
pub(super) struct LakeArgs {
    #[command(flatten)]
    pub(super) place: ChangedLakeArg,
    /// Only these tables (`conversations` is always written)
    #[arg(long, env = "CONVLAKE_TABLES", value_name = "TABLE", value_delimiter = ',')]
    pub(super) tables: Vec<String>,
    /// Leave a column out (repeatable)
    #[arg(
        long = "exclude-column",
        env = "CONVLAKE_EXCLUDE_COLUMN",
        value_name = "TABLE.COLUMN",
        value_delimiter = ','
    )]
    pub(super) excluded: Vec<String>,
    /// Memory for pages and rows in flight and for encoding them, in MiB; rows beyond it wait on disk
    #[arg(long, env = "CONVLAKE_MEMORY", value_name = "MIB", default_value_t = MEMORY_MIB)]
    pub(super) memory: usize,
    /// Percent of a slice (and at least 10 records) that may be unreadable before the slice fails
    #[arg(long, env = "CONVLAKE_MAX_BAD", value_name = "PERCENT", default_value_t = MAX_BAD_PERCENT)]
    pub(super) max_bad: u8,
    /// Publish days from which more conversations vanished than a fault would explain; said each time, without a variable
    #[arg(long)]
    pub(super) allow_vanished: bool,
    /// Write what the run did to this file, as JSON, whatever the outcome
    #[arg(long, env = "CONVLAKE_REPORT", value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Show one conversation of the run at the end, with its id
    #[arg(long, env = "CONVLAKE_SAMPLE")]
    pub(super) sample: bool,
}

impl LakeArgs {
    /// Everything of everything, in `out`.
    pub(super) fn of(out: &str) -> LakeArgs {
        LakeArgs {
            place: ChangedLakeArg { at: LakeArg::of(out), single_writer: false },
            tables: Vec::new(),
            excluded: Vec::new(),
            memory: MEMORY_MIB,
            max_bad: MAX_BAD_PERCENT,
            allow_vanished: false,
            report: None,
            sample: false,
        }
    }
}
