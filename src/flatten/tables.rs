//! The tables of one day while they grow.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};

use super::batch::{DayBatch, RecordKey, TableRows};
use super::catalog::Catalog;
use super::cell::Cell;
use super::columns::ColumnBuilder;
use crate::error::{Error, Result};
use crate::time::Day;

/// A row that is being written: its table and its place in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowAt {
    table: usize,
    row: usize,
}

/// All selected tables of one day.
#[derive(Debug)]
pub(super) struct DayBuilder {
    keys: Vec<RecordKey>,
    tables: Vec<TableBuilder>,
}

#[derive(Debug)]
struct TableBuilder {
    columns: Vec<ColumnBuilder>,
    rows: usize,
    offsets: Vec<u32>,
}

impl DayBuilder {
    pub(super) fn new(catalog: &Catalog) -> DayBuilder {
        let tables = catalog.tables().iter().map(|table| TableBuilder {
            columns: table.columns.iter().map(|column| ColumnBuilder::new(column.kind)).collect(),
            rows: 0,
            offsets: vec![0],
        });
        DayBuilder { keys: Vec::new(), tables: tables.collect() }
    }

    /// Opens the next row of `table`.
    pub(super) fn open_row(&mut self, table: usize) -> RowAt {
        let rows = &mut self.tables[table].rows;
        *rows += 1;
        RowAt { table, row: *rows - 1 }
    }

    /// Puts `cell` into a column of an open row.
    pub(super) fn put(&mut self, at: RowAt, column: usize, cell: &Cell<'_>) -> Result<()> {
        self.tables[at.table].columns[column].put(at.row, cell)
    }

    /// Puts a map into a column of an open row.
    pub(super) fn put_map<'m>(
        &mut self,
        at: RowAt,
        column: usize,
        entries: impl Iterator<Item = (&'m str, Option<i64>)>,
    ) -> Result<()> {
        self.tables[at.table].columns[column].put_map(at.row, entries)
    }

    /// Ends a record: all rows since the last one are its own.
    pub(super) fn end_record(&mut self, key: RecordKey) -> Result<()> {
        self.keys.push(key);
        for table in &mut self.tables {
            let end = u32::try_from(table.rows).map_err(|e| Error::bug("too many rows in one page").source(e))?;
            table.offsets.push(end);
        }
        Ok(())
    }

    /// The finished batch.
    pub(super) fn finish(self, day: Day, catalog: &Catalog) -> Result<DayBatch> {
        let tables = self.tables.into_iter().zip(catalog.schemas()).map(|(table, schema)| {
            let columns: Result<Vec<_>> = table.columns.into_iter().map(|column| column.finish(table.rows)).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(table.rows));
            let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)
                .map_err(|e| Error::bug("the columns do not match their schema").source(e))?;
            Ok(TableRows { rows, offsets: table.offsets })
        });
        Ok(DayBatch { day, keys: self.keys, tables: tables.collect::<Result<_>>()? })
    }
}
