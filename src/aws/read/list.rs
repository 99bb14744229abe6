//! Reads everything of one kind that an account holds: its buckets with their replication configurations, and the roles
//! that operators manage.
//!
//! In: a client. Out: what there is, in the order of names; a bucket that cannot be read is there with its failure. The
//! command line alone reads so much: the operator never lists.

use futures::{StreamExt, TryStreamExt, stream};

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::read::calls::{read_role, read_role_to_delete};
use crate::aws::read::import::{Importable, importable};
use crate::aws::read::locate::locate;
use crate::replication::observed::Read;
use crate::replication::{BucketRef, ObservedRole, ResourceId};

/// Calls that are under way at the same time. The rate limits of the account apply besides.
const CONCURRENCY: usize = 16;

/// A bucket of an account.
#[derive(Clone, Debug)]
pub struct ListedBucket {
    pub name: String,
    /// Its replication configuration; `None` where it has none.
    pub configuration: Read<Option<Importable>>,
}

/// The names of the account's own buckets, in their order.
///
/// # Errors
/// AWS's answer, classified.
pub async fn bucket_names(aws: &AwsClient) -> Read<Vec<String>> {
    let mut names = Vec::new();
    let mut from = None;
    loop {
        let request = aws.s3(aws.home()).list_buckets().set_continuation_token(from);
        let operation = Operation::s3_read(aws.home(), "s3:ListAllMyBuckets", "the account");
        let page = aws.call(operation, request.send()).await?;
        names.extend(page.buckets().iter().filter_map(|b| b.name().map(str::to_owned)));
        from = page.continuation_token().map(str::to_owned);
        if from.is_none() {
            names.sort();
            return Ok(names);
        }
    }
}

/// The Region of a bucket of the account; `None`: there is no such bucket.
///
/// # Errors
/// AWS's answer, classified.
pub async fn bucket_region(aws: &AwsClient, bucket: &str) -> Read<Option<String>> {
    let located = locate(aws, &aws.caller(), &BucketRef::named(bucket)).await?;
    Ok(located.map(|location| location.region))
}

/// Every bucket of the account with its replication configuration. `count` is called with how many of how many are read.
///
/// # Errors
/// When the buckets cannot be listed.
pub async fn list_buckets(aws: &AwsClient, mut count: impl FnMut(usize, usize)) -> Read<Vec<ListedBucket>> {
    let names = bucket_names(aws).await?;
    let (mut done, all) = (0, names.len());
    count(done, all);
    let reads = stream::iter(names).map(|name| async move {
        let configuration = importable(aws, &name).await;
        ListedBucket { name, configuration }
    });
    let counted = reads.buffered(CONCURRENCY).inspect(|_| {
        done += 1;
        count(done, all);
    });
    Ok(counted.collect().await)
}

/// The roles below a path whose tags name a resource and its cluster, with everything that keeps IAM from deleting them;
/// and, without that, the roles that have only some of these tags.
///
/// # Errors
/// AWS's answer, classified.
pub async fn managed_roles(aws: &AwsClient, path: &str) -> Read<Vec<ObservedRole>> {
    let mut names = Vec::new();
    let mut from = None;
    loop {
        let request = aws.iam().list_roles().path_prefix(path).set_marker(from);
        let page = aws.call(Operation::iam_read("iam:ListRoles", path), request.send()).await?;
        names.extend(page.roles().iter().map(|role| role.role_name().to_owned()));
        from = page.marker().filter(|_| page.is_truncated()).map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    names.sort();
    let reads = stream::iter(names).map(|name| async move {
        // The list holds no tags.
        let Some(role) = read_role(aws, &name).await? else { return Ok(None) };
        match ResourceId::of_tags(&role.tags) {
            Some(id) => read_role_to_delete(aws, &name, &id).await,
            // Some of its tags are there: whose it is must be decided by a person.
            None => Ok(ResourceId::missing_tags(&role.tags).map(|_| role)),
        }
    });
    reads.buffered(CONCURRENCY).try_filter_map(|role| async move { Ok(role) }).try_collect().await
}
