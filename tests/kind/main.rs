//! The operator in pods of a real cluster, as its chart installs it, with the permissions of its service account. It is
//! probed, killed, stopped, cut off, moved, upgraded and removed. Two of its pods never write to AWS at the same time.
//!
//! The tests share a cluster. Each has its own release with its own Lease, AWS account and resources; tests of the
//! chart as a whole take turns with the default release. If there can be no cluster, the tests are ignored and a line
//! says why. `RIG_KIND=must` turns that into a failure, `RIG_KIND=off` ignores the tests, `RIG_KIND_KUBECONFIG` names
//! an existing cluster.

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

/// The name of a test, what it needs for itself, and its function.
type Test = (&'static str, Share, fn(&Cluster) -> Result<()>);

/// The longest first.
const TESTS: [Test; 19] = [
    ("a_leader_stopped_for_a_minute_writes_nothing_when_it_continues", Share::OwnRelease, failover::frozen),
    ("a_hung_operator_is_restarted_by_its_probe", Share::OwnRelease, process_exit::hung),
    (
        "a_leader_cut_off_from_the_api_server_stops_and_another_continues",
        Share::OwnRelease,
        failover::cut_off,
    ),
    ("another_pod_follows_a_killed_leader_which_restarts", Share::OwnRelease, failover::killed),
    (
        "the_previous_release_is_upgraded_without_interruption",
        Share::DefaultRelease,
        upgrade::from_the_release_before,
    ),
    (
        "what_a_former_release_left_is_taken_over_by_one_helm_upgrade",
        Share::DefaultRelease,
        upgrade::of_what_the_former_release_left,
    ),
    ("a_new_version_is_rolled_out_during_work", Share::OwnRelease, failover::rolled_out),
    ("another_pod_finishes_the_work_of_a_deleted_leader", Share::OwnRelease, failover::deleted),
    ("a_terminated_process_exits_with_zero_and_restarts", Share::OwnRelease, process_exit::asked_to_end),
    (
        "resources_left_at_uninstallation_are_deleted_after_installing_again",
        Share::DefaultRelease,
        chart::left_behind,
    ),
    ("uninstalling_in_order_leaves_only_the_crds", Share::DefaultRelease, chart::uninstalled_in_order),
    ("helm_test_passes_with_a_ready_pod_and_runs_no_operator", Share::DefaultRelease, chart::tested),
    ("the_network_policy_allows_only_what_the_operator_needs", Share::OwnRelease, network::policy),
    ("the_operator_resolves_the_name_of_a_service", Share::DefaultRelease, network::resolves_names),
    ("the_pods_run_unprivileged_with_a_read_only_file_system", Share::DefaultRelease, process::has_no_rights),
    ("probes_and_metrics_are_answered", Share::DefaultRelease, process::answers_probes),
    ("draining_the_leaders_node_moves_the_operator", Share::Nodes, node_drain::drained),
    ("the_documented_helm_commands_work", Share::WholeCluster, documented_commands::with_helm),
    ("the_documented_kubectl_commands_work", Share::WholeCluster, documented_commands::with_kubectl),
];

/// The default number of tests at the same time: they mostly wait.
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
    // Before the threads of the tests start: they must be in the network of the cluster.
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
