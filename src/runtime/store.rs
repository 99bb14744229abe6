//! The objects of one kind as the watch last saw them, with indexes.
//!
//! In: the events of a watch, or single objects. Out: what changed in the store, the object of a key, and all objects
//! that share an index key, oldest first, without a scan of the others. Objects at rest are packed.
//!
//! It stands in for kube's reflector store. That store has no index, and it holds a second copy of all objects during a
//! re-list. It also does not report what a re-list removed: an object that was deleted while the watch was cut would be
//! forgotten without an event. client-go's `Indexer` is the model.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;
use parking_lot::{Mutex, RwLock};

use crate::runtime::packing::{Packed, Packing};

/// The name of an object of a kind: `namespace/name`, or `name` where the kind has no namespaces. Cheap to clone.
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

/// A change that an event made in the store.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new (no `before`), or it differs from what the store held before.
    Applied { before: Option<Arc<K>>, after: Arc<K> },
    /// The object is gone. A re-list reports what was deleted while the watch was cut, too.
    Deleted(Arc<K>),
}

/// The order by age: the age, the UID and the name of an object decide in turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ByAge {
    created: Option<Timestamp>,
    uid: Option<Arc<str>>,
    key: Key,
}

/// The objects that share an index key. Nearly every source has one resource, and a tree of one takes half a kilobyte.
#[derive(Debug)]
enum Members {
    One(ByAge),
    Many(BTreeSet<ByAge>),
}

impl Members {
    fn insert(&mut self, member: ByAge) {
        match self {
            Members::One(one) if *one == member => {}
            Members::One(one) => *self = Members::Many([one.clone(), member].into()),
            Members::Many(members) => drop(members.insert(member)),
        }
    }

    /// Removes a member; returns whether none is left.
    fn remove(&mut self, member: &ByAge) -> bool {
        match self {
            Members::One(one) => one == member,
            Members::Many(members) => {
                members.remove(member);
                members.is_empty()
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Members::One(_) => 1,
            Members::Many(members) => members.len(),
        }
    }

    /// Oldest first.
    fn iter(&self) -> impl Iterator<Item = &ByAge> {
        let (one, many) = match self {
            Members::One(one) => (Some(one), None),
            Members::Many(members) => (None, Some(members)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[derive(Debug)]
struct StoredObject<K, S> {
    object: Packed<K>,
    summary: S,
    by_age: ByAge,
    resource_version: Option<Box<str>>,
    /// The last list that held the object.
    list: u64,
}

#[derive(Debug)]
struct StoreState<K, I, S> {
    objects: HashMap<Key, StoredObject<K, S>>,
    indexed: HashMap<I, Members>,
}

/// The rules by which a store keeps each object.
#[derive(Debug)]
pub struct Keeping<K, I, S> {
    /// The index keys of an object.
    pub index_by: fn(&K) -> Vec<I>,
    /// The values that are read of all objects at once, so that none has to be unpacked for it.
    pub summarize: fn(&K) -> S,
    /// `None`: objects are kept as they are.
    pub packing: Option<Packing<K>>,
}

/// The objects of kind `K`, indexed by keys of type `I`, with a summary of type `S` of each.
#[derive(Debug)]
pub struct Store<K, I = (), S = ()> {
    keeping: Keeping<K, I, S>,
    state: RwLock<StoreState<K, I, S>>,
    /// Since when the watch has only failed, so that the store may lag behind.
    failing_since: Mutex<Option<Instant>>,
    /// The number of objects that were returned or compared, so that tests can count work instead of time.
    #[cfg(test)]
    visits: std::sync::atomic::AtomicUsize,
}

impl<K: Resource<DynamicType = ()>> Store<K> {
    /// For a kind of which there are few: objects are kept as they are.
    pub fn unindexed() -> Store<K> {
        Store::new(Keeping { index_by: |_| Vec::new(), summarize: |_| (), packing: None })
    }
}

impl<K: Resource<DynamicType = ()>, I: Eq + Hash, S> Store<K, I, S> {
    pub fn new(keeping: Keeping<K, I, S>) -> Store<K, I, S> {
        Store {
            keeping,
            state: RwLock::new(StoreState { objects: HashMap::new(), indexed: HashMap::new() }),
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

    /// The number of objects that were returned or compared since the last call.
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

    fn unpack(&self, held: &StoredObject<K, S>) -> Option<Arc<K>> {
        held.object.unpack(self.keeping.packing.as_ref())
    }

    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.visit(1);
        let state = self.state.read();
        self.unpack(state.objects.get(key)?)
    }

    /// Whether there is an object with this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.visit(1);
        self.state.read().objects.contains_key(key)
    }

    /// Whether an object is outdated: by now the store holds none of its key, another one, or one that is being deleted
    /// or has another spec. An object that is newer than the store's is not.
    pub fn is_outdated(&self, metadata: &ObjectMeta) -> bool {
        let Some(held) = self.get(&Key::of(metadata)) else { return true };
        let held = held.meta();
        let is_deleted = held.deletion_timestamp.is_some() && metadata.deletion_timestamp.is_none();
        held.uid != metadata.uid || is_deleted || held.generation > metadata.generation
    }

    /// The objects with this index key, oldest first. For keys that few objects share: each is unpacked.
    pub fn by_index(&self, key: &I) -> Vec<Arc<K>> {
        self.by_index_until(key, |_| false)
    }

    /// The first of the objects with this index key, oldest first, up to and with the one for which `last` is true.
    pub fn by_index_until(&self, key: &I, mut last: impl FnMut(&K) -> bool) -> Vec<Arc<K>> {
        let state = self.state.read();
        let mut found = Vec::new();
        for member in state.indexed.get(key).into_iter().flat_map(Members::iter) {
            self.visit(1);
            let Some(object) = state.objects.get(&member.key).and_then(|held| self.unpack(held)) else {
                continue;
            };
            let is_last = last(&object);
            found.push(object);
            if is_last {
                break;
            }
        }
        found
    }

    /// The keys of the objects with this index key, oldest first.
    pub fn keys_by_index(&self, key: &I) -> Vec<Key> {
        let state = self.state.read();
        let members = state.indexed.get(key).into_iter().flat_map(Members::iter);
        let keys: Vec<Key> = members.map(|member| member.key.clone()).collect();
        self.visit(keys.len());
        keys
    }

    /// The number of objects that have this index key.
    pub fn count(&self, key: &I) -> usize {
        self.state.read().indexed.get(key).map_or(0, Members::len)
    }

    /// The keys of all objects, for the start of a term.
    pub fn keys(&self) -> Vec<Key> {
        let state = self.state.read();
        self.visit(state.objects.len());
        state.objects.keys().cloned().collect()
    }

    /// Each object, unpacked when its turn comes; one that goes meanwhile is left out.
    pub fn objects(&self) -> impl Iterator<Item = Arc<K>> {
        self.keys().into_iter().filter_map(|key| self.get(&key))
    }

    /// Shows the key, the UID and the summary of each object. The store is locked meanwhile.
    pub fn for_each_summary(&self, mut show: impl FnMut(&Key, &str, &S)) {
        let state = self.state.read();
        self.visit(state.objects.len());
        for (key, held) in &state.objects {
            show(key, held.by_age.uid.as_deref().unwrap_or_default(), &held.summary);
        }
    }

    pub fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in an object. An object that was deleted and created again under its name is two changes.
    pub fn apply(&self, object: K) -> Vec<Change<K>> {
        self.apply_of_list(Arc::new(object), 0)
    }

    /// Takes in every object that another store holds.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &Store<K, I, S>) {
        for object in other.objects() {
            self.apply_of_list(object, 0);
        }
    }

    fn apply_of_list(&self, after: Arc<K>, list: u64) -> Vec<Change<K>> {
        let Keeping { index_by, summarize, packing } = &self.keeping;
        let metadata = after.meta();
        let key = Key::of(metadata);
        let resource_version = metadata.resource_version.as_deref().map(Box::from);
        if let Some(held) = self.state.write().objects.get_mut(&key) {
            held.list = list.max(held.list);
            if resource_version.is_some() && held.resource_version == resource_version {
                return Vec::new();
            }
        }
        let by_age = ByAge {
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            uid: metadata.uid.as_deref().map(Arc::from),
            key: key.clone(),
        };
        let held = StoredObject {
            object: Packed::new(&after, packing.as_ref()),
            summary: summarize(&after),
            by_age: by_age.clone(),
            resource_version,
            list,
        };
        let mut state = self.state.write();
        let StoreState { objects, indexed } = &mut *state;
        let before = objects.insert(key, held).and_then(|held| self.take_out(indexed, &held));
        for index_key in index_by(&after) {
            match indexed.entry(index_key) {
                Entry::Occupied(mut members) => members.get_mut().insert(by_age.clone()),
                Entry::Vacant(entry) => drop(entry.insert(Members::One(by_age.clone()))),
            }
        }
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
        self.take_out(&mut state.indexed, &held).map(Change::Deleted)
    }

    /// Removes an object from the index; returns it unpacked.
    fn take_out(&self, indexed: &mut HashMap<I, Members>, held: &StoredObject<K, S>) -> Option<Arc<K>> {
        let object = self.unpack(held)?;
        for key in (self.keeping.index_by)(&object) {
            if let Entry::Occupied(mut members) = indexed.entry(key)
                && members.get_mut().remove(&held.by_age)
            {
                members.remove();
            }
        }
        Some(object)
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

/// Brings the events of one watch into a store.
#[derive(Debug)]
pub struct StoreWriter<K, I, S> {
    store: Arc<Store<K, I, S>>,
    /// The namespace that is watched; `None` for all.
    namespace: Option<String>,
    /// The number of the list that is under way, or was last.
    list: u64,
}

impl<K: Resource<DynamicType = ()>, I: Eq + Hash, S> StoreWriter<K, I, S> {
    pub fn new(store: Arc<Store<K, I, S>>, namespace: Option<String>) -> StoreWriter<K, I, S> {
        StoreWriter { store, namespace, list: 0 }
    }

    /// Takes in an event. A list (at the start, or when the watch cannot go on) is taken in object by object; an object
    /// that it did not hold is removed at its end.
    pub fn observe(&mut self, event: Event<K>) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                self.list += 1;
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => {
                self.store.apply_of_list(Arc::new(object), self.list)
            }
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

    const PACKING: Packing<ConfigMap> = Packing {
        write: |object| serde_json::to_vec(object).ok(),
        read: |text| serde_json::from_slice(text).ok(),
        typical: br#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","namespace":"data","name":"#,
    };

    fn by_team(object: &ConfigMap) -> Vec<String> {
        object.metadata.labels.iter().filter_map(|labels| labels.get("team").cloned()).collect()
    }

    fn empty_store() -> Arc<Store<ConfigMap, String>> {
        Arc::new(Store::new(Keeping { index_by: by_team, summarize: |_| (), packing: Some(PACKING) }))
    }

    fn empty_writer() -> StoreWriter<ConfigMap, String, ()> {
        StoreWriter::new(empty_store(), None)
    }

    /// The changes in words: the name, with the version before and after.
    fn changes(
        writer: &mut StoreWriter<ConfigMap, String, ()>,
        events: Vec<Event<ConfigMap>>,
    ) -> Vec<String> {
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
    fn an_object_is_outdated_once_the_store_has_a_newer_one_of_its_name_or_none() {
        let store = empty_store();
        let of_generation = |generation, version| {
            let mut held = object("a", version);
            held.metadata.generation = Some(generation);
            held
        };
        let began = of_generation(2, 2).metadata;
        assert!(store.is_outdated(&began), "it is gone");
        store.apply(of_generation(2, 3));
        assert!(!store.is_outdated(&began), "only its status changed");
        store.apply(of_generation(1, 1));
        assert!(!store.is_outdated(&began), "the store is behind");
        store.apply(of_generation(3, 4));
        assert!(store.is_outdated(&began));
        let mut deleted = of_generation(2, 5);
        deleted.metadata.deletion_timestamp = jiff::Timestamp::from_second(1).ok().map(Time);
        let deleting = deleted.metadata.clone();
        store.apply(deleted);
        assert!(store.is_outdated(&began) && !store.is_outdated(&deleting));
        let mut another = of_generation(1, 6);
        another.metadata.uid = Some("uid-of-another".into());
        store.apply(another);
        assert!(store.is_outdated(&began));
    }

    #[test]
    fn a_relist_reports_what_changed_and_what_was_deleted_while_the_watch_was_cut() {
        let mut writer = empty_writer();
        let first = vec![Init, InitApply(object("a", 1)), InitApply(object("b", 2)), InitDone];
        assert_eq!(changes(&mut writer, first), ["a new 1", "b new 2"]);
        let again = vec![Init, InitApply(object("b", 2)), InitApply(object("c", 5)), InitDone];
        assert_eq!(changes(&mut writer, again), ["c new 5", "a gone"], "b did not change");
        assert_eq!(writer.store.len(), 2);
    }

    #[test]
    fn a_listed_object_is_in_the_store_when_it_is_reported_and_a_broken_list_loses_nothing() {
        let mut writer = empty_writer();
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
        let mut writer = empty_writer();
        let mut again = object("a", 7);
        again.metadata.uid = Some("another".into());
        let words = changes(&mut writer, vec![Apply(object("a", 1)), Apply(again)]);
        assert_eq!(words, ["a new 1", "a gone", "a new 7"]);
    }

    #[test]
    fn a_list_of_one_namespace_removes_nothing_of_another() {
        let store = empty_store();
        let mut shop = StoreWriter::new(store.clone(), Some("shop".into()));
        store.apply(object("a", 1));
        assert!(changes(&mut shop, vec![Init, InitDone]).is_empty());
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn an_index_follows_its_objects_and_returns_the_oldest_first() {
        let mut writer = empty_writer();
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
