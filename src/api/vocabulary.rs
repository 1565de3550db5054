//! The words that a filter may use: how the API spells them, and which of them was probably meant.

use super::filter::Filters;
use crate::error::{Error, Result};

/// The media types of sessions.
pub const MEDIA_TYPES: [&str; 11] = [
    "callback",
    "chat",
    "cobrowse",
    "email",
    "internalmessage",
    "message",
    "screenmonitoring",
    "screenshare",
    "unknown",
    "video",
    "voice",
];
/// The directions of sessions.
pub const DIRECTIONS: [&str; 2] = ["inbound", "outbound"];

/// How similar two words are, of 1, when one may have been typed for the other.
const NEAR: f64 = 0.75;
/// Letters that a word may differ in from the one that was meant, where words are free.
const SLIPS_MAX: usize = 2;
/// Words that are suggested at most.
const NEAR_MAX: usize = 3;

impl Filters {
    /// The same selection with its media types and directions as the API spells them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a word that the API does not know: it would select nothing.
    pub fn spelled(mut self) -> Result<Filters> {
        for (flag, words, known) in [
            ("--media-type", &mut self.media_types, MEDIA_TYPES.as_slice()),
            ("--direction", &mut self.directions, DIRECTIONS.as_slice()),
        ] {
            for word in words {
                *word = spelled(flag, word, known)?;
            }
        }
        Ok(self)
    }
}

/// `word` as the API spells it.
pub(crate) fn spelled(flag: &str, word: &str, known: &[&str]) -> Result<String> {
    if let Some(found) = known.iter().find(|name| name.eq_ignore_ascii_case(word.trim())) {
        return Ok((*found).to_owned());
    }
    let meant = match near(word, known.iter().copied()).first() {
        Some(meant) => format!("did you mean `{meant}`? "),
        None => String::new(),
    };
    let known = known.join(", ");
    Err(Error::usage(format!("{flag} `{word}` is not known"))
        .hint(format!("{meant}one of {known}; --allow-unknown asks for it all the same")))
}

/// `word` as the API spells it, or as it stands when it is like no known one.
pub(crate) fn corrected(flag: &str, word: &str, known: &[&str]) -> Result<String> {
    if let Some(found) = known.iter().find(|name| name.eq_ignore_ascii_case(word)) {
        return Ok((*found).to_owned());
    }
    let typed = word.to_lowercase();
    match known.iter().find(|name| strsim::osa_distance(&typed, &name.to_lowercase()) <= SLIPS_MAX) {
        Some(meant) => Err(Error::usage(format!("{flag} `{word}` is not known"))
            .hint(format!("did you mean `{meant}`? --allow-unknown asks for it all the same"))),
        None => Ok(word.to_owned()),
    }
}

/// The words that are most like `word`, the nearest first.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.trim().to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&word, &name.trim().to_lowercase());
    let mut found: Vec<(f64, &str)> = known.into_iter().map(|name| (likeness(name), name)).collect();
    found.retain(|(likeness, _)| *likeness >= NEAR);
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    found.truncate(NEAR_MAX);
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_word_is_spelled_as_the_api_spells_it_or_refused_with_the_nearest() {
        let filters = |media: &str| Filters { media_types: vec![media.to_owned()], ..Filters::default() };
        assert_eq!(filters(" InternalMessage").spelled().unwrap().media_types, ["internalmessage"]);
        for (typed, meant) in [("voise", "`voice`"), ("e-mail", "`email`"), ("calback", "`callback`")] {
            let refused = filters(typed).spelled().unwrap_err();
            assert_eq!(
                (refused.kind(), refused.to_string()),
                (Kind::Usage, format!("--media-type `{typed}` is not known"))
            );
            assert!(refused.hint_text().unwrap().starts_with(&format!("did you mean {meant}?")), "{refused:?}");
        }
        let refused = filters("fax").spelled().unwrap_err();
        assert!(refused.hint_text().unwrap().starts_with("one of callback, chat"), "{refused:?}");
    }

    #[test]
    fn where_words_are_free_only_what_is_almost_a_known_one_is_refused() {
        let known = ["handleDuration", "talkRate"];
        assert_eq!(corrected("--metrics", "HANDLEduration", &known).unwrap(), "handleDuration");
        assert_eq!(corrected("--metrics", "tWait", &known).unwrap(), "tWait");
        let refused = corrected("--metrics", "handelDuration", &known).unwrap_err();
        assert!(refused.hint_text().unwrap().contains("did you mean `handleDuration`?"), "{refused:?}");
    }

    #[test]
    fn the_nearest_comes_first_and_what_is_far_does_not_come() {
        assert_eq!(near("suport", ["Sales", "Support EMEA", "Support"]), ["Support", "Support EMEA"]);
        assert!(near("xyz", ["Sales", "Support"]).is_empty());
    }
}
