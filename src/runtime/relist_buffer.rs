//! What a list brings, held back until the store has it.
//!
//! A watch that cannot go on where it was, because a definition was upgraded or the server has forgotten so far back,
//! begins anew with a list. The store takes a list over at its end, as a whole. Who looked there for an object that
//! the list has just brought would find nothing, or the object as it was; and since nothing changes on it any more,
//! nobody would look again before its interval is over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;

/// Changes on their way from a watch.
#[derive(Debug)]
pub struct RelistBuffer<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    under_way: bool,
    held: Vec<T>,
}

impl<T> RelistBuffer<T> {
    pub fn new() -> RelistBuffer<T> {
        RelistBuffer(Mutex::new(State { under_way: false, held: Vec::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows an event that the store has seen. At the end of a list that is what was held back, to be told now.
    pub fn follow<K>(&self, event: &Event<K>) -> Vec<T> {
        let mut state = self.state();
        match event {
            // A list that was broken off is begun anew, and what it brought does not count as changed again: it stays.
            Event::Init => state.under_way = true,
            Event::InitDone => {
                state.under_way = false;
                return std::mem::take(&mut state.held);
            }
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        Vec::new()
    }

    /// A change that is to be told: at once, unless a list is under way.
    pub fn pass(&self, change: T) -> Option<T> {
        let mut state = self.state();
        if state.under_way {
            state.held.push(change);
            return None;
        }
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::StreamExt;
    use futures::channel::mpsc;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;
    use kube::runtime::reflector::{self, ObjectRef};
    use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};

    use super::*;

    fn object(name: &str, generation: i64) -> ConfigMap {
        let metadata =
            ObjectMeta { name: Some(name.into()), generation: Some(generation), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    /// Sends events through a store as the watches do, and returns what was told of each object together with the
    /// generation that the store had then.
    async fn told(events: impl IntoIterator<Item = Event<ConfigMap>>) -> Vec<(String, Option<i64>)> {
        let (store, writer) = reflector::store();
        let (listing, told) = (RelistBuffer::new(), RefCell::new(Vec::new()));
        let tell = |object: ObjectRef<ConfigMap>| {
            let generation = store.get(&object).and_then(|held| held.metadata.generation);
            told.borrow_mut().push((object.name, generation));
        };
        let (sender, receiver) = mpsc::unbounded();
        events.into_iter().for_each(|event| sender.unbounded_send(Ok::<_, watcher::Error>(event)).unwrap());
        drop(sender);
        let changes = receiver
            .reflect(writer)
            .inspect(|event| event.iter().flat_map(|event| listing.follow(event)).for_each(tell))
            .applied_objects()
            .predicate_filter(predicates::generation, PredicateConfig::default());
        let mut changes = std::pin::pin!(changes);
        while let Some(object) = changes.next().await {
            listing.pass(ObjectRef::from_obj(&object.unwrap())).into_iter().for_each(tell);
        }
        told.into_inner()
    }

    fn expected(told: &[(&str, i64)]) -> Vec<(String, Option<i64>)> {
        told.iter().map(|(name, generation)| ((*name).to_owned(), Some(*generation))).collect()
    }

    #[tokio::test]
    async fn what_a_list_brings_is_told_once_the_store_has_it() {
        use Event::{Apply, Init, InitApply, InitDone};
        let events = [
            Init,
            InitApply(object("a", 1)),
            InitDone,
            // The watch was cut; meanwhile one was changed, and another made.
            Init,
            InitApply(object("a", 2)),
            InitApply(object("b", 1)),
            InitDone,
            Apply(object("b", 2)),
        ];
        assert_eq!(told(events).await, expected(&[("a", 1), ("a", 2), ("b", 1), ("b", 2)]));
    }

    #[tokio::test]
    async fn a_list_that_is_broken_off_loses_nothing() {
        use Event::{Init, InitApply, InitDone};
        let events = [
            Init,
            InitApply(object("a", 1)),
            Init,
            InitApply(object("a", 1)),
            InitApply(object("b", 1)),
            InitDone,
        ];
        assert_eq!(told(events).await, expected(&[("a", 1), ("b", 1)]));
    }
}
