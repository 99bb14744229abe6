//! Calls of AssumeRole that STS rejects and the emulator accepts
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).

use super::refusals::Refusal;

/// The longest session in seconds of a caller that is in a session already.
const CHAINED: u64 = 3600;

/// The lengths of sessions in seconds that STS grants.
const DURATIONS: std::ops::RangeInclusive<u64> = 900..=43_200;

/// Checks the parameters of AssumeRole. `chained`: the caller is in a session itself.
pub(super) fn assume_role(parameter: impl Fn(&str) -> Option<String>, chained: bool) -> Result<(), Refusal> {
    match parameter("RoleSessionName") {
        None => return Err(invalid("null", "roleSessionName", "Member must not be null")),
        Some(name) => check_text("roleSessionName", &name, 64, "=,.@-", "[\\w+=,.@-]*")?,
    }
    if let Some(id) = parameter("ExternalId") {
        check_text("externalId", &id, 1224, "=,.@:/-", "[\\w+=,.@:\\/-]*")?;
    }
    let Some(asked) = parameter("DurationSeconds") else {
        return Ok(());
    };
    let value = format!("'{asked}'");
    let seconds: u64 = asked.parse().unwrap_or_default();
    if seconds < *DURATIONS.start() {
        let constraint = format!("Member must have value greater than or equal to {}", DURATIONS.start());
        return Err(invalid(&value, "durationSeconds", &constraint));
    }
    if seconds > *DURATIONS.end() {
        let constraint = format!("Member must have value less than or equal to {}", DURATIONS.end());
        return Err(invalid(&value, "durationSeconds", &constraint));
    }
    if chained && seconds > CHAINED {
        let words = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
                     role chaining";
        return Err(Refusal::new(400, "ValidationError", words));
    }
    Ok(())
}

/// The denial that `caller` assumes a role. It is the same for a role that does not exist: STS does not reveal which
/// roles exist.
pub(super) fn not_authorized(caller: &str, role_arn: &str) -> Refusal {
    let words =
        format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}");
    Refusal::new(403, "AccessDenied", words)
}

fn check_text(field: &str, text: &str, most: usize, signs: &str, pattern: &str) -> Result<(), Refusal> {
    let value = format!("'{text}'");
    if text.len() < 2 {
        return Err(invalid(&value, field, "Member must have length greater than or equal to 2"));
    }
    if text.len() > most {
        let constraint = format!("Member must have length less than or equal to {most}");
        return Err(invalid(&value, field, &constraint));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '+' || signs.contains(c);
    if !text.chars().all(allowed) {
        let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
        return Err(invalid(&value, field, &constraint));
    }
    Ok(())
}

fn invalid(value: &str, field: &str, constraint: &str) -> Refusal {
    let words = format!(
        "1 validation error detected: Value {value} at '{field}' failed to satisfy constraint: {constraint}"
    );
    Refusal::new(400, "ValidationError", words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(parameters: &[(&str, &str)], chained: bool) -> Option<String> {
        let find = |name: &str| {
            parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assume_role(find, chained).err().map(|refusal| refusal.message)
    }

    #[test]
    fn a_session_name_is_needed_and_has_its_own_alphabet() {
        let named = |name: &str| refused(&[("RoleSessionName", name)], false);
        assert_eq!(named("data.orders-to-eu@x_y+z=1,2"), None);
        assert_eq!(named(&"x".repeat(64)), None);
        assert!(named(&"x".repeat(65)).unwrap().ends_with("less than or equal to 64"));
        assert!(named("x").unwrap().ends_with("greater than or equal to 2"));
        assert!(named("data/orders").unwrap().ends_with("pattern: [\\w+=,.@-]*"));
        assert!(refused(&[], false).unwrap().contains("Value null at 'roleSessionName'"));
    }

    #[test]
    fn an_external_id_may_have_a_colon_and_a_slash() {
        let with = |id: &str| refused(&[("RoleSessionName", "ns.name"), ("ExternalId", id)], false);
        assert_eq!(with("a:b/c"), None);
        assert!(with("a b").unwrap().contains("at 'externalId'"));
        assert!(with("a").is_some());
    }

    #[test]
    fn a_session_lasts_a_quarter_of_an_hour_to_half_a_day_and_a_chained_one_an_hour() {
        let lasting = |seconds: &str, chained| {
            refused(&[("RoleSessionName", "ns.name"), ("DurationSeconds", seconds)], chained)
        };
        for (seconds, alone, chained) in
            [("899", false, false), ("900", true, true), ("3600", true, true), ("3601", true, false)]
        {
            assert_eq!(lasting(seconds, false).is_none(), alone, "{seconds}");
            assert_eq!(lasting(seconds, true).is_none(), chained, "{seconds} chained");
        }
        assert_eq!(lasting("43200", false), None);
        assert!(lasting("43201", false).is_some());
        assert!(lasting("soon", false).is_some());
    }
}
