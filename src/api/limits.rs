//! What the API allows: known at first, then as its refusals say.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use http::StatusCode;

use super::verdict::Rejection;
use crate::plan::Protocol;

/// Results that the real query pages through, until it says otherwise.
pub const QUERY_RESULTS_MAX: u64 = 100_000;

/// What a 400 objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// The interval is too long; the longest allowed, when the text says.
    Interval(Option<TimeDelta>),
    /// There are more results than can be paged through; how many can, when the text says.
    Results(Option<u64>),
    /// The page is too large; the largest allowed, when the text says.
    PageSize(Option<u32>),
}

impl Objection {
    /// Reads the text of a 400. The codes of these refusals are not documented, their wording is.
    pub(crate) fn of(rejection: &Rejection) -> Option<Objection> {
        if rejection.status != StatusCode::BAD_REQUEST {
            return None;
        }
        let complaint = &rejection.complaint;
        let message = complaint.message.as_deref().and_then(Objection::of_message);
        message
            .or_else(|| [&complaint.code, &complaint.message].into_iter().flatten().find_map(|t| Objection::titled(t)))
    }

    /// The titles that the tutorials' documents give these refusals, wherever they stand and however they are spelled.
    /// They name no number.
    fn titled(text: &str) -> Option<Objection> {
        let letters: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let is = |title: &str| letters.contains(title);
        (is("invalidtimerange").then_some(Objection::Interval(None)))
            .or_else(|| is("invalidpagesize").then_some(Objection::PageSize(None)))
    }

    fn of_message(message: &str) -> Option<Objection> {
        let text = message.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if !has(&[
            "exceed",
            "longer",
            "larger",
            "greater",
            "more than",
            "maximum",
            "at most",
            "limit",
            "between",
            "too ",
        ]) {
            return None;
        }
        let numbers = numbers(&text);
        // First, since its text also advises smaller intervals.
        if has(&["pagination", "results"]) {
            return Some(Objection::Results(numbers.first().map(|(number, _)| *number)));
        }
        if has(&["page size", "pagesize", "page_size"])
            || text.split(|c: char| !c.is_alphanumeric()).any(|w| w == "size")
        {
            return Some(Objection::PageSize(
                numbers.iter().filter_map(|(n, _)| u32::try_from(*n).ok()).min_by_key(|n| (*n <= 1, *n)),
            ));
        }
        if has(&["interval", "range", "window", "period", "datefrom", "dateto", "starttime", "endtime"]) {
            let length = numbers.iter().find_map(|(number, unit)| {
                let number = i64::try_from(*number).ok().filter(|n| *n > 0)?;
                match unit {
                    u if u.starts_with("day") => TimeDelta::try_days(number),
                    u if u.starts_with("hour") => TimeDelta::try_hours(number),
                    u if u.starts_with("minute") => TimeDelta::try_minutes(number),
                    _ => None,
                }
            });
            return Some(Objection::Interval(length));
        }
        None
    }
}

/// The whole numbers of a text, each with the word behind it.
fn numbers(text: &str) -> Vec<(u64, &str)> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '-')).collect();
    let read = |word: &str| word.trim_end_matches(['.', ',', ';', ':']).replace([',', '_'], "").parse().ok();
    words
        .iter()
        .enumerate()
        .filter_map(|(i, word)| Some((read(word)?, words.get(i + 1).copied().unwrap_or_default())))
        .collect()
}

/// The limits of one source, shared by all its fetches.
#[derive(Debug, Default)]
pub(crate) struct Limits(Mutex<Vec<(Protocol, Known)>>);

/// The limits of one protocol, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) interval: Option<TimeDelta>,
    pub(crate) results: Option<u64>,
    pub(crate) page_size: Option<u32>,
}

impl Limits {
    pub(crate) fn of(&self, protocol: Protocol) -> Known {
        let learnt = self.learnt().iter().find(|(p, _)| *p == protocol).map(|(_, known)| *known).unwrap_or_default();
        let first = (protocol == Protocol::Query).then_some(QUERY_RESULTS_MAX);
        Known { results: learnt.results.or(first), ..learnt }
    }

    /// Keeps what a refusal said.
    pub(crate) fn learn(&self, protocol: Protocol, objection: Objection) {
        let mut learnt = self.learnt();
        let at = learnt.iter().position(|(p, _)| *p == protocol).unwrap_or_else(|| {
            learnt.push((protocol, Known::default()));
            learnt.len() - 1
        });
        let known = &mut learnt[at].1;
        match objection {
            Objection::Interval(length) => known.interval = length.or(known.interval),
            Objection::Results(results) => known.results = results.or(known.results),
            Objection::PageSize(size) => known.page_size = size.or(known.page_size),
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Vec<(Protocol, Known)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::complaint::Complaint;
    use crate::api::verdict::Refusal;
    use crate::secrets::Secrets;
    use serde_json::json;

    fn objection(message: &str) -> Option<Objection> {
        let complaint = Complaint { message: Some(message.to_owned()), ..Complaint::default() };
        Objection::of(&Refusal::new(StatusCode::BAD_REQUEST, complaint).told(&Secrets::default()))
    }

    #[test]
    fn the_known_texts_are_understood() {
        let cases = [
            (
                "You must specify a search interval as part of your query that does not exceed 7 days",
                Some(Objection::Interval(Some(TimeDelta::days(7)))),
            ),
            (
                "Pagination may not exceed 100000 results. Tip: querying in smaller intervals, 1am-2am, will outperform",
                Some(Objection::Results(Some(100_000))),
            ),
            ("the time range cannot exceed 30 days.", Some(Objection::Interval(Some(TimeDelta::days(30))))),
            ("The interval is too long", Some(Objection::Interval(None))),
            ("size must be between 1 and 1,000", Some(Objection::PageSize(Some(1000)))),
            ("pageSize may not exceed 100", Some(Objection::PageSize(Some(100)))),
            ("no such dimension", None),
            ("interval is not ISO-8601", None),
        ];
        for (message, expected) in cases {
            assert_eq!(objection(message), expected, "{message}");
        }
    }

    #[test]
    fn the_tutorials_titles_are_understood_wherever_they_stand() {
        let bodies = |title: &str, code: &str| {
            [
                json!({"message": title}),
                json!({"message": format!("Bad Request - {title}"), "code": "bad.request", "status": 400}),
                json!({"error": title}),
                json!({"code": code, "message": "the request cannot be served"}),
                json!({"code": code}),
                json!({"error": "bad_request", "error_description": title}),
            ]
        };
        for (title, code, expected) in [
            ("Invalid Time Range", "INVALID_TIME_RANGE", Objection::Interval(None)),
            ("Invalid time range.", "invalid.time.range", Objection::Interval(None)),
            ("Invalid PageSize", "InvalidPageSize", Objection::PageSize(None)),
            ("invalid page size", "invalid.page-size", Objection::PageSize(None)),
        ] {
            for body in bodies(title, code) {
                let complaint = Complaint::of_body(body.to_string().as_bytes());
                let found =
                    Objection::of(&Refusal::new(StatusCode::BAD_REQUEST, complaint.clone()).told(&Secrets::default()));
                assert_eq!(found, Some(expected), "{body}");
                assert_eq!(
                    Objection::of(&Refusal::new(StatusCode::NOT_FOUND, complaint).told(&Secrets::default())),
                    None,
                    "{body}"
                );
            }
        }
        let other = json!({"error": "invalid_request", "message": "Invalid metric"}).to_string();
        let complaint = Complaint::of_body(other.as_bytes());
        assert_eq!(Objection::of(&Refusal::new(StatusCode::BAD_REQUEST, complaint).told(&Secrets::default())), None);
    }

    #[test]
    fn limits_start_known_and_are_overridden() {
        let limits = Limits::default();
        assert_eq!(limits.of(Protocol::Query).results, Some(100_000));
        limits.learn(Protocol::Query, Objection::Results(Some(400_000)));
        limits.learn(Protocol::Query, Objection::Results(None));
        assert_eq!(limits.of(Protocol::Query).results, Some(400_000));
        assert_eq!(limits.of(Protocol::Jobs).results, None);
    }
}
