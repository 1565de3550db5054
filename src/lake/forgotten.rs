//! Conversations that must not come back: what `forget` was told, as a set of immutable records.
//!
//! An id is kept as its hash (HMAC-SHA-256, cut to 128 bits) under a key that is random and made once for the lake.
//! So the lake knows an id again when the source sends it, and says nothing about ids to whoever reads the records
//! without the key.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encode::hex;
use super::layout::{LakePath, RunId};
use super::store::Store;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The version of the records that this version writes.
const VERSION: u32 = 1;
/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// The conversations to forget, as far as they are known at one moment.
#[derive(Debug, Default)]
pub struct Forgotten {
    records: BTreeSet<RunId>,
    hashes: HashSet<u128>,
    key: Option<hmac::Key>,
}

/// Records are immutable: of one lake, those with the same names say the same.
impl PartialEq for Forgotten {
    fn eq(&self, other: &Forgotten) -> bool {
        self.records == other.records
    }
}

impl Eq for Forgotten {}

impl Forgotten {
    /// Whether the conversation `id` is to be forgotten.
    pub fn contains(&self, id: &str) -> bool {
        self.knows(id.as_bytes())
    }

    /// Whether such a conversation is named in `raw`.
    pub fn mentioned_in(&self, raw: &[u8]) -> bool {
        !self.hashes.is_empty() && mentions(raw, |piece| self.knows(piece))
    }

    fn knows(&self, id: &[u8]) -> bool {
        let Some(key) = self.key.as_ref().filter(|_| !self.hashes.is_empty() && !id.is_empty()) else { return false };
        self.hashes.contains(&keyed_hash(key, id))
    }
}

/// Whether bytes that may be no record at all name an id that `wanted` wants: as a string of JSON, between quotes, or as
/// a word.
pub(super) fn mentions(raw: &[u8], wanted: impl Fn(&[u8]) -> bool) -> bool {
    let is_border = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    raw.split(|byte| *byte == b'"').chain(raw.split(is_border)).any(&wanted)
        || serde_json::from_slice(raw).is_ok_and(|json| any_string(&json, &wanted))
}

/// Whether any string in `json` is one that `wanted` wants.
fn any_string(json: &Value, wanted: &impl Fn(&[u8]) -> bool) -> bool {
    match json {
        Value::String(text) => wanted(text.as_bytes()),
        Value::Array(items) => items.iter().any(|item| any_string(item, wanted)),
        Value::Object(fields) => fields.values().any(|value| any_string(value, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn keyed_hash(key: &hmac::Key, id: &[u8]) -> u128 {
    let tag = hmac::sign(key, id);
    tag.as_ref().iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// One run's part of the set.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    run: RunId,
    forgotten_at: Timestamp,
    hashes: Vec<String>,
}

/// The set's files. What was read once is kept.
#[derive(Debug)]
pub(super) struct Forgetting {
    store: Store,
    known: Mutex<Arc<Forgotten>>,
}

impl Forgetting {
    pub(super) fn new(store: Store) -> Forgetting {
        Forgetting { store, known: Mutex::default() }
    }

    /// All that is to be forgotten by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read, [`crate::error::Kind::Config`] when a later version
    /// wrote it: a run that cannot know what to leave out writes nothing.
    pub(super) fn known(&self) -> Result<Arc<Forgotten>> {
        let names = self.store.list(&LakePath::ForgottenFolder)?;
        let run = |name: &String| match LakePath::parse(&format!("{}/{name}", LakePath::ForgottenFolder)) {
            Some(LakePath::Forgotten(run)) => Some(run),
            _ => None,
        };
        let records: BTreeSet<RunId> = names.iter().filter_map(run).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<LakePath> = records.difference(&known.records).map(|run| LakePath::Forgotten(*run)).collect();
        if !new.is_empty() {
            let mut hashes = known.hashes.clone();
            for (place, bytes) in new.iter().zip(self.store.read_all(&new)?) {
                hashes.extend(read_record(place, bytes.as_deref())?);
            }
            let key = match known.key.clone() {
                Some(key) => Some(key),
                None => Some(self.key()?.ok_or_else(|| unreadable(&LakePath::ForgottenKey))?),
            };
            let records = records.union(&known.records).copied().collect();
            *known = Arc::new(Forgotten { records, hashes, key });
        }
        Ok(Arc::clone(&known))
    }

    /// Adds `ids` and returns how many of them are new. The caller holds the right to commit: on a disk, a publish
    /// either sees them before it commits, or is done.
    pub(super) fn add<'a>(&self, run: RunId, at: Timestamp, ids: impl Iterator<Item = &'a str>) -> Result<usize> {
        let known = self.known()?;
        let key = self.make_key(run)?;
        let told: BTreeSet<u128> = ids.map(|id| keyed_hash(&key, id.as_bytes())).collect();
        let hashes: Vec<String> = told.into_iter().filter(|hash| !known.hashes.contains(hash)).map(hex).collect();
        let count = hashes.len();
        if count > 0 {
            let record = Record { version: VERSION, run, forgotten_at: at, hashes };
            let json = serde_json::to_vec(&record)
                .map_err(|e| Error::bug("cannot write what is to be forgotten").source(e))?;
            self.store.write(run, &LakePath::Forgotten(run), json)?;
        }
        Ok(count)
    }

    /// The lake's key, made if there is none.
    fn make_key(&self, run: RunId) -> Result<hmac::Key> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let secret: [u8; KEY_BYTES] = rand::random();
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.create(run, &LakePath::ForgottenKey, text.into_bytes())?;
        // Made by us or by another run at the same moment: what counts is what is there.
        self.key()?.ok_or_else(|| unreadable(&LakePath::ForgottenKey))
    }

    fn key(&self) -> Result<Option<hmac::Key>> {
        let Some(text) = self.store.read(&LakePath::ForgottenKey)? else { return Ok(None) };
        let text = std::str::from_utf8(&text).unwrap_or_default().trim();
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unreadable(&LakePath::ForgottenKey));
        }
        Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }
}

fn read_record(place: &LakePath, bytes: Option<&[u8]>) -> Result<Vec<u128>> {
    let record: Record =
        serde_json::from_slice(bytes.ok_or_else(|| unreadable(place))?).map_err(|e| unreadable(place).source(e))?;
    if record.version > VERSION {
        return Err(Error::config(format!("`{place}` was written by a later version"))
            .hint("use that version: this one does not know what has to be left out"));
    }
    let hash = |text: &String| u128::from_str_radix(text, 16).map_err(|e| unreadable(place).source(e));
    record.hashes.iter().map(hash).collect()
}

fn unreadable(place: &LakePath) -> Error {
    Error::storage(format!("`{place}` cannot be read, and without it forgotten conversations would come back"))
        .hint("restore the file, for example from a backup, then run again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_a_word_between_quotes_or_behind_escapes_and_not_as_a_part() {
        for (raw, id, found) in [
            (r#"{"conversationId":"c-1"}"#, "c-1", true),
            (r#"{"conversationId":"c-1", NaN}"#, "c-1", true),
            ("<a href=/conversations/c-1/details>", "c-1", true),
            (r#"{"selfUri":"/conversations/c-1"}"#, "c-1", true),
            (r#"{"conversationId":"c\u002d1"}"#, "c-1", true),
            (r#"[[{"a":["a b\"c"]}]]"#, "a b\"c", true),
            (r#"{"name":"a b c"}"#, "a b c", true),
            (r#"{"conversationId":"c-11"}"#, "c-1", false),
            (r#"{"conversationId":"xc-1"}"#, "c-1", false),
            ("", "c-1", false),
            ("{}", "", false),
        ] {
            assert_eq!(mentions(raw.as_bytes(), |piece| !piece.is_empty() && piece == id.as_bytes()), found, "{raw}");
        }
    }

    #[test]
    fn nothing_is_known_without_a_record() {
        let none = Forgotten::default();
        assert!(!none.contains("c-1") && !none.contains("") && !none.mentioned_in(b"c-1"));
    }
}
