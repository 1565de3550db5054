//! `POST …/details/query` as it really is: an interval, filters, page numbers, and current data on every call.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::answer::{Answer, Page, Records};
use super::call::Call;
use super::catalog::{Matching, Selection};
use super::filter::Filter;
use super::service::{Service, positive};
use super::world::{DAY, Millis};
use crate::time::{Timestamp, parse_timestamp};

/// What the API assumes when the request has no page size.
const PAGE_SIZE: u64 = 25;
const TIP: &str = "Tip: When extracting large chunks of data (multiple days/weeks), maximize pagination performance by querying in smaller intervals. For example, paging through 1am-2am, then 2am-3am, will outperform paging through one large interval.";

/// The number of the page that is asked for, for faults.
pub(crate) fn page_number(call: &Call) -> Option<u64> {
    call.body.get("paging").map_or(Some(1), |paging| positive(paging.get("pageNumber"), "pageNumber", 1).ok())
}

pub(crate) fn query(service: &Service, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    let rules = &service.rules;
    let filter = Filter::of_query(&call.body).map_err(|message| Answer::error(400, "bad.request", &message))?;
    let (from, to) = interval(&call.body)?;
    let days_max = if filter.is_empty() { rules.query_days_max } else { rules.query_filtered_days_max };
    check_length(from, to, days_max)?;
    let paging = call.body.get("paging");
    let field = |name: &str| paging.and_then(|paging| paging.get(name));
    let size = positive(field("pageSize"), "pageSize", PAGE_SIZE)?;
    let number = positive(field("pageNumber"), "pageNumber", 1)?;
    if size > rules.query_page_size_max {
        let message = format!("pageSize must be less than or equal to {}", rules.query_page_size_max);
        return Err(Answer::invalid("pageSize", &message));
    }
    if number.saturating_mul(size) > rules.query_results_max {
        let message = format!("Pagination may not exceed {} results. {TIP}", rules.query_results_max);
        return Err(Answer::error(400, "bad.request", &message));
    }
    let offset = ((number - 1) * size) as usize;
    if let Some(saved) = &service.saved {
        let midnight = |at: i64| Millis(at - at.rem_euclid(DAY));
        let (total, records) = saved.page(midnight(from.0), midnight(to.0 + DAY - 1), offset, size as usize);
        return Ok(answer(records, total, number));
    }
    let selection = Selection {
        from,
        to: if rules.end_touches_day { to.plus(1) } else { to },
        matching: Matching::StartDay,
        filter: Arc::new(filter),
        available: Millis(i64::MAX),
        as_of: Millis::of(now),
        descending: descending(&call.body)?,
    };
    let page = service.catalog.page(&selection, offset, size as usize);
    let records = page.iter().map(|version| version.plain().clone()).collect();
    Ok(answer(records, service.catalog.total(&selection), number))
}

fn answer(records: Vec<Bytes>, total: usize, number: u64) -> Answer {
    let mut rest = Map::new();
    rest.insert("totalHits".to_owned(), Value::from(total));
    Answer::page(Page {
        key: "conversations",
        // On an empty page the API leaves the field out.
        records: if records.is_empty() { Records::Missing } else { Records::List(records) },
        rest,
        cursor: None,
        number,
    })
}

/// Reads `interval`: two ISO 8601 instants, a missing zone is UTC.
pub(crate) fn interval(body: &Value) -> Result<(Millis, Millis), Answer> {
    let refuse = || Answer::invalid("interval", "interval must be two ISO-8601 instants separated by a slash");
    let (from, to) =
        body.get("interval").and_then(Value::as_str).and_then(|text| text.split_once('/')).ok_or_else(refuse)?;
    let read = |text: &str| parse_timestamp(text).or_else(|| parse_timestamp(&format!("{text}Z")));
    match (read(from), read(to)) {
        (Some(from), Some(to)) if from < to => Ok((Millis::of(from), Millis::of(to))),
        (Some(_), Some(_)) => Err(Answer::invalid("interval", "The interval start must be before its end")),
        _ => Err(refuse()),
    }
}

pub(crate) fn check_length(from: Millis, to: Millis, days_max: i64) -> Result<(), Answer> {
    if to.0 - from.0 <= days_max * DAY {
        return Ok(());
    }
    let message = "You must specify a search interval as part of your query that does not exceed";
    Err(Answer::error(400, "bad.request", &format!("{message} {days_max} days")))
}

/// Reads `order` and `orderBy`; of the latter the simulator sorts by the default only.
pub(crate) fn descending(body: &Value) -> Result<bool, Answer> {
    if !matches!(body.get("orderBy").map(Value::as_str), None | Some(Some("conversationStart"))) {
        return Err(Answer::invalid("orderBy", "The simulator orders by conversationStart only"));
    }
    match body.get("order").map(Value::as_str) {
        None | Some(Some("asc" | "unordered")) => Ok(false),
        Some(Some("desc")) => Ok(true),
        Some(_) => Err(Answer::invalid("order", "order must be one of asc, desc, unordered")),
    }
}
