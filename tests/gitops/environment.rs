//! The environment of a test: an API server without this project's CRDs, AWS, Argo CD, and the git repositories of a
//! user.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rig::argocd::{ArgoCd, Programs, Repository};
use rig::world::World;
use rig::{Controllers, Tools};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::application::{self, Application};
use super::pods::Pods;

/// Stands in the deployed files for the host of a user's repositories.
const EXAMPLE: &str = "https://git.example.com/";

/// The name that the account of the deployed file has here.
pub const ACCOUNT: &str = "default";

/// The label of the namespaces whose resources may act in the account.
pub const LABEL: &str = "tests";

/// The restrictions that the file imposes on roles.
const BOUNDARY: &str = "            roles: {permissionsBoundary: \"arn:aws:iam::111122223333:policy/s3-replication-boundary\"}\n";

/// Finds the programs that Argo CD needs, or says why the tests cannot run.
pub fn required_programs() -> Result<Programs, String> {
    if env::var_os("RIG_ARGOCD").is_some_and(|value| value == "off") {
        return Err("RIG_ARGOCD is off".to_owned());
    }
    Programs::find()
}

/// A cluster with an Argo CD, and a namespace `data` for resources.
pub struct Environment {
    pub world: Arc<World>,
    pub argocd: ArgoCd,
    _controllers: Controllers,
    _pods: Pods,
}

impl Environment {
    /// Starts one. The chart is in a repository; nothing is installed.
    pub async fn start(name: &str) -> Result<Self> {
        let programs = required_programs().map_err(|why| anyhow!(why))?;
        let world = Arc::new(World::bare(name).await?);
        let cluster = world.cluster();
        let (argocd, controllers) = tokio::task::spawn_blocking(move || {
            let controllers = Controllers::start(&Tools::controller_manager()?, cluster)?;
            let argocd = ArgoCd::start(&programs, cluster, &repository("deploy/argocd/argocd-cm.yaml"))?;
            anyhow::Ok((argocd, controllers))
        })
        .await??;
        let pods = Pods::run(Arc::clone(&world));
        let environment = Self { world, argocd, _controllers: controllers, _pods: pods };
        let platform = environment.argocd.git.repository("platform/s3-replication-operator.git")?;
        // The chart, and the files that its links lead to.
        for folder in [application::CHART, "crds", "deploy/grafana", "deploy/prometheus"] {
            platform.copy(&repository(folder), folder)?;
        }
        platform.commit("The chart")?;
        let [operator, _] = environment.applications()?;
        let tag = operator["spec"]["source"]["targetRevision"].as_str();
        platform.tag(tag.context("the Application of the chart names no revision")?)?;
        environment.create_namespace("data")?;
        Ok(environment)
    }

    /// The file that a user applies, with the repositories and the account of this environment. The tests share the
    /// account: it allows all their namespaces and buckets, and there is no boundary in it.
    pub fn application_file(&self) -> Result<String> {
        let text = read("deploy/argocd/application.yaml")?;
        let edits = [
            (EXAMPLE, self.argocd.git.url()),
            ("{matchNames: [data]}", format!("{{matchLabels: {{{LABEL}: gitops}}}}")),
            ("[\"source-bucket-*\"]", "[\"*\"]".to_owned()),
            ("[\"dest-bucket-*\"]", "[\"*\"]".to_owned()),
            (BOUNDARY, String::new()),
            ("accountId: \"111122223333\"", format!("accountId: \"{}\"", self.world.account)),
        ];
        edits.into_iter().try_fold(text, |text, (theirs, ours)| {
            ensure!(text.contains(theirs), "deploy/argocd/application.yaml has no {theirs}");
            Ok(text.replace(theirs, &ours))
        })
    }

    /// The two Applications of that file: the operator and the resources.
    pub fn applications(&self) -> Result<[Value; 2]> {
        let all: Vec<Value> = serde_saphyr::from_multiple(&self.application_file()?)?;
        all.try_into().map_err(|_| anyhow!("deploy/argocd/application.yaml holds two Applications"))
    }

    /// Creates the repository of the second Application. It holds the smallest sample; the buckets in it exist.
    pub async fn replications(&self) -> Result<Repository> {
        let replications = self.argocd.git.repository("data/replications.git")?;
        let mut text = read("deploy/samples/minimal.yaml")?;
        for (bucket, region) in
            [("source-bucket-us-east-1", "us-east-1"), ("dest-bucket-eu-west-1", "eu-west-1")]
        {
            text = text.replace(bucket, &self.world.bucket(region).await?);
        }
        replications.write("minimal.yaml", &text)?;
        replications.commit("A replication")?;
        Ok(replications)
    }

    /// Creates a namespace whose resources may act in the account.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name], "")?;
        self.kubectl(&["label", "namespace", name, &format!("{LABEL}=gitops")], "").map(drop)
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.world.cluster().kubectl_with_input(args, input)?;
        if !output.status.success() {
            bail!("kubectl {} fails: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// An Application by its name, which need not exist yet.
    pub fn application(&self, name: &str) -> Application<'_> {
        Application::new(self, name)
    }
}

/// The runtime that all tests share.
static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> = LazyLock::new(Runtime::new);

/// Runs a test.
pub fn block_on<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    runtime.block_on(test)
}

/// Runs a test in the environment that most tests share. The file that a user applies has been applied to it.
pub fn on_shared<T>(test: impl AsyncFnOnce(&Environment) -> Result<T>) -> Result<T> {
    static SHARED: OnceLock<Result<Environment, String>> = OnceLock::new();
    let start = async || {
        let environment = Environment::start("gitops").await?;
        environment.replications().await?;
        environment.kubectl(&["apply", "-f", "-"], &environment.application_file()?)?;
        anyhow::Ok(environment)
    };
    let environment = SHARED.get_or_init(|| block_on(start()).map_err(|error| format!("{error:#}")));
    let environment = environment.as_ref().map_err(|error| anyhow!("{error}"))?;
    block_on(test(environment))
}

/// The path of a file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository(path)).with_context(|| format!("cannot read {path}"))
}
