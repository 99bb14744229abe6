//! The operator as users meet it: a real API server, the operator as its own process, S3 and IAM over HTTP.
//! One module a feature; each test has a namespace, an AWS account and a proxy of its own.

mod founding;
mod support;
