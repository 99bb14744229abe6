//! The objects of one kind as the watch last saw them, with indexes.
//!
//! In: the events of a watch, or single objects. Out: what changed in the store, the object of a key, and all objects
//! that share an index key, oldest first, without a scan of the others.
//!
//! It stands in for kube's reflector store, which has no index, which holds a second copy of all objects during a
//! re-list, and which does not report what a re-list removed: an object that was deleted while the watch was cut would
//! be forgotten without an event. client-go's `Indexer` is the model.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;
use parking_lot::{Mutex, RwLock};

/// What names an object of a kind: `namespace/name`, or `name` where the kind has no namespaces. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Of an object in a namespace.
    pub fn namespaced(namespace: &str, name: &str) -> Key {
        Key(format!("{namespace}/{name}").into())
    }

    /// Of an object of a kind without namespaces.
    pub fn cluster(name: &str) -> Key {
        Key(name.into())
    }

    pub fn of(metadata: &ObjectMeta) -> Key {
        let name = metadata.name.as_deref().unwrap_or_default();
        metadata.namespace.as_deref().map_or_else(|| Key::cluster(name), |n| Key::namespaced(n, name))
    }

    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an event changed in the store.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new (no `before`), or it differs from what the store held before.
    Applied { before: Option<Arc<K>>, after: Arc<K> },
    /// The object is gone. A re-list reports what was deleted while the watch was cut, too.
    Deleted(Arc<K>),
}

/// An object in an index, in the order of age and then of UID.
#[derive(Debug)]
struct ByAge<K>(Arc<K>);

impl<K: Resource> Ord for ByAge<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.0.meta(), other.0.meta());
        let age = |m: &ObjectMeta| m.creation_timestamp.as_ref().map(|time| time.0);
        age(a).cmp(&age(b)).then_with(|| a.uid.cmp(&b.uid)).then_with(|| a.name.cmp(&b.name))
    }
}

impl<K: Resource> PartialOrd for ByAge<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Resource> PartialEq for ByAge<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Resource> Eq for ByAge<K> {}

#[derive(Debug)]
struct Held<K> {
    object: Arc<K>,
    /// The last list that held the object.
    list: u64,
}

#[derive(Debug)]
struct State<K, I> {
    objects: HashMap<Key, Held<K>>,
    indexed: HashMap<I, BTreeSet<ByAge<K>>>,
}

/// The objects of kind `K`, indexed by keys of type `I`.
#[derive(Debug)]
pub struct Store<K, I = ()> {
    /// The index keys of an object.
    index_by: fn(&K) -> Vec<I>,
    state: RwLock<State<K, I>>,
    /// Since when the watch has only failed, so that the store may lag behind.
    failing_since: Mutex<Option<Instant>>,
    /// How many objects were returned or compared, so that tests can count work instead of time.
    #[cfg(test)]
    visits: std::sync::atomic::AtomicUsize,
}

impl<K: Resource<DynamicType = ()>, I: Eq + Hash> Store<K, I> {
    pub fn new(index_by: fn(&K) -> Vec<I>) -> Store<K, I> {
        Store {
            index_by,
            state: RwLock::new(State { objects: HashMap::new(), indexed: HashMap::new() }),
            failing_since: Mutex::new(None),
            #[cfg(test)]
            visits: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    fn visit(&self, objects: usize) {
        self.visits.fetch_add(objects, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    fn visit(&self, _objects: usize) {}

    /// How many objects were returned or compared since the last call.
    #[cfg(test)]
    pub(crate) fn take_visits(&self) -> usize {
        self.visits.swap(0, std::sync::atomic::Ordering::Relaxed)
    }

    /// The watch failed. From now on the store may be out of date.
    pub fn watch_failed(&self, now: Instant) {
        self.failing_since.lock().get_or_insert(now);
    }

    /// The watch brought an event.
    pub fn watch_works(&self) {
        *self.failing_since.lock() = None;
    }

    /// How long the watch has only failed.
    pub fn unseen_for(&self, now: Instant) -> Duration {
        self.failing_since.lock().map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.visit(1);
        self.state.read().objects.get(key).map(|held| held.object.clone())
    }

    /// The objects with this index key, oldest first.
    pub fn by_index(&self, key: &I) -> Vec<Arc<K>> {
        let state = self.state.read();
        let found: Vec<_> = state.indexed.get(key).into_iter().flatten().map(|o| o.0.clone()).collect();
        self.visit(found.len());
        found
    }

    /// The first of the objects with this index key, oldest first, up to and with the one for which `last` is true.
    pub fn by_index_until(&self, key: &I, mut last: impl FnMut(&K) -> bool) -> Vec<Arc<K>> {
        let state = self.state.read();
        let mut found = Vec::new();
        for ByAge(object) in state.indexed.get(key).into_iter().flatten() {
            self.visit(1);
            found.push(object.clone());
            if last(object) {
                break;
            }
        }
        found
    }

    /// How many objects have this index key.
    pub fn count(&self, key: &I) -> usize {
        self.state.read().indexed.get(key).map_or(0, BTreeSet::len)
    }

    /// All objects, for metrics and for the start of a term.
    pub fn all(&self) -> Vec<Arc<K>> {
        let state = self.state.read();
        self.visit(state.objects.len());
        state.objects.values().map(|held| held.object.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in an object. An object that was deleted and created again under its name is two changes.
    pub fn apply(&self, object: K) -> Vec<Change<K>> {
        self.apply_of_list(object, 0)
    }

    fn apply_of_list(&self, object: K, list: u64) -> Vec<Change<K>> {
        let key = Key::of(object.meta());
        let mut state = self.state.write();
        let State { objects, indexed } = &mut *state;
        let before = objects.get_mut(&key).and_then(|held| {
            held.list = list.max(held.list);
            let version = &held.object.meta().resource_version;
            let same = version.is_some() && *version == object.meta().resource_version;
            if same { None } else { Some(held.object.clone()) }
        });
        if before.is_none() && objects.contains_key(&key) {
            return Vec::new();
        }
        if let Some(before) = &before {
            unindex(indexed, before, (self.index_by)(before));
        }
        let after = Arc::new(object);
        for index_key in (self.index_by)(&after) {
            indexed.entry(index_key).or_default().insert(ByAge(after.clone()));
        }
        objects.insert(key, Held { object: after.clone(), list });
        drop(state);
        match before {
            Some(before) if before.meta().uid != after.meta().uid => {
                vec![Change::Deleted(before), Change::Applied { before: None, after }]
            }
            before => vec![Change::Applied { before, after }],
        }
    }

    /// Drops an object that is gone.
    pub fn remove(&self, key: &Key) -> Option<Change<K>> {
        let mut state = self.state.write();
        let held = state.objects.remove(key)?;
        unindex(&mut state.indexed, &held.object, (self.index_by)(&held.object));
        Some(Change::Deleted(held.object))
    }

    /// Drops the objects of a namespace (`None`: of all) that `list` did not hold.
    fn retain_of_list(&self, namespace: Option<&str>, list: u64) -> Vec<Change<K>> {
        let stale: Vec<Key> = {
            let state = self.state.read();
            let in_scope = |key: &Key| namespace.is_none() || key.namespace() == namespace;
            let stale = state.objects.iter().filter(|(key, held)| held.list < list && in_scope(key));
            stale.map(|(key, _)| key.clone()).collect()
        };
        stale.iter().filter_map(|key| self.remove(key)).collect()
    }
}

fn unindex<K: Resource, I: Eq + Hash>(
    indexed: &mut HashMap<I, BTreeSet<ByAge<K>>>,
    object: &Arc<K>,
    keys: Vec<I>,
) {
    let object = ByAge(object.clone());
    for key in keys {
        if let Some(set) = indexed.get_mut(&key) {
            set.remove(&object);
            if set.is_empty() {
                indexed.remove(&key);
            }
        }
    }
}

/// Brings the events of one watch into a store.
#[derive(Debug)]
pub struct StoreWriter<K, I> {
    store: Arc<Store<K, I>>,
    /// The namespace that is watched; `None` for all.
    namespace: Option<String>,
    /// The number of the list that is under way, or was last.
    list: u64,
}

impl<K: Resource<DynamicType = ()>, I: Eq + Hash> StoreWriter<K, I> {
    pub fn new(store: Arc<Store<K, I>>, namespace: Option<String>) -> StoreWriter<K, I> {
        StoreWriter { store, namespace, list: 0 }
    }

    /// Takes in an event. A list (at the start, or when the watch cannot go on) is taken in object by object; what it did
    /// not hold is removed at its end.
    pub fn observe(&mut self, event: Event<K>) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                self.list += 1;
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => self.store.apply_of_list(object, self.list),
            Event::Delete(object) => self.store.remove(&Key::of(object.meta())).into_iter().collect(),
            Event::InitDone => self.store.retain_of_list(self.namespace.as_deref(), self.list),
        }
    }
}

#[cfg(test)]
mod tests {
    use Event::{Apply, Delete, Init, InitApply, InitDone};
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn object(name: &str, version: u32) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("data".into());
        object.metadata.name = Some(name.into());
        object.metadata.uid = Some(format!("uid-of-{name}"));
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    fn team(object: ConfigMap, team: &str, second: i64) -> ConfigMap {
        let mut object = object;
        object.metadata.labels = Some([("team".to_owned(), team.to_owned())].into());
        object.metadata.creation_timestamp = jiff::Timestamp::from_second(second).ok().map(Time);
        object
    }

    fn by_team(object: &ConfigMap) -> Vec<String> {
        object.metadata.labels.iter().filter_map(|labels| labels.get("team").cloned()).collect()
    }

    fn writer() -> StoreWriter<ConfigMap, String> {
        StoreWriter::new(Arc::new(Store::new(by_team)), None)
    }

    /// The changes in words: the name, with the version before and after.
    fn changes(writer: &mut StoreWriter<ConfigMap, String>, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let version = |o: &ConfigMap| o.metadata.resource_version.clone().unwrap_or_default();
        let name = |o: &ConfigMap| o.metadata.name.clone().unwrap_or_default();
        let changes = events.into_iter().flat_map(|event| writer.observe(event));
        let words = changes.map(|change| match change {
            Change::Applied { before: None, after } => format!("{} new {}", name(&after), version(&after)),
            Change::Applied { before: Some(before), after } => {
                format!("{} {}->{}", name(&after), version(&before), version(&after))
            }
            Change::Deleted(gone) => format!("{} gone", name(&gone)),
        });
        words.collect()
    }

    #[test]
    fn a_relist_reports_what_changed_and_what_was_deleted_while_the_watch_was_cut() {
        let mut writer = writer();
        let first = vec![Init, InitApply(object("a", 1)), InitApply(object("b", 2)), InitDone];
        assert_eq!(changes(&mut writer, first), ["a new 1", "b new 2"]);
        let again = vec![Init, InitApply(object("b", 2)), InitApply(object("c", 5)), InitDone];
        assert_eq!(changes(&mut writer, again), ["c new 5", "a gone"], "b did not change");
        assert_eq!(writer.store.len(), 2);
    }

    #[test]
    fn what_a_list_brings_is_in_the_store_when_it_is_reported_and_a_broken_list_loses_nothing() {
        let mut writer = writer();
        changes(&mut writer, vec![Init, InitApply(object("a", 1)), InitApply(object("b", 1)), InitDone]);
        writer.observe(Init);
        let reported = writer.observe(InitApply(object("a", 2)));
        assert_eq!(reported.len(), 1);
        let held = writer.store.get(&Key::namespaced("data", "a")).unwrap();
        assert_eq!(held.metadata.resource_version.as_deref(), Some("2"));
        // The list is broken off and begun again.
        let again = vec![Init, InitApply(object("a", 2)), InitApply(object("b", 1)), InitDone];
        assert!(changes(&mut writer, again).is_empty());
        assert_eq!(writer.store.len(), 2);
    }

    #[test]
    fn an_object_that_was_created_again_under_its_name_is_a_deletion_and_a_new_object() {
        let mut writer = writer();
        let mut again = object("a", 7);
        again.metadata.uid = Some("another".into());
        let words = changes(&mut writer, vec![Apply(object("a", 1)), Apply(again)]);
        assert_eq!(words, ["a new 1", "a gone", "a new 7"]);
    }

    #[test]
    fn a_list_of_one_namespace_removes_nothing_of_another() {
        let store = Arc::new(Store::new(by_team));
        let mut shop = StoreWriter::new(store.clone(), Some("shop".into()));
        store.apply(object("a", 1));
        assert!(changes(&mut shop, vec![Init, InitDone]).is_empty());
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn an_index_follows_its_objects_and_returns_the_oldest_first() {
        let mut writer = writer();
        let red = |name: &str, version, second| team(object(name, version), "red", second);
        let events = vec![Apply(red("young", 1, 9)), Apply(red("old", 1, 3)), Apply(object("none", 1))];
        changes(&mut writer, events);
        let store = writer.store.clone();
        let names = |team: &str| -> Vec<String> {
            store.by_index(&team.to_owned()).iter().filter_map(|o| o.metadata.name.clone()).collect()
        };
        assert_eq!(names("red"), ["old", "young"]);
        store.apply(team(object("young", 2), "blue", 9));
        assert_eq!((names("red"), names("blue")), (vec!["old".to_owned()], vec!["young".to_owned()]));
        writer.observe(Delete(red("old", 1, 3)));
        assert!(names("red").is_empty());
        assert!(!store.state.read().indexed.contains_key("red"), "an empty entry takes no memory");
    }
}
