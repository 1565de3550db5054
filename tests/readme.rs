//! The README says what is: its exit codes, tables, commands and variables are those of the program.

#![cfg(test)]

use std::collections::BTreeSet;
use std::process::Command;

use convlake::error::Kind;
use convlake::flatten::Catalog;

const README: &str = include_str!("../README.md");

/// The lines of the section under `## heading`.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    let mut lines = README.lines().skip_while(move |line| *line != format!("## {heading}"));
    lines.next().unwrap_or_else(|| panic!("no section {heading}"));
    lines.take_while(|line| !line.starts_with("## "))
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first cell of each row of the tables in a section.
fn first_cells(heading: &str) -> impl Iterator<Item = &'static str> {
    section(heading).filter(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1)).map(str::trim)
}

#[test]
fn every_exit_code_is_explained() {
    use Kind::*;
    let kinds = [Bug, Usage, Partial, Data, Unavailable, Storage, Later, Access, Config, Interrupted, Terminated];
    let known: BTreeSet<String> = kinds.iter().map(|kind| kind.exit_code().to_string()).chain(["0".into()]).collect();
    let said: BTreeSet<String> = first_cells("Exit codes")
        .flat_map(|cell| cell.split(", "))
        .filter(|cell| cell.parse::<u8>().is_ok())
        .map(str::to_owned)
        .collect();
    assert_eq!(said, known);
}

#[test]
fn every_table_is_named() {
    let catalog = Catalog::builtin().unwrap();
    let known: BTreeSet<&str> = catalog.tables().iter().map(|table| table.name.as_str()).collect();
    let said: BTreeSet<&str> = first_cells("The lake").flat_map(quoted).collect();
    assert_eq!(said, known);
}

#[test]
fn every_command_and_flag_exists() {
    let binary = env!("CARGO_BIN_EXE_convlake");
    let help = |args: &[&str]| {
        let output = Command::new(binary).args(args).arg("--help").output().unwrap();
        assert!(output.status.success(), "convlake {args:?} is not a command");
        String::from_utf8(output.stdout).unwrap()
    };
    let commands: BTreeSet<&str> = README
        .split("convlake ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        .filter(|word| ["demo", "export", "plan", "convert", "schema", "simulate", "sync", "status"].contains(word))
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    let all: String = commands.iter().map(|command| help(&[command])).collect();
    for flag in README.split(|c: char| c.is_whitespace() || c == '`').filter(|word| word.starts_with("--")) {
        let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if !["--release"].contains(&flag) {
            assert!(all.contains(flag), "`{flag}` is not a flag of {commands:?}");
        }
    }
}
