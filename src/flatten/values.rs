//! Which values a column takes: nothing is coerced.

use super::buffers::{Column, Grows, Lists};
use super::cursor::{Broken, Cursor};
use super::dates::Dates;
use crate::time;

impl Column {
    /// Reads the value at `cursor`, which is not null, into `row`. Says whether it is one of the column's type: nothing
    /// is coerced. Text is no number, a fraction or a number beyond 64 bits is no integer, what overflows a double is
    /// no double; an integer is a double too, and an integer in whatever spelling. A list is taken whole, with its nulls, or not at all. If it is none, the
    /// column is as it was and `cursor` somewhere in the value, as deep as before it.
    #[inline(always)]
    pub(super) fn read(&mut self, row: u32, cursor: &mut Cursor<'_>, dates: &mut Dates) -> Result<bool, Broken> {
        match (self, cursor.peek()) {
            (Column::String(texts), b'"') => {
                texts.put(row, cursor.string()?);
                Ok(true)
            }
            (Column::Timestamp(micros), b'"') => {
                let at = timestamp(cursor, dates)?;
                Ok(at.map(|at| micros.put(row, at)).is_some())
            }
            (Column::Int64(ints), b'-' | b'0'..=b'9') => {
                let int = int(cursor)?;
                Ok(int.map(|int| ints.put(row, int)).is_some())
            }
            (Column::Boolean(booleans), first @ (b't' | b'f')) => {
                cursor.word(if first == b't' { b"true" } else { b"false" })?;
                booleans.put(row, first == b't');
                Ok(true)
            }
            (column, first) => column.read_rare(row, first, cursor),
        }
    }

    fn read_rare(&mut self, row: u32, first: u8, cursor: &mut Cursor<'_>) -> Result<bool, Broken> {
        match (self, first) {
            (Column::Double(doubles), b'-' | b'0'..=b'9') => {
                let digits = std::str::from_utf8(cursor.number()?).unwrap_or_default();
                let double = digits.parse().ok().filter(|double: &f64| double.is_finite());
                Ok(double.map(|double| doubles.put(row, double)).is_some())
            }
            (Column::StringList(lists), b'[') => list(lists, row, cursor, |texts, item, cursor| {
                let fits = cursor.peek() == b'"';
                if fits {
                    texts.put(item, cursor.string()?);
                }
                Ok(fits)
            }),
            (Column::Int64List(lists), b'[') => list(lists, row, cursor, |ints, item, cursor| {
                let int = if matches!(cursor.peek(), b'-' | b'0'..=b'9') { int(cursor)? } else { None };
                Ok(int.map(|int| ints.put(item, int)).is_some())
            }),
            _ => Ok(false),
        }
    }
}

/// Reads the list at `cursor`, each item with `read` unless it is null.
fn list<I: Grows>(
    lists: &mut Lists<I>,
    row: u32,
    cursor: &mut Cursor<'_>,
    read: impl Fn(&mut I, u32, &mut Cursor<'_>) -> Result<bool, Broken>,
) -> Result<bool, Broken> {
    let start = *cursor;
    let mut item = lists.next_item();
    let mut more = cursor.open(b']')?;
    while more {
        if cursor.peek() == b'n' {
            cursor.word(b"null")?;
        } else if !read(&mut lists.items, item, cursor)? {
            lists.items.cut(lists.next_item());
            *cursor = start;
            return Ok(false);
        }
        item += 1;
        more = cursor.more(b']')?;
    }
    lists.rows.push(row);
    lists.ends.push(item);
    Ok(true)
}

#[inline(always)]
pub(super) fn timestamp(cursor: &mut Cursor<'_>, dates: &mut Dates) -> Result<Option<i64>, Broken> {
    if let Some((micros, length)) = dates.usual(cursor.rest()) {
        cursor.pass(length);
        return Ok(Some(micros));
    }
    Ok(std::str::from_utf8(&cursor.string()?.decoded()).ok().and_then(time::parse_micros))
}

/// Reads the number at `cursor`; up to 18 digits by hand.
#[inline]
pub(super) fn int(cursor: &mut Cursor<'_>) -> Result<Option<i64>, Broken> {
    let text = cursor.rest();
    let negative = text.first() == Some(&b'-');
    let digits = text.get(usize::from(negative)..).unwrap_or_default();
    let (mut value, mut length) = (0_i64, 0);
    while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        if length == 18 {
            break;
        }
        value = value * 10 + i64::from(digit);
        length += 1;
    }
    let goes_on = matches!(digits.get(length), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
    if goes_on || length == 0 || (length > 1 && digits[0] == b'0') {
        return Ok(whole(cursor.number()?));
    }
    cursor.pass(usize::from(negative) + length);
    Ok(Some(if negative { -value } else { value }))
}

/// The integer that a JSON number is, however it is spelled (`1200.0`, `1.2e3`); `None` if it is none of 64 bits. Its
/// digits decide, not a double.
#[cold]
fn whole(number: &[u8]) -> Option<i64> {
    let (mantissa, exponent) = match number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&number[..at], std::str::from_utf8(&number[at + 1..]).ok()?),
        None => (number, "0"),
    };
    let negative = mantissa.first() == Some(&b'-');
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.get(point + 1..).unwrap_or_default();
    let digits = mantissa[usize::from(negative)..point].iter().chain(fraction);
    let mut significant: Vec<u8> = digits.copied().skip_while(|&digit| digit == b'0').collect();
    // Zeros at the end move into the exponent: what is left has to be there.
    let mut moved = -i64::try_from(fraction.len()).ok()?;
    while significant.last() == Some(&b'0') {
        significant.pop();
        moved += 1;
    }
    if significant.is_empty() {
        return Some(0);
    }
    let zeros = usize::try_from(exponent.parse::<i64>().ok()?.checked_add(moved)?).ok()?;
    if significant.len().checked_add(zeros)? > I64_DIGITS {
        return None;
    }
    significant.resize(significant.len() + zeros, b'0');
    let sign = if negative { "-" } else { "" };
    format!("{sign}{}", std::str::from_utf8(&significant).ok()?).parse().ok()
}

/// The double that a JSON number is which is no integer; `None` if it is as large as one beyond 64 bits: too many of
/// its digits would be lost.
pub(super) fn decimal(number: &[u8]) -> Option<f64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    std::str::from_utf8(number).ok()?.parse().ok().filter(|double: &f64| double.abs() < BEYOND)
}

/// Decimal digits of the largest integer.
const I64_DIGITS: usize = 19;

/// The text of a timestamp in which a space stands where RFC 3339 has a `T`, with the `T`: Python writes it so.
pub(super) fn with_t(text: &[u8]) -> Option<Vec<u8>> {
    const PLACE: usize = 10;
    let mut text = text.to_vec();
    *text.get_mut(PLACE).filter(|byte| **byte == b' ')? = b'T';
    std::str::from_utf8(&text).ok().and_then(time::parse_micros)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::schema::ColumnType;
    use super::*;

    /// What a column of this type holds after reading `text` into row 3.
    fn read(kind: ColumnType, text: &str) -> Option<String> {
        let mut column = Column::new(kind);
        let fits = column.read(3, &mut Cursor::new(text.as_bytes()), &mut Dates::default()).unwrap();
        let rows: &[u32] = if fits { &[3] } else { &[] };
        assert_eq!(column.rows(), rows, "{text}");
        fits.then(|| match column {
            Column::Timestamp(column) | Column::Int64(column) => format!("{:?}", column.values),
            Column::Double(column) => format!("{:?}", column.values),
            Column::Boolean(column) => format!("{:?}", column.values),
            Column::String(column) => String::from_utf8(column.bytes).unwrap(),
            Column::StringList(lists) => format!("{:?} {:?} {:?}", lists.ends, lists.items.rows, lists.items.ends),
            Column::Int64List(lists) => format!("{:?} {:?} {:?}", lists.ends, lists.items.rows, lists.items.values),
            Column::Int64Map(_) | Column::DoubleMap(_) | Column::StringMap(_) => String::new(),
        })
    }

    #[test]
    fn a_value_fits_exactly_or_not_at_all() {
        use ColumnType::*;
        for (kind, text, expected) in [
            (Int64, "9223372036854775807", Some("[9223372036854775807]")),
            (Int64, "-9223372036854775808", Some("[-9223372036854775808]")),
            (Int64, "999999999999999999", Some("[999999999999999999]")),
            (Int64, "-0", Some("[0]")),
            (Int64, "9223372036854775808", None),
            (Int64, "1200.0", Some("[1200]")),
            (Int64, "1.2e3", Some("[1200]")),
            (Int64, "-120E+1", Some("[-1200]")),
            (Int64, "1200e-2", Some("[12]")),
            (Int64, "0.0", Some("[0]")),
            (Int64, "-0e99999999999999999999", Some("[0]")),
            (Int64, "9223372036854775807.000", Some("[9223372036854775807]")),
            (Int64, "-92233720368547758.08e2", Some("[-9223372036854775808]")),
            (Int64, "9007199254740993.0", Some("[9007199254740993]")),
            (Int64, "9223372036854775808.0", None),
            (Int64, "1e19", None),
            (Int64, "1e99999999999999999999", None),
            (Int64, "1e-99999999999999999999", None),
            (Int64, "1200.5", None),
            (Int64, "1e-1", None),
            (Int64, "\"3\"", None),
            (Double, "3", Some("[3.0]")),
            (Double, "1e-400", Some("[0.0]")),
            (Double, "-1e400", None),
            (String, r#""a\n\ud83d\ude00""#, Some("a\n😀")),
            (String, "3", None),
            (Boolean, "false", Some("[false]")),
            (Boolean, "\"true\"", None),
            (Timestamp, "\"1970-01-01T00:00:00.5Z\"", Some("[500000]")),
            (Timestamp, "\"2021-04-2T15:30:51.418Z\"", None),
            (Timestamp, "5", None),
            (Int64List, "[1,null,3]", Some("[3] [0, 2] [1, 3]")),
            (Int64List, "[1.0,2e1]", Some("[2] [0, 1] [1, 20]")),
            (Int64List, "[1,1.5]", None),
            (StringList, r#"["a",""]"#, Some("[2] [0, 1] [1, 1]")),
            (StringList, "[]", Some("[0] [] []")),
            (StringList, "\"a\"", None),
            (StringList, r#"[["a"]]"#, None),
        ] {
            assert_eq!(read(kind, text).as_deref(), expected, "{kind} {text}");
        }
    }

    #[test]
    fn a_number_that_is_none_breaks_the_record() {
        for text in ["01", "-", "-01", "1.", "1e", "00000000000000000000"] {
            assert_eq!(int(&mut Cursor::new(text.as_bytes())), Err(Broken), "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_leaves_nothing_behind() {
        let mut column = Column::new(ColumnType::StringList);
        for (row, text) in [(1, r#"["ab"]"#), (4, r#"[null,"c"]"#)] {
            assert_eq!(column.read(row, &mut Cursor::new(text.as_bytes()), &mut Dates::default()), Ok(true));
        }
        column.cut(2);
        let Column::StringList(lists) = &column else { unreachable!() };
        assert_eq!((&*lists.rows, &*lists.ends, &*lists.items.bytes), (&[1][..], &[1][..], &b"ab"[..]));
        column.cut(0);
        assert!(column.rows().is_empty());
    }
}
