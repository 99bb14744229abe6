//! The search: every trace of a scene with one interference after its opening, then with two, and so on.
//!
//! In: a scene, and how far to go. Out: how many states were seen, and the shortest trace that breaks a property. A
//! trace is the list of interferences; between them all goes as when nobody interferes. Each run ends in a state that no
//! check changes, so that every state on its way is shown to lead there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mutants::{self, Mutant};
use crate::simulation::explore::deviation::{BUDGETS, Budget, Deviation};
use crate::simulation::explore::properties::{Property, Violation, violated};
use crate::simulation::explore::run::{Resting, Run};
use crate::simulation::explore::scene::{SCENES, Scene};
use crate::simulation::hook::Call;
use crate::simulation::written_part::WrittenPart;

/// No run is longer: a longer one goes round in circles.
const LONGEST: u64 = 2000;

/// A story that goes round in circles ends after so many sentences.
const MOST_SENTENCES: usize = 600;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct SearchLimits {
    /// The order in which traces of the same length are tried.
    pub seed: u64,
    /// The most interferences in a trace.
    pub depth: usize,
    /// The most runs of a scene.
    pub runs: u64,
    /// When to stop.
    pub time: Duration,
}

/// Something that happens at a decision point.
#[derive(Clone)]
struct Interference {
    at: Arc<str>,
    deviation: Deviation,
}

/// A trace, which shares its beginning with others.
struct Trace {
    last: Option<Interference>,
    before: Option<Arc<Trace>>,
    /// The steps of the run of the beginning before the last interference.
    steps: u64,
}

impl Trace {
    fn list(&self) -> Vec<Interference> {
        let mut all: Vec<Interference> = self.before.as_ref().map(|before| before.list()).unwrap_or_default();
        all.extend(self.last.clone());
        all
    }
}

/// A trace that breaks a property.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub violation: Violation,
    /// The trace, as `replay` takes it.
    pub trace: String,
    /// The sentences.
    pub story: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sentence in &self.story {
            writeln!(f, "  {sentence}")?;
        }
        let Violation { property, detail } = &self.violation;
        writeln!(f, "This breaks \"{}\": {}", property.name(), property.sentence())?;
        writeln!(f, "  Here, {detail}.")?;
        writeln!(f, "To run it again: cargo rig explore --replay {:?}", self.trace)?;
        writeln!(f, "As a test, in src/simulation/explore/tests.rs:")?;
        write!(f, "    assert_holds({:?});", self.trace)
    }
}

/// The result of the search of a scene.
#[derive(Debug, Default)]
pub struct SceneResult {
    pub scene: &'static str,
    pub states: usize,
    pub transitions: u64,
    pub runs: u64,
    /// The most interferences of a trace that was run.
    pub depth: usize,
    /// How often a property was judged.
    pub judged: u64,
    /// The most steps of a run.
    pub longest: u64,
    /// Of the traces with the most interferences, the one whose run was longest, as `replay` takes it.
    pub deepest: String,
    /// The number of traces of the last depth that are known and were not run.
    pub left: usize,
    /// Whether every trace up to the depth was run.
    pub complete: bool,
    pub elapsed: Duration,
    /// How often each deviation was taken, by name; all that the scene has.
    pub taken: BTreeMap<String, u64>,
    pub failures: Vec<Counterexample>,
}

/// Explores a scene. `all`: goes on after a failure, and returns the first of each property.
pub fn explore(scene: &'static Scene, limits: SearchLimits, all: bool) -> SceneResult {
    let begun = Instant::now();
    let mut search = Search {
        scene,
        visited: HashMap::new(),
        closed: HashSet::new(),
        beginning: None,
        found: SceneResult { scene: scene.name, ..SceneResult::default() },
        deepest: (0, 0),
    };
    for act in scene.acts {
        search.found.taken.insert(act.name.to_owned(), 0);
    }
    let mut random = fastrand::Rng::with_seed(limits.seed);
    let begin = Arc::new(Trace { last: None, before: None, steps: 0 });
    let opened = scene.opening.iter().fold(begin, |before, (at, deviation)| {
        let last = Interference { at: (*at).into(), deviation: *deviation };
        Arc::new(Trace { last: Some(last), before: Some(before), steps: 0 })
    });
    let mut level = vec![opened];
    let mut properties = HashSet::new();
    let mut depth = 0;
    'levels: while !level.is_empty() && depth <= limits.depth {
        if limits.seed != 0 {
            random.shuffle(&mut level);
        }
        let mut next = Vec::new();
        let traces = level.len();
        for (index, trace) in level.into_iter().enumerate() {
            if search.found.runs >= limits.runs || begun.elapsed() > limits.time {
                search.found.left = traces - index;
                break 'levels;
            }
            search.found.depth = depth;
            let failure = search.run(&trace, depth < limits.depth, &mut next);
            if let Some(violation) = failure
                && properties.insert(violation.property)
            {
                let list = trace.list();
                search.found.failures.push(counterexample(scene, &list, violation));
                if !all {
                    break 'levels;
                }
            }
        }
        level = next;
        depth += 1;
        search.found.complete = level.is_empty() || depth > limits.depth;
    }
    search.found.states = search.visited.len();
    search.found.elapsed = begun.elapsed();
    search.found
}

struct Search {
    scene: &'static Scene,
    /// The states that were seen, each with the checks that still changed something; `None`: not known yet.
    visited: HashMap<u64, Option<u8>>,
    /// The states from which the deletion at the end was run.
    closed: HashSet<u64>,
    /// The run of a trace, as it was before one of its checks: the traces that are one longer go on from there.
    beginning: Option<(Arc<Trace>, Resting)>,
    found: SceneResult,
    /// The interferences and the steps of the deepest trace.
    deepest: (usize, u64),
}

impl Search {
    /// Runs a trace and what follows when nobody interferes any more; adds the traces that are one longer.
    fn run(&mut self, trace: &Arc<Trace>, extend: bool, next: &mut Vec<Arc<Trace>>) -> Option<Violation> {
        let list = trace.list();
        self.found.runs += 1;
        let mut run = self.reach(trace, &list)?;
        if let Some(last) = list.last() {
            *self.found.taken.entry(kind(&last.deviation)).or_default() += 1;
        }
        let replayed = run.transitions.saturating_sub(1);
        let mut seen: Vec<(u64, u8)> = Vec::new();
        let (mut checks, mut left) = (run.changing(), 0);
        while run.violation().is_none() {
            let state = run.state();
            match self.visited.get(&state) {
                Some(Some(more)) if run.is_enough(run.changing() + more) => {
                    left = *more;
                    break;
                }
                Some(_) => {}
                None => {
                    self.visited.insert(state, None);
                    seen.push((state, run.changing()));
                    if extend {
                        let at: Arc<str> = run.point().into();
                        next.extend(run.alternatives().into_iter().map(|deviation| {
                            let last = Some(Interference { at: at.clone(), deviation });
                            Arc::new(Trace { last, before: Some(trace.clone()), steps: run.transitions })
                        }));
                    }
                }
            }
            let goes_on = step(&mut run);
            if run.changing() < checks {
                // Someone ended a denial: from the states before that, no check changed more.
                for (state, before) in seen.drain(..) {
                    self.visited.insert(state, Some(checks.saturating_sub(before)));
                }
            }
            checks = run.changing();
            if !goes_on {
                if run.violation().is_none() {
                    run.settled();
                }
                self.close(&mut run, state);
                break;
            }
        }
        let all = checks + left;
        for (state, before) in seen {
            self.visited.insert(state, Some(all.saturating_sub(before)));
        }
        self.found.transitions += run.transitions.saturating_sub(replayed);
        self.found.longest = self.found.longest.max(run.transitions);
        self.found.judged += run.judged;
        if (list.len(), run.transitions) > self.deepest {
            self.deepest = (list.len(), run.transitions);
            self.found.deepest = written(self.scene, &list);
        }
        run.violation().cloned()
    }
}

impl Search {
    /// A run at the end of a trace; `None`: the trace cannot be followed. The traces of one beginning come in the order of
    /// their last interference: each goes on from the last check before it.
    fn reach(&mut self, trace: &Trace, list: &[Interference]) -> Option<Run> {
        let (Some(before), Some((last, beginning))) = (&trace.before, list.split_last()) else {
            return Some(Run::new(self.scene));
        };
        let held = self.beginning.take();
        let held = held.filter(|(of, at)| Arc::ptr_eq(of, before) && at.transitions() <= trace.steps);
        let mut run = match &held {
            Some((_, resting)) => resting.resume(),
            None => {
                let mut run = Run::new(self.scene);
                if !follow(&mut run, beginning) {
                    return None;
                }
                run
            }
        };
        self.beginning = held;
        while run.point() != *last.at {
            self.rest(before, &run);
            if !step(&mut run) {
                return None;
            }
        }
        self.rest(before, &run);
        (run.violation().is_none() && run.interfere(last.deviation)).then_some(run)
    }

    /// Keeps a run of a trace if no check is under way.
    fn rest(&mut self, trace: &Arc<Trace>, run: &Run) {
        let is_held = self.beginning.as_ref().is_some_and(|(_, held)| held.transitions() == run.transitions);
        if !is_held && let Some(resting) = run.rest() {
            self.beginning = Some((trace.clone(), resting));
        }
    }

    /// Deletes everything at the end of a trace.
    fn close(&mut self, run: &mut Run, state: u64) {
        if run.violation().is_some() || !self.closed.insert(state) || !run.close() {
            return;
        }
        go_to_rest(run);
    }
}

/// Takes a run to the end of a trace; `false`: the trace cannot be followed.
fn follow(run: &mut Run, list: &[Interference]) -> bool {
    list.iter().all(|Interference { at, deviation }| go_to(run, at) && run.interfere(*deviation))
}

/// Takes a run to a decision point; `false`: it does not get there, or breaks a property.
fn go_to(run: &mut Run, at: &str) -> bool {
    while run.point() != at {
        if !step(run) {
            return false;
        }
    }
    run.violation().is_none()
}

/// Goes one step on; `false`: no check would change anything, or a property does not hold.
fn step(run: &mut Run) -> bool {
    if run.transitions >= LONGEST {
        run.violate(violated(Property::Convergence, "the run goes round in circles"));
    }
    run.violation().is_none() && run.go_on()
}

/// Goes on until no check changes anything, or a property does not hold.
fn go_to_rest(run: &mut Run) {
    while step(run) {}
    if run.violation().is_none() {
        run.settled();
    }
}

/// A trace as `replay` takes it.
fn written(scene: &Scene, list: &[Interference]) -> String {
    let steps = list.iter().map(|i| format!("{} {}", i.at, i.deviation));
    std::iter::once(scene.name.to_owned()).chain(steps).collect::<Vec<_>>().join("; ")
}

/// Runs a trace once more, with its story, to its end.
fn counterexample(scene: &'static Scene, list: &[Interference], violation: Violation) -> Counterexample {
    let mut run = Run::new(scene);
    run.story = Some(vec![format!("There is {}.", scene.about)]);
    if follow(&mut run, list) {
        finish(&mut run);
    }
    let mut story = run.story.take().unwrap_or_default();
    story.retain(|sentence| !sentence.is_empty());
    if story.len() > MOST_SENTENCES {
        let left_out = story.len() - MOST_SENTENCES;
        story.truncate(MOST_SENTENCES);
        story.push(format!("And so on: {left_out} more sentences."));
    }
    Counterexample { violation, trace: written(scene, list), story }
}

/// Goes on until no check changes anything, and then deletes everything.
fn finish(run: &mut Run) {
    for closing in [false, true] {
        if closing && (run.violation().is_some() || !run.close()) {
            return;
        }
        go_to_rest(run);
    }
}

/// Replays a trace. `None`: every property holds.
///
/// # Errors
/// The trace names a scene, a decision point or a deviation that there is not, or one that is not possible there.
pub fn replay(text: &str) -> Result<Option<Counterexample>, String> {
    let (scene, list) = read(text)?;
    let mut run = Run::new(scene);
    for (index, Interference { at, deviation }) in list.iter().enumerate() {
        if !go_to(&mut run, at) && run.violation().is_none() {
            return Err(format!("the trace does not get to {at}: it is at {}", run.point()));
        }
        if run.violation().is_some() {
            break;
        }
        let is_possible = index < scene.opening.len()
            || run.alternatives().iter().any(|other| other.to_string() == deviation.to_string());
        if !is_possible || !run.interfere(*deviation) {
            return Err(format!("{deviation} is not possible at {at}"));
        }
    }
    finish(&mut run);
    Ok(run.violation().cloned().map(|violation| counterexample(scene, &list, violation)))
}

/// Runs a trace to its end, and returns what happened in sentences.
///
/// # Errors
/// As [`replay`].
pub fn story(text: &str) -> Result<Vec<String>, String> {
    let (scene, list) = read(text)?;
    let mut run = Run::new(scene);
    run.story = Some(vec![format!("There is {}.", scene.about)]);
    if follow(&mut run, &list) {
        finish(&mut run);
    }
    Ok(run.story.take().unwrap_or_default().into_iter().filter(|sentence| !sentence.is_empty()).collect())
}

/// The states from the end of a trace to the one that no check changes: each as it counts, and as it is by the names in
/// it.
#[cfg(test)]
pub(super) fn states(text: &str) -> Result<Vec<(u64, u64)>, String> {
    let (scene, list) = read(text)?;
    let mut run = Run::new(scene);
    if !follow(&mut run, &list) {
        return Err(format!("the trace does not get to its end: it is at {}", run.point()));
    }
    let mut states = vec![(run.state(), run.own_state())];
    while run.go_on() {
        states.push((run.state(), run.own_state()));
    }
    Ok(states)
}

/// The scene and the interferences of a trace.
fn read(text: &str) -> Result<(&'static Scene, Vec<Interference>), String> {
    let mut parts = text.split("; ");
    let name = parts.next().unwrap_or_default();
    let scene = SCENES.iter().find(|scene| scene.name == name);
    let scene = scene.ok_or_else(|| format!("there is no scene {name}"))?;
    let mut list = Vec::new();
    for part in parts {
        let (at, deviation) = part.rsplit_once(' ').ok_or_else(|| format!("{part} names no deviation"))?;
        let deviation =
            parse(scene, deviation).ok_or_else(|| format!("there is no deviation {deviation}"))?;
        list.push(Interference { at: at.into(), deviation });
    }
    Ok((scene, list))
}

fn parse(scene: &'static Scene, name: &str) -> Option<Deviation> {
    let number = |prefix: &str| name.strip_prefix(prefix)?.parse::<usize>().ok();
    let plain = [
        Deviation::Fail,
        Deviation::UnknownRole,
        Deviation::LoseAnswer,
        Deviation::AnswerStale,
        Deviation::DieAfter,
        Deviation::Restart,
        Deviation::CheckEarly,
        Deviation::MoveLease,
        Deviation::TakeOver,
    ];
    let old_parts = WrittenPart::ALL.into_iter().map(Deviation::AnswerOldPart);
    let plain = plain.into_iter().chain(old_parts).find(|deviation| deviation.to_string() == name);
    let other = || number("answers-other-").map(Deviation::AnswerOther);
    let switch = || number("switches-to-").map(Deviation::Switch);
    let denied = || {
        let (stays, rest) = match name.strip_prefix("stays-denied") {
            Some(rest) => (true, rest),
            None => (false, name.strip_prefix("is-denied")?),
        };
        let parts = [Call::Observe, Call::ObserveForDeletion, Call::ObserveForCanary];
        let mut parts = parts.iter().flat_map(Call::parts).copied();
        match rest.strip_prefix('-') {
            Some(wanted) => {
                parts.find(|part| *part == wanted).map(|part| Deviation::Deny { part: Some(part), stays })
            }
            None => rest.is_empty().then_some(Deviation::Deny { part: None, stays }),
        }
    };
    let opening = || {
        scene.opening.iter().filter_map(|(_, deviation)| match deviation {
            Deviation::Act(act) => Some(*act),
            _ => None,
        })
    };
    let acts = || opening().chain(scene.acts);
    let act = || acts().find(|act| act.name == name).map(Deviation::Act);
    plain.or_else(other).or_else(switch).or_else(denied).or_else(act)
}

/// The name of a deviation without its number.
fn kind(deviation: &Deviation) -> String {
    deviation.to_string().trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned()
}

/// Budgets that no deviation of a trace used.
pub fn unused_budgets(found: &[SceneResult]) -> Vec<Budget> {
    let used: HashSet<&str> = found
        .iter()
        .flat_map(|found| &found.taken)
        .filter(|(_, count)| **count > 0)
        .map(|(name, _)| name.as_str())
        .collect();
    let acts = || SCENES.iter().flat_map(|scene| scene.acts).map(Deviation::Act);
    let plain = [
        Deviation::Fail,
        Deviation::UnknownRole,
        Deviation::Deny { part: None, stays: false },
        Deviation::LoseAnswer,
        Deviation::AnswerStale,
        Deviation::DieAfter,
        Deviation::Restart,
        Deviation::AnswerOther(0),
        Deviation::Switch(0),
        Deviation::CheckEarly,
        Deviation::MoveLease,
        Deviation::TakeOver,
    ];
    let is_used = |budget: Budget| {
        let mut of = plain.into_iter().chain(acts()).filter(|deviation| deviation.budget() == budget);
        of.any(|deviation| used.contains(kind(&deviation).as_str()))
    };
    BUDGETS.iter().map(|(budget, _)| *budget).filter(|budget| !is_used(*budget)).collect()
}

/// The shortest trace that finds a mutant, over all scenes. With each interference more, the scenes come first that met the
/// mutant without it, and of these the smallest: most states are in a few scenes.
pub fn find_mutant(mutant: Mutant, limits: SearchLimits) -> Option<Counterexample> {
    let begun = Instant::now();
    let mut scenes: Vec<&Scene> = SCENES.iter().collect();
    mutants::with(mutant, || {
        (0..=limits.depth).find_map(|depth| {
            let mut explored = Vec::new();
            let found = scenes.iter().find_map(|scene| {
                let time = limits.time.saturating_sub(begun.elapsed());
                mutants::take_met();
                let mut result = explore(scene, SearchLimits { depth, time, ..limits }, false);
                explored.push((!mutants::take_met(), result.states, *scene));
                result.failures.pop()
            });
            explored.sort_by_key(|(is_unmet, states, _)| (*is_unmet, *states));
            scenes = explored.into_iter().map(|(.., scene)| scene).collect();
            found
        })
    })
}
