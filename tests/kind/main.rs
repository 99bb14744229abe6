//! What only a real cluster can show: the operator's image in a pod, with the rights of its service account, found
//! by probes, killed, hung, and driven from its node.
//!
//! The tests share a cluster and run one after the other, for each may disturb the operator. Where no cluster can be
//! had they are ignored, and a line says why; `RIG_KIND=must` makes that a failure, `RIG_KIND=off` leaves them out.
//! `RIG_KIND_KUBECONFIG` names a cluster that is there.

mod case;
mod ends;
mod ground;
mod moves;
mod node;
mod pod;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use ground::{Ground, Machine};

/// A test: what it is called, how many nodes besides the control plane it needs, and what it does.
type Test = (&'static str, usize, fn(&Ground) -> Result<()>);

const TESTS: [Test; 8] = [
    ("the_pod_has_a_user_without_rights_and_a_file_system_that_it_cannot_write", 0, pod::has_no_rights),
    ("a_service_is_found_by_its_name_and_a_resource_becomes_ready", 0, pod::resolves_names),
    ("probes_and_metrics_are_answered", 0, pod::answers_probes),
    ("asked_to_end_it_ends_well_and_comes_again", 0, ends::asked_to_end),
    ("killed_it_comes_again_and_puts_right_what_changed_meanwhile", 0, ends::killed),
    ("a_hung_operator_is_restarted_by_its_probe", 0, ends::hung),
    ("another_pod_goes_on_where_a_deleted_one_was", 0, moves::deleted),
    ("a_drained_node_passes_the_operator_on", 2, moves::drained),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share the operator, and this thread is the one that is in the network of the cluster.
    arguments.test_threads = Some(1);
    let machine = match is_asked_for(&arguments) {
        true => Machine::look(),
        false => Machine::unasked(),
    };
    let why_not = machine.as_ref().err().cloned();
    if let Some(why) = &why_not {
        eprintln!("tests on a real cluster are ignored: {why}");
        if env::var_os("RIG_KIND").is_some_and(|wish| wish == "must") {
            return ExitCode::FAILURE;
        }
    }
    let workers = machine.as_ref().map_or(0, Machine::workers);
    let trials = TESTS
        .into_iter()
        .map(|(name, needed, test)| {
            Trial::test(name, move || ground::with(test).map_err(|error| Failed::from(format!("{error:#}"))))
                .with_ignored_flag(why_not.is_some() || needed > workers)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let closed = ground::close();
    if let Err(error) = &closed {
        eprintln!("the cluster was not ended well: {error:#}");
    }
    if conclusion.has_failed() || closed.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether any of the tests is going to run: only then a cluster is looked for.
fn is_asked_for(arguments: &Arguments) -> bool {
    let matches = |name: &str, pattern: &str| match arguments.exact {
        true => name == pattern,
        false => name.contains(pattern),
    };
    let asked = |name: &str| {
        arguments.filter.as_deref().is_none_or(|filter| matches(name, filter))
            && !arguments.skip.iter().any(|skip| matches(name, skip))
    };
    !arguments.list && TESTS.iter().any(|(name, ..)| asked(name))
}
