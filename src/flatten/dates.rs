//! Timestamps as the API writes them, `"2025-01-01T08:00:00.000Z"`, read without a calendar: of a date that was seen
//! before only the time of day is new. Every other form is left to [`time::parse_micros`].

use crate::time;

/// Midnights that were needed lately, in a place each by the day of the month.
#[derive(Debug, Default)]
pub(super) struct Dates([(u128, i64); 32]);

/// The usual form's length, quotes included.
const USUAL: usize = 26;

const SECOND: i64 = 1_000_000;

impl Dates {
    /// The microseconds since the Unix epoch that the string at the beginning of `text` stands for, and its length with
    /// the quotes; `None` if it is written in another way, or is no timestamp.
    #[inline]
    pub(super) fn usual(&mut self, text: &[u8]) -> Option<(i64, usize)> {
        let text: &[u8; USUAL] = text.first_chunk()?;
        let within = within_day(text)?;
        // The day's digits are ASCII if the date is known; if it is not, the library looks at them.
        let date = u128::from_le_bytes(*text.first_chunk::<16>()?) & ((1 << (11 * 8)) - 1);
        let place = usize::from((text[9] & 3) * 10 + (text[10] & 15)) & 31;
        let (known, midnight) = &mut self.0[place];
        if *known != date {
            let whole = time::parse_micros(std::str::from_utf8(&text[1..USUAL - 1]).ok()?)?;
            (*known, *midnight) = (date, whole - within);
        }
        Some((*midnight + within, USUAL))
    }
}

/// The microseconds since midnight of a text in the usual form; its date may be anything.
#[inline]
fn within_day(text: &[u8; USUAL]) -> Option<i64> {
    let clock = u64::from_le_bytes(*text[12..].first_chunk()?) ^ u64::from_le_bytes(*b"00:00:00");
    let beyond_nine = clock.wrapping_add(0x7676_7676_7676_7676) | clock;
    let [h1, h0, colon, m1, m0, second_colon, s1, s0] = clock.to_le_bytes();
    let fraction = [text[21] ^ b'0', text[22] ^ b'0', text[23] ^ b'0'];
    let form = beyond_nine & 0x8080_8080_8080_8080 == 0
        && (colon | second_colon) == 0
        && fraction.iter().all(|&digit| digit <= 9)
        && (text[0], text[11], text[20], text[24], text[25]) == (b'"', b'T', b'.', b'Z', b'"');
    if !form {
        return None;
    }
    let (hours, minutes, seconds) = (h1 * 10 + h0, m1 * 10 + m0, s1 * 10 + s0);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let millis = fraction.iter().fold(0, |so_far, &digit| so_far * 10 + i64::from(digit));
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    Some(seconds * SECOND + millis * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_the_library_reads(
            date in "20[0-2][0-9]-[01][0-9]-[0-3][0-9]|[0-9]{4}-0[1-9]-[0-2][0-9]|.{10}",
            zone in "[TtX ]",
            clock in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9]|.{8}",
            fraction in "\\.[0-9]{3}|\\.[0-9]{0,6}|.{4}",
            end in "[Zz+]",
        ) {
            let text = format!("{date}{zone}{clock}{fraction}{end}");
            let quoted = format!("\"{text}\", ");
            let mut dates = Dates::default();
            for _ in 0..2 {
                if let Some((micros, length)) = dates.usual(quoted.as_bytes()) {
                    prop_assert_eq!((Some(micros), length), (time::parse_micros(&text), text.len() + 2));
                }
            }
        }
    }

    #[test]
    fn the_usual_form_is_read_and_no_other() {
        let mut dates = Dates::default();
        for text in [
            "2026-05-01T03:32:55.639Z",
            "2026-05-01T23:59:59.000Z",
            "2024-05-01T00:00:00.001Z",
            "0001-01-01T00:00:00.000Z",
        ] {
            let read = dates.usual(format!("\"{text}\"").as_bytes());
            assert_eq!(read, time::parse_micros(text).map(|micros| (micros, USUAL)), "{text}");
        }
        for text in [
            "2026-02-30T03:32:55.639Z",
            "2026-05-01T24:00:00.000Z",
            "2026-05-01T23:59:60.000Z",
            "2026-05-01T03:32:55.639",
            "2026-05-01t03:32:55.639Z",
            "0000-01-01T00:00:00.000Z",
        ] {
            assert_eq!(dates.usual(format!("\"{text}\" ").as_bytes()), None, "{text}");
        }
    }
}
