//! Whether there is an election at all.

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::runtime::leader::claim::{Leadership, Term};
use crate::runtime::leader::elector::Elector;
use crate::runtime::leader::settings::Settings;

/// How it is decided whether this process works.
#[derive(Debug)]
pub struct Election {
    leadership: Leadership,
    elector: Option<Elector>,
}

impl Election {
    /// There is no other: this process works from its start to its end.
    pub fn unopposed() -> Election {
        Election { leadership: Leadership::default(), elector: None }
    }

    /// Of several processes, the one that holds the Lease works. The client should make no tries of its own.
    pub fn by_lease(client: Client, settings: Settings) -> Election {
        let leadership = Leadership::default();
        let elector = Elector::new(client, settings, leadership.clone());
        Election { leadership, elector: Some(elector) }
    }

    /// Tells at any time whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Works whenever this process leads. The work is to end itself at `shutdown` and when its term ends.
    pub async fn run(self, shutdown: &CancellationToken, work: impl AsyncFn(Term)) {
        match self.elector {
            Some(elector) => elector.run(shutdown, work).await,
            None => work(self.leadership.unopposed()).await,
        }
    }
}
