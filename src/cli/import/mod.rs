//! `import`: prints a resource for a bucket that replicates already.
//!
//! In: a bucket as S3 holds it, or all buckets of an account without those that a resource of the cluster is about. Out: a
//! `BucketReplication` on which `plan` finds nothing to change, or the part of the bucket's configuration that a spec cannot
//! express. The translation is in `replication/import/`.

mod directory;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, ValueHint};
use futures::{StreamExt, stream};
use kube::core::ObjectMeta;
use serde_json::json;

use crate::api::{
    AdoptionPolicy, AwsAccount, BucketReplication, BucketReplicationSpec, BucketReplicationStatus,
    DEFAULT_ACCOUNT, ReplicationRule,
};
use crate::aws::{self, AwsClient, AwsConnector, Importable, ListedBucket};
use crate::cli::account_lookup::AccountLookup;
use crate::cli::aws_args::AwsArgs;
use crate::cli::aws_failure::explain;
use crate::cli::counted::counted;
use crate::cli::import::directory::{
    DirectoryError, Imported, ImportedAccount, NOT_ASKED, NotTaken, has_file,
};
use crate::cli::kubernetes::{ClusterArgs, FoundObject, KubeArgs, KubernetesError, ScopeArgs};
use crate::cli::manifests::{Manifests, resource_id};
use crate::cli::output::complain;
use crate::cli::progress::{ProgressLine, counts};
use crate::cli::status::WRONG;
use crate::cli::{CliError, write};
use crate::iam::arn::{bucket_of_arn, role_of_arn};
use crate::replication::authorize::refusals_in_any_namespace;
use crate::replication::import::{
    self, Inexpressible, NotVersioned, ReplicatingBucket, fields_of, resource_name,
};
use crate::replication::observed::Read;
use crate::replication::{
    Account, Accounts, BucketRef, FailureClass, Plan, ReadSet, Replication, ResourceId, VersioningStatus,
    assess,
};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("buckets").required(true).args(["bucket", "all"])))]
pub struct ImportArgs {
    /// The source bucket
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    bucket: Option<String>,
    /// All buckets of the account that replicate, without those that a BucketReplication of the cluster is about
    #[arg(long)]
    all: bool,
    /// Write a file for each bucket into this directory, and an index of what was taken and what was not
    #[arg(long, value_name = "DIRECTORY", requires = "all", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
    /// Replace files in the directory that differ
    #[arg(long, requires = "output_dir")]
    force: bool,
    /// AwsAccount whose AWS identity to use, by its name or account id, and which the resources name; absent: the AWS identity of the environment, and with --all what the AwsAccount default of the cluster allows
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    account: Option<String>,
    /// File with the AwsAccount; absent: read from the cluster
    #[arg(short = 'f', long = "filename", value_name = "FILE", requires = "account")]
    filenames: Vec<String>,
    /// Namespace of the printed resources
    #[arg(long, short, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    aws: AwsArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("bucket {0} has no replication configuration")]
    NotReplicating(String),
    #[error("bucket {bucket}: {source}")]
    Inexpressible {
        bucket: String,
        #[source]
        source: Inexpressible,
    },
    #[error(
        "bucket {bucket}: its replication configuration holds {elements}, which this version does not know and which a BucketReplication would remove; remove it first, or use a newer version"
    )]
    UnknownElements { bucket: String, elements: String },
    #[error("bucket {bucket}: {source}")]
    NotVersioned {
        bucket: String,
        #[source]
        source: NotVersioned,
    },
    #[error("bucket {bucket}: it is unknown whether {other} ({fields}) is versioned: {why}")]
    VersioningUnknown { bucket: String, other: String, fields: String, why: String },
    #[error("bucket {bucket}: the operator would refuse a BucketReplication for it: {}", .why.join("; also: "))]
    Refused { bucket: String, why: Vec<String> },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl ImportError {
    /// Whether the command has done its work, and found a bucket that cannot be imported as it is, or of which something
    /// is unknown.
    pub fn is_finding(&self) -> bool {
        match self {
            ImportError::Inexpressible { .. }
            | ImportError::UnknownElements { .. }
            | ImportError::NotVersioned { .. }
            | ImportError::VersioningUnknown { .. }
            | ImportError::Refused { .. } => true,
            ImportError::NotReplicating(_) | ImportError::Directory(_) => false,
        }
    }
}

pub async fn import(args: ImportArgs) -> Result<ExitCode, CliError> {
    let connector = AwsConnector::from_env(args.aws.settings(), aws::AwsMetrics::default()).await;
    let account = match &args.account {
        Some(name) => Some(account_for(name, &args).await?),
        None => None,
    };
    let aws = match &account {
        Some(account) => connector.client_in(account, &ResourceId::of_account(&account.name)).await?,
        None => connector.ambient().await?,
    };
    let owners = if args.all { Some(read_owners(&args.cluster).await) } else { None };
    let applied = match (&account, &owners) {
        (None, Some(Ok(owners))) if owners.has_default_account() => default_account(&args).await,
        _ => account.clone(),
    };
    let only_source = |source| Accounts { source, ..Accounts::default() };
    let (accounts, applied) = (only_source(account), only_source(applied));
    let target = ManifestTarget {
        accounts: &accounts,
        applied: &applied,
        account_id: &aws.caller().account,
        namespace: &args.namespace,
        connector: &connector,
        directory: args.output_dir.as_deref(),
        owners: owners.as_ref().and_then(|asked| asked.as_ref().ok()),
    };
    if let Some(bucket) = &args.bucket {
        let found = aws::importable(&aws, bucket).await?;
        let found = found.ok_or_else(|| ImportError::NotReplicating(bucket.clone()))?;
        let known = versionings(&aws, buckets_of(bucket, &found)).await;
        write(&manifest(bucket, &found, &known, &target).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let imported = import_all(&aws, &target).await?;
    match &owners {
        Some(Err(why)) => complain(&format!("note: {NOT_ASKED} {why}")),
        Some(Ok(owners)) => {
            let takes_any = imported.buckets.iter().any(|bucket| bucket.manifest.is_ok());
            if let Some(note) = owners.without_account(&aws.caller().account)
                && args.account.is_none()
                && takes_any
            {
                complain(&note);
            }
            for odd in &owners.unclear {
                complain(&format!(
                    "note: this version cannot decode BucketReplication {odd}, which may be about one of these buckets"
                ));
            }
        }
        None => {}
    }
    if let Some(directory) = &args.output_dir {
        let written = directory::write(directory, &aws.caller().account, &imported, args.force);
        let written = written.map_err(ImportError::from)?;
        write(&written.text())?;
        return Ok(if written.is_wrong() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS });
    }
    if imported.buckets.is_empty() {
        complain(&format!("note: no bucket of account {} replicates", aws.caller().account));
    }
    // Print the buckets that can be imported and report the others: one odd bucket must not hide the rest.
    let mut code = ExitCode::SUCCESS;
    for Imported { bucket, manifest } in imported.buckets {
        match manifest {
            Ok(text) => write(&format!("---\n{text}"))?,
            Err(NotTaken::HasResource(resource)) => {
                complain(&format!(
                    "note: bucket {bucket} is left out: BucketReplication {resource} is about it"
                ));
            }
            Err(NotTaken::Refused(why)) => {
                code = ExitCode::from(WRONG);
                complain(&format!("error: {why}"));
            }
        }
    }
    Ok(code)
}

/// An `AwsAccount` by its name, and a note if the namespace may not use it.
async fn account_for(name: &str, args: &ImportArgs) -> Result<Account, CliError> {
    let manifests = Manifests::read(&args.filenames)?;
    let mut lookup = AccountLookup::new(&manifests, &args.cluster);
    let account = lookup.account(name).await?;
    // The namespace may be a placeholder, so that this keeps nobody from a manifest.
    if let Some(refusal) = lookup.namespace_refusal(&account, &args.namespace).await {
        complain(&format!("note: {}, or name another namespace by -n", refusal.message));
    }
    Ok(account)
}

/// The `AwsAccount` that the operator applies to resources that name none. `None`: it cannot be read, which is noted.
async fn default_account(args: &ImportArgs) -> Option<Account> {
    let found = account_for(DEFAULT_ACCOUNT, args).await;
    found.inspect_err(|error| complain(&format!("note: {error}"))).ok()
}

/// Calls that are under way at the same time. The rate limits of the account apply besides.
const CONCURRENCY: usize = 16;

/// The account, namespace and directory of the manifests, and the connections with which the command tries them.
struct ManifestTarget<'a> {
    /// The `AwsAccount` that the resources name, if one was asked for.
    accounts: &'a Accounts,
    /// The `AwsAccount` that decides what the resources may do: the one above, or the default one of the cluster.
    applied: &'a Accounts,
    /// The account of the buckets.
    account_id: &'a str,
    namespace: &'a str,
    connector: &'a AwsConnector,
    /// The directory of the files.
    directory: Option<&'a Path>,
    /// The buckets that have a resource; `None`: no cluster was asked.
    owners: Option<&'a ManagedSources>,
}

impl ManifestTarget<'_> {
    /// The resource that is about a bucket already. One that was made from the file of an earlier run is no reason to leave
    /// that file out.
    fn owner_of(&self, bucket: &str) -> Option<&str> {
        let owner = self.owners?.by_bucket.get(bucket)?;
        let is_of_file = *owner == format!("{}/{}", self.namespace, resource_name(bucket))
            && self.directory.is_some_and(|directory| has_file(directory, bucket));
        (!is_of_file).then_some(owner)
    }
}

/// The source buckets of the resources of a cluster.
#[derive(Debug, Default, PartialEq, Eq)]
struct ManagedSources {
    /// The oldest resource that is about each, as `NAMESPACE/NAME`.
    by_bucket: BTreeMap<String, String>,
    /// Resources of another version, whose source is not known.
    unclear: Vec<String>,
    /// The `AwsAccount`s, as far as the user may list them: the name, and the account id where this version can decode it.
    accounts: Vec<(String, Option<String>)>,
}

impl ManagedSources {
    fn has_default_account(&self) -> bool {
        self.accounts.iter().any(|(name, _)| name == DEFAULT_ACCOUNT)
    }

    /// A note where no `AwsAccount` was asked for, the cluster has some, and none is the default one: the operator refuses
    /// resources that name none.
    fn without_account(&self, account_id: &str) -> Option<String> {
        let all = &self.accounts;
        let is_of_account = |held: &&(String, Option<String>)| held.1.as_deref() == Some(account_id);
        let (name, _) =
            all.iter().find(is_of_account).or(all.first()).filter(|_| !self.has_default_account())?;
        Some(format!(
            "note: the cluster has AwsAccounts and none named {DEFAULT_ACCOUNT}, so that the operator refuses resources that name none: --account {name} imports what it allows, and names it"
        ))
    }

    fn of(mut found: Vec<FoundObject<BucketReplication>>) -> ManagedSources {
        let full_name = |metadata: &ObjectMeta| {
            let text = |name: &Option<String>| name.clone().unwrap_or_default();
            format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
        };
        found.sort_by_cached_key(|one| {
            let created = one.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, full_name(&one.metadata))
        });
        let mut owners = ManagedSources::default();
        for FoundObject { metadata, object } in found {
            let source = match &object {
                Ok(resource) => Some(resource.spec.source.bucket.as_str()),
                Err(odd) => odd.source(),
            };
            match source {
                Some(bucket) => {
                    owners.by_bucket.entry(bucket.to_owned()).or_insert_with(|| full_name(&metadata));
                }
                None => owners.unclear.push(full_name(&metadata)),
            }
        }
        owners
    }
}

/// Asks the cluster for its resources.
///
/// # Errors
/// Why it was not asked or did not answer: an import needs no cluster.
async fn read_owners(cluster: &ClusterArgs) -> Result<ManagedSources, KubernetesError> {
    let kubernetes = KubeArgs { cluster: cluster.clone(), namespace: None }.connect().await?;
    let (found, _) = kubernetes.list(&ScopeArgs::everywhere()).await?;
    // A user who may not list them is refused later, by the operator, and with the reason.
    let held = kubernetes.accounts().await.unwrap_or_default();
    let known = |account: FoundObject<AwsAccount>| {
        let id = account.object.ok().map(|account| account.spec.account_id);
        Some((account.metadata.name?, id))
    };
    let accounts = held.into_iter().filter_map(known).collect();
    Ok(ManagedSources { accounts, ..ManagedSources::of(found) })
}

/// The versioning of buckets by their names; `None`: there is no such bucket.
type Versionings = BTreeMap<String, Read<Option<VersioningStatus>>>;

/// Every bucket of the account that replicates, in the order of names.
async fn import_all(aws: &AwsClient, target: &ManifestTarget<'_>) -> Result<ImportedAccount, CliError> {
    let account = format!("account {}", aws.caller().account);
    let mut progress = ProgressLine::new();
    let step = format!("reading the buckets of {account}");
    progress.show(&step, &format!("{step} …"));
    let held = aws::list_buckets(aws, |done, all| {
        progress.count(done, all, |count| format!("read {count} of {} of {account}", counted(all, "bucket")));
    });
    let held = held.await?;
    let found =
        held.iter().filter_map(|held| Some((&held.name, held.configuration.as_ref().ok()?.as_ref()?)));
    let buckets: Vec<BucketRef> = found.flat_map(|(name, found)| buckets_of(name, found)).collect();
    let step = format!("reading the versioning of the buckets that replicate in {account}");
    progress.show(&step, &format!("{step} …"));
    let known = &versionings(aws, buckets).await;
    let all = held.len();
    let mut planned = 0;
    let imported = stream::iter(held).map(|ListedBucket { name: bucket, configuration }| async move {
        let manifest = match (configuration, target.owner_of(&bucket)) {
            (Ok(None), _) => return None,
            (_, Some(owner)) => Err(NotTaken::HasResource(owner.to_owned())),
            (Ok(Some(found)), None) => {
                let made = manifest(&bucket, &found, known, target).await;
                made.map_err(|error| NotTaken::Refused(error.to_string()))
            }
            // Whether it replicates is unknown, and that is never silent.
            (Err(failure), None) => Err(NotTaken::Refused(explain(&failure))),
        };
        Some(Imported { bucket, manifest })
    });
    let reported = imported.buffered(CONCURRENCY).inspect(|_| {
        planned += 1;
        let [lasting, moment] = progress_of(planned, all).map(|count| format!("{count} of {account}"));
        progress.show(&lasting, &moment);
    });
    let buckets = reported.filter_map(std::future::ready).collect().await;
    Ok(ImportedAccount { buckets, is_cluster_asked: target.owners.is_some() })
}

/// The number of buckets that are planned so far: one line that stays for each tenth of them, and the present count.
fn progress_of(planned: usize, all: usize) -> [String; 2] {
    counts(planned, all).map(|count| format!("planned {count} of {}", counted(all, "bucket")))
}

/// The buckets that a configuration is about: the source, and the destinations of its rules.
fn buckets_of(bucket: &str, found: &Importable) -> Vec<BucketRef> {
    let source = BucketRef { region: Some(found.region.clone()), ..BucketRef::named(bucket) };
    let destinations = found.configuration.rules.values().map(|rule| BucketRef {
        account_id: rule.destination.account.clone(),
        ..BucketRef::named(bucket_of_arn(&rule.destination.bucket))
    });
    std::iter::once(source).chain(destinations).collect()
}

/// Reads the versioning of buckets, of each once.
async fn versionings(aws: &AwsClient, buckets: Vec<BucketRef>) -> Versionings {
    let by_name: BTreeMap<String, BucketRef> =
        buckets.into_iter().map(|bucket| (bucket.name.clone(), bucket)).collect();
    let reads = stream::iter(by_name).map(|(name, bucket)| async move {
        let held = aws::versioning(aws, &bucket).await;
        (name, held)
    });
    reads.buffered(CONCURRENCY).collect().await
}

/// Has the operator write no versioning. That of a bucket that these credentials may not read is only checked.
fn leave_versioning(
    bucket: &str,
    spec: &mut BucketReplicationSpec,
    versionings: &Versionings,
) -> Result<(), ImportError> {
    let mut held = BTreeMap::new();
    let destinations = spec.rules.iter().map(|rule| &rule.destination.bucket);
    for other in destinations.chain([&spec.source.bucket]) {
        match versionings.get(other) {
            Some(Ok(Some(status))) => drop(held.insert(other.clone(), *status)),
            Some(Err(failure)) if !is_lasting(failure.class) => {
                let fields = fields_of(spec, other);
                let (bucket, other) = (bucket.to_owned(), other.clone());
                return Err(ImportError::VersioningUnknown { bucket, other, fields, why: explain(failure) });
            }
            _ => {}
        }
    }
    let left = import::leave_versioning(spec, &held);
    left.map_err(|source| ImportError::NotVersioned { bucket: bucket.to_owned(), source })
}

/// Whether the next try would fail likewise, because these credentials are not let in.
fn is_lasting(class: FailureClass) -> bool {
    matches!(class, FailureClass::Denied | FailureClass::WrongOwner | FailureClass::NoSuchBucket)
}

/// The manifest of a bucket, on which `plan` finds nothing.
async fn manifest(
    bucket: &str,
    found: &Importable,
    versionings: &Versionings,
    target: &ManifestTarget<'_>,
) -> Result<String, CliError> {
    let resource = resource_for(bucket, found, versionings, target)?;
    require_accepted(bucket, &resource, target).await?;
    text(bucket, found, &resource)
}

/// Plans the resource as the operator would: what a configuration refers to may be gone by now, a destination or the role for
/// example, and the `AwsAccount` may not allow it.
async fn require_accepted(
    bucket: &str,
    resource: &BucketReplication,
    target: &ManifestTarget<'_>,
) -> Result<(), CliError> {
    let (id, status) = (resource_id(resource), BucketReplicationStatus::default());
    let spec = &resource.spec;
    if let Some(other) = &target.applied.source
        && other.spec.account_id != target.account_id
    {
        let why = vec![format!(
            "AwsAccount {} is for account {}, and the bucket is in account {}; name the AwsAccount of that account by --account",
            other.name, other.spec.account_id, target.account_id
        )];
        return Err(ImportError::Refused { bucket: bucket.to_owned(), why }.into());
    }
    let replication = Replication { spec, status: &status, id: &id, accounts: target.applied };
    let forbidden = refusals_in_any_namespace(&replication);
    let plan = if forbidden.is_empty() {
        let read_set = ReadSet::of(&replication, false);
        let clients = target.connector.connect(target.accounts, &id).await?;
        let observed = aws::observe(&clients, &read_set).await;
        assess(replication, read_set, observed).plan
    } else {
        Plan::refused(forbidden)
    };
    let why: Vec<String> = match plan.refusals.as_slice() {
        [] => {
            plan.differences.iter().map(|difference| format!("AWS differs from it: {difference}")).collect()
        }
        refusals => refusals.iter().map(|refusal| of_rules(&refusal.message, spec)).collect(),
    };
    if why.is_empty() { Ok(()) } else { Err(ImportError::Refused { bucket: bucket.to_owned(), why }.into()) }
}

/// A refusal with the rules whose destinations or keys it names.
fn of_rules(refusal: &str, spec: &BucketReplicationSpec) -> String {
    let words: Vec<&str> = refusal.split(|c: char| c.is_whitespace() || ",;()".contains(c)).collect();
    let is_concerned = |rule: &&ReplicationRule| {
        let to = &rule.destination;
        words.contains(&to.bucket.as_str())
            || to.kms_key_arn.as_ref().is_some_and(|key| words.contains(&key.as_str()))
    };
    let rules: Vec<String> =
        spec.rules.iter().filter(is_concerned).map(|rule| format!("rules[{}]", rule.id)).collect();
    match rules.is_empty() || refusal.starts_with("rules[") {
        true => refusal.to_owned(),
        false => format!("{}: {refusal}", rules.join(", ")),
    }
}

/// The resource that asks for what a bucket has.
fn resource_for(
    bucket: &str,
    found: &Importable,
    versionings: &Versionings,
    target: &ManifestTarget<'_>,
) -> Result<BucketReplication, CliError> {
    let Importable { region, configuration, existing_objects, repeated_ids, unknown_elements, .. } = found;
    let inexpressible = |source| ImportError::Inexpressible { bucket: bucket.to_owned(), source };
    if let Some(id) = existing_objects.first() {
        return Err(inexpressible(Inexpressible {
            id: Some(id.clone()),
            field: "existingObjectReplication",
            value: "Enabled".to_owned(),
            why: ": S3 no longer accepts it; replicate existing objects by a ReplicationBackfill",
        })
        .into());
    }
    if let Some(id) = repeated_ids.first() {
        return Err(inexpressible(Inexpressible {
            id: Some(id.clone()),
            field: "id",
            value: id.clone(),
            why: ", as in another rule: each rule has an id of its own; change one of them in S3",
        })
        .into());
    }
    if !unknown_elements.is_empty() {
        let elements = unknown_elements.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(ImportError::UnknownElements { bucket: bucket.to_owned(), elements }.into());
    }
    let replicating =
        ReplicatingBucket { bucket, region: Some(region), account_id: &found.account_id, configuration };
    let mut spec = import::import(&replicating).map_err(inexpressible)?;
    leave_versioning(bucket, &mut spec, versionings)?;
    spec.adoption_policy = AdoptionPolicy::Adopt;
    spec.source.account_ref = target.accounts.source.as_ref().map(|account| account.name.clone());
    let metadata = ObjectMeta {
        name: Some(resource_name(bucket)),
        namespace: Some(target.namespace.to_owned()),
        ..ObjectMeta::default()
    };
    Ok(BucketReplication { metadata, spec, status: None })
}

fn text(bucket: &str, found: &Importable, resource: &BucketReplication) -> Result<String, CliError> {
    let mut document = json!(resource);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    let yaml = serde_saphyr::to_string(&document).map_err(|e| CliError::print(e.to_string()))?;
    let role = role_of_arn(&found.configuration.role);
    Ok(format!(
        "# Bucket {bucket} as it replicates today. The operator uses the role as it is and never writes it.\n\
         # To let the operator manage a role with only the permissions that these rules need, replace role.arn by\n\
         # role.name: a new name creates a new role; {role} (with its path in role.path) takes over the present one.\n\
         # deletionPolicy: Retain keeps the replication when this resource is deleted, because it was there before.\n\
         # The operator keeps versioning of the buckets enabled; versioning: Required has it only checked.\n\
         {yaml}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::samples::{found, resource, undecodable};

    #[test]
    fn where_lines_stay_there_is_one_for_each_tenth_of_the_buckets() {
        let lines = |all: usize| {
            let lines: std::collections::BTreeSet<String> =
                (1..=all).map(|planned| progress_of(planned, all)[0].clone()).collect();
            lines.len()
        };
        assert_eq!((lines(3), lines(1)), (3, 1));
        assert!((10..=12).contains(&lines(1234)), "{}", lines(1234));
        assert_eq!(progress_of(1234, 1234), ["planned 1234 of 1234 buckets"; 2]);
        assert_eq!(progress_of(130, 1234), ["planned 123 of 1234 buckets", "planned 130 of 1234 buckets"]);
    }

    #[test]
    fn where_no_account_applies_one_of_the_same_account_is_named() {
        let note = |held: &[(&str, Option<&str>)]| {
            let accounts =
                held.iter().map(|(name, id)| ((*name).to_owned(), id.map(str::to_owned))).collect();
            let owners = ManagedSources { accounts, ..ManagedSources::default() };
            owners.without_account("111122223333").unwrap_or_default()
        };
        let (ours, theirs) = (Some("111122223333"), Some("123456789012"));
        assert_eq!(note(&[]), "");
        assert_eq!(note(&[("a", ours), ("default", theirs)]), "", "what it refuses is not taken");
        assert_eq!(note(&[("a", ours), ("default", None)]), "");
        assert!(note(&[("a", None), ("b", theirs), ("c", ours)]).contains("--account c imports"));
        assert!(note(&[("b", theirs)]).contains("--account b imports"));
    }

    #[test]
    fn the_oldest_resource_that_is_about_a_bucket_is_named() {
        let about = |name: &str, bucket: &str, created: &str| {
            let mut object = resource(name, &[]);
            object["spec"]["source"]["bucket"] = json!(bucket);
            object["metadata"]["creationTimestamp"] = json!(created);
            found(object)
        };
        let odd = |name: &str, spec: serde_json::Value| undecodable(name, spec);
        let owners = ManagedSources::of(vec![
            about("a", "shared", "2026-01-02T00:00:00Z"),
            about("b", "shared", "2026-01-01T00:00:00Z"),
            odd("near", json!({"source": {"bucket": "of-another-version"}})),
            odd("far", json!({"source": {"name": "elsewhere"}})),
        ]);
        let of = |bucket: &str| owners.by_bucket.get(bucket).map(String::as_str);
        assert_eq!((of("shared"), of("of-another-version")), (Some("data/b"), Some("data/near")));
        assert_eq!(owners.unclear, ["data/far"]);
    }
}
