//! `completions` and `man`: what shells and `man` need to know of the command line, derived from its definition.
//!
//! In: the command line's definition. Out: a script for a shell, words for kubectl's own completion, or manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Args, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::output::{PrintError, print};

/// What kubectl's completion adds to a list of words: complete with files if none fits, or not
/// (<https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective>).
const FILES: &str = ":0";
const NO_FILES: &str = ":4";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page for each subcommand into this directory instead of printing the page of the program
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
}

/// Prints the script with which a shell completes command lines of `file`.
pub fn completions(args: &CompletionsArgs, mut command: Command, file: &str) -> Result<ExitCode, PrintError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, file, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes all of them.
pub fn man(args: &ManArgs, command: Command) -> Result<ExitCode, PrintError> {
    match &args.output_dir {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(command, directory))
                .map_err(|error| PrintError(format!("{}: {error}", directory.display())))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(|error| PrintError(error.to_string()))?;
            print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer to kubectl, which runs the program with the words of a command line, the last of which is to be completed:
/// one word a line with its description, and a directive.
pub fn complete(command: &Command, words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let mut current = command;
    let mut value_of: Option<&Arg> = None;
    for word in before {
        value_of = match value_of {
            // This word is the value of the option before it.
            Some(_) => None,
            None => option(current, word).filter(|option| option.get_action().takes_values()),
        };
        if let Some(subcommand) = current.find_subcommand(word) {
            current = subcommand;
        }
    }
    if let Some(option) = value_of {
        return answer(possible_values(option), last);
    }
    if last.starts_with('-') {
        let flags = current.get_arguments().filter_map(|argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", argument.get_long()?), help))
        });
        return answer(flags.collect(), last);
    }
    let subcommands = current.get_subcommands().map(|subcommand| {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        (subcommand.get_name().to_owned(), about)
    });
    let positional = current.get_positionals().flat_map(possible_values);
    answer(subcommands.chain(positional).collect(), last)
}

/// The option that a word such as `--output` or `-o` names. `--output=json` has its value already.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let is_named = |argument: &&Arg| {
        let long = argument.get_long().is_some_and(|long| word == format!("--{long}"));
        long || argument.get_short().is_some_and(|short| word == format!("-{short}"))
    };
    command.get_arguments().find(is_named)
}

fn possible_values(argument: &Arg) -> Vec<(String, String)> {
    let values = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    values.map(|value| (value.get_name().to_owned(), String::new())).collect()
}

fn answer(candidates: Vec<(String, String)>, begun: &str) -> String {
    let directive = if candidates.is_empty() { FILES } else { NO_FILES };
    let fitting = candidates.iter().filter(|(word, _)| word.starts_with(begun));
    let lines = fitting.map(|(word, help)| match help.lines().next() {
        Some(help) => format!("{word}\t{help}\n"),
        None => format!("{word}\n"),
    });
    lines.chain([format!("{directive}\n")]).collect()
}

#[cfg(test)]
mod tests {
    use clap::builder::PossibleValuesParser;

    use super::*;

    fn sample() -> Command {
        let output = Arg::new("output").short('o').long("output").help("Output format");
        let output = output.value_parser(PossibleValuesParser::new(["json", "yaml"]));
        let file = Arg::new("file").short('f').long("filename").help("File");
        let status = Command::new("status").about("Print what is true").arg(output).arg(file);
        Command::new("sample").subcommand(status).subcommand(Command::new("suspend").about("Suspend"))
    }

    fn completed(words: &[&str]) -> String {
        complete(&sample(), &words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn kubectl_completes_subcommands_flags_and_values() {
        assert_eq!(completed(&["st"]), "status\tPrint what is true\n:4\n");
        assert_eq!(completed(&["status", "--o"]), "--output\tOutput format\n:4\n");
        assert_eq!(completed(&["status", "-o", ""]), "json\nyaml\n:4\n");
        assert_eq!(completed(&["status", "-o", "json", "--f"]), "--filename\tFile\n:4\n");
    }

    #[test]
    fn the_value_of_an_option_without_a_list_is_completed_with_files() {
        assert_eq!(completed(&["status", "-f", "my"]), ":0\n");
    }
}
