//! The only place that knows the AWS SDK: clients, reads into [`crate::replication::Observed`], and the
//! execution of steps, one call each. No decision is taken here.

mod account;
mod apply;
mod breaker;
mod bucket_policy;
mod cache;
mod clients;
mod convert;
mod credentials;
mod error;
mod identities;
mod import;
mod limits;
mod locate;
mod meter;
mod metrics;
mod observe;
mod reads;
mod remains;
mod sessions;

pub use apply::apply;
pub use clients::Aws;
pub use identities::{Access, Identities, Settings};
pub use import::{Importable, buckets, importable};
pub use limits::Rates;
pub use metrics::Metrics;
pub use observe::observe;
pub use remains::remains;
