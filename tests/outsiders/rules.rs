//! What has to become of an export when one answer of its source has another form: the rules of what a page is, in
//! their own words and as short as they go.

use serde_json::{Map, Value};

use crate::world::{Protocol, WHOLE, World};

/// How an export has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With everything, exit code 0.
    Whole,
    /// With everything or with a loud failure: a source that contradicts itself may be believed or not.
    WholeOrRefused,
    /// With exit code 65, nothing published, the body in quarantine and its keys named.
    Refused,
    /// With exit code 65, because records were found behind what looked like the end.
    Contradicted,
    /// With exit code 0 and only so many records, since the form is an end that sources are known to send.
    Ended(usize),
    /// The same, but less than the source told: fetched twice, published as dirty and warned of.
    Short(usize),
    /// As refused, or with the records of the other pages, or with everything.
    RefusedOrWithout(usize),
    /// As refused, or with exit code 69: the page of a gateway, and no answer of the source.
    RefusedOrDown,
}

/// What an answer is.
enum Form {
    Page(Map<String, Value>),
    End(Map<String, Value>),
    /// Without records, and going on.
    Empty,
    EmptyOrNothing,
    EndOrNothing(Map<String, Value>),
    Nothing,
}

/// What has to become of an export of `world` whose answer to the question for page `at` is `body`, for ever or once.
pub(crate) fn outcome(world: &World, at: usize, body: &str, for_ever: bool) -> Outcome {
    use Outcome::{Ended, Refused, RefusedOrDown, RefusedOrWithout, Short, Whole, WholeOrRefused};
    let before: usize = world.pages[..at - 1].iter().sum();
    let own = world.pages.get(at - 1).copied().unwrap_or_default();
    let after = world.total() - before - own;
    match form(world.protocol, at, body) {
        Form::Nothing if for_ever && body.starts_with('<') => RefusedOrDown,
        Form::Nothing if for_ever => Refused,
        Form::Nothing => Whole,
        // Records are there, and the chain may end with them where the page says so.
        Form::Page(page) => {
            let linked = matches!(world.protocol, Protocol::Jobs | Protocol::Cursor);
            let ends = linked && !has_more(page.get(world.protocol.cursor())) && after > 0;
            match (ends, world.protocol) {
                (false, _) => Whole,
                (true, Protocol::Jobs) => Ended(before + own),
                (true, _) if for_ever => Short(before + own),
                (true, _) => Whole,
            }
        }
        Form::Empty if for_ever && own > 0 => Short(before + after),
        Form::Empty => Whole,
        Form::EmptyOrNothing if own == 0 => WholeOrRefused,
        Form::EmptyOrNothing => RefusedOrWithout(before + after),
        Form::EndOrNothing(page) => match ended(world, at, &page, for_ever) {
            Whole => WholeOrRefused,
            Ended(read) | Short(read) => RefusedOrWithout(read),
            other => other,
        },
        Form::End(page) => ended(world, at, &page, for_ever),
    }
}

/// The end of a chain where there may be records behind it.
fn ended(world: &World, at: usize, page: &Map<String, Value>, for_ever: bool) -> Outcome {
    use Outcome::{Contradicted, Ended, Short, Whole, WholeOrRefused};
    let before: usize = world.pages[..at - 1].iter().sum();
    let missing = world.total() - before;
    let behind = at < world.pages.len();
    if missing == 0 {
        return Whole;
    }
    // Of the pages before this one, or of this one itself.
    let told = at > 1 && world.told.is_some() || told(world.protocol, page) > 0;
    match world.protocol {
        Protocol::Jobs => Ended(before),
        _ if !told => Ended(before),
        Protocol::Cursor if for_ever => Short(before),
        Protocol::Cursor => Whole,
        // A whole page is missing by the total: this page and the next are asked again.
        Protocol::Query if missing >= WHOLE && behind && for_ever => Contradicted,
        Protocol::Query if missing >= WHOLE && behind => WholeOrRefused,
        // The pages behind it are asked for anyway.
        Protocol::Page if behind && for_ever => Contradicted,
        Protocol::Page if behind => WholeOrRefused,
        Protocol::Query | Protocol::Page if for_ever => Short(before),
        Protocol::Query | Protocol::Page => Whole,
    }
}

fn form(protocol: Protocol, at: usize, body: &str) -> Form {
    let Ok(Value::Object(page)) = serde_json::from_str(body) else { return Form::Nothing };
    let linked = matches!(protocol, Protocol::Jobs | Protocol::Cursor);
    let cursor = page.get(protocol.cursor()).filter(|_| linked);
    if cursor.is_some_and(|cursor| cursor.is_object() || cursor.is_array() || cursor.is_boolean()) {
        return Form::Nothing;
    }
    let list = page.get(protocol.list());
    let empty = match list {
        Some(Value::Array(records)) if !records.is_empty() => return Form::Page(page),
        Some(Value::Array(_)) => true,
        None | Some(Value::Null) => false,
        Some(_) => return Form::Nothing,
    };
    let unknown = page.keys().any(|key| !known(protocol).contains(&key.as_str()));
    // Members of other protocols beside a total of 0 are no contradiction.
    let foreign = page.contains_key("aggregations");
    if unknown && (protocol == Protocol::Query || !empty && !foreign) {
        return Form::Nothing;
    }
    let end = match protocol {
        Protocol::Query => at > 1 || told(protocol, &page) == 0,
        Protocol::Jobs if has_more(cursor) => return if empty { Form::EmptyOrNothing } else { Form::Nothing },
        Protocol::Jobs => empty || list.is_none() && !unknown,
        Protocol::Cursor if has_more(cursor) => return if empty { Form::Empty } else { Form::Nothing },
        Protocol::Cursor => empty || page.get("totalRecords").and_then(Value::as_u64) == Some(0),
        Protocol::Page => match page.get("paging") {
            None => empty,
            Some(_) => told(protocol, &page) == 0 || empty && at > 1,
        },
    };
    match (end, unknown) {
        (true, false) => Form::End(page),
        (true, true) => Form::EndOrNothing(page),
        (false, _) => Form::Nothing,
    }
}

/// The members that pages of a protocol are known to have.
fn known(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Query => &["conversations", "totalHits", "aggregations"],
        Protocol::Jobs => &["conversations", "cursor", "dataAvailabilityDate"],
        Protocol::Cursor => &["entities", "nextPageCursor", "totalRecords", "pageSize"],
        Protocol::Page => &["entities", "paging"],
    }
}

/// How many records, or pages, an answer says there are.
fn told(protocol: Protocol, page: &Map<String, Value>) -> u64 {
    let told = match protocol {
        Protocol::Query => page.get("totalHits"),
        Protocol::Jobs => None,
        Protocol::Cursor => page.get("totalRecords"),
        Protocol::Page => page.get("paging").and_then(|paging| paging.get("pageCount")),
    };
    told.and_then(Value::as_u64).unwrap_or_default()
}

fn has_more(cursor: Option<&Value>) -> bool {
    match cursor {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}
