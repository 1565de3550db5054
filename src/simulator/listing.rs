//! Lists of entities: numbered pages, and teams linked by a cursor. A size beyond the largest is cut down without a
//! word, as the API does it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Page, Records};
use super::call::{Call, Endpoint};
use super::service::Service;
use super::world::Millis;
use crate::time::Timestamp;

/// Entities on a page when nothing else is asked for.
const PAGE_SIZE: u64 = 25;

/// The list at each path, and its endpoint.
pub(crate) const LISTS: [(&str, Endpoint); 7] = [
    ("/api/v2/routing/queues", Endpoint::Queues),
    ("/api/v2/users", Endpoint::Users),
    ("/api/v2/routing/wrapupcodes", Endpoint::WrapUpCodes),
    ("/api/v2/routing/skills", Endpoint::Skills),
    ("/api/v2/authorization/divisions", Endpoint::Divisions),
    ("/api/v2/flows", Endpoint::Flows),
    ("/api/v2/teams", Endpoint::Teams),
];

/// One page of the list that `call` names.
pub(crate) fn list(service: &Service, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    let path = LISTS.iter().find(|(_, endpoint)| *endpoint == call.endpoint).map_or("", |(path, _)| path);
    let size = number(call, "pageSize", PAGE_SIZE)?.min(service.rules.list_page_size_max).max(1);
    let entities = entities(service, call, now)?;
    let total = entities.len() as u64;
    let count = total.div_ceil(size);
    let is_linked = call.endpoint == Endpoint::Teams;
    let page = if is_linked { linked_page(call)? } else { number(call, "pageNumber", 1)? };
    let address = |page: u64| {
        let place = if is_linked { format!("after={}", cursor(page)) } else { format!("pageNumber={page}") };
        format!("{path}?pageSize={size}&{place}")
    };
    let mut rest = Map::new();
    if !is_linked {
        rest.extend([
            ("pageSize".to_owned(), json!(size)),
            ("pageNumber".to_owned(), json!(page)),
            ("total".to_owned(), json!(total)),
            ("firstUri".to_owned(), json!(address(1))),
            ("lastUri".to_owned(), json!(address(count.max(1)))),
            ("pageCount".to_owned(), json!(count)),
        ]);
    }
    rest.insert("selfUri".to_owned(), json!(address(page)));
    if page < count {
        rest.insert("nextUri".to_owned(), json!(address(page + 1)));
    }
    let from = page.saturating_sub(1).saturating_mul(size).min(total) as usize;
    let records = entities.iter().skip(from).take(size as usize).map(|entity| Bytes::from(entity.to_string()));
    Ok(Answer::page(Page {
        key: "entities",
        records: Records::List(records.collect()),
        rest,
        cursor: None,
        number: page,
    }))
}

/// The number of the page that `call` asks for.
pub(crate) fn page_number(call: &Call) -> Option<u64> {
    if call.endpoint == Endpoint::Teams { linked_page(call).ok() } else { number(call, "pageNumber", 1).ok() }
}

fn entities(service: &Service, call: &Call, now: Timestamp) -> Result<Vec<Value>, Answer> {
    let world = &service.catalog.world;
    let parameter = |name: &str| call.parameters.get(name).map(String::as_str);
    Ok(match call.endpoint {
        Endpoint::Users => {
            let state = parameter("state").unwrap_or("active");
            if !["active", "inactive", "deleted", "any"].contains(&state) {
                return Err(Answer::invalid("state", "state must be one of active, inactive, deleted, any"));
            }
            world.users(state, Millis::of(now))
        }
        Endpoint::Queues => world.queues(),
        Endpoint::WrapUpCodes => world.wrap_up_codes(),
        Endpoint::Skills => world.skills(),
        Endpoint::Divisions => world.divisions(),
        Endpoint::Flows => world.flows(parameter("deleted") == Some("true")),
        _ => world.teams(parameter("expand") == Some("entities.division")),
    })
}

fn number(call: &Call, name: &str, default: u64) -> Result<u64, Answer> {
    match call.number(name).transpose()? {
        Some(0) => Err(Answer::invalid(name, &format!("{name} must be a positive integer"))),
        number => Ok(number.unwrap_or(default)),
    }
}

/// The page that the cursor of `call` leads to.
fn linked_page(call: &Call) -> Result<u64, Answer> {
    let Some(text) = call.parameters.get("after") else { return Ok(1) };
    let read = || String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?.strip_prefix(">team?")?.parse().ok();
    read().ok_or_else(|| Answer::invalid("after", "after is not a cursor"))
}

/// Opaque, and full of characters that a URL must escape.
fn cursor(page: u64) -> String {
    url::form_urlencoded::byte_serialize(BASE64_STANDARD.encode(format!(">team?{page}")).as_bytes()).collect()
}
