//! UTF-16 as UTF-8.

use std::io::{self, Read};

use crate::error::Error;

const BLOCK_BYTES: usize = 64 << 10;

/// Reads UTF-16 of one byte order. A surrogate without its other half becomes the three bytes that it would have in
/// UTF-8 if it were a character: whether it costs anything is decided where the text is read.
pub(super) struct Utf16<R> {
    reader: R,
    big_endian: bool,
    /// Bytes that are read and not decoded.
    raw: Vec<u8>,
    text: Vec<u8>,
    /// How much of the text is handed out.
    at: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(reader: R, big_endian: bool) -> Utf16<R> {
        Utf16 { reader, big_endian, raw: Vec::new(), text: Vec::new(), at: 0 }
    }

    /// Decodes the next block.
    fn more(&mut self) -> io::Result<()> {
        let read = self.reader.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut self.raw)?;
        let ended = read < BLOCK_BYTES;
        let (pairs, rest) = self.raw.as_chunks::<2>();
        if ended && !rest.is_empty() {
            let half = Error::data("the UTF-16 text ends in the middle of a character");
            return Err(io::Error::other(half.hint("save it again")));
        }
        let unit = |pair: &[u8; 2]| if self.big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
        // The other half of a character may be in the next block.
        let open = pairs.last().is_some_and(|pair| (0xd800..0xdc00).contains(&unit(pair))) && !ended;
        let whole = pairs.len() - usize::from(open);
        (self.at, self.text) = (0, Vec::with_capacity(whole * 2));
        for decoded in char::decode_utf16(pairs[..whole].iter().map(unit)) {
            match decoded {
                Ok(character) => self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(alone) => {
                    let [high, low] = alone.unpaired_surrogate().to_be_bytes();
                    let bytes = [0xe0 | high >> 4, 0x80 | high << 2 & 0x3c | low >> 6, 0x80 | low & 0x3f];
                    self.text.extend_from_slice(&bytes);
                }
            }
        }
        self.raw.drain(..whole * 2);
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.more()?;
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(units: &[u16]) -> Vec<u8> {
        let raw: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let mut text = Vec::new();
        Utf16::new(raw.as_slice(), false).read_to_end(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn characters_are_whole_wherever_a_block_ends(before in BLOCK_BYTES / 2 - 3..BLOCK_BYTES / 2 + 3) {
            let text = format!("{}🙂é", "a".repeat(before));
            prop_assert_eq!(read(&text.encode_utf16().collect::<Vec<_>>()), text.into_bytes());
        }

        #[test]
        fn units_that_are_no_text_keep_what_is(units in prop::collection::vec(any::<u16>(), 0..50)) {
            let (read, want) = (read(&units), String::from_utf16_lossy(&units));
            // A half has three bytes, like the character that says that something is missing.
            prop_assert_eq!(read.len(), want.len());
        }
    }

    #[test]
    fn a_half_character_has_the_bytes_of_its_number() {
        assert_eq!(read(&[0xd83d, 0x61]), b"\xed\xa0\xbda");
        let half = Utf16::new(&b"a\0b"[..], false).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(half.to_string().contains("middle of a character"), "{half}");
    }
}
