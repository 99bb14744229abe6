//! Whether the policy of a KMS key keeps a role from using the key.
//!
//! In: the policy as JSON, the ARN of a role, and actions. Out: why the role may not, if the policy says so
//! (<https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html>). Conditions are not evaluated: an allow
//! under a condition counts as one, and a deny under a condition does not. So the answer is "no" only where it is sure.

use serde_json::Value;

use crate::iam::arn::account_of_arn;
use crate::iam::compare::{condition, effect_of, names_action, principals_of, statements_of};

/// Why the policy of a key keeps a role from using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// A statement denies it explicitly.
    Denied,
    /// No statement allows it to the role or to the role's account.
    NotAllowed,
}

/// Why a role may not take one of these actions with a key; `None` where the policy leaves it open.
pub fn key_refusal(policy: &Value, role: &str, actions: &[&str]) -> Option<KeyRefusal> {
    // A policy that cannot be read refuses nothing.
    let statements = statements_of(policy)?;
    let about =
        |statement: &Value, action: &str| names_action(statement, action) && names_role(statement, role);
    let denies = |action: &str| {
        let mut denying = statements.iter().filter(|statement| effect_of(statement) == "Deny");
        denying.any(|statement| condition(statement).is_none() && about(statement, action))
    };
    let allows = |action: &str| {
        let mut allowing = statements.iter().filter(|statement| effect_of(statement) == "Allow");
        allowing.any(|statement| about(statement, action))
    };
    if actions.iter().any(|action| denies(action)) {
        return Some(KeyRefusal::Denied);
    }
    // One of several may be all that is needed: Encrypt without a bucket key, GenerateDataKey with one.
    (!actions.iter().any(|action| allows(action))).then_some(KeyRefusal::NotAllowed)
}

/// Whether a role is among the principals of a statement: by its ARN, as one of its account, or as anyone.
fn names_role(statement: &Value, role: &str) -> bool {
    let account = account_of_arn(role).unwrap_or_default();
    let is_account =
        |name: &str| name == account || (account_of_arn(name) == Some(account) && name.ends_with(":root"));
    let names = |key: &str| {
        let principals = principals_of(statement.get(key));
        principals.iter().any(|(kind, name)| match kind.as_deref() {
            None | Some("AWS") => name == "*" || name == role || is_account(name),
            Some(_) => false,
        })
    };
    names("Principal") || (statement.get("NotPrincipal").is_some() && !names("NotPrincipal"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-replication/orders-role";
    const ACTIONS: [&str; 2] = ["kms:Encrypt", "kms:GenerateDataKey"];

    fn refusal(statements: Value) -> Option<KeyRefusal> {
        key_refusal(&json!({"Version": "2012-10-17", "Statement": statements}), ROLE, &ACTIONS)
    }

    fn statement(effect: &str, principal: Value, action: &str) -> Value {
        json!({"Effect": effect, "Principal": principal, "Action": action, "Resource": "*"})
    }

    #[test]
    fn a_policy_that_names_the_role_its_account_or_anyone_refuses_nothing() {
        for principal in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": ROLE}),
            json!({"AWS": ["arn:aws:iam::444455556666:root", "arn:aws:iam::111122223333:root"]}),
            json!({"AWS": "111122223333"}),
        ] {
            assert_eq!(refusal(json!([statement("Allow", principal.clone(), "kms:*")])), None, "{principal}");
        }
        assert_eq!(
            refusal(statement("Allow", json!({"AWS": ROLE}), "kms:encrypt")),
            None,
            "one action may be enough"
        );
    }

    #[test]
    fn a_policy_that_names_neither_the_role_nor_its_account_does_not_allow_it() {
        for principal in [
            json!({"AWS": "arn:aws:iam::444455556666:root"}),
            json!({"AWS": "arn:aws:iam::111122223333:role/s3-replication/other"}),
            json!({"Service": "s3.amazonaws.com"}),
        ] {
            let allow = statement("Allow", principal.clone(), "kms:*");
            assert_eq!(refusal(json!([allow])), Some(KeyRefusal::NotAllowed), "{principal}");
        }
        let decrypt = statement("Allow", json!({"AWS": ROLE}), "kms:Decrypt");
        assert_eq!(refusal(json!([decrypt])), Some(KeyRefusal::NotAllowed));
    }

    #[test]
    fn an_explicit_denial_wins_and_one_under_a_condition_is_not_taken_for_one() {
        let all = statement("Allow", json!("*"), "kms:*");
        let mut deny = statement("Deny", json!({"AWS": ROLE}), "kms:Generate*");
        assert_eq!(refusal(json!([all, deny])), Some(KeyRefusal::Denied));
        deny["Condition"] = json!({"StringNotEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}});
        assert_eq!(refusal(json!([all, deny])), None);
        let others =
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*"});
        assert_eq!(refusal(json!([all, others])), None);
    }

    #[test]
    fn a_policy_that_cannot_be_read_refuses_nothing() {
        assert_eq!(key_refusal(&json!("?"), ROLE, &ACTIONS), None);
    }
}
