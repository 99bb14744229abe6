//! Explores the controllers on the simulated AWS and API server, and prints what was found: `cargo rig explore`.
//!
//! In: a seed, a depth, a time, or a trace to replay. Out: numbers and stories; the exit code is 1 when a property does
//! not hold, or when a mutant is not found.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use parking_lot::Mutex;
use s3_replication_operator::mutants::{self, Mutant};
use s3_replication_operator::simulation::explore::{
    PROPERTIES, SCENES, Scene, SceneResult, SearchLimits, explore, find_mutant, replay, story, unused_budgets,
};

/// The most interferences with which every mutant is searched for before any is with more.
const FEW: usize = 1;

/// Explore the controllers in every order of calls, faults and other people's acts
#[derive(Parser)]
struct Arguments {
    /// The order in which traces of the same length are tried; 0 for the order of the decision points
    #[arg(long, default_value = "0")]
    seed: u64,
    /// The most interferences in a trace
    #[arg(long, default_value = "2")]
    depth: usize,
    /// How long to explore, in minutes; absent: 2, and 20 with --mutants or --mutant
    #[arg(long)]
    minutes: Option<f64>,
    /// Explore this scene alone
    #[arg(long, conflicts_with_all = ["mutants", "mutant", "replay"])]
    scene: Option<String>,
    /// Switch on one plausible fault after the other, and print the shortest trace that finds it
    #[arg(long)]
    mutants: bool,
    /// Replay one trace
    #[arg(long, conflicts_with = "mutants")]
    replay: Option<String>,
    /// Switch on this fault in the replay; without --replay, print the shortest trace that finds it
    #[arg(long, conflicts_with = "mutants")]
    mutant: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = arguments.mutant.as_ref();
    let mutant =
        Mutant::ALL.into_iter().find(|mutant| wanted.is_some_and(|name| *name == format!("{mutant:?}")));
    let holds = match (&arguments.replay, wanted, mutant) {
        (_, Some(name), None) => {
            println!("there is no fault {name}; these are: {:?}", Mutant::ALL);
            false
        }
        (Some(trace), _, Some(mutant)) => mutants::with(mutant, || replay_one(trace)),
        (Some(trace), ..) => replay_one(trace),
        (None, _, Some(mutant)) => find_mutants(&[mutant], &arguments),
        (None, ..) if arguments.mutants => find_mutants(&Mutant::ALL, &arguments),
        (None, ..) => all_scenes(&arguments),
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay_one(trace: &str) -> bool {
    match replay(trace) {
        Ok(None) => {
            story(trace).into_iter().flatten().for_each(|sentence| println!("  {sentence}"));
            println!("Every property holds.");
            true
        }
        Ok(Some(failure)) => {
            println!("{failure}");
            false
        }
        Err(error) => {
            println!("{error}");
            false
        }
    }
}

fn minutes(arguments: &Arguments) -> f64 {
    let searches = arguments.mutants || arguments.mutant.is_some();
    arguments.minutes.unwrap_or(if searches { 20.0 } else { 2.0 })
}

fn limits(arguments: &Arguments) -> SearchLimits {
    let time = Duration::from_secs_f64(minutes(arguments) * 60.0);
    SearchLimits { seed: arguments.seed, depth: arguments.depth, runs: u64::MAX, time }
}

fn all_scenes(arguments: &Arguments) -> bool {
    let begun = Instant::now();
    let mut all: Vec<SceneResult> = Vec::new();
    let wanted = arguments.scene.as_deref();
    let chosen: Vec<&Scene> =
        SCENES.iter().filter(|scene| wanted.is_none_or(|name| name == scene.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
        println!("there is no scene {}; these are: {}", wanted.unwrap_or_default(), names.join(", "));
        return false;
    }
    for (index, scene) in chosen.iter().enumerate() {
        let left = Duration::from_secs_f64(minutes(arguments) * 60.0).saturating_sub(begun.elapsed());
        let scenes = u32::try_from(chosen.len() - index).unwrap_or(1);
        let limits = SearchLimits { time: left / scenes, ..limits(arguments) };
        println!("{}: {}", scene.name, scene.about);
        let found = explore(scene, limits, true);
        let rest = if found.complete { "every trace" } else { "stopped by the time" };
        println!(
            "  {} states, {} transitions, {} runs in {:.1} s; {rest} of up to {} interferences; longest run {} steps",
            found.states,
            found.transitions,
            found.runs,
            found.elapsed.as_secs_f64(),
            found.depth,
            found.longest
        );
        println!("  deepest trace: {}", found.deepest);
        for failure in &found.failures {
            println!("\n{failure}\n");
        }
        all.push(found);
    }
    let states: usize = all.iter().map(|found| found.states).sum();
    let transitions: u64 = all.iter().map(|found| found.transitions).sum();
    let judged: u64 = all.iter().map(|found| found.judged).sum();
    println!("\n{states} states, {transitions} transitions in {:.1} s", begun.elapsed().as_secs_f64());
    println!(
        "{} properties, judged {judged} times: at each call and write, and from every state at the end of its run",
        PROPERTIES.len()
    );
    for property in PROPERTIES {
        let broken = all.iter().flat_map(|found| &found.failures).any(|f| f.violation.property == property);
        println!(
            "  {} {}: {}",
            if broken { "BROKEN" } else { "holds " },
            property.name(),
            property.sentence()
        );
    }
    for found in all.iter().filter(|found| found.left > 0) {
        println!(
            "not reached in {}: {} traces of {} interferences and all longer ones; give it more --minutes",
            found.scene, found.left, found.depth
        );
    }
    for found in &all {
        let never = found.taken.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str());
        let never: Vec<&str> = never.collect();
        if !never.is_empty() {
            println!("never reached in {}: {}", found.scene, never.join(", "));
        }
    }
    for budget in unused_budgets(&all).into_iter().filter(|_| wanted.is_none()) {
        println!("budget never used: {budget:?}");
    }
    all.iter().all(|found| found.failures.is_empty())
}

/// Finds each mutant by as few interferences as it takes. Few of them find most mutants, so that the rest of the time is for
/// the others.
fn find_mutants(mutants: &[Mutant], arguments: &Arguments) -> bool {
    let deadline = Instant::now() + Duration::from_secs_f64(minutes(arguments) * 60.0);
    let mut missed = mutants.to_vec();
    let few = (arguments.depth > FEW).then_some(FEW);
    for depth in few.into_iter().chain([arguments.depth]) {
        missed = search_on_all_processors(&missed, deadline, SearchLimits { depth, ..limits(arguments) });
    }
    for mutant in &missed {
        println!("NOT FOUND: {mutant:?}: {}", mutant.sentence());
    }
    println!("{} of {} mutants found", mutants.len() - missed.len(), mutants.len());
    missed.is_empty()
}

/// Searches for each mutant on one of the processors, and prints the traces that find them. Returns those that were not
/// found. Each may take its share of the time that is left.
fn search_on_all_processors(mutants: &[Mutant], deadline: Instant, limits: SearchLimits) -> Vec<Mutant> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(mutants.iter().copied().rev().collect::<Vec<_>>());
    let missed = Mutex::new(Vec::new());
    let next = || {
        let mut waiting = waiting.lock();
        let turns = waiting.len().div_ceil(threads).max(1);
        waiting.pop().map(|mutant| (mutant, u32::try_from(turns).unwrap_or(1)))
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((mutant, turns)) = next() {
                    let begun = Instant::now();
                    let time = deadline.saturating_duration_since(begun) / turns;
                    match find_mutant(mutant, SearchLimits { time, ..limits }) {
                        Some(found) => println!(
                            "{mutant:?}: {}\n{found}\n  Found in {:.1} s.\n",
                            mutant.sentence(),
                            begun.elapsed().as_secs_f64()
                        ),
                        None => missed.lock().push(mutant),
                    }
                }
            });
        }
    });
    missed.into_inner()
}
