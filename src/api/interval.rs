//! A time between two checks, readings or canaries, in the form that Kubernetes uses for durations: `10m`, `1h30m`.
//!
//! In: the text of a spec or of a flag. Out: a duration. A stored value out of range is clamped, and a flag out of
//! range is refused.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The time between two checks of AWS, as the user wrote it. A value out of range must not make the whole object
/// undecodable, so [`Interval::duration`] clamps it instead.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Interval(pub String);

impl Interval {
    pub const MIN: Duration = Duration::from_secs(60);
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    const DEFAULT: Duration = Duration::from_secs(10 * 60);

    /// The interval, clamped to [`Interval::MIN`] and [`Interval::MAX`]; ten minutes if it cannot be parsed.
    pub fn duration(&self) -> Duration {
        self.0
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|d| Duration::try_from(d).ok())
            .unwrap_or(Self::DEFAULT)
            .clamp(Self::MIN, Self::MAX)
    }
}

impl Default for Interval {
    fn default() -> Self {
        Interval("10m".to_owned())
    }
}

impl std::str::FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<jiff::SignedDuration>() {
            Ok(d) if Duration::try_from(d).is_ok_and(|d| (Self::MIN..=Self::MAX).contains(&d)) => {
                Ok(Interval(text.to_owned()))
            }
            Ok(_) => Err("must be between 1m and 24h".to_owned()),
            Err(error) => Err(format!("not a duration such as 10m or 1h30m: {error}")),
        }
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 16})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hours_minutes_and_seconds_and_keeps_within_bounds() {
        let seconds = |s: &str| Interval(s.to_owned()).duration().as_secs();
        assert_eq!(seconds("10m"), 600);
        assert_eq!(seconds("1h30m"), 5400);
        assert_eq!(seconds("90s"), 90);
        assert_eq!(seconds("1s"), 60, "below the minimum");
        assert_eq!(seconds("72h"), 86400, "above the maximum");
        assert_eq!(seconds("often"), 600, "unreadable");
    }
}
