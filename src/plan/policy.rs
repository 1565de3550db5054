//! How long a slice may be, by protocol and by what is known of the source.

use super::protocol::Protocol;

/// Longest window, in days: the bound that the first tutorial documents.
pub const WINDOW_DAYS_MAX: i64 = 30;
/// Longest interval of a query without a filter (the API's own limit).
const QUERY_DAYS_MAX: i64 = 7;
/// Longest interval of a query with a filter (the API's own limit).
const QUERY_FILTERED_DAYS_MAX: i64 = 31;
/// Length of a job before anything is known about the volume.
const JOB_DAYS_FIRST: i64 = 7;
/// Records that a job should bring: enough to pay for its polling, few enough to repeat after a crash.
const JOB_RECORDS_AIM: u64 = 200_000;

/// Decides the length of the next slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlicePolicy {
    /// Whether the request carries any filter.
    pub filtered: bool,
    /// Conversations a day seen so far, when any have been.
    pub records_per_day: Option<u64>,
}

impl SlicePolicy {
    /// Whole days that the next slice of `protocol` may cover; at least 1.
    pub fn days(&self, protocol: Protocol) -> i64 {
        match protocol {
            Protocol::Query if self.filtered => QUERY_FILTERED_DAYS_MAX,
            Protocol::Query => QUERY_DAYS_MAX,
            Protocol::Jobs => match self.records_per_day {
                None => JOB_DAYS_FIRST,
                Some(rate) => (JOB_RECORDS_AIM / rate.max(1)).clamp(1, WINDOW_DAYS_MAX as u64) as i64,
            },
            Protocol::Cursor | Protocol::Page => WINDOW_DAYS_MAX,
        }
    }
}
