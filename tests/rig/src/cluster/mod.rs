//! A Kubernetes API: a real etcd and kube-apiserver, without the rest of a cluster, which no test here needs. There are
//! no controllers, so a deleted namespace keeps its objects. The operator under test is a ServiceAccount with the
//! rights that `deploy/install.yaml` grants it.

mod audit;
mod certs;
mod controllers;
mod rights;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

pub use audit::KubeRequest;
use certs::Certs;
pub use controllers::Controllers;
pub use rights::user;

use crate::health;
use crate::paths;
use crate::process::{self, Process, Spec};
use crate::proxy::lock;
use crate::tools::Tools;

/// The variable with the kubeconfig of an existing cluster.
const EXTERNAL: &str = "RIG_KUBECONFIG";

/// How long a start may take: far above the usual 3 seconds, for a busy machine.
const START: Duration = Duration::from_secs(300);

/// The turn of a cluster that starts. A start takes all the time of a processor that it can get, and several at once would
/// hold each other up.
static STARTING: Mutex<()> = Mutex::new(());

/// How long an end may take. There is nothing to save, and a server without its store would wait for it.
const GRACE: Duration = Duration::from_secs(1);

/// The users and the groups that they are in.
const USERS: [(&str, &str); 1] = [(ADMIN, "system:masters")];

/// The user that tests act as.
pub const ADMIN: &str = "admin";

/// The user that the operator under test acts as: the ServiceAccount of `deploy/install.yaml`, in another namespace.
pub const OPERATOR: &str = "system:serviceaccount:rig:s3-replication-operator";

/// A running Kubernetes API.
#[derive(Debug)]
pub struct Cluster {
    kubectl: PathBuf,
    admin: PathBuf,
    operator: PathBuf,
    person: PathBuf,
    audit: Option<PathBuf>,
    etcd: Option<SocketAddr>,
    // In the order in which they are ended: the server before its store.
    processes: Vec<Process>,
}

impl Cluster {
    /// The cluster that `RIG_KUBECONFIG` names, if it names one.
    pub fn given(tools: &Tools) -> Result<Option<Self>> {
        let Some(config) = std::env::var_os(EXTERNAL).map(PathBuf::from) else {
            return Ok(None);
        };
        if !config.is_file() {
            bail!("{EXTERNAL} names {}, which is no file", config.display());
        }
        Ok(Some(Self {
            kubectl: tools.kubectl.clone(),
            admin: config.clone(),
            operator: config.clone(),
            person: config,
            audit: None,
            etcd: None,
            processes: Vec::new(),
        }))
    }

    /// Starts one.
    pub fn start(tools: &Tools) -> Result<Self> {
        let _turn = lock(&STARTING);
        let (etcd, etcd_address) = process::on_free_ports(|| start_etcd(&tools.etcd))?;
        let etcd_url = format!("http://{etcd_address}");
        let (server, files) = process::on_free_ports(|| start_apiserver(&tools.kube_apiserver, &etcd_url))?;
        Ok(Self {
            kubectl: tools.kubectl.clone(),
            admin: files.join(format!("{ADMIN}.kubeconfig")),
            // `grant` replaces both.
            operator: files.join(format!("{ADMIN}.kubeconfig")),
            person: files.join(format!("{ADMIN}.kubeconfig")),
            audit: Some(files.join("audit.log")),
            etcd: Some(etcd_address),
            processes: vec![server, etcd],
        })
    }

    /// Whether the rig started this cluster, so that its audit log and its store can be read.
    pub fn is_made_by_rig(&self) -> bool {
        !self.processes.is_empty()
    }

    /// The kubeconfig file of the user that tests act as.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// The kubeconfig file of the user that the operator acts as.
    pub fn operator_kubeconfig(&self) -> &Path {
        &self.operator
    }

    /// The kubeconfig of a person with read-only access, for the command line.
    pub fn person_kubeconfig(&self) -> &Path {
        &self.person
    }

    /// The address of the API server.
    pub async fn address(&self) -> Result<SocketAddr> {
        let url = server(&Kubeconfig::read_from(&self.operator)?)?;
        let (host, port) = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(443));
        let mut found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?;
        found.next().with_context(|| format!("{host} has no address"))
    }

    /// Writes a kubeconfig file of the operator's user that reaches the API server by another address.
    pub fn operator_kubeconfig_via(&self, address: SocketAddr) -> Result<PathBuf> {
        let mut config = Kubeconfig::read_from(&self.operator)?;
        let host = server(&config)?.host().unwrap_or_default().to_owned();
        for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.server = Some(format!("https://{address}"));
            // The certificate is still that of the host itself.
            cluster.tls_server_name.get_or_insert_with(|| host.clone());
        }
        let path = paths::scratch_dir("kubeconfig")?.join("config");
        fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }

    /// The kubectl program.
    pub fn kubectl_program(&self) -> &Path {
        &self.kubectl
    }

    /// A new client for the admin user. A client belongs to the runtime that made it, and every test has its own.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.admin).await
    }

    /// Runs kubectl as the admin user and waits for it.
    pub fn kubectl<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Output> {
        self.kubectl_with_input(args, "")
    }

    /// Runs kubectl as the admin user, with a text on its standard input.
    pub fn kubectl_with_input<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<Output> {
        let mut child = Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.admin)
            // kubectl would otherwise write its discovery cache into the home directory.
            .env("KUBECACHEDIR", paths::rig().join("kubectl-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that refuses its arguments does not read its input. Its output shows the error.
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(child.wait_with_output()?)
    }

    /// Applies every manifest in a directory of CRDs and waits until the API server serves them.
    pub fn apply_crds(&self, dir: &Path) -> Result<()> {
        let dir = dir.as_os_str();
        self.must(&["apply", "--server-side", "--force-conflicts", "-f"], dir)?;
        let wait = ["wait", "--for=condition=Established", "--timeout=120s", "-f"];
        let start = Instant::now();
        loop {
            match self.must(&wait, dir) {
                // kubectl fails on a definition that has no conditions yet, instead of waiting for them.
                Err(error) if error.to_string().contains("accessor error") && start.elapsed() < START => {}
                established => return established,
            }
        }
    }

    /// The requests of a user in a namespace, in order. `None`: in all namespaces.
    ///
    /// # Errors
    /// If the rig did not start the cluster: it cannot read its audit log.
    pub fn requests(&self, user: &str, namespace: Option<&str>) -> Result<Vec<KubeRequest>> {
        let Some(path) = &self.audit else {
            bail!("requests cannot be counted on the cluster of {EXTERNAL}: it shows no audit log");
        };
        let log = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(audit::parse(&String::from_utf8_lossy(&log), user, namespace))
    }

    /// Writes a custom resource into etcd, past the API server and its admission. An older definition may have admitted
    /// such an object.
    ///
    /// # Errors
    /// If the rig did not start the cluster: it cannot reach its store.
    pub async fn store(&self, plural: &str, object: &Value) -> Result<()> {
        let part = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.with_context(|| format!("the object has no {pointer}"))
        };
        let group = part("/apiVersion")?.split('/').next().unwrap_or_default();
        let name = part("/metadata/name")?;
        let path = match part("/metadata/namespace") {
            Ok(namespace) => format!("{namespace}/{name}"),
            Err(_) => name.to_owned(),
        };
        self.put(&format!("/registry/{group}/{plural}/{path}"), object).await
    }

    /// Gives the cluster the UID of another one: that of the namespace `kube-system`, by which the operator knows its
    /// own roles.
    ///
    /// # Errors
    /// As `store`.
    pub async fn set_uid(&self, uid: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        let mut object = serde_json::to_value(namespaces.get("kube-system").await?)?;
        object["metadata"]["uid"] = json!(uid);
        self.put("/registry/namespaces/kube-system", &object).await
    }

    async fn put(&self, key: &str, object: &Value) -> Result<()> {
        let Some(etcd) = self.etcd else {
            bail!("nothing can be written into the store of the cluster of {EXTERNAL}");
        };
        let mut stored = object.clone();
        if let Some(metadata) = stored["metadata"].as_object_mut() {
            // The API server sets it when it reads an object.
            metadata.remove("resourceVersion");
        }
        let body = json!({
            "key": ByteString(key.as_bytes().to_vec()),
            "value": ByteString(serde_json::to_vec(&stored)?),
        });
        let request = http::Request::post(format!("http://{etcd}/v3/kv/put"))
            .header("content-type", "application/json")
            .body(http_body_util::Full::from(serde_json::to_vec(&body)?))?;
        let answer = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .build_http::<http_body_util::Full<hyper::body::Bytes>>()
            .request(request)
            .await?;
        if !answer.status().is_success() {
            bail!("etcd answers {} to a put", answer.status());
        }
        Ok(())
    }

    /// Ends the processes and waits for their end.
    pub fn shutdown(self) {
        for process in &self.processes {
            process.close();
            process.wait_blocking();
        }
    }

    /// Ends the processes without waiting.
    pub(crate) fn close(&self) {
        self.processes.iter().for_each(Process::close);
    }

    fn must(&self, args: &[&str], last: &OsStr) -> Result<()> {
        let all = args.iter().map(OsStr::new).chain([last]);
        let output = self.kubectl(all)?;
        if !output.status.success() {
            bail!(
                "kubectl {} {} failed: {}",
                args.join(" "),
                last.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// The server of the only cluster in a kubeconfig file, or of the first.
fn server(config: &Kubeconfig) -> Result<http::Uri> {
    let clusters = config.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let server = clusters.filter_map(|cluster| cluster.server.as_ref()).next();
    Ok(server.context("the kubeconfig file names no server")?.parse()?)
}

pub(crate) async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let file =
        Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

fn start_etcd(program: &Path) -> Result<(Process, Result<SocketAddr>)> {
    let data = paths::data_dir("etcd")?;
    let (clients, peers) = (process::free_port()?, process::free_port()?);
    let url = format!("http://127.0.0.1:{clients}");
    let peer_url = format!("http://127.0.0.1:{peers}");
    let process = Spec::new("etcd", program)
        .without_env(&["ETCD_"])
        .arg("--data-dir")
        .arg(data.join("etcd"))
        .args(["--listen-client-urls", &url])
        .args(["--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer_url])
        .args(["--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}")])
        // The data lives no longer than the process.
        .args(["--unsafe-no-fsync", "--log-level=warn"])
        .grace(GRACE)
        .data(&data)
        .start()?;
    let ready = process
        .wait_ready(START, || health::is_ok(clients, "/health"))
        .map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, clients)));
    Ok((process, ready))
}

fn start_apiserver(program: &Path, etcd: &str) -> Result<(Process, Result<PathBuf>)> {
    let files = paths::data_dir("apiserver")?;
    let certs = Certs::write(&files)?;
    let port = process::free_port()?;
    let write = |name: &str, text: &str| {
        let path = files.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    let policy = write("audit-policy.yaml", audit::POLICY)?;
    // Tests may read the log before the first request.
    let audit = write("audit.log", "")?;
    let users: String =
        USERS.iter().map(|(user, group)| format!("token-of-{user},{user},{user},\"{group}\"\n")).collect();
    let users = write("users.csv", &users)?;
    for (user, _) in USERS {
        write(&format!("{user}.kubeconfig"), &kubeconfig(user, port, &certs.ca)?)?;
    }
    let process = Spec::new("kube-apiserver", program)
        // By default a fifth of the CPU time of a start goes into the collection of garbage. The limit keeps memory small.
        .env("GOGC", "400")
        .env("GOMEMLIMIT", "800MiB")
        .args(["--etcd-servers", etcd])
        .args(["--bind-address", "127.0.0.1"])
        .args(["--advertise-address", "127.0.0.1"])
        .args(["--secure-port", &port.to_string()])
        .args(["--service-cluster-ip-range", "10.0.0.0/24"])
        // A loopback address is not allowed as the endpoint of a service.
        .args(["--endpoint-reconciler-type", "none"])
        .arg("--cert-dir")
        .arg(&files)
        .arg("--tls-cert-file")
        .arg(&certs.cert)
        .arg("--tls-private-key-file")
        .arg(&certs.key)
        .args(["--service-account-issuer", "https://rig.invalid"])
        .arg("--service-account-key-file")
        .arg(&certs.tokens_public)
        .arg("--service-account-signing-key-file")
        .arg(&certs.tokens)
        .args(["--authorization-mode", "RBAC"])
        .arg("--token-auth-file")
        .arg(&users)
        // This plugin waits for a controller that does not run here.
        .args(["--disable-admission-plugins", "ServiceAccount"])
        .arg("--audit-policy-file")
        .arg(&policy)
        .arg("--audit-log-path")
        .arg(&audit)
        // On disk before the answer, so that a count misses nothing.
        .args(["--audit-log-mode", "blocking"])
        .grace(GRACE)
        .data(&files)
        .start()?;
    let admin = files.join(format!("{ADMIN}.kubeconfig"));
    let ready = wait_apiserver(&process, &admin).map(|()| files);
    Ok((process, ready))
}

/// Uses a real client, so that the server's certificate is checked too.
fn wait_apiserver(process: &Process, admin: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(client(admin))?;
    let ask = || async {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        anyhow::Ok(client.request_text(request).await?)
    };
    process.wait_ready(START, || runtime.block_on(ask()).is_ok())
}

fn kubeconfig(user: &str, port: u16, ca: &Path) -> Result<String> {
    Ok(serde_json::to_string_pretty(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "rig",
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
        "clusters": [{"name": "rig", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": ca,
        }}],
        "users": [{"name": user, "user": {"token": format!("token-of-{user}")}}],
    }))?)
}
