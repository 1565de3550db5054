//! Names in a selection become ids: by the lake's latest snapshot, or else by the source's own list.
//!
//! Names of people stay out of messages; of queues, skills and divisions the near ones are named.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::api::complaint::quote;
use crate::api::vocabulary::near;
use crate::api::{Api, DIMENSIONS, Dimension, Filters, Listing};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::lake::names::{Named, Names};

/// A filter whose values are ids of a dimension.
struct Field<'a> {
    flag: &'static str,
    dimension: &'static str,
    /// What one of them is called.
    one: &'static str,
    /// Whether its names are those of people.
    people: bool,
    values: &'a mut Vec<String>,
}

fn fields(filters: &mut Filters) -> [Field<'_>; 4] {
    let Filters { queues, users, skills, divisions, .. } = filters;
    let field = |flag, dimension, one, values| Field { flag, dimension, one, people: false, values };
    [
        field("--queue", "queues", "queue", queues),
        Field { people: true, ..field("--user", "users", "user", users) },
        field("--skill", "skills", "skill", skills),
        field("--division", "divisions", "division", divisions),
    ]
}

/// The first value of `filters` that is not an id of Genesys Cloud, with its flag: it may be a name.
pub fn first_name(filters: &Filters) -> Option<(&'static str, String)> {
    let mut filters = filters.clone();
    fields(&mut filters).into_iter().find_map(|field| {
        let name = field.values.iter().find(|value| id(value).is_none())?;
        Some((field.flag, name.clone()))
    })
}

/// The selection with its ids as Genesys Cloud spells them.
#[must_use]
pub fn spelled_ids(mut filters: Filters) -> Filters {
    for value in fields(&mut filters).into_iter().flat_map(|field| field.values) {
        *value = id(value).unwrap_or_else(|| std::mem::take(value));
    }
    filters.normalized()
}

/// An id of Genesys Cloud, as it spells ids.
fn id(value: &str) -> Option<String> {
    Some(Uuid::try_parse(value.trim()).ok()?.hyphenated().to_string())
}

/// The selection with ids alone. Only names cost calls, and only those that the lake's latest snapshot does not have.
///
/// # Errors
/// [`Kind::Usage`] for a name that is nobody's or that of several; [`Kind::Access`] when only a list could tell that the
/// client may not read; those of [`Api::list`] and [`Lake::names`].
pub async fn resolve_names(mut filters: Filters, api: &Api, lake: Option<&Arc<Lake>>) -> Result<Filters> {
    for field in fields(&mut filters) {
        let mut directory = Directory::default();
        for value in field.values.iter_mut() {
            if id(value).is_none() {
                let wanted = Wanted { flag: field.flag, one: field.one, people: field.people, name: value };
                *value = directory.look_up(&wanted, dimension(field.dimension)?, api, lake).await?;
            }
        }
    }
    Ok(spelled_ids(filters))
}

fn dimension(name: &str) -> Result<&'static Dimension> {
    let found = DIMENSIONS.iter().find(|dimension| dimension.name == name);
    found.ok_or_else(|| Error::bug(format!("`{name}` is not a dimension")))
}

/// The names of one dimension, as far as they were needed.
#[derive(Default)]
struct Directory {
    /// Of the lake, once it was looked into.
    snapshot: Option<Option<Names>>,
    /// Of the source, once it was asked.
    listed: Option<Listed>,
}

/// The names that the source lists.
struct Listed {
    all: Vec<Named>,
    /// Whether the API would not page to the end.
    cut: bool,
}

impl Directory {
    async fn look_up(
        &mut self,
        wanted: &Wanted<'_>,
        dimension: &'static Dimension,
        api: &Api,
        lake: Option<&Arc<Lake>>,
    ) -> Result<String> {
        if self.snapshot.is_none() {
            self.snapshot = Some(snapshot(dimension.name, lake).await?);
        }
        let snapshot = self.snapshot.as_ref().and_then(Option::as_ref);
        if let Some(id) = snapshot.map(|names| wanted.among(&names.all)).transpose()?.flatten() {
            return Ok(id);
        }
        let listed = match self.listed.take() {
            Some(listed) => listed,
            None => match api.list(dimension).await {
                Ok(listing) => Listed { all: named(&listing), cut: listing.cut },
                Err(error) if error.kind() == Kind::Access => return Err(wanted.hidden(dimension, &error, snapshot)),
                Err(error) => return Err(error.context(wanted.to_string())),
            },
        };
        let found = wanted.among(&listed.all)?;
        let found = found.ok_or_else(|| wanted.unknown(&listed));
        self.listed = Some(listed);
        found
    }
}

async fn snapshot(dimension: &'static str, lake: Option<&Arc<Lake>>) -> Result<Option<Names>> {
    let Some(lake) = lake.map(Arc::clone) else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || lake.names(dimension)).await;
    read.map_err(|e| Error::bug("a thread died").source(e))?
}

/// What a list has a name for. What cannot be read has none.
fn named(listing: &Listing) -> Vec<Named> {
    let records = listing.pages.iter().flat_map(|page| page.records());
    let read = |record: &[u8]| {
        let record: Value = serde_json::from_slice(record).ok()?;
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Named { id: text("id")?, name: text("name")? })
    };
    records.filter_map(|record| read(&record)).collect()
}

/// A name that is looked for.
struct Wanted<'a> {
    flag: &'static str,
    one: &'static str,
    people: bool,
    name: &'a str,
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.flag, self.name)
    }
}

impl Wanted<'_> {
    /// The id that has this name. A name in the same letters goes before one in the same letters of another case.
    ///
    /// # Errors
    /// [`Kind::Usage`] with all ids when there are several.
    fn among(&self, known: &[Named]) -> Result<Option<String>> {
        let name = self.name.trim();
        let of = |same: &dyn Fn(&str) -> bool| {
            let mut ids: Vec<&str> = known.iter().filter(|n| same(n.name.trim())).map(|n| n.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let mut ids = of(&|known| known == name);
        if ids.is_empty() {
            ids = of(&|known| known.to_lowercase() == name.to_lowercase());
        }
        match ids.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some((*id).to_owned())),
            ids => Err(Error::usage(format!(
                "{self} is the name of {} {}s: {}",
                ids.len(),
                self.one,
                quote(&ids.join(", "))
            ))
            .hint("give the id of the one that is meant")),
        }
    }

    /// The error of a name that nobody has.
    fn unknown(&self, known: &Listed) -> Error {
        let cut = if known.cut { ", as far as the API lists them" } else { "" };
        Error::usage(format!("{self} is neither an id (a UUID) nor the name of a {}{cut}", self.one))
            .hint(self.near(&known.all))
    }

    /// The error of a name that only a list has which is not for this client.
    fn hidden(&self, dimension: &Dimension, error: &Error, snapshot: Option<&Names>) -> Error {
        let grant = match dimension.permission {
            Some(permission) => format!("give the client's role {permission}"),
            None => "see whether the client is limited: every role may read this list".to_owned(),
        };
        match snapshot {
            Some(names) => Error::usage(format!(
                "{self} is neither an id (a UUID) nor in the lake's {} of {}, and the client may not list them: {error}",
                dimension.name, names.day
            ))
            .hint(format!("{}; or {grant}", self.near(&names.all))),
            None => Error::access(format!(
                "{self} is no id (a UUID), and the client may not look up names of {}: {error}",
                dimension.name
            ))
            .hint(format!("give the id, or {grant}, or take a snapshot with `convlake dimensions` by a client that may")),
        }
    }

    /// What may have been meant, and what to do otherwise.
    fn near(&self, known: &[Named]) -> String {
        let otherwise = "give the id; --allow-unknown takes any text as an id";
        let names = near(self.name, known.iter().map(|n| n.name.as_str()));
        let ids = |name: &str| known.iter().filter(|n| n.name == name).map(|n| n.id.clone()).collect::<Vec<_>>();
        let told = |name: &&str| match self.people {
            true => quote(&ids(name).join(", ")),
            false => format!("`{}` ({})", quote(name), quote(&ids(name).join(", "))),
        };
        match names.iter().map(told).collect::<Vec<_>>() {
            near if near.is_empty() => otherwise.to_owned(),
            near => format!("near to it are {}; or {otherwise}", near.join(", ")),
        }
    }
}
