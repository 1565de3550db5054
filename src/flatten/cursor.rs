//! A place in the JSON text of one record, moving forward. It reads exactly what the grammar allows and builds nothing;
//! it never looks at a byte twice, and at the bytes of a string sixteen at a time.

use wide::u8x16;

/// Arrays and objects nested more deeply than this are not read.
pub(super) const DEPTH_MAX: u8 = 127;

/// The text is not JSON, or nested too deeply; or it is, and not as plain as its reader needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// What is between the quotes.
    pub(super) raw: &'a [u8],
    /// Whether there are escapes in it.
    pub(super) escaped: bool,
}

/// See the module's words. The text must be valid UTF-8, which is cheaper to find out before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u8,
    /// Whether half a surrogate pair may stand in a string.
    halves: bool,
}

type Result<T> = std::result::Result<T, Broken>;

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Cursor<'a> {
        Cursor { text, at: 0, depth: 0, halves: false }
    }

    /// The same place, where strings may have halves of surrogate pairs in them.
    pub(super) fn with_halves(self) -> Cursor<'a> {
        Cursor { halves: true, ..self }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The same text from a place where a value begins.
    pub(super) fn from(&self, at: usize) -> Cursor<'a> {
        Cursor { at, ..*self }
    }

    pub(super) fn text(&self, span: Span) -> &'a [u8] {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The text from here.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn pass(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The byte here; 0, which begins nothing, behind the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or_default()
    }

    /// Passes white space; the byte behind it.
    #[inline(always)]
    pub(super) fn space(&mut self) -> u8 {
        let mut byte = self.peek();
        while matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
            byte = self.peek();
        }
        byte
    }

    /// Passes the opening bracket here; says whether anything comes before `closing`, which is passed too otherwise.
    #[inline]
    pub(super) fn open(&mut self, closing: u8) -> Result<bool> {
        if self.depth == DEPTH_MAX {
            return Err(Broken);
        }
        self.at += 1;
        if self.space() == closing {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    /// Behind a member or an item: whether another one comes. If not, `closing` has been passed.
    #[inline(always)]
    pub(super) fn more(&mut self, closing: u8) -> Result<bool> {
        let byte = self.space();
        self.at += 1;
        if byte == b',' {
            self.space();
            return Ok(true);
        }
        if byte != closing {
            return Err(Broken);
        }
        self.depth -= 1;
        Ok(false)
    }

    /// Passes a member's name and its colon, up to its value.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Text<'a>> {
        let key = self.string()?;
        if self.space() != b':' {
            return Err(Broken);
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    /// Passes a string.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Text<'a>> {
        self.plain().map_or_else(|| self.escaped(), |raw| Ok(Text { raw, escaped: false }))
    }

    /// Passes the string here if nothing in it is escaped. What it returns goes through registers: in memory it would
    /// be waited for, string by string.
    fn plain(&mut self) -> Option<&'a [u8]> {
        if self.peek() != b'"' {
            return None;
        }
        let start = self.at + 1;
        let end = self.stop(start);
        if self.text.get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[cold]
    fn escaped(&mut self) -> Result<Text<'a>> {
        if self.peek() != b'"' {
            return Err(Broken);
        }
        let start = self.at + 1;
        let mut end = self.stop(start);
        while self.text.get(end) == Some(&b'\\') {
            let (char, length) = escape(self.text.get(end..).unwrap_or_default()).ok_or(Broken)?;
            if char.is_none() && !self.halves {
                return Err(Broken);
            }
            end = self.stop(end + length);
        }
        if self.text.get(end) != Some(&b'"') {
            return Err(Broken);
        }
        self.at = end + 1;
        Ok(Text { raw: self.text(Span { start, end }), escaped: true })
    }

    /// The place of the next byte at or behind `at` that cannot just stand in a string.
    #[inline(always)]
    fn stop(&self, mut at: usize) -> usize {
        while let Some(block) = self.text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            let bytes = u8x16::new(*block);
            let special = bytes.simd_eq(u8x16::splat(b'"'))
                | bytes.simd_eq(u8x16::splat(b'\\'))
                | bytes.simd_eq(bytes.min(u8x16::splat(0x1F)));
            let found = special.to_bitmask();
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            at += 16;
        }
        let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
        at + self.text.get(at..).unwrap_or_default().iter().take_while(|byte| plain(byte)).count()
    }

    /// Passes a number; its digits as they came.
    pub(super) fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let leading = self.peek();
        if self.digits() == 0 || (leading == b'0' && self.at - start > 1 + usize::from(self.text[start] == b'-')) {
            return Err(Broken);
        }
        if self.peek() == b'.' {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Broken);
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Broken);
            }
        }
        Ok(self.text(Span { start, end: self.at }))
    }

    fn digits(&mut self) -> usize {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        digits
    }

    /// Passes `true`, `false` or `null`, which the byte here announces.
    pub(super) fn word(&mut self, word: &'static [u8]) -> Result<()> {
        if !self.rest().starts_with(word) {
            return Err(Broken);
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes a value of any kind, and all in it; where it stands.
    pub(super) fn skip(&mut self) -> Result<Span> {
        let first = self.space();
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' => {
                let mut more = self.open(b'}')?;
                while more {
                    self.key()?;
                    self.skip()?;
                    more = self.more(b'}')?;
                }
            }
            b'[' => {
                let mut more = self.open(b']')?;
                while more {
                    self.skip()?;
                    more = self.more(b']')?;
                }
            }
            b'-' | b'0'..=b'9' => drop(self.number()?),
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => return Err(Broken),
        }
        Ok(Span { start, end: self.at })
    }

    /// Behind the last value: nothing but white space comes.
    pub(super) fn end(&mut self) -> Result<()> {
        self.space();
        if self.at < self.text.len() { Err(Broken) } else { Ok(()) }
    }
}

impl Text<'_> {
    /// Appends what the string says.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        if !self.escaped {
            return out.extend_from_slice(self.raw);
        }
        let mut rest = self.raw;
        while let Some(plain) = rest.iter().position(|&byte| byte == b'\\') {
            out.extend_from_slice(&rest[..plain]);
            // Strings with an escape that is none do not come this far.
            let (char, length) = escape(&rest[plain..]).unwrap_or((None, 1));
            let char = char.unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[plain + length..];
        }
        out.extend_from_slice(rest);
    }

    /// Whether it says half a character somewhere, which becomes U+FFFD.
    pub(super) fn has_halves(&self) -> bool {
        let mut rest = self.raw;
        while let Some(plain) = rest.iter().position(|&byte| byte == b'\\').filter(|_| self.escaped) {
            match escape(&rest[plain..]) {
                Some((Some(_), length)) => rest = &rest[plain + length..],
                Some((None, _)) => return true,
                None => return false,
            }
        }
        false
    }

    /// What the string says.
    pub(super) fn decoded(&self) -> std::borrow::Cow<'_, [u8]> {
        if !self.escaped {
            return self.raw.into();
        }
        let mut out = Vec::with_capacity(self.raw.len());
        self.append_to(&mut out);
        out.into()
    }
}

/// The character that the escape at the beginning of `text` stands for, `None` if it is half a surrogate pair without
/// the other half behind it; and the escape's length in bytes.
fn escape(text: &[u8]) -> Option<(Option<char>, usize)> {
    let char = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex(text.get(2..6)?)?;
            let low = || {
                let second = text.get(6..8).filter(|next| next == b"\\u").and_then(|_| hex(text.get(8..12)?))?;
                second.checked_sub(0xDC00).filter(|low| *low < 0x400)
            };
            if (0xD800..0xDC00).contains(&first)
                && let Some(low) = low()
            {
                return Some((char::from_u32(0x10000 + ((first - 0xD800) << 10) + low), 12));
            }
            return Some((char::from_u32(first), 6));
        }
        _ => return None,
    };
    Some((Some(char), 2))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |so_far, digit| Some(so_far << 4 | char::from(*digit).to_digit(16)?))
}

/// Whether brackets outside of strings open more than [`DEPTH_MAX`] levels, in a text that may be anything.
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > usize::from(DEPTH_MAX) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(text: &str) -> Result<usize> {
        let mut cursor = Cursor::new(text.as_bytes());
        cursor.skip()?;
        cursor.end().map(|()| cursor.at())
    }

    #[test]
    fn the_grammar_is_kept_exactly() {
        let long = format!("\"{}\\n{}\"", "x".repeat(40), "é".repeat(20));
        let space = " [ 1 , {\"a\" : null } , [ ] ]\n";
        for good in ["0", "-0", "10.50e+07", space, "true", r#""\ud83d\ude00\u00e9\/""#, "\"\u{7f}\"", &long] {
            assert_eq!(skipped(good), Ok(good.len()), "{good}");
        }
        let bare = r#"01 - 1. .5 1e 1e+ +1 0x1 NaN tru nulls [1,] [,1] [1} [ { {"a":1,} {a:1} {"a"} {"a":} ""#;
        let strings = [r#""\x""#, r#""\u12g4""#, r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, "\"\t\""];
        for bad in bare.split(' ').chain(strings).chain(["", " ", "[1 2]", "{} {}"]) {
            assert_eq!(skipped(bad), Err(Broken), "{bad}");
        }
    }

    #[test]
    fn half_a_character_passes_only_where_it_may() {
        for (text, says) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ude00b""#, "\u{fffd}b"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1F600}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(Cursor::new(text.as_bytes()).string().err(), Some(Broken), "{text}");
            let passed = Cursor::new(text.as_bytes()).with_halves().string().unwrap();
            assert_eq!((&*passed.decoded(), passed.has_halves()), (says.as_bytes(), true), "{text}");
        }
        for (text, says) in
            [(r#""\ud83d\ude00""#, "\u{1F600}"), (r#""\\ud83d""#, "\\ud83d"), ("\"\u{fffd}\"", "\u{fffd}")]
        {
            let passed = Cursor::new(text.as_bytes()).string().unwrap();
            assert_eq!((&*passed.decoded(), passed.has_halves()), (says.as_bytes(), false), "{text}");
        }
    }

    #[test]
    fn a_control_character_breaks_a_string_wherever_it_stands() {
        for (byte, before) in (0..0x20_u8).flat_map(|byte| (0..40).map(move |before| (byte, before))) {
            let text = format!("\"{}{}{}\"", "x".repeat(before), char::from(byte), "x".repeat(20));
            assert_eq!(skipped(&text), Err(Broken), "{text:?}");
        }
    }

    #[test]
    fn the_depth_is_exact_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let most = usize::from(DEPTH_MAX);
        assert!(skipped(&nested(most)).is_ok() && !is_too_deep(nested(most).as_bytes()));
        for levels in [most + 1, 100_000] {
            assert!(skipped(&nested(levels)).is_err() && is_too_deep(nested(levels).as_bytes()));
        }
        assert!(!is_too_deep(format!("{{\"a\":\"\\\"{}\",}}", "[".repeat(200)).as_bytes()));
    }
}
