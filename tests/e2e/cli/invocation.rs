//! The program under its two names, its exit codes, and what shells and `man` get of it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use rig::world::World;

use super::{stderr, stdout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_s3-replication-operator");

/// Where the cluster does not answer within two seconds, a shell completes nothing, and a person presses Tab again.
const PRESSES: usize = 10;

/// The program under another name, in a directory of its own.
fn named(name: &str) -> Result<PathBuf> {
    let path = rig::paths::scratch_dir("named")?.join(name);
    symlink(PROGRAM, &path)?;
    Ok(path)
}

fn run(program: &Path, args: &[&str]) -> Result<Output> {
    Command::new(program).args(args).output().with_context(|| format!("cannot run {}", program.display()))
}

#[tokio::test]
async fn kubectl_runs_the_program_as_its_plugin() -> Result<()> {
    let world = World::new("plugin").await?;
    let plugin = named("kubectl-s3replication")?;
    let path = format!("{}:{}", plugin.parent().context("directory")?.display(), std::env::var("PATH")?);
    let kubectl = |args: &[&str]| {
        Command::new(world.cluster().kubectl_program())
            .args(args)
            .env("PATH", &path)
            .env("KUBECONFIG", world.cluster().person_kubeconfig())
            .output()
    };
    let listed = kubectl(&["s3replication", "status", "-n", &world.namespace])?;
    assert_eq!(listed.status.code(), Some(0));
    assert!(stdout(&listed).ends_with("→ kubectl s3replication status -A\n"), "{}", stdout(&listed));
    world.apply(&crate::support::replication("orders", "source-bucket", "dest-bucket").to_string()).await?;
    let complete = plugin.with_file_name("kubectl_complete-s3replication");
    symlink(PROGRAM, &complete)?;
    let completing = |words: &[&str], wanted: &str| -> Result<Output> {
        let words = [&["__complete", "s3replication"], words].concat();
        let mut completed = kubectl(&words)?;
        for _ in 1..PRESSES {
            if stdout(&completed).lines().any(|line| line == wanted) {
                break;
            }
            completed = kubectl(&words)?;
        }
        Ok(completed)
    };
    for word in ["or", ""] {
        let completed = completing(&["status", "-n", &world.namespace, word], "orders")?;
        let answer = stdout(&completed);
        assert_eq!(answer.lines().collect::<Vec<&str>>(), ["orders", ":4"], "{word}: {}", stderr(&completed));
    }
    let context = kubectl(&["config", "current-context"])?;
    let context = stdout(&context).trim().to_owned();
    let begun = format!("--context={}", context.get(..1).context("context")?);
    for (words, wanted) in [
        (&["status", "-n", &world.namespace][..], world.namespace.as_str()),
        (&["status", "--context", ""], &context),
        (&["status", &begun], &context),
        (&["status", "--output="], "yaml"),
        (&["backfill", "-n", &world.namespace, "--follow", ""], ":4"),
    ] {
        let completed = completing(words, wanted)?;
        let answer = stdout(&completed);
        assert!(answer.lines().any(|line| line == wanted), "{words:?}: {answer}{}", stderr(&completed));
        assert!(answer.ends_with(":4\n"), "no files: {words:?}: {answer}");
    }
    let help = kubectl(&["s3replication", "status", "--help"])?;
    assert!(stdout(&help).contains("Usage: kubectl s3replication status"), "{}", stdout(&help));
    let version = run(&plugin, &["--version"])?;
    assert_eq!(stdout(&version).trim(), concat!("kubectl-s3replication ", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// 2 is for what is found, so that a pipeline never takes a misspelt flag for a finding.
#[test]
fn wrong_usage_of_every_subcommand_is_an_error() -> Result<()> {
    let help = stdout(&run(Path::new(PROGRAM), &["help"])?);
    let commands =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).context("commands")?;
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(names.len() >= 12, "{names:?}");
    for name in names {
        let output = run(Path::new(PROGRAM), &[name, "--no-such-flag"])?;
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{name}: {}", stderr(&output));
    }
    for args in [&["paln"][..], &[]] {
        assert_eq!(run(Path::new(PROGRAM), args)?.status.code(), Some(1), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["plan", "--help"]] {
        assert_eq!(run(Path::new(PROGRAM), args)?.status.code(), Some(0), "{args:?}");
    }
    Ok(())
}

/// `| head -1`, for both streams: output that nobody reads is no fault of the command.
#[test]
fn a_reader_that_has_gone_changes_no_exit_code() -> Result<()> {
    let closed = || -> Result<std::io::PipeWriter> { Ok(std::io::pipe()?.1) };
    let ended = |args: &[&str], output: bool| -> Result<Option<i32>> {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        match output {
            true => command.stdout(closed()?),
            false => command.stderr(closed()?),
        };
        Ok(command.status()?.code())
    };
    assert_eq!(ended(&["crds"], true)?, Some(0));
    assert_eq!(ended(&["--help"], true)?, Some(0));
    assert_eq!(ended(&["plan", "-f", "nowhere.yaml"], false)?, Some(1), "and not that of a panic");
    assert_eq!(ended(&["plan", "--no-such-flag"], false)?, Some(1));
    Ok(())
}

/// Asks bash as readline does.
const BASH: &str = r#"
. "$1"
COMP_LINE=$2 COMP_POINT=${#2}
function=$(complete -p s3-replication-operator | sed 's/.*-F \([^ ]*\).*/\1/')
compopt() { COMPREPLY+=("files: $*"); }
"$function" "$3"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// Has a zsh on a terminal complete a line, and prints the line.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -fi'
zpty -w shell "PS1=; fpath=(${(q)1:h} \$fpath); autoload -Uz compinit; compinit -u -D; setopt nolistbeep; LISTMAX=0"
zpty -w shell "print-line() { print -r -- \"<\$BUFFER>\"; BUFFER= }; zle -N print-line; bindkey '^X' print-line; print ready"
zpty -r -m shell line $'*\nready*'
zpty -n -w shell "${2/#s3-replication-operator/$3}"$'\t\x18'
zpty -r -m shell line '*<*>*'
print -r -- ${${line##*<}%%>*}
"#;

const FISH: &str = r#"
source $argv[1]
complete -C (string replace s3-replication-operator $argv[3] $argv[2])
"#;

/// The completions of each shell that is installed here.
#[tokio::test]
async fn each_shell_completes_words_and_the_names_of_the_cluster() -> Result<()> {
    let world = World::new("shells").await?;
    world.apply(&crate::support::replication("orders", "source-bucket", "dest-bucket").to_string()).await?;
    let directory = named("s3-replication-operator")?.parent().context("directory")?.to_owned();
    let kubeconfig = world.cluster().person_kubeconfig();
    let context = Command::new(world.cluster().kubectl_program())
        .args(["config", "current-context", "--kubeconfig"])
        .arg(kubeconfig)
        .output()?;
    let context = stdout(&context).trim().to_owned();
    for (shell, args, file) in [
        ("bash", &["-c", BASH, "bash"][..], "completions.bash"),
        ("zsh", &["-fc", ZSH, "zsh"], "_s3-replication-operator"),
        ("fish", &["-c", FISH], "completions.fish"),
    ] {
        let script = run(Path::new(PROGRAM), &["completions", shell])?;
        ensure!(script.status.success(), "{}", stderr(&script));
        let path = directory.join(file);
        std::fs::write(&path, &script.stdout)?;
        let namespace = &world.namespace;
        for (typed, wanted) in [
            ("sus", "suspend"),
            ("status --all-n", "--all-namespaces"),
            ("status -o y", "yaml"),
            ("status --output=y", "yaml"),
            (&format!("status -n {namespace} o"), "orders"),
            (&format!("status --namespace={namespace} o"), "orders"),
            (&format!("status --context {}", &context[..1]), &context),
            (&format!("status --context={}", &context[..1]), &context),
        ] {
            let line = format!("s3-replication-operator {typed}");
            let mut command = Command::new(shell);
            command.args(args).arg(&path).args([&line, PROGRAM]).env("KUBECONFIG", kubeconfig);
            command
                .env("HOME", &directory)
                .env("XDG_CONFIG_HOME", &directory)
                .env("XDG_DATA_HOME", &directory);
            let completes = |answer: std::io::Result<Output>| match answer {
                Ok(output) if stdout(&output).split_whitespace().any(|word| word.ends_with(wanted)) => true,
                Ok(output) => {
                    eprintln!("{shell}: {typed}: {}{}", stdout(&output), stderr(&output));
                    false
                }
                Err(error) => {
                    eprintln!("{shell} is not here, and completes nothing: {error}");
                    true
                }
            };
            let mut answers = std::iter::repeat_with(|| command.output()).take(PRESSES);
            ensure!(answers.any(completes), "{shell} does not complete: {typed}");
        }
    }
    Ok(())
}

#[test]
fn kubectl_completes_the_plugin() -> Result<()> {
    let complete = named("kubectl_complete-s3replication")?;
    let answer = |words: &[&str]| -> Result<String> { Ok(stdout(&run(&complete, words)?)) };
    assert!(answer(&["sta"])?.starts_with("status\tPrint what is true"), "{}", answer(&["sta"])?);
    assert_eq!(answer(&["status", "-o", "j"])?, "json\n:4\n");
    assert!(answer(&["status", "--all"])?.contains("--all-namespaces\t"));
    Ok(())
}

#[test]
fn every_subcommand_has_a_manual_page() -> Result<()> {
    let directory = rig::paths::scratch_dir("man")?;
    let path = directory.to_str().context("path")?;
    let written = run(Path::new(PROGRAM), &["man", "--output-dir", path])?;
    ensure!(written.status.success(), "{}", stderr(&written));
    let mut pages: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&directory)? {
        pages.push(entry?.file_name().to_string_lossy().into_owned());
    }
    for page in
        ["s3-replication-operator.1", "s3-replication-operator-status.1", "s3-replication-operator-orphans.1"]
    {
        assert!(pages.iter().any(|held| held == page), "no {page}: {pages:?}");
    }
    let page = stdout(&run(Path::new(PROGRAM), &["man"])?);
    assert!(page.contains(".TH") && page.contains("Exit codes"), "{page}");
    Ok(())
}
