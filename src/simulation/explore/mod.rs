//! Explores the controllers that ship in every order of calls, faults and other people's acts, over the two ports.
//!
//! In: scenes, budgets and limits. Out: the numbers of states and transitions, and for a property that does not hold
//! the shortest trace that breaks it, in sentences. Every await on a port is a decision point.

mod act;
mod acts;
mod backfills;
mod budget;
mod deviation;
mod properties;
mod refusals;
mod run;
mod scene;
mod scene_beginnings;
mod search;
#[cfg(test)]
mod tests;
mod truth;

pub use properties::{PROPERTIES, Property};
pub use scene::{SCENES, Scene};
pub use search::{
    Counterexample, SceneResult, SearchLimits, explore, find_mutant, replay, story, unused_budgets,
};
