//! The schemas as the reader wants them: flat arrays with places in place of names. [`super::compile`] makes it.

use super::keys::{Keys, Literal};
use super::schema::{ColumnType, Fold};

/// All defined tables, selected or not, parents before children; the first is the record itself.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tables: Vec<TablePlan>,
    /// What the fields of every object are.
    pub(super) nodes: Vec<Node>,
    /// The types of all columns of all tables, hidden ones too.
    pub(super) columns: Vec<ColumnType>,
    /// Their names, with that of the table.
    pub(super) names: Vec<String>,
    /// The metrics that fold into any table.
    pub(super) metrics: Keys,
    /// The columns of the record with its identity, and its start; a dimension has none.
    pub(super) id: usize,
    pub(super) start: Option<usize>,
}

/// How one object, or one entry of a map, becomes a row.
#[derive(Debug)]
pub(super) struct TablePlan {
    /// The table whose rows hold its objects; for the record itself, itself.
    pub(super) parent: usize,
    /// What is handed out of it; `None`: it is not selected.
    pub(super) output: Option<Vec<Output>>,
    /// What the object's fields are.
    pub(super) node: usize,
    /// Its columns, hidden ones too.
    pub(super) columns: Vec<usize>,
    /// Columns with several paths; `None`: nobody wants it.
    pub(super) choices: Vec<Option<usize>>,
    /// Columns that repeat a value of the last child that has one: the own column, the child's.
    pub(super) last: Vec<(usize, usize, usize)>,
    /// Metrics that are folded into each row.
    pub(super) metrics: Option<MetricPlan>,
    /// Set where each row is an emission of a metric.
    pub(super) emission: Option<EmissionPlan>,
    /// Where each row is an entry of a map: the column of its name.
    pub(super) key: Option<usize>,
    /// Whether it is a map with a value; and the value's column.
    pub(super) value: Option<Option<usize>>,
    /// The column for everything else.
    pub(super) extra: Option<usize>,
    /// Whether only `last` columns above look at it; then nothing in it is noted.
    pub(super) quiet: bool,
}

/// What a selected column is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    /// A column of its own rows.
    Own(usize),
    /// The place of the row, or of the row above it in this table.
    Ordinal(usize),
    /// A column of the row above it in this table.
    Above(usize, usize),
}

/// What the fields of an object are.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Table and path, for reports: `sessions.flow`.
    pub(super) place: String,
    pub(super) fields: Vec<Field>,
    /// Their names.
    pub(super) keys: Keys,
    /// Their names in snake case, as the Python SDK writes them.
    pub(super) snake: Keys,
    /// Of the record itself: fields that show it to be written so.
    pub(super) signals: Vec<Box<[u8]>>,
    /// Where the guesses of this node begin among all guesses: one for its beginning, one behind each field.
    pub(super) guesses: usize,
    /// Whether unknown fields are metrics, and whether those may have a fraction.
    pub(super) other_metrics: bool,
    pub(super) other_decimals: bool,
    /// Whether unknown texts have a column; and the column.
    pub(super) other_texts: Option<Option<usize>>,
}

/// What a field is; the type of its value decides between the readings.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) literal: Literal,
    pub(super) leaf: Option<Leaf>,
    pub(super) object: Option<usize>,
    pub(super) rows: Option<Rows>,
}

/// A field that fills a column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaf {
    /// `None`: recognised, and dropped.
    pub(super) column: Option<usize>,
    /// Whether a value that does not fit is kept: the column is selected.
    pub(super) kept: bool,
    /// Of a column with several paths: which of `choices`, and the place in its order of preference.
    pub(super) choice: Option<(usize, usize)>,
}

/// A field whose elements, or entries, are rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) table: usize,
    pub(super) is_map: bool,
    /// Whether the table itself is selected; a misfit is kept in the parent's `extra` only then.
    pub(super) selected: bool,
    /// Whether anything below is wanted at all.
    pub(super) wanted: bool,
}

/// The metric columns of a table, and its columns for what has none.
#[derive(Debug, Default)]
pub(super) struct MetricPlan {
    /// Of each metric of the plan: what it is here, if anything.
    pub(super) metrics: Vec<Option<Metric>>,
    /// The column for all other metrics.
    pub(super) other: Option<usize>,
    /// The column for those that are no integers.
    pub(super) decimals: Option<usize>,
    /// The column for texts.
    pub(super) texts: Option<usize>,
}

/// A metric of a table: its column, if that is selected, and how its emissions become one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) column: Option<usize>,
    pub(super) fold: Fold,
}

/// Where a row has the name and the value of its emission.
#[derive(Debug)]
pub(super) struct EmissionPlan {
    pub(super) name: usize,
    pub(super) value: usize,
    /// Parent table and path, for reports: `sessions.metrics`.
    pub(super) place: String,
    /// The tables at or above it that have metrics.
    pub(super) into: Vec<usize>,
}
