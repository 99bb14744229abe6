//! The endpoint of S3 Control, which makes the account a label of the host: `111122223333.s3-control.eu-west-1…`.
//!
//! In: the Region, the account, and the endpoint that the environment names (`AWS_ENDPOINT_URL`,
//! `AWS_ENDPOINT_URL_S3_CONTROL`). Out: the endpoint of a request. The SDK's own rules know partitions, FIPS and
//! dual-stack, and put the label before the host of a VPC endpoint too
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html>). Where the
//! environment names an address or this machine, there is no host to put a label before, and the account is in the
//! header `x-amz-account-id` alone.

use std::net::IpAddr;

use aws_sdk_s3control::config::endpoint::{
    DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint,
};
use aws_smithy_types::endpoint::EndpointAuthScheme;

/// Resolves the endpoint of a request to S3 Control.
#[derive(Debug, Default)]
pub struct ControlEndpoint(DefaultResolver);

impl ResolveEndpoint for ControlEndpoint {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        match params.endpoint().filter(|url| takes_no_label(url)) {
            None => ResolveEndpoint::resolve_endpoint(&self.0, params),
            Some(url) => {
                let scheme = EndpointAuthScheme::with_capacity("sigv4", 3)
                    .put("disableDoubleEncoding", true)
                    .put("signingName", "s3".to_owned())
                    .put("signingRegion", params.region().unwrap_or_default().to_owned());
                EndpointFuture::ready(Ok(Endpoint::builder().url(url.to_owned()).auth_scheme(scheme).build()))
            }
        }
    }
}

/// Whether the host of a URL is an address, or this machine.
fn takes_no_label(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn url(endpoint: Option<&str>, region: &str, fips: bool, dual_stack: bool) -> String {
        let params = Params::builder()
            .region(region.to_owned())
            .account_id("111122223333".to_owned())
            .requires_account_id(true)
            .use_fips(fips)
            .use_dual_stack(dual_stack)
            .set_endpoint(endpoint.map(str::to_owned))
            .build()
            .unwrap();
        let resolver = ControlEndpoint::default();
        ResolveEndpoint::resolve_endpoint(&resolver, &params).await.unwrap().url().to_owned()
    }

    #[tokio::test]
    async fn the_account_is_a_label_of_the_host_in_every_partition() {
        for (region, fips, dual_stack, expected) in [
            ("eu-west-1", false, false, "https://111122223333.s3-control.eu-west-1.amazonaws.com"),
            ("us-east-1", true, false, "https://111122223333.s3-control-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "https://111122223333.s3-control.dualstack.us-east-1.amazonaws.com"),
            (
                "us-east-1",
                true,
                true,
                "https://111122223333.s3-control-fips.dualstack.us-east-1.amazonaws.com",
            ),
            ("cn-north-1", false, false, "https://111122223333.s3-control.cn-north-1.amazonaws.com.cn"),
            (
                "us-gov-west-1",
                true,
                false,
                "https://111122223333.s3-control-fips.us-gov-west-1.amazonaws.com",
            ),
            ("us-iso-east-1", false, false, "https://111122223333.s3-control.us-iso-east-1.c2s.ic.gov"),
        ] {
            assert_eq!(url(None, region, fips, dual_stack).await, expected);
        }
    }

    #[tokio::test]
    async fn a_vpc_endpoint_takes_the_label_and_an_address_takes_none() {
        let vpc = "https://control.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com";
        let labelled = "https://111122223333.control.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com";
        assert_eq!(url(Some(vpc), "us-east-1", false, false).await, labelled);
        for address in ["http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566"] {
            assert_eq!(url(Some(address), "us-east-1", false, false).await, address);
        }
    }
}
