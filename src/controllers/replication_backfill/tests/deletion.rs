//! The deletion of a backfill: its job ends, its role goes, whatever the status still says.

use super::*;

/// A backfill whose job runs, and whose status someone has damaged before the user deletes it.
fn deleted_with(damage: impl Fn(&mut Value)) -> Scene {
    let scene = Scene::new();
    scene.until("Running");
    scene.edit(&backfill(), |object| damage(&mut object["status"]));
    scene.cluster.with(|server| server.delete(&backfill()));
    scene
}

/// Reconciles, with time and jobs going on, until the backfill is gone.
fn until_gone(scene: &Scene, what: &str) {
    let is_there = || scene.cluster.with(|server| server.objects.contains_key(&backfill()));
    for _ in 0..40 {
        if !is_there() {
            return;
        }
        let (_, next) = scene.reconcile();
        scene.clock.advance(next.unwrap_or(Duration::from_secs(1)));
        scene.cloud.with(|world| world.jobs.advance());
    }
    panic!("{what}: the backfill does not go: {:#}", scene.status(&backfill()));
}

#[test]
fn a_deletion_ends_the_job_and_removes_the_role_whatever_in_the_status_cannot_be_read() {
    let odd = [json!(7), json!("x"), json!([{}]), json!({"arn": 7, "total": "three", "bucket": 7})];
    let fields = [
        "conditions",
        "createdBefore",
        "description",
        "jobId",
        "observedGeneration",
        "progress",
        "requestedAt",
        "role",
        "source",
        "startedAt",
        "state",
        "token",
    ];
    let one_by_one = fields.iter().map(|field| vec![*field]);
    for lost in one_by_one.chain([fields.to_vec()]) {
        for value in &odd {
            let what = format!("{lost:?} {value}");
            let scene = deleted_with(|status| lost.iter().for_each(|field| status[*field] = value.clone()));
            until_gone(&scene, &what);
            // An id or a state may be any text.
            if !lost.contains(&"jobId") || !value.is_string() {
                assert_eq!(scene.job(), "Cancelled", "{what}");
            }
            assert!(scene.roles().is_empty(), "{what}");
        }
    }
}

#[test]
fn a_deletion_that_does_not_know_where_the_job_is_waits_and_says_what_to_do() {
    let scene = deleted_with(|status| status["source"] = json!({"bucket": "orders", "region": 7}));
    let (before, replication) = (scene.job(), scene.cluster.with(|server| server.objects.remove(&parent())));
    for _ in 0..3 {
        let (status, next) = scene.reconcile();
        assert_eq!((reason(&status), scene.job()), ("DeletionBlocked", before.clone()), "{status:#}");
        let message = status["conditions"][0]["message"].as_str().unwrap();
        for part in ["BucketReplication orders", "s3replication.dev/backfill/", "backfill+data.missed"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(status["source"]["region"], 7, "nothing of it is lost");
        scene.clock.advance(next.unwrap());
    }
    // A user who creates the replication again shows the operator where the job is.
    scene.cluster.with(|server| server.objects.insert(parent(), replication.unwrap()));
    until_gone(&scene, "with the replication");
    assert_eq!(scene.job(), "Cancelled");
}

#[test]
fn a_deletion_finds_the_job_by_the_replication_of_a_spec_that_cannot_be_read() {
    let scene = deleted_with(|status| status["source"] = json!(7));
    scene.edit(&backfill(), |object| object["spec"]["priority"] = json!("high"));
    until_gone(&scene, "an unreadable spec");
    assert_eq!((scene.job().as_str(), scene.roles().len()), ("Cancelled", 0));
}
