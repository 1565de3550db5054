//! One value on its way from a reader to a column, and the rule which values a column takes: nothing is coerced.

use super::schema::ColumnType;
use crate::time;

/// A scalar as a reader finds it, whatever the reader is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    /// The digits as they came: only the column knows what they must fit.
    Number(&'a str),
    Boolean(bool),
}

/// A value of a column's type; never null.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
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
    pub(super) fn of(kind: ColumnType, scalar: Scalar<'a>) -> Option<Cell<'a>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_exactly_or_not_at_all() {
        use ColumnType::*;
        let number = |kind, digits| Cell::of(kind, Scalar::Number(digits));
        assert_eq!(number(Int64, "9223372036854775807"), Some(Cell::Int(i64::MAX)));
        assert_eq!(number(Int64, "-9223372036854775808"), Some(Cell::Int(i64::MIN)));
        for digits in ["9223372036854775808", "1.0", "1e3", "1E+3"] {
            assert_eq!(number(Int64, digits), None, "{digits}");
        }
        assert_eq!(number(Double, "3"), Some(Cell::Double(3.0)));
        assert_eq!(number(Double, "1e-400"), Some(Cell::Double(0.0)));
        assert_eq!(number(Double, "-1e400"), None);
        assert_eq!(number(String, "3"), None);
        assert_eq!(Cell::of(Int64, Scalar::Text("3")), None);
        assert_eq!(Cell::of(Boolean, Scalar::Text("true")), None);
        assert_eq!(Cell::of(Timestamp, Scalar::Text("1970-01-01T00:00:00.5Z")), Some(Cell::Micros(500_000)));
        assert_eq!(Cell::of(Timestamp, Scalar::Text("2021-04-2T15:30:51.418Z")), None);
        assert_eq!(Cell::of(Timestamp, Scalar::Number("5")), None);
    }
}
