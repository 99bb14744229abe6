//! The queue that events are read from, as its URL names it.
//!
//! In: the URL. Out: its Region, its account and its name, as far as the URL says them
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>).

use std::str::FromStr;

use crate::iam::partition::{Partition, is_host_of_aws, is_region};

/// An SQS queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQueue {
    pub url: String,
    /// `None`: the host names no Region of AWS. An emulator's URL is such a one.
    pub region: Option<String>,
    pub account: String,
    pub name: String,
}

impl EventQueue {
    /// The ARN of the queue; `home` is the Region of a queue whose URL names none.
    pub fn arn(&self, home: &str) -> String {
        let region = self.region.as_deref().unwrap_or(home);
        let partition = Partition::of_region(region).id();
        format!("arn:{partition}:sqs:{region}:{}:{}", self.account, self.name)
    }

    /// Scheme, host and port.
    pub fn endpoint(&self) -> &str {
        let path = self.url.len().saturating_sub(self.account.len() + self.name.len() + 2);
        self.url.get(..path).unwrap_or(&self.url)
    }
}

impl FromStr for EventQueue {
    type Err = String;

    fn from_str(url: &str) -> Result<EventQueue, String> {
        let url = url.trim();
        let invalid = || {
            format!(
                "{url} is no URL of an SQS queue, such as https://sqs.eu-west-1.amazonaws.com/111122223333/events"
            )
        };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let mut parts = rest.ok_or_else(invalid)?.split('/');
        let (Some(host), Some(account), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if name.ends_with(".fifo") {
            return Err(format!("{url} is a FIFO queue; events come in no order, so use a standard queue"));
        }
        if host.is_empty() || !is_account || !(1..=80).contains(&name.len()) || !name.chars().all(is_name) {
            return Err(invalid());
        }
        let (account, name) = (account.to_owned(), name.to_owned());
        Ok(EventQueue { url: url.to_owned(), region: region_of_host(host), account, name })
    }
}

/// The host that SQS had in us-east-1 before its hosts named a Region. Version 1 of the AWS CLI still prints it
/// (<https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>).
const FIRST_HOST: &str = "queue.amazonaws.com";

/// `sqs.REGION.amazonaws.com`, `sqs-fips.REGION…`, `REGION.queue.amazonaws.com`, `sqs.REGION.api.aws`, and interface
/// endpoints of a VPC: the Region is a label of the host.
fn region_of_host(host: &str) -> Option<String> {
    let name = host.split(':').next().unwrap_or_default();
    if name == FIRST_HOST {
        return Some("us-east-1".to_owned());
    }
    if !is_host_of_aws(name) {
        return None;
    }
    name.split('.').find(|label| is_region(label)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(host: &str) -> Option<String> {
        format!("https://{host}/111122223333/events").parse::<EventQueue>().unwrap().region
    }

    #[test]
    fn the_region_is_read_from_the_url_and_not_from_the_environment() {
        for host in [
            "sqs.eu-west-1.amazonaws.com",
            "sqs-fips.eu-west-1.amazonaws.com",
            "eu-west-1.queue.amazonaws.com",
            "sqs.eu-west-1.api.aws",
            "vpce-0a1b2c3d-x9.sqs.eu-west-1.vpce.amazonaws.com",
        ] {
            assert_eq!(region(host).as_deref(), Some("eu-west-1"), "{host}");
        }
        assert_eq!(region("sqs.cn-north-1.amazonaws.com.cn").as_deref(), Some("cn-north-1"));
        for host in ["queue.amazonaws.com", "us-east-1.queue.amazonaws.com"] {
            assert_eq!(region(host).as_deref(), Some("us-east-1"), "{host}");
        }
        assert_eq!(region("127.0.0.1:4566"), None);
        assert_eq!(region("eu-west-1.example.com"), None);
    }

    #[test]
    fn a_queue_of_any_partition_has_the_arn_of_its_own_region() {
        for (region, suffix, partition) in [
            ("eu-west-1", "amazonaws.com", "aws"),
            ("cn-north-1", "amazonaws.com.cn", "aws-cn"),
            ("us-gov-west-1", "amazonaws.com", "aws-us-gov"),
            ("eusc-de-east-1", "amazonaws.eu", "aws-eusc"),
            ("us-iso-east-1", "c2s.ic.gov", "aws-iso"),
            ("us-isob-east-1", "sc2s.sgov.gov", "aws-iso-b"),
            ("eu-isoe-west-1", "cloud.adc-e.uk", "aws-iso-e"),
            ("us-isof-south-1", "csp.hci.ic.gov", "aws-iso-f"),
        ] {
            let url = format!("https://sqs.{region}.{suffix}/111122223333/events");
            let queue: EventQueue = url.parse().unwrap();
            let arn = format!("arn:{partition}:sqs:{region}:111122223333:events");
            assert_eq!(queue.arn("us-east-1"), arn, "the Region of the environment does not count");
        }
    }

    #[test]
    fn a_queue_has_the_arn_and_the_endpoint_of_its_url() {
        let queue: EventQueue =
            "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/events".parse().unwrap();
        assert_eq!(queue.arn("us-east-1"), "arn:aws-cn:sqs:cn-north-1:111122223333:events");
        let local: EventQueue = "http://127.0.0.1:4566/111122223333/events".parse().unwrap();
        assert_eq!(local.arn("eu-west-1"), "arn:aws:sqs:eu-west-1:111122223333:events");
        assert_eq!(local.endpoint(), "http://127.0.0.1:4566");
    }

    #[test]
    fn a_url_of_no_queue_is_refused_with_an_example() {
        for url in [
            "",
            "events",
            "arn:aws:sqs:eu-west-1:111122223333:events",
            "https://sqs.eu-west-1.amazonaws.com/events",
            "https://sqs.eu-west-1.amazonaws.com/111122223333/events/more",
            "https://sqs.eu-west-1.amazonaws.com/111122223333/",
        ] {
            assert!(url.parse::<EventQueue>().unwrap_err().contains("such as https://sqs."), "{url}");
        }
        let fifo = "https://sqs.eu-west-1.amazonaws.com/111122223333/events.fifo".parse::<EventQueue>();
        assert!(fifo.unwrap_err().contains("FIFO"));
    }
}
