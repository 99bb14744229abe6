//! The commands of the pages, typed in as they stand: from an account and a resource on the first page to an incident.
//!
//! In: the blocks whose comment names this file, and the manifests that begin with the name of a file. Out: each command
//! succeeds, and what its page says of the result is true. Names of buckets and accounts are those of this test.

use std::env::{join_paths, split_paths, var_os};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rig::world::World;
use rig::{pages, paths};

use super::import::{by_hand, first_version, put};
use super::orphans::role_at;
use crate::support::{left_in_aws, operator_of, reason};

const FIRST: &str = "docs/first-replication.md";
const COMMAND_LINE: &str = "docs/command-line.md";
const NAME: &str = "orders-to-eu";
const NAMESPACE: &str = "data";

/// The acts of a person at a terminal beside typing. Exit code 2 is a result and no failure, Ctrl-C ends a watch once
/// it has printed something, and a question is answered with yes.
const PERSON: &str = r#"
finds() { "$@" || [ $? = 2 ]; }
s3-replication-operator() {
    case " $* " in
        *" -w "*)
            env s3-replication-operator "$@" > watched &
            until [ -s watched ]; do kill -0 $!; sleep 0.02; done
            kill -INT $!
            finds wait $!
            cat watched ;;
        *" --delete "*) finds script -qec "s3-replication-operator $*" /dev/null <<< yes ;;
        *) finds env s3-replication-operator "$@" ;;
    esac
}
"#;

/// The values in the pages, and those that take their place here. The boundary is a policy that scripts make in AWS.
fn placeholders<'a>(account: &'a str, source: &'a str, destination: &'a str) -> [(&'a str, &'a str); 12] {
    [
        ("--bucket orders-eu ", "--bucket source-bucket-us-east-1 "),
        ("source-bucket-us-east-1", source),
        ("dest-bucket-eu-west-1", destination),
        ("source-bucket-*", "*"),
        ("dest-bucket-*", "*"),
        ("--account prod", "--account default"),
        ("123456789012", account),
        ("awsaccount NAME", "awsaccount default"),
        ("-n NAMESPACE", "-n data"),
        ("br NAME", "br orders-to-eu"),
        ("br/NAME", "br/orders-to-eu"),
        // docs/command-line.md
        (" orders -n data", " orders-to-eu -n data"),
    ]
}

/// `cargo install`, without the minutes that it takes: it writes the program into the same directory.
const CARGO: &str = r#"
cargo() {
    [ "$*" = "install --locked --path ." ]
    mkdir -p "$HOME/.cargo/bin"
    cp "$(command -v s3-replication-operator)" "$HOME/.cargo/bin/"
}
"#;

/// A person at a terminal, in a directory of their own.
struct Terminal<'a> {
    world: &'a World,
    directory: PathBuf,
    source: String,
    destination: String,
}

impl Terminal<'_> {
    /// A text of a page with the names of this test.
    fn filled_in(&self, text: &str) -> String {
        let names = placeholders(&self.world.account, &self.source, &self.destination);
        let text = names.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
        let without = |line: &&str| !line.contains("permissionsBoundary") && line.trim() != "roles:";
        text.lines().filter(without).map(|line| format!("{line}\n")).collect()
    }

    /// Saves the manifests of a page that begin with the name of a file.
    fn save_files(&self, page: &str) -> Result<()> {
        for (file, manifest) in pages::files_of(page)? {
            fs::write(self.directory.join(file), self.filled_in(&manifest))?;
        }
        Ok(())
    }

    /// Types in the block of a page that contains these words. Returns what it prints.
    async fn type_in(&self, page: &str, words: &str) -> Result<String> {
        let block = self.filled_in(&pages::block(page, words, file!())?.text);
        let is_installation = block.starts_with("cargo install");
        let person = if is_installation { CARGO } else { PERSON };
        let script = format!("set -eu\ncd '{}'\n{person}\n{block}", self.directory.display());
        let typed = operator_of(self.world).binary("bash").env("PATH", self.path()?);
        let typed = typed.env("HOME", self.directory.as_os_str());
        let typed = typed.kubeconfig(self.world.cluster().admin_kubeconfig());
        let typed = typed.env("KUBECACHEDIR", paths::rig().join("kubectl-cache"));
        let output = typed.run(["-c", script.as_str()], "").await?;
        let (printed, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{page}: {block}\n{printed}{errors}");
        Ok(printed.into_owned())
    }

    /// Where the shell finds the operator and kubectl.
    fn path(&self) -> Result<OsString> {
        let folder = |program: &Path| program.parent().map(Path::to_path_buf).context("no folder");
        let own = [
            folder(Path::new(env!("CARGO_BIN_EXE_s3-replication-operator")))?,
            folder(self.world.cluster().kubectl_program())?,
        ];
        let rest = var_os("PATH").unwrap_or_default();
        Ok(join_paths(own.into_iter().chain(split_paths(&rest)))?)
    }

    async fn wait_for(&self, wanted: &str) -> Result<()> {
        let is_wanted = |status: &serde_json::Value| reason(status, "Ready") == wanted;
        self.world.wait_in(NAMESPACE, NAME, is_wanted, &format!("to be {wanted}")).await.map(drop)
    }
}

#[tokio::test]
async fn the_commands_of_the_pages_do_what_the_pages_say() -> Result<()> {
    let world = World::alone("documented").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let directory = paths::scratch_dir("documented")?;
    let terminal = Terminal { world: &world, directory, source, destination };
    let everywhere: [&str; 0] = [];
    let _operator = operator_of(&world).namespaces(everywhere).arg("--require-account").start().await?;

    terminal.save_files(FIRST)?;
    let planned = terminal.type_in(FIRST, "s3-replication-operator plan").await?;
    ensure!(planned.contains("in 5 writes") && planned.contains("sts:AssumeRole"), "{planned}");
    terminal.type_in(FIRST, "kubectl apply -f account.yaml").await?;
    let shown = terminal.type_in(FIRST, "kubectl apply -f first.yaml").await?;
    ensure!(shown.contains("Applied"), "{shown}");

    let (source, destination, role) = by_hand(&world).await?;
    put(&world, &source, &role, vec![first_version("all", "", &destination)?]).await?;
    let adopting = Terminal { world: &world, directory: terminal.directory.clone(), source, destination };
    let imported = adopting.type_in("docs/adopt.md", "import --bucket").await?;
    ensure!(imported.is_empty(), "it is in files: {imported}");
    let planned = adopting.type_in("docs/adopt.md", "plan -f orders-to-eu.yaml").await?;
    ensure!(planned.contains("nothing to change"), "{planned}");
    let policies = terminal.type_in("docs/events.md", "policy -f orders-to-eu.yaml").await?;
    ensure!(policies.contains("sqs:ReceiveMessage"), "{policies}");
    let shown = terminal.type_in("docs/events.md", "kubectl get awsaccounts").await?;
    ensure!(shown.contains("EVENTS") && shown.contains("default"), "{shown}");
    let policies = terminal.type_in("docs/install.md", "policy -f account.yaml").await?;
    ensure!(policies.contains("s3:PutReplicationConfiguration"), "{policies}");
    let prints_external_id = |policies: &str| policies.contains("sts:ExternalId");
    terminal.save_files("docs/accounts.md")?;
    let policies = terminal.type_in("docs/accounts.md", "policy -f accounts.yaml").await?;
    ensure!(prints_external_id(&policies), "{policies}");
    terminal.save_files("docs/across-accounts.md")?;
    let policies = terminal.type_in("docs/across-accounts.md", "policy -f accounts.yaml").await?;
    ensure!(prints_external_id(&policies), "{policies}");

    let shown = terminal.type_in("docs/reasons.md", "kubectl get br -A").await?;
    ensure!(shown.contains("Ready=True Applied: "), "{shown}");
    terminal.type_in("docs/drift.md", "requestedAt").await?;
    terminal.type_in("docs/troubleshooting.md", "requestedAt").await?;
    terminal.type_in("docs/incident.md", "/spec/rules/0/status").await?;
    let disabled = async || {
        let held = world.s3("us-east-1").get_bucket_replication().bucket(&terminal.source).send().await?;
        let rules = held.replication_configuration().map(|c| c.rules().to_vec()).unwrap_or_default();
        Ok::<_, anyhow::Error>(rules.iter().all(|rule| rule.status().as_str() == "Disabled"))
    };
    let stopped = |status: &serde_json::Value| status["observedGeneration"] == 2;
    world.wait_in(NAMESPACE, NAME, stopped, "to be checked after its change").await?;
    ensure!(disabled().await?, "the rule still replicates");

    terminal.type_in("docs/incident.md", "kubectl patch awsaccount").await?;
    terminal.wait_for("NotAllowed").await?;
    let account = terminal.directory.join("account.yaml");
    world.cluster().kubectl(["apply".as_ref(), "-f".as_ref(), account.as_os_str()])?;
    terminal.wait_for("Applied").await?;

    type_in_the_command_line(&terminal).await?;

    terminal.type_in(FIRST, "kubectl delete br").await?;
    let left = left_in_aws(&world, "us-east-1", &terminal.source, "data.orders-to-eu").await?;
    ensure!(left.is_empty(), "this is left in AWS: {left:?}");
    Ok(())
}

/// kubectl, `man` and each shell on this machine find the files that the first blocks of the page install.
fn use_installation(terminal: &Terminal<'_>) -> Result<()> {
    let home = &terminal.directory;
    let path = join_paths([home.join(".cargo/bin")].into_iter().chain(split_paths(&terminal.path()?)))?;
    let run = |program: &str, args: &[&str]| -> Result<Option<String>> {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("HOME", home)
            .env("PATH", &path)
            .env_remove("MANPATH")
            .env("LC_ALL", "C.UTF-8");
        match command.output() {
            Ok(output) => {
                Ok(Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("{program} is not here, so that its part of the installation is not tried");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    };
    for (program, args, wanted) in [
        ("kubectl", &["s3replication", "--version"][..], "kubectl-s3replication "),
        ("kubectl", &["__complete", "s3replication", "sta"], "status\t"),
        ("man", &["-w", "s3-replication-operator-status"], "/.cargo/share/man/man1/"),
        ("bash", &["-c", BASH], "sus:suspend"),
        ("zsh", &["-fc", ZSH], "_s3-replication-operator"),
        ("fish", &["-c", "complete -C 's3-replication-operator sus'"], "suspend\t"),
    ] {
        if let Some(printed) = run(program, args)? {
            ensure!(printed.contains(wanted), "{program} {args:?}: {printed}");
        }
    }
    Ok(())
}

/// Loads the completions as the package bash-completion does, and completes a word.
const BASH: &str = r#"
. "$HOME/.local/share/bash-completion/completions/s3-replication-operator"
function=$(complete -p s3-replication-operator | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_LINE='s3-replication-operator sus' COMP_POINT=27
"$function" s3-replication-operator sus s3-replication-operator
printf 'sus:%s\n' "${COMPREPLY[@]}"
"#;

/// Has zsh find the completions, as `~/.zshrc` does with the line of the page.
const ZSH: &str = r#"
fpath+=~/.zfunc
autoload -Uz compinit
compinit -u -d ~/.zcompdump
print -r -- "${_comps[s3-replication-operator]}"
"#;

/// The blocks of the page of the command line, about the resource that the first page has made.
async fn type_in_the_command_line(terminal: &Terminal<'_>) -> Result<()> {
    let full_name = format!("{NAMESPACE}/{NAME}");
    terminal.type_in(COMMAND_LINE, "ln -sf").await?;
    terminal.type_in(COMMAND_LINE, "completions zsh").await?;
    use_installation(terminal)?;

    let shown = terminal.type_in(COMMAND_LINE, "status -A -o json").await?;
    let (people, program) = shown.split_once("\n{\n").context("no JSON at the end")?;
    ensure!(people.starts_with("The replication is disabled."), "all of them: {shown}");
    ensure!(people.contains(&format!("○ {full_name}: ")), "one as a tree, and the watch: {shown}");
    ensure!(program.contains(r#""total": 1"#), "{shown}");

    let shown = terminal.type_in(COMMAND_LINE, "check orders").await?;
    ensure!(shown.contains("✓ Ready (Applied") && shown.contains("S3 goes on replicating"), "{shown}");
    terminal.wait_for("Applied").await?;

    let shown = terminal.type_in(COMMAND_LINE, "report --from report.json").await?;
    ensure!(shown.contains("○ **The replication is disabled.**"), "{shown}");
    let page = fs::read_to_string(terminal.directory.join("report.html"))?;
    ensure!(page.contains(NAME), "{page}");

    terminal.type_in(COMMAND_LINE, "import --all").await?;
    let index = terminal.directory.join("replications").join(format!("import-{}.md", terminal.world.account));
    let index = fs::read_to_string(index)?;
    let left_out = format!("| {} | {full_name} |", terminal.source);
    ensure!(index.contains(&left_out), "it has a resource: {index}");

    role_at(terminal.world, "/s3-replication/", "left-over", &[]).await?;
    let shown = terminal.type_in(COMMAND_LINE, "orphans --delete").await?;
    ensure!(shown.contains("role/s3-replication/left-over of gone/left-over"), "{shown}");
    ensure!(shown.contains("done: "), "{shown}");
    let roles = terminal.world.iam().list_roles().send().await?;
    ensure!(!roles.roles().iter().any(|role| role.role_name() == "left-over"), "{shown}");
    Ok(())
}
