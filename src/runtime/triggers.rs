//! What changed, on its way from the watches, which always run, to the controllers, which run while this process
//! leads. What changes meanwhile is in the stores, and all that is there comes first in the next term.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::stream::BoxStream;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;

use crate::controllers::Guarded;
use crate::runtime::tracker::ReconcileTracker;

#[derive(Debug)]
struct Reader {
    /// `None` for all.
    namespace: Option<String>,
    sender: mpsc::UnboundedSender<ObjectRef<Guarded>>,
}

/// Where the watches send to.
#[derive(Clone, Debug)]
pub struct Triggers {
    readers: Arc<Mutex<Vec<Reader>>>,
    work: Arc<ReconcileTracker>,
}

impl Triggers {
    pub fn new(work: Arc<ReconcileTracker>) -> Triggers {
        Triggers { readers: Arc::default(), work }
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever works in that namespace; nobody, while this process follows.
    pub fn send(&self, object: ObjectRef<Guarded>) {
        let readers = self.readers();
        let concerned = |r: &&Reader| r.namespace.is_none() || r.namespace == object.namespace;
        for reader in readers.iter().filter(concerned) {
            let now = Instant::now();
            self.work.due(object.extra.uid.as_deref().unwrap_or_default(), now, now);
            // A closed channel is one of a term that ends.
            drop(reader.sender.send(object.clone()));
        }
    }

    /// Begins anew: a stream for each store (of the namespace, or of all), of all that is in it and then of what
    /// changes. Streams from before end.
    pub fn open(
        &self,
        stores: &[(Option<String>, Store<Guarded>)],
    ) -> Vec<BoxStream<'static, ObjectRef<Guarded>>> {
        let (readers, streams) = stores
            .iter()
            .map(|(namespace, _)| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (Reader { namespace: namespace.clone(), sender }, stream(receiver))
            })
            .unzip();
        *self.readers() = readers;
        // After the readers are known: what changes in between is told twice, and nothing is lost.
        for (_, store) in stores {
            store.state().iter().for_each(|object| self.send(ObjectRef::from_obj(object.as_ref())));
        }
        streams
    }
}

fn stream(
    mut receiver: mpsc::UnboundedReceiver<ObjectRef<Guarded>>,
) -> BoxStream<'static, ObjectRef<Guarded>> {
    Box::pin(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}
