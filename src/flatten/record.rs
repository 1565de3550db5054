//! The bytes of one record become a JSON object, or a reason why not. The only place that parses.

use serde_json::{Map, Value};

use super::batch::BadReason;

/// A JSON object in the order in which it came. Numbers keep their digits (`arbitrary_precision`), because only a
/// column knows what they must fit.
pub(super) type Object = Map<String, Value>;

/// Arrays and objects nested more deeply than this are not read.
pub(super) const DEPTH_MAX: usize = 127;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads one record; a byte order mark and white space around it are tolerated.
pub(super) fn parse(raw: &[u8]) -> Result<Object, BadReason> {
    let text = raw.trim_ascii_start();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(BadReason::NotObject),
        Err(_) if is_too_deep(text) => Err(BadReason::TooDeep),
        Err(_) => Err(BadReason::NotJson),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_space_around_are_tolerated() {
        for raw in ["{\"a\":1}", " \r\n{\"a\":1}\n", "\u{feff}{\"a\":1}", "\n\u{feff} {\"a\":1} "] {
            assert_eq!(parse(raw.as_bytes()).map(|o| o.len()), Ok(1), "{raw:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_its_reason() {
        for raw in
            [&b""[..], b"{", b"{\"a\":NaN}", b"{\"a\":\"\xff\"}", b"{\"a\":\"\\ud800\"}", b"{} {}", b"{\"a\":01}"]
        {
            assert_eq!(parse(raw), Err(BadReason::NotJson), "{raw:?}");
        }
        for raw in ["1", "null", "[]", "\"{}\""] {
            assert_eq!(parse(raw.as_bytes()), Err(BadReason::NotObject), "{raw}");
        }
    }

    #[test]
    fn the_depth_is_exact_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(parse(nested(DEPTH_MAX + 1).as_bytes()), Err(BadReason::TooDeep));
        assert_eq!(parse(nested(100_000).as_bytes()), Err(BadReason::TooDeep));
        let brackets = format!("{{\"a\":\"\\\"{}\",}}", "[".repeat(200));
        assert_eq!(parse(brackets.as_bytes()), Err(BadReason::NotJson));
    }
}
