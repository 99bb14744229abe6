//! The only module that knows the AWS SDK.
//!
//! In: accounts, what to read, and what to write. Out: what AWS holds, such as [`crate::replication::Observed`], and
//! how each write ended. The life of an account (clients, sessions, limits, caches) is in `account/`, the calls are in
//! `read/` and `write/`.

mod account;
mod cloud;
mod connector;
pub mod convert;
pub mod error;
mod interceptor;
mod metrics;
mod queue;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use account::client::AwsClient;
pub use account::rate_limiter::Rates;
pub use connector::{AwsConnector, CallSettings, ResourceClients};
pub use metrics::AwsMetrics;
pub use read::bucket_policy::read_bucket_policy;
pub use read::calls::read_role_to_delete;
pub use read::import::{Importable, importable, versioning};
pub use read::jobs::{JobSearch, described_job};
pub use read::list::{ListedBucket, bucket_names, bucket_region, list_buckets, managed_roles};
pub use read::metrics::MetricPages;
pub use read::observe::observe;
pub use read::observe_for_deletion::observe_for_deletion;
pub use read::unknown_elements::unknown_elements;
pub use write::apply::apply;
pub use write::jobs::{created_job, job_input};
