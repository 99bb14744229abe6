//! The only place that knows the AWS SDK: clients, reads into [`crate::replication::Observed`], and the
//! execution of steps, one call each. No decision is taken here.

mod apply;
mod cache;
mod clients;
mod convert;
mod error;
mod import;
mod limits;
mod locate;
mod meter;
mod metrics;
mod observe;
mod reads;
mod remains;

pub use apply::apply;
pub use clients::{Aws, Settings};
pub use import::{Importable, buckets, importable};
pub use limits::Rates;
pub use metrics::Metrics;
pub use observe::observe;
pub use remains::remains;
