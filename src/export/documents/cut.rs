//! A stream of JSON documents: one document, JSON lines, a sequence of texts, or documents one after another.
//!
//! A page in a line is not looked into: its records are told apart when they become rows. That is why a line that looks
//! like a page may turn out to be several, or none.
//!
//! Lines need no search for their end: where a line break stands between a closing and an opening bracket, one
//! document ends and the next begins, or the text is broken. A document that turns out not to be whole when it is cut
//! like that, and whatever has no such line break in sight, is cut bracket by bracket. A page is trusted to be whole only
//! if what comes behind it begins as no broken text goes on.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use super::{foreign, is_of_records};
use crate::api::envelope::{Envelope, seeming_list};
use crate::api::nesting::{Found, Nesting};
use crate::error::{Context, Error, Result};
use crate::export::buffers::Buffers;
use crate::export::input::reading;

/// The largest document that is taken into memory.
const DOCUMENT_BYTES_MAX: usize = 1 << 30;
/// How much is read at a time: about a page.
const CHUNK_BYTES: usize = 1 << 20;
/// A line's end is looked for in as many times what is read at a time.
const LINE_STEPS: usize = 8;

/// Cuts a stream into its top-level JSON objects and arrays, and takes each apart.
pub(in crate::export) struct Documents<R> {
    reader: R,
    /// How much is read at a time.
    step: usize,
    buffers: Buffers,
    /// What was read last, and what of the document before it was left.
    chunk: Bytes,
    /// Where in the chunk the next document begins.
    at: usize,
    /// Up to where in the chunk no line break stands between two documents.
    unbroken: usize,
    /// Whether there may be lines: no line's end was looked for in vain.
    lines: bool,
    /// Bytes of the stream before the chunk.
    offset: u64,
    /// Whether the stream ends with the chunk.
    ended: bool,
    /// Documents so far.
    count: u64,
    failed: bool,
}

/// One document.
#[derive(Debug)]
pub(in crate::export) struct Document {
    /// What holds it; neighbours share it.
    pub(in crate::export) chunk: Bytes,
    /// Where in it the document stands.
    pub(super) range: Range<usize>,
    /// Taken apart; a bare list of conversations is a page.
    pub(super) envelope: Envelope,
    /// Set if it is a page whose records have not been looked for: where in it their list seems to stand.
    pub(super) list: Option<Range<usize>>,
}

impl<R: Read> Documents<R> {
    pub(in crate::export) fn new(reader: R) -> Self {
        Documents::by(CHUNK_BYTES, reader)
    }

    fn by(step: usize, reader: R) -> Self {
        Documents {
            reader,
            step,
            buffers: Buffers::default(),
            chunk: Bytes::new(),
            at: 0,
            unbroken: 0,
            lines: true,
            offset: 0,
            ended: false,
            count: 0,
            failed: false,
        }
    }

    fn document(&mut self) -> Result<Option<Document>> {
        if !self.begin()? {
            return Ok(None);
        }
        self.count += 1;
        if let Some(end) = self.line()? {
            let text = &self.chunk[self.at..end];
            // A bare list may be one of pages as well.
            let is_page = |_: &Range<usize>| text.first() == Some(&b'{') || is_of_records(text);
            if let Some(list) = seeming_list(text).filter(is_page).filter(|_| begins_for_sure(&self.chunk[end..])) {
                return Ok(Some(self.take(end, Envelope::of_list(), Some(list))));
            }
            if let Ok(envelope) = Envelope::of_saved(text) {
                return Ok(Some(self.take(end, envelope, None)));
            }
        }
        let end = self.bracket()?;
        let text = &self.chunk[self.at..end];
        let envelope =
            Envelope::of_saved(text).map_err(|e| foreign::of_bytes(text).map_or(e, |foreign| foreign.error()));
        let envelope = envelope.context(|| format!("document {}", self.count))?;
        Ok(Some(self.take(end, envelope, None)))
    }

    fn take(&mut self, end: usize, envelope: Envelope, list: Option<Range<usize>>) -> Document {
        let range = self.at..end;
        self.at = end;
        Document { chunk: self.chunk.clone(), range, envelope, list }
    }

    /// Goes to where the next document begins; `false` at the end of the stream.
    fn begin(&mut self) -> Result<bool> {
        loop {
            self.at += blank(&self.chunk[self.at..]);
            match self.chunk.get(self.at) {
                Some(b'{' | b'[') => return Ok(true),
                Some(_) => return Err(self.no_document()),
                None if self.ended => return Ok(false),
                None => self.more()?,
            }
        }
    }

    /// What is wrong here, where a document should begin.
    fn no_document(&self) -> Error {
        let here = format!("byte {} begins no JSON object or array", self.place());
        match foreign::of_bytes(&self.chunk[self.at..]).filter(|_| self.count == 0) {
            Some(foreign) => Error::data(format!("{here}: this looks like {}", foreign.what)).hint(foreign.instead),
            None => Error::data(here),
        }
    }

    /// Where the document would end if it is a line, or some lines: at a line break that can only stand between two.
    fn line(&mut self) -> Result<Option<usize>> {
        loop {
            let text = &self.chunk[..];
            let (mut from, mut unbroken) = (self.unbroken.max(self.at), text.len());
            while let Some(length) = memchr(b'\n', &text[from..]) {
                let at = from + length;
                let line = text[self.at..at].trim_ascii_end();
                let closed = matches!(line.last(), Some(b'}' | b']'));
                from = at + blank(&text[at..]);
                match text.get(from) {
                    Some(b'{' | b'[') if closed => {
                        self.unbroken = at;
                        return Ok(Some(self.at + line.len()));
                    }
                    None if closed && self.ended => return Ok(Some(self.at + line.len())),
                    // What comes behind it decides.
                    None => unbroken = at,
                    _ => {}
                }
            }
            self.unbroken = unbroken;
            self.lines &= text.len() - self.at < LINE_STEPS * self.step;
            if self.ended || !self.lines {
                return Ok(None);
            }
            self.more()?;
        }
    }

    /// Where the document ends by its brackets.
    fn bracket(&mut self) -> Result<usize> {
        let mut nesting = Nesting::default();
        let mut read = 0;
        loop {
            match nesting.read(&self.chunk[self.at + read..]) {
                Found::End(length) => return Ok(self.at + read + length),
                // Its reader says what is wrong with it.
                Found::Mismatch(offset) => return Ok(self.at + read + offset + 1),
                Found::Open => read = self.chunk.len() - self.at,
            }
            if self.ended {
                return Err(Error::data(format!("the document at byte {} has no end", self.place())));
            }
            if read > DOCUMENT_BYTES_MAX {
                return Err(Error::data(format!("the document at byte {} is over 1 GiB", self.place()))
                    .hint("save one page a line"));
            }
            self.more()?;
        }
    }

    /// The offset in the stream of what comes next.
    fn place(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// Reads on; what is left of the chunk stays in front. A long rest is read on by its own length, so that it is
    /// not moved again and again.
    fn more(&mut self) -> Result<()> {
        let rest = &self.chunk[self.at..];
        let wanted = self.step.max(rest.len());
        let mut chunk = self.buffers.take(rest.len() + wanted);
        chunk.extend_from_slice(rest);
        let read = self.reader.by_ref().take(wanted as u64).read_to_end(&mut chunk).map_err(reading)?;
        self.ended = read < wanted;
        self.offset = self.place();
        self.unbroken = self.unbroken.saturating_sub(self.at);
        (self.chunk, self.at) = (self.buffers.filled(chunk), 0);
        Ok(())
    }
}

/// Whether `text`, which stands behind a line break, is no string that the line break has come into: a quote would end
/// the string, and no letter stands behind that. Nor is nothing.
fn begins_for_sure(text: &[u8]) -> bool {
    let text = &text[blank(text)..];
    let mut opened = text.iter().skip_while(|byte| matches!(byte, b'{' | b'[') || byte.is_ascii_whitespace());
    text.is_empty() || opened.next() == Some(&b'"') && opened.next().is_some_and(u8::is_ascii_alphabetic)
}

/// Stands before each text of a sequence of them (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// How many bytes `text` begins with that may stand between documents: white space, the separators of a sequence, and
/// byte order marks, which may stand before any concatenated file.
pub(super) fn blank(text: &[u8]) -> usize {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(*byte, 0xef | 0xbb | 0xbf | RECORD_SEPARATOR);
    text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len())
}

impl<R: Read> Iterator for Documents<R> {
    type Item = Result<Document>;

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

#[cfg(test)]
mod tests {
    use super::super::{apart, records};
    use super::*;
    use proptest::prelude::*;
    use std::io;

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

    /// What looks like one page may be several.
    fn texts_of(document: &Document) -> Vec<String> {
        let body = document.body();
        let documents = match document.list {
            Some(_) => apart(&body).unwrap(),
            None => vec![(0..body.len(), document.envelope.clone())],
        };
        documents.into_iter().map(|(range, _)| String::from_utf8(body[range].to_vec()).unwrap()).collect()
    }

    fn documents(text: &'static str) -> Vec<String> {
        Documents::new(Drip(text.as_bytes())).flat_map(|d| texts_of(&d.unwrap())).collect()
    }

    #[test]
    fn one_document_lines_and_concatenations_are_cut_the_same() {
        let want = [r#"{"a":"}\"]"}"#, "[1,[2]]"];
        assert_eq!(documents("\u{feff}{\"a\":\"}\\\"]\"}\n\n[1,[2]]\n"), want);
        assert_eq!(documents("{\"a\":\"}\\\"]\"}[1,[2]]"), want);
        assert!(documents(" \n").is_empty());
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

    #[test]
    fn a_line_break_in_a_broken_record_does_not_cut_it() {
        let text = "{\"conversations\":[{\"a\":\"}\n{\"},{\"b\":1}]}\n{\"conversations\":[]}";
        let found: Vec<_> = Documents::new(text.as_bytes()).map(|d| d.unwrap().envelope.records.len()).collect();
        assert_eq!(found, [2, 0]);
    }

    #[test]
    fn a_line_break_in_a_broken_record_does_not_cut_its_page() {
        for behind in ["{\"},{\"b\":1}]}", "{ [\",\"b\":1}]}", "[x\"}]}", "{]}\n{}\"}]}"] {
            let broken = format!("{{\"conversations\":[{{\"a\":\"}}]}}\n{behind}");
            let text: &'static str = format!("{broken}\n{{\"conversations\":[{{}}]}}\n").leak();
            for step in 1..=text.len() + 1 {
                let found: Vec<_> = Documents::by(step, text.as_bytes()).map(|d| d.unwrap().range.len()).collect();
                assert_eq!(found, [broken.len(), 22], "{broken}");
            }
        }
    }

    #[test]
    fn pages_in_one_line_have_all_their_records() {
        const ALONE: &str = r#"{"conversationId":"c","conversationStart":"2025-01-01T00:00:00Z"}"#;
        let pages = format!(r#"{{"conversations":[{{"a":1}},{{}}]}}[{ALONE}] {ALONE}{{"entities":[{{}}]}}"#);
        let line: &'static str = format!("{pages}\n").leak();
        let found: Vec<_> = Documents::new(line.as_bytes()).map(|d| d.unwrap().list).collect();
        assert_eq!(found, [Some(17..pages.len() - 1)], "it looks like one");
        let texts: Vec<_> = records(pages.as_bytes()).unwrap().into_iter().map(|record| &pages[record]).collect();
        assert_eq!(texts, [r#"{"a":1}"#, "{}", ALONE, ALONE, "{}"]);
        for (bad, why) in [
            (r#"{"conversations":[{]}]}"#, "does not match"),
            (r#"{"conversations":[{}]}{"message":"no","status":429}"#, "an error answer"),
            (r#"{"conversations":[{}]}{"something":"else"}"#, "its keys: `something`"),
            (r#"{"conversations":[{}]}{"conversations":[{}]"#, "the text breaks off"),
        ] {
            let error = records(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn documents_are_cut_where_they_end(
            documents in prop::collection::vec((prop::sample::select(&["{}", "[]", "{\"a\":[{\"b\":\"}\\n{\"},2]}", "[{\"c\":1},{}]"][..]), any::<bool>()), 0..6),
            breaks in prop::collection::vec(prop::sample::select(&["", "\n", " \n\n ", "\r\n", "\u{feff}"][..]), 6),
            step in 1usize..40,
        ) {
            let pretty = |text: &str| {
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                serde_json::to_string_pretty(&value).unwrap()
            };
            let texts: Vec<String> =
                documents.iter().map(|(text, is_pretty)| if *is_pretty { pretty(text) } else { (*text).to_owned() }).collect();
            let stream: String = texts.iter().zip(&breaks).flat_map(|(text, space)| [text.as_str(), *space]).collect();
            let found: Vec<String> = Documents::by(step, stream.as_bytes()).flat_map(|d| texts_of(&d.unwrap())).collect();
            prop_assert_eq!(found, texts);
        }
    }
}
