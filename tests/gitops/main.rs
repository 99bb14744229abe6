//! The operator with a real Argo CD: Argo CD installs the chart and the resources from a repository, finds no
//! difference in what the operator writes, and shows the health of each resource with the operator's message.
//!
//! Argo CD's controller and repo server run as processes beside the rig's API server. Most tests share one Argo CD;
//! those that begin with an empty cluster start their own. If a program that Argo CD needs is missing, the tests are
//! ignored and a line names the program. `RIG_ARGOCD=must` turns that into a failure, `RIG_ARGOCD=off` ignores the
//! tests.

mod application;
mod empty;
mod environment;
mod fixtures;
mod health;
mod life;
mod pods;
mod samples;
mod team;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use rig::will_run;

use environment::required_programs;

/// The name of a test, and its function.
type Test = (&'static str, fn() -> Result<()>);

const TESTS: [Test; 10] = [
    ("an_application_of_applications_installs_and_uninstalls_everything_in_order", empty::of_applications),
    ("one_application_of_definitions_and_resources_works_from_an_empty_cluster", empty::in_one),
    ("the_file_that_a_user_applies_becomes_synced_and_healthy", life::of_the_file),
    ("every_sample_stays_synced_however_it_is_applied_and_compared", samples::stay_synced),
    ("a_broken_resource_is_degraded_with_the_operators_message", health::broken),
    ("a_drifted_resource_is_degraded_until_it_is_corrected", health::drifted),
    ("a_suspended_resource_is_suspended", health::suspended),
    ("a_resource_removed_from_the_repository_is_removed_from_aws", life::pruned),
    ("deleting_the_application_waits_for_the_cleanup_in_aws", life::deleted),
    ("argo_cd_assesses_every_fixture_as_its_test_expects", fixtures::are_as_expected),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests mostly wait.
    arguments.test_threads.get_or_insert(4);
    let why_not = match will_run(&arguments, TESTS.iter().map(|(name, _)| *name)) {
        true => required_programs().err(),
        false => None,
    };
    if let Some(why) = &why_not {
        eprintln!("tests on a real Argo CD are ignored: {why}");
        if env::var_os("RIG_ARGOCD").is_some_and(|value| value == "must") {
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
