//! What can happen to bytes on their way.

use super::dice::Dice;

const TOKENS: [&[u8]; 30] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\u0041",
    b"null",
    b"true",
    b"-",
    b"0",
    b"01",
    b".",
    b"e",
    b"1E5",
    b" ",
    b"\n",
    b"\x0c",
    b"\xEF\xBB\xBF",
    b"\xff",
    b"\xc3",
    b"\x00",
    b"\x1f",
    b"NaN",
    b"\"a\":1,",
    b"\xed\xa0\x80",
];

/// Changes `record` in up to three ways.
pub(crate) fn ruin(record: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let length = record.len();
        let at = dice.below(length + 1);
        let end = (at + dice.below(24)).min(length);
        match dice.below(13) {
            0 => record.truncate(at),
            1 => drop(record.drain(at..end)),
            2 => {
                let again = record[at..end].to_vec();
                let to = dice.below(length + 1);
                record.splice(to..to, again);
            }
            3 => {
                if let Some(byte) = record.get_mut(at) {
                    *byte = dice.any() as u8;
                }
            }
            4 => {
                if let Some(byte) = record.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            5 | 6 => drop(record.splice(at..at, dice.pick(&TOKENS).iter().copied())),
            7 => {
                let other = dice.pick(others);
                let from = dice.below(other.len());
                let part = &other[from..(from + dice.below(200)).min(other.len())];
                record.splice(at..end, part.iter().copied());
            }
            8 => nest(record, dice),
            9 => repeat_a_field(record, dice),
            10 => replace_a_value(record, dice),
            11 => *record = [b"[", record.as_slice(), b"]"].concat(),
            _ => {
                let (space, place) = (*dice.pick(b" \t\n\r\x0b\x0c"), if dice.one_in(2) { 0 } else { length });
                record.insert(place, space);
            }
        }
    }
}

/// Puts a deeply nested value where some value begins: just within what is read, or just not.
fn nest(record: &mut Vec<u8>, dice: &mut Dice) {
    let levels = *dice.pick(&[1, 5, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 300]);
    let (open, close): (&[u8], &[u8]) = if dice.one_in(2) { (b"[", b"]") } else { (b"{\"n\":", b"}") };
    let value = [open.repeat(levels), b"0".to_vec(), close.repeat(levels)].concat();
    match places_of(record, b':').get(..) {
        Some([]) | None => record.splice(.., value),
        Some(colons) => {
            let at = dice.pick(colons) + 1;
            record.splice(at..at, [value, b",\"behind\":".to_vec()].concat())
        }
    };
}

/// Writes a field once more, somewhere behind it.
fn repeat_a_field(record: &mut Vec<u8>, dice: &mut Dice) {
    let commas = places_of(record, b',');
    if commas.len() > 1 {
        let (from, to) = (dice.below(commas.len() - 1), dice.below(commas.len()));
        let field = record[commas[from]..commas[from + 1]].to_vec();
        record.splice(commas[to]..commas[to], field);
    }
}

fn replace_a_value(record: &mut Vec<u8>, dice: &mut Dice) {
    let colons = places_of(record, b':');
    if colons.is_empty() {
        return;
    }
    let start = dice.pick(&colons) + 1;
    let length = record[start..].iter().take_while(|byte| !b",}]".contains(byte)).count();
    let value = *dice.pick::<&[u8]>(&[
        &b"null"[..],
        b"7",
        b"\"x\"",
        b"{}",
        b"[]",
        b"[{}]",
        b"{\"total\":3,\"x\":1}",
        b"1.5",
        b"\"2025-01-01T00:00:00Z\"",
    ]);
    record.splice(start..start + length, value.iter().copied());
}

fn places_of(record: &[u8], wanted: u8) -> Vec<usize> {
    record.iter().enumerate().filter(|(_, byte)| **byte == wanted).map(|(at, _)| at).collect()
}
