//! Takes Amazon Resource Names apart (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
//!
//! In: an ARN. Out: its bucket, role, path, Region or account id. `partition.rs` puts ARNs together.

/// The bucket's name in a bucket ARN, or the text itself where it is not one.
pub fn bucket_of_arn(arn: &str) -> &str {
    arn.rsplit_once(":::").map_or(arn, |(_, bucket)| bucket)
}

/// The role's name in a role ARN, without its path.
pub fn role_of_arn(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}

/// The path in a role ARN, with a slash at both ends.
pub fn path_of_role_arn(arn: &str) -> &str {
    let role = arn.split_once(":role").map_or(arn, |(_, role)| role);
    role.rsplit_once('/').and_then(|(path, _)| role.get(..path.len() + 1)).unwrap_or("/")
}

/// The Region in an ARN.
pub fn region_of_arn(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// The account id in an ARN.
pub fn account_of_arn(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_out_of_arns() {
        assert_eq!(bucket_of_arn("arn:aws:s3:::b"), "b");
        assert_eq!(role_of_arn("arn:aws:iam::111122223333:role/a/b/r"), "r");
        assert_eq!(account_of_arn("arn:aws:iam::111122223333:role/r"), Some("111122223333"));
        assert_eq!(path_of_role_arn("arn:aws:iam::111122223333:role/a/b/r"), "/a/b/");
        assert_eq!(path_of_role_arn("arn:aws:iam::111122223333:role/r"), "/");
        assert_eq!(path_of_role_arn("arn:aws:iam::111122223333:role/a/../b/r"), "/a/../b/");
        assert_eq!(region_of_arn("arn:aws:kms:eu-west-1:111122223333:key/k"), Some("eu-west-1"));
        assert_eq!(region_of_arn("arn:aws:s3:::b"), None);
    }
}
