//! Bucket policies that S3 rejects and the emulator accepts. In: a policy. Out: S3's answer. The wording is that of
//! public reports. For answers marked "in words of this project" only the rule is documented.

use serde_json::Value;

use super::refusals::Refusal;

/// The largest bucket policy in bytes, without white space
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html>).
const MOST: usize = 20 * 1024;

/// Actions on objects, as far as a policy in a test names them.
const ON_OBJECTS: [&str; 14] = [
    "AbortMultipartUpload",
    "DeleteObject",
    "DeleteObjectVersion",
    "GetObject",
    "GetObjectTagging",
    "GetObjectVersion",
    "GetObjectVersionForReplication",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PutObject",
    "PutObjectAcl",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
];

/// Actions on buckets, as far as a policy in a test names them.
const ON_BUCKETS: [&str; 13] = [
    "DeleteBucketPolicy",
    "GetBucketAcl",
    "GetBucketLocation",
    "GetBucketObjectLockConfiguration",
    "GetBucketPolicy",
    "GetBucketVersioning",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "PutBucketPolicy",
    "PutBucketVersioning",
    "PutReplicationConfiguration",
];

/// Checks the body of PutBucketPolicy on `bucket`, and returns the ARNs of the users and roles that it names. The
/// caller checks whether they exist.
pub(super) fn bucket_policy(body: &str, bucket: &str) -> Result<Vec<String>, Refusal> {
    let policy: Value = match serde_json::from_str(body) {
        Ok(policy @ Value::Object(_)) => policy,
        _ => return Err(malformed("Policies must be valid JSON and the first byte must be '{'")),
    };
    if policy.to_string().len() > MOST {
        // In words of this project, the code too.
        return Err(malformed("Policy exceeds the maximum allowed document size."));
    }
    let statements = match policy.get("Statement") {
        None => return Err(malformed("Missing required field Statement")),
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if statements.is_empty() {
        return Err(malformed("Could not parse the policy: Statement is empty!"));
    }
    let mut named = Vec::new();
    for statement in statements {
        check_resources(statement, bucket)?;
        named.extend(principals(statement)?);
    }
    Ok(named)
}

/// The answer to a policy that names a principal that does not exist.
pub(super) fn invalid_principal() -> Refusal {
    malformed("Invalid principal in policy")
}

fn malformed(words: &str) -> Refusal {
    Refusal::new(400, "MalformedPolicy", words)
}

/// Whether the resources belong to this bucket, and each action applies to one of them.
fn check_resources(statement: &Value, bucket: &str) -> Result<(), Refusal> {
    let field = |name: &str| statement.get(name).or_else(|| statement.get(format!("Not{name}")));
    let resources = texts(field("Resource").ok_or_else(|| malformed("Missing required field Resource"))?);
    field("Action").ok_or_else(|| malformed("Missing required field Action"))?;
    let (mut objects, mut buckets) = (false, false);
    for resource in resources {
        let path = resource.split_once(":s3:::").map(|(_, path)| path).unwrap_or_default();
        let (name, key) = path.split_once('/').map_or((path, None), |(name, key)| (name, Some(key)));
        let stem = name.strip_suffix('*');
        if name != bucket && !stem.is_some_and(|stem| bucket.starts_with(stem)) {
            return Err(malformed("Policy has invalid resource"));
        }
        objects |= key.is_some() || stem.is_some();
        buckets |= key.is_none();
    }
    for action in statement.get("Action").map(texts).unwrap_or_default() {
        let on_objects = ON_OBJECTS.iter().any(|known| matches(action, known));
        let on_buckets = ON_BUCKETS.iter().any(|known| matches(action, known));
        // An action in neither list is accepted: its kind of resource is unknown here.
        if (on_objects || on_buckets) && !(on_objects && objects) && !(on_buckets && buckets) {
            return Err(malformed("Action does not apply to any resource(s) in statement"));
        }
    }
    Ok(())
}

/// Whether a pattern such as `s3:Replicate*` matches this action.
fn matches(pattern: &str, action: &str) -> bool {
    let pattern = pattern.strip_prefix("s3:").unwrap_or(pattern);
    match pattern.split_once('*') {
        None => pattern == action,
        Some((start, end)) => {
            // With more than one wildcard only the beginning and the end are compared.
            let end = end.rsplit('*').next().unwrap_or_default();
            action.len() >= start.len() + end.len() && action.starts_with(start) && action.ends_with(end)
        }
    }
}

/// The users and roles that a statement names.
fn principals(statement: &Value) -> Result<Vec<String>, Refusal> {
    let principal = statement.get("Principal").or_else(|| statement.get("NotPrincipal"));
    let accounts = match principal {
        None => return Err(malformed("Missing required field Principal")),
        Some(Value::String(everybody)) if everybody == "*" => return Ok(Vec::new()),
        Some(Value::Object(kinds)) => kinds.get("AWS").map(texts).unwrap_or_default(),
        Some(_) => return Err(invalid_principal()),
    };
    let mut named = Vec::new();
    for one in accounts {
        match one.splitn(6, ':').collect::<Vec<_>>().as_slice() {
            ["*"] => {}
            [id] if is_account(id) => {}
            ["arn", _, "iam", "", account, "root"] if is_account(account) => {}
            ["arn", _, "sts", "", account, session]
                if is_account(account) && session.starts_with("assumed-role/") => {}
            ["arn", _, "iam", "", account, who]
                if is_account(account) && (who.starts_with("role/") || who.starts_with("user/")) =>
            {
                named.push(one.to_owned());
            }
            // Among them ids such as `AROA…`, which S3 returns for principals that were deleted.
            _ => return Err(invalid_principal()),
        }
    }
    Ok(named)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A policy may hold one string instead of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-replication/orders";

    fn statement(principal: Value, action: &str, resource: &str) -> Value {
        json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource})
    }

    fn check(statement: &Value) -> Result<Vec<String>, String> {
        let body = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        bucket_policy(&body, "dest").map_err(|refusal| {
            assert_eq!((refusal.status, refusal.code), (400, "MalformedPolicy"));
            refusal.message
        })
    }

    fn on_objects(principal: Value) -> Result<Vec<String>, String> {
        check(&statement(principal, "s3:ReplicateObject", "arn:aws:s3:::dest/*"))
    }

    #[test]
    fn a_text_that_is_no_policy_is_malformed() {
        let refused = |body: &str| bucket_policy(body, "dest").unwrap_err().message;
        let not_json = "Policies must be valid JSON and the first byte must be '{'";
        assert_eq!(refused("nonsense"), not_json);
        assert_eq!(refused("[]"), not_json);
        assert_eq!(refused("{}"), "Missing required field Statement");
        assert_eq!(refused(r#"{"Statement": []}"#), "Could not parse the policy: Statement is empty!");
    }

    #[test]
    fn users_and_roles_are_named_and_accounts_are_not() {
        let others = json!({"AWS": [ROLE, "111122223333", "arn:aws:iam::111122223333:root", "*"]});
        assert_eq!(on_objects(others), Ok(vec![ROLE.to_owned()]));
        assert_eq!(on_objects(json!("*")), Ok(Vec::new()));
        assert_eq!(on_objects(json!({"Service": "logging.s3.amazonaws.com"})), Ok(Vec::new()));
    }

    #[test]
    fn nobody_and_those_who_are_gone_are_no_principals() {
        let invalid = Err("Invalid principal in policy".to_owned());
        for nobody in ["AROAJQABLZS4A3QDU576Q", "someone", "arn:aws:iam::1:role/x", ""] {
            assert_eq!(on_objects(json!({"AWS": nobody})), invalid, "{nobody}");
        }
        assert_eq!(on_objects(json!("arn:aws:iam::111122223333:root")), invalid);
        let nobody = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::dest/*"});
        assert_eq!(check(&nobody), Err("Missing required field Principal".to_owned()));
    }

    #[test]
    fn resources_are_this_bucket_s() {
        let of = |resource: &str| check(&statement(json!("*"), "s3:*", resource));
        for good in ["arn:aws:s3:::dest", "arn:aws:s3:::dest/a/*", "arn:aws-cn:s3:::dest", "arn:aws:s3:::de*"]
        {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in ["arn:aws:s3:::destination", "arn:aws:s3:::other/*", "dest", "*"] {
            assert_eq!(of(bad), Err("Policy has invalid resource".to_owned()), "{bad}");
        }
    }

    #[test]
    fn an_action_needs_a_resource_it_is_for() {
        let applies = |action: &str, resource: &str| {
            let found = check(&statement(json!("*"), action, &format!("arn:aws:s3:::{resource}")));
            match found {
                Ok(_) => true,
                Err(words) if words.starts_with("Action does not apply") => false,
                Err(words) => panic!("{words}"),
            }
        };
        for (action, objects, bucket) in [
            ("s3:ReplicateObject", true, false),
            ("s3:Replicate*", true, false),
            ("s3:GetBucketVersioning", false, true),
            ("s3:List*", true, true),
            ("s3:*", true, true),
            ("s3:SomethingNew", true, true),
        ] {
            assert_eq!(applies(action, "dest/*"), objects, "{action} on objects");
            assert_eq!(applies(action, "dest"), bucket, "{action} on the bucket");
        }
    }

    #[test]
    fn white_space_does_not_count_against_the_size() {
        let long = |end: usize| {
            let resource = format!("arn:aws:s3:::dest/{}", "x".repeat(end));
            json!({"Statement": statement(json!("*"), "s3:GetObject", &resource)})
        };
        let rest = MOST - long(0).to_string().len();
        let spread = format!("{:#}{}", long(rest), " ".repeat(100));
        assert!(bucket_policy(&spread, "dest").is_ok());
        assert!(bucket_policy(&long(rest + 1).to_string(), "dest").is_err());
    }
}
