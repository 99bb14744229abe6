//! The partitions of AWS: separate sets of accounts and Regions with ARNs and domain names of their own
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
//!
//! In: a Region. Out: its partition, by the partition data of the AWS SDK (`partitions.json`, which a test compares
//! with the SDK's own copy).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// A partition. Only the id is serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Partition {
    id: &'static str,
    #[serde(skip)]
    dns_suffix: &'static str,
}

#[derive(Deserialize)]
struct PartitionData {
    partitions: Vec<PartitionEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartitionEntry {
    id: String,
    outputs: Outputs,
    region_regex: String,
    regions: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outputs {
    dns_suffix: String,
    dual_stack_dns_suffix: String,
}

/// One partition, with the form of the names of its Regions.
struct KnownPartition {
    partition: Partition,
    /// The ends of the host names of its services, with and without IPv6.
    suffixes: [String; 2],
    regions: BTreeMap<String, serde::de::IgnoredAny>,
    pattern: Option<Regex>,
}

static KNOWN: LazyLock<Vec<KnownPartition>> = LazyLock::new(|| {
    // A test rules out that the data cannot be read.
    let data: PartitionData = serde_json::from_str(include_str!("partitions.json"))
        .unwrap_or(PartitionData { partitions: Vec::new() });
    let known = data.partitions.into_iter().map(|PartitionEntry { id, outputs, region_regex, regions }| {
        let Outputs { dns_suffix, dual_stack_dns_suffix } = outputs;
        KnownPartition {
            suffixes: [format!(".{dns_suffix}"), format!(".{dual_stack_dns_suffix}")],
            // The process parses the data once and keeps it until it ends.
            partition: Partition { id: id.leak(), dns_suffix: dns_suffix.leak() },
            regions,
            pattern: Regex::new(&region_regex).ok(),
        }
    });
    known.collect()
});

impl Partition {
    /// The commercial partition. As in the SDK, it is that of every Region that the data does not know.
    pub const AWS: Partition = Partition { id: "aws", dns_suffix: "amazonaws.com" };

    /// The partition of a Region; the commercial one for a Region that the data does not know.
    pub fn of_region(region: &str) -> Partition {
        known(region).unwrap_or(Partition::AWS)
    }

    /// The partition that an ARN names in its second field, if it is one.
    pub fn of_arn(arn: &str) -> Option<Partition> {
        let id = arn.strip_prefix("arn:")?.split(':').next()?;
        KNOWN.iter().map(|known| known.partition).find(|partition| partition.id == id)
    }

    /// The second field of every ARN.
    pub fn id(self) -> &'static str {
        self.id
    }

    pub fn bucket_arn(self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}", self.id)
    }

    pub fn objects_arn(self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}/*", self.id)
    }

    pub fn role_arn(self, account: &str, path: &str, name: &str) -> String {
        format!("arn:{}:iam::{account}:role{path}{name}", self.id)
    }

    /// The value of `kms:ViaService` for requests that S3 of this Region makes to KMS.
    pub fn s3_via_service(self, region: &str) -> String {
        format!("s3.{region}.{}", self.dns_suffix)
    }
}

/// Whether a partition has a Region of this name, or may have one by the form of its names.
pub fn is_region(region: &str) -> bool {
    known(region).is_some()
}

/// Whether a host name is that of a service of AWS, in any partition.
pub fn is_host_of_aws(host: &str) -> bool {
    KNOWN.iter().flat_map(|known| &known.suffixes).any(|suffix| host.ends_with(suffix.as_str()))
}

fn known(region: &str) -> Option<Partition> {
    let named = KNOWN.iter().find(|known| known.regions.contains_key(region));
    let matches =
        |known: &&KnownPartition| known.pattern.as_ref().is_some_and(|pattern| pattern.is_match(region));
    named.or_else(|| KNOWN.iter().find(matches)).map(|known| known.partition)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    #[test]
    fn each_partition_has_its_own_arns_and_service_names() {
        for (region, objects, service) in [
            ("eu-west-1", "arn:aws:s3:::b/*", "s3.eu-west-1.amazonaws.com"),
            ("cn-north-1", "arn:aws-cn:s3:::b/*", "s3.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", "arn:aws-us-gov:s3:::b/*", "s3.us-gov-west-1.amazonaws.com"),
            ("eusc-de-east-1", "arn:aws-eusc:s3:::b/*", "s3.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "arn:aws-iso:s3:::b/*", "s3.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "arn:aws-iso-b:s3:::b/*", "s3.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "arn:aws-iso-e:s3:::b/*", "s3.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "arn:aws-iso-f:s3:::b/*", "s3.us-isof-south-1.csp.hci.ic.gov"),
        ] {
            let partition = Partition::of_region(region);
            assert_eq!(partition.objects_arn("b"), objects);
            assert_eq!(partition.s3_via_service(region), service);
            assert_eq!(Partition::of_arn(objects), Some(partition));
        }
        let role = Partition::of_region("cn-north-1").role_arn("111122223333", "/p/", "r");
        assert_eq!(role, "arn:aws-cn:iam::111122223333:role/p/r");
        assert_eq!(Partition::of_region("eu-west-1"), Partition::AWS);
    }

    #[test]
    fn a_host_of_aws_is_known_by_its_end_in_every_partition() {
        for host in [
            "sqs.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.api.aws",
            "sqs.cn-north-1.amazonaws.com.cn",
            "sqs.eusc-de-east-1.amazonaws.eu",
            "sqs.us-iso-east-1.c2s.ic.gov",
            "sqs.us-isob-east-1.sc2s.sgov.gov",
            "sqs.eu-isoe-west-1.cloud.adc-e.uk",
            "sqs.us-isof-south-1.csp.hci.ic.gov",
        ] {
            assert!(is_host_of_aws(host), "{host}");
        }
        for host in ["eu-west-1.example.com", "amazonaws.com.example.org", "myamazonaws.com", ""] {
            assert!(!is_host_of_aws(host), "{host}");
        }
    }

    #[test]
    fn a_region_is_known_by_its_name_or_by_the_form_of_it() {
        for region in ["eu-west-1", "eu-north-9", "eusc-de-east-1", "aws-cn-global"] {
            assert!(is_region(region), "{region}");
        }
        for region in ["", "zz-fake-1", "eu-west", "*", "eu-west-1.example.com", "xeu-west-1"] {
            assert!(!is_region(region), "{region}");
            assert_eq!(Partition::of_region(region), Partition::AWS);
        }
        assert_eq!(Partition::of_arn("arn:none:s3:::b"), None);
        assert_eq!(Partition::of_arn("b"), None);
    }

    /// The SDK keeps its data to itself, so that it is compared as text.
    #[test]
    fn the_data_is_that_of_the_sdk() {
        let metadata = Command::new(env!("CARGO"))
            // The packages of other platforms may never have been downloaded here.
            .args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform=host-tuple"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let sdk = packages.iter().find(|package| package["name"] == "aws-sdk-s3").unwrap();
        let manifest = Path::new(sdk["manifest_path"].as_str().unwrap());
        let source = std::fs::read_to_string(manifest.with_file_name("src").join("endpoint_lib.rs")).unwrap();
        let (_, literal) = source.split_once("new_from_json(b\"").unwrap();
        let (literal, _) = literal.split_once("\").expect(").unwrap();
        let sdk: Value = serde_json::from_str(&literal.replace("\\\"", "\"").replace("\\\\", "\\")).unwrap();
        let ours: Value = serde_json::from_str(include_str!("partitions.json")).unwrap();
        assert_eq!(ours, sdk, "copy the SDK's data into src/iam/partitions.json");
        assert!(KNOWN.iter().all(|known| known.pattern.is_some()));
    }
}
