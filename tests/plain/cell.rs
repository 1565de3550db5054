//! One value on its way from a reader to a column, and the rule which values a column takes: nothing is coerced.

use convlake::flatten::schema::ColumnType;
use convlake::time;

/// A scalar as a reader finds it, whatever the reader is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    /// The digits as they came: only the column knows what they must fit.
    Number(&'a str),
    Boolean(bool),
}

/// A value of a column's type; never null.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
    Boolean(bool),
    /// Microseconds since the Unix epoch.
    Micros(i64),
    List(Vec<Option<Cell<'a>>>),
}

impl<'a> Cell<'a> {
    /// `scalar` as a value of `kind`, if it is one: text is no number, a fraction or a number beyond 64 bits is no
    /// integer, what overflows a double is no double. An integer is a double too.
    pub(crate) fn of(kind: ColumnType, scalar: Scalar<'a>) -> Option<Cell<'a>> {
        match (kind, scalar) {
            (ColumnType::String, Scalar::Text(text)) => Some(Cell::Text(text)),
            (ColumnType::Timestamp, Scalar::Text(text)) => time::parse_micros(text).map(Cell::Micros),
            (ColumnType::Int64, Scalar::Number(digits)) => digits.parse().ok().map(Cell::Int),
            (ColumnType::Double, Scalar::Number(digits)) => {
                digits.parse().ok().filter(|double: &f64| double.is_finite()).map(Cell::Double)
            }
            (ColumnType::Boolean, Scalar::Boolean(boolean)) => Some(Cell::Boolean(boolean)),
            _ => None,
        }
    }
}
