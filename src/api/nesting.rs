//! Where the outermost bracket of a JSON text closes, found 64 bytes at a time.
//!
//! Every byte of every page from the API passes here once before it is parsed, so that a record which no parser takes
//! can still be cut out; of saved pages only those with such a record do. Quotes become a bit mask; what lies between two
//! of them is text, and of what does not only brackets are looked at.

use wide::u8x16;

/// Bytes that are looked at together: as many as a mask has bits.
const BLOCK: usize = 64;

/// The brackets that are open so far in a text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    /// What closes each of them.
    open: Vec<u8>,
    in_string: bool,
    /// Whether the next byte belongs to a backslash.
    escaped: bool,
}

/// What was found in a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The outermost bracket closes; the offset behind it.
    End(usize),
    /// A bracket closes that does not match the last open one; its offset.
    Mismatch(usize),
    /// It goes on behind the piece.
    Open,
}

impl Nesting {
    /// Reads the next piece of the text, up to the end of the outermost bracket.
    pub(crate) fn read(&mut self, piece: &[u8]) -> Found {
        let (blocks, rest) = piece.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            if let Some(found) = self.block(block, index * BLOCK) {
                return found;
            }
        }
        self.bytes(rest, blocks.len() * BLOCK).unwrap_or(Found::Open)
    }

    fn block(&mut self, block: &[u8; BLOCK], at: usize) -> Option<Found> {
        let (quotes, backslashes, brackets) = masks(block);
        if backslashes != 0 || self.escaped {
            // Rare, and a backslash outside of a string escapes nothing: such text is looked at byte by byte.
            return self.bytes(block, at);
        }
        let strings = between(quotes) ^ if self.in_string { u64::MAX } else { 0 };
        let mut brackets = brackets & !strings;
        while brackets != 0 {
            let offset = brackets.trailing_zeros() as usize;
            if let Some(found) = self.bracket(block[offset], at + offset) {
                return Some(found);
            }
            brackets &= brackets - 1;
        }
        self.in_string = strings >> (BLOCK - 1) == 1;
        None
    }

    fn bytes(&mut self, bytes: &[u8], at: usize) -> Option<Found> {
        for (offset, &byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'}' | b'[' | b']' if !self.in_string => {
                    if let Some(found) = self.bracket(byte, at + offset) {
                        return Some(found);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn bracket(&mut self, byte: u8, at: usize) -> Option<Found> {
        match byte {
            b'{' => self.open.push(b'}'),
            b'[' => self.open.push(b']'),
            closing => {
                if self.open.pop() != Some(closing) {
                    return Some(Found::Mismatch(at));
                }
                if self.open.is_empty() {
                    return Some(Found::End(at + 1));
                }
            }
        }
        None
    }
}

/// Where `block` has quotes, backslashes and brackets, a bit each.
fn masks(block: &[u8; BLOCK]) -> (u64, u64, u64) {
    // `[` and `{`, and `]` and `}`, differ in this bit only.
    const BRACES: u8 = 0x20;
    let (mut quotes, mut backslashes, mut brackets) = (0, 0, 0);
    for (index, lane) in block.as_chunks::<16>().0.iter().enumerate() {
        let lane = u8x16::new(*lane);
        let is = |lane: u8x16, byte: u8| lane.simd_eq(u8x16::splat(byte));
        let bits = |lanes: u8x16| u64::from(lanes.to_bitmask()) << (index * 16);
        let folded = lane | u8x16::splat(BRACES);
        quotes |= bits(is(lane, b'"'));
        backslashes |= bits(is(lane, b'\\'));
        brackets |= bits(is(folded, b'{') | is(folded, b'}'));
    }
    (quotes, backslashes, brackets)
}

/// Of the bits that mark quotes: from each opening one to the bit before its closing one.
fn between(mut quotes: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        quotes ^= quotes << shift;
    }
    quotes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, byte by byte.
    fn plain(text: &[u8]) -> Found {
        let mut nesting = Nesting::default();
        nesting.bytes(text, 0).unwrap_or(Found::Open)
    }

    #[test]
    fn strings_and_brackets_are_told_apart() {
        let end = |text: &str| Nesting::default().read(text.as_bytes());
        assert_eq!(end(r#"{"a":"}\"]"}"#), Found::End(12));
        assert_eq!(end("[1,[2]] "), Found::End(7));
        assert_eq!(end("{]"), Found::Mismatch(1));
        assert_eq!(end(r#"{\"a":"}"}"#), Found::End(10));
        assert_eq!(end("{\"a"), Found::Open);
        let long = format!("{{\"{}\":[{}]}}", "}".repeat(200), "{},".repeat(100));
        assert_eq!(end(&long), Found::End(long.len()));
    }

    proptest! {
        #[test]
        fn blocks_find_what_bytes_find(text in prop::collection::vec(prop::sample::select(br#"{}[]""\a, "#.to_vec()), 0..400), cut in 0usize..400) {
            let whole = plain(&text);
            prop_assert_eq!(Nesting::default().read(&text), whole);
            let (first, second) = text.split_at(cut.min(text.len()));
            let mut nesting = Nesting::default();
            let found = match nesting.read(first) {
                Found::Open => match nesting.read(second) {
                    Found::End(at) => Found::End(first.len() + at),
                    Found::Mismatch(at) => Found::Mismatch(first.len() + at),
                    Found::Open => Found::Open,
                },
                found => found,
            };
            prop_assert_eq!(found, whole);
        }
    }
}
