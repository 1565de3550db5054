//! One page of records becomes batches by owner day.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{BadReason, BadRecord, FlatPage, Position, RecordKey};
use super::catalog::Catalog;
use super::cell::Cell;
use super::record::{self, Object};
use super::tables::DayBuilder;
use super::tree::Tree;
use super::walk::{Unknown, Walk, find};
use crate::error::Result;
use crate::time::Day;

/// Flattens pages into the tables of a catalog. Compiled once, shared by all threads.
#[derive(Debug)]
pub struct Flattener {
    catalog: Arc<Catalog>,
    tree: Tree,
}

impl Flattener {
    /// A flattener into the selected tables of `catalog`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when the schemas contradict each other.
    pub fn new(catalog: Arc<Catalog>) -> Result<Flattener> {
        let tree = Tree::compile(&catalog)?;
        Ok(Flattener { catalog, tree })
    }

    /// The tables that it writes.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Flattens the raw `records` of page `page` of chain `chain`. What cannot be read is in [`FlatPage::bad`],
    /// what does not fit a column is in its row's `extra`; neither is an error.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when one day's column would exceed 2 GiB of text, which no page of the API does;
    /// otherwise [`crate::error::Kind::Bug`] only.
    pub fn flatten(&self, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        self.rows(chain, page, records, |object| self.start(object))
    }

    /// Flattens the raw `records` of a dimension, which all are rows of its snapshot of `day`.
    ///
    /// # Errors
    /// Like [`Flattener::flatten`].
    pub fn snapshot(&self, day: Day, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
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
        let mut unknown = Unknown::default();
        for (index, raw) in (0..).zip(records) {
            let position = Position { chain, page, index };
            let record = record::parse(&raw).and_then(|object| {
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
            Walk::record(&self.tree, &object, builder, &mut unknown)?;
            builder.end_record(key)?;
        }
        let days = days.into_iter().map(|(day, builder)| builder.finish(day, &self.catalog));
        Ok(FlatPage { days: days.collect::<Result<_>>()?, bad, unknown: unknown.0 })
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
