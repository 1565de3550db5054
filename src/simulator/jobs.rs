//! `…/details/jobs`: asynchronous queries over the data lake, which lags behind and cuts silently.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Page, Records, not_found};
use super::call::Call;
use super::catalog::{Matching, Selection, lock};
use super::faults::Fate;
use super::filter::Filter;
use super::query::{check_length, descending, interval};
use super::service::{Service, no_content, positive};
use super::state::{Job, Phase, before};
use super::world::{Dice, Millis, Stream};
use crate::time::{Timestamp, wire_time};

/// How the API writes the availability date: without milliseconds.
pub(crate) fn seconds(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The number of the page of results that is asked for, for faults.
pub(crate) fn page_number(call: &Call) -> u64 {
    call.parameters.get("cursor").and_then(|text| read_cursor(text)).map_or(1, |(page, _)| page)
}

pub(crate) fn submit(
    service: &Service,
    call: &Call,
    fate: Option<Fate>,
    now: Timestamp,
    available: Timestamp,
) -> Result<Answer, Answer> {
    let (body, rules) = (&call.body, &service.rules);
    let filter = Filter::of_query(body).map_err(|message| Answer::error(400, "bad.request", &message))?;
    let (from, to) = interval(body)?;
    check_length(from, to, rules.job_days_max)?;
    let by_start = body.get("startOfDayIntervalMatching").and_then(Value::as_bool).unwrap_or(false);
    let selection = Selection {
        from,
        to,
        matching: if by_start { Matching::StartDay } else { Matching::Activity },
        filter: Arc::new(filter),
        available: Millis::of(available),
        as_of: Millis::of(now),
        descending: descending(body)?,
    };
    let limit = positive(body.get("limit"), "limit", u64::MAX)?;
    let mut state = lock(&service.state);
    let busy = state.busy_jobs(now, rules) + 1;
    if busy > rules.jobs_concurrent_max {
        let message = format!("The number of concurrent jobs exceeds the maximum of {}", rules.jobs_concurrent_max);
        return Err(Answer::error(429, "too.many.requests", &message));
    }
    state.counts.jobs_concurrent_max = state.counts.jobs_concurrent_max.max(busy);
    let ordinal = state.jobs.len() as u64 + 1;
    let id = Dice::new(service.catalog.world.settings().seed, Stream::Calls, 1, ordinal).uuid().into_owned();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    state.jobs.push(Job { id: id.clone(), submitted: now, selection, limit, fate, deleted: false });
    Ok(Answer::json(202, json!({"jobId": id})))
}

pub(crate) fn status(service: &Service, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    with_job(service, call, |job| {
        let (rules, phase) = (&service.rules, job.phase(now, &service.rules));
        let mut body = json!({"state": phase.name(), "submissionDate": wire_time(job.submitted)});
        if !phase.busy() {
            body["completionDate"] = Value::String(wire_time(job.completed(rules)));
        }
        match phase {
            Phase::Failed => body["errorMessage"] = Value::from("The query could not be completed"),
            Phase::Expired => body["expirationDate"] = Value::String(wire_time(job.expires(rules).min(now))),
            _ => {}
        }
        // The API documents both.
        Ok(Answer::json(if phase.busy() { 202 } else { 200 }, body))
    })
}

pub(crate) fn results(service: &Service, call: &Call, now: Timestamp, earlier: Duration) -> Result<Answer, Answer> {
    let rules = &service.rules;
    let size = call.number("pageSize").unwrap_or(Ok(rules.job_page_size))?;
    if size == 0 || size > rules.job_page_size_max {
        let message = format!("pageSize must be between 1 and {}", rules.job_page_size_max);
        return Err(Answer::invalid("pageSize", &message));
    }
    let (number, offset) = match call.parameters.get("cursor") {
        None => (1, 0),
        Some(text) => read_cursor(text).ok_or_else(|| Answer::invalid("cursor", "Invalid cursor"))?,
    };
    let (selection, limit, phase) =
        with_job(service, call, |job| Ok((job.selection.clone(), job.limit, job.phase(now, rules))))?;
    let available = before(selection.available.timestamp(), earlier);
    let mut rest = Map::new();
    let mut records = Vec::new();
    match phase {
        // Who asks too early sees an empty page, not an error.
        Phase::Queued | Phase::Pending => {}
        Phase::Failed | Phase::Expired => return Err(not_found("the job has no results")),
        Phase::Fulfilled => {
            let total = service.catalog.total(&selection).min(limit);
            let wanted = total.saturating_sub(offset).min(size as usize);
            if wanted > 0 {
                let page = service.catalog.page(&selection, offset, wanted);
                records.extend(page.iter().map(|version| version.full().clone()));
            }
            if offset.saturating_add(wanted) < total {
                rest.insert(
                    "cursor".to_owned(),
                    Value::String(write_cursor(number.saturating_add(1), offset.saturating_add(wanted))),
                );
            }
        }
    }
    rest.insert("dataAvailabilityDate".to_owned(), Value::String(seconds(available)));
    let cursor_of = move |page: u64| write_cursor(page, page.saturating_sub(1).saturating_mul(size) as usize);
    Ok(Answer::page(Page {
        key: "conversations",
        records: Records::List(records),
        rest,
        cursor: Some(("cursor", Box::new(cursor_of))),
        number,
    }))
}

pub(crate) fn delete(service: &Service, call: &Call) -> Result<Answer, Answer> {
    with_job(service, call, |job| {
        job.deleted = true;
        Ok(no_content())
    })
}

fn with_job<T>(
    service: &Service,
    call: &Call,
    use_it: impl FnOnce(&mut Job) -> Result<T, Answer>,
) -> Result<T, Answer> {
    let id = call.job.as_deref().unwrap_or_default();
    let mut state = lock(&service.state);
    match state.job(id).filter(|(_, job)| job.known()) {
        Some((_, job)) => use_it(job),
        None => Err(not_found("the job does not exist")),
    }
}

/// Opaque, and full of characters that a URL must escape: `+` and `=`.
fn write_cursor(page: u64, offset: usize) -> String {
    let mut text = format!("cursor_v2~~~~{page}~{offset}");
    while text.len() % 3 != 1 {
        text.push('~');
    }
    STANDARD.encode(text)
}

fn read_cursor(text: &str) -> Option<(u64, usize)> {
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let mut parts = text.strip_prefix("cursor_v2~~~~")?.split('~');
    Some((parts.next()?.parse().ok().filter(|page| *page > 0)?, parts.next()?.parse().ok()?))
}
