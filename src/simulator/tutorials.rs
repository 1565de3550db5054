//! `POST …/details/query` as the two tutorials describe it: a cursor over `startTime`/`endTime`, page numbers with a
//! page count over `dateFrom`/`dateTo`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{Answer, Page, Records};
use super::call::Call;
use super::catalog::{Matching, Selection};
use super::filter::Filter;
use super::rules::Rules;
use super::service::{Service, positive};
use super::world::{Conversation, DAY, Millis, cursor_record, knows_duration, knows_rate, page_record};
use crate::api::{CursorIn, RangeEnd};
use crate::time::{Timestamp, parse_timestamp};

const GRANULARITIES: [&str; 4] = ["hour", "day", "week", "month"];

/// Page size of the page dialect when the request names none.
const PAGE_SIZE: u64 = 100;

/// Where a chain of the cursor dialect is, and which chain it is.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    page: u64,
    /// The moment of the chain's first page: later pages show the same data.
    as_of: i64,
    /// A hash of what was asked for.
    query: u64,
}

impl Cursor {
    fn write(self) -> String {
        STANDARD.encode(format!("next?>{}:{}:{:x}", self.page, self.as_of, self.query))
    }

    fn read(text: &str) -> Option<Cursor> {
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let mut parts = text.strip_prefix("next?>")?.split(':');
        let (page, as_of) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Cursor { page, as_of, query: u64::from_str_radix(parts.next()?, 16).ok()? })
    }
}

/// The cursor that a request carries where it is looked for. An empty one is none.
fn cursor_text(call: &Call, place: CursorIn) -> Option<&str> {
    let body = call.body.get("pageCursor").and_then(Value::as_str).filter(|_| place.in_body());
    let url = call.parameters.get("pageCursor").map(String::as_str).filter(|_| place.in_query());
    body.or(url).filter(|text| !text.is_empty())
}

/// The number of the page that is asked for, for faults.
pub(crate) fn cursor_page_number(call: &Call) -> Option<u64> {
    cursor_text(call, CursorIn::Both).map_or(Some(1), |text| Cursor::read(text).map(|cursor| cursor.page))
}

/// The number of the page that is asked for, for faults.
pub(crate) fn page_number(call: &Call) -> Option<u64> {
    positive(call.body.get("pageNumber"), "pageNumber", 1).ok()
}

/// The first tutorial.
pub(crate) fn cursor(service: &Service, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    let (body, rules) = (&call.body, &service.rules);
    let (from, to) = (instant(body, "startTime")?, last_instant(body, "endTime", rules)?);
    // An end that is written as the next midnight is inclusive, and still no more than the limit.
    if from > to || to.0 - from.0 > rules.cursor_days_max * DAY + 1_000 {
        let message = format!("Invalid Time Range: the range must not exceed {} days", rules.cursor_days_max);
        return Err(Answer::error(400, "bad.request", &message));
    }
    if from > Millis::of(now) {
        return Err(Answer::error(400, "bad.request", "Invalid Time Range: startTime is in the future"));
    }
    if !matches!(body.get("granularity").map(Value::as_str), None | Some(Some(_)))
        || body.get("granularity").and_then(Value::as_str).is_some_and(|name| !GRANULARITIES.contains(&name))
    {
        return Err(Answer::invalid("granularity", "granularity must be one of hour, day, week, month"));
    }
    let metrics = metrics(body, knows_duration)?;
    let filter = Filter::of_entities(body).map_err(|message| Answer::invalid("entities", &message))?;
    let size = size(body, "pageSize", rules.cursor_page_size, rules.page_size_max)?;
    let query = xxh3_64(format!("{from:?}{to:?}{size}{}", filter.key).as_bytes());
    let refused = || Answer::invalid("pageCursor", "pageCursor is not a cursor of this query");
    let at = match cursor_text(call, rules.cursor_in) {
        None => Cursor { page: 1, as_of: Millis::of(now).0, query },
        Some(text) => {
            Cursor::read(text).filter(|cursor| cursor.query == query && cursor.page > 0).ok_or_else(refused)?
        }
    };
    let selection = selection(from, to, filter, Millis(at.as_of));
    let total = service.catalog.total(&selection);
    let offset = (at.page - 1).saturating_mul(size) as usize;
    let records = records(service, &selection, offset, size, |c| cursor_record(c, &metrics));
    let mut rest = Map::new();
    rest.insert("totalRecords".to_owned(), Value::from(total));
    rest.insert("pageSize".to_owned(), Value::from(records.len()));
    let cursor_of = move |page| Cursor { page, ..at }.write();
    if offset.saturating_add(records.len()) < total {
        rest.insert("nextPageCursor".to_owned(), Value::String(cursor_of(at.page.saturating_add(1))));
    }
    Ok(Answer::page(Page {
        key: "entities",
        records: Records::List(records),
        rest,
        cursor: Some(("nextPageCursor", Box::new(cursor_of))),
        number: at.page,
    }))
}

/// The second tutorial.
pub(crate) fn page(service: &Service, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    let body = &call.body;
    let (from, to) = (instant(body, "dateFrom")?, last_instant(body, "dateTo", &service.rules)?);
    if from > to {
        return Err(Answer::invalid("dateTo", "dateTo must not be before dateFrom"));
    }
    let size = size(body, "size", PAGE_SIZE, service.rules.page_size_max)?;
    let number = positive(body.get("pageNumber"), "pageNumber", 1)?;
    let metrics = metrics(body, knows_rate)?;
    let by_queue = names(body, "groupBy")?.iter().any(|name| name == "queueId");
    let filter = Filter::of_paths(body).map_err(|message| Answer::invalid("filters", &message))?;
    let selection = selection(from, to, filter, Millis::of(now));
    let total = service.catalog.total(&selection);
    let offset = (number - 1).saturating_mul(size) as usize;
    let records = records(service, &selection, offset, size, |c| page_record(c, &metrics, by_queue));
    let mut rest = Map::new();
    let count = (total as u64).div_ceil(size);
    let paging = json!({"pageNumber": number, "pageSize": records.len(), "pageCount": count, "total": total});
    rest.insert("paging".to_owned(), paging);
    Ok(Answer::page(Page { key: "entities", records: Records::List(records), rest, cursor: None, number }))
}

fn selection(from: Millis, last: Millis, filter: Filter, as_of: Millis) -> Selection {
    Selection {
        from,
        to: last.plus(1),
        matching: Matching::Start,
        filter: Arc::new(filter),
        available: Millis(i64::MAX),
        as_of,
        descending: false,
    }
}

fn records(
    service: &Service,
    selection: &Selection,
    offset: usize,
    size: u64,
    record: impl Fn(&Conversation) -> Map<String, Value>,
) -> Vec<Bytes> {
    let page = service.catalog.page(selection, offset, size as usize);
    page.iter().map(|version| version.rendered(&record(&version.conversation))).collect()
}

fn instant(body: &Value, name: &str) -> Result<Millis, Answer> {
    let text = body.get(name).and_then(Value::as_str);
    let at = text.and_then(parse_timestamp);
    at.map(Millis::of).ok_or_else(|| Answer::invalid(name, &format!("{name} must be an ISO 8601 date and time")))
}

/// The last instant of a range: an inclusive end that is written in whole seconds means the whole second.
fn last_instant(body: &Value, name: &str, rules: &Rules) -> Result<Millis, Answer> {
    let at = instant(body, name)?;
    if rules.range_end == RangeEnd::Exclusive {
        return Ok(at.plus(-1));
    }
    let fraction = body.get(name).and_then(Value::as_str).is_some_and(|text| text.contains('.'));
    Ok(if fraction { at } else { at.plus(999) })
}

fn size(body: &Value, name: &str, default: u64, max: u64) -> Result<u64, Answer> {
    match positive(body.get(name), name, default) {
        Ok(size) if size <= max => Ok(size),
        _ => Err(Answer::invalid(name, &format!("Invalid PageSize: {name} must be an integer between 1 and {max}"))),
    }
}

fn names(body: &Value, name: &str) -> Result<Vec<String>, Answer> {
    let refused = || Answer::invalid(name, &format!("{name} must be an array of strings"));
    let Some(value) = body.get(name) else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(refused)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(refused)).collect()
}

fn metrics(body: &Value, known: fn(&str) -> bool) -> Result<Vec<String>, Answer> {
    let metrics = names(body, "metrics")?;
    match metrics.iter().find(|metric| !known(metric)) {
        Some(metric) => Err(Answer::invalid("metrics", &format!("unknown metric {metric}"))),
        None => Ok(metrics),
    }
}
