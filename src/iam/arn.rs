//! The partitions of AWS: separate sets of accounts and Regions with ARNs of their own
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).

use serde::Serialize;

/// A partition, told by the Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Partition {
    Aws,
    China,
    UsGov,
}

impl Partition {
    /// The partition a Region is in.
    pub fn of_region(region: &str) -> Partition {
        if region.starts_with("cn-") {
            Partition::China
        } else if region.starts_with("us-gov-") {
            Partition::UsGov
        } else {
            Partition::Aws
        }
    }

    /// The second field of every ARN.
    pub fn id(self) -> &'static str {
        match self {
            Partition::Aws => "aws",
            Partition::China => "aws-cn",
            Partition::UsGov => "aws-us-gov",
        }
    }

    fn dns_suffix(self) -> &'static str {
        match self {
            Partition::China => "amazonaws.com.cn",
            Partition::Aws | Partition::UsGov => "amazonaws.com",
        }
    }

    pub fn bucket_arn(self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}", self.id())
    }

    pub fn objects_arn(self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}/*", self.id())
    }

    pub fn role_arn(self, account: &str, path: &str, name: &str) -> String {
        format!("arn:{}:iam::{account}:role{path}{name}", self.id())
    }

    /// The value of `kms:ViaService` for requests that S3 of this Region makes to KMS.
    pub fn s3_via_service(self, region: &str) -> String {
        format!("s3.{region}.{}", self.dns_suffix())
    }
}

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
    fn each_partition_has_its_own_arns_and_service_names() {
        let told = |region: &str| {
            let p = Partition::of_region(region);
            (p.objects_arn("b"), p.role_arn("111122223333", "/p/", "r"), p.s3_via_service(region))
        };
        assert_eq!(
            told("eu-west-1"),
            (
                "arn:aws:s3:::b/*".into(),
                "arn:aws:iam::111122223333:role/p/r".into(),
                "s3.eu-west-1.amazonaws.com".into()
            )
        );
        assert_eq!(
            told("cn-north-1"),
            (
                "arn:aws-cn:s3:::b/*".into(),
                "arn:aws-cn:iam::111122223333:role/p/r".into(),
                "s3.cn-north-1.amazonaws.com.cn".into()
            )
        );
        assert_eq!(told("us-gov-west-1").0, "arn:aws-us-gov:s3:::b/*");
        assert_eq!(told("us-gov-west-1").2, "s3.us-gov-west-1.amazonaws.com");
    }

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
