//! Which lake: said in the same way to every command. By position, or by `--out` or `--lake`; the variable counts when
//! the command line names none.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

const POSITION: &str = "place";
const FLAG: &str = "out";
const HELP: &str = "The lake: a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

/// The lake that a command is about. Written out, because of two that are named one comes from the environment perhaps,
/// and then the other one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct LakeArg {
    /// As it was named.
    pub(super) named: Option<String>,
}

impl LakeArg {
    /// The lake `named`.
    pub(super) fn of(named: &str) -> LakeArg {
        LakeArg { named: Some(named.to_owned()) }
    }
}

impl Args for LakeArg {
    fn augment_args(command: Command) -> Command {
        let flag = Arg::new(FLAG).long(FLAG).visible_alias("lake").env("CONVLAKE_LAKE").action(ArgAction::Append);
        let flag = flag.value_name("LAKE").help(HELP);
        // A command whose positions are something else, as pages are, has none for the lake.
        if command.get_positionals().next().is_some() {
            return command.arg(flag);
        }
        let position = Arg::new(POSITION).value_name("LAKE").help("The same, by position");
        command.arg(position).arg(flag)
    }

    fn augment_args_for_update(command: Command) -> Command {
        LakeArg::augment_args(command)
    }
}

impl FromArgMatches for LakeArg {
    fn from_arg_matches(matches: &ArgMatches) -> Result<LakeArg, clap::Error> {
        let of = |source: ValueSource| -> BTreeSet<&String> {
            let known = [POSITION, FLAG].into_iter().filter(|id| matches.try_contains_id(id).is_ok());
            let said = known.filter(|id| matches.value_source(id) == Some(source));
            said.flat_map(|id| matches.get_many::<String>(id).into_iter().flatten())
                .filter(|name| !name.is_empty())
                .collect()
        };
        let mut named = of(ValueSource::CommandLine);
        if named.is_empty() {
            named = of(ValueSource::EnvVariable);
        }
        if named.len() > 1 {
            let message = "two different lakes are named: a command is about one lake\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        Ok(LakeArg { named: named.pop_first().cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = LakeArg::from_arg_matches(matches)?;
        Ok(())
    }
}
