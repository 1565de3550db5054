//! Halves of characters: UTF-16 writes a character beyond the first 65,536 as a pair of surrogates, and who cuts a text
//! by UTF-16 units may leave half a pair. JSON can say it (`\ud83d`), UTF-8 cannot.

use std::borrow::Cow;

/// `text`, if it is UTF-8; or with each surrogate that was encoded by itself, as three bytes (CESU-8 writes all its
/// pairs so), as the escape of it, if it is UTF-8 then. Strings are the only place in JSON where either may stand.
pub(super) fn utf8(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if simdutf8::basic::from_utf8(text).is_ok() {
        return Some(text.into());
    }
    let escaped = escaped(text)?;
    simdutf8::basic::from_utf8(&escaped).ok()?;
    Some(escaped.into())
}

/// `None` where a backslash stands before such a surrogate: it would come to escape the escape.
fn escaped(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len() + text.len() / 8), text);
    loop {
        rest = match rest {
            [] => return Some(out),
            [b'\\', 0xED, 0xA0..=0xBF, ..] => return None,
            [b'\\', escaped, behind @ ..] => {
                out.extend_from_slice(&[b'\\', *escaped]);
                behind
            }
            [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, behind @ ..] => {
                let unit = 0xD000 | u32::from(second & 0x3F) << 6 | u32::from(third & 0x3F);
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                behind
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogates_become_their_escapes_and_nothing_else_changes() {
        let of = |text: &[u8]| utf8(text).map(|text| String::from_utf8(text.into_owned()).unwrap());
        for (text, expected) in [
            (&b"\"a\xed\xa0\xbd\""[..], Some(r#""a\ud83d""#)),
            (b"\"\xed\xa0\xbd\xed\xb8\x80\"", Some(r#""\ud83d\ude00""#)),
            (b"\"\\\\\xed\xa0\xbd\"", Some(r#""\\\ud83d""#)),
            ("\"\u{d7ff}\u{1F600}\"".as_bytes(), Some("\"\u{d7ff}\u{1F600}\"")),
            (b"\"\\\xed\xa0\xbd\"", None),
            (b"\"\xed\xa0\xbd\xff\"", None),
            (b"\"\xed\xa0\"", None),
            (b"\"\xff\"", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text:?}");
        }
    }
}
