//! What can stand in a chain of pages: a page with records, one that leads on, or one of the ends that the source is
//! known to send. Whatever else comes is no answer: an end that is not known may be a fault that hides records.

use super::page;
use crate::api::envelope::{Cursor, Envelope};
use crate::api::shape::Place;
use crate::plan::Protocol;

/// What speaks against `page` as page `number` of a chain.
pub(super) fn check(protocol: Protocol, page: &Envelope, number: u32) -> Result<(), String> {
    let named = |what: &str| Err(format!("{what}; {}", page.members.named()));
    let echoed = page.paging.and_then(|paging| paging.page_number).filter(|_| protocol == Protocol::Page);
    if echoed.is_some_and(|echoed| echoed != u64::from(number)) {
        return Err(format!("asked for page {number}, the answer says that it is another"));
    }
    let next = match protocol {
        Protocol::Jobs => Some(&page.cursor),
        Protocol::Cursor => Some(&page.next_page_cursor),
        Protocol::Query | Protocol::Page => None,
    };
    match next {
        Some(Cursor::Odd) => named("the cursor is neither a text nor a number"),
        _ if !page.records.is_empty() => Ok(()),
        Some(Cursor::At(_)) if page.members.place == Place::List => Ok(()),
        Some(Cursor::At(_)) => named("there is a cursor and no list of records"),
        _ if number == 1 && counts(protocol, page) > Some(0) => {
            named("the first page is empty, and the API counts at least one record")
        }
        _ if is_end(protocol, page, number) => Ok(()),
        _ => named("there are no records, and it is none of the ends that are known"),
    }
}

/// Whether `page`, which has no records and does not lead on, may end a chain as its page `number`.
fn is_end(protocol: Protocol, page: &Envelope, number: u32) -> bool {
    let members = &page.members;
    // An empty list is plain; what is missing may be missing by mistake.
    if !members.are_known() || members.lead_on() || members.place != Place::List && says_more(protocol, page) {
        return false;
    }
    match protocol {
        Protocol::Query => members.are_only(&["totalHits", "aggregations"]),
        Protocol::Jobs => match members.place {
            Place::List => true,
            Place::Absent => members.are_only(&["dataAvailabilityDate", "cursor"]),
            Place::Null | Place::Odd => false,
        },
        Protocol::Cursor => members.place == Place::List || page.total_records == Some(0),
        Protocol::Page => match (members.place, page::count(page)) {
            (_, Some(0)) => true,
            (Place::List, None) if page.paging.is_none() => true,
            // Whether it is the end is seen from the pages behind it.
            (Place::List, _) => number > 1,
            _ => false,
        },
    }
}

/// Whether `page` counts anything.
fn says_more(protocol: Protocol, page: &Envelope) -> bool {
    // Behind its last page a query still counts the records before it.
    let hits = page.total_hits.filter(|_| protocol != Protocol::Query);
    [hits, page.total_records, page.total, page::count(page)].into_iter().flatten().any(|count| count > 0)
}

/// What a page says there is in all, where an empty first page must not say that there is something: records, or pages
/// of them.
fn counts(protocol: Protocol, page: &Envelope) -> Option<u64> {
    match protocol {
        Protocol::Query => page.total_hits,
        Protocol::Page => page::count(page),
        Protocol::Cursor | Protocol::Jobs => None,
    }
}
