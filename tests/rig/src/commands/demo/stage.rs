//! The stage of the demo: the parts that run, and the output on the terminal.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use rig::jobs::Worker;
use rig::process::tail;
use rig::{Clients, Operator, Proxy, Rig, paths};
use serde_json::Value;
use tokio::process::Command;

use super::cloud::Cloud;
use super::example::Example;

/// The account that everything belongs to, except in the chapter on accounts.
pub const ACCOUNT: &str = "111122223333";

const REQUESTED_AT: &str = "s3replication.dev/requestedAt";

/// How long the demo waits for an expected fact.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often the demo reads AWS, which announces no changes.
const POLL: Duration = Duration::from_millis(100);

/// How many lines of the operator's log a failure shows.
const LOG_LINES: usize = 20;

pub struct Stage<'a> {
    pub example: Example,
    pub cloud: Cloud,
    pub proxy: Proxy,
    rig: &'a Rig,
    operator: Operator,
    /// Works on the jobs of S3 Batch Operations until the stage is closed.
    _worker: Worker,
    steps: usize,
    step: String,
    begun: Instant,
    colour: bool,
}

impl<'a> Stage<'a> {
    /// Starts the proxy in front of the emulator, and the operator.
    pub async fn new(rig: &'a Rig, program: &Path) -> Result<Self> {
        let begun = Instant::now();
        let example = Example::read()?;
        let proxy = Proxy::start(([127, 0, 0, 1], rig.emulator.port()).into()).await?;
        let operator = rig.operator(ACCOUNT, &proxy.url()).binary(program);
        // Nobody watches a demo for the minutes that a backfill waits otherwise.
        let operator = operator.env("BACKFILL_SETTLE", "0").env("REQUEST_INTERVAL", "0");
        // Nor until metrics are read, which S3 publishes each minute.
        let operator = operator.args(["--health-interval", "1s", "--health-window", "2m"]).start().await?;
        Ok(Self {
            cloud: Cloud::new(&Clients::new(&rig.emulator.url(), ACCOUNT), example.clone()),
            example,
            proxy,
            rig,
            operator,
            _worker: Worker::start(&rig.emulator.url()),
            steps: 0,
            step: String::new(),
            begun,
            colour: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        })
    }

    /// Begins a step: prints what happens, and why that matters.
    pub fn step(&mut self, what: &str, why: &str) {
        self.steps += 1;
        self.step = format!("{}. {what}", self.steps);
        println!("\n{}", self.bold(&self.step));
        println!("   {why}");
    }

    /// Shows a text, indented.
    pub fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   {line}");
        }
    }

    /// Prints a fact that was checked, and fails if it is not true.
    pub fn see(&self, fact: &str, is_true: bool) -> Result<()> {
        ensure!(is_true, "this is not so: {fact}");
        println!("   {} {fact}", self.green("✓"));
        Ok(())
    }

    /// Checks again and again until there is a result.
    pub async fn until<T>(&self, what: &str, mut find: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        let checks = async {
            loop {
                if let Some(found) = find().await? {
                    return Ok(found);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, checks).await;
        found.with_context(|| format!("this did not come within {DEADLINE:?}: {what}"))?
    }

    /// Runs kubectl and prints the command and its output.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        println!("   {}", self.dim(&self.shown(args)));
        let output = self.kubectl_unseen(args).await?;
        self.show(&output);
        Ok(output)
    }

    /// Shows the status as kubectl prints it.
    pub async fn kubectl_status(&self) -> Result<()> {
        let args = ["get", "br", &self.example.name, "-o", "yaml"];
        println!("   {}", self.dim(&format!("{} | sed -n '/^status:/,$p'", self.shown(&args))));
        let output = self.kubectl_unseen(&args).await?;
        let from = output.find("\nstatus:").context("the resource has no status")?;
        self.show(output.get(from..).unwrap_or_default().trim_start());
        Ok(())
    }

    /// The resource as it is now.
    pub async fn resource(&self) -> Result<Value> {
        self.object("br", &self.example.name).await
    }

    /// Any object as it is now.
    pub async fn object(&self, kind: &str, name: &str) -> Result<Value> {
        let output = self.kubectl_unseen(&["get", kind, name, "-o", "json"]).await?;
        Ok(serde_json::from_str(&output)?)
    }

    /// Requests a check and waits for its acknowledgement.
    pub async fn check_now(&self, name: &str, request: &str) -> Result<()> {
        let annotation = format!("{REQUESTED_AT}={request}");
        self.kubectl(&["annotate", "br", name, "--overwrite", &annotation]).await?;
        let acknowledged = format!("--for=jsonpath={{.status.lastHandledRequest}}={request}");
        let waited = self.kubectl(&["wait", &acknowledged, &format!("br/{name}"), "--timeout=30s"]).await;
        waited.map(drop).context("the request for a check was not acknowledged")
    }

    /// The emulator, past the proxy.
    pub fn emulator_url(&self) -> String {
        self.rig.emulator.url()
    }

    /// AWS as the root of an account, past the proxy.
    pub fn clients(&self, account: &str) -> Clients {
        Clients::new(&self.rig.emulator.url(), account)
    }

    async fn kubectl_unseen(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(self.rig.cluster.kubectl_program())
            .args(args)
            .args(["--namespace", &self.example.namespace])
            .env("KUBECONFIG", self.rig.cluster.admin_kubeconfig())
            .env("KUBECACHEDIR", paths::rig().join("kubectl-cache"))
            .current_dir(paths::repository())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!("{}: {}", self.shown(args), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the operator is ready.
    pub async fn operator_started(&self) -> Result<String> {
        let what = "the operator has started";
        self.until(what, async || {
            if let Some(code) = self.operator.exit_code() {
                bail!("the operator ended with code {code}");
            }
            Ok(self.operator.log().lines().find(|line| line.contains(" started ")).map(str::to_owned))
        })
        .await
    }

    pub fn conclude(&self) {
        let (steps, seconds) = (self.steps, self.begun.elapsed().as_secs_f64());
        println!(
            "\n{}",
            self.bold(&format!("All {steps} steps happened as they should, in {seconds:.0} s."))
        );
    }

    pub fn fail(&self, error: &Error) {
        println!("\n{}", self.bold(&format!("Failed at step {}", self.step)));
        println!("   {error:#}");
        println!("\nThe operator's last words:\n{}", tail(&self.operator.log(), LOG_LINES));
    }

    pub fn say_how_to_talk(&self) {
        let cluster = &self.rig.cluster;
        println!("\nAll of it stays up until Ctrl-C. In another terminal:\n");
        println!("export KUBECONFIG={}", cluster.admin_kubeconfig().display());
        if let Some(dir) = cluster.kubectl_program().parent() {
            println!("export PATH={}:$PATH  # kubectl", dir.display());
        }
        println!("export AWS_ENDPOINT_URL={} AWS_REGION=us-east-1", self.proxy.url());
        println!("export AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY={}", rig::emulator::SECRET);
        println!("tail -f {}", self.operator.log_path().display());
    }

    /// Ends the operator by SIGTERM.
    pub async fn close(self) {
        // The guard kills an operator that does not end on SIGTERM.
        let _ = self.operator.terminate().await;
    }

    fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    fn green(&self, text: &str) -> String {
        self.styled("32", text)
    }

    fn dim(&self, text: &str) -> String {
        self.styled("36", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// The command as a person types it.
    fn shown(&self, args: &[&str]) -> String {
        let quoted = args.iter().map(|arg| match arg.contains([' ', '{', '"', '[', '$', '\\']) {
            true => format!("'{arg}'"),
            false => (*arg).to_owned(),
        });
        let namespace = match self.example.namespace.as_str() {
            "default" => String::new(),
            other => format!("-n {other} "),
        };
        format!("$ kubectl {namespace}{}", quoted.collect::<Vec<_>>().join(" "))
    }
}
