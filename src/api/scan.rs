//! A byte scanner that cuts a JSON text into values without reading them.
//!
//! A record may hold what a JSON parser refuses (`NaN`, broken UTF-8, lone surrogates, nesting without end) and
//! must still be cut out as one element, so that it alone is set aside and not the page around it. Only
//! strings and brackets are respected (see [`super::nesting`]); there is no recursion.

use std::ops::Range;

use super::nesting::{Found, Nesting};

/// Where a text stopped being a sequence of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Offset in bytes.
    pub(crate) at: usize,
    /// What was the matter there.
    pub(crate) what: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// A place in a text, moving forward.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<'a> Scanner<'a> {
    /// At the first value of `text`; a byte order mark is passed over.
    pub(crate) fn new(text: &'a [u8]) -> Scanner<'a> {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut scanner = Scanner { text, at };
        scanner.space();
        scanner
    }

    /// The same text from `at` on.
    pub(crate) fn from(&self, at: usize) -> Scanner<'a> {
        let mut scanner = Scanner { text: self.text, at };
        scanner.space();
        scanner
    }

    /// The place here.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The byte here; white space has been passed over.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next member's key, quotes included, of the object that begins here or that the last value was in;
    /// `None` behind its closing brace.
    pub(crate) fn key(&mut self, first: bool) -> Result<Option<Range<usize>>, Malformed> {
        if first {
            self.expect(b'{', "no object")?;
        }
        if first || self.peek() == Some(b'}') {
            if self.peek() == Some(b'}') {
                self.advance(1);
                return Ok(None);
            }
        } else {
            self.expect(b',', "neither a comma nor a closing brace")?;
        }
        if self.peek() != Some(b'"') {
            return self.fail("no key");
        }
        let start = self.at;
        self.string()?;
        let key = start..self.at;
        self.space();
        self.expect(b':', "no colon")?;
        Ok(Some(key))
    }

    /// The elements of the array that begins here.
    pub(crate) fn list(&mut self) -> Result<Vec<Range<usize>>, Malformed> {
        self.expect(b'[', "no array")?;
        let mut elements = Vec::new();
        if self.peek() == Some(b']') {
            self.advance(1);
            return Ok(elements);
        }
        loop {
            elements.push(self.value()?);
            match self.peek() {
                Some(b',') => self.advance(1),
                Some(b']') => {
                    self.advance(1);
                    return Ok(elements);
                }
                _ => return self.fail("neither a comma nor a closing bracket"),
            }
        }
    }

    /// The value that begins here, whatever it is.
    pub(crate) fn value(&mut self) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        let value = start..self.at;
        self.space();
        Ok(value)
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.text.len() { Ok(()) } else { self.fail("something follows the end") }
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, Malformed> {
        let what = if self.at >= self.text.len() { "the text breaks off" } else { what };
        Err(Malformed { at: self.at.min(self.text.len()), what })
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.space();
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return self.fail(otherwise);
        }
        self.advance(1);
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(rest.len());
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            let Some(next) = self.rest().iter().position(|b| matches!(b, b'"' | b'\\')) else {
                self.at = self.text.len();
                return self.fail("a string without end");
            };
            self.at += next;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.at += 2;
        }
    }

    fn scalar(&mut self) -> Result<(), Malformed> {
        let rest = self.rest();
        let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b'[' | b'{' | b'"' | b':' | b' ' | b'\n' | b'\r' | b'\t');
        match rest.iter().position(ends).unwrap_or(rest.len()) {
            0 => self.fail("no value"),
            length => {
                self.at += length;
                Ok(())
            }
        }
    }

    fn nested(&mut self) -> Result<(), Malformed> {
        match Nesting::default().read(self.rest()) {
            Found::End(length) => {
                self.at += length;
                Ok(())
            }
            Found::Mismatch(offset) => {
                self.at += offset;
                self.fail("a bracket that does not match")
            }
            Found::Open => {
                self.at = self.text.len();
                self.fail("a bracket without end")
            }
        }
    }
}
