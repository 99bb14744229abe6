//! Answers of S3 with status 200 that lack what such an answer holds: none is read as "there is none".

use axum::Router;
use axum::body::Bytes;
use axum::http::Method;
use tokio::net::TcpListener;

use crate::aws::ResourceClients;
use crate::aws::read::calls::read_object_lock;
use crate::aws::read::canary::observe_for_canary;
use crate::aws::tests::stage::{connector, id};
use crate::replication::{Accounts, BucketAddress, FailureClass};

const ACCOUNT: &str = "111122223333";
const REGION: &str = "us-east-1";
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Clients of an S3 that answers every read with this body.
async fn clients(body: &str) -> ResourceClients {
    let identity = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{ACCOUNT}:root</Arn><UserId>{ACCOUNT}</UserId><Account>{ACCOUNT}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    );
    let body = body.to_owned();
    let answer = move |method: Method| {
        // STS is asked by a POST, and S3 by a GET.
        let answer = if method == Method::POST { identity.clone() } else { body.clone() };
        async move { Bytes::from(answer) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    connector(&url, ACCOUNT).connect(&Accounts::default(), &id()).await.unwrap()
}

#[tokio::test]
async fn an_answer_without_object_lock_in_it_does_not_mean_that_there_is_none() {
    let read =
        async |body: &str| read_object_lock(&clients(body).await.source, "orders", REGION, ACCOUNT).await;
    let enabled = format!(
        "<ObjectLockConfiguration xmlns=\"{NAMESPACE}\"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
    );
    assert_eq!(read(&enabled).await, Ok(true));
    let empty = format!("<ObjectLockConfiguration xmlns=\"{NAMESPACE}\"/>");
    for body in ["", "<VersioningConfiguration/>", "<html>a proxy's page</html>", &empty] {
        let failure = read(body).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Unavailable, "{body:?}: {failure:?}");
        assert!(failure.message().contains("ObjectLockConfiguration"), "{body:?}: {}", failure.message());
    }
}

/// A canary in a bucket with a default retention could be deleted by nobody.
#[tokio::test]
async fn an_incomplete_answer_about_a_bucket_permits_no_canary() {
    let bucket = BucketAddress {
        name: "orders".to_owned(),
        region: REGION.to_owned(),
        account_id: ACCOUNT.to_owned(),
        account_ref: None,
    };
    for body in ["", "<VersioningConfiguration/>", "<ObjectLockConfiguration/>"] {
        let facts = observe_for_canary(&clients(body).await, &bucket, &[]).await;
        let retention = facts.buckets["orders"].default_retention.clone().unwrap_err();
        assert!(retention.message().contains("ObjectLockConfiguration"), "{}", retention.message());
        let encryption = facts.encrypted.unwrap_err();
        let message = encryption.message();
        assert!(message.contains("ServerSideEncryptionConfiguration"), "{message}");
    }
}
