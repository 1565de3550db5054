//! What holds for every flag of every command: its variable, and how a variable says yes or no.

use std::collections::BTreeSet;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Command, CommandFactory};

use super::{Cli, Environment};
use crate::error::{Error, Result};

/// What the names of our variables begin with.
const PREFIX: &str = "CONVLAKE_";
/// The variable that asks every command for a dry run.
const DRY_RUN: &str = "CONVLAKE_DRY_RUN";
/// How a variable says no.
const NO: [&str; 6] = ["false", "0", "no", "n", "f", "off"];

/// Why a flag has no variable; `None` for all others, which have one.
fn without_variable(flag: &str) -> Option<&'static str> {
    Some(match flag {
        "help" | "version" => "it shows something and ends",
        "verbose" | "quiet" => "how much is said is a matter of one call",
        "yes" => "consent is given to one call",
        "undo" | "since" => "which expiry is taken back is said by the call",
        "raw" => "personal data is shown when a call asks for it",
        "conversation" | "file" => "what is forgotten is named by the call",
        flag if flag.starts_with("allow-") => "what it lets through is looked at first, each time",
        _ => return None,
    })
}

/// The whole command line. A variable of a flag without a value says true or false, 1 or 0, yes or no; anything else is
/// refused.
pub(super) fn command() -> Command {
    // The lake of `quarantine` may be named before and after what is to be done with it.
    boolish(Cli::command()).mut_subcommand("quarantine", |command| command.mut_arg("out", |arg| arg.global(true)))
}

fn boolish(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue if arg.get_env().is_some() => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    });
    command.mut_subcommands(boolish)
}

/// Refuses a dry run that a variable asks for of a command that has none and would write.
///
/// # Errors
/// Usage: it does.
pub(super) fn refuse_dry_run(command: &str, env: &Environment) -> Result<()> {
    match env.get(DRY_RUN) {
        Some(value) if !NO.contains(&value.to_lowercase().as_str()) => {
            Err(Error::usage(format!("{DRY_RUN} is set, and `{command}` has no dry run"))
                .hint(format!("unset {DRY_RUN} to let it write")))
        }
        _ => Ok(()),
    }
}

/// What is to be said of each of our variables that is set and changes nothing.
pub(super) fn idle(env: &Environment) -> Vec<String> {
    let mut known = BTreeSet::new();
    variables(&command(), &mut known);
    let idle = env.beginning_with(&[PREFIX]).into_iter().map(|(name, _)| name).filter(|name| !known.contains(name));
    let why = |name: &String| {
        let flag = name.trim_start_matches(PREFIX).to_lowercase().replace('_', "-");
        match without_variable(&flag) {
            Some(reason) => format!("{name} changes nothing: --{flag} has no variable, because {reason}"),
            None => format!("{name} changes nothing: there is no such variable"),
        }
    };
    idle.map(|name| why(&name)).collect()
}

fn variables(command: &Command, into: &mut BTreeSet<String>) {
    into.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
    command.get_subcommands().for_each(|command| variables(command, into));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use clap::Arg;

    /// Every flag of every command, with the command's name.
    fn flags(command: &Command, path: &str, into: &mut Vec<(String, Arg)>) {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            into.push((path.to_owned(), arg.clone()));
        }
        for command in command.get_subcommands() {
            flags(command, &format!("{path} {}", command.get_name()), into);
        }
    }

    fn all() -> Vec<(String, Arg)> {
        let mut all = Vec::new();
        let mut command = command();
        command.build();
        flags(&command, "convlake", &mut all);
        assert!(all.len() > 150, "{}", all.len());
        all
    }

    #[test]
    fn every_flag_has_a_variable_or_a_reason_to_have_none() {
        for (command, arg) in all() {
            let flag = arg.get_long().unwrap();
            let variable = arg.get_env().map(|name| name.to_str().unwrap());
            assert_eq!(variable.is_none(), without_variable(flag).is_some(), "{command} --{flag}: {variable:?}");
            assert!(variable.is_none_or(|name| name.starts_with(PREFIX)), "{command} --{flag}: {variable:?}");
        }
    }

    #[test]
    fn the_page_on_variables_names_every_flag_that_has_none() {
        let page = include_str!("../../docs/variables.md");
        for (command, arg) in all().into_iter().filter(|(_, arg)| arg.get_env().is_none()) {
            let flag = arg.get_long().unwrap();
            let named = page.contains(&format!("`--{flag}`")) || flag.starts_with("allow-");
            assert!(named || ["help", "version"].contains(&flag), "{command} --{flag}");
        }
    }

    #[test]
    fn a_dry_run_has_one_variable_wherever_it_is() {
        let of: Vec<_> = all().into_iter().filter(|(_, arg)| arg.get_long() == Some("dry-run")).collect();
        assert!(of.iter().all(|(_, arg)| arg.get_env().is_some_and(|name| name == DRY_RUN)));
        let commands: BTreeSet<_> = of.iter().map(|(command, _)| command.as_str()).collect();
        let wanted = ["export", "sync", "forget", "expire", "quarantine purge"].map(|name| format!("convlake {name}"));
        assert_eq!(commands, wanted.iter().map(String::as_str).collect());
    }

    #[test]
    fn what_takes_away_needs_consent() {
        let of = |flag: &str| -> BTreeSet<String> {
            all().into_iter().filter(|(_, arg)| arg.get_long() == Some(flag)).map(|(command, _)| command).collect()
        };
        let wanted = ["forget", "expire", "quarantine purge"].map(|name| format!("convlake {name}"));
        assert_eq!(of("yes"), wanted.into());
    }

    #[test]
    fn the_lake_is_named_in_the_same_way_everywhere() {
        let command = command();
        for command in command.get_subcommands().filter(|command| !["schema", "simulate"].contains(&command.get_name()))
        {
            let name = command.get_name();
            let flag = command.get_arguments().find(|arg| arg.get_id() == "out").unwrap_or_else(|| panic!("{name}"));
            assert_eq!(flag.get_visible_aliases(), Some(vec!["lake"]), "{name}");
            let first = command.get_positionals().next().map(|arg| arg.get_id().as_str());
            assert_eq!(first, Some(if name == "convert" { "pages" } else { "place" }), "{name}");
        }
    }

    #[test]
    fn a_variable_that_changes_nothing_is_told() {
        let set = ["CONVLAKE_DRYRUN", "CONVLAKE_ALLOW_VANISHED", "CONVLAKE_LAKE", "OTHER"];
        let env = Environment::of(BTreeMap::from(set.map(|name| (name.to_owned(), "1".to_owned()))));
        let told = idle(&env);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("CONVLAKE_ALLOW_VANISHED changes nothing: --allow-vanished has no"), "{told:?}");
        assert_eq!(told[1], "CONVLAKE_DRYRUN changes nothing: there is no such variable");
    }
}
