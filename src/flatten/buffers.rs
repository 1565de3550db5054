//! Growing columns. Each keeps the rows that have a value beside the values, so that a row which brings nothing to a
//! column costs nothing, and what a bad record has put in is taken out again by cutting the end off.
//! They are reused time after time.

use super::cursor::Text;
use super::schema::ColumnType;

/// Values of a fixed size.
#[derive(Debug)]
pub(super) struct Fixed<T> {
    pub(super) rows: Vec<u32>,
    pub(super) values: Vec<T>,
}

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) rows: Vec<u32>,
    /// Where in `bytes` each text ends. A sheet has less than 2 GiB.
    pub(super) ends: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

/// Lists: each item stands in the row of `items` that is its place among all items.
#[derive(Debug, Default)]
pub(super) struct Lists<I> {
    pub(super) rows: Vec<u32>,
    /// Where in `items` each list ends.
    pub(super) ends: Vec<u32>,
    pub(super) items: I,
}

/// Names with their values, if they fit.
#[derive(Debug, Default)]
pub(super) struct Entries<V> {
    pub(super) names: Texts,
    pub(super) values: V,
}

/// One column of a table.
#[derive(Debug)]
pub(super) enum Column {
    Timestamp(Fixed<i64>),
    Int64(Fixed<i64>),
    Double(Fixed<f64>),
    Boolean(Fixed<bool>),
    String(Texts),
    StringList(Box<Lists<Texts>>),
    Int64List(Box<Lists<Fixed<i64>>>),
    Int64Map(Box<Lists<Entries<Fixed<i64>>>>),
    DoubleMap(Box<Lists<Entries<Fixed<f64>>>>),
    StringMap(Box<Lists<Entries<Texts>>>),
}

/// What grows row by row and can be cut off at a row.
pub(super) trait Grows {
    /// Takes out the values of row `row` and all behind it.
    fn cut(&mut self, row: u32);
    /// Memory held by what has grown.
    fn bytes(&self) -> usize;
}

impl<T> Default for Fixed<T> {
    fn default() -> Fixed<T> {
        Fixed { rows: Vec::new(), values: Vec::new() }
    }
}

impl<T: Copy> Fixed<T> {
    #[inline(always)]
    pub(super) fn put(&mut self, row: u32, value: T) {
        self.rows.push(row);
        self.values.push(value);
    }

    /// The value of `row`, if that is the last one.
    pub(super) fn last(&self, row: u32) -> Option<T> {
        self.values.last().copied().filter(|_| self.rows.last() == Some(&row))
    }
}

impl Texts {
    #[inline(always)]
    pub(super) fn put(&mut self, row: u32, text: Text<'_>) {
        if text.escaped {
            text.append_to(&mut self.bytes);
        } else {
            self.bytes.extend_from_slice(text.raw);
        }
        self.end(row);
    }

    /// Ends a text that has been appended to `bytes`.
    #[inline(always)]
    pub(super) fn end(&mut self, row: u32) {
        self.rows.push(row);
        self.ends.push(self.bytes.len() as i32);
    }

    /// The last text and its row.
    pub(super) fn last(&self) -> Option<(u32, &[u8])> {
        let row = *self.rows.last()?;
        let start = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before]);
        Some((row, &self.bytes[start as usize..]))
    }
}

impl<I> Lists<I> {
    pub(super) fn next_item(&self) -> u32 {
        self.ends.last().copied().unwrap_or_default()
    }
}

impl<V> Lists<Entries<V>> {
    /// Puts a map into `row`, each value as `put` puts it.
    pub(super) fn put<'m, T>(
        &mut self,
        row: u32,
        entries: impl Iterator<Item = (&'m Vec<u8>, T)>,
        put: impl Fn(&mut V, u32, T),
    ) {
        let mut item = self.next_item();
        for (name, value) in entries {
            self.items.names.bytes.extend_from_slice(name);
            self.items.names.end(item);
            put(&mut self.items.values, item, value);
            item += 1;
        }
        self.rows.push(row);
        self.ends.push(item);
    }
}

impl<T> Grows for Fixed<T> {
    fn cut(&mut self, row: u32) {
        let kept = self.rows.partition_point(|&before| before < row);
        self.rows.truncate(kept);
        self.values.truncate(kept);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.rows.as_slice()) + size_of_val(self.values.as_slice())
    }
}

impl Grows for Texts {
    fn cut(&mut self, row: u32) {
        let kept = self.rows.partition_point(|&before| before < row);
        self.rows.truncate(kept);
        self.ends.truncate(kept);
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    fn bytes(&self) -> usize {
        size_of_val(self.rows.as_slice()) + size_of_val(self.ends.as_slice()) + self.bytes.len()
    }
}

impl<V: Grows> Grows for Entries<V> {
    fn cut(&mut self, row: u32) {
        self.names.cut(row);
        self.values.cut(row);
    }

    fn bytes(&self) -> usize {
        self.names.bytes() + self.values.bytes()
    }
}

impl<I: Grows> Grows for Lists<I> {
    fn cut(&mut self, row: u32) {
        let kept = self.rows.partition_point(|&before| before < row);
        self.rows.truncate(kept);
        self.ends.truncate(kept);
        self.items.cut(self.next_item());
    }

    fn bytes(&self) -> usize {
        size_of_val(self.rows.as_slice()) + size_of_val(self.ends.as_slice()) + self.items.bytes()
    }
}

impl Grows for Column {
    fn cut(&mut self, row: u32) {
        match self {
            Column::Timestamp(column) | Column::Int64(column) => column.cut(row),
            Column::Double(column) => column.cut(row),
            Column::Boolean(column) => column.cut(row),
            Column::String(column) => column.cut(row),
            Column::StringList(column) => column.cut(row),
            Column::Int64List(column) => column.cut(row),
            Column::Int64Map(column) => column.cut(row),
            Column::DoubleMap(column) => column.cut(row),
            Column::StringMap(column) => column.cut(row),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Column::Timestamp(column) | Column::Int64(column) => column.bytes(),
            Column::Double(column) => column.bytes(),
            Column::Boolean(column) => column.bytes(),
            Column::String(column) => column.bytes(),
            Column::StringList(column) => column.bytes(),
            Column::Int64List(column) => column.bytes(),
            Column::Int64Map(column) => column.bytes(),
            Column::DoubleMap(column) => column.bytes(),
            Column::StringMap(column) => column.bytes(),
        }
    }
}

impl Column {
    pub(super) fn new(kind: ColumnType) -> Column {
        match kind {
            ColumnType::Timestamp => Column::Timestamp(Fixed::default()),
            ColumnType::Int64 => Column::Int64(Fixed::default()),
            ColumnType::Double => Column::Double(Fixed::default()),
            ColumnType::Boolean => Column::Boolean(Fixed::default()),
            ColumnType::String => Column::String(Texts::default()),
            ColumnType::StringList => Column::StringList(Box::default()),
            ColumnType::Int64List => Column::Int64List(Box::default()),
            ColumnType::Int64Map => Column::Int64Map(Box::default()),
            ColumnType::DoubleMap => Column::DoubleMap(Box::default()),
            ColumnType::StringMap => Column::StringMap(Box::default()),
        }
    }

    /// The rows that have a value.
    pub(super) fn rows(&self) -> &[u32] {
        match self {
            Column::Timestamp(column) | Column::Int64(column) => &column.rows,
            Column::Double(column) => &column.rows,
            Column::Boolean(column) => &column.rows,
            Column::String(column) => &column.rows,
            Column::StringList(column) => &column.rows,
            Column::Int64List(column) => &column.rows,
            Column::Int64Map(column) => &column.rows,
            Column::DoubleMap(column) => &column.rows,
            Column::StringMap(column) => &column.rows,
        }
    }
}

/// Puts the last value of column `from` into row `row` of column `to`, if the row that it stands in is wanted.
pub(super) fn repeat_last(columns: &mut [Column], from: usize, to: usize, row: u32, wanted: impl Fn(u32) -> bool) {
    let Ok([from, to]) = columns.get_disjoint_mut([from, to]) else { return };
    let last = |rows: &[u32]| rows.last().is_some_and(|&row| wanted(row));
    match (from, to) {
        (Column::String(from), Column::String(to)) => {
            if let Some((_, text)) = from.last().filter(|&(row, _)| wanted(row)) {
                to.put(row, Text { raw: text, escaped: false });
            }
        }
        (Column::Timestamp(from), Column::Timestamp(to)) | (Column::Int64(from), Column::Int64(to)) => {
            if let Some(&value) = from.values.last().filter(|_| last(&from.rows)) {
                to.put(row, value);
            }
        }
        (Column::Double(from), Column::Double(to)) => {
            if let Some(&value) = from.values.last().filter(|_| last(&from.rows)) {
                to.put(row, value);
            }
        }
        (Column::Boolean(from), Column::Boolean(to)) => {
            if let Some(&value) = from.values.last().filter(|_| last(&from.rows)) {
                to.put(row, value);
            }
        }
        _ => {}
    }
}
