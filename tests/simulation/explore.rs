//! Explores the controllers on the simulated AWS and API server, and prints what was found: `cargo rig explore`.
//!
//! In: a seed, a depth, a time, or a trace to replay. Out: numbers and stories; the exit code is 1 when a property does
//! not hold, or when a mutant is not found.

use std::fmt::Display;
use std::io::Write as _;
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
    /// How long to explore, in minutes; absent: 2, and at most 90 with --mutants or --mutant
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
            say(format!("there is no fault {name}; these are: {:?}", Mutant::ALL));
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
            story(trace).into_iter().flatten().for_each(|sentence| say(format!("  {sentence}")));
            say("Every property holds.");
            true
        }
        Ok(Some(failure)) => {
            say(failure);
            false
        }
        Err(error) => {
            say(error);
            false
        }
    }
}

fn minutes(arguments: &Arguments) -> f64 {
    let searches = arguments.mutants || arguments.mutant.is_some();
    arguments.minutes.unwrap_or(if searches { 90.0 } else { 2.0 })
}

fn limits(arguments: &Arguments) -> SearchLimits {
    let time = Duration::from_secs_f64(minutes(arguments) * 60.0);
    SearchLimits { seed: arguments.seed, depth: arguments.depth, runs: u64::MAX, time }
}

/// Explores the scenes on all processors, and prints what was found in each, and then the sums.
fn all_scenes(arguments: &Arguments) -> bool {
    let begun = Instant::now();
    let wanted = arguments.scene.as_deref();
    let chosen: Vec<&'static Scene> =
        SCENES.iter().filter(|scene| wanted.is_none_or(|name| name == scene.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
        say(format!("there is no scene {}; these are: {}", wanted.unwrap_or_default(), names.join(", ")));
        return false;
    }
    let all = Mutex::new(Vec::new());
    on_all_processors(&chosen, begun + limits(arguments).time, |scene, time| {
        let found = explore(scene, SearchLimits { time, ..limits(arguments) }, true);
        say(describe(scene, &found));
        all.lock().push(found);
    });
    let all = all.into_inner();
    let states: usize = all.iter().map(|found| found.states).sum();
    let transitions: u64 = all.iter().map(|found| found.transitions).sum();
    let judged: u64 = all.iter().map(|found| found.judged).sum();
    say(format!("\n{states} states, {transitions} transitions in {:.1} s", begun.elapsed().as_secs_f64()));
    if let Some(found) = all.iter().max_by_key(|found| (found.depth, found.longest)) {
        say(format!("deepest trace of all: {}", found.deepest));
    }
    say(format!(
        "{} properties, judged {judged} times: at each call and write, and from every state at the end of its run",
        PROPERTIES.len()
    ));
    for property in PROPERTIES {
        let broken = all.iter().flat_map(|found| &found.failures).any(|f| f.violation.property == property);
        let verdict = if broken { "BROKEN" } else { "holds " };
        say(format!("  {verdict} {}: {}", property.name(), property.sentence()));
    }
    for found in all.iter().filter(|found| found.left > 0) {
        say(format!(
            "not reached in {}: {} traces of {} interferences and all longer ones; give it more --minutes",
            found.scene, found.left, found.depth
        ));
    }
    for found in &all {
        let never = found.taken.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str());
        let never: Vec<&str> = never.collect();
        if !never.is_empty() {
            say(format!("never reached in {}: {}", found.scene, never.join(", ")));
        }
    }
    for budget in unused_budgets(&all).into_iter().filter(|_| wanted.is_none()) {
        say(format!("budget never used: {budget:?}"));
    }
    all.iter().all(|found| found.failures.is_empty())
}

/// The result of a scene as text: how far the search went, its deepest trace, and the properties that do not hold.
fn describe(scene: &Scene, found: &SceneResult) -> String {
    let rest = if found.complete { "every trace" } else { "stopped by the time" };
    let numbers = format!(
        "{}: {}\n  {} states, {} transitions, {} runs in {:.1} s; {rest} of up to {} interferences; longest run {} steps",
        scene.name,
        scene.about,
        found.states,
        found.transitions,
        found.runs,
        found.elapsed.as_secs_f64(),
        found.depth,
        found.longest
    );
    let deepest = format!("  deepest trace: {}", found.deepest);
    let failures = found.failures.iter().map(|failure| format!("\n{failure}\n"));
    [numbers, deepest].into_iter().chain(failures).collect::<Vec<_>>().join("\n")
}

/// Finds each mutant by as few interferences as it takes. Few of them find most mutants, so that the rest of the time is for
/// the others.
fn find_mutants(mutants: &[Mutant], arguments: &Arguments) -> bool {
    let deadline = Instant::now() + Duration::from_secs_f64(minutes(arguments) * 60.0);
    let mut missed = mutants.to_vec();
    let few = (arguments.depth > FEW).then_some(FEW);
    for depth in few.into_iter().chain([arguments.depth]) {
        missed = search(&missed, deadline, SearchLimits { depth, ..limits(arguments) });
    }
    for mutant in &missed {
        say(format!("NOT FOUND: {mutant:?}: {}", mutant.sentence()));
    }
    say(format!("{} of {} mutants found", mutants.len() - missed.len(), mutants.len()));
    missed.is_empty()
}

/// Searches for each mutant, and prints the traces that find them. Returns those that were not found.
fn search(mutants: &[Mutant], deadline: Instant, limits: SearchLimits) -> Vec<Mutant> {
    let missed = Mutex::new(Vec::new());
    on_all_processors(mutants, deadline, |mutant, time| {
        let begun = Instant::now();
        let Some(found) = find_mutant(mutant, SearchLimits { time, ..limits }) else {
            return missed.lock().push(mutant);
        };
        let took = begun.elapsed().as_secs_f64();
        say(format!("{mutant:?}: {}\n{found}\n  Found in {took:.1} s.\n", mutant.sentence()));
    });
    missed.into_inner()
}

/// Does each of a list on one of the processors, in its order. Each gets its share of the time that is left.
fn on_all_processors<T: Copy + Send>(list: &[T], deadline: Instant, act: impl Fn(T, Duration) + Sync) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(list.iter().copied().rev().collect::<Vec<_>>());
    let next = || {
        let mut waiting = waiting.lock();
        let turns = u32::try_from(waiting.len().div_ceil(threads).max(1)).unwrap_or(1);
        waiting.pop().map(|one| (one, deadline.saturating_duration_since(Instant::now()) / turns))
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((one, time)) = next() {
                    act(one, time);
                }
            });
        }
    });
}

/// Prints a line. The program ends when nobody reads on, as after `| head`.
fn say(line: impl Display) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(1);
    }
}
