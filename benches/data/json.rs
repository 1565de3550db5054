//! JSON by hand: gigabytes of it must not take longer to make than to read.

use std::io::Write;

use super::dice::Dice;

const DAY_MS: i64 = 86_400_000;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// JSON in the making. Every value leaves a comma behind it, which the end of its object or list takes away.
#[derive(Default)]
pub(crate) struct Json {
    pub(crate) bytes: Vec<u8>,
}

impl Json {
    pub(crate) fn open(&mut self, bracket: u8) {
        self.bytes.push(bracket);
    }

    pub(crate) fn close(&mut self, bracket: u8) {
        self.bytes.pop_if(|last| *last == b',');
        self.bytes.extend([bracket, b',']);
    }

    pub(crate) fn key(&mut self, key: &str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// `text` stands as it is: what JSON escapes is escaped in it.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\",");
    }

    pub(crate) fn number(&mut self, number: impl Into<i64>) {
        let mut digits = [0; 20];
        let mut free = &mut digits[..];
        // A slice of 20 bytes takes any of these numbers.
        let _ = write!(free, "{}", number.into());
        let used = 20 - free.len();
        self.bytes.extend_from_slice(&digits[..used]);
        self.bytes.push(b',');
    }

    pub(crate) fn keyed(&mut self, key: &str, text: &str) {
        self.key(key);
        self.text(text);
    }

    pub(crate) fn keyed_number(&mut self, key: &str, number: u64) {
        self.key(key);
        self.number(number as i64);
    }

    pub(crate) fn keyed_bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.bytes.extend_from_slice(if value { b"true," } else { b"false," });
    }

    pub(crate) fn keyed_double(&mut self, key: &str, value: f64, digits: usize) {
        self.key(key);
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{value:.digits$},");
    }

    pub(crate) fn keyed_id(&mut self, key: &str, dice: &mut Dice) {
        self.key(key);
        self.bytes.push(b'"');
        push_id(&mut self.bytes, dice.bytes());
        self.bytes.extend_from_slice(b"\",");
    }

    /// A list of texts.
    pub(crate) fn keyed_list<'a>(&mut self, key: &str, items: impl IntoIterator<Item = &'a str>) {
        self.key(key);
        self.open(b'[');
        items.into_iter().for_each(|item| self.text(item));
        self.close(b']');
    }

    /// A moment, in milliseconds since the Unix epoch.
    pub(crate) fn keyed_time(&mut self, key: &str, at: i64) {
        self.key(key);
        let (day, mut rest) = (at.div_euclid(DAY_MS), at.rem_euclid(DAY_MS));
        let mut clock = *b"\"0000-00-00T00:00:00.000Z\",";
        let (year, month, date) = civil(day);
        for (place, digits, size) in [(1, year, 4), (6, month, 2), (9, date, 2)] {
            put(&mut clock[place..place + size], digits);
        }
        for (place, size, base) in [(21, 3, 1000), (18, 2, 60), (15, 2, 60), (12, 2, 24)] {
            put(&mut clock[place..place + size], rest % base);
            rest /= base;
        }
        self.bytes.extend_from_slice(&clock);
    }

    /// What was written elsewhere as a list's items.
    pub(crate) fn keyed_items(&mut self, key: &str, items: &[u8]) {
        self.key(key);
        self.open(b'[');
        self.bytes.extend_from_slice(items);
        self.close(b']');
    }
}

/// Fills `place` with the last decimal digits of `number`.
fn put(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day after the Unix epoch, in the calendar whose years begin in March.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let january = i64::from(month >= 10);
    (era * 400 + year + january, month + 3 - 12 * january, of_year - (153 * month + 2) / 5 + 1)
}

/// A UUID of version 4.
pub(crate) fn push_id(to: &mut Vec<u8>, mut bytes: [u8; 16]) {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            to.push(b'-');
        }
        to.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}
