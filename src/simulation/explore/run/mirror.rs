//! The run in which two equal resources are exchanged.
//!
//! In: what happens in a run. Out: the same in its mirror, with the first resource where the run has the second, so that
//! the states of both count as one. Nothing is renamed: the mirror is a run of its own.

use crate::simulation::explore::deviation::Deviation;
use crate::simulation::explore::run::Run;

impl Run {
    /// Acts in the mirror as `act` does here. The result is the same as here.
    pub(super) fn reflect(&mut self, act: impl FnOnce(&mut Run) -> bool) {
        let Some(mut mirror) = self.mirror.take() else { return };
        // The pauses between tries vary by chance: by the same in both.
        fastrand::seed(self.transitions);
        act(&mut mirror);
        fastrand::seed(self.transitions);
        self.mirror = Some(mirror);
    }

    /// The deviation that is to the other of two equal resources what this one is to the first.
    pub(super) fn mirrored(&self, deviation: Deviation) -> Deviation {
        let swapped = |work: usize| if work < 2 { 1 - work } else { work };
        match deviation {
            Deviation::Switch(work) => Deviation::Switch(swapped(work)),
            Deviation::Act(act) => {
                let pairs = self.scene.twins.iter();
                let other = pairs.flat_map(|(one, two)| [(one, two), (two, one)]);
                let other = other.into_iter().find(|(name, _)| **name == act.name).map(|(_, other)| *other);
                let found = self.scene.acts.iter().find(|act| Some(act.name) == other);
                Deviation::Act(found.unwrap_or(act))
            }
            other => other,
        }
    }

    /// The work that is checked next: the one that is due first. Of equal resources that are due at once, it is the one
    /// whose last check is longest ago. Which of them comes first then depends on what happened and not on their names.
    pub(super) fn next_work(&self) -> Option<usize> {
        let unsettled = (0..self.settled.len()).filter(|work| self.settled.get(*work) == Some(&false));
        let order = if self.scene.twins.is_empty() { Vec::new() } else { self.order() };
        let now = self.clock.elapsed();
        let left = |work: usize| self.schedule.get(work).map(|due| due.left(now).0);
        unsettled.min_by_key(|work| (left(*work), order.get(*work).copied(), *work))
    }

    /// The position of each in the order of their last checks. Among those that were never checked, the mirror has the
    /// order reversed.
    pub(super) fn order(&self) -> Vec<usize> {
        let works = self.last_begun.len();
        let position = |work: usize| {
            let key = |work: usize| {
                let index = if self.is_mirror { works - work } else { work };
                (self.last_begun.get(work).copied().unwrap_or_default(), index)
            };
            (0..works).filter(|other| key(*other) < key(work)).count()
        };
        (0..works).map(position).collect()
    }

    /// The index in the scene of what was checked last and is in the cache of the leader.
    pub(super) fn last_work(&self) -> Option<usize> {
        let known = |work: &usize| self.is_cached(self.leader, *work);
        let mut works = (0..self.settled.len()).filter(known);
        if self.scene.twins.is_empty() {
            return works.next();
        }
        works.max_by_key(|work| self.last_begun.get(*work).copied())
    }
}
