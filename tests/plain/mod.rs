//! The plain way from records to rows: `serde_json` parses, a walk over the parsed record fills Arrow's builders.
//! Slow and easy to follow, it is the oracle of the reader in `src/flatten`, with which it shares nothing but the
//! words of the schemas.

mod cell;
mod columns;
mod fold;
mod record;
mod spell;
mod tables;
mod tree;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use convlake::error::Result;
use convlake::flatten::batch::{BadReason, BadRecord, FlatPage, Position, RecordKey};
use convlake::flatten::{Catalog, Oddities};
use convlake::time::Day;

use cell::Cell;
use record::Object;
use tables::DayBuilder;
use tree::Tree;
use walk::{Walk, find};

/// Flattens pages into the tables of a catalog. Compiled once, shared by all threads.
#[derive(Debug)]
pub(crate) struct Plain {
    catalog: Arc<Catalog>,
    tree: Tree,
}

impl Plain {
    /// A flattener into the selected tables of `catalog`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when the schemas contradict each other.
    pub(crate) fn new(all: &Catalog, catalog: Arc<Catalog>) -> Result<Plain> {
        let tree = Tree::compile(all, &catalog)?;
        Ok(Plain { catalog, tree })
    }

    /// Flattens the raw `records` of page `page` of chain `chain`. What cannot be read is in [`FlatPage::bad`],
    /// what does not fit a column is in its row's `extra`; neither is an error.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when one day's column would exceed 2 GiB of text, which no page of the API does;
    /// otherwise [`crate::error::Kind::Bug`] only.
    pub(crate) fn flatten(&self, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        self.rows(chain, page, records, |object| self.start(object))
    }

    /// Flattens the raw `records` of a dimension, which all are rows of its snapshot of `day`.
    ///
    /// # Errors
    /// Like [`Plain::flatten`].
    pub(crate) fn snapshot(
        &self,
        day: Day,
        chain: u32,
        page: u32,
        records: impl Iterator<Item = Bytes>,
    ) -> Result<FlatPage> {
        let start = day.start().timestamp_micros();
        self.rows(chain, page, records, |_| Ok((day, start)))
    }

    /// Flattens records into the days that `owner` gives them to, each with its place in the day's order.
    fn rows(
        &self,
        chain: u32,
        page: u32,
        records: impl Iterator<Item = Bytes>,
        owner: impl Fn(&Object) -> Result<(Day, i64), BadReason>,
    ) -> Result<FlatPage> {
        let mut days: BTreeMap<Day, DayBuilder> = BTreeMap::new();
        let mut bad = Vec::new();
        let mut oddities = Oddities::default();
        for (index, raw) in (0..).zip(records) {
            let position = Position { chain, page, index };
            let mut odd = Oddities::default();
            let record = record::parse(&raw).and_then(|object| {
                let object = spell::record(&self.tree, &self.catalog, object, &mut odd);
                let id = self.id(&object)?;
                let (day, start) = owner(&object)?;
                Ok((day, RecordKey { start, id, position }, object))
            });
            let (day, key, object) = match record {
                Ok(record) => record,
                Err(reason) => {
                    bad.push(BadRecord { position, reason, raw });
                    continue;
                }
            };
            let builder = days.entry(day).or_insert_with(|| DayBuilder::new(&self.catalog));
            Walk::record(&self.tree, &self.catalog, &object, builder, &mut odd)?;
            oddities.add(&odd);
            builder.end_record(key)?;
        }
        let days = days.into_iter().map(|(day, builder)| builder.finish(day, &self.catalog));
        Ok(FlatPage { days: days.collect::<Result<_>>()?, bad, oddities })
    }

    fn id(&self, object: &Object) -> Result<Box<str>, BadReason> {
        match find(&self.tree.id, object) {
            Some((_, Cell::Text(id))) if !id.is_empty() => Ok(id.into()),
            _ => Err(BadReason::NoId),
        }
    }

    /// When the record started, and the day that owns it.
    fn start(&self, object: &Object) -> Result<(Day, i64), BadReason> {
        match self.tree.start.as_ref().and_then(|start| find(start, object)) {
            Some((_, Cell::Micros(start))) => Ok((Day::of_micros(start).ok_or(BadReason::NoStart)?, start)),
            _ => Err(BadReason::NoStart),
        }
    }
}
