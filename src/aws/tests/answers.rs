//! Turns an answer into JSON that is the same for both implementations of the port.
//!
//! In: answers. Out: their content, and of a failure its class: AWS words its messages as it likes. Of a write that was
//! refused, the code too.

use serde_json::{Value, json};

use crate::replication::backfill::Job;
use crate::replication::health::canary::{BucketFacts, CanaryFacts};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{FailureClass, Observed, ObservedBucket, ObservedRole};

/// A read, with its content as JSON.
pub fn read<T>(read: &Read<T>, content: impl FnOnce(&T) -> Value) -> Value {
    match read {
        Ok(found) => content(found),
        Err(failure) => json!({"failure": format!("{:?}", failure.class)}),
    }
}

/// A read, with its content or the class and the code of its failure.
pub fn coded<T>(answer: &Read<T>, content: impl FnOnce(&T) -> Value) -> Value {
    match answer {
        Ok(found) => content(found),
        Err(failure) => json!({"failure": format!("{:?}", failure.class), "code": failure.code}),
    }
}

pub fn written(result: &Read<()>) -> Value {
    match result {
        Ok(()) => json!("done"),
        // Where several things are wrong, AWS does not document which one it names.
        Err(failure) if failure.class == FailureClass::Invalid => json!({"failure": "Invalid"}),
        Err(failure) => json!({"failure": format!("{:?}", failure.class), "code": failure.code}),
    }
}

pub fn policy(answer: &Read<Option<Value>>) -> Value {
    read(answer, |policy| json!(policy))
}

pub fn observed(answer: &Read<Observed>) -> Value {
    read(answer, |observed| {
        let Observed {
            caller,
            source,
            destinations,
            configuration,
            unknown_elements,
            role,
            former_roles,
            bucket_policies,
            keys,
            object_lock,
            unreached: _,
        } = observed;
        let by_name = |name: &String, value: Value| (name.clone(), value);
        let destinations = destinations.iter().map(|(name, held)| by_name(name, bucket(held)));
        let former_roles = former_roles.iter().map(|(name, held)| by_name(name, read(held, found_role)));
        // A bucket that is gone has no policy; whether it is asked for depends on what is remembered of the bucket.
        let is_gone = |held: &Read<Option<Value>>| {
            held.as_ref().is_err_and(|failure| failure.class == FailureClass::NoSuchBucket)
        };
        let policies = bucket_policies.iter().filter(|(_, held)| !is_gone(held));
        let policies = policies.map(|(name, held)| by_name(name, policy(held)));
        // Nor does the rest depend on a bucket that is gone: its Region is remembered until a read shows it.
        let is_missing = |bucket: &ObservedBucket| {
            bucket.versioning.as_ref().is_err_and(|failure| failure.class == FailureClass::NoSuchBucket)
        };
        let all_there = !observed.destinations.values().any(is_missing);
        let object_lock = *object_lock == Ok(Some(true)) && !is_missing(source);
        let keys = keys.iter().filter(|_| all_there).map(|(arn, held)| {
            by_name(arn, read(held, |key| json!(key.as_ref().map(|key| (&key.state, key.aws_managed)))))
        });
        json!({
            "account": caller.account,
            "source": bucket(source),
            "destinations": destinations.collect::<serde_json::Map<_, _>>(),
            "configuration": read(configuration, |held| json!(held)),
            "unknown elements": unknown_elements,
            "role": read(role, found_role),
            "former roles": former_roles.collect::<serde_json::Map<_, _>>(),
            "bucket policies": policies.collect::<serde_json::Map<_, _>>(),
            "keys": keys.collect::<serde_json::Map<_, _>>(),
            "object lock": object_lock,
        })
    })
}

pub fn observed_for_deletion(answer: &Read<ObservedForDeletion>) -> Value {
    read(answer, |observed| {
        let ObservedForDeletion { caller, bucket, region, configuration, roles, bucket_policies } = observed;
        let policies = bucket_policies.iter().map(|(bucket, held)| (bucket.name.clone(), policy(held)));
        json!({
            "account": caller.account,
            "bucket": bucket,
            "region": region,
            "configuration": read(configuration, |held| json!(held)),
            "roles": roles.iter().map(|(name, held)| (name.clone(), maybe_role(held))).collect::<serde_json::Map<_, _>>(),
            "bucket policies": policies.collect::<serde_json::Map<_, _>>(),
        })
    })
}

fn bucket(bucket: &ObservedBucket) -> Value {
    let ObservedBucket { region, versioning, owner_confirmed } = bucket;
    // S3 names the Region also to those it denies, and the emulator does not
    // (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>).
    if versioning.as_ref().is_err_and(|failure| failure.class == FailureClass::Denied) {
        return json!(["Denied", owner_confirmed]);
    }
    let versioning = read(versioning, |held| json!([held.status.as_str(), held.mfa_delete]));
    json!([read(region, |region| json!(region)), versioning, owner_confirmed])
}

fn found_role(found: &Option<ObservedRole>) -> Value {
    found.as_ref().map_or(Value::Null, role)
}

pub fn maybe_role(answer: &Read<Option<ObservedRole>>) -> Value {
    read(answer, found_role)
}

/// A job, without the times of its own.
pub fn job(answer: &Read<Option<Job>>) -> Value {
    read(answer, |found| {
        let Some(job) = found else { return Value::Null };
        let Job {
            id: _,
            state,
            total,
            succeeded,
            failed,
            failure_reasons,
            update_reason,
            created: _,
            terminated: _,
        } = job;
        json!([state.to_string(), total, succeeded, failed, failure_reasons.len(), update_reason])
    })
}

pub fn facts(answer: &Read<CanaryFacts>) -> Value {
    read(answer, |CanaryFacts { buckets, encrypted }| {
        let bucket = |BucketFacts { mfa_delete, default_retention }: &BucketFacts| {
            json!([read(mfa_delete, |held| json!(held)), read(default_retention, |held| json!(held))])
        };
        let buckets = buckets.iter().map(|(name, held)| (name.clone(), bucket(held)));
        let buckets = buckets.collect::<serde_json::Map<_, _>>();
        json!([buckets, read(encrypted, |held| json!(held))])
    })
}

fn role(role: &ObservedRole) -> Value {
    let ObservedRole { arn, name, path, trust, permissions_boundary, tags, policy, other_policies } = role;
    let mut others = other_policies.clone();
    others.sort();
    json!({
        "arn": arn,
        "name": name,
        "path": path,
        "trust": trust,
        "boundary": permissions_boundary,
        "tags": tags,
        "policy": read(policy, |policy| json!(policy)),
        "other policies": others,
    })
}
