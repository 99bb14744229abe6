//! Decides which namespace's object begins next in a bulkhead.
//!
//! In: the objects that wait, each with a ticket that grows. Out: one at a time. Namespaces take turns, so that one
//! with ten thousand objects delays the only object of another by one of its own. Within a namespace the oldest ticket
//! goes first. Objects of a kind without namespaces are one namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::runtime::store::Key;

/// Numbers entries in the order in which they became due.
pub type Ticket = u64;

#[derive(Debug)]
struct WaitingNamespace {
    /// When this namespace is next, among the others.
    turn: u64,
    objects: BTreeMap<Ticket, Key>,
}

/// The objects that wait, by namespace. A namespace without a waiting object takes no memory.
#[derive(Debug, Default)]
pub struct RoundRobin {
    namespaces: HashMap<Arc<str>, WaitingNamespace>,
    order: BTreeMap<u64, Arc<str>>,
    last_turn: u64,
}

impl RoundRobin {
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// The number of objects that wait.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(|waiting| waiting.objects.len()).sum()
    }

    /// An object waits. The first one of its namespace comes after every namespace that waits already.
    pub fn insert(&mut self, ticket: Ticket, key: Key) {
        let namespace = key.namespace().unwrap_or_default();
        if let Some(waiting) = self.namespaces.get_mut(namespace) {
            waiting.objects.insert(ticket, key);
            return;
        }
        let namespace: Arc<str> = namespace.into();
        let turn = self.next_turn(&namespace);
        self.namespaces.insert(namespace, WaitingNamespace { turn, objects: [(ticket, key)].into() });
    }

    /// An object waits no longer.
    pub fn remove(&mut self, ticket: Ticket, key: &Key) {
        let namespace = key.namespace().unwrap_or_default();
        let Some(waiting) = self.namespaces.get_mut(namespace) else { return };
        waiting.objects.remove(&ticket);
        if waiting.objects.is_empty() {
            self.order.remove(&waiting.turn);
            self.namespaces.remove(namespace);
        }
    }

    /// Takes the oldest object of the namespace whose turn it is. The namespace's next turn is after all others.
    pub fn pop(&mut self) -> Option<Key> {
        let (_, namespace) = self.order.pop_first()?;
        let waiting = self.namespaces.get_mut(&namespace)?;
        let (_, key) = waiting.objects.pop_first()?;
        if waiting.objects.is_empty() {
            self.namespaces.remove(&namespace);
            return Some(key);
        }
        let turn = self.next_turn(&namespace);
        if let Some(waiting) = self.namespaces.get_mut(&namespace) {
            waiting.turn = turn;
        }
        Some(key)
    }

    fn next_turn(&mut self, namespace: &Arc<str>) -> u64 {
        self.last_turn += 1;
        self.order.insert(self.last_turn, namespace.clone());
        self.last_turn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(namespace: u8, name: Ticket) -> Key {
        Key::namespaced(&format!("team-{namespace}"), &name.to_string())
    }

    fn names(turns: &mut RoundRobin) -> Vec<String> {
        std::iter::from_fn(|| turns.pop()).map(|key| key.to_string()).collect()
    }

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_own_order() {
        let mut turns = RoundRobin::default();
        for (ticket, namespace) in [0, 0, 0, 1, 2, 1].into_iter().enumerate() {
            turns.insert(ticket as Ticket, key(namespace, ticket as Ticket));
        }
        let expected = ["team-0/0", "team-1/3", "team-2/4", "team-0/1", "team-1/5", "team-0/2"];
        assert_eq!(names(&mut turns), expected);
        assert!(turns.is_empty() && turns.order.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Event {
        Insert(u8),
        Remove(usize),
        Pop,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0_u8..6).prop_map(Event::Insert),
            1 => any::<usize>().prop_map(Event::Remove),
            3 => Just(Event::Pop),
        ]
    }

    proptest! {
        /// In every sequence of arrivals and turns, no namespace has two turns between two turns of a namespace that
        /// waits.
        #[test]
        fn no_namespace_that_waits_sees_two_turns_of_another(events in prop::collection::vec(event(), 0..200)) {
            let (mut turns, mut waiting) = (RoundRobin::default(), BTreeMap::<Ticket, Key>::new());
            // Of each namespace that waits: the namespaces that had a turn since it began to wait or had its last turn.
            let mut overtaken = BTreeMap::<String, BTreeSet<String>>::new();
            let of = |key: &Key| key.namespace().unwrap().to_owned();
            for (ticket, event) in events.into_iter().enumerate() {
                let ticket = ticket as Ticket;
                match event {
                    Event::Insert(namespace) => {
                        let added = key(namespace, ticket);
                        overtaken.entry(of(&added)).or_default();
                        turns.insert(ticket, added.clone());
                        waiting.insert(ticket, added);
                    }
                    Event::Remove(index) if !waiting.is_empty() => {
                        let ticket = *waiting.keys().nth(index % waiting.len()).unwrap();
                        turns.remove(ticket, &waiting.remove(&ticket).unwrap());
                    }
                    Event::Remove(_) => {}
                    Event::Pop => {
                        let popped = turns.pop();
                        prop_assert_eq!(popped.is_some(), !waiting.is_empty());
                        let Some(popped) = popped else { continue };
                        let oldest = waiting.iter().find(|(_, key)| of(key) == of(&popped)).map(|(t, _)| *t).unwrap();
                        prop_assert_eq!(waiting.remove(&oldest), Some(popped.clone()));
                        overtaken.remove(&of(&popped));
                        for (namespace, others) in &mut overtaken {
                            prop_assert!(others.insert(of(&popped)), "{namespace} waits for {popped} twice");
                        }
                        if waiting.values().any(|key| of(key) == of(&popped)) {
                            overtaken.insert(of(&popped), BTreeSet::new());
                        }
                    }
                }
                overtaken.retain(|namespace, _| waiting.values().any(|key| of(key) == *namespace));
                prop_assert_eq!(turns.len(), waiting.len());
                prop_assert_eq!(turns.order.len(), turns.namespaces.len());
            }
        }
    }
}
