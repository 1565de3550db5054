//! Names that a reader expects, found by their length and their first and last bytes, or without any search where a
//! guess is right.

/// A fixed set of names, each with its place in the order they were given.
#[derive(Debug, Default)]
pub(super) struct Keys {
    names: Vec<(Ends, Box<[u8]>)>,
    /// Open addressing: a place + 1 each, 0 is none. At least half of the slots are free.
    slots: Vec<u16>,
    shift: u32,
}

/// The first and the last bytes of a name, and its length. They are all there is to a name of up to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
    length: usize,
}

impl Keys {
    /// `None` when there are too many.
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Option<Keys> {
        let names: Vec<_> = names.map(|name| (Ends::of(name.as_bytes()), name.as_bytes().into())).collect();
        let size = (names.len() * 4).next_power_of_two().max(2);
        let mut keys = Keys { slots: vec![0; size], shift: 64 - size.trailing_zeros(), names: Vec::new() };
        for (place, (ends, _)) in (1..).zip(&names) {
            let mut slot = ends.slot(keys.shift);
            while keys.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            keys.slots[slot] = u16::try_from(place).ok()?;
        }
        keys.names = names;
        Some(keys)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The place of `name`.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let ends = Ends::of(name);
        let mut slot = ends.slot(self.shift);
        loop {
            let place = usize::from(self.slots[slot]).checked_sub(1)?;
            let (known, whole) = &self.names[place];
            if *known == ends && (ends.length <= 16 || **whole == *name) {
                return Some(place);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

impl Ends {
    #[inline]
    fn of(name: &[u8]) -> Ends {
        let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (name.iter().fold(0, |so_far, &byte| so_far << 8 | u64::from(byte)), 0),
        };
        Ends { first, last, length: name.len() }
    }

    #[inline]
    fn slot(&self, shift: u32) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(23)).wrapping_add(self.length as u64);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
    }
}

/// `"name":` as it most often stands in a text, ready to be compared at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal {
    words: [u64; WORDS],
    masks: [u64; WORDS],
    /// 0: the name is too long to be guessed.
    length: usize,
}

const WORDS: usize = 4;

impl Literal {
    pub(super) fn new(name: &str) -> Literal {
        let text = format!("\"{name}\":").into_bytes();
        let mut literal = Literal { words: [0; WORDS], masks: [0; WORDS], length: 0 };
        if text.len() <= 8 * WORDS {
            literal.length = text.len();
            for (at, byte) in text.into_iter().enumerate() {
                literal.words[at / 8] |= u64::from(byte) << (at % 8 * 8);
                literal.masks[at / 8] |= 0xFF << (at % 8 * 8);
            }
        }
        literal
    }

    /// The literal's length, if `text` begins with it.
    #[inline(always)]
    pub(super) fn begins(&self, text: &[u8]) -> Option<usize> {
        let text = text.first_chunk::<{ 8 * WORDS }>()?;
        let mut differs = 0;
        for (word, text) in text.as_chunks::<8>().0.iter().enumerate() {
            differs |= (u64::from_le_bytes(*text) & self.masks[word]) ^ self.words[word];
        }
        (differs == 0 && self.length > 0).then_some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_place_and_no_other() {
        let names: Vec<String> = (0..300).map(|n| format!("{}{n}", "name".repeat(n % 7))).collect();
        let keys = Keys::new(names.iter().map(String::as_str)).unwrap();
        assert_eq!(keys.len(), 300);
        for (place, name) in names.iter().enumerate() {
            assert_eq!(keys.find(name.as_bytes()), Some(place));
            assert_eq!(keys.find(format!("{name}.").as_bytes()), None);
        }
        assert_eq!(Keys::new(std::iter::empty()).unwrap().find(b""), None);
    }

    #[test]
    fn a_literal_is_compared_whole() {
        let text = |text: &str| format!("{text:40}").into_bytes();
        for name in ["", "a", "conversationId", "abcdefghijklmnopqrstuvwxyz012"] {
            let literal = Literal::new(name);
            assert_eq!(literal.begins(&text(&format!("\"{name}\":7"))), Some(name.len() + 3), "{name}");
            for other in [format!("\"{name}x\":7"), format!("\"{name}\" :7"), format!("x{name}\":7")] {
                assert_eq!(literal.begins(&text(&other)), None, "{other}");
            }
            assert_eq!(literal.begins(format!("\"{name}\":").as_bytes()), (name.len() == 29).then_some(32), "{name}");
        }
        assert_eq!(Literal::new(&"x".repeat(30)).begins(&text(&format!("\"{}\":", "x".repeat(30)))), None);
    }
}
