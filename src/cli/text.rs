//! Numbers, durations and small tables as people read them.

use std::time::Duration;

use crate::api::complaint::is_plain;
use crate::error::{Error, Result};

/// `1234567` → `1,234,567`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 day`, `30 days`.
pub(super) fn count(n: u64, one: &str) -> String {
    format!("{} {one}{}", number(n), if n == 1 { "" } else { "s" })
}

/// `512 bytes`, `1.5 kB`, `2.0 GB`.
pub(super) fn bytes(n: u64) -> String {
    let mut size = n as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size < 999.95 || unit == "TB" {
            return if unit == "bytes" { format!("{n} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    String::new()
}

/// `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 => format!("{} ms", d.as_millis()),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// Reads `90s`, `5m`, `2h` or `1d`.
///
/// # Errors
/// Usage, naming the flag.
pub(super) fn parse_duration(text: &str, flag: &str) -> Result<Duration> {
    let parse = || {
        let unit = text.chars().next_back()?;
        let amount: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return None,
        };
        Some(Duration::from_secs(amount.checked_mul(seconds)?))
    };
    parse().ok_or_else(|| {
        Error::usage(format!("--{flag}: `{text}` is not a length of time"))
            .hint("a number and s, m, h or d: `90s`, `5m`")
    })
}

/// Columns of equal width; `right` says which are numbers.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], right: &[bool]) -> String {
    let mut width: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let header: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(i, cell)| match right.get(i) {
                Some(true) => format!("{cell:>w$}", w = width[i]),
                _ => format!("{cell:<w$}", w = width[i]),
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Text of strangers, fit for a terminal: what would move the cursor, change colours, or turn the order of reading is
/// written as JSON escapes it, and so are bytes that are no text.
pub(super) fn escaped(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut units = [0; 2];
            match c {
                '\n' | '\t' => out.push(c),
                _ if is_plain(c) => out.push(c),
                _ => c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!([number(0), number(999), number(1000), number(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "day"), count(13, "day")], ["1 day", "13 days"]);
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(duration(Duration::from_secs(7800)), "2 h 10 min");
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        assert_eq!(
            [bytes(999), bytes(1_000), bytes(999_949), bytes(999_950)],
            ["999 bytes", "1.0 kB", "999.9 kB", "1.0 MB"]
        );
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn lengths_of_time_are_read_or_refused() {
        assert_eq!(parse_duration("90s", "x").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("2h", "x").unwrap(), Duration::from_secs(7200));
        for bad in ["", "5", "m", "-5m", "5w", "99999999999999999999s", "9999999999999999999d"] {
            assert!(parse_duration(bad, "x").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        let attack = "a\u{1b}]0;x\u{7}\u{9b}31m\r\u{202e}b\u{e0041}\nü🙂".as_bytes();
        let shown = escaped(&[attack, b"\xff"].concat());
        assert_eq!(shown, "a\\u001b]0;x\\u0007\\u009b31m\\u000d\\u202eb\\udb40\\udc41\nü🙂\\xff");
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["a".into(), "1".into()], vec!["bcd".into(), "23".into()]];
        assert_eq!(table(&["t", "rows"], &rows, &[false, true]), "t    rows\na       1\nbcd    23\n");
    }
}
