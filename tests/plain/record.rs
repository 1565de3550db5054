//! The bytes of one record become a JSON object, or a reason why not. The only place that parses.

use convlake::flatten::batch::BadReason;
use serde_json::{Map, Number, Value};

/// A JSON object in the order in which it came. Numbers keep their digits, as they came.
pub(crate) type Object = Map<String, Value>;

/// Arrays and objects nested more deeply than this are not read.
const DEPTH_MAX: usize = 127;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Stands for half a surrogate pair until it is counted: a character that no text has.
pub(crate) const HALF: char = '\u{FDD0}';

/// Begins a string that was a number.
const NUMBER: char = '\u{F8FF}';

/// Reads one record; a byte order mark and white space around it are tolerated.
pub(crate) fn parse(raw: &[u8]) -> Result<Object, BadReason> {
    let text = raw.trim_ascii_start();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let marked = marked(text);
    let value = serde_json::from_slice::<Value>(&marked)
        .ok()
        .and_then(|_| serde_json::from_str(&quoted(std::str::from_utf8(&marked).ok()?)).ok());
    match value.map(unquoted) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(BadReason::NotObject),
        None if is_too_deep(text) => Err(BadReason::TooDeep),
        None => Err(BadReason::NotJson),
    }
}

/// `text` with [`HALF`] for each surrogate that has no other half beside it, and each pair of surrogates that CESU-8
/// wrote as the character.
fn marked(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        let (piece, length) = match unit(rest) {
            Some((high, length)) if high < 0xDC00 => match unit(&rest[length..]) {
                Some((low, second)) if low >= 0xDC00 => {
                    let pair = char::decode_utf16([high, low]).next().unwrap().unwrap();
                    (pair.to_string().into_bytes(), length + second)
                }
                _ => (HALF.to_string().into_bytes(), length),
            },
            Some((_, length)) => (HALF.to_string().into_bytes(), length),
            None if rest.len() > 1 && rest[0] == b'\\' => (rest[..2].to_vec(), 2),
            None => (rest[..1].to_vec(), 1),
        };
        out.extend(piece);
        at += length;
    }
    out
}

/// The surrogate that `text` begins with, as an escape or as bytes of its own, and its length.
fn unit(text: &[u8]) -> Option<(u16, usize)> {
    if let Some(digits) = text.strip_prefix(b"\\u").and_then(|rest| rest.get(..4)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        return (0xD800..0xE000).contains(&unit).then_some((unit, 6));
    }
    match text {
        [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] => {
            Some((0xD800 + u16::from(second - 0xA0) * 64 + u16::from(third - 0x80), 3))
        }
        _ => None,
    }
}

/// The valid `json` with its numbers as strings: serde_json itself would write `1E5` as `1e+5`.
fn quoted(json: &str) -> String {
    let (mut out, mut rest) = (String::new(), json);
    while let Some(next) = rest.find(|char: char| char == '"' || char == '-' || char.is_ascii_digit()) {
        let (before, from) = rest.split_at(next);
        out.push_str(before);
        let mut escaped = false;
        let length = if let Some(text) = from.strip_prefix('"') {
            let ends = |char: char| {
                let ends = char == '"' && !escaped;
                escaped = char == '\\' && !escaped;
                ends
            };
            2 + text.find(ends).unwrap()
        } else {
            from.find(|char: char| !char.is_ascii_digit() && !"+-.eE".contains(char)).unwrap_or(from.len())
        };
        let (token, behind) = from.split_at(length);
        if token.starts_with('"') {
            out.push_str(token);
        } else {
            out.push_str(&format!("\"{NUMBER}{token}\""));
        }
        rest = behind;
    }
    out + rest
}

fn unquoted(value: Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix(NUMBER) {
            Some(digits) => Value::Number(Number::from_string_unchecked(digits.to_owned())),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(unquoted).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, unquoted(value))).collect(),
        plain => plain,
    }
}

/// Whether brackets outside of strings open more than [`DEPTH_MAX`] levels.
fn is_too_deep(text: &[u8]) -> bool {
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
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}
