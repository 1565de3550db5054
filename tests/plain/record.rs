//! The bytes of one record become a JSON object, or a reason why not. The only place that parses.

use convlake::flatten::batch::BadReason;
use serde_json::{Map, Number, Value};

/// A JSON object in the order in which it came. Numbers keep their digits, as they came.
pub(crate) type Object = Map<String, Value>;

/// Arrays and objects nested more deeply than this are not read.
const DEPTH_MAX: usize = 127;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Begins a string that was a number.
const NUMBER: char = '\u{F8FF}';

/// Reads one record; a byte order mark and white space around it are tolerated.
pub(crate) fn parse(raw: &[u8]) -> Result<Object, BadReason> {
    let text = raw.trim_ascii_start();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let value = serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|_| serde_json::from_str(&quoted(std::str::from_utf8(text).ok()?)).ok());
    match value.map(unquoted) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(BadReason::NotObject),
        None if is_too_deep(text) => Err(BadReason::TooDeep),
        None => Err(BadReason::NotJson),
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
