//! The records of one day are handed out: their rows as batches. What rows repeat from the rows above them stands once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, Int64Array, UInt32Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, UInt32Type};

use super::arrays::{self, Rows as Span};
use super::batch::TableRows;
use super::catalog::Catalog;
use super::plan::{Output, Plan};
use super::rows::Rows;
use super::scratch::Scratch;
use crate::error::{Error, Result};

/// Of each row of a table, a row of a table above it.
type Keys = ScalarBuffer<<UInt32Type as ArrowPrimitiveType>::Native>;

/// Some records of a page: those that a day owns.
pub(super) struct Taken<'s> {
    plan: &'s Plan,
    from: &'s Scratch,
    records: &'s [Range<usize>],
    /// Of each table, where the records' rows are.
    spans: Vec<Vec<Span>>,
    arrays: HashMap<usize, Option<ArrayRef>>,
    keys: HashMap<(usize, usize), Keys>,
    ordinals: HashMap<usize, ArrayRef>,
}

impl<'s> Taken<'s> {
    /// The rows of `records` in every selected table of `catalog`, in its order.
    pub(super) fn tables(
        plan: &'s Plan,
        from: &'s Scratch,
        records: &'s [Range<usize>],
        catalog: &Catalog,
    ) -> Result<Vec<TableRows>> {
        let spans = |table| records.iter().map(|records| from.rows_of(table, records)).collect::<Result<Vec<_>>>();
        let spans = (0..plan.tables.len()).map(spans).collect::<Result<_>>()?;
        let none = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut taken = Taken { plan, from, records, spans, arrays: none.0, keys: none.1, ordinals: none.2 };
        let selected = plan.tables.iter().enumerate().filter_map(|(table, plan)| Some((table, plan.output.as_ref()?)));
        let table = |((table, outputs), schema): ((usize, &Vec<Output>), _)| {
            let len = taken.len(table);
            let columns = outputs.iter().map(|&output| taken.column(table, output)).collect::<Result<_>>()?;
            Ok(TableRows {
                rows: Arc::new(Rows::new(Arc::clone(schema), len, columns)?),
                offsets: taken.offsets(table),
            })
        };
        selected.zip(catalog.schemas()).map(table).collect()
    }

    fn len(&self, table: usize) -> usize {
        self.spans[table].iter().map(ExactSizeIterator::len).sum()
    }

    /// Where the rows of each record are.
    fn offsets(&self, table: usize) -> Vec<u32> {
        let ends = &self.from.tables[table].ends;
        let mut offsets = vec![0];
        let mut base = 0;
        for (records, span) in self.records.iter().zip(&self.spans[table]) {
            offsets.extend(ends[records.clone()].iter().map(|end| end - span.start + base));
            base += span.end - span.start;
        }
        offsets
    }

    fn column(&mut self, table: usize, output: Output) -> Result<Option<ArrayRef>> {
        if self.len(table) == 0 {
            return Ok(None);
        }
        match output {
            Output::Own(column) => self.array(table, column),
            Output::Ordinal(above) => {
                let ordinals = Arc::clone(self.ordinals.entry(above).or_insert_with(|| {
                    let all = &self.from.tables[above].ordinals;
                    let mut own = Vec::with_capacity(self.spans[above].iter().map(ExactSizeIterator::len).sum());
                    for span in &self.spans[above] {
                        own.extend(
                            all[span.start as usize..span.end as usize].iter().map(|&ordinal| i64::from(ordinal)),
                        );
                    }
                    Arc::new(Int64Array::from(own))
                }));
                if above == table { Ok(Some(ordinals)) } else { self.repeated(table, above, &ordinals) }
            }
            Output::Above(above, column) => match self.array(above, column)? {
                Some(array) if above != table => self.repeated(table, above, &array),
                array => Ok(array),
            },
        }
    }

    fn array(&mut self, table: usize, column: usize) -> Result<Option<ArrayRef>> {
        if let Some(known) = self.arrays.get(&column) {
            return Ok(known.clone());
        }
        let array = arrays::array(&self.from.columns[column], &self.spans[table])?;
        self.arrays.insert(column, array.clone());
        Ok(array)
    }

    /// What rows of `table` have from the rows of `above`: texts are not copied.
    fn repeated(&mut self, table: usize, above: usize, array: &ArrayRef) -> Result<Option<ArrayRef>> {
        let broken = |e| Error::bug("a row has none above it").source(e);
        let keys = self.keys(table, above)?;
        if *array.data_type() != DataType::Utf8 {
            let array = take(array, &UInt32Array::new(keys, None), None).map_err(broken)?;
            return Ok((array.null_count() < array.len()).then_some(array));
        }
        let nulls =
            array.nulls().map(|nulls| keys.iter().map(|&key| nulls.is_valid(key as usize)).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        if nulls.as_ref().is_some_and(|nulls| nulls.null_count() == nulls.len()) {
            return Ok(None);
        }
        let array = DictionaryArray::try_new(UInt32Array::new(keys, nulls), Arc::clone(array)).map_err(broken)?;
        Ok(Some(Arc::new(array)))
    }

    fn keys(&mut self, table: usize, above: usize) -> Result<Keys> {
        if let Some(known) = self.keys.get(&(table, above)) {
            return Ok(known.clone());
        }
        let parent = self.plan.tables[table].parent;
        let keys: Keys = if parent == above {
            let mut keys = Vec::with_capacity(self.len(table));
            let mut base = 0_u32;
            for (rows, parents) in self.spans[table].iter().zip(&self.spans[parent]) {
                let all = &self.from.tables[table].parents[rows.start as usize..rows.end as usize];
                let shift = base.wrapping_sub(parents.start);
                keys.extend(all.iter().map(|row| row.wrapping_add(shift)));
                base += parents.end - parents.start;
            }
            keys.into()
        } else {
            let (near, far) = (self.keys(table, parent)?, self.keys(parent, above)?);
            near.iter().map(|&row| far[row as usize]).collect()
        };
        self.keys.insert((table, above), keys.clone());
        Ok(keys)
    }
}
