//! Checks the order of writers to AWS, and that no two wrote at the same time.

use anyhow::{Result, bail, ensure};

use super::cloud::Recorded;

/// The pods that wrote, in order, without consecutive repetitions.
pub fn order(writes: &[Recorded]) -> Vec<&str> {
    let mut names: Vec<&str> = writes.iter().map(|write| write.app.as_str()).collect();
    names.dedup();
    names
}

/// Checks that no two wrote at the same time, and that none wrote again after another had begun.
///
/// The writes are in the order in which they came to AWS: a pod that appears twice among those that began has written
/// after its follower.
///
/// # Errors
/// If two did; the message holds both writes.
pub fn check_one_at_a_time(writes: &[Recorded]) -> Result<()> {
    let pods = order(writes);
    for (at, name) in pods.iter().enumerate() {
        let before = pods.iter().take(at).any(|before| before == name);
        ensure!(!before, "one wrote again after another: {pods:?}");
    }
    for (at, one) in writes.iter().enumerate() {
        let other = writes.iter().skip(at + 1).find(|other| other.app != one.app && one.overlaps(other));
        if let Some(other) = other {
            bail!("two wrote at the same time: {one:?} and {other:?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(all: &[(&str, f64, Option<f64>)]) -> Vec<Recorded> {
        let write = |(app, begun, ended): &(&str, f64, Option<f64>)| Recorded {
            operation: "PutBucketReplication".to_owned(),
            subject: "orders".to_owned(),
            access_key: "111122223333".to_owned(),
            app: (*app).to_owned(),
            begun: *begun,
            ended: *ended,
            status: None,
        };
        all.iter().map(write).collect()
    }

    #[test]
    fn one_after_the_other_is_fine_and_each_may_write_several_at_once() {
        let recorded =
            writes(&[("a", 1.0, Some(3.0)), ("a", 2.0, Some(4.0)), ("b", 4.0, Some(5.0)), ("b", 4.5, None)]);
        check_one_at_a_time(&recorded).unwrap();
        assert_eq!(order(&recorded), ["a", "b"]);
    }

    #[test]
    fn a_write_that_begins_before_the_last_of_another_has_ended_is_found() {
        assert!(check_one_at_a_time(&writes(&[("a", 1.0, Some(3.0)), ("b", 2.0, Some(4.0))])).is_err());
        // It began long ago and has not ended.
        let endless = [("a", 1.0, None), ("a", 2.0, Some(3.0)), ("b", 9.0, Some(9.5))];
        assert!(check_one_at_a_time(&writes(&endless)).is_err());
    }

    #[test]
    fn one_that_writes_again_after_its_follower_is_found() {
        let error = check_one_at_a_time(&writes(&[
            ("a", 1.0, Some(2.0)),
            ("b", 3.0, Some(4.0)),
            ("a", 5.0, Some(6.0)),
        ]));
        assert!(error.unwrap_err().to_string().contains("wrote again"));
    }
}
