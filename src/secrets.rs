//! What must not be shown: our own secrets, struck from whatever others say.
//!
//! A server may send back what it was sent: in an error, in a header, as it was or encoded, whole or cut. So a text of
//! others becomes one of ours only through [`Secrets::tell`], which knows every secret that was sent so far.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

/// What stands where a secret was.
pub const STRUCK: &str = "[secret]";
/// A shorter secret is none: to strike it from every word would spell it out.
const SECRET_BYTES_MIN: usize = 4;
/// So much of a secret in a row is struck, however it goes on.
const PIECE_BYTES: usize = 8;
/// Words before what is struck whatever it is, and the least length that it has: credentials of others.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
const CREDENTIAL_BYTES_MIN: usize = 20;

/// A text of others without our secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(String);

impl Told {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Told> for String {
    fn from(told: Told) -> String {
        told.0
    }
}

impl std::error::Error for Told {}

/// Secrets, in every form in which they might come back. It only grows: a token that is renewed stays one.
#[derive(Default)]
pub struct Secrets {
    /// Pieces of lower-case bytes, by their length.
    pieces: RwLock<BTreeMap<usize, HashSet<Box<[u8]>>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

impl Secrets {
    /// Keeps another secret: as it is, percent-encoded and in base64.
    pub fn keep(&self, secret: &str) {
        if secret.len() < SECRET_BYTES_MIN {
            return;
        }
        let mut pieces = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
        for Form { text, unit } in forms(secret.as_bytes()) {
            let form = text.to_ascii_lowercase();
            let length = form.len().min(PIECE_BYTES * unit);
            pieces.entry(length).or_default().extend(form.windows(length).map(Box::from));
        }
    }

    /// `text` fit to be shown.
    pub fn tell(&self, text: &str) -> Told {
        let hidden = self.hidden(text.as_bytes());
        if !hidden.contains(&true) {
            return Told(text.to_owned());
        }
        let mut told = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            match hidden[at] {
                false => told.push(c),
                true if !told.ends_with(STRUCK) => told.push_str(STRUCK),
                true => {}
            }
        }
        Told(told)
    }

    /// Bytes fit to be kept: each byte of a secret is an asterisk, so that a JSON text stays one.
    pub fn cover(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let hidden = self.hidden(bytes);
        let cover = |(byte, hidden): (&u8, &bool)| if *hidden { b'*' } else { *byte };
        hidden.contains(&true).then(|| bytes.iter().zip(&hidden).map(cover).collect())
    }

    /// Which bytes of `text` are of a secret; those of one character together.
    fn hidden(&self, text: &[u8]) -> Vec<bool> {
        let folded = text.to_ascii_lowercase();
        let mut hidden = vec![false; text.len()];
        for (length, pieces) in self.pieces.read().unwrap_or_else(PoisonError::into_inner).iter() {
            for (at, window) in folded.windows(*length).enumerate() {
                if pieces.contains(window) {
                    hidden[at..at + length].fill(true);
                }
            }
        }
        credentials(&folded).for_each(|found| hidden[found].fill(true));
        // The bytes behind the first of a character follow it.
        for at in 1..text.len() {
            if text[at] & 0xC0 == 0x80 {
                hidden[at] = hidden[at - 1];
            }
        }
        hidden
    }
}

/// Where words stand that follow the name of a scheme and are long enough to be credentials.
fn credentials(folded: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_.~-%".contains(byte);
    let after = move |scheme: &str| {
        let mut found = Vec::new();
        for end in memchr::memmem::find_iter(folded, scheme).map(|at| at + scheme.len()) {
            let rest = &folded[end..];
            let gap = rest.iter().take_while(|byte| b" \t+:".contains(byte) || byte.is_ascii_whitespace()).count();
            let length = rest[gap..].iter().take_while(|byte| is_inside(byte)).count();
            if gap > 0 && length >= CREDENTIAL_BYTES_MIN {
                found.push(end + gap..end + gap + length);
            }
        }
        found
    };
    SCHEMES.into_iter().flat_map(after)
}

/// One form of a secret.
struct Form {
    text: Vec<u8>,
    /// Characters that one of its bytes takes.
    unit: usize,
}

/// The forms in which `secret` may come back. Base64 of a longer text that holds it has three, by where it begins; the
/// characters at its edges depend on what stands beside, and are left out.
fn forms(secret: &[u8]) -> Vec<Form> {
    let percent: String = url::form_urlencoded::byte_serialize(secret).collect();
    let strict: String = secret.iter().map(|byte| format!("%{byte:02x}")).collect();
    let mut forms = vec![
        Form { text: secret.to_vec(), unit: 1 },
        Form { text: percent.into_bytes(), unit: 1 },
        Form { text: strict.into_bytes(), unit: 3 },
    ];
    for lead in 0..3 {
        let padded = [&b"\0\0"[..lead], secret].concat();
        for text in [BASE64_STANDARD.encode(&padded), BASE64_URL_SAFE.encode(&padded)] {
            let text = text.trim_end_matches('=');
            let core = text.get([0, 2, 3][lead]..text.len().saturating_sub(1)).unwrap_or_default();
            if core.len() >= PIECE_BYTES {
                forms.push(Form { text: core.as_bytes().to_vec(), unit: 1 });
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "p4ss/w0rd+With=Odd&characters~and-more_of.them";

    fn told(text: &str) -> String {
        let secrets = Secrets::default();
        secrets.keep(SECRET);
        secrets.tell(text).into()
    }

    #[test]
    fn a_secret_is_struck_however_it_is_written() {
        let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let strict: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for form in [SECRET.to_owned(), SECRET.to_uppercase(), encoded.to_lowercase(), encoded, strict] {
            assert_eq!(told(&format!("client ü {form} is unknown")), format!("client ü {STRUCK} is unknown"));
        }
        assert_eq!(told("nothing to hide: p4ss"), "nothing to hide: p4ss");
        // Cut, and broken into lines.
        assert_eq!(told(&format!("got {}…", &SECRET[..12])), format!("got {STRUCK}…"));
        assert_eq!(told(&format!("{} {}", &SECRET[..20], &SECRET[20..])), format!("{STRUCK} {STRUCK}"));
    }

    #[test]
    fn credentials_of_others_are_struck_by_their_form() {
        let token = "eyJhbGciOi.JIUzI1NiJ9-x_y";
        assert_eq!(told(&format!("you sent Bearer {token}!")), format!("you sent Bearer {STRUCK}!"));
        assert_eq!(told(&format!("authorization: basic\t{token}")), format!("authorization: basic\t{STRUCK}"));
        for harmless in ["Basic authentication is required", "the bearer of this token", "basically nothing at all"] {
            assert_eq!(told(harmless), harmless);
        }
    }

    #[test]
    fn a_covered_body_keeps_its_shape() {
        let secrets = Secrets::default();
        secrets.keep(SECRET);
        let body = format!(r#"{{"message":"ä {SECRET}"}}"#);
        let covered = String::from_utf8(secrets.cover(body.as_bytes()).unwrap()).unwrap();
        assert_eq!(covered, format!(r#"{{"message":"ä {}"}}"#, "*".repeat(SECRET.len())));
        assert_eq!(secrets.cover(b"{}"), None);
    }

    #[test]
    fn a_secret_of_a_few_letters_is_none() {
        let secrets = Secrets::default();
        secrets.keep("abc");
        assert_eq!(secrets.tell("abc").as_str(), "abc");
        secrets.keep("hunt");
        assert_eq!(secrets.tell("a hunter").as_str(), format!("a {STRUCK}er"));
    }

    proptest! {
        #[test]
        fn nothing_of_it_is_left_wherever_it_stands_in_base64(before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            let text = format!("{before}{SECRET}{after}");
            for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                let left = told(&format!("x {encoded} y"));
                // What is left may hold the neighbors and the characters that they share with the secret.
                prop_assert!(left.len() <= "x  y".len() + STRUCK.len() + 2 * (12 + 4), "{left}");
                prop_assert!(left.contains(STRUCK));
            }
        }
    }
}
