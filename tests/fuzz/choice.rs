//! Choices between strategies.
//!
//! In: strategies, each with its weight. Out: a strategy that draws from one of them.
//!
//! proptest keeps, for each choice, what it would have drawn from the options before: a failing input shrinks to these.
//! It takes the bytes for that from the end of what is left, half of it for each option. libFuzzer's bytes would be
//! gone after a dozen choices, so that a guided run leaves this out.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::strategy::{NewTree, Union, ValueTree};
use proptest::test_runner::TestRunner;

/// `choose![2 => one, 1 => other]` draws two of three values from `one`; without weights all are equal.
macro_rules! choose {
    ($($weight:expr => $option:expr),+ $(,)?) => {
        $crate::choice::weighted(vec![$(($weight, ::proptest::strategy::Strategy::boxed($option))),+])
    };
    ($($option:expr),+ $(,)?) => { $crate::choice::choose![$(1 => $option),+] };
}
pub(crate) use choose;

/// Draws from one of the options.
pub fn weighted<T: Debug + 'static>(options: Vec<(u32, BoxedStrategy<T>)>) -> BoxedStrategy<T> {
    match cfg!(feature = "guided") {
        true => Choice(options).boxed(),
        false => Union::new_weighted(options).boxed(),
    }
}

/// A value, or none; `probability` is the one of a value.
pub fn optional<S>(probability: f64, value: S) -> BoxedStrategy<Option<S::Value>>
where
    S: Strategy + 'static,
    S::Value: 'static,
{
    if !cfg!(feature = "guided") {
        return prop::option::weighted(probability, value).boxed();
    }
    let percent = (100.0 * probability) as u32;
    let none = Just(()).prop_map(|()| None);
    weighted(vec![(100 - percent, none.boxed()), (percent, value.prop_map(Some).boxed())])
}

#[derive(Debug)]
struct Choice<T>(Vec<(u32, BoxedStrategy<T>)>);

impl<T: Debug> Strategy for Choice<T> {
    type Tree = <BoxedStrategy<T> as Strategy>::Tree;
    type Value = T;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let all = self.0.iter().map(|(weight, _)| weight).sum::<u32>();
        let mut drawn = (0..all).new_tree(runner)?.current();
        let mut options = self.0.iter();
        let chosen = options.find(|(weight, _)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        chosen.expect("a number below the sum of the weights").1.new_tree(runner)
    }
}
