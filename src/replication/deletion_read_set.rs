//! Lists what a deletion reads from AWS.
//!
//! In: all that spec and status say a resource may have made, gathered by `controllers/bucket_replication/deletion.rs`.
//! Out: [`DeletionReadSet`], which the port to AWS takes.

use std::collections::BTreeSet;

use crate::replication::bucket::BucketAddress;
use crate::replication::read_set::BucketRef;
use crate::replication::resource_id::ResourceId;

/// Everything that may be left of a resource.
#[derive(Clone, Debug)]
pub struct DeletionReadSet {
    /// `None`: no bucket is known.
    pub source: Option<BucketRef>,
    /// Names of the roles that may be the resource's own.
    pub roles: BTreeSet<String>,
    /// Buckets whose policies may hold statements of the resource.
    pub bucket_policies: Vec<BucketAddress>,
    pub id: ResourceId,
}
