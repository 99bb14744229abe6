//! `completions` and `man`: what shells and `man` need to know of the command line, derived from its definition.
//!
//! In: the command line's definition, and names of the cluster and the kubeconfig. Out: a script for a shell, words for the
//! completion of kubectl and of that script, or manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Args, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::kubernetes::{ClusterArgs, KubeArgs, Named};
use crate::cli::output::{PrintError, print};

/// The two directives that kubectl's completion adds to a list of words: complete with files if none fits, or do not
/// (<https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective>).
const FILES: &str = ":0";
const NO_FILES: &str = ":4";

/// The first argument of the program where a script asks for the words that complete the other arguments.
pub const ASKED: &str = "__complete";

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
    let template = match args.shell {
        Shell::Bash => include_str!("completions/bash.sh"),
        Shell::Zsh => include_str!("completions/zsh.zsh"),
        Shell::Fish => include_str!("completions/fish.fish"),
        // Of these, the script holds the words, and knows no names.
        other => {
            let mut script = Vec::new();
            clap_complete::generate(other, &mut command, file, &mut script);
            print(&String::from_utf8_lossy(&script))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let function = format!("__{}", file.replace('-', "_"));
    print(&template.replace("@FILE@", file).replace("@FUNCTION@", &function).replace("@ASKED@", ASKED))?;
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

/// A command line up to the word that is to be completed.
struct Line<'a> {
    command: &'a Command,
    /// The option whose value the last word is.
    value_of: Option<&'a Arg>,
    /// The words before it that belong to no option.
    given: usize,
    /// The values of the options before it.
    values: Vec<(&'a Arg, String)>,
    last: &'a str,
}

impl<'a> Line<'a> {
    fn read(command: &'a Command, words: &'a [String]) -> Line<'a> {
        let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
        let mut line = Line { command, value_of: None, given: 0, values: Vec::new(), last };
        for word in before {
            if let Some(option) = line.value_of.take() {
                line.values.push((option, word.clone()));
            } else if let Some(subcommand) = line.command.find_subcommand(word) {
                line.command = subcommand;
            } else if let Some((option, value)) = word.split_once('=')
                && let Some(option) = option_of(line.command, option)
            {
                line.values.push((option, value.to_owned()));
            } else if word.starts_with("--") {
                let option = option_of(line.command, word);
                line.value_of = option.filter(|option| option.get_action().takes_values());
            } else if let Some(shorts) = word.strip_prefix('-') {
                line.read_shorts(shorts);
            } else {
                line.given += 1;
            }
        }
        // Of `--output=j`, kubectl completes what follows the sign.
        if line.value_of.is_none()
            && let Some((option, begun)) = last.split_once('=')
            && let Some(option) = option_of(line.command, option)
        {
            (line.value_of, line.last) = (Some(option), begun);
        }
        line
    }

    /// Short options in one word: the value of the last may follow at once, as in `-Ao json` and `-ndata`.
    fn read_shorts(&mut self, shorts: &str) {
        for (at, short) in shorts.char_indices() {
            let Some(option) = option_of(self.command, &format!("-{short}")) else { return };
            if option.get_action().takes_values() {
                match shorts.get(at + short.len_utf8()..).filter(|value| !value.is_empty()) {
                    Some(value) => self.values.push((option, value.to_owned())),
                    None => self.value_of = Some(option),
                }
                return;
            }
        }
    }

    fn value(&self, id: &str) -> Option<String> {
        let held = self.values.iter().rev().find(|(option, _)| option.get_id() == id);
        held.map(|(_, value)| value.clone())
    }

    /// Of what the last word is a name.
    fn ends_with(&self) -> Option<Named> {
        if let Some(option) = self.value_of {
            return match option.get_id().as_str() {
                "namespace" => Some(Named::Namespace),
                "context" => Some(Named::Context),
                "follow" => Some(Named::Backfill),
                "account" | "accounts" => Some(Named::Account),
                _ => None,
            };
        }
        let is_of_names = |argument: &&Arg| matches!(argument.get_id().as_str(), "name" | "names");
        let takes_more =
            |argument: &Arg| self.given == 0 || matches!(argument.get_action(), ArgAction::Append);
        let is_name = self.command.get_positionals().find(is_of_names).is_some_and(takes_more);
        (is_name && !self.last.starts_with('-')).then_some(Named::Replication)
    }
}

/// Of what the last word is the name, where it is one, and the cluster that the words before it name.
pub fn asked_for(command: &Command, words: &[String]) -> Option<(Named, KubeArgs)> {
    let line = Line::read(command, words);
    let cluster = ClusterArgs {
        kubeconfig: line.value("kubeconfig").map(PathBuf::from),
        context: line.value("context"),
    };
    Some((line.ends_with()?, KubeArgs { cluster, namespace: line.value("namespace") }))
}

/// The answer to kubectl or a shell, which runs the program with the words of a command line and wants the last of them
/// completed. It is one word a line with its description, and a directive. `names`: those that may complete it.
pub fn complete(command: &Command, words: &[String], names: Vec<String>) -> String {
    let line = Line::read(command, words);
    let Line { command: current, value_of, last, .. } = line;
    if line.ends_with().is_some() {
        let names = names.into_iter().map(|name| (name, String::new()));
        return answered(names.collect(), last, NO_FILES);
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
    let shown = current.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let subcommands = shown.map(|subcommand| {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        (subcommand.get_name().to_owned(), about)
    });
    let positional = current.get_positionals().flat_map(possible_values);
    answer(subcommands.chain(positional).collect(), last)
}

/// The option that a word such as `--output` or `-o` names. `--output=json` has its value already.
fn option_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
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
    answered(candidates, begun, directive)
}

fn answered(candidates: Vec<(String, String)>, begun: &str, directive: &str) -> String {
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
        let namespace = Arg::new("namespace").short('n').long("namespace").help("Namespace");
        let context = Arg::new("context").long("context").help("Context");
        let watch = Arg::new("watch").short('w').long("watch").action(ArgAction::SetTrue);
        let status = Command::new("status").about("Print what is true").arg(output).arg(file);
        let status = status.arg(namespace).arg(context).arg(watch).arg(Arg::new("name"));
        let namespace = Arg::new("namespace").short('n').long("namespace");
        let backfill = Command::new("backfill").about("Copy").arg(Arg::new("follow").long("follow"));
        let backfill = backfill.arg(Arg::new("accounts").long("account")).arg(namespace);
        Command::new("sample").subcommand(status).subcommand(backfill).subcommand(
            Command::new("suspend").about("Suspend").arg(Arg::new("names").action(ArgAction::Append)),
        )
    }

    fn completed(words: &[&str]) -> String {
        let names = ["orders", "bills"].map(str::to_owned).to_vec();
        complete(&sample(), &owned(words), names)
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_completed_from_the_cluster_and_never_with_files() {
        assert_eq!(completed(&["status", "ord"]), "orders\n:4\n");
        assert_eq!(completed(&["status", "-n", "data", ""]), "orders\nbills\n:4\n");
        assert_eq!(completed(&["suspend", "orders", "b"]), "bills\n:4\n", "another one");
        assert_eq!(completed(&["status", "nothing-like-it"]), ":4\n");
        assert_eq!(completed(&["status", "-n", "b"]), "bills\n:4\n");
        assert_eq!(completed(&["status", "--context=b"]), "bills\n:4\n", "what follows the sign");
        for (words, named, namespace, context) in [
            (&["status", "-n", "data", "--context=prod", "o"][..], Some(Named::Replication), "data", "prod"),
            (&["status", ""], Some(Named::Replication), "", ""),
            (&["status", "-ndata", "o"], Some(Named::Replication), "data", ""),
            (&["status", "-wn", "data", "o"], Some(Named::Replication), "data", ""),
            (&["status", "-wn", "d"], Some(Named::Namespace), "", ""),
            (&["suspend", "orders", ""], Some(Named::Replication), "", ""),
            (&["status", "--context", "prod", "-n", ""], Some(Named::Namespace), "", "prod"),
            (&["status", "--namespace="], Some(Named::Namespace), "", ""),
            (&["status", "--context", "p"], Some(Named::Context), "", ""),
            (&["backfill", "-n", "data", "--follow", ""], Some(Named::Backfill), "data", ""),
            (&["backfill", "--account", ""], Some(Named::Account), "", ""),
            (&["sta"], None, "", ""),
            (&["status", "-o", ""], None, "", ""),
            (&["status", "--output="], None, "", ""),
            (&["status", "--o"], None, "", ""),
            (&["status", "orders", ""], None, "", ""),
        ] {
            let asked = asked_for(&sample(), &owned(words));
            assert_eq!(asked.as_ref().map(|(named, _)| *named), named, "{words:?}");
            let args = asked.map(|(_, args)| args).unwrap_or_default();
            let given = (args.namespace.unwrap_or_default(), args.cluster.context.unwrap_or_default());
            assert_eq!(given, (namespace.to_owned(), context.to_owned()), "{words:?}");
        }
    }

    #[test]
    fn kubectl_completes_subcommands_flags_and_values() {
        assert_eq!(completed(&["st"]), "status\tPrint what is true\n:4\n");
        assert_eq!(completed(&["status", "--o"]), "--output\tOutput format\n:4\n");
        assert_eq!(completed(&["status", "-o", ""]), "json\nyaml\n:4\n");
        assert_eq!(completed(&["status", "--output="]), "json\nyaml\n:4\n");
        assert_eq!(completed(&["status", "--output=y"]), "yaml\n:4\n");
        assert_eq!(completed(&["status", "-o", "json", "--f"]), "--filename\tFile\n:4\n");
    }

    #[test]
    fn the_value_of_an_option_without_a_list_is_completed_with_files() {
        assert_eq!(completed(&["status", "-f", "my"]), ":0\n");
    }
}
