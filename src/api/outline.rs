//! What stands beside the records of an answer that is too large to be kept.
//!
//! An answer by cursor says where to go on. When the only record on its page is too large for memory, that still has to
//! be heard: the answer is read to its end, and of its lists and of the objects in it only the brackets stay. They are
//! counted, for not every source sends as few records as it is asked for: who goes on behind several would lose them.

use bytes::Bytes;

/// Bytes of an outline, at most: what says how to go on is short.
const KEPT_MAX: usize = 64 * 1024;

/// The outline of a JSON object that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Outline {
    kept: Vec<u8>,
    /// Brackets that are open.
    depth: usize,
    /// Objects and lists in the lists and objects of the outermost object: its records.
    records: usize,
    in_string: bool,
    /// Whether the next byte belongs to a backslash.
    escaped: bool,
}

impl Outline {
    /// Reads the next piece.
    pub(super) fn read(&mut self, piece: &[u8]) {
        for &byte in piece {
            let before = self.depth;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.records += usize::from((before, self.depth) == (2, 3));
            if before.min(self.depth) <= 1 && self.kept.len() < KEPT_MAX {
                self.kept.push(byte);
            }
        }
    }

    /// The outline of an object that has ended and has one record; nothing of others.
    pub(super) fn of_one(self) -> Bytes {
        let of_one = self.depth == 0 && self.records == 1 && self.kept.len() < KEPT_MAX;
        if of_one { self.kept.into() } else { Bytes::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn outline(text: &str, step: usize) -> Bytes {
        let mut outline = Outline::default();
        text.as_bytes().chunks(step).for_each(|piece| outline.read(piece));
        outline.of_one()
    }

    proptest! {
        #[test]
        fn what_is_outlined_is_what_is_in_no_list_and_no_object_within(
            name in r#"[a-z"\\\[\]{}]{0,9}"#, cursor in r#"[a-z"\\\[\]{}é]{0,20}"#, records in 0usize..4, step in 1usize..9,
        ) {
            let record = json!({&name: [{&cursor: [&name, 1]}], "cursor": "another", &cursor: {}});
            let page = json!({"conversations": vec![record; records], &format!("x{name}"): {"a": 1}, "cursor": cursor, "n": 1.5});
            let found = outline(&page.to_string(), step);
            prop_assert_eq!(found.is_empty(), records != 1);
            if records == 1 {
                let found: Value = serde_json::from_slice(&found).unwrap();
                prop_assert_eq!(found, json!({"conversations": [], &format!("x{name}"): {}, "cursor": cursor, "n": 1.5}));
            }
        }
    }

    #[test]
    fn what_has_no_end_or_no_record_or_is_too_long_has_no_outline() {
        let of = |cursor: &str| json!({"conversations": [{"a": [{}]}], "cursor": cursor}).to_string();
        let (whole, long) = (of("c"), of(&"c".repeat(KEPT_MAX)));
        for text in ["", &whole[..whole.len() - 1], r#"{"conversations":[],"cursor":"c"}"#, &long] {
            assert_eq!(outline(text, 7), Bytes::new(), "{text:.20}");
        }
        assert_eq!(outline(&whole, 7), r#"{"conversations":[],"cursor":"c"}"#);
    }
}
