//! What an action does: instead of serving the call, to the answer before it is written, or on the wire.

use std::time::Duration;

use serde_json::Value;

use super::{Action, RetryAfter};
use crate::simulator::answer::{Answer, Body, Broken, Page, Records};
use crate::simulator::state::after;
use crate::time::Timestamp;

const PORTAL: &str =
    "<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Please try again</h1></body></html>";

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

impl Action {
    /// The answer that comes instead of serving the call.
    pub(in crate::simulator) fn instead(&self, now: Timestamp) -> Option<Answer> {
        Some(match self {
            Action::Status { code, body, headers } => {
                let mut answer = failure(*code);
                if let Some(text) = body {
                    answer.body = Body::Text(text.clone());
                }
                answer.headers.extend(headers.clone());
                answer
            }
            Action::RateLimited { retry_after } => rate_limited(retry_after, now),
            Action::Unauthorized => failure(401),
            Action::Forbidden => failure(403),
            Action::Html { code } => Answer { status: *code, headers: Vec::new(), body: Body::Html(PORTAL) },
            Action::ErrorObject => Answer { status: 200, ..failure(500) },
            Action::Redirect { location } => {
                Answer { status: 302, headers: Vec::new(), body: Body::Empty }.header("location", location)
            }
            _ => return None,
        })
    }

    /// Whether the call is cut off before anything is served.
    pub(in crate::simulator) fn unserved(&self) -> Option<Broken> {
        match self {
            Action::Reset => Some(Broken::Reset),
            Action::Hang => Some(Broken::Hang),
            _ => None,
        }
    }

    /// Falsifies a served answer.
    pub(in crate::simulator) fn falsify(&self, answer: &mut Answer) {
        if let Action::ContentEncoding { value } = self {
            answer.headers.push(("content-encoding".to_owned(), value.clone()));
        }
        if let Body::Page(page) = &mut answer.body {
            self.falsify_page(page);
        }
    }

    fn falsify_page(&self, page: &mut Page) {
        match self {
            Action::PageCount { value } => set_page_count(page, |_| *value),
            Action::PageCountOff { by } => set_page_count(page, |count| count.saturating_add_signed(*by)),
            Action::NoPaging => drop(page.rest.shift_remove("paging")),
            Action::Total { value } => set_total(page, |_| *value),
            Action::TotalOff { by } => {
                set_total(page, |total| if total == 0 { 0 } else { total.saturating_add_signed(*by) });
            }
            Action::NoRecords => page.records = Records::Missing,
            Action::NullRecords => page.records = Records::Null,
            Action::EmptyRecords => page.records = Records::List(Vec::new()),
            Action::Bare => {
                page.records = Records::Missing;
                page.rest.clear();
            }
            Action::RepeatCursor => lead_to(page, page.number),
            Action::CursorToPage { page: number } => lead_to(page, *number),
            Action::DropEvery { nth } => {
                if let Records::List(records) = &mut page.records {
                    let mut count = 0;
                    records.retain(|_| {
                        count += 1;
                        *nth == 0 || count % nth != 0
                    });
                }
            }
            _ => {}
        }
    }
}

fn set_total(page: &mut Page, change: impl Fn(u64) -> u64) {
    for name in ["totalHits", "totalRecords"] {
        if let Some(total) = page.rest.get_mut(name) {
            *total = Value::from(change(total.as_u64().unwrap_or(0)));
        }
    }
}

fn set_page_count(page: &mut Page, change: impl FnOnce(u64) -> u64) {
    if let Some(count) = page.rest.get_mut("paging").and_then(|paging| paging.get_mut("pageCount")) {
        *count = Value::from(change(count.as_u64().unwrap_or(0)));
    }
}

fn lead_to(page: &mut Page, number: u64) {
    if let Some((name, cursor_of)) = &page.cursor {
        page.rest.insert((*name).to_owned(), Value::String(cursor_of(number)));
    }
}

/// The API's own words for a status.
fn failure(status: u16) -> Answer {
    let (code, message) = match status {
        400 => ("bad.request", "The request could not be understood by the server due to malformed syntax."),
        401 => ("bad.credentials", "Invalid login credentials."),
        403 => (
            "missing.any.permissions",
            "Unable to perform the requested action. You must have at least one of the following permissions assigned: [analytics:conversationDetail:view]",
        ),
        404 => ("not.found", "The requested resource was not found."),
        408 => ("request.timeout", "The client did not produce a request within the server timeout limit."),
        429 => ("too.many.requests", "Rate limit exceeded the maximum."),
        503 => (
            "service.unavailable",
            "Service Unavailable - The server is currently unavailable (because it is overloaded or down for maintenance).",
        ),
        504 => ("request.timeout", "The request timed out."),
        _ => (
            "internal.server.error",
            "The server encountered an unexpected condition which prevented it from fulfilling the request.",
        ),
    };
    Answer::error(status, code, message)
}

fn rate_limited(retry_after: &RetryAfter, now: Timestamp) -> Answer {
    match retry_after {
        RetryAfter::Seconds(seconds) => Answer::too_many(*seconds).header("retry-after", seconds),
        RetryAfter::Date(seconds) => {
            // An HTTP date has four digits for the year.
            let then = after(now, Duration::from_secs(*seconds).min(CENTURY));
            Answer::too_many(*seconds).header("retry-after", httpdate::fmt_http_date(then.into()))
        }
        RetryAfter::Text(text) => Answer::too_many(60).header("retry-after", text),
        RetryAfter::Absent => Answer::too_many(60),
    }
}
