//! The parts of AWS whose writes AWS shows one after another: an old answer may have one of them alone.
//!
//! In: two states of AWS. Out: whether a part differs between them, and the one with a part as it was in the other.

use std::fmt;

use crate::simulation::world::{SimulatedBucket, World};

/// A part of AWS that one write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WrittenPart {
    /// IAM: roles with their policies.
    Roles,
    Versioning,
    Configurations,
    /// Of buckets.
    Policies,
}

impl WrittenPart {
    pub const ALL: [WrittenPart; 4] =
        [WrittenPart::Roles, WrittenPart::Versioning, WrittenPart::Configurations, WrittenPart::Policies];

    /// Whether this part differs between two states.
    pub fn differs(self, one: &World, other: &World) -> bool {
        let of_buckets = |is_equal: fn(&SimulatedBucket, &SimulatedBucket) -> bool| {
            one.buckets
                .iter()
                .any(|(name, held)| other.buckets.get(name).is_some_and(|other| !is_equal(held, other)))
        };
        match self {
            WrittenPart::Roles => one.roles != other.roles,
            WrittenPart::Versioning => of_buckets(|one, other| one.versioning == other.versioning),
            WrittenPart::Configurations => of_buckets(|one, other| one.configuration == other.configuration),
            WrittenPart::Policies => of_buckets(|one, other| one.policy == other.policy),
        }
    }

    /// This part of a state, as text: equal parts have equal texts.
    pub fn text(self, world: &World) -> String {
        let buckets = || world.buckets.values();
        let text = match self {
            WrittenPart::Roles => serde_json::to_string(&world.roles.values().collect::<Vec<_>>()),
            WrittenPart::Versioning => {
                serde_json::to_string(&buckets().map(|held| held.versioning.as_str()).collect::<Vec<_>>())
            }
            WrittenPart::Configurations => {
                serde_json::to_string(&buckets().map(|held| &held.configuration).collect::<Vec<_>>())
            }
            WrittenPart::Policies => {
                serde_json::to_string(&buckets().map(|held| &held.policy).collect::<Vec<_>>())
            }
        };
        text.unwrap_or_default()
    }

    /// A state with this part as it was in a former one.
    pub fn of_former(self, now: &World, then: &World) -> World {
        let mut shown = now.clone();
        if self == WrittenPart::Roles {
            shown.roles.clone_from(&then.roles);
        }
        for (name, held) in &mut shown.buckets {
            let Some(then) = then.buckets.get(name) else { continue };
            match self {
                WrittenPart::Roles => {}
                WrittenPart::Versioning => held.versioning = then.versioning,
                WrittenPart::Configurations => held.configuration.clone_from(&then.configuration),
                WrittenPart::Policies => held.policy.clone_from(&then.policy),
            }
        }
        shown
    }
}

/// The name in a replay.
impl fmt::Display for WrittenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WrittenPart::Roles => "roles",
            WrittenPart::Versioning => "versioning",
            WrittenPart::Configurations => "configurations",
            WrittenPart::Policies => "bucket-policies",
        })
    }
}
