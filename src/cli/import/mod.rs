//! `import`: a bucket that replicates already in, a `BucketReplication` out on which `plan` finds nothing to change.

mod directory;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueHint};
use kube::core::ObjectMeta;
use serde_json::json;

use crate::api::{AdoptionPolicy, BucketReplication};
use crate::aws::{self, AwsClient, AwsConnector, HeldBucket, Importable};
use crate::cli::account_lookup::AccountLookup;
use crate::cli::aws_args::AwsArgs;
use crate::cli::import::directory::{DirectoryError, Imported};
use crate::cli::kubernetes::ClusterArgs;
use crate::cli::manifests::Manifests;
use crate::cli::status::WRONG;
use crate::cli::{CliError, write};
use crate::iam::arn::role_of_arn;
use crate::replication::ResourceId;
use crate::replication::import::{Inexpressible, Replicating, import as import_spec, resource_name};

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The source bucket
    #[arg(
        long,
        required_unless_present = "all",
        conflicts_with = "all",
        value_parser = NonEmptyStringValueParser::new()
    )]
    bucket: Option<String>,
    /// All buckets of the account that replicate
    #[arg(long)]
    all: bool,
    /// Write a file for each bucket into this directory, and an index of what was taken and what was not
    #[arg(long, value_name = "DIRECTORY", requires = "all", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
    /// Replace files in the directory that differ
    #[arg(long, requires = "output_dir")]
    force: bool,
    /// AwsAccount whose AWS identity to use, by its name or account id; absent: the AWS identity of the environment
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
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

pub async fn import(args: ImportArgs) -> Result<ExitCode, CliError> {
    let identities = AwsConnector::from_env(args.aws.settings(), aws::Metrics::default()).await;
    let account = match &args.account {
        Some(name) => {
            let manifests = Manifests::read(&args.filenames)?;
            Some(AccountLookup::new(&manifests, &args.cluster).account(name).await?)
        }
        None => None,
    };
    let aws = match &account {
        Some(account) => identities.client_in(account, &ResourceId::of_account(&account.name)).await?,
        None => identities.ambient().await?,
    };
    let account = account.map(|account| account.name);
    if let Some(bucket) = &args.bucket {
        let found = aws::importable(&aws, bucket).await?;
        let found = found.ok_or_else(|| ImportError::NotReplicating(bucket.clone()))?;
        write(&manifest(bucket, account.as_deref(), &args.namespace, &found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let imported = import_all(&aws, account.as_deref(), &args.namespace).await?;
    if let Some(directory) = &args.output_dir {
        let written = directory::write(directory, &aws.caller().account, &imported, args.force);
        let written = written.map_err(ImportError::from)?;
        write(&written.text())?;
        return Ok(if written.is_wrong() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS });
    }
    // Print the buckets that can be imported and report the others: one odd bucket must not hide the rest.
    let mut code = ExitCode::SUCCESS;
    for Imported { manifest, .. } in imported {
        match manifest {
            Ok(text) => write(&format!("---\n{text}"))?,
            Err(error) => {
                code = ExitCode::from(WRONG);
                eprintln!("error: {error}");
            }
        }
    }
    Ok(code)
}

/// Every bucket of the account that replicates, in the order of names.
async fn import_all(
    aws: &AwsClient,
    account: Option<&str>,
    namespace: &str,
) -> Result<Vec<Imported>, CliError> {
    let mut imported = Vec::new();
    for HeldBucket { name: bucket, configuration } in aws::inventory(aws).await? {
        let manifest = match configuration {
            Ok(None) => continue,
            Ok(Some(found)) => manifest(&bucket, account, namespace, &found).map_err(|e| e.to_string()),
            // Whether it replicates is unknown, and that is never silent.
            Err(failure) => Err(failure.message()),
        };
        imported.push(Imported { bucket, manifest });
    }
    Ok(imported)
}

fn manifest(
    bucket: &str,
    account: Option<&str>,
    namespace: &str,
    found: &Importable,
) -> Result<String, CliError> {
    let Importable { region, configuration, existing_objects, unknown_elements, .. } = found;
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
    if !unknown_elements.is_empty() {
        let elements = unknown_elements.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(ImportError::UnknownElements { bucket: bucket.to_owned(), elements }.into());
    }
    let replicating =
        Replicating { bucket, region: Some(region), account_id: &found.account_id, configuration };
    let mut spec = import_spec(&replicating).map_err(inexpressible)?;
    spec.adoption_policy = AdoptionPolicy::Adopt;
    spec.source.account_ref = account.map(str::to_owned);
    let metadata = ObjectMeta {
        name: Some(resource_name(bucket)),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let resource = BucketReplication { metadata, spec, status: None };
    let mut document = json!(resource);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    let yaml = serde_saphyr::to_string(&document).map_err(|e| CliError::print(e.to_string()))?;
    let role = role_of_arn(&configuration.role);
    Ok(format!(
        "# Bucket {bucket} as it replicates today. The operator uses the role as it is and never writes it.\n\
         # To let the operator manage a role with only the permissions that these rules need, replace role.arn by\n\
         # role.name: a new name creates a new role; {role} (with its path in role.path) takes over the present one.\n\
         # deletionPolicy: Retain keeps the replication when this resource is deleted, because it was there before.\n\
         # The operator enables versioning of the buckets; to have it only checked, set versioning: Required.\n\
         {yaml}"
    ))
}
