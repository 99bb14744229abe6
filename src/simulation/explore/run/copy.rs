//! Copies a run between checks, so that traces with the same beginning share it.
//!
//! In: a run in which no check is under way. Out: another run in the same state, which goes on by itself. A check that is
//! under way cannot be copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::simulation::explore::run::{Process, Run, hook};

/// A run as it was when no check was under way.
pub struct Resting {
    run: Run,
    /// The state of the chance by which pauses vary.
    chance: u64,
}

impl Resting {
    /// A run that goes on from here.
    pub fn resume(&self) -> Run {
        fastrand::seed(self.chance);
        self.run.copy()
    }

    /// How far the run had come.
    pub fn transitions(&self) -> u64 {
        self.run.transitions
    }
}

impl Run {
    /// The run as it is now; `None`: a check is under way.
    pub fn rest(&self) -> Option<Resting> {
        let is_resting = |run: &Run| run.checks.is_empty() && run.wire.lock().waiting.is_empty();
        let rests = is_resting(self) && self.mirror.as_deref().is_none_or(is_resting);
        (rests && self.story.is_none()).then(|| Resting { run: self.copy(), chance: fastrand::get_seed() })
    }

    fn copy(&self) -> Run {
        let clock = self.clock.copy();
        let (cloud, cluster) = (self.cloud.copy(&clock), self.cluster.copy());
        let wire = Arc::default();
        let copied = |process: &Process| {
            let leads = Arc::new(AtomicBool::new(process.leads.load(Ordering::Relaxed)));
            let may_begin = {
                let leads = leads.clone();
                Box::new(move || leads.load(Ordering::Relaxed))
            };
            let operator = process.operator.copy_under((&cloud, &cluster, &clock), hook(&wire), may_begin);
            let permitted = process.permitted.clone();
            Process {
                operator: Arc::new(operator),
                leads,
                began: process.began,
                cache: process.cache,
                permitted,
            }
        };
        Run {
            scene: self.scene,
            processes: self.processes.iter().map(copied).collect(),
            leader: self.leader,
            checks: Vec::new(),
            active: self.active,
            begun: self.begun,
            last_begun: self.last_begun.clone(),
            schedule: self.schedule.clone(),
            settled: self.settled.clone(),
            unchanged: self.unchanged.clone(),
            overwritten: self.overwritten.clone(),
            changing: self.changing.clone(),
            lags: self.lags,
            counts: self.counts.clone(),
            left: self.left.clone(),
            denied: self.denied.clone(),
            ghost: self.ghost.clone(),
            hashes: self.hashes,
            versions: self.versions,
            before_last_write: self.before_last_write,
            last_write: self.last_write,
            part_writes: self.part_writes.clone(),
            objects: self.objects.clone(),
            world: self.world.clone(),
            shown: self.shown.clone(),
            violation: self.violation.clone(),
            judged: self.judged,
            story: None,
            transitions: self.transitions,
            closing: self.closing,
            is_mirror: self.is_mirror,
            held: self.held,
            mirror: self.mirror.as_ref().map(|mirror| Box::new(mirror.copy())),
            cloud,
            cluster,
            clock,
            wire,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::explore::scene::SCENES;

    /// The states of a run from here to one that no check changes.
    fn course(run: &mut Run, mut at_rest: impl FnMut(&Run)) -> Vec<u64> {
        let mut states = vec![run.own_state()];
        at_rest(run);
        while run.go_on() {
            states.push(run.own_state());
            at_rest(run);
        }
        states
    }

    #[test]
    fn a_copy_goes_on_as_its_run_does() {
        for scene in &SCENES {
            let mut copies = Vec::new();
            let states = course(&mut Run::new(scene), |run| copies.extend(run.rest()));
            assert!(copies.len() > 2, "{} rests {} times", scene.name, copies.len());
            for copy in copies {
                let done = usize::try_from(copy.transitions()).unwrap();
                assert_eq!(course(&mut copy.resume(), |_| ()), states[done..], "{} after {done}", scene.name);
            }
        }
    }
}
