//! Claims the Lease, renews it while work is done, and lets go of it when the work has ended.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::runtime::kube_error;
use crate::runtime::leader::claim::{Leadership, Term};
use crate::runtime::leader::clock::BootInstant;
use crate::runtime::leader::record::{Candidate, Decision};
use crate::runtime::leader::settings::{JITTER, Settings};

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("cannot {what} the Lease: {}", kube_error::describe(source))]
    Kubernetes {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("the API server did not answer within {0:?}")]
    NoAnswer(Duration),
    #[error("someone else wrote the Lease first")]
    Outrun,
}

/// Whose the Lease is.
enum Standing {
    Ours,
    Theirs { holder: String, other_scope: Option<String> },
}

/// One of the candidates.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    candidate: Candidate,
    leadership: Leadership,
    /// The Lease as we wrote it last, as long as nothing speaks against its being so still.
    ours: Option<Lease>,
    /// What was logged last: each state is told once.
    told: String,
}

impl Elector {
    /// The client should make no tries of its own: when to try again is decided here.
    pub fn new(client: Client, settings: Settings, leadership: Leadership) -> Elector {
        let api = Api::namespaced(client, &settings.namespace);
        Elector { api, candidate: Candidate::new(settings), leadership, ours: None, told: String::new() }
    }

    /// Follows until it leads, works while it leads, and follows again. The work is to end itself at `shutdown`
    /// and when its term ends; the Lease is renewed until it has.
    pub async fn run(mut self, shutdown: &CancellationToken, work: impl AsyncFn(Term)) {
        while let Some(term) = self.acquire(shutdown).await {
            let Settings { namespace, name, identity, .. } = self.candidate.settings();
            info!(lease = format!("{namespace}/{name}"), identity, "leading");
            let mut work = pin!(work(term.clone()));
            tokio::select! {
                biased;
                () = &mut work => {
                    term.end();
                    self.release().await;
                }
                () = self.renew(&term) => {
                    term.end();
                    work.await;
                }
            }
        }
    }

    /// Waits until the Lease is ours; `None` at `shutdown`.
    async fn acquire(&mut self, shutdown: &CancellationToken) -> Option<Term> {
        let times = self.candidate.settings().times;
        while !shutdown.is_cancelled() {
            let asked = BootInstant::now();
            // Not given up at `shutdown`: a claim that went through unheard would keep others waiting.
            match self.attempt(times.call()).await {
                Ok(Standing::Ours) if shutdown.is_cancelled() => self.release().await,
                Ok(Standing::Ours) => {
                    return Some(self.leadership.begin(asked.after(times.renew_deadline())));
                }
                Ok(Standing::Theirs { holder, other_scope: None }) => {
                    self.tell(&holder, || info!(holder, "following"));
                }
                Ok(Standing::Theirs { holder, other_scope: Some(theirs) }) => self.tell(&holder, || {
                    let hint = "operators that share the work need a --lease-name each";
                    warn!(holder, theirs, hint, "following an operator that works on other resources");
                }),
                Err(error) => self.failed(&error),
            }
            let wait = times.retry_period().mul_f64(1.0 + (JITTER - 1.0) * fastrand::f64());
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
        None
    }

    /// Keeps the Lease. Returns when the claim has ended.
    async fn renew(&mut self, term: &Term) {
        let times = self.candidate.settings().times;
        loop {
            sleep(times.retry_period().min(term.left())).await;
            let asked = BootInstant::now();
            match self.attempt(times.call().min(term.left())).await {
                Ok(Standing::Ours) if term.extend(asked.after(times.renew_deadline())) => self.told.clear(),
                // It came too late: work was refused meanwhile.
                Ok(Standing::Ours) => {}
                Ok(Standing::Theirs { holder, .. }) => {
                    warn!(holder, "no longer leading: another operator holds the Lease");
                    return;
                }
                Err(error) => self.failed(&error),
            }
            if !term.holds() {
                warn!("no longer leading: the Lease could not be renewed in time");
                return;
            }
        }
    }

    /// One try to make, take or renew the Lease.
    async fn attempt(&mut self, limit: Duration) -> Result<Standing, LeaseError> {
        // What becomes of a write that is not answered is not known: after it the Lease is read.
        let held = self.ours.take();
        timeout(limit, self.claim(held)).await.unwrap_or(Err(LeaseError::NoAnswer(limit)))
    }

    async fn claim(&mut self, held: Option<Lease>) -> Result<Standing, LeaseError> {
        if held.is_some() {
            match self.write(held.as_ref()).await {
                // It may be gone or be another's: that is to be known at once.
                Err(LeaseError::Outrun) => {}
                other => return other,
            }
        }
        let name = &self.candidate.settings().name;
        let held = self.api.get_opt(name).await;
        let held = held.map_err(|source| LeaseError::Kubernetes { what: "read", source })?;
        self.write(held.as_ref()).await
    }

    /// Writes what is to be written, over exactly the version that was read.
    async fn write(&mut self, held: Option<&Lease>) -> Result<Standing, LeaseError> {
        let name = self.candidate.settings().name.clone();
        let written = match self.candidate.decide(held, BootInstant::now(), jiff::Timestamp::now()) {
            Decision::Wait { holder, other_scope } => return Ok(Standing::Theirs { holder, other_scope }),
            Decision::Create(lease) => self.api.create(&PostParams::default(), &lease).await,
            Decision::Replace(lease) => self.api.replace(&name, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(lease) => {
                self.ours = Some(lease);
                Ok(Standing::Ours)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Err(LeaseError::Outrun),
            // Of a Lease that was there a moment ago; where none was, the namespace is missing.
            Err(kube::Error::Api(status)) if status.code == 404 && held.is_some() => Err(LeaseError::Outrun),
            Err(source) => Err(LeaseError::Kubernetes { what: "write", source }),
        }
    }

    /// Lets go of the Lease, so that the next one need not wait for its end.
    async fn release(&mut self) {
        let limit = self.candidate.settings().times.call();
        match timeout(limit, self.give_up()).await.unwrap_or(Err(LeaseError::NoAnswer(limit))) {
            Ok(()) => info!("released the Lease"),
            Err(error) => warn!(%error, "could not release the Lease; others wait until it has run out"),
        }
        self.ours = None;
        self.told.clear();
    }

    async fn give_up(&mut self) -> Result<(), LeaseError> {
        let name = self.candidate.settings().name.clone();
        let lease = match self.ours.take() {
            Some(lease) => Some(lease),
            None => {
                let held = self.api.get_opt(&name).await;
                held.map_err(|source| LeaseError::Kubernetes { what: "read", source })?
            }
        };
        let Some(lease) = lease.filter(|lease| self.candidate.holds(lease)) else { return Ok(()) };
        let released = self.candidate.release(&lease, jiff::Timestamp::now());
        let written = self.api.replace(&name, &PostParams::default(), &released).await;
        written.map(drop).map_err(|source| LeaseError::Kubernetes { what: "write", source })
    }

    fn failed(&mut self, error: &LeaseError) {
        match error {
            LeaseError::Outrun => debug!(%error, "trying again"),
            LeaseError::Kubernetes { .. } | LeaseError::NoAnswer(_) => {
                let text = error.to_string();
                self.tell(&text, || {
                    warn!(error = text, "cannot claim or renew the leadership; trying again")
                });
            }
        }
    }

    /// Logs what is new.
    fn tell(&mut self, what: &str, log: impl FnOnce()) {
        if self.told != what {
            what.clone_into(&mut self.told);
            log();
        }
    }
}
