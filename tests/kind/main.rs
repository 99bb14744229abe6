//! What only a real cluster can show: the operator as its chart installs it, with the rights of its service account,
//! found by probes, killed, stopped, cut off, moved, upgraded and removed, and never two of its pods writing to AWS.
//!
//! The tests share a cluster, and each has a release of its own, with a Lease, an AWS account and resources of its
//! own; those that are about the whole of the chart take turns with the usual one. Where no cluster can be had they
//! are ignored, and a line says why; `RIG_KIND=must` makes that a failure, `RIG_KIND=off` leaves them out.
//! `RIG_KIND_KUBECONFIG` names a cluster that is there.

mod case;
mod chart;
mod ends;
mod failover;
mod ground;
mod moves;
mod network;
mod node;
mod pod;
mod process;
mod site;
mod upgrade;
mod work;
mod written;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use rig::is_asked_for;

use ground::{Ground, Machine, Share};

/// A test: what it is called, what it must have for itself, and what it does.
type Test = (&'static str, Share, fn(&Ground) -> Result<()>);

/// The longest first.
const TESTS: [Test; 18] = [
    ("a_leader_that_was_stopped_for_a_minute_wakes_up_and_writes_nothing", Share::Own, failover::frozen),
    ("a_hung_operator_is_restarted_by_its_probe", Share::Own, ends::hung),
    ("a_leader_cut_off_from_the_api_server_stops_and_another_goes_on", Share::Own, failover::cut_off),
    ("a_killed_leader_is_followed_and_comes_again", Share::Own, failover::killed),
    ("the_release_before_is_upgraded_without_a_break", Share::Usual, upgrade::from_the_release_before),
    ("a_new_version_is_rolled_out_under_work", Share::Own, failover::rolled_out),
    ("another_goes_on_with_what_a_deleted_leader_had_under_way", Share::Own, failover::deleted),
    ("asked_to_end_it_ends_well_and_comes_again", Share::Own, ends::asked_to_end),
    (
        "resources_that_are_left_at_uninstalling_are_deleted_once_it_is_installed_again",
        Share::Usual,
        chart::left_behind,
    ),
    ("uninstalled_in_order_nothing_is_left_but_the_definitions", Share::Usual, chart::uninstalled_in_order),
    ("helm_test_passes", Share::Usual, chart::tested),
    ("a_policy_lets_it_reach_what_it_needs_and_nothing_else", Share::Own, network::policy),
    ("a_service_is_found_by_its_name_and_a_resource_becomes_ready", Share::Usual, network::resolves_names),
    (
        "the_pods_have_a_user_without_rights_and_a_file_system_that_they_cannot_write",
        Share::Usual,
        process::has_no_rights,
    ),
    ("probes_and_metrics_are_answered", Share::Usual, process::answers_probes),
    ("a_drained_node_passes_the_operator_on", Share::Workers, moves::drained),
    ("the_commands_for_helm_work_as_they_are_written", Share::All, written::with_helm),
    ("the_commands_for_kubectl_work_as_they_are_written", Share::All, written::with_kubectl),
];

/// How many run at the same time, unless it is said: most of the time they wait.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !env::args().any(|argument| argument.starts_with("--test-threads")) {
        arguments.test_threads = Some(AT_ONCE);
    }
    let machine = match is_asked_for(&arguments, TESTS.iter().map(|(name, ..)| *name)) {
        true => Machine::look(),
        false => Ok(Machine::Unasked),
    };
    let why_not = machine.as_ref().err().cloned();
    if let Some(why) = &why_not {
        eprintln!("tests on a real cluster are ignored: {why}");
        if env::var_os("RIG_KIND").is_some_and(|wish| wish == "must") {
            return ExitCode::FAILURE;
        }
    }
    let workers = machine.as_ref().map_or(0, Machine::workers);
    let documented = machine.as_ref().is_ok_and(Machine::has_documented_image);
    // Here, because the threads of the tests have to be started in the network of the cluster.
    let ground = match machine {
        Ok(Machine::Unasked) | Err(_) => Err("there is no cluster".to_owned()),
        Ok(machine) => Ground::prepare(&machine).map(Arc::new).map_err(|error| format!("{error:#}")),
    };
    let trials = TESTS
        .into_iter()
        .map(|(name, share, test)| {
            let ground = ground.clone();
            let run = move || {
                let ground = ground.map_err(|why| anyhow!(why))?;
                ground.with(share, test).map_err(|error| Failed::from(format!("{error:#}")))
            };
            let lacks = match share {
                Share::Workers => workers < 2,
                Share::All => !documented,
                Share::Own | Share::Usual => false,
            };
            let ignored = why_not.is_some() || lacks;
            Trial::test(name, run).with_ignored_flag(ignored)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let closed = match ground.map(Arc::into_inner) {
        Ok(Some(ground)) => ground.close(),
        Ok(None) | Err(_) => Ok(()),
    };
    if let Err(error) = &closed {
        eprintln!("the cluster was not ended well: {error:#}");
    }
    if conclusion.has_failed() || closed.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
