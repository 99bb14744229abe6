//! Holds the election: claims the Lease, renews it while work runs, and releases it when the work has ended.
//!
//! In: the settings of the Lease. Out: a [`Term`] each time that this process leads.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::ports::kube_error;
use crate::runtime::leader::boot_instant::BootInstant;
use crate::runtime::leader::claim::{Leadership, Succession, Term};
use crate::runtime::leader::record::{Candidate, Decision};
use crate::runtime::leader::settings::{JITTER, LeaseSettings};

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
    #[error("another process wrote the Lease first")]
    Conflict,
}

/// The holder of the Lease after a try to claim it.
enum Claimed {
    /// This process; and how the term before ended.
    Held(Succession),
    /// Another process, and what it works on where that is something else.
    HeldByOther { holder: String, other_scope: Option<String> },
}

/// Decides when this process works.
#[derive(Debug)]
pub struct Election {
    leadership: Leadership,
    elector: Option<Elector>,
}

impl Election {
    /// No election: this process works from its start to its end.
    pub fn disabled() -> Election {
        Election { leadership: Leadership::default(), elector: None }
    }

    /// Of several processes, the one that holds the Lease works. The client must not retry on its own: the election
    /// decides when to try again.
    pub fn by_lease(client: Client, settings: LeaseSettings) -> Election {
        let leadership = Leadership::default();
        let elector = Elector::new(client, settings, leadership.clone());
        Election { leadership, elector: Some(elector) }
    }

    /// Says at any time whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Works whenever this process leads. The work must end at `shutdown` and when its term ends.
    pub async fn run(self, shutdown: &CancellationToken, work: impl AsyncFn(Term)) {
        match self.elector {
            Some(elector) => elector.run(shutdown, work).await,
            None => work(self.leadership.begin(BootInstant::NEVER, Succession::Orderly)).await,
        }
    }
}

/// One of the candidates.
#[derive(Debug)]
struct Elector {
    api: Api<Lease>,
    candidate: Candidate,
    leadership: Leadership,
    /// The Lease as last written by this process; `None` once it may be stale.
    written: Option<Lease>,
    /// The state that was logged last: each state is logged once.
    logged: String,
}

impl Elector {
    fn new(client: Client, settings: LeaseSettings, leadership: Leadership) -> Elector {
        let api = Api::namespaced(client, &settings.namespace);
        Elector { api, candidate: Candidate::new(settings), leadership, written: None, logged: String::new() }
    }

    /// Follows until it leads, works while it leads, and follows again. The Lease is renewed until the work has ended.
    async fn run(mut self, shutdown: &CancellationToken, work: impl AsyncFn(Term)) {
        while let Some(term) = self.acquire(shutdown).await {
            let LeaseSettings { namespace, name, holder, .. } = self.candidate.settings();
            info!(lease = format!("{namespace}/{name}"), holder, "leading");
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

    /// Waits until this process holds the Lease; `None` at `shutdown`.
    async fn acquire(&mut self, shutdown: &CancellationToken) -> Option<Term> {
        let times = self.candidate.settings().times;
        while !shutdown.is_cancelled() {
            let asked = BootInstant::now();
            // `shutdown` does not interrupt this: a claim that succeeds unseen would keep the others waiting.
            match self.attempt(times.call()).await {
                Ok(Claimed::Held(_)) if shutdown.is_cancelled() => self.release().await,
                Ok(Claimed::Held(succession)) => {
                    return Some(self.leadership.begin(asked.after(times.renew_deadline()), succession));
                }
                Ok(Claimed::HeldByOther { holder, other_scope: None }) => {
                    self.log_once(&holder, || info!(holder, "following"));
                }
                Ok(Claimed::HeldByOther { holder, other_scope: Some(theirs) }) => {
                    self.log_once(&holder, || {
                        let hint = "operators that share the work need a --lease-name each";
                        warn!(holder, theirs, hint, "following an operator that works on other resources");
                    })
                }
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

    /// Renews the Lease. Returns when the claim has ended.
    async fn renew(&mut self, term: &Term) {
        let times = self.candidate.settings().times;
        loop {
            sleep(times.retry_period().min(term.left())).await;
            let asked = BootInstant::now();
            match self.attempt(times.call().min(term.left())).await {
                Ok(Claimed::Held(_)) if term.extend(asked.after(times.renew_deadline())) => {
                    self.logged.clear();
                }
                // The renewal came too late: the expired claim already refused work.
                Ok(Claimed::Held(_)) => {}
                Ok(Claimed::HeldByOther { holder, .. }) => {
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
    async fn attempt(&mut self, limit: Duration) -> Result<Claimed, LeaseError> {
        // A write that was not answered may have succeeded: after it, the Lease is read again.
        let held = self.written.take();
        timeout(limit, self.claim(held)).await.unwrap_or(Err(LeaseError::NoAnswer(limit)))
    }

    async fn claim(&mut self, held: Option<Lease>) -> Result<Claimed, LeaseError> {
        if held.is_some() {
            match self.write(held.as_ref()).await {
                // It may be gone, or another process may hold it: read it at once.
                Err(LeaseError::Conflict) => {}
                other => return other,
            }
        }
        let name = &self.candidate.settings().name;
        let held = self.api.get_opt(name).await;
        let held = held.map_err(|source| LeaseError::Kubernetes { what: "read", source })?;
        self.write(held.as_ref()).await
    }

    /// Writes the Lease over exactly the version that was read.
    async fn write(&mut self, held: Option<&Lease>) -> Result<Claimed, LeaseError> {
        let name = self.candidate.settings().name.clone();
        let (written, succession) =
            match self.candidate.decide(held, BootInstant::now(), jiff::Timestamp::now()) {
                Decision::Wait { holder, other_scope } => {
                    return Ok(Claimed::HeldByOther { holder, other_scope });
                }
                Decision::Create(lease) => {
                    (self.api.create(&PostParams::default(), &lease).await, Succession::Orderly)
                }
                Decision::Replace(lease, succession) => {
                    (self.api.replace(&name, &PostParams::default(), &lease).await, succession)
                }
            };
        match written {
            Ok(lease) => {
                self.written = Some(lease);
                Ok(Claimed::Held(succession))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Err(LeaseError::Conflict),
            // The Lease was there a moment ago. Without one, 404 means that the namespace is missing.
            Err(kube::Error::Api(status)) if status.code == 404 && held.is_some() => {
                Err(LeaseError::Conflict)
            }
            Err(source) => Err(LeaseError::Kubernetes { what: "write", source }),
        }
    }

    /// Releases the Lease, so that the next leader need not wait until it expires.
    async fn release(&mut self) {
        let limit = self.candidate.settings().times.call();
        match timeout(limit, self.give_up()).await.unwrap_or(Err(LeaseError::NoAnswer(limit))) {
            Ok(()) => info!("released the Lease"),
            Err(error) => warn!(%error, "could not release the Lease; other operators wait until it expires"),
        }
        self.written = None;
        self.logged.clear();
    }

    async fn give_up(&mut self) -> Result<(), LeaseError> {
        let name = self.candidate.settings().name.clone();
        let lease = match self.written.take() {
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
            LeaseError::Conflict => debug!(%error, "trying again"),
            LeaseError::Kubernetes { .. } | LeaseError::NoAnswer(_) => {
                let text = error.to_string();
                self.log_once(&text, || {
                    warn!(error = text, "cannot claim or renew the leadership; trying again")
                });
            }
        }
    }

    /// Logs a state unless it was the last one logged.
    fn log_once(&mut self, state: &str, log: impl FnOnce()) {
        if self.logged != state {
            state.clone_into(&mut self.logged);
            log();
        }
    }
}
