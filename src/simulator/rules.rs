//! The API's limits and habits, as far as they are known; each can be set for a test.

use std::time::Duration;

use crate::api::{AuthStyle, CursorIn, RangeEnd};

/// How a 429 of the rate limit says when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryHint {
    /// `Retry-After` in seconds, as the API does it.
    #[default]
    Seconds,
    /// `Retry-After` as an HTTP date, as proxies do it.
    Date,
    /// No `Retry-After`.
    Absent,
    /// Not a word: no `Retry-After`, and no `inin-ratelimit-*` on any answer.
    Silent,
}

/// The limits and habits of the simulated API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Time from a request to its answer.
    pub latency: Duration,
    /// Life of a token: the `expires_in` of the token endpoint.
    pub token_lifetime: Duration,
    /// Where the login looks for the credentials.
    pub login: AuthStyle,
    /// Tokens that are valid at once; one more ends the oldest.
    pub tokens_max: usize,
    /// Calls a token may make in a fixed window of 60 seconds; unlimited when absent.
    pub rate_limit: Option<u32>,
    /// How a 429 says when to come back.
    pub retry_hint: RetryHint,
    /// Largest body of a request, in bytes.
    pub request_bytes_max: usize,
    /// Longest interval of a query without a filter, in days.
    pub query_days_max: i64,
    /// Longest interval of a query with a filter, in days.
    pub query_filtered_days_max: i64,
    /// Largest page of a query.
    pub query_page_size_max: u64,
    /// Deepest result of a query that can be paged to: `pageNumber × pageSize`.
    pub query_results_max: u64,
    /// Whether an interval that ends at a midnight touches the day that begins there; the API's documents do not say.
    pub end_touches_day: bool,
    /// Longest interval of the cursor dialect, in days.
    pub cursor_days_max: i64,
    /// Page size of the cursor dialect when the request names none.
    pub cursor_page_size: u64,
    /// Where the cursor dialect looks for its cursor.
    pub cursor_in: CursorIn,
    /// What the end of a range means in either tutorial dialect.
    pub range_end: RangeEnd,
    /// Largest page of either tutorial dialect.
    pub page_size_max: u64,
    /// Largest page of a list of entities.
    pub list_page_size_max: u64,
    /// Longest interval of a job, in days.
    pub job_days_max: i64,
    /// Jobs that may be queued or running at once.
    pub jobs_concurrent_max: usize,
    /// How long a job is `QUEUED`.
    pub job_queued: Duration,
    /// How long a job is `PENDING` after that.
    pub job_running: Duration,
    /// How long the results are kept after that; then the job is `EXPIRED`.
    pub job_results_kept: Duration,
    /// Page size of job results when the request names none.
    pub job_page_size: u64,
    /// Largest page of job results.
    pub job_page_size_max: u64,
    /// How far the data lake behind the jobs lags behind the present.
    pub availability_lag: Duration,
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Default for Rules {
    fn default() -> Self {
        Rules {
            latency: Duration::from_millis(20),
            token_lifetime: 24 * HOUR,
            login: AuthStyle::Either,
            tokens_max: 10,
            rate_limit: Some(300),
            retry_hint: RetryHint::Seconds,
            request_bytes_max: 512_000,
            query_days_max: 7,
            query_filtered_days_max: 31,
            query_page_size_max: 100,
            query_results_max: 100_000,
            end_touches_day: false,
            cursor_days_max: 30,
            cursor_page_size: 100,
            cursor_in: CursorIn::Both,
            range_end: RangeEnd::Inclusive,
            page_size_max: 1_000,
            list_page_size_max: 500,
            job_days_max: 31,
            jobs_concurrent_max: 5,
            job_queued: Duration::from_secs(1),
            job_running: Duration::from_secs(3),
            job_results_kept: 24 * HOUR,
            job_page_size: 1_000,
            job_page_size_max: 10_000,
            availability_lag: 6 * HOUR,
        }
    }
}
