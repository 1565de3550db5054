//! From the bytes of an input to UTF-8 text: compression and UTF-16 are recognized by the first bytes and taken off,
//! one around the other.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::utf16::Utf16;
use crate::error::Error;

/// As many bytes are looked at before anything is read.
const HEAD_BYTES: usize = 4;
/// Layers around each other, at most: a file that is packed twice is a mistake, one that never ends is an attack.
const LAYERS_MAX: usize = 4;

/// The first bytes of zstd's skippable frames differ in their last four bits; parallel compressors begin with one.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// What lies around a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Gzip,
    Zstd,
    Utf16 { big_endian: bool },
}

impl Layer {
    fn of(head: &[u8]) -> Option<Layer> {
        let utf16 = |big_endian| Some(Layer::Utf16 { big_endian });
        match *head {
            [0x1f, 0x8b, ..] => Some(Layer::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Layer::Zstd),
            [first, ref rest @ ..] if first & 0xf0 == 0x50 && *rest == ZSTD_SKIPPABLE => Some(Layer::Zstd),
            // Four bytes of UTF-32 look like a mark of UTF-16 and a zero, which no text has.
            [0xff, 0xfe, 0, 0] => None,
            [0xff, 0xfe, ..] => utf16(false),
            [0xfe, 0xff, ..] => utf16(true),
            // Without a mark, the zeros give it away: JSON begins with ASCII.
            [low, 0, next, _] if low != 0 && next != 0 => utf16(false),
            [0, low, _, next] if low != 0 && next != 0 => utf16(true),
            _ => None,
        }
    }
}

/// `raw` as text, whatever is around it.
pub(super) fn decoded(raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut reader: Box<dyn Read + Send> = Box::new(raw);
    for _ in 0..LAYERS_MAX {
        let mut buffered = BufReader::new(reader);
        let mut head = Vec::with_capacity(HEAD_BYTES);
        // A pipe may give its first bytes one by one.
        buffered.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let layer = Layer::of(&head);
        let whole = Cursor::new(head).chain(buffered);
        match layer {
            None => return Ok(Box::new(whole)),
            Some(layer) => reader = without(layer, whole)?,
        }
    }
    Err(io::Error::other(Error::data(format!("it is packed more than {LAYERS_MAX} times over"))))
}

fn without(layer: Layer, whole: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    Ok(match layer {
        Layer::Gzip => Box::new(Named { what: "gzip", reader: MultiGzDecoder::new(whole) }),
        Layer::Zstd => Box::new(Named { what: "zstd", reader: zstd::stream::read::Decoder::with_buffer(whole)? }),
        Layer::Utf16 { big_endian } => Box::new(Utf16::new(whole, big_endian)),
    })
}

/// Says of which layer an error is.
struct Named<R> {
    what: &'static str,
    reader: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|cause| {
            let what = self.what;
            let of_below = cause.raw_os_error().is_some() || cause.get_ref().is_some_and(|inner| inner.is::<Error>());
            match cause.kind() {
                _ if of_below => cause,
                io::ErrorKind::UnexpectedEof => {
                    io::Error::other(Error::data(format!("the {what} stream ends too early")).source(cause))
                }
                // Decompressors call what is wrong with their data by any of these.
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                    io::Error::other(Error::data(format!("the {what} stream is damaged")).source(cause))
                }
                _ => cause,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn utf16(text: &str, big_endian: bool, mark: bool) -> Vec<u8> {
        let mark = mark.then_some(0xfeff);
        let bytes = |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
        mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    fn read(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = Vec::new();
        decoded(Cursor::new(bytes))?.read_to_end(&mut text)?;
        Ok(String::from_utf8(text).unwrap().trim_start_matches('\u{feff}').to_owned())
    }

    proptest! {
        #[test]
        fn every_layer_comes_off(inside in "\\PC*", little: bool, mark: bool) {
            let text = format!("{{\"a\":\"{inside}\"}}");
            let encoded = utf16(&text, !little, mark);
            let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &zstd(text.as_bytes())].concat();
            for bytes in [
                text.clone().into_bytes(),
                gzip(text.as_bytes()),
                zstd(text.as_bytes()),
                skippable,
                gzip(&zstd(&encoded)),
                encoded,
            ] {
                prop_assert_eq!(read(bytes).unwrap(), text.clone());
            }
        }

        #[test]
        fn packed_text_that_is_cut_is_refused(text in "[a-z]{40,200}", cut in 1usize..12) {
            for mut packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
                packed.truncate(packed.len() - cut);
                let error = read(packed).unwrap_err().downcast::<Error>().unwrap();
                prop_assert_eq!(error.kind(), Kind::Data);
            }
        }
    }

    #[test]
    fn short_texts_are_what_they_are() {
        for text in ["", "{", "{}", "[]\n", "abc"] {
            assert_eq!(read(text.as_bytes().to_vec()).unwrap(), text);
        }
        let nested = (0..=LAYERS_MAX).fold(b"{}".to_vec(), |bytes, _| gzip(&bytes));
        assert!(read(nested).is_err());
    }
}
