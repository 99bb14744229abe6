//! The name under which the program was started, which decides what it is called in help and messages.
//!
//! In: the arguments of the process. Out: the program's name, its command line for clap, and the parsed arguments or the
//! exit code of wrong usage.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches};

/// The name of the program as a plugin of kubectl: `kubectl s3replication` runs the file of this name
/// (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>).
pub const PLUGIN: &str = "kubectl-s3replication";

/// The name of the file that kubectl runs to complete a command line of the plugin
/// (<https://kubernetes.io/docs/reference/kubectl/generated/kubectl_plugin/>).
pub const PLUGIN_COMPLETION: &str = "kubectl_complete-s3replication";

/// The program, as it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Operator,
    Plugin,
    /// kubectl asks for words that complete a command line of the plugin.
    PluginCompletion,
}

impl Program {
    /// The program that the first argument of the process names. A file with any other name is the operator.
    pub fn of(arguments: &[OsString]) -> Program {
        let name = arguments.first().and_then(|argument| Path::new(argument).file_stem()?.to_str());
        match name {
            Some(PLUGIN) => Program::Plugin,
            Some(PLUGIN_COMPLETION) => Program::PluginCompletion,
            _ => Program::Operator,
        }
    }

    /// The name of the file.
    pub fn file(self) -> &'static str {
        match self {
            Program::Operator => env!("CARGO_PKG_NAME"),
            Program::Plugin | Program::PluginCompletion => PLUGIN,
        }
    }

    /// The beginning of a command that a user types to run a subcommand.
    pub fn typed(self) -> &'static str {
        match self {
            Program::Operator => env!("CARGO_PKG_NAME"),
            Program::Plugin | Program::PluginCompletion => "kubectl s3replication",
        }
    }

    /// The command line of a parser, with the names of this program.
    pub fn command<C: CommandFactory>(self) -> Command {
        let command = C::command().bin_name(self.typed());
        match self {
            Program::Operator => command,
            Program::Plugin | Program::PluginCompletion => command.name(PLUGIN).display_name(PLUGIN),
        }
    }
}

/// Parses the arguments. Prints help, the version or the mistake, and returns the exit code, if there is nothing to run.
/// Wrong usage is an error (1): 2 says that something about a replication needs attention.
pub fn parse<C: CommandFactory + FromArgMatches>(
    program: Program,
    arguments: Vec<OsString>,
) -> Result<C, ExitCode> {
    let parsed = program.command::<C>().try_get_matches_from(arguments);
    parsed.and_then(|matches| C::from_arg_matches(&matches)).map_err(|error| {
        // A closed pipe is no reason to fail: there is nobody to report it to.
        let _ = error.print();
        if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_decides_what_the_program_is() {
        for (file, program) in [
            ("/usr/local/bin/kubectl-s3replication", Program::Plugin),
            ("kubectl-s3replication.exe", Program::Plugin),
            ("kubectl_complete-s3replication", Program::PluginCompletion),
            ("/s3-replication-operator", Program::Operator),
            ("renamed", Program::Operator),
        ] {
            assert_eq!(Program::of(&[OsString::from(file)]), program, "{file}");
        }
        assert_eq!(Program::of(&[]), Program::Operator);
    }
}
