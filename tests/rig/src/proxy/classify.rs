//! Derives the AWS operation and its subject from an HTTP request.

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The operation of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The name that AWS gives it, for example `PutBucketReplication`.
    pub name: String,
    /// The bucket or the role.
    pub subject: String,
}

/// The credential scope of a request's SigV4 signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The access key id.
    pub access_key: String,
    /// The Region that the request was signed for.
    pub region: String,
    /// The service that the request was signed for.
    pub service: String,
}

/// The names in the query of S3's sub-resources of a bucket, and the operations on them without their verb.
const BUCKET_PARTS: [(&str, &str); 17] = [
    ("versioning", "BucketVersioning"),
    ("replication", "BucketReplication"),
    ("location", "BucketLocation"),
    ("policy", "BucketPolicy"),
    ("policyStatus", "BucketPolicyStatus"),
    ("tagging", "BucketTagging"),
    ("lifecycle", "BucketLifecycleConfiguration"),
    ("encryption", "BucketEncryption"),
    ("acl", "BucketAcl"),
    ("cors", "BucketCors"),
    ("notification", "BucketNotificationConfiguration"),
    ("object-lock", "ObjectLockConfiguration"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("publicAccessBlock", "PublicAccessBlock"),
    ("logging", "BucketLogging"),
    ("metrics", "BucketMetricsConfiguration"),
    ("website", "BucketWebsite"),
];

/// The same for objects.
const OBJECT_PARTS: [(&str, &str); 5] = [
    ("tagging", "ObjectTagging"),
    ("acl", "ObjectAcl"),
    ("retention", "ObjectRetention"),
    ("legal-hold", "ObjectLegalHold"),
    ("attributes", "ObjectAttributes"),
];

/// The parameters of IAM, STS and SQS that name the subject of a request. The first one that is present counts.
const SUBJECTS: [&str; 6] = ["RoleName", "UserName", "RoleArn", "PolicyArn", "PolicyName", "QueueName"];

/// Names the operation.
pub fn operation(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Operation {
    if let Some(target) = header(headers, "x-amz-target") {
        let name = target.rsplit('.').next().unwrap_or(target);
        let parameters: Value = serde_json::from_slice(body).unwrap_or_default();
        // Of KMS the key, of SQS the name of the queue.
        let queue = parameters["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
        let subject = parameters["KeyId"].as_str().or(queue).unwrap_or_default();
        return Operation { name: name.to_owned(), subject: subject.to_owned() };
    }
    if let Some(name) = cbor_protocol(uri, headers) {
        return Operation { name, subject: String::new() };
    }
    if is_s3_control(uri) {
        return s3_control(method, uri, headers);
    }
    query_protocol(method, uri, headers, body).unwrap_or_else(|| s3(method, uri, headers))
}

/// Whether a request is for S3 Control, which is signed for S3 and has errors of its own form.
pub fn is_s3_control(uri: &Uri) -> bool {
    uri.path().starts_with("/v20180820/")
}

/// The operations on jobs; the subject is the job, or the account.
fn s3_control(method: &Method, uri: &Uri, headers: &HeaderMap) -> Operation {
    let path = uri.path().trim_start_matches("/v20180820/").trim_start_matches("jobs").trim_matches('/');
    let (job, part) = path.split_once('/').unwrap_or((path, ""));
    let name = match (method.as_str(), job.is_empty(), part) {
        ("POST", true, "") => "CreateJob",
        ("GET", true, "") => "ListJobs",
        ("GET", false, "") => "DescribeJob",
        ("POST", false, "status") => "UpdateJobStatus",
        _ => "Unknown",
    };
    let account = || header(headers, "x-amz-account-id").unwrap_or_default().to_owned();
    Operation { name: name.to_owned(), subject: if job.is_empty() { account() } else { job.to_owned() } }
}

/// Whether an operation changes something in AWS, by its name.
pub fn is_write(operation: &str) -> bool {
    const READS: [&str; 5] = ["Get", "Head", "List", "Describe", "AssumeRole"];
    !READS.iter().any(|read| operation.starts_with(read))
}

/// Reads the credential scope from the `Authorization` header. All parts are empty if the request has none.
pub fn scope(headers: &HeaderMap) -> Scope {
    let parts = header(headers, "authorization")
        .and_then(|value| value.split_once("Credential="))
        .map(|(_, rest)| rest.split(',').next().unwrap_or(rest))
        .map(|credential| credential.split('/').collect::<Vec<_>>())
        .unwrap_or_default();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    Scope { access_key: part(0), region: part(2), service: part(3) }
}

/// The CBOR protocol of CloudWatch, in which the operation is part of the path
/// (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>).
fn cbor_protocol(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    header(headers, "smithy-protocol")?;
    let (_, operation) = uri.path().strip_prefix("/service/")?.split_once("/operation/")?;
    Some(operation.to_owned())
}

/// The form-encoded protocol of IAM, STS and others, in which the operation is a parameter.
fn query_protocol(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Option<Operation> {
    if uri.path() != "/" {
        return None;
    }
    let form = header(headers, "content-type").is_some_and(|t| t.contains("form-urlencoded"));
    let text = match *method {
        Method::POST if form => body,
        _ => uri.query()?.as_bytes(),
    };
    let parameters: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().collect();
    let find = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    Some(Operation {
        name: find("Action")?,
        subject: SUBJECTS.iter().find_map(|s| find(s)).unwrap_or_default(),
    })
}

fn s3(method: &Method, uri: &Uri, headers: &HeaderMap) -> Operation {
    let (bucket, key) = bucket_and_key(uri, headers);
    let query: Vec<(String, String)> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let has = |name: &str| query.iter().any(|(key, _)| key == name);
    let name = if bucket.is_empty() {
        "ListBuckets".to_owned()
    } else if key.is_empty() {
        on_bucket(method, has)
    } else {
        on_object(method, has, headers.contains_key("x-amz-copy-source"))
    };
    Operation { name, subject: bucket }
}

fn on_bucket(method: &Method, has: impl Fn(&str) -> bool) -> String {
    if let Some((_, part)) = BUCKET_PARTS.iter().find(|(name, _)| has(name)) {
        return format!("{}{part}", verb(method));
    }
    match *method {
        Method::GET if has("versions") => "ListObjectVersions",
        Method::GET if has("uploads") => "ListMultipartUploads",
        Method::GET if has("session") => "CreateSession",
        Method::GET if has("list-type") => "ListObjectsV2",
        Method::GET => "ListObjects",
        Method::HEAD => "HeadBucket",
        Method::PUT => "CreateBucket",
        Method::DELETE => "DeleteBucket",
        Method::POST if has("delete") => "DeleteObjects",
        _ => "Unknown",
    }
    .to_owned()
}

fn on_object(method: &Method, has: impl Fn(&str) -> bool, copies: bool) -> String {
    if let Some((_, part)) = OBJECT_PARTS.iter().find(|(name, _)| has(name)) {
        return format!("{}{part}", verb(method));
    }
    match *method {
        Method::GET if has("uploadId") => "ListParts",
        Method::GET => "GetObject",
        Method::HEAD => "HeadObject",
        Method::PUT if has("partNumber") => "UploadPart",
        Method::PUT if copies => "CopyObject",
        Method::PUT => "PutObject",
        Method::POST if has("uploads") => "CreateMultipartUpload",
        Method::POST if has("uploadId") => "CompleteMultipartUpload",
        Method::DELETE if has("uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        _ => "Unknown",
    }
    .to_owned()
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::PUT | Method::POST => "Put",
        Method::DELETE => "Delete",
        _ => "Get",
    }
}

/// Reads both `http://host/bucket/key` and `http://bucket.localhost/key`.
fn bucket_and_key(uri: &Uri, headers: &HeaderMap) -> (String, String) {
    let path = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy();
    let host = header(headers, "host").unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let virtual_bucket = name
        .strip_suffix(".localhost")
        .map(|bucket| bucket.split_once(".s3").map_or(bucket, |(bucket, _)| bucket))
        .filter(|bucket| !bucket.is_empty() && *bucket != "s3");
    match virtual_bucket {
        Some(bucket) => (bucket.to_owned(), path.into_owned()),
        None => match path.split_once('/') {
            Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
            None => (path.into_owned(), String::new()),
        },
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> (String, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let found = operation(&method.parse().unwrap(), &uri.parse().unwrap(), &map, body.as_bytes());
        (found.name, found.subject)
    }

    fn pair(name: &str, subject: &str) -> (String, String) {
        (name.to_owned(), subject.to_owned())
    }

    #[test]
    fn s3_operations_are_distinguished_by_method_path_and_query() {
        for (method, uri, expected) in [
            ("HEAD", "/b", "HeadBucket"),
            ("PUT", "/b", "CreateBucket"),
            ("PUT", "/b/", "CreateBucket"),
            ("DELETE", "/b", "DeleteBucket"),
            ("GET", "/b?versioning", "GetBucketVersioning"),
            ("PUT", "/b?versioning=", "PutBucketVersioning"),
            ("GET", "/b?replication", "GetBucketReplication"),
            ("PUT", "/b?replication", "PutBucketReplication"),
            ("DELETE", "/b?replication", "DeleteBucketReplication"),
            ("GET", "/b?location", "GetBucketLocation"),
            ("GET", "/b?policy", "GetBucketPolicy"),
            ("PUT", "/b?policy", "PutBucketPolicy"),
            ("DELETE", "/b?policy", "DeleteBucketPolicy"),
            ("GET", "/b?object-lock", "GetObjectLockConfiguration"),
            ("GET", "/b?list-type=2&prefix=x", "ListObjectsV2"),
            ("GET", "/b", "ListObjects"),
            ("GET", "/b?versions", "ListObjectVersions"),
            ("PUT", "/b/k?x-id=PutObject", "PutObject"),
            ("GET", "/b/a/k", "GetObject"),
            ("HEAD", "/b/k", "HeadObject"),
            ("GET", "/b/k?tagging", "GetObjectTagging"),
            ("DELETE", "/b/k", "DeleteObject"),
        ] {
            assert_eq!(named(method, uri, &[], ""), pair(expected, "b"), "{method} {uri}");
        }
        assert_eq!(named("GET", "/", &[], ""), pair("ListBuckets", ""));
    }

    #[test]
    fn jobs_are_distinguished_by_method_and_path() {
        let account = [("x-amz-account-id", "111122223333")];
        for (method, uri, expected) in [
            ("POST", "/v20180820/jobs", pair("CreateJob", "111122223333")),
            ("GET", "/v20180820/jobs?maxResults=1000", pair("ListJobs", "111122223333")),
            ("GET", "/v20180820/jobs/j-1", pair("DescribeJob", "j-1")),
            (
                "POST",
                "/v20180820/jobs/j-1/status?requestedJobStatus=Cancelled",
                pair("UpdateJobStatus", "j-1"),
            ),
        ] {
            assert_eq!(named(method, uri, &account, ""), expected, "{method} {uri}");
        }
        assert!(is_write("CreateJob") && is_write("UpdateJobStatus") && !is_write("ListJobs"));
    }

    #[test]
    fn a_bucket_in_the_host_name_is_understood() {
        let host = [("host", "b.localhost:4566")];
        assert_eq!(named("GET", "/?policy", &host, ""), pair("GetBucketPolicy", "b"));
        assert_eq!(named("GET", "/k/l", &host, ""), pair("GetObject", "b"));
        let host = [("host", "b.s3.eu-west-1.localhost:4566")];
        assert_eq!(named("HEAD", "/", &host, ""), pair("HeadBucket", "b"));
        let host = [("host", "localhost:4566")];
        assert_eq!(named("HEAD", "/b", &host, ""), pair("HeadBucket", "b"));
    }

    #[test]
    fn iam_and_sts_operations_are_distinguished_by_the_form() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = "Action=PutRolePolicy&Version=2010-05-08&RoleName=my%2Drole&PolicyName=p";
        assert_eq!(named("POST", "/", &form, body), pair("PutRolePolicy", "my-role"));
        let body = "Action=GetCallerIdentity&Version=2011-06-15";
        assert_eq!(named("POST", "/", &form, body), pair("GetCallerIdentity", ""));
    }

    #[test]
    fn the_json_protocol_names_it_in_a_header() {
        let target = [("x-amz-target", "TrentService.DescribeKey")];
        assert_eq!(named("POST", "/", &target, "{}"), pair("DescribeKey", ""));
        assert_eq!(named("POST", "/", &target, r#"{"KeyId": "k"}"#), pair("DescribeKey", "k"));
    }

    #[test]
    fn the_cbor_protocol_names_it_in_the_path() {
        let uri = "/service/GraniteServiceVersion20100801/operation/GetMetricData";
        let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
        assert_eq!(named("POST", uri, &headers, ""), pair("GetMetricData", ""));
    }

    #[test]
    fn the_scope_names_account_region_and_service() {
        let mut headers = HeaderMap::new();
        let value = "AWS4-HMAC-SHA256 Credential=111122223333/20261123/eu-west-1/s3/aws4_request, \
                     SignedHeaders=host, Signature=00";
        headers.insert("authorization", value.parse().unwrap());
        let found = scope(&headers);
        assert_eq!(found.access_key, "111122223333");
        assert_eq!((found.region.as_str(), found.service.as_str()), ("eu-west-1", "s3"));
        assert_eq!(scope(&HeaderMap::new()), Scope::default());
    }
}
