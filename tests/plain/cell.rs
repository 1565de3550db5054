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
    /// integer, what overflows a double is no double. An integer is a double too, and an integer in whatever spelling.
    pub(crate) fn of(kind: ColumnType, scalar: Scalar<'a>) -> Option<Cell<'a>> {
        match (kind, scalar) {
            (ColumnType::String, Scalar::Text(text)) => Some(Cell::Text(text)),
            (ColumnType::Timestamp, Scalar::Text(text)) => time::parse_micros(text).map(Cell::Micros),
            (ColumnType::Int64, Scalar::Number(digits)) => integer(digits).map(Cell::Int),
            (ColumnType::Double, Scalar::Number(digits)) => {
                digits.parse().ok().filter(|double: &f64| double.is_finite()).map(Cell::Double)
            }
            (ColumnType::Boolean, Scalar::Boolean(boolean)) => Some(Cell::Boolean(boolean)),
            _ => None,
        }
    }
}

/// The integer that a number is, found by moving its point: what is behind it then must be zeros.
fn integer(number: &str) -> Option<i64> {
    let number = number.to_ascii_lowercase();
    let (mantissa, exponent) = number.split_once('e').unwrap_or((&number, "0"));
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or((1, mantissa), |unsigned| (-1, unsigned));
    let (before, behind) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{before}{behind}");
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(0);
    }
    let point = exponent.parse::<i128>().ok()?.checked_add(before.len() as i128)?;
    let point = usize::try_from(point).ok().filter(|point| *point < digits.len() + 30)?;
    let (whole, fraction) = match digits.split_at_checked(point) {
        Some((whole, fraction)) => (whole.to_owned(), fraction),
        None => (format!("{digits:0<point$}"), ""),
    };
    let is_whole = fraction.bytes().all(|digit| digit == b'0');
    let value: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    i64::try_from(sign * value).ok().filter(|_| is_whole)
}
