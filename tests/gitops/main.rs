//! What only a real Argo CD can show: that it takes the chart and the resources from a repository, finds no difference
//! in what the operator has written, and says the health of each in the operator's own words.
//!
//! Its controller and repo server run as processes beside the rig's API server. The tests share one of them, but for
//! those that begin with an empty cluster. Where a program is missing that Argo CD needs they are ignored, and a line
//! says which; `RIG_ARGOCD=must` makes that a failure, `RIG_ARGOCD=off` leaves them out.

mod application;
mod empty;
mod fixtures;
mod ground;
mod health;
mod life;
mod pods;
mod samples;
mod team;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use rig::is_asked_for;

use ground::Machine;

/// A test: what it is called, and what it does.
type Test = (&'static str, fn() -> Result<()>);

const TESTS: [Test; 10] = [
    ("an_application_of_applications_installs_everything_and_takes_it_away_in_order", empty::of_applications),
    ("one_application_of_definitions_and_resources_works_from_an_empty_cluster", empty::in_one),
    ("the_file_that_a_user_applies_becomes_synced_and_healthy", life::of_the_file),
    ("every_sample_stays_synced_however_it_is_applied_and_compared", samples::stay_synced),
    ("a_broken_resource_is_degraded_in_the_operator_s_words", health::broken),
    ("drift_in_aws_is_degraded_until_it_is_mended", health::drifted),
    ("a_suspended_resource_is_suspended", health::suspended),
    ("what_is_gone_from_the_repository_is_gone_from_aws", life::pruned),
    ("deleting_the_application_waits_for_the_cleanup_in_aws", life::deleted),
    ("argo_cd_says_of_every_fixture_what_its_test_expects", fixtures::are_as_expected),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait far more than they work.
    arguments.test_threads.get_or_insert(4);
    let why_not = match is_asked_for(&arguments, TESTS.iter().map(|(name, _)| *name)) {
        true => Machine::look().err(),
        false => None,
    };
    if let Some(why) = &why_not {
        eprintln!("tests on a real Argo CD are ignored: {why}");
        if env::var_os("RIG_ARGOCD").is_some_and(|wish| wish == "must") {
            return ExitCode::FAILURE;
        }
    }
    let trials = TESTS
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
                .with_ignored_flag(why_not.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
