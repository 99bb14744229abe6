//! Holds the simulated AWS against an AWS over HTTP: random programs of reads and writes run on both, through the port
//! that the controllers use. Every answer and every class of error must be the same.
//!
//! In: seeds. Out: the shortest program whose answers differ. `AGREEMENT_PROGRAMS=1000` runs more programs than a test
//! of everyday needs, and `AGREEMENT_SEED` other ones.

mod answers;
mod canaries;
mod connections;
mod incomplete;
mod jobs;
mod program;
mod program_parts;
mod stage;

use futures::StreamExt;
use rig::Rig;
use serde_json::{Value, json};

use crate::aws::tests::program::{Act, draw};
use crate::aws::tests::stage::Stage;

/// The number of programs that run at the same time: the emulator has one thread.
const AT_ONCE: usize = 8;

const PROGRAMS: u64 = 120;

fn from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The results of the acts of a program.
#[derive(Default)]
struct Outcome {
    /// How the answers differ, if they do.
    difference: Option<String>,
    /// The kind of each act that was performed, with what both answered.
    answers: Vec<(&'static str, Value)>,
}

/// Runs some acts of the program of a seed, on a stage of their own.
async fn run(seed: u64, kept: &[usize]) -> Outcome {
    let emulator = Rig::emulator_alone().await.unwrap();
    let stage = Stage::new(&emulator.url(), emulator.port()).await.unwrap();
    let program = draw(seed, &stage.names);
    let (mut story, mut outcome) = (Vec::new(), Outcome::default());
    for act in kept.iter().filter_map(|index| program.get(*index)) {
        let text = format!("{act:?}");
        let kind = program::KINDS.into_iter().find(|kind| text.starts_with(kind));
        story.push(format!("  {text}"));
        let (simulated, real) = stage.perform(act).await;
        if simulated != real {
            let story = story.join("\n");
            let both = format!("The simulated AWS: {simulated:#}\nThe other: {real:#}");
            return Outcome { difference: Some(format!("{story}\n{both}")), ..outcome };
        }
        outcome.answers.push((kind.unwrap_or("another"), real));
    }
    outcome
}

/// The acts of a program that are needed for its answers to differ.
async fn shortest(seed: u64, length: usize) -> String {
    let mut kept: Vec<usize> = (0..length).collect();
    let mut difference = run(seed, &kept).await.difference.unwrap_or_default();
    let mut index = 0;
    while index < kept.len() {
        let fewer: Vec<usize> =
            kept.iter().copied().filter(|kept_index| *kept_index != kept[index]).collect();
        match run(seed, &fewer).await.difference {
            Some(found) => (kept, difference) = (fewer, found),
            None => index += 1,
        }
    }
    format!("AGREEMENT_SEED={seed}:\n{difference}")
}

/// Whether an act did or found something.
fn succeeded(answer: &Value) -> bool {
    let nothing = [json!(null), json!(false), json!("none"), json!("stays"), json!("not put")];
    answer.get("failure").is_none() && !nothing.contains(answer)
}

/// The stack of a thread that runs programs: in a debug build, a program and the calls of the SDK that it makes need more
/// than the two megabytes of the thread of a test.
const STACK: usize = 16 * 1024 * 1024;

#[test]
fn random_programs_get_the_same_answers_from_the_simulated_aws_and_over_http() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .unwrap();
    let compares = move || runtime.block_on(compare_random_programs());
    let ended = std::thread::Builder::new().stack_size(STACK).spawn(compares).unwrap().join();
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

async fn compare_random_programs() {
    let (first, programs) = (from_env("AGREEMENT_SEED", 1), from_env("AGREEMENT_PROGRAMS", PROGRAMS));
    let seeds = futures::stream::iter(first..first + programs);
    let runs = seeds.map(async |seed| {
        let all: Vec<usize> = (0..program::LENGTH).collect();
        (seed, run(seed, &all).await)
    });
    let outcomes: Vec<(u64, Outcome)> = runs.buffer_unordered(AT_ONCE).collect().await;
    let differing: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| outcome.difference.is_some()).map(|(seed, _)| *seed).collect();
    let mut stories = Vec::new();
    for seed in differing.iter().take(5) {
        stories.push(shortest(*seed, program::LENGTH).await);
    }
    assert!(
        differing.is_empty(),
        "{} of {programs} programs differ\n{}",
        differing.len(),
        stories.join("\n\n")
    );
    let answers: Vec<&(&str, Value)> = outcomes.iter().flat_map(|(_, outcome)| &outcome.answers).collect();
    for kind in program::KINDS {
        let of_kind = answers.iter().filter(|(held, _)| *held == kind);
        let (all, done) = (of_kind.clone().count(), of_kind.filter(|(_, answer)| succeeded(answer)).count());
        println!("{kind}: {done} of {all} acts succeeded");
        assert!(programs < PROGRAMS || (done > 0 && all > 0), "{kind} never succeeds");
    }
    for status in ["Completed", "Failed", "Absent"] {
        let found = answers.iter().filter(|(_, answer)| answer.as_str() == Some(status)).count();
        println!("{found} canaries were found {status}");
        assert!(programs < PROGRAMS || found > 0, "no canary is {status}");
    }
}

/// The programs are worth running: every kind of act is in some.
#[test]
fn the_programs_hold_every_kind_of_act() {
    let names = stage::Names::new("111122223333", "444455556666", "arn:aws:kms:eu-west-1:111122223333:key/k");
    let acts: Vec<Act> = (1..=PROGRAMS).flat_map(|seed| draw(seed, &names)).collect();
    for kind in program::KINDS {
        let found = acts.iter().filter(|act| format!("{act:?}").starts_with(kind)).count();
        assert!(found >= 5, "{kind} is in the programs {found} times");
    }
}
