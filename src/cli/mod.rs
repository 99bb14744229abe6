//! The command line: each subcommand has a file or a folder.
//!
//! In: the arguments of the process. Out: output, and an exit code. A new subcommand begins here, as a variant of
//! `Command` and a file of its own. That file decides the exit code of a command that did its work, with
//! `fleet/verdict.rs`; the exit code of an error is decided here.

mod account_lookup;
mod aws_args;
mod aws_failure;
mod backfill;
mod check;
mod completions;
mod counted;
mod crds;
mod fleet;
mod following;
mod import;
mod interrupt;
mod invocation;
mod kubernetes;
mod leader_args;
mod manifests;
mod map;
mod orphans;
mod output;
mod plan;
mod policy;
mod policy_backfills;
mod progress;
mod reach;
mod ready;
mod report;
mod run;
mod screen;
mod shell;
mod status;
mod suspend;
mod terminal;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::invocation::Program;
use crate::cli::kubernetes::Named;
use crate::cli::output::Format;
use crate::replication::Failure;

/// Keeps Amazon S3 replication switched on as BucketReplication resources say.
///
/// Exit codes of all subcommands: 0 if all is well; 2 if something about a replication needs attention (changes to
/// make, drift, a failure, a finding); 1 for an error, also wrong usage, and for a wait that ends without its answer.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch BucketReplication resources and reconcile them with AWS
    Run(Box<run::RunArgs>),
    /// Print what is true of replications, the ones that need attention first
    Status(status::StatusArgs),
    /// Ask the operator to check one replication now, wait for the answer, and print it
    Check(check::CheckArgs),
    /// Stop the operator's checks of replications; S3 goes on replicating as configured
    Suspend(suspend::SuspendArgs),
    /// Let the operator check suspended replications again
    Resume(suspend::SuspendArgs),
    /// Replicate the objects that a replication missed, by one S3 Batch Replication job
    Backfill(backfill::BackfillArgs),
    /// Print which bucket replicates into which, by account and Region
    Map(map::MapArgs),
    /// Print a page on all replications and on the buckets that do not replicate: HTML, Markdown, JSON or YAML
    Report(report::ReportArgs),
    /// Print what resources that are gone have left behind in AWS, and delete it on request
    Orphans(orphans::OrphansArgs),
    /// Print what the operator would change in AWS; exit code 0: nothing, 2: changes, 1: error or refused
    Plan(plan::PlanArgs),
    /// Print the IAM policies that BucketReplication and AwsAccount resources need
    Policy(policy::PolicyArgs),
    /// Print BucketReplication resources for buckets that replicate already
    Import(import::ImportArgs),
    /// Wait until a pod of the operator's Deployment is ready; `helm test` runs it
    Ready(ready::ReadyArgs),
    /// Print the CustomResourceDefinitions
    Crds(crds::CrdsArgs),
    /// Print the script with which a shell completes command lines
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man(completions::ManArgs),
}

/// The output format of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
    Yaml,
}

impl Output {
    /// The format for programs; `None`: the output is for people.
    fn format(self) -> Option<Format> {
        match self {
            Output::Text => None,
            Output::Json => Some(Format::Json),
            Output::Yaml => Some(Format::Yaml),
        }
    }
}

/// Why a subcommand failed. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Manifests(#[from] manifests::ManifestError),
    #[error(transparent)]
    Accounts(#[from] account_lookup::AccountLookupError),
    #[error(transparent)]
    Run(#[from] run::RunError),
    #[error("{}", aws_failure::explain(.0))]
    AwsClient(#[from] Failure),
    #[error(transparent)]
    Print(#[from] output::PrintError),
    #[error(transparent)]
    Status(#[from] status::StatusError),
    #[error(transparent)]
    Check(#[from] check::CheckError),
    #[error(transparent)]
    Suspend(#[from] suspend::SuspendError),
    #[error(transparent)]
    Backfill(#[from] backfill::BackfillError),
    #[error(transparent)]
    Map(#[from] map::MapError),
    #[error(transparent)]
    Report(#[from] report::ReportError),
    #[error(transparent)]
    Orphans(#[from] orphans::OrphansError),
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    #[error(transparent)]
    Import(#[from] import::ImportError),
    #[error(transparent)]
    Ready(#[from] ready::ReadyError),
}

impl CliError {
    fn print(why: String) -> CliError {
        CliError::Print(output::PrintError(why))
    }

    /// The exit code: 2 says that the command has done its work, and that something needs attention. A wait that its
    /// timeout or a signal ends has no answer, and is an error.
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Import(error) if error.is_finding() => status::WRONG,
            _ => 1,
        }
    }
}

fn write(text: &str) -> Result<(), CliError> {
    Ok(output::print(text)?)
}

/// Parses the arguments of the process, runs the subcommand and returns the exit code. Errors are on standard error.
pub async fn main(arguments: Vec<OsString>) -> ExitCode {
    let program = Program::of(&arguments);
    let is_asked = arguments.get(1).is_some_and(|first| first == completions::ASKED);
    let result = if program == Program::PluginCompletion || is_asked {
        let before = if program == Program::PluginCompletion { 1 } else { 2 };
        let words: Vec<String> =
            arguments.iter().skip(before).map(|word| word.to_string_lossy().into_owned()).collect();
        let mut command = program.command::<Cli>();
        command.build();
        let names = match completions::asked_for(&command, &words) {
            Some((named, cluster)) => names(named, &cluster).await,
            None => Vec::new(),
        };
        write(&completions::complete(&command, &words, names)).map(|()| ExitCode::SUCCESS)
    } else {
        match invocation::parse::<Cli>(program, arguments) {
            Ok(cli) => cli.execute(program).await,
            Err(code) => return code,
        }
    };
    result.unwrap_or_else(|error| {
        output::complain(&format!("error: {error}"));
        ExitCode::from(error.exit_code())
    })
}

/// How long the cluster has for its answer while a person waits for the completion of a word.
const COMPLETION: Duration = Duration::from_secs(2);

/// The names that may complete a word; none where the cluster does not give them at once.
async fn names(named: Named, args: &kubernetes::KubeArgs) -> Vec<String> {
    if named == Named::Context {
        return args.cluster.contexts();
    }
    let listed = async {
        let kubernetes = args.connect().await?;
        kubernetes.names(named).await
    };
    let listed = tokio::time::timeout(COMPLETION, listed).await;
    listed.ok().and_then(Result::ok).unwrap_or_default()
}

impl Cli {
    /// Runs the subcommand and returns its exit code.
    async fn execute(self, program: Program) -> Result<ExitCode, CliError> {
        let typed = program.typed();
        Ok(match self.command {
            Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS)?,
            Command::Status(args) => status::status(args, typed).await?,
            Command::Check(args) => check::check(args, typed).await?,
            Command::Suspend(args) => suspend::suspend(&args, true, typed).await?,
            Command::Resume(args) => suspend::suspend(&args, false, typed).await?,
            Command::Backfill(args) => backfill::backfill(args, typed).await?,
            Command::Map(args) => map::map(args, typed).await?,
            Command::Report(args) => report::report(args, typed).await?,
            Command::Orphans(args) => orphans::orphans(args, typed).await?,
            Command::Plan(args) => plan::plan(args).await?,
            Command::Policy(args) => policy::policy(args).await?,
            Command::Import(args) => import::import(args).await?,
            Command::Ready(args) => ready::ready(args).await?,
            Command::Crds(args) => crds::crds(args)?,
            Command::Completions(args) => {
                completions::completions(&args, program.command::<Cli>(), program.file())?
            }
            Command::Man(args) => completions::man(&args, program.command::<Cli>())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::CommandFactory;
    use serde_json::Value;

    use super::*;
    use crate::cli::backfill::BackfillError;
    use crate::cli::check::CheckError;
    use crate::cli::import::ImportError;
    use crate::cli::orphans::OrphansError;
    use crate::cli::status::StatusError;
    use crate::replication::import::Inexpressible;

    /// The table of docs/command-line.md, for what ends a command early.
    #[test]
    fn a_finding_has_exit_code_two_and_whatever_ends_a_command_without_its_answer_has_one() {
        let text = || "t".to_owned();
        let inexpressible = Inexpressible { id: None, field: "role", value: text(), why: "" };
        let findings = [
            ImportError::Inexpressible { bucket: text(), source: inexpressible },
            ImportError::UnknownElements { bucket: text(), elements: text() },
            ImportError::VersioningUnknown { bucket: text(), other: text(), fields: text(), why: text() },
            ImportError::Refused { bucket: text(), why: vec![text()] },
        ];
        for error in findings.map(CliError::from) {
            assert_eq!(error.exit_code(), 2, "{error}");
        }
        let errors: [CliError; 10] = [
            ImportError::NotReplicating(text()).into(),
            CheckError::Interrupted { name: text(), watch: text() }.into(),
            CheckError::InterruptedEarly { name: text(), watch: text() }.into(),
            CheckError::Timeout { why: text(), watch: text(), pods: text() }.into(),
            BackfillError::Interrupted { name: text(), follow: text(), cancel: text() }.into(),
            BackfillError::InterruptedEarly { namespace: text(), name: text() }.into(),
            BackfillError::Timeout { why: text(), follow: text() }.into(),
            StatusError::InterruptedEarly.into(),
            StatusError::Timeout { why: text(), again: text() }.into(),
            OrphansError::Stopped { done: 1, all: 2 }.into(),
        ];
        for error in errors {
            assert_eq!(error.exit_code(), 1, "{error}");
        }
    }

    /// The output of each subcommand with `-o json`.
    fn printed_for_programs() -> BTreeMap<&'static str, Value> {
        BTreeMap::from([
            ("status", status::json_sample()),
            ("check", check::json_sample()),
            ("map", map::json_sample()),
            ("report", report::json_sample()),
            ("orphans", orphans::json_sample()),
            ("plan", plan::json_sample()),
            ("policy", policy::json_sample()),
        ])
    }

    /// The keys in a value, each after those that lead to it.
    fn keys(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                let path = format!("{path}.{key}");
                found.push(path.clone());
                keys(value, &path, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| keys(item, path, found)),
            _ => {}
        }
    }

    #[test]
    fn no_key_of_an_output_for_programs_is_in_snake_case() {
        let printed = printed_for_programs();
        let command = Cli::command();
        let prints_json = |one: &&clap::Command| {
            let output = one.get_arguments().find(|argument| argument.get_id() == "output");
            output.is_some_and(|output| {
                output.get_possible_values().iter().any(|value| value.matches("json", false))
            })
        };
        let with_json: BTreeSet<&str> =
            command.get_subcommands().filter(prints_json).map(clap::Command::get_name).collect();
        assert_eq!(with_json, printed.keys().copied().collect(), "each has a sample");
        for (name, value) in printed {
            let mut all = Vec::new();
            keys(&value, name, &mut all);
            let snake: Vec<&String> = all.iter().filter(|key| key.contains('_')).collect();
            assert!(snake.is_empty() && all.len() > 10, "{snake:#?} of {}", all.len());
        }
    }

    #[test]
    fn kubectl_s_flags_are_taken_as_kubectl_takes_them() {
        for line in [
            "status -A -n data",
            "map -A -n data -o json",
            "report -A -n data",
            "orphans -A -n data",
            "plan -f - --context east --kubeconfig file -n data",
            "policy -f - --context east --kubeconfig file -n data",
            "import --bucket orders --context east --kubeconfig file -n data",
        ] {
            let words = ["s3-replication-operator"].into_iter().chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn an_earlier_report_takes_no_flag_that_would_choose_other_resources() {
        for flag in ["-A", "-n data", "-l team=a", "--without-aws"] {
            let line = format!("s3-replication-operator report --from report.json {flag}");
            let refused = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(refused.kind(), clap::error::ErrorKind::ArgumentConflict, "{flag}");
        }
    }
}
