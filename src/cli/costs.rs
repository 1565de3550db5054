//! What a run is expected to cost, in words.

use super::text::{count, number};
use crate::export::{Basis, Expectation};

/// `about 42 calls for 22,500 conversations, by the days in the lake; within a minute`, or the range when nothing is
/// known.
pub(super) fn calls(expected: &Expectation) -> String {
    let source = match expected.basis {
        Basis::Probe => "by the totals of the source",
        Basis::History => "by the days in the lake",
        Basis::Unknown => return unknown(expected),
    };
    let conversations = count(expected.conversations.unwrap_or(0), "conversation");
    format!("about {} for {conversations}, {source}; {}", count(expected.calls, "call"), time(expected.minutes))
}

fn unknown(expected: &Expectation) -> String {
    let most = expected.calls_max.unwrap_or(expected.calls);
    format!(
        "calls are unknown: about {} if there are no conversations, {} at 10,000 a day; `convlake plan --probe` asks the source",
        number(expected.calls),
        number(most)
    )
}

fn time(minutes: u64) -> String {
    match minutes {
        0 | 1 => "within a minute".to_owned(),
        n => format!("about {}", count(n, "minute")),
    }
}
