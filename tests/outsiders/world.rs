//! A day of conversations, cut into pages as each of the four protocols cuts it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::common::{duckdb, table};
use crate::source::Script;

/// A way of paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Query,
    Jobs,
    Cursor,
    Page,
}

pub(crate) const PROTOCOLS: [Protocol; 4] = [Protocol::Query, Protocol::Jobs, Protocol::Cursor, Protocol::Page];
/// Records of a whole page: what convlake asks for by `query`, and by `page` with `--page-size 100`.
pub(crate) const WHOLE: usize = 100;
/// Pages behind the last one that have answers of their own.
pub(crate) const BEHIND: usize = 6;
/// The day of all records, and the day after.
pub(crate) const DAY: [&str; 2] = ["2025-03-04", "2025-03-05"];

impl Protocol {
    /// What `--protocol` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Query => "query",
            Protocol::Jobs => "jobs",
            Protocol::Cursor => "cursor",
            Protocol::Page => "page",
        }
    }

    /// The member that holds a page's records.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Protocol::Query | Protocol::Jobs => "conversations",
            Protocol::Cursor | Protocol::Page => "entities",
        }
    }

    /// The member that leads to the next page.
    pub(crate) fn cursor(self) -> &'static str {
        match self {
            Protocol::Cursor => "nextPageCursor",
            _ => "cursor",
        }
    }
}

/// Conversations in pages; ids are numbers in order.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) protocol: Protocol,
    /// How many records each page has.
    pub(crate) pages: Vec<usize>,
    /// What the source says about how many there are: records, or pages by `page`.
    pub(crate) told: Option<usize>,
}

impl World {
    /// A world whose source tells the truth.
    pub(crate) fn new(protocol: Protocol, pages: &[usize]) -> World {
        let told = match protocol {
            Protocol::Jobs => None,
            Protocol::Page => Some(pages.len()),
            Protocol::Query | Protocol::Cursor => Some(pages.iter().sum()),
        };
        World { protocol, pages: pages.to_vec(), told }
    }

    /// All its records.
    pub(crate) fn total(&self) -> usize {
        self.pages.iter().sum()
    }

    /// The ids on a page, which counts from 1.
    pub(crate) fn ids(&self, page: usize) -> BTreeSet<String> {
        let before: usize = self.pages[..page - 1].iter().sum();
        (before..before + self.pages[page - 1]).map(id).collect()
    }

    /// The records on a page.
    pub(crate) fn records(&self, page: usize) -> Vec<Value> {
        self.ids(page).iter().map(|id| self.record(id)).collect()
    }

    fn record(&self, id: &str) -> Value {
        match self.protocol {
            Protocol::Query | Protocol::Jobs => {
                json!({ "conversationId": id, "conversationStart": "2025-03-04T10:00:00.000Z" })
            }
            Protocol::Cursor | Protocol::Page => {
                json!({ "conversationId": id, "startTime": "2025-03-04T10:00:00.000Z" })
            }
        }
    }

    /// What stands on a page beside its records.
    pub(crate) fn beside(&self, page: usize) -> Map<String, Value> {
        let mut beside = Map::new();
        match self.protocol {
            Protocol::Query => {
                self.told.inspect(|told| drop(beside.insert("totalHits".to_owned(), json!(told))));
            }
            Protocol::Jobs => {
                beside.insert("dataAvailabilityDate".to_owned(), json!("2026-01-01T00:00:00Z"));
            }
            Protocol::Cursor => {
                self.told.inspect(|told| drop(beside.insert("totalRecords".to_owned(), json!(told))));
                beside.insert("pageSize".to_owned(), json!(WHOLE));
            }
            Protocol::Page => {
                let paging = json!({ "pageNumber": page, "pageSize": WHOLE, "pageCount": self.told });
                beside.insert("paging".to_owned(), paging);
            }
        }
        if matches!(self.protocol, Protocol::Jobs | Protocol::Cursor) && page < self.pages.len() {
            beside.insert(self.protocol.cursor().to_owned(), json!((page + 1).to_string()));
        }
        beside
    }

    /// A page as the source answers it; beyond the last one it has no records.
    pub(crate) fn page(&self, page: usize) -> Value {
        let mut answer = self.beside(page);
        if page <= self.pages.len() && self.pages[page - 1] > 0 {
            answer.insert(self.protocol.list().to_owned(), json!(self.records(page)));
        } else if self.protocol != Protocol::Query {
            answer.insert(self.protocol.list().to_owned(), json!([]));
        }
        Value::Object(answer)
    }

    /// The source's own answers.
    pub(crate) fn script(&self) -> Script {
        let last = self.pages.len() + BEHIND;
        let script = (1..=last).fold(Script::default(), |script, page| script.then(page, 200, self.page(page)));
        script.then("*", 200, self.page(last + 1))
    }
}

fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// The ids in a lake, of which each must be there once.
pub(crate) fn ids_in(lake: &Path) -> BTreeSet<String> {
    if !lake.join("conversations").exists() {
        return BTreeSet::new();
    }
    let rows = duckdb(&format!("SELECT conversation_id AS id FROM {}", table(lake, "conversations")));
    let ids: BTreeSet<String> = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), rows.len(), "a conversation is there more than once");
    ids
}
