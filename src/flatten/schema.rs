//! The words of `schemas/*.json`: what a table and a column are, and their Arrow types.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

/// The root table: one row a record, and the only table that is always exported.
pub const ROOT_TABLE: &str = "conversations";
/// The column that identifies a conversation; every table of conversations has it.
pub const ID_COLUMN: &str = "conversation_id";
/// The column whose UTC day owns a conversation; every table of conversations has it.
pub const START_COLUMN: &str = "conversation_start";
/// The column that identifies a row of a dimension.
pub const DIMENSION_ID_COLUMN: &str = "id";

/// One table as its schema file describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name, in snake case; also its folder in the lake.
    #[serde(rename = "table")]
    pub name: String,
    /// Counts the incompatible changes of this table.
    pub version: u32,
    /// What one row is; a sentence.
    pub doc: String,
    /// Where its objects are in a record, in the API's names: `participants.sessions.flow.outcomes`. Empty for the
    /// record itself.
    pub place: String,
    /// The columns that tell a row from every other.
    pub primary_key: Vec<String>,
    /// Fields that are not kept, not even in `extra`: addresses that follow from the ids beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Present where a row is one emission of a metric, which folds into the rows above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emission: Option<Emission>,
    /// The columns, in the order of every file.
    pub columns: Vec<Column>,
}

/// Which columns of a row make an emission.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    /// The column with the metric's name.
    pub name: String,
    /// The column with its value.
    pub value: String,
}

/// One column.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, in snake case.
    pub name: String,
    /// Its type; values of another JSON type are kept in `extra`.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Where its values come from.
    pub source: Source,
    /// Whether it places the row (ids and ordinals); such a column cannot be excluded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key: bool,
    /// What its numbers count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Which lakes have it, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lakes: Option<Lakes>,
    /// How many emissions become one value; metric columns only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
    /// What it may say about a person.
    pub pii: Pii,
    /// What it means; a sentence.
    pub doc: String,
}

/// Where the values of a column come from. Paths are in the API's names and relative to the table's objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A field of the object. Of several paths the first that holds a fitting value wins; the others go to `extra`.
    Field(Paths),
    /// The same as a column of a table above, written `table.column`.
    Ancestor(String),
    /// The place of the row, or of the row above it, in the array of the named table; from 0.
    Index(String),
    /// The name of a map's entry; makes the table's place a map instead of an array of objects.
    Key,
    /// The value of that entry.
    Value,
    /// The last row of the child table that has a value in that column, written `table.column`.
    Last(String),
    /// All emissions of this metric at or below the row.
    Metric(String),
    /// All emissions at or below the row that have no column, and the unmapped numbers of an embedded object.
    OtherMetrics {
        /// The embedded object whose fields are metrics: a number each, or an object with a `total` or a `sum`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// The unmapped numbers of an embedded object that are no integers.
    OtherDecimals {
        /// The embedded object, as above.
        field: String,
    },
    /// The texts of the object that have no column, by the names of their fields.
    OtherTexts,
    /// Everything of the object that fits nowhere else.
    Extra,
}

/// One path, or several in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// The only one.
    One(String),
    /// The first that holds a fitting value wins.
    Many(Vec<String>),
}

impl Paths {
    /// The paths in order of preference.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Paths::One(path) => std::slice::from_ref(path),
            Paths::Many(paths) => paths,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Field(paths) => f.write_str(&paths.as_slice().join(" or ")),
            Source::Ancestor(column) => f.write_str(column),
            Source::Index(table) => write!(f, "ordinal of {table}"),
            Source::Key => f.write_str("entry's name"),
            Source::Value => f.write_str("entry's value"),
            Source::Last(column) => write!(f, "last of {column}"),
            Source::Metric(name) => write!(f, "metric {name}"),
            Source::OtherMetrics { .. } => f.write_str("other metrics"),
            Source::OtherDecimals { .. } => f.write_str("other metrics with a fraction"),
            Source::OtherTexts => f.write_str("other texts"),
            Source::Extra => f.write_str("everything else"),
        }
    }
}

/// Gives an enum of words its name in schema files, which is also its text.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// Its name in schema files.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word),*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

words! {
    /// The type of a column.
    ColumnType {
        /// Microseconds since the Unix epoch, UTC.
        Timestamp = "timestamp",
        /// A whole number of 64 bits with a sign.
        Int64 = "int64",
        /// A floating-point number of 64 bits.
        Double = "double",
        /// True or false.
        Boolean = "boolean",
        /// Text; ids and enumerations too.
        String = "string",
        /// A list of texts.
        StringList = "list<string>",
        /// A list of whole numbers.
        Int64List = "list<int64>",
        /// Whole numbers by name.
        Int64Map = "map<string,int64>",
        /// Floating-point numbers by name.
        DoubleMap = "map<string,double>",
        /// Texts by name.
        StringMap = "map<string,string>",
    }
}

words! {
    /// Which lakes have a column that not all have.
    Lakes {
        /// Those of the tutorials' records.
        Tutorials = "tutorials",
        /// Those, and lakes that were made when all lakes had the column.
        Early = "tutorials and early",
    }
}

words! {
    /// The set of columns of a lake. It is fixed when the lake is made: all its files have the same.
    Columns {
        /// For conversation details, as the real API returns them.
        Details = "details",
        /// The same, in a lake that was made when all lakes had the first columns of the tutorials.
        Early = "early",
        /// For the tutorials' records: every column.
        Tutorials = "tutorials",
    }
}

impl Columns {
    /// Whether `column` is one of them.
    pub fn have(self, column: &Column) -> bool {
        match (self, column.lakes) {
            (Columns::Tutorials, _) | (_, None) => true,
            (Columns::Early, Some(lakes)) => lakes == Lakes::Early,
            (Columns::Details, Some(_)) => false,
        }
    }
}

words! {
    /// What the numbers of a column count.
    Unit {
        /// Milliseconds.
        Milliseconds = "ms",
        /// Seconds.
        Seconds = "s",
        /// Things.
        Count = "count",
        /// A share or a rate.
        Ratio = "ratio",
        /// Points of an assessment.
        Score = "score",
    }
}

words! {
    /// What a column may say about a person.
    Pii {
        /// Nothing by itself.
        None = "none",
        /// Which person, to those who have the directory.
        Id = "id",
        /// How to reach a person: numbers and addresses.
        Contact = "contact",
        /// What a person is called.
        Name = "name",
        /// Free text or values that others chose: anything.
        Content = "content",
    }
}

words! {
    /// How the emissions of a metric become one value.
    Fold {
        /// They add up.
        Sum = "sum",
        /// They do not; the largest counts.
        Max = "max",
    }
}

impl ColumnType {
    /// The type of a list's items.
    pub const fn item(self) -> Option<ColumnType> {
        match self {
            ColumnType::StringList => Some(ColumnType::String),
            ColumnType::Int64List => Some(ColumnType::Int64),
            _ => None,
        }
    }

    /// Its Arrow type. Names of inner fields are those of the Parquet specification.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::String => DataType::Utf8,
            ColumnType::StringList => DataType::List(list_field(DataType::Utf8)),
            ColumnType::Int64List => DataType::List(list_field(DataType::Int64)),
            ColumnType::Int64Map => map_type(DataType::Int64),
            ColumnType::DoubleMap => map_type(DataType::Float64),
            ColumnType::StringMap => map_type(DataType::Utf8),
        }
    }
}

/// The type of a map from names; a value is null when it does not fit.
fn map_type(value: DataType) -> DataType {
    let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(Fields::from(fields)), false)), false)
}

/// The field of a list's items; items may be null.
pub(super) fn list_field(item: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", item, true))
}

impl Column {
    /// Whether a row may lack it: all but a record's identity and the ordinals.
    pub fn nullable(&self) -> bool {
        let identity = [ID_COLUMN, START_COLUMN, DIMENSION_ID_COLUMN].contains(&self.name.as_str());
        !(identity || matches!(self.source, Source::Index(_)))
    }

    /// Its Arrow field; the metadata holds unit and PII class only, as it is repeated in every file.
    pub fn field(&self) -> Field {
        let mut metadata = HashMap::from([("pii".to_owned(), self.pii.name().to_owned())]);
        if let Some(unit) = self.unit {
            metadata.insert("unit".to_owned(), unit.name().to_owned());
        }
        Field::new(&self.name, self.kind.data_type(), self.nullable()).with_metadata(metadata)
    }
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Its Arrow schema.
    pub fn schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>())
    }

    /// Whether its place holds a map, each entry of which is a row.
    pub fn is_map(&self) -> bool {
        self.columns.iter().any(|column| column.source == Source::Key)
    }
}
