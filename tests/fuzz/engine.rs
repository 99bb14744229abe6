//! Runs a property on inputs.
//!
//! In: a strategy, the number of inputs, and the property. Out: a panic with the smallest input that breaks the
//! property, and the seed that draws it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::choice::choose;
#[cfg(feature = "guided")]
use crate::guided;

/// Draws inputs until `cases` of them hold, or for `FUZZ_MINUTES` minutes from another seed in each round.
/// `FUZZ_SEED` is the first seed; 0 if it is absent. A guided run draws them from libFuzzer's bytes instead.
pub fn check<S: Strategy>(cases: u32, inputs: S, property: impl Fn(S::Value) -> TestCaseResult) {
    #[cfg(feature = "guided")]
    if let Some(arguments) = guided::arguments() {
        return guided::draw(&arguments, |bytes| judge(bytes, &inputs, &property));
    }
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

/// The same for a property of documents near the seeds of a target. In a guided run libFuzzer's bytes are the document.
pub fn check_documents(
    cases: u32,
    target: &str,
    tokens: &'static [&'static str],
    property: impl Fn(Vec<u8>) -> TestCaseResult,
) {
    #[cfg(feature = "guided")]
    if let Some(arguments) = guided::arguments() {
        let arguments = guided::with_documents(arguments, seeds(target), tokens);
        return guided::draw(&arguments, |bytes| match property(bytes.to_vec()) {
            Err(TestCaseError::Fail(reason)) => panic!("{reason}: {}", bytes.escape_ascii()),
            Err(TestCaseError::Reject(_)) => guided::Input::Rejected,
            Ok(()) => guided::Input::Valid,
        });
    }
    check(cases, near_corpus(target, tokens), property);
}

/// Draws one input from libFuzzer's bytes and runs the property on it. A panic has the smallest input that breaks it.
#[cfg(feature = "guided")]
fn judge<S: Strategy>(
    bytes: &[u8],
    inputs: &S,
    property: impl Fn(S::Value) -> TestCaseResult,
) -> guided::Input {
    let config = Config {
        failure_persistence: None,
        max_local_rejects: MOST_REJECTS,
        max_shrink_time: SHRINK_MILLISECONDS,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, guided::generator(bytes));
    let Ok(input) = inputs.new_tree(&mut runner) else { return guided::Input::Rejected };
    match runner.run_one(input, property) {
        Ok(true) => guided::Input::Valid,
        Ok(false) => guided::Input::Rejected,
        Err(error) => panic!("{error}"),
    }
}

/// How often a part of a guided input is drawn again; behind the end of libFuzzer's bytes it is always the same.
#[cfg(feature = "guided")]
const MOST_REJECTS: u32 = 100;

#[cfg(feature = "guided")]
const SHRINK_MILLISECONDS: u32 = 60_000;

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// The folder of a target's seeds.
fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The seeds of a target, in the order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = seeds(target);
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
    let edit = choose![
        4 => prop::sample::select(tokens).prop_map(Edit::Insert),
        1 => any::<u8>().prop_map(Edit::InsertByte),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => any::<Index>().prop_map(Edit::Repeat),
    ];
    let edits = prop::collection::vec((any::<Index>(), edit), 0..MOST_EDITS);
    (prop::sample::select(corpus(target)), edits).prop_map(|(mut text, edits)| {
        edits.into_iter().for_each(|(at, edit)| apply(&mut text, at, edit));
        text
    })
}

/// How many edits a text has, at most one less. A guided run adds one edit to those that reached new code.
const MOST_EDITS: usize = if cfg!(feature = "guided") { 60 } else { 6 };

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
    let leaf = choose![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts).prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
    ];
    nested(5, leaf, keys)
}

/// Lists and objects of the values, in each other up to the depth.
fn nested(depth: u32, values: BoxedStrategy<Value>, keys: &'static [&'static str]) -> BoxedStrategy<Value> {
    if depth == 0 {
        return values;
    }
    let inner = nested(depth - 1, values.clone(), keys);
    let key = prop::sample::select(keys).prop_map(str::to_owned);
    let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
    let object = prop::collection::btree_map(key, inner, 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()));
    choose![2 => values, 1 => list, 1 => object]
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
    choose![3 => odd, 1 => "\\PC{0,70}".prop_map(Value::from)]
}
