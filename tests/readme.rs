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
    let texts = [README, include_str!("../docs/schedule.md"), include_str!("../docs/stores.md")];
    let more = [include_str!("../docs/privacy.md"), include_str!("../docs/warehouse.md")];
    let texts = [&texts[..], &more, &[include_str!("../docs/variables.md")]].concat();
    let overview = help(&[]);
    let listed = overview.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // Lines that are indented further go on with an explanation.
    let listed = listed.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let named = listed.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let known: BTreeSet<&str> = named.collect();
    // What stands behind the name in a shell line or between backticks is a command.
    let said = texts.iter().flat_map(|text| text.lines()).flat_map(|line| {
        let shell = line.strip_prefix("convlake ").or(line.strip_prefix("cargo run --release -- ")).into_iter();
        shell.chain(line.split("`convlake ").skip(1))
    });
    let commands: BTreeSet<&str> =
        said.filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next()).collect();
    assert!(commands.is_subset(&known), "{commands:?} are not all of {known:?}");
    assert_eq!(known.difference(&commands).collect::<Vec<_>>(), [&"help"], "every command is explained");
    assert!(commands.len() >= 5, "{commands:?}");
    let mut all: String = commands.iter().map(|command| help(&[command])).collect();
    all += &["list", "show", "retry", "purge"].map(|action| help(&["quarantine", "lake", action])).concat();
    let words = texts.iter().flat_map(|text| text.split(|c: char| c.is_whitespace() || c == '`'));
    for flag in words.filter(|word| word.starts_with("--")) {
        let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if !["--release"].contains(&flag) {
            assert!(all.contains(flag), "`{flag}` is not a flag of {commands:?}");
        }
    }
}
