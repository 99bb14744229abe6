//! The only place that knows the AWS SDK: the life of an account (clients, sessions, limits, caches), reads into
//! [`crate::replication::Observed`], and the execution of steps.

mod account;
mod cloud;
mod connector;
mod convert;
mod error;
mod interceptor;
mod metrics;
mod read;
mod write;

pub use account::client::AwsClient;
pub use account::rate_limiter::Rates;
pub use connector::{AwsConnector, ResourceClients, Settings};
pub use metrics::Metrics;
pub use read::import::{Importable, buckets, importable};
pub use read::observe::observe;
pub use read::observe_for_deletion::remains;
pub use write::apply::apply;
