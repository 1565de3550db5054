//! From what was named to inputs, in an order that does not change: a folder stands for the files in it, a pattern that
//! the shell has left alone for those that match it, a prefix of a bucket for the objects below it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use percent_encoding::percent_decode_str;
use url::Url;
use walkdir::WalkDir;

use super::Input;
use crate::error::{Error, Result};
use crate::lake::bucket::Item;
use crate::lake::{Location, StoreOptions};

/// How the names of saved pages end, whatever they are packed in.
const ENDINGS: [&str; 7] = ["json", "jsonl", "ndjson", "jsonlines", "json-seq", "jsonseq", "singer"];
const PACKED: [&str; 4] = ["gz", "gzip", "zst", "zstd"];
/// What a lake keeps its own files in: none of them is an input.
const LAKE_FOLDER: &str = "_convlake";
/// Files left out that a note names.
const NAMED_MAX: usize = 5;

/// What is read, in order.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Files, objects and streams.
    pub inputs: Vec<Input>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

impl Inputs {
    /// What `named` stands for, in its order; within a folder, a pattern or a prefix sorted by path.
    ///
    /// # Errors
    /// Usage: one of them stands for nothing. Storage: a folder or a store cannot be read.
    pub fn named(named: &[PathBuf], options: &StoreOptions) -> Result<Inputs> {
        let mut all = Inputs::default();
        for path in named {
            match path.to_str() {
                Some("-") => all.inputs.push(Input::Stdin),
                Some(url) if url.contains("://") && !path.exists() => all.url(url, options)?,
                text => all.path(path, text)?,
            }
        }
        Ok(all)
    }

    fn url(&mut self, text: &str, options: &StoreOptions) -> Result<()> {
        let url = match Location::parse(text)? {
            Location::Folder(path) => return self.path(&path, path.to_str()),
            Location::Bucket(url) => url,
        };
        if let Some((folder, pattern)) = pattern_in(&url)? {
            let matching = |item: &Item| pattern.matches_with(item.key(), PATTERNS);
            let found: Vec<Item> = Item::below(&folder, options)?.into_iter().filter(matching).collect();
            if found.is_empty() {
                return Err(nothing_matches(text));
            }
            self.inputs.extend(found.into_iter().map(Input::Object));
            return Ok(());
        }
        // A store on top of a file system may take a folder for an object, so a name that is none of a file is
        // listed first.
        let is_prefix = url.path().is_empty() || url.path().ends_with('/');
        let as_object = || if is_prefix { Ok(None) } else { Item::at(&url, options) };
        let is_file = is_of_pages(url.path());
        if is_file && let Some(item) = as_object()? {
            self.inputs.push(Input::Object(item));
            return Ok(());
        }
        let found = Item::below(&url, options)?;
        if found.is_empty()
            && !is_file
            && let Some(item) = as_object()?
        {
            self.inputs.push(Input::Object(item));
            return Ok(());
        }
        let roots: BTreeSet<String> = found.iter().filter_map(|item| lake_of(item.key())).collect();
        self.notes.extend(roots.iter().map(|root| format!("`{root}` of `{text}` is a lake and left out")));
        let in_lake = |item: &Item| roots.iter().any(|root| item.key().starts_with(root.as_str()));
        let found = found.into_iter().filter(|item| !in_lake(item));
        let named = found.map(|item| (item.key().to_owned(), Input::Object(item)));
        self.chosen(text, named.collect())
    }

    fn path(&mut self, path: &Path, text: Option<&str>) -> Result<()> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return self.folder(path),
            // A pipe or a device is read like a file.
            Ok(_) => {
                self.inputs.push(Input::File(path.to_owned()));
                return Ok(());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::usage(format!("`{}` cannot be opened", path.display())).source(e)),
        }
        let is_pattern = |text: &&str| text.contains(['*', '?', '[']);
        let Some(pattern) = text.filter(is_pattern) else {
            return Err(Error::usage(format!("`{}` is no file and no folder", path.display()))
                .hint("name files, folders, patterns, `-` for stdin, or objects of s3://, gs:// and az://"));
        };
        let found = glob::glob_with(pattern, PATTERNS)
            .map_err(|e| Error::usage(format!("`{pattern}` is neither a file nor a pattern")).source(e))?;
        let mut found: Vec<PathBuf> = found.collect::<Result<_, _>>().map_err(|e| {
            let at = e.path().display().to_string();
            unreadable(&at, e.into())
        })?;
        if found.is_empty() {
            return Err(nothing_matches(pattern));
        }
        found.sort();
        for path in found {
            if path.is_dir() {
                self.folder(&path)?;
            } else {
                self.inputs.push(Input::File(path));
            }
        }
        Ok(())
    }

    /// The files below a folder, but for lakes.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let mut found = Vec::new();
        let mut walk = WalkDir::new(folder).follow_links(true).into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|e| {
                let at = e.path().unwrap_or(folder).display().to_string();
                let cause = e.into_io_error().unwrap_or_else(|| io::Error::other("its links make a circle"));
                unreadable(&at, cause)
            })?;
            if !entry.file_type().is_dir() {
                found.push(entry.into_path());
            } else if entry.depth() == 0 && entry.path().join(LAKE_FOLDER).is_dir() {
                return Err(Error::usage(format!("`{}` is a lake", folder.display()))
                    .hint("name the pages that it is to be made of; the lake goes to --out"));
            } else if entry.path().join(LAKE_FOLDER).is_dir() {
                self.notes.push(format!("`{}` is a lake and left out", entry.path().display()));
                walk.skip_current_dir();
            }
        }
        found.sort();
        let named = found.into_iter().map(|path| (path.to_string_lossy().into_owned(), Input::File(path)));
        self.chosen(&folder.display().to_string(), named.collect())
    }

    /// Takes what looks like saved pages by its name, and says what does not. Where nothing looks like them all is taken: what
    /// it is instead is seen when it is read.
    fn chosen(&mut self, place: &str, found: Vec<(String, Input)>) -> Result<()> {
        let (mut chosen, mut others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(name, _)| is_of_pages(name));
        if chosen.is_empty() {
            std::mem::swap(&mut chosen, &mut others);
        }
        if chosen.is_empty() {
            let endings = ENDINGS.map(|ending| format!(".{ending}")).join(" ");
            return Err(Error::usage(format!("`{place}` holds no file"))
                .hint(format!("pages are in files called {endings}, also with .gz or .zst; others can be named")));
        }
        if !others.is_empty() {
            let names = others.iter().take(NAMED_MAX).map(|(name, _)| file_name(name)).collect::<Vec<_>>().join(", ");
            let more = if others.len() > NAMED_MAX { ", …" } else { "" };
            let files = if others.len() == 1 { "1 file is" } else { &format!("{} files are", others.len()) };
            self.notes.push(format!("`{place}`: {files} left out by name: {names}{more}"));
        }
        self.inputs.extend(chosen.into_iter().map(|(_, input)| input));
        Ok(())
    }
}

/// The folder of the lake that the object `key` is of, if it is one that a lake keeps for itself.
fn lake_of(key: &str) -> Option<String> {
    let at = format!("/{key}").find(&format!("/{LAKE_FOLDER}/"))?;
    Some(key[..at].to_owned())
}

/// As shells do it: a star stays in its folder and leaves hidden files alone.
const PATTERNS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The last folder of `url` that is no pattern, and the pattern; `None` if it has none.
fn pattern_in(url: &Url) -> Result<Option<(Url, Pattern)>> {
    let key = url.path().trim_start_matches('/');
    let Some(first) = key.find(['*', '[']) else { return Ok(None) };
    let decoded = percent_decode_str(key).decode_utf8_lossy();
    let pattern = Pattern::new(&decoded).map_err(|e| Error::usage(format!("`{url}` is no pattern")).source(e))?;
    let mut folder = url.clone();
    folder.set_path(key[..first].rsplit_once('/').map_or("", |(folder, _)| folder));
    Ok(Some((folder, pattern)))
}

fn nothing_matches(pattern: &str) -> Error {
    Error::usage(format!("nothing matches `{pattern}`"))
        .hint("check the path; in quotes the shell leaves a pattern alone")
}

fn unreadable(place: &str, cause: io::Error) -> Error {
    Error::storage(format!("`{place}` cannot be read")).source(cause)
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or(path)
}

/// Whether a file with this path holds saved pages by its name.
fn is_of_pages(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let is = |endings: &[&str], name: &str| name.rsplit_once('.').is_some_and(|(_, end)| endings.contains(&end));
    match name.rsplit_once('.') {
        // A compressed part without an ending of its own, as loaders write them.
        Some((inner, _)) if is(&PACKED, &name) => !inner.is_empty() && !inner.contains('.') || is(&ENDINGS, inner),
        _ => is(&ENDINGS, &name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_pages_from_other_files() {
        for name in ["a.json", "dir.x/A.JSON", "b.jsonl.gz", "c.ndjson.zst", "out.singer", "part-0001.gz", "x.json-seq"]
        {
            assert!(is_of_pages(name), "{name}");
        }
        for name in ["a.txt", "json", "b.tar.gz", "c.sql.zst", "d.json.bak", "README", ".gz", "a.parquet", "dir.json/x"]
        {
            assert!(!is_of_pages(name), "{name}");
        }
    }

    #[test]
    fn a_lake_is_known_by_what_it_keeps_for_itself() {
        assert_eq!(lake_of("a/lake/_convlake/lake.json").as_deref(), Some("a/lake/"));
        assert_eq!(lake_of("_convlake/lake.json").as_deref(), Some(""));
        assert_eq!(lake_of("a/my_convlake/lake.json"), None);
    }

    #[test]
    fn a_pattern_in_a_bucket_is_looked_for_in_its_folder() {
        let of = |text: &str| {
            let (folder, pattern) = pattern_in(&Url::parse(text).unwrap()).unwrap()?;
            Some((folder.to_string(), pattern.as_str().to_owned()))
        };
        assert_eq!(of("s3://b/a/b*/c.json"), Some(("s3://b/a".to_owned(), "a/b*/c.json".to_owned())));
        assert_eq!(of("s3://b/a b/*"), Some(("s3://b/a%20b".to_owned(), "a b/*".to_owned())));
        assert_eq!(of("s3://b/*.json"), Some(("s3://b".to_owned(), "*.json".to_owned())));
        assert_eq!(of("s3://b/a/c.json"), None);
    }
}
