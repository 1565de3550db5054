//! The tables of one day while they grow.

use std::sync::Arc;

use arrow::array::Array;

use super::cell::Cell;
use super::columns::ColumnBuilder;
use convlake::error::{Error, Result};
use convlake::flatten::Catalog;
use convlake::flatten::batch::{DayBatch, RecordKey, TableRows};
use convlake::flatten::rows::Rows;
use convlake::time::Day;

/// A row that is being written: its table and its place in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowAt {
    pub(crate) table: usize,
    row: usize,
}

/// All selected tables of one day.
#[derive(Debug)]
pub(crate) struct DayBuilder {
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
    pub(crate) fn new(catalog: &Catalog) -> DayBuilder {
        let tables = catalog.tables().iter().map(|table| TableBuilder {
            columns: table.columns.iter().map(|column| ColumnBuilder::new(column.kind)).collect(),
            rows: 0,
            offsets: vec![0],
        });
        DayBuilder { keys: Vec::new(), tables: tables.collect() }
    }

    /// Opens the next row of `table`.
    pub(crate) fn open_row(&mut self, table: usize) -> RowAt {
        let rows = &mut self.tables[table].rows;
        *rows += 1;
        RowAt { table, row: *rows - 1 }
    }

    /// Puts `cell` into a column of an open row.
    pub(crate) fn put(&mut self, at: RowAt, column: usize, cell: &Cell<'_>) -> Result<()> {
        self.tables[at.table].columns[column].put(at.row, cell)
    }

    /// Puts a map into a column of an open row.
    pub(crate) fn put_map<'m>(
        &mut self,
        at: RowAt,
        column: usize,
        entries: impl Iterator<Item = (&'m str, Option<Cell<'m>>)>,
    ) -> Result<()> {
        self.tables[at.table].columns[column].put_map(at.row, entries)
    }

    /// Ends a record: all rows since the last one are its own.
    pub(crate) fn end_record(&mut self, key: RecordKey) -> Result<()> {
        self.keys.push(key);
        for table in &mut self.tables {
            let end = u32::try_from(table.rows).map_err(|e| Error::bug("too many rows in one page").source(e))?;
            table.offsets.push(end);
        }
        Ok(())
    }

    /// The finished batch.
    pub(crate) fn finish(self, day: Day, catalog: &Catalog) -> Result<DayBatch> {
        let tables = self.tables.into_iter().zip(catalog.schemas()).map(|(table, schema)| {
            let whole = |column: ColumnBuilder| {
                let array = column.finish(table.rows)?;
                Ok((array.null_count() < array.len()).then_some(array))
            };
            let columns = table.columns.into_iter().map(whole).collect::<Result<_>>()?;
            let rows = Rows::new(Arc::clone(schema), table.rows, columns)?;
            Ok(TableRows { rows: Arc::new(rows), offsets: table.offsets })
        });
        Ok(DayBatch { day, keys: self.keys, tables: tables.collect::<Result<_>>()? })
    }
}
