//! The AWS emulator: ministack, which has an S3 with a working replication
//! data plane and the other services that the operator speaks to. A 12-digit
//! access key id is the account, so that each test can have one of its own.
//! It is started by a script (`tools/aws/emulator.py`) that has it look at the
//! replication role, as S3 does, before an object is replicated.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::health;
use crate::paths;
use crate::process::{self, Process, Spec};

/// The services that are loaded: those that the operator and its tests use.
const SERVICES: &str = "s3,iam,sts,kms,sqs,events,cloudwatch";

/// The secret of every account's root key.
pub const SECRET: &str = "test";

/// How long a start may take: far above the usual second, for a busy machine.
const START: Duration = Duration::from_secs(60);

/// Whether the emulator checks signatures and enforces IAM policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Every request is allowed.
    Open,
    /// As on AWS: signatures are verified and policies decide.
    Enforced,
}

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    process: Process,
}

impl Emulator {
    /// Starts one on a free port, with a Python that has it installed.
    pub fn start(python: &Path, auth: Auth) -> Result<Self> {
        let (process, port) = process::on_free_ports(|| launch(python, auth))?;
        Ok(Self { port, process })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends the process and waits for its end.
    pub fn shutdown(self) {
        self.process.close();
        self.process.wait_blocking();
    }

    /// Ends the process without waiting.
    pub(crate) fn close(&self) {
        self.process.close();
    }

    /// The last lines that it printed, for error messages.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }
}

fn launch(python: &Path, auth: Auth) -> Result<(Process, Result<u16>)> {
    let data = paths::data_dir("emulator")?;
    let port = process::free_port()?;
    let enforced = if auth == Auth::Enforced { "true" } else { "false" };
    let process = Spec::new("emulator", python)
        .arg(paths::sources().join("tools/aws/emulator.py"))
        // Its settings have common names, and AWS_ variables would change the root identity.
        .without_env(&["AWS_", "MINISTACK_", "LOCALSTACK_", "PYTHON", "S3_"])
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("AUTH", enforced)
        .env("SERVICES", SERVICES)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("LOG_LEVEL", "WARNING")
        // All that it writes goes where the guard removes it.
        .env("TMPDIR", &data)
        .env("S3_DATA_DIR", data.join("s3"))
        .env("STATE_DIR", data.join("state"))
        .env("PERSIST_STATE", "0")
        .env("S3_PERSIST", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env("USE_SSL", "0")
        // These would listen on ports of their own.
        .env("SFTP_ENABLED", "0")
        .env("IOT_MTLS_ENABLED", "0")
        // It removes containers that it takes for its own: keep it away from Docker.
        .env("DOCKER_HOST", format!("unix://{}/no-docker", data.display()))
        .current_dir(&data)
        .data(&data)
        .start()?;
    let ready = process.wait_ready(START, || health::is_ok(port, "/_ministack/health")).map(|()| port);
    Ok((process, ready))
}
