//! Runs a property on inputs.
//!
//! In: a strategy, the number of inputs, and the property. Out: a panic with the smallest input that breaks the
//! property, and the seed that draws it again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::{Value, json};

/// Draws inputs until `cases` of them hold, or for `FUZZ_MINUTES` minutes from another seed in each round.
/// `FUZZ_SEED` is the first seed; 0 if it is absent.
pub fn check<S: Strategy>(cases: u32, inputs: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let first = number("FUZZ_SEED").unwrap_or_default();
    let end = number("FUZZ_MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    for seed in first.. {
        let config =
            Config { cases, failure_persistence: None, max_global_rejects: 100 * cases, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, rng(seed));
        if let Err(error) = runner.run(&inputs, &property) {
            panic!("FUZZ_SEED={seed}: {error}");
        }
        if end.is_none_or(|end| Instant::now() >= end) {
            println!("{cases} inputs from each of the seeds {first} to {seed}");
            return;
        }
    }
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// The seeds of a target, in the order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A change of a text.
#[derive(Clone, Debug)]
enum Edit {
    Insert(&'static str),
    InsertByte(u8),
    Remove(Index),
    Repeat(Index),
}

/// The seeds of a target, each as it is or with a few edits: bytes and tokens inserted, parts removed or repeated.
pub fn near_corpus(target: &str, tokens: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let edit = prop_oneof![
        4 => prop::sample::select(tokens).prop_map(Edit::Insert),
        1 => any::<u8>().prop_map(Edit::InsertByte),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => any::<Index>().prop_map(Edit::Repeat),
    ];
    let edits = prop::collection::vec((any::<Index>(), edit), 0..6);
    (prop::sample::select(corpus(target)), edits).prop_map(|(mut text, edits)| {
        edits.into_iter().for_each(|(at, edit)| apply(&mut text, at, edit));
        text
    })
}

/// The longest part that one edit removes or repeats.
const LONGEST_PART: usize = 40;

fn apply(text: &mut Vec<u8>, at: Index, edit: Edit) {
    let at = at.index(text.len() + 1);
    let part = |length: Index| at..text.len().min(at + length.index(LONGEST_PART));
    match edit {
        Edit::Insert(token) => drop(text.splice(at..at, token.bytes())),
        Edit::InsertByte(byte) => text.insert(at, byte),
        Edit::Remove(length) => drop(text.drain(part(length))),
        Edit::Repeat(length) => {
            let repeated = text[part(length)].to_vec();
            text.splice(at..at, repeated);
        }
    }
}

/// Any JSON over some keys and texts.
pub fn any_json(
    keys: &'static [&'static str],
    texts: &'static [&'static str],
) -> impl Strategy<Value = Value> + use<> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts).prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let key = prop::sample::select(keys).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces one value somewhere in a JSON document.
pub fn with_replaced(document: &Value, at: Index, by: &Value) -> Value {
    fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
        all.push(here.to_owned());
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| pointers(value, &format!("{here}/{}", escaped(key)), all))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| pointers(item, &format!("{here}/{i}"), all))
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    pointers(document, "", &mut all);
    let mut document = document.clone();
    *document.pointer_mut(&all[at.index(all.len())]).unwrap() = by.clone();
    document
}

/// Values that no field expects.
pub fn odd_value() -> impl Strategy<Value = Value> {
    let odd = prop::sample::select(vec![
        json!(null),
        json!(""),
        json!("é"),
        json!("/"),
        json!(":::"),
        json!("arn:aws:iam::1:role"),
        json!("arn:aws:s3:::é*"),
        json!("a".repeat(3000)),
        json!("é".repeat(70)),
        json!(-1),
        json!(1.5),
        json!(i64::MAX),
        json!([]),
        json!({}),
        json!({"a": "b"}),
        json!(true),
    ]);
    prop_oneof![3 => odd, 1 => "\\PC{0,70}".prop_map(Value::from)]
}
