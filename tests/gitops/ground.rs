//! What the tests stand on: a cluster without our definitions, AWS, Argo CD, and the repositories that a user has.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use rig::argocd::{ArgoCd, Programs, Repository};
use rig::world::World;
use rig::{Controllers, Tools};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::application::{self, Application};
use super::pods::Pods;

/// What the deployed files say instead of a user's own repositories.
const EXAMPLE: &str = "https://git.example.com/";

/// What the account of the deployed file is called here.
pub const ACCOUNT: &str = "of-the-file";

/// What this machine has.
pub struct Machine;

impl Machine {
    /// The programs that Argo CD needs, or why it cannot be had.
    pub fn look() -> Result<Programs, String> {
        if env::var_os("RIG_ARGOCD").is_some_and(|wish| wish == "off") {
            return Err("RIG_ARGOCD is off".to_owned());
        }
        Programs::look()
    }
}

/// A cluster with an Argo CD, and a namespace `data` for resources.
pub struct Ground {
    pub world: Arc<World>,
    pub argocd: ArgoCd,
    _controllers: Controllers,
    _pods: Pods,
}

impl Ground {
    /// A new one, with the chart in a repository and nothing of it in the cluster.
    pub async fn start(name: &str) -> Result<Self> {
        let programs = Machine::look().map_err(|why| anyhow!(why))?;
        let world = Arc::new(World::bare(name).await?);
        let cluster = world.cluster();
        let (argocd, controllers) = tokio::task::spawn_blocking(move || {
            let controllers = Controllers::start(&Tools::controller_manager()?, cluster)?;
            let argocd = ArgoCd::start(&programs, cluster, &repository("deploy/argocd/argocd-cm.yaml"))?;
            anyhow::Ok((argocd, controllers))
        })
        .await??;
        let pods = Pods::run(Arc::clone(&world));
        let ground = Self { world, argocd, _controllers: controllers, _pods: pods };
        let platform = ground.argocd.git.repository("platform/s3-replication-operator.git")?;
        // The chart, and what its links lead to.
        for folder in [application::CHART, "crds", "deploy/grafana", "deploy/prometheus"] {
            platform.copy(&repository(folder), folder)?;
        }
        platform.commit("The chart")?;
        let [operator, _] = ground.applications()?;
        let tag = operator["spec"]["source"]["targetRevision"].as_str();
        platform.tag(tag.context("the Application of the chart names no revision")?)?;
        ground.create_namespace("data")?;
        Ok(ground)
    }

    /// The file that a user applies, with the repositories of this ground.
    pub fn application_file(&self) -> Result<String> {
        let text = read("deploy/argocd/application.yaml")?;
        if !text.contains(EXAMPLE) {
            bail!("deploy/argocd/application.yaml has other repositories than those of {EXAMPLE}");
        }
        // The account of the file is made, under another name: as the default it would refuse the namespaces and buckets
        // of the other tests.
        let edits = [
            (
                "        accounts:\n",
                "        operator: {requireAccount: false}\n        accounts:\n".to_owned(),
            ),
            ("          default:\n", format!("          {ACCOUNT}:\n")),
            ("accountId: \"111122223333\"", format!("accountId: \"{}\"", self.world.account)),
        ];
        let mut text = text;
        for (theirs, ours) in edits {
            text.contains(theirs).then_some(()).with_context(|| format!("the file has no {theirs}"))?;
            text = text.replace(theirs, &ours);
        }
        Ok(text.replace(EXAMPLE, &self.argocd.git.url()))
    }

    /// Its two Applications: of the operator, and of the resources.
    pub fn applications(&self) -> Result<[Value; 2]> {
        let all: Vec<Value> = serde_saphyr::from_multiple(&self.application_file()?)?;
        all.try_into().map_err(|_| anyhow!("deploy/argocd/application.yaml holds two Applications"))
    }

    /// The repository that the second one takes resources from, with the smallest sample in it, on buckets that are
    /// there.
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

    pub fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name], "").map(drop)
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.world.cluster().kubectl_with_input(args, input)?;
        if !output.status.success() {
            bail!("kubectl {} fails: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// An Application that is there, or will be.
    pub fn application(&self, name: &str) -> Application<'_> {
        Application::new(self, name)
    }
}

/// Where all that waits, waits.
static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> = LazyLock::new(Runtime::new);

/// Runs what a test does.
pub fn block_on<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    runtime.block_on(test)
}

/// Runs what a test does on the ground that most share: the file that a user applies has been applied to it.
pub fn on_shared<T>(test: impl AsyncFnOnce(&Ground) -> Result<T>) -> Result<T> {
    static SHARED: OnceLock<Result<Ground, String>> = OnceLock::new();
    let start = async || {
        let ground = Ground::start("gitops").await?;
        ground.replications().await?;
        ground.kubectl(&["apply", "-f", "-"], &ground.application_file()?)?;
        anyhow::Ok(ground)
    };
    let ground = SHARED.get_or_init(|| block_on(start()).map_err(|error| format!("{error:#}")));
    let ground = ground.as_ref().map_err(|error| anyhow!("{error}"))?;
    block_on(test(ground))
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository(path)).with_context(|| format!("cannot read {path}"))
}
