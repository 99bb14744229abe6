//! What only a real cluster can show: the operator as its chart installs it, with the rights of its service account,
//! found by probes, killed, stopped, cut off, moved, upgraded and removed, and never two of its pods writing to AWS.
//!
//! The tests share a cluster, and each has a release of its own, with a Lease, an AWS account and resources of its
//! own; those that are about the whole of the chart take turns with the usual one. Where no cluster can be had they
//! are ignored, and a line says why; `RIG_KIND=must` makes that a failure, `RIG_KIND=off` leaves them out.
//! `RIG_KIND_KUBECONFIG` names a cluster that is there.

mod chart;
mod cluster;
mod documented_commands;
mod failover;
mod network;
mod node;
mod node_drain;
mod pod;
mod process;
mod process_exit;
mod release;
mod replication;
mod upgrade;
mod workload;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use rig::will_run;

use cluster::{Cluster, ClusterSource, Share};

/// A test: what it is called, what it must have for itself, and what it does.
type Test = (&'static str, Share, fn(&Cluster) -> Result<()>);

/// The longest first.
const TESTS: [Test; 18] = [
    (
        "a_leader_that_was_stopped_for_a_minute_wakes_up_and_writes_nothing",
        Share::OwnRelease,
        failover::frozen,
    ),
    ("a_hung_operator_is_restarted_by_its_probe", Share::OwnRelease, process_exit::hung),
    ("a_leader_cut_off_from_the_api_server_stops_and_another_goes_on", Share::OwnRelease, failover::cut_off),
    ("a_killed_leader_is_followed_and_comes_again", Share::OwnRelease, failover::killed),
    (
        "the_release_before_is_upgraded_without_a_break",
        Share::DefaultRelease,
        upgrade::from_the_release_before,
    ),
    ("a_new_version_is_rolled_out_under_work", Share::OwnRelease, failover::rolled_out),
    ("another_goes_on_with_what_a_deleted_leader_had_under_way", Share::OwnRelease, failover::deleted),
    ("asked_to_end_it_ends_well_and_comes_again", Share::OwnRelease, process_exit::asked_to_end),
    (
        "resources_that_are_left_at_uninstalling_are_deleted_once_it_is_installed_again",
        Share::DefaultRelease,
        chart::left_behind,
    ),
    (
        "uninstalled_in_order_nothing_is_left_but_the_definitions",
        Share::DefaultRelease,
        chart::uninstalled_in_order,
    ),
    ("helm_test_passes", Share::DefaultRelease, chart::tested),
    ("a_policy_lets_it_reach_what_it_needs_and_nothing_else", Share::OwnRelease, network::policy),
    (
        "a_service_is_found_by_its_name_and_a_resource_becomes_ready",
        Share::DefaultRelease,
        network::resolves_names,
    ),
    (
        "the_pods_have_a_user_without_rights_and_a_file_system_that_they_cannot_write",
        Share::DefaultRelease,
        process::has_no_rights,
    ),
    ("probes_and_metrics_are_answered", Share::DefaultRelease, process::answers_probes),
    ("a_drained_node_passes_the_operator_on", Share::Nodes, node_drain::drained),
    ("the_commands_for_helm_work_as_they_are_written", Share::WholeCluster, documented_commands::with_helm),
    (
        "the_commands_for_kubectl_work_as_they_are_written",
        Share::WholeCluster,
        documented_commands::with_kubectl,
    ),
];

/// How many run at the same time, unless it is said: most of the time they wait.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !env::args().any(|argument| argument.starts_with("--test-threads")) {
        arguments.test_threads = Some(AT_ONCE);
    }
    let source = match will_run(&arguments, TESTS.iter().map(|(name, ..)| *name)) {
        true => ClusterSource::choose(),
        false => Ok(ClusterSource::NotNeeded),
    };
    let why_not = source.as_ref().err().cloned();
    if let Some(why) = &why_not {
        eprintln!("tests on a real cluster are ignored: {why}");
        if env::var_os("RIG_KIND").is_some_and(|wish| wish == "must") {
            return ExitCode::FAILURE;
        }
    }
    let workers = source.as_ref().map_or(0, ClusterSource::workers);
    let documented = source.as_ref().is_ok_and(ClusterSource::has_documented_image);
    // Here, because the threads of the tests have to be started in the network of the cluster.
    let cluster = match source {
        Ok(ClusterSource::NotNeeded) | Err(_) => Err("there is no cluster".to_owned()),
        Ok(source) => Cluster::prepare(&source).map(Arc::new).map_err(|error| format!("{error:#}")),
    };
    let trials = TESTS
        .into_iter()
        .map(|(name, share, test)| {
            let cluster = cluster.clone();
            let run = move || {
                let cluster = cluster.map_err(|why| anyhow!(why))?;
                cluster.with(share, test).map_err(|error| Failed::from(format!("{error:#}")))
            };
            let lacks = match share {
                Share::Nodes => workers < 2,
                Share::WholeCluster => !documented,
                Share::OwnRelease | Share::DefaultRelease => false,
            };
            let ignored = why_not.is_some() || lacks;
            Trial::test(name, run).with_ignored_flag(ignored)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let closed = match cluster.map(Arc::into_inner) {
        Ok(Some(cluster)) => cluster.close(),
        Ok(None) | Err(_) => Ok(()),
    };
    if let Err(error) = &closed {
        eprintln!("the cluster was not ended well: {error:#}");
    }
    if conclusion.has_failed() || closed.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
