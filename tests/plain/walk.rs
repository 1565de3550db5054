//! One walk over a record: every field goes to its column, its table or `extra`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cell::{Cell, Scalar};
use super::fold::Folds;
use super::record::Object;
use super::tables::{DayBuilder, RowAt};
use super::tree::{Field, Leaf, Lookup, Node, Rows, TablePlan, Tree};
use convlake::error::{Error, Result};
use convlake::flatten::schema::ColumnType;
use convlake::flatten::{Catalog, Oddities, is_name};

/// Where the statistics of a metric keep its value, best first.
const TOTALS: [&str; 2] = ["total", "sum"];

/// Counts field `name` at `place`. A name that does not look like one may be data, and is not repeated.
fn count(counts: &mut BTreeMap<String, u64>, place: &str, name: &str) {
    *counts.entry(format!("{place}.{}", if is_name(name) { name } else { "?" })).or_default() += 1;
}

/// The walk over one record.
pub(crate) struct Walk<'t, 'r, 'o> {
    tree: &'t Tree,
    catalog: &'t Catalog,
    out: &'o mut DayBuilder,
    odd: &'o mut Oddities,
    /// The open rows, from the record down.
    levels: Vec<Level<'t, 'r>>,
}

/// An open row, as the rows below see it.
struct Level<'t, 'r> {
    ordinal: i64,
    shared: Vec<Option<Cell<'r>>>,
    folds: Option<Folds<'t, 'r>>,
}

/// An open row, as its own fields see it.
struct Open {
    /// `None`: the table is not selected.
    at: Option<RowAt>,
    /// Of each column with several paths, the one that won.
    chosen: Vec<Option<usize>>,
}

/// The JSON that found no column, to be kept under its name.
type Left = Option<Value>;

impl<'t, 'r, 'o> Walk<'t, 'r, 'o> {
    /// Writes all rows of `record` to `out`.
    pub(crate) fn record(
        tree: &'t Tree,
        catalog: &'t Catalog,
        record: &'r Object,
        out: &'o mut DayBuilder,
        odd: &'o mut Oddities,
    ) -> Result<()> {
        Walk { tree, catalog, out, odd, levels: Vec::new() }.row(0, record, 0)
    }

    /// Writes the row of `object` and all rows below it.
    fn row(&mut self, table: usize, object: &'r Object, ordinal: i64) -> Result<()> {
        let plan = &self.tree.tables[table];
        let at = self.open(plan, ordinal)?;
        if let Some(level) = self.levels.last_mut() {
            level.shared.extend(plan.shared.iter().map(|lookup| find(lookup, object).map(|(_, cell)| cell)));
        }
        if let Some(emission) = &plan.emission {
            let name = find(&emission.name, object);
            let value = find(&emission.value, object);
            if let (Some((_, Cell::Text(name))), Some((_, Cell::Int(value)))) = (name, value) {
                self.emit(&emission.place, name, value);
            }
        }
        let mut chosen = Vec::with_capacity(plan.choices.len());
        for (column, lookup) in &plan.choices {
            let found = find(lookup, object);
            if let Some((_, cell)) = &found {
                self.put(at, *column, cell)?;
            }
            chosen.push(found.map(|(rank, _)| rank));
        }
        let left = self.object(&plan.node, object, &Open { at, chosen })?;
        for (column, path, lookup) in &plan.last {
            if let Some(cell) = last(path, lookup, object) {
                self.put(at, Some(*column), &cell)?;
            }
        }
        self.close(plan, at, &left)
    }

    /// Writes a row for each entry of a map.
    fn entries(&mut self, rows: Rows, object: &'r Object) -> Result<()> {
        let plan = &self.tree.tables[rows.table];
        let Some(value) = plan.value.filter(|_| rows.wanted) else { return Ok(()) };
        for (ordinal, (name, entry)) in (0..).zip(object) {
            let at = self.open(plan, ordinal)?;
            self.put(at, plan.key, &Cell::Text(name))?;
            let mut left = Object::new();
            match cell(value.kind, entry) {
                Some(cell) => self.put(at, value.column, &cell)?,
                None if entry.is_null() || value.column.is_none() => {}
                None => {
                    count(&mut self.odd.wrong_type, &plan.node.place, "value");
                    left.insert("value".to_owned(), entry.clone());
                }
            }
            self.close(plan, at, &left)?;
        }
        Ok(())
    }

    /// Opens a row and fills what it takes from the rows above.
    fn open(&mut self, plan: &'t TablePlan, ordinal: i64) -> Result<Option<RowAt>> {
        let at = plan.output.map(|table| self.out.open_row(table));
        let folds = plan.metrics.as_ref().map(Folds::new);
        self.levels.push(Level { ordinal, shared: Vec::with_capacity(plan.shared.len()), folds });
        if let Some(at) = at {
            for &(column, level) in &plan.ordinals {
                self.out.put(at, column, &Cell::Int(self.levels[level].ordinal))?;
            }
            for &(column, level, slot) in &plan.inherited {
                if let Some(cell) = &self.levels[level].shared[slot] {
                    self.out.put(at, column, cell)?;
                }
            }
        }
        Ok(at)
    }

    /// Fills what is known only now, and closes the row.
    fn close(&mut self, plan: &TablePlan, at: Option<RowAt>, left: &Object) -> Result<()> {
        let level = self.levels.pop();
        let (Some(level), Some(at)) = (level, at) else { return Ok(()) };
        if let Some(folds) = level.folds {
            for (column, value) in folds.columns() {
                self.out.put(at, column, &Cell::Int(value))?;
            }
            for column in folds.overflowed() {
                let table = &self.catalog.tables()[at.table];
                let name = format!("{}.{}", table.name, table.columns[column].name);
                *self.odd.overflowed.entry(name).or_default() += 1;
            }
            for (column, entries) in folds.maps() {
                self.out.put_map(at, column, entries.into_iter())?;
            }
        }
        if let Some(column) = plan.extra.filter(|_| !left.is_empty()) {
            let json = serde_json::to_string(left).map_err(|e| Error::bug("`extra` is not JSON").source(e))?;
            self.out.put(at, column, &Cell::Text(&json))?;
        }
        Ok(())
    }

    /// Sends each field to its place; what found none comes back, in order.
    fn object(&mut self, node: &'t Node, object: &'r Object, row: &Open) -> Result<Object> {
        let mut left = Object::new();
        for (name, value) in object {
            let rest = match node.fields.get(name.as_str()) {
                Some(field) => self.field(node, field, name, value, row)?,
                None => match value {
                    Value::String(text) if node.other_texts => {
                        self.folds()?.add_text(name, text);
                        None
                    }
                    _ => {
                        count(&mut self.odd.unknown, &node.place, name);
                        if node.other_metrics { self.other_metric(node, name, value)? } else { Some(value.clone()) }
                    }
                },
            };
            if let Some(rest) = rest {
                left.insert(name.clone(), rest);
            }
        }
        Ok(left)
    }

    fn field(&mut self, node: &Node, field: &'t Field, name: &str, value: &'r Value, row: &Open) -> Result<Left> {
        let settled = match (value, field) {
            (Value::Null, _) => true,
            (Value::Object(inner), Field { object: Some(node), .. }) => {
                let left = self.object(node, inner, row)?;
                return Ok((!left.is_empty()).then_some(Value::Object(left)));
            }
            (Value::Object(map), Field { rows: Some(rows), .. }) if rows.is_map => {
                self.entries(*rows, map)?;
                true
            }
            (Value::Array(items), Field { rows: Some(rows), .. }) if !rows.is_map => {
                return self.rows(node, *rows, name, items);
            }
            (_, Field { leaf: Some(leaf), .. }) => self.leaf(*leaf, value, row)?,
            (_, Field { rows: Some(rows), .. }) => !rows.selected,
            _ => false,
        };
        if settled {
            return Ok(None);
        }
        let late = |leaf: Leaf| {
            let chosen = leaf.choice.and_then(|(choice, _)| row.chosen[choice]);
            chosen.is_some() && cell(leaf.kind, value).is_some()
        };
        let counts = match field.leaf.is_some_and(late) {
            true => &mut self.odd.unknown,
            false => &mut self.odd.wrong_type,
        };
        count(counts, &node.place, name);
        Ok(Some(value.clone()))
    }

    /// Whether `value` needs no place in `extra`: it is in its column, or the column is not selected.
    fn leaf(&mut self, leaf: Leaf, value: &'r Value, row: &Open) -> Result<bool> {
        if leaf.column.is_none() {
            return Ok(true);
        }
        if let Some((choice, rank)) = leaf.choice {
            return Ok(row.chosen[choice] == Some(rank));
        }
        match cell(leaf.kind, value) {
            Some(cell) => self.put(row.at, leaf.column, &cell).map(|()| true),
            None => Ok(false),
        }
    }

    /// Writes the rows of an array. Elements that are no objects come back, each at its place.
    fn rows(&mut self, node: &Node, rows: Rows, name: &str, items: &'r [Value]) -> Result<Left> {
        if !rows.wanted {
            return Ok(None);
        }
        let mut misfits = Vec::new();
        for (place, (ordinal, item)) in (0..).zip(items).enumerate() {
            match item {
                Value::Object(object) => self.row(rows.table, object, ordinal)?,
                Value::Null => {}
                _ if !rows.selected => {}
                misfit => {
                    count(&mut self.odd.wrong_type, &node.place, name);
                    misfits.resize(place, Value::Null);
                    misfits.push(misfit.clone());
                }
            }
        }
        Ok((!misfits.is_empty()).then_some(Value::Array(misfits)))
    }

    /// Takes a metric of an embedded object: a number, or statistics whose other fields come back.
    fn other_metric(&mut self, node: &Node, name: &'r str, value: &'r Value) -> Result<Left> {
        let Value::Object(statistics) = value else {
            return Ok((!self.other_number(node, name, value)?).then(|| value.clone()));
        };
        for total in TOTALS {
            let Some(number) = statistics.get(total) else { continue };
            if self.other_number(node, name, number)? {
                let rest: Object = statistics.iter().filter(|(key, _)| *key != total).map(owned).collect();
                return Ok((!rest.is_empty()).then_some(Value::Object(rest)));
            }
        }
        Ok(Some(value.clone()))
    }

    /// Whether `value` is a number that is taken.
    fn other_number(&mut self, node: &Node, name: &'r str, value: &'r Value) -> Result<bool> {
        let folds = self.folds()?;
        if let Some(Cell::Int(int)) = cell(ColumnType::Int64, value) {
            folds.add_other(name, int);
            return Ok(true);
        }
        match cell(ColumnType::Double, value) {
            Some(Cell::Double(double)) if node.other_decimals && double.abs() < 2_f64.powi(63) => {
                folds.add_decimal(name, double);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The folds of the row that is being read.
    fn folds(&mut self) -> Result<&mut Folds<'t, 'r>> {
        let folds = self.levels.last_mut().and_then(|level| level.folds.as_mut());
        folds.ok_or_else(|| Error::bug("a row without metrics has other ones"))
    }

    /// Folds one emission into every open row that has metric columns.
    fn emit(&mut self, place: &str, name: &'r str, value: i64) {
        let mut known = false;
        for folds in self.levels.iter_mut().filter_map(|level| level.folds.as_mut()) {
            known |= folds.add(name, value);
        }
        if !known {
            count(&mut self.odd.unknown, place, name);
        }
    }

    fn put(&mut self, at: Option<RowAt>, column: Option<usize>, cell: &Cell<'_>) -> Result<()> {
        match (at, column) {
            (Some(at), Some(column)) => self.out.put(at, column, cell),
            _ => Ok(()),
        }
    }
}

/// The first value that fits, and the place of its path in the order of preference.
pub(crate) fn find<'r>(lookup: &Lookup, object: &'r Object) -> Option<(usize, Cell<'r>)> {
    let at = |path: &[Box<str>]| cell(lookup.kind, descend(path, object)?);
    lookup.paths.iter().enumerate().find_map(|(rank, path)| Some((rank, at(path)?)))
}

/// What the last element of the array at `path` that has a fitting value has.
fn last<'r>(path: &[Box<str>], lookup: &Lookup, object: &'r Object) -> Option<Cell<'r>> {
    let items = descend(path, object)?.as_array()?;
    items.iter().rev().filter_map(Value::as_object).find_map(|item| find(lookup, item)).map(|(_, cell)| cell)
}

fn descend<'r>(path: &[Box<str>], object: &'r Object) -> Option<&'r Value> {
    let (last, above) = path.split_last()?;
    let mut object = object;
    for name in above {
        object = object.get(&**name)?.as_object()?;
    }
    object.get(&**last)
}

/// `value` as a value of `kind`, if it is one. A list is taken whole, with its nulls, or not at all.
fn cell(kind: ColumnType, value: &Value) -> Option<Cell<'_>> {
    match (kind.item(), value) {
        (None, Value::String(text)) => Cell::of(kind, Scalar::Text(text)),
        (None, Value::Number(number)) => Cell::of(kind, Scalar::Number(number.as_str())),
        (None, Value::Bool(boolean)) => Cell::of(kind, Scalar::Boolean(*boolean)),
        (Some(item), Value::Array(values)) => {
            let cells = values.iter().map(|value| match value {
                Value::Null => Some(None),
                value => cell(item, value).map(Some),
            });
            cells.collect::<Option<_>>().map(Cell::List)
        }
        _ => None,
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}
