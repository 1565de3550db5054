//! Whole numbers in as few bits as they need: what Parquet's levels and indexes are written in. Pure.
//!
//! In the hybrid encoding a run is its length, doubled, as a varint, and its value in whole bytes; values that do not
//! repeat are the number of their groups of eight, doubled and made odd, as a varint, and then their bits.

use std::ops::Range;

/// Values that are packed together; also how often one must repeat to be worth a run.
const GROUP: usize = 8;

/// Appends `value` seven bits a byte, the lowest first; all bytes but the last are marked.
pub(super) fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// How many bits `value` needs.
pub(super) fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Appends the lowest `bits` bits of each of `values`, whose others are not set, and fills the last byte with zeros.
pub(super) fn pack(to: &mut Vec<u8>, values: impl Iterator<Item = u64>, bits: u32) {
    let (mut packed, mut filled) = (0_u64, 0);
    for value in values {
        packed |= value << filled;
        filled += bits;
        if filled >= u64::BITS {
            to.extend_from_slice(&packed.to_le_bytes());
            filled -= u64::BITS;
            // What of the value did not fit.
            packed = value.checked_shr(bits - filled).unwrap_or(0);
        }
    }
    to.extend_from_slice(&packed.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Appends `times` times `value`, of values of `bits` bits.
pub(super) fn run(to: &mut Vec<u8>, times: usize, value: u64, bits: u32) {
    varint(to, (times as u64) << 1);
    to.extend_from_slice(&value.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// Appends `values`, of `bits` bits each, in the hybrid encoding.
pub(super) fn hybrid<T: Copy + PartialEq + Into<u64>>(to: &mut Vec<u8>, values: &[T], bits: u32) {
    let literal = |to: &mut Vec<u8>, values: &[T]| {
        if !values.is_empty() {
            let groups = values.len().div_ceil(GROUP);
            varint(to, (groups as u64) << 1 | 1);
            let end = to.len() + groups * bits as usize;
            pack(to, values.iter().map(|&value| value.into()), bits);
            to.resize(end, 0);
        }
    };
    let (mut from, mut at) = (0, 0);
    while at < values.len() {
        let times = values[at..].iter().take_while(|&&value| value == values[at]).count();
        if times >= GROUP {
            literal(to, &values[from..at]);
            run(to, times, values[at].into(), bits);
            (from, at) = (at + times, at + times);
        } else {
            // Only the last values may be less than a group: a run begins where a group would.
            at = values.len().min(at + GROUP);
        }
    }
    literal(to, &values[from..]);
}

/// Appends the bits in `range` of `bits`, the lowest of each byte first, as values of one bit in the hybrid encoding:
/// the same as [`hybrid`], many at a time.
pub(super) fn hybrid_bits(to: &mut Vec<u8>, bits: &[u8], range: Range<usize>) {
    let literal = |to: &mut Vec<u8>, range: Range<usize>| {
        if !range.is_empty() {
            varint(to, (range.len().div_ceil(GROUP) as u64) << 1 | 1);
            to.extend(range.clone().step_by(GROUP).map(|at| {
                let past = GROUP.saturating_sub(range.end - at);
                word(bits, at) as u8 & u8::MAX >> past
            }));
        }
    };
    let (mut from, mut at) = (range.start, range.start);
    while at < range.end {
        let times = same(bits, at..range.end);
        if times >= GROUP {
            literal(to, from..at);
            run(to, times, word(bits, at) & 1, 1);
            (from, at) = (at + times, at + times);
        } else {
            at = range.end.min(at + GROUP);
        }
    }
    literal(to, from..range.end);
}

/// Bits of [`word`] that are there wherever in a byte it begins.
const SURE: u32 = u64::BITS - u8::BITS;

/// How many bits from the start of `range` are the same.
fn same(bits: &[u8], range: Range<usize>) -> usize {
    let others = (word(bits, range.start) & 1).wrapping_neg();
    let mut end = range.start;
    while end < range.end {
        let more = (word(bits, end) ^ others).trailing_zeros().min(SURE);
        end += more as usize;
        if more < SURE {
            break;
        }
    }
    end.min(range.end) - range.start
}

/// The bits from number `at`: [`SURE`] at least, with zeros for those after the last.
fn word(bits: &[u8], at: usize) -> u64 {
    let rest = &bits[at / 8..];
    let word = rest.first_chunk().map_or_else(
        || rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        |word| u64::from_le_bytes(*word),
    );
    word >> (at % 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_encoded_as_values_of_one_bit_are(
            runs in proptest::collection::vec((any::<bool>(), prop_oneof![1usize..4, 5usize..200]), 0..40),
            skip in 0usize..30,
        ) {
            let all: Vec<bool> = runs.iter().flat_map(|&(bit, times)| vec![bit; times]).collect();
            let mut bits = Vec::new();
            pack(&mut bits, all.iter().map(|&bit| bit.into()), 1);
            let range = skip.min(all.len())..all.len() - skip.min(all.len()) / 2;
            let range = range.start..range.end.max(range.start);
            let values: Vec<u8> = all[range.clone()].iter().map(|&bit| bit.into()).collect();
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            hybrid_bits(&mut found, &bits, range);
            hybrid(&mut wanted, &values, 1);
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn what_repeats_is_a_run_and_what_does_not_is_packed() {
        let hybrid = |values: &[u32], bits| {
            let mut to = Vec::new();
            hybrid(&mut to, values, bits);
            to
        };
        assert!(hybrid(&[], 1).is_empty());
        assert_eq!(hybrid(&[1; 200], 1), [0x90, 3, 1]);
        assert_eq!(hybrid(&[5; 8], 9), [16, 5, 0]);
        assert_eq!(hybrid(&[1; 7], 1), [3, 0x7f]);
        // The specification's own example.
        assert_eq!(hybrid(&[0, 1, 2, 3, 4, 5, 6, 7], 3), [3, 0x88, 0xc6, 0xfa]);
        let mixed = [&[0, 1, 0, 1, 0, 1, 0, 1][..], &[3; 9], &[1, 2]].concat();
        assert_eq!(hybrid(&mixed, 2), [3, 0x44, 0x44, 18, 3, 3, 0b1001, 0]);
    }

    #[test]
    fn wide_values_are_packed_without_a_gap() {
        let mut to = Vec::new();
        pack(&mut to, [u64::MAX, 0, 1].into_iter(), 64);
        assert_eq!(to, [&[0xff; 8][..], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0]].concat());
        let mut to = Vec::new();
        pack(&mut to, [1, 1, 1].into_iter(), 33);
        assert_eq!(to, [1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!([0, 1, 255, 256, u64::MAX].map(width), [0, 1, 8, 9, 64]);
    }
}
