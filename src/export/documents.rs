//! Saved pages as a stream of JSON documents: one document, JSON lines, or documents one after another; plain or gzip.

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The largest document that is taken into memory.
const DOCUMENT_BYTES_MAX: usize = 1 << 30;
/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// Cuts a stream into its top-level JSON objects and arrays. Only brackets and strings are looked at: whether a
/// document is valid is for its reader to say.
pub(super) struct Documents<R> {
    reader: R,
    chunk: Vec<u8>,
    /// What of the chunk is not consumed yet.
    rest: std::ops::Range<usize>,
    /// Bytes of the stream before the chunk.
    offset: u64,
    failed: bool,
}

/// Reads `raw`, through gzip if it begins like gzip.
pub(super) fn open(raw: impl Read + Send + 'static) -> io::Result<Documents<Box<dyn Read + Send>>> {
    let mut raw = BufReader::with_capacity(CHUNK_BYTES, raw);
    let gzip = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read + Send> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    Ok(Documents::new(reader))
}

impl<R: Read> Documents<R> {
    pub(super) fn new(reader: R) -> Self {
        Documents { reader, chunk: vec![0; CHUNK_BYTES], rest: 0..0, offset: 0, failed: false }
    }

    fn document(&mut self) -> Result<Option<Bytes>> {
        let mut nesting = Nesting::default();
        let mut document = Vec::new();
        loop {
            if self.rest.is_empty() && !self.fill()? {
                if document.is_empty() {
                    return Ok(None);
                }
                return Err(Error::data(format!("the document at byte {} has no end", self.at(document.len()))));
            }
            let bytes = &self.chunk[self.rest.clone()];
            if document.is_empty() {
                // A byte order mark is white space here: it may stand before any concatenated file.
                let blank = bytes.iter().take_while(|b| b.is_ascii_whitespace() || is_mark(**b)).count();
                if blank > 0 {
                    self.rest.start += blank;
                    continue;
                }
                if !matches!(bytes[0], b'{' | b'[') {
                    return Err(Error::data(format!("byte {} begins no JSON object or array", self.at(0))));
                }
            }
            let end = nesting.end(bytes);
            let taken = end.unwrap_or(bytes.len());
            document.extend_from_slice(&bytes[..taken]);
            self.rest.start += taken;
            if end.is_some() {
                return Ok(Some(Bytes::from(document)));
            }
            if document.len() > DOCUMENT_BYTES_MAX {
                return Err(Error::data(format!("the document at byte {} is over 1 GiB", self.at(document.len())))
                    .hint("save one page a line"));
            }
        }
    }

    /// Where the byte stands that `back` bytes were read since.
    fn at(&self, back: usize) -> u64 {
        self.offset + self.rest.start as u64 - back as u64
    }

    fn fill(&mut self) -> Result<bool> {
        self.offset += self.rest.end as u64;
        loop {
            match self.reader.read(&mut self.chunk) {
                Ok(n) => {
                    self.rest = 0..n;
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                    return Err(Error::data("the gzip stream is damaged").source(e));
                }
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Error::data("the gzip stream ends too early").source(e));
                }
                Err(e) => return Err(Error::storage("cannot be read").source(e)),
            }
        }
    }
}

impl<R: Read> Iterator for Documents<R> {
    type Item = Result<Bytes>;

    /// The next document. After an error nothing more comes: there is no telling where the next one begins.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let document = self.document().transpose();
        self.failed = matches!(document, Some(Err(_)));
        document
    }
}

/// Brackets open so far.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Reads on; where the outermost bracket closes, the offset behind it.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, byte) in bytes.iter().enumerate() {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                match byte {
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, 0xef | 0xbb | 0xbf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::io::Write;

    /// Gives one byte at a time: every document straddles chunks.
    struct Drip(&'static [u8]);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn documents(text: &'static str) -> Vec<String> {
        Documents::new(Drip(text.as_bytes())).map(|d| String::from_utf8(d.unwrap().to_vec()).unwrap()).collect()
    }

    #[test]
    fn one_document_lines_and_concatenations_are_cut_the_same() {
        let want = [r#"{"a":"}\"]"}"#, "[1,[2]]"];
        assert_eq!(documents("\u{feff}{\"a\":\"}\\\"]\"}\n\n[1,[2]]\n"), want);
        assert_eq!(documents("{\"a\":\"}\\\"]\"}[1,[2]]"), want);
        assert!(documents(" \n").is_empty());
    }

    #[test]
    fn gzip_is_recognised_by_its_first_bytes_even_in_several_members() {
        let mut packed = Vec::new();
        for text in ["{\"a\":1}\n", "{\"b\":2}"] {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        let whole = packed.clone();
        assert_eq!(open(io::Cursor::new(whole)).unwrap().map(|d| d.unwrap().len()).collect::<Vec<_>>(), [7, 7]);
        packed.truncate(packed.len() - 9);
        let last = open(io::Cursor::new(packed)).unwrap().last().unwrap();
        assert_eq!(last.unwrap_err().kind(), Kind::Data);
    }

    #[test]
    fn an_open_document_and_stray_text_are_refused_with_their_place() {
        for (text, place) in [("{}  {\"a\":[", "byte 4"), ("{} x", "byte 3"), ("<html>", "byte 0")] {
            let mut documents = Documents::new(Drip(text.as_bytes()));
            let error = documents.by_ref().find_map(Result::err).unwrap();
            assert!(error.to_string().contains(place), "{error}");
            assert!(documents.next().is_none());
        }
    }
}
