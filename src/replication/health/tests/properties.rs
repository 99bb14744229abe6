//! Properties of the verdict, for any evidence.

use super::*;

fn finding() -> impl Strategy<Value = RuleEvidence> {
    prop_oneof![
        Just(with(&[(-3, 2, 5)])),
        Just(with(&[(-3, 0, 5)])),
        Just(pending(&[(-1, 0, 0)])),
        Just(pending(&[(-3, 7, 901), (-2, 7, 960), (-1, 7, 1020)])),
        Just(pending(&[(-1, 7, 3)])),
        Just(read()),
        Just(RuleEvidence::default()),
    ]
}

proptest! {
    #[test]
    fn the_worst_rule_wins_and_unknown_never_beats_known(rules in vec((finding(), any::<bool>()), 1..6)) {
        let ids: Vec<String> = (0..rules.len()).map(|n| format!("r{n}")).collect();
        let mut resource = spec(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let mut held = Evidence::default();
        let mut each = Vec::new();
        for ((id, rule), (found, enabled)) in ids.iter().zip(&mut resource.rules).zip(&rules) {
            rule.status = Some(if *enabled { Switch::Enabled } else { Switch::Disabled });
            held.rules.insert(id.clone(), found.clone());
            if *enabled {
                each.push(reason(found.clone()));
            }
        }
        let found = judged(&resource, &held).reason;
        let any = |wanted: Reason| each.contains(&wanted);
        let wanted = [Reason::ObjectsFailing, Reason::ObjectsDelayed, Reason::ObjectsArriving, Reason::NothingPending];
        match wanted.into_iter().find(|wanted| any(*wanted)) {
            Some(known) => prop_assert_eq!(found, known),
            None => prop_assert!(each.is_empty() || each.contains(&found)),
        }
    }

    #[test]
    fn neither_the_order_nor_the_repetition_of_points_matters(
        points in vec((-20_i64..0, 0_u64..4, 0_u64..9), 0..20),
        order in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        // A minute has one truth: of two points the larger counts.
        let mut shuffled = read();
        for at in order.iter().filter(|_| !points.is_empty()).map(|at| at.get(&points)).chain(points.iter().rev()) {
            shuffled.ended(minute(at.0), EndedOperations { failed: at.1, operations: at.1 + at.2 });
        }
        let mut plain = read();
        for (at, failed, succeeded) in &points {
            plain.ended(minute(*at), EndedOperations { failed: *failed, operations: failed + succeeded });
        }
        let (one, other) = (evidence([("all", plain.clone())]), evidence([("all", shuffled.clone())]));
        prop_assert_eq!(judged(&spec(&["all"]), &one).reason, judged(&spec(&["all"]), &other).reason);
        prop_assert_eq!(&plain.metrics, &shuffled.metrics);
        let run = |rule: &RuleEvidence| rule.run.as_ref().map(|run| (run.since, run.last, run.failed));
        prop_assert_eq!(run(&plain), run(&shuffled));
    }

    #[test]
    fn an_unchanged_truth_changes_no_byte_of_the_status(found in finding(), later in 0_i64..5) {
        let resource = spec(&["all"]);
        let held = evidence([("all", found)]);
        let first = replicating(&resource, &BucketReplicationStatus::default(), &held, minute(2));
        let previous = BucketReplicationStatus {
            conditions: vec![first.condition.clone()],
            health: first.health.clone(),
            ..BucketReplicationStatus::default()
        };
        let again = replicating(&resource, &previous, &held, minute(2 + later));
        prop_assert_eq!((&again.condition, &again.health, &again.event), (&first.condition, &first.health, &None));
    }

    #[test]
    fn figures_of_objects_that_flow_cause_no_write(
        first in vec((-14_i64..0, 1_u64..100_000), 1..9),
        then in vec((-14_i64..0, 1_u64..100_000), 1..9),
    ) {
        let resource = spec(&["all"]);
        let flow = |points: &[(i64, u64)]| {
            let points: Vec<(i64, u64, u64)> = points.iter().map(|(at, n)| (*at, 0, *n)).collect();
            evidence([("all", with(&points))])
        };
        let answer = replicating(&resource, &BucketReplicationStatus::default(), &flow(&first), minute(2));
        let previous = BucketReplicationStatus {
            conditions: vec![answer.condition.clone()],
            health: answer.health.clone(),
            ..BucketReplicationStatus::default()
        };
        let later = replicating(&resource, &previous, &flow(&then), minute(2));
        prop_assert_eq!((later.condition, later.health), (answer.condition, answer.health));
    }

    #[test]
    fn one_failure_within_the_window_is_enough_and_one_before_it_is_not(at in -30_i64..0) {
        let is_within = SignedDuration::from_mins(-at) <= WINDOW;
        let found = reason(with(&[(at, 1, 4)]));
        prop_assert_eq!(found == Reason::ObjectsFailing, is_within);
    }

    #[test]
    fn max_latency_decides_what_is_late(limit in 1_u64..120, seconds in 0_u64..10_000) {
        let mut resource = spec(&["all"]);
        resource.health = Some(Health { max_latency: Some(Interval(format!("{limit}m"))), ..Health::default() });
        let rule = pending(&[(-3, 1, seconds), (-2, 1, seconds), (-1, 1, seconds)]);
        let found = judged(&resource, &evidence([("all", rule)])).reason;
        prop_assert_eq!(found == Reason::ObjectsDelayed, seconds > limit * 60);
    }
}
