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
        let mut days: BTreeMap<Day, DayBuilder> = BTreeMap::new();
        let mut bad = Vec::new();
        let mut unknown = Unknown::default();
        for (index, raw) in (0..).zip(records) {
            let position = Position { chain, page, index };
            let record = record::parse(&raw).and_then(|object| Ok((self.identify(&object, position)?, object)));
            let ((day, key), object) = match record {
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

    /// The record's key and the day that owns it.
    fn identify(&self, object: &Object, position: Position) -> Result<(Day, RecordKey), BadReason> {
        let id = match find(&self.tree.id, object) {
            Some((_, Cell::Text(id))) if !id.is_empty() => id.into(),
            _ => return Err(BadReason::NoId),
        };
        let (day, start) = match find(&self.tree.start, object) {
            Some((_, Cell::Micros(start))) => (Day::of_micros(start).ok_or(BadReason::NoStart)?, start),
            _ => return Err(BadReason::NoStart),
        };
        Ok((day, RecordKey { start, id, position }))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
