//! Dimensions: what conversations name by id only, listed whole.
//!
//! Paths, parameters and permissions are those of the official Python SDK (`get_routing_queues`, `get_users`,
//! `get_routing_wrapupcodes`, `get_routing_skills`, `get_authorization_divisions`, `get_flows`, `get_teams`, and what
//! its documents say that each requires). All but teams are numbered pages whose answers say `pageCount` and `nextUri`;
//! teams are linked by the parameter `after` of `nextUri`.

use std::collections::HashSet;

use http::StatusCode;

use super::client::{Answer, Call, Client, Failure, Misread};
use super::envelope::Envelope;
use super::heard::Heard;
use super::limits::Objection;
use super::page::Page;
use super::protocol::read_page;
use super::shape::Place;
use crate::error::{Context, Error, Result};
use crate::time::Timestamp;

/// Entities behind which some lists answer 400, whatever the size of the pages: Genesys' own Terraform provider stops
/// there when it lists inactive users.
const REACH: u64 = 10_000;

/// One kind of thing that conversations refer to by id.
#[derive(Debug)]
pub struct Dimension {
    /// Its name, which is also its table's.
    pub name: &'static str,
    path: &'static str,
    /// The lists that make it up, each by the parameters that are asked beside the page.
    lists: &'static [&'static str],
    paging: Paging,
    /// Entities asked for in one answer: the most that Genesys' own Terraform provider asks of this list. The API
    /// sends fewer when it allows fewer.
    size: u32,
    /// What the client's role needs; some lists are open to every client.
    pub permission: Option<&'static str>,
}

/// How a list goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paging {
    /// By `pageNumber`.
    Numbered,
    /// By the `after` of `nextUri`.
    Linked,
}

/// Every dimension, in the order of the tables.
pub static DIMENSIONS: [Dimension; 7] = [
    Dimension { permission: Some("routing > queue > view"), size: 500, ..of("queues", "/api/v2/routing/queues") },
    Dimension {
        // One list a state, so that former users have names as well, and that however many there are of those the
        // active ones are within reach.
        lists: &["state=active", "state=inactive", "state=deleted"],
        size: 500,
        ..of("users", "/api/v2/users")
    },
    Dimension { permission: Some("routing > wrapupCode > view"), ..of("wrap_up_codes", "/api/v2/routing/wrapupcodes") },
    Dimension { permission: Some("routing > skill > view"), size: 500, ..of("skills", "/api/v2/routing/skills") },
    of("divisions", "/api/v2/authorization/divisions"),
    Dimension {
        lists: &["deleted=true"],
        permission: Some("architect > flow > view"),
        size: 500,
        ..of("flows", "/api/v2/flows")
    },
    Dimension {
        lists: &["expand=entities.division"],
        permission: Some("groups > team > view"),
        paging: Paging::Linked,
        ..of("teams", "/api/v2/teams")
    },
];

const fn of(name: &'static str, path: &'static str) -> Dimension {
    Dimension { name, path, lists: &[""], paging: Paging::Numbered, size: 100, permission: None }
}

/// All of a dimension, as the source has it now.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its pages in order; each of its lists is a chain.
    pub pages: Vec<Page>,
    /// When the first answer was given, by the server's clock.
    pub observed_at: Timestamp,
    /// By how many seconds that clock was ahead of the run's own, when it was more than [`crate::api::SKEW_MAX`].
    pub clock_skew: Option<i64>,
    /// Whether the API would not page to the end of a list.
    pub cut: bool,
}

/// Lists `dimension` to its end.
pub(super) async fn list(client: &Client, dimension: &Dimension) -> Result<Listing> {
    let mut lister = Lister { client, dimension, pages: Vec::new(), heard: None, cut: false };
    for (chain, parameters) in (0..).zip(dimension.lists) {
        lister.list(chain, parameters).await.context(|| dimension.name.to_owned())?;
    }
    let Lister { pages, heard, cut, .. } = lister;
    let observed_at = heard.map_or_else(|| client.now(), |heard| heard.at);
    Ok(Listing { pages, observed_at, clock_skew: heard.and_then(|heard| heard.skew), cut })
}

/// The way through the lists of one dimension.
struct Lister<'a> {
    client: &'a Client,
    dimension: &'a Dimension,
    pages: Vec<Page>,
    /// The first answer.
    heard: Option<Heard>,
    cut: bool,
}

/// One answer, taken apart.
struct Received {
    envelope: Envelope,
    page: Page,
    heard: Heard,
}

impl Lister<'_> {
    /// Pages one list to its end, from the start again with smaller pages when they are too much for one answer.
    async fn list(&mut self, chain: u32, parameters: &str) -> Result<()> {
        let (begun, mut size) = (self.pages.len(), self.dimension.size);
        while let Err((failure, number)) = self.chain(chain, parameters, size).await {
            let too_much = match &failure {
                Failure::TooLarge { .. } | Failure::Slow(_) => true,
                Failure::Rejected(rejection) => matches!(Objection::of(rejection), Some(Objection::PageSize(_))),
                _ => false,
            };
            if !too_much || size == 1 {
                return Err(self.error(failure).context(format!("page {number}")));
            }
            size /= 2;
            tracing::warn!("{}: pages of {size} from here", self.dimension.name);
            self.pages.truncate(begun);
        }
        Ok(())
    }

    /// Pages of `size`, until there are no more; a failure comes with the number of its page.
    async fn chain(&mut self, ordinal: u32, parameters: &str, size: u32) -> Result<(), (Failure, u32)> {
        let (mut after, mut seen) = (None::<String>, HashSet::new());
        for number in 1.. {
            let call = self.call(parameters, size, number, after.as_deref());
            let received = match self.ask(&call, ordinal, number).await {
                Err(Failure::Rejected(rejection)) if is_out_of_reach(rejection.status, number, size) => {
                    tracing::warn!("{}: the API pages no further than here: {rejection}", self.dimension.name);
                    self.cut = true;
                    return Ok(());
                }
                outcome => outcome.map_err(|failure| (failure, number))?,
            };
            let Received { envelope, page, heard } = received;
            self.heard.get_or_insert(heard);
            let is_empty = page.records.is_empty();
            let more = match self.dimension.paging {
                Paging::Linked => {
                    after = envelope.next_uri.as_deref().and_then(parameter_after);
                    after.is_some()
                }
                Paging::Numbered if is_empty => false,
                // A count alone ends nothing: it may be too low.
                Paging::Numbered => {
                    envelope.next_uri.is_some() || envelope.page_count.is_none_or(|n| n > number.into())
                }
            };
            let repeats = match &after {
                Some(after) => !seen.insert(after.clone()),
                None => !is_empty && self.pages.last().is_some_and(|last| last.records().eq(page.records())),
            };
            if repeats {
                let error = Error::data("the API answered with the same page again: the list would never end");
                return Err((error.into(), number));
            }
            if !is_empty {
                self.pages.push(page);
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn call(&self, parameters: &str, size: u32, number: u32, after: Option<&str>) -> Call {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("pageSize", &size.to_string());
        match (self.dimension.paging, after) {
            (Paging::Numbered, _) => query.append_pair("pageNumber", &number.to_string()),
            (Paging::Linked, Some(after)) => query.append_pair("after", after),
            (Paging::Linked, None) => &mut query,
        };
        query.extend_pairs(url::form_urlencoded::parse(parameters.as_bytes()));
        Call::get(format!("{}?{}", self.dimension.path, query.finish())).shrinkable(size > 1).permission_optional()
    }

    async fn ask(&self, call: &Call, chain: u32, number: u32) -> Result<Received, Failure> {
        let read = |answer: &Answer| {
            let mut envelope = read_page(answer)?;
            let records = std::mem::take(&mut envelope.records);
            if envelope.members.place == Place::Absent {
                return Err(Misread::Odd("the answer has no `entities`".to_owned()));
            }
            if number == 1 && records.is_empty() && envelope.total.is_some_and(|total| total > 0) {
                return Err(Misread::Odd("the first page is empty, and the API counts at least one".to_owned()));
            }
            Ok(Received {
                envelope,
                page: Page { chain, number, body: answer.body.clone(), records, list: None },
                heard: answer.heard,
            })
        };
        self.client.call(call, read).await
    }

    fn error(&self, failure: Failure) -> Error {
        match failure {
            Failure::Rejected(rejection) if rejection.status == StatusCode::FORBIDDEN => {
                let hint = match self.dimension.permission {
                    Some(permission) => format!("give the client's role {permission}, or leave it out with --only"),
                    None => "every client may read this list: see whether the client is limited otherwise".to_owned(),
                };
                Error::access(rejection.to_string()).hint(hint)
            }
            failure => failure.into_error(),
        }
    }
}

/// Whether a refusal means that the list goes on where nobody gets to.
fn is_out_of_reach(status: StatusCode, number: u32, size: u32) -> bool {
    status == StatusCode::BAD_REQUEST && u64::from(number) * u64::from(size) > REACH
}

/// The `after` of a `nextUri`, which is relative.
fn parameter_after(uri: &str) -> Option<String> {
    let query = uri.split_once('?')?.1;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, value)| name == "after" && !value.is_empty()).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests;
