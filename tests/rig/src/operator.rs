//! The operator under test, as a process of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

use crate::emulator::SECRET;
use crate::health;
use crate::paths;
use crate::process::{Process, Spec};
use crate::progress;

/// The name of the program.
const PROGRAM: &str = "s3-replication-operator";

/// Variables that would let this machine's settings into the operator.
const FOREIGN: [&str; 4] = ["AWS_", "KUBE", "OTEL_", "RUST_LOG"];

/// The recipe of the image, whose variables the operator has here too: one of them bounds what `malloc` keeps.
const IMAGE: &str = include_str!("../../../Containerfile");

/// How often a log or a process is checked.
const POLL: Duration = Duration::from_millis(20);

/// How an operator process is started.
#[derive(Debug, Clone)]
pub struct OperatorBuilder {
    binary: Option<PathBuf>,
    namespaces: Vec<String>,
    kubeconfig: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    logs: Logs,
}

/// The logs of all operators of one world, for its error messages.
pub(crate) type Logs = Arc<Mutex<Vec<PathBuf>>>;

impl OperatorBuilder {
    pub(crate) fn new(kubeconfig: &Path, account: &str, endpoint: &str, logs: Logs) -> Self {
        let builder = Self {
            binary: None,
            namespaces: Vec::new(),
            kubeconfig: kubeconfig.to_path_buf(),
            args: Vec::new(),
            env: Vec::new(),
            logs,
        };
        let builder = image_variables().fold(builder, |builder, (name, value)| builder.env(name, value));
        builder
            .credentials(account, SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// The program. In an integration test of the operator's package that is
    /// `env!("CARGO_BIN_EXE_s3-replication-operator")`; without it, it is built.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// The namespaces that `run` watches, instead of those so far; all of them when there is none.
    pub fn namespaces<N: Into<String>>(mut self, namespaces: impl IntoIterator<Item = N>) -> Self {
        self.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an argument to `run`.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments to `run`.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable; the last value for a name counts.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The access key it has. By default that of the root of the world's account.
    pub fn credentials(self, access_key_id: &str, secret: &str) -> Self {
        self.env("AWS_ACCESS_KEY_ID", access_key_id).env("AWS_SECRET_ACCESS_KEY", secret)
    }

    /// Another way to the API server than the direct one.
    pub fn kubeconfig(mut self, path: &Path) -> Self {
        self.kubeconfig = path.to_path_buf();
        self
    }

    /// Starts `run` for its namespaces.
    pub async fn start(self) -> Result<Operator> {
        let binary = self.program().await?;
        let mut spec = Spec::new("operator", binary)
            .without_env(&FOREIGN)
            .args(["run", "--http-address", "127.0.0.1:0"])
            .args(self.namespace_args())
            .args(&self.args)
            .env("KUBECONFIG", &self.kubeconfig)
            // Longer than the operator itself takes at most.
            .grace(Duration::from_secs(12));
        for (name, value) in &self.env {
            spec = spec.env(name, value);
        }
        let process = spec.start()?;
        if let Ok(mut logs) = self.logs.lock() {
            logs.push(process.log_path().to_path_buf());
        }
        Ok(Operator { process })
    }

    /// Runs another subcommand to its end, for example `plan -f -`, in the same
    /// environment, with a text on its standard input.
    pub async fn run(
        self,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        input: &str,
    ) -> Result<Output> {
        let binary = self.program().await?;
        let mut command = tokio::process::Command::new(&binary);
        for (name, _) in std::env::vars_os() {
            let foreign =
                name.to_str().is_some_and(|name| FOREIGN.iter().any(|prefix| name.starts_with(prefix)));
            if foreign {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args.into_iter().map(Into::into))
            .args(&self.args)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // The program may end without reading its input.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(child.wait_with_output().await?)
    }

    fn namespace_args(&self) -> Vec<String> {
        match self.namespaces.as_slice() {
            [] => Vec::new(),
            some => vec!["--namespaces".to_owned(), some.join(",")],
        }
    }

    async fn program(&self) -> Result<PathBuf> {
        match &self.binary {
            Some(path) => Ok(path.clone()),
            None => tokio::task::spawn_blocking(build).await?,
        }
    }
}

/// The name and the value of each `ENV` line of the image.
fn image_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    IMAGE.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('='))
}

/// Builds the operator in the profile that this program was built in, once. Returns the path of the program.
///
/// # Errors
/// If it does not compile; the error quotes Cargo.
pub fn build() -> Result<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    match BUILT.get() {
        Some(program) => Ok(program.clone()),
        None => compile().map(|program| BUILT.get_or_init(|| program).clone()),
    }
}

fn compile() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    let release = exe.components().any(|part| part.as_os_str() == "release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut spec = Spec::new("cargo-build", cargo)
        .args(["build", "--bin", PROGRAM])
        .arg("--target-dir")
        .arg(paths::target())
        .current_dir(&paths::repository());
    if release {
        spec = spec.arg("--release");
    }
    progress::step("building the operator", || crate::tools::run("cargo build", spec))?;
    let profile = if release { "release" } else { "debug" };
    Ok(paths::target().join(profile).join(PROGRAM))
}

/// A running operator. Dropping it kills it; when that is because a test
/// panicked, its log is printed.
#[derive(Debug)]
pub struct Operator {
    process: Process,
}

impl Operator {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves health and metrics. Waits until it does.
    ///
    /// # Errors
    /// When it ends, or does not say so within a minute.
    pub async fn http_address(&self) -> Result<SocketAddr> {
        let line = self.logged("serving /livez", Duration::from_secs(60)).await?;
        let address = line.rsplit_once("address").map(|(_, rest)| rest).unwrap_or_default();
        let address = address.trim_start_matches(['=', '"', ':']);
        let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
        let address = address.get(..end.unwrap_or(address.len())).unwrap_or_default();
        address.parse().with_context(|| format!("no address in {line}"))
    }

    /// Waits until /readyz answers that it is ready, as a pod's probe does.
    ///
    /// # Errors
    /// When it ends, or is not ready within a minute.
    pub async fn wait_ready(&self) -> Result<()> {
        let port = self.http_address().await?.port();
        let start = Instant::now();
        while !tokio::task::spawn_blocking(move || health::is_ok(port, "/readyz")).await? {
            if self.exit_code().is_some() || start.elapsed() > Duration::from_secs(60) {
                bail!("the operator did not become ready; its log:\n{}", self.log());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until it has logged a line that holds this text, and returns the line.
    ///
    /// # Errors
    /// When it ends, or the deadline passes, first.
    pub async fn logged(&self, text: &str, deadline: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            // Read before the log, or the last lines of an ended process would be missed.
            let ended = self.exit_code();
            if let Some(line) = self.log().lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if ended.is_some() || start.elapsed() > deadline {
                let why = if ended.is_some() { "it has ended" } else { "it has not yet" };
                bail!("the operator was to log {text:?}, and {why}; its log:\n{}", self.log());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops the process as it is (SIGSTOP), and waits until the system has.
    pub async fn stop(&self) -> Result<()> {
        self.process.signal("STOP");
        self.state(|state| state == 'T', "stopped").await
    }

    /// Lets a stopped process go on (SIGCONT).
    pub async fn go_on(&self) -> Result<()> {
        self.process.signal("CONT");
        self.state(|state| state != 'T', "going on").await
    }

    /// Waits for a state of the process, as /proc reports it.
    async fn state(&self, wanted: impl Fn(char) -> bool, what: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let path = format!("/proc/{}/stat", self.pid());
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            // After the name, which may hold anything.
            let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if state.is_some_and(&wanted) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("process {} is not {what}: its state is {state:?}", self.pid());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The file of its log.
    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// The exit code, once it has ended; 128 + n when signal n ended it.
    pub fn exit_code(&self) -> Option<i32> {
        self.process.exit_code()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub async fn kill(&self) -> Result<()> {
        self.process.signal("KILL");
        self.process.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// Sends SIGTERM and returns its exit code.
    ///
    /// # Errors
    /// When it is still there after 15 seconds.
    pub async fn terminate(&self) -> Result<i32> {
        self.process.signal("TERM");
        self.process.wait(Duration::from_secs(15)).await
    }

    /// Waits until it ends and returns its exit code.
    pub async fn wait(&self, deadline: Duration) -> Result<i32> {
        self.process.wait(deadline).await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the operator's log ---\n{}---", self.log());
        }
        self.process.signal("KILL");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_image_are_found_in_its_recipe() {
        let names: Vec<_> = image_variables().map(|(name, _)| name).collect();
        assert_eq!(names, ["MALLOC_ARENA_MAX"]);
    }
}
