//! The house rules that no compiler holds: imports run downwards only, and the core does no I/O.

#![cfg(test)]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each part may use, bottom up. `main` sees what it needs to start a command.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("error", &[]),
    ("memory", &[]),
    ("secrets", &[]),
    ("time", &["error"]),
    ("plan", &["error", "time"]),
    ("flatten", &["error", "time"]),
    ("api", &["error", "memory", "secrets", "time", "plan"]),
    ("lake", &["error", "memory", "secrets", "time", "plan", "flatten"]),
    ("simulator", &["error", "time", "api"]),
    ("export", &["error", "memory", "time", "plan", "flatten", "api", "lake"]),
    ("cli", &["error", "time", "plan", "flatten", "api", "lake", "simulator", "export"]),
    ("main", &["error", "time", "cli"]),
];

/// Parts that neither read nor write nor wait.
const PURE: [&str; 2] = ["plan", "flatten"];
const IMPURE: [&str; 5] = ["std::fs", "std::net", "std::env", "tokio::", "reqwest::"];

/// The code of each part: comments and test modules left out.
fn parts() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut parts = BTreeMap::<String, Vec<_>>::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(&src).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let part = first.strip_suffix(".rs").unwrap_or(first).to_owned();
            let file = path.file_name().unwrap().to_str().unwrap();
            if part == "lib" || file == "tests.rs" || file == "testing.rs" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code: String = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .map(|line| format!("{line}\n"))
                .collect();
            parts.entry(part).or_default().push((path, code));
        }
    }
    parts
}

/// The parts that `code` names by `crate::…` or, in the binary, by `convlake::…`.
fn uses(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for root in ["crate::", "convlake::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split('}').next().unwrap().to_owned(),
                None => rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
            };
            for name in names.split(',') {
                let name = name.trim().split("::").next().unwrap();
                used.insert(name.to_owned());
            }
        }
    }
    used
}

#[test]
fn imports_run_downwards_only() {
    let allowed: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    let mut wrong = Vec::new();
    for (part, files) in parts() {
        let Some(may) = allowed.get(part.as_str()) else {
            wrong.push(format!("src/{part} has no place among the layers"));
            continue;
        };
        for (path, code) in files {
            for used in uses(&code) {
                if used != part && allowed.contains_key(used.as_str()) && !may.contains(&used.as_str()) {
                    wrong.push(format!("{}: `{part}` may not use `{used}`", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_does_no_io() {
    for (part, files) in parts().into_iter().filter(|(part, _)| PURE.contains(&part.as_str())) {
        for (path, code) in files {
            for word in IMPURE {
                assert!(!code.contains(word), "{}: `{part}` is pure, yet it names `{word}`", path.display());
            }
        }
    }
}

#[test]
fn the_reader_of_imports_sees_them() {
    let code =
        "use crate::time::Day;\nuse crate::{error::Result, plan};\nlet x = crate::lake::open();\nuse convlake::cli;";
    let want: BTreeSet<String> = ["time", "error", "plan", "lake", "cli"].map(String::from).into();
    assert_eq!(uses(code), want);
}
