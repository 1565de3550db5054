//! What the API says when it refuses: read tolerantly, quoted safely.

use serde_json::{Map, Value};

use crate::secrets::Secrets;

/// Longest piece of foreign text that a message of ours quotes, in characters.
const QUOTE_CHARS_MAX: usize = 300;

/// The error object of a response, as far as it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The status that the body states, which a gateway may have replaced on the outside.
    pub status: Option<u16>,
    /// The API's machine-readable code, such as `bad.request`.
    pub code: Option<String>,
    /// Its text.
    pub message: Option<String>,
    /// The number under which Genesys' support finds the call.
    pub context_id: Option<String>,
}

impl Complaint {
    /// Reads a body; what is not a JSON object complains of nothing.
    pub fn of_body(body: &[u8]) -> Complaint {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Complaint::of_object(&object),
            _ => Complaint::default(),
        }
    }

    /// Reads the members of an error object, of the API or of its login.
    pub fn of_object(object: &Map<String, Value>) -> Complaint {
        let text = |names: &[&str]| names.iter().find_map(|name| text(object.get(*name)?)).map(|t| quote(&t));
        Complaint {
            status: object.get("status").and_then(whole).and_then(|s| u16::try_from(s).ok()),
            code: text(&["code", "error"]),
            message: text(&["message", "error_description", "description"]),
            context_id: text(&["contextId"]),
        }
    }

    /// The same without our secrets, which a server may send back.
    #[must_use]
    pub fn told(self, secrets: &Secrets) -> Complaint {
        let tell = |text: Option<String>| text.map(|text| secrets.tell(&text).into());
        let Complaint { status, code, message, context_id } = self;
        Complaint { status, code: tell(code), message: tell(message), context_id: tell(context_id) }
    }

    /// Whether anything was said.
    pub fn is_empty(&self) -> bool {
        self.code.is_none() && self.message.is_none()
    }
}

impl std::fmt::Display for Complaint {
    /// `code: message (context …)`, or nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = [self.code.as_deref(), self.message.as_deref()];
        f.write_str(&said.into_iter().flatten().collect::<Vec<_>>().join(": "))?;
        self.context_id.iter().try_for_each(|id| write!(f, " (context {id})"))
    }
}

/// Foreign text made fit for a message: one line, no control characters, of bounded length. A secret in it is never cut,
/// so that it can be found: a word that does not fit is left out whole.
pub fn quote(text: &str) -> String {
    let clean = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let mut line = clean.collect::<Vec<_>>().join(" ");
    line.retain(is_plain);
    if let Some((end, _)) = line.char_indices().nth(QUOTE_CHARS_MAX) {
        let is_between = line[end..].starts_with(' ');
        line.truncate(end);
        if let Some(word) = line.rfind(' ').filter(|_| !is_between) {
            line.truncate(word + 1);
        }
        line.push('…');
    }
    line
}

/// Whether a terminal shows the character and does nothing else.
pub fn is_plain(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !invisible
}

/// A text that is not empty; a number is taken as it is written.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A count: a whole number that is not negative, also when written as a string or with an empty fraction.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    let written = text(value)?;
    let digits = written.trim();
    let digits = digits
        .split_once('.')
        .map_or(digits, |(front, zeros)| if zeros.trim_matches('0').is_empty() { front } else { digits });
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_dialects_are_read() {
        let api =
            json!({"message": "no\nsuch\u{1b}[31m thing", "code": "bad.request", "status": 400, "contextId": "c-1"});
        let complaint = Complaint::of_body(api.to_string().as_bytes());
        assert_eq!(complaint.to_string(), "bad.request: no such [31m thing (context c-1)");
        assert_eq!(complaint.status, Some(400));
        let login = br#"{"error":"invalid_client","error_description":"client not found"}"#;
        assert_eq!(Complaint::of_body(login).to_string(), "invalid_client: client not found");
        assert!(Complaint::of_body(b"<html>").is_empty());
    }

    #[test]
    fn quotes_are_bounded() {
        assert_eq!(quote(&"ä".repeat(1000)).chars().count(), QUOTE_CHARS_MAX + 1);
        assert_eq!(quote(&format!("{} {}", "a".repeat(290), "b".repeat(20))), format!("{} …", "a".repeat(290)));
        assert_eq!(quote(&"ab ".repeat(200)).chars().count(), QUOTE_CHARS_MAX + 1);
        assert_eq!(quote("a\u{202e}b\u{feff}c\r\u{9b}d"), "abc d");
    }

    #[test]
    fn counts_are_read_however_they_are_written() {
        let read: Vec<_> =
            [json!(3), json!("3"), json!(3.0), json!(-3), json!(3.5), json!(null)].iter().map(whole).collect();
        assert_eq!(read, [Some(3), Some(3), Some(3), None, None, None]);
    }
}
