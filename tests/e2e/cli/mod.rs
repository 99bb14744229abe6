//! The command line: what each subcommand prints, with which exit code, and what it says of bad input.

mod backfill;
mod documented;
mod import;
mod import_forms;
mod invocation;
mod least_privilege;
pub mod orphans;
mod partitions;
mod report;
mod steer;
mod unknown_elements;

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{Scene, http_get, operator_of, person, replication};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a subcommand with a text on its standard input. Returns its exit code and standard output.
async fn run(world: &World, args: &[&str], input: &str) -> Result<(Option<i32>, String)> {
    let output = person(world).run(args, input).await?;
    Ok((output.status.code(), stdout(&output)))
}

/// A resource as in a file: with its namespace, which the default role name contains.
fn manifest(world: &World, source: &str, destination: &str) -> Value {
    let mut resource = replication("orders", source, destination);
    resource["metadata"]["namespace"] = json!(world.namespace);
    resource
}

#[tokio::test]
async fn plan_shows_what_would_change_and_then_nothing() -> Result<()> {
    let world = World::new("plan").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let resource = manifest(&world, &source, &destination).to_string();

    let (code, text) = run(&world, &["plan", "-f", "-"], &resource).await?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.starts_with(&format!("BucketReplication {}/orders: ", world.namespace)), "{text}");
    assert!(text.contains("in 5 writes"), "{text}");
    let note = stderr(&person(&world).run(["plan", "-f", "-"], &resource).await?);
    assert!(note.starts_with("note: no file contains an AwsAccount named default"), "{note}");
    assert!(note.contains("--context"), "{note}");
    for step in [
        format!("enable versioning of bucket {source} in us-east-1"),
        format!("enable versioning of bucket {destination} in eu-west-1"),
        "create role /s3-replication/orders-role".to_owned(),
        "set the policy s3-replication of role orders-role".to_owned(),
        format!("5. set the replication configuration of bucket {source}: ReplicateToEU to {destination}"),
    ] {
        assert!(text.contains(&step), "{step} is missing: {text}");
    }

    let (code, json) = run(&world, &["plan", "-f", "-", "-o", "json"], &resource).await?;
    assert_eq!(code, Some(2));
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!((&json[0]["name"], &json[0]["namespace"]), (&json!("orders"), &json!(world.namespace)));
    assert_eq!(json[0]["plan"]["stages"].as_array().map(Vec::len), Some(3), "{json:#}");
    assert_eq!(json[0]["plan"]["refusals"], json!([]));
    let (code, yaml) = run(&world, &["plan", "-f", "-", "-o", "yaml"], &resource).await?;
    assert_eq!((code, serde_saphyr::from_str::<Value>(&yaml)?), (Some(2), json.clone()), "{yaml}");
    assert_eq!(world.proxy.writes().len(), 0, "a plan writes nothing");

    let _operator = operator_of(&world).start().await?;
    world.apply(&resource).await?;
    world.wait_ready("orders").await?;
    // The file, and the object in the cluster.
    let (code, text) = run(&world, &["plan", "-f", "-"], &resource).await?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nothing to change"), "{text}");
    for format in ["yaml", "json"] {
        let list = world.cluster().kubectl(["get", "br", "-n", &world.namespace, "-o", format])?;
        ensure!(list.status.success(), "{}", stderr(&list));
        let (code, text) = run(&world, &["plan", "-f", "-"], &stdout(&list)).await?;
        assert_eq!((code, text.contains("nothing to change")), (Some(0), true), "{text}");
    }
    let (code, json) = run(&world, &["plan", "-f", "-", "-o", "json"], &resource).await?;
    assert_eq!(code, Some(0));
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!((&json[0]["plan"]["differences"], &json[0]["plan"]["stages"]), (&json!([]), &json!([])));
    Ok(())
}

#[tokio::test]
async fn plan_reads_a_file_of_many_documents_and_ignores_other_kinds() -> Result<()> {
    let world = World::new("plan-file").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let resource = manifest(&world, &source, &destination);
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "data"}});
    let mut observed = resource.clone();
    observed["metadata"]["name"] = json!("watched");
    observed["spec"]["managementPolicy"] = json!("Observe");
    let path = std::env::temp_dir().join(format!("{}.yaml", world.namespace));
    std::fs::write(&path, format!("---\n{other}\n---\n{resource}\n---\n{observed}\n"))?;
    let (code, text) = run(&world, &["plan", "-f", path.to_str().context("path")?], "").await?;
    std::fs::remove_file(&path)?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/orders: ") && text.contains("/watched: "), "{text}");
    assert!(text.contains("nothing to write (managementPolicy: Observe)"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_refused_or_failed_plan_has_exit_code_one() -> Result<()> {
    let world = World::new("plan-refused").await?;
    let (source, missing) = (world.bucket("us-east-1").await?, world.bucket_name());
    let resource = manifest(&world, &source, &missing).to_string();
    let (code, text) = run(&world, &["plan", "-f", "-"], &resource).await?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("refused: DestinationBucketNotFound") && text.contains(&missing), "{text}");
    let (code, json) = run(&world, &["plan", "-f", "-", "-o", "json"], &resource).await?;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(code, Some(1));
    assert_eq!(json[0]["plan"]["refusals"][0]["reason"], "DestinationBucketNotFound");

    let denied = Answer::error(403, "InvalidClientTokenId", "The security token is invalid.");
    world.proxy.inject(Fault::always(Matcher::operation("GetCallerIdentity"), denied));
    let output = person(&world).run(["plan", "-f", "-"], &resource).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("error: there are no valid AWS credentials in this environment"),
        "{}",
        stderr(&output)
    );
    Ok(())
}

#[tokio::test]
async fn policy_prints_what_each_party_has_to_allow() -> Result<()> {
    let world = World::new("policy").await?;
    let mut resource = replication("orders", "source-bucket", "dest-bucket");
    resource["spec"]["rules"][0]["destination"]["account"] = json!("111122223333");
    resource["spec"]["rules"][0]["destination"]["ownership"] = json!("Destination");
    let args = ["policy", "-f", "-", "-o", "json", "--account-id", "444455556666"];
    let (code, text) = run(&world, &args, &resource.to_string()).await?;
    assert_eq!(code, Some(0), "{text}");
    let policies: Value = serde_json::from_str(&text)?;
    let yaml = [&["policy", "-f", "-", "-o", "yaml"][..], &args[5..]].concat();
    let (_, yaml) = run(&world, &yaml, &resource.to_string()).await?;
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml)?, policies, "{yaml}");
    let names: Vec<&String> = policies.as_object().context("no object")?.keys().collect();
    assert_eq!(
        names,
        [
            "bucket policy of destination dest-bucket",
            "policy of role orders-role",
            "policy of the operator",
            "trust policy of role orders-role",
        ]
    );
    let bucket = &policies["bucket policy of destination dest-bucket"]["Statement"];
    let role = "arn:aws:iam::444455556666:role/s3-replication/orders-role";
    for statement in bucket.as_array().context("no statements")? {
        assert_eq!(statement["Principal"], json!({"AWS": role}));
    }
    assert!(bucket[0]["Action"].to_string().contains("s3:ObjectOwnerOverrideToBucketOwner"), "{bucket:#}");
    assert_eq!(bucket[0]["Resource"].to_string().trim_matches(['[', ']', '"']), "arn:aws:s3:::dest-bucket/*");
    let own = &policies["policy of the operator"]["Statement"];
    let pass = own
        .as_array()
        .context("no statements")?
        .iter()
        .find(|s| s["Sid"] == "PassRoles")
        .context("PassRoles")?;
    assert_eq!(pass["Resource"].to_string().trim_matches(['[', ']', '"']), role);

    // The text form has a heading for each policy and needs no account id.
    let (code, text) = run(&world, &["policy", "-f", "-"], &resource.to_string()).await?;
    assert_eq!(code, Some(0));
    for name in names {
        assert!(text.contains(&format!("# {name}\n{{")), "{text}");
    }
    assert!(text.contains("arn:aws:iam::*:role/s3-replication/orders-role"), "{text}");
    assert_eq!(world.proxy.calls().len(), 0, "policy works without AWS");
    Ok(())
}

#[tokio::test]
async fn the_policy_of_an_observing_resource_allows_no_write() -> Result<()> {
    let world = World::new("policy-observe").await?;
    let mut resource = replication("orders", "source-bucket", "dest-bucket");
    resource["spec"]["managementPolicy"] = json!("Observe");
    let (_, text) = run(&world, &["policy", "-f", "-", "-o", "json"], &resource.to_string()).await?;
    let policies: Value = serde_json::from_str(&text)?;
    let own = policies["policy of the operator"].to_string();
    for write in ["Put", "Create", "Delete", "Tag", "Update", "Pass"] {
        assert!(!own.contains(&format!(":{write}")), "{write}: {own}");
    }
    Ok(())
}

#[tokio::test]
async fn crds_prints_the_definition() -> Result<()> {
    let world = World::new("crds").await?;
    let (code, text) = run(&world, &["crds"], "").await?;
    assert_eq!(code, Some(0));
    assert!(
        text.contains("kind: CustomResourceDefinition")
            && text.contains("bucketreplications.s3replication.dev")
    );
    let applied = world.cluster().kubectl_with_input(["apply", "--dry-run=server", "-f", "-"], &text)?;
    ensure!(applied.status.success(), "{}", stderr(&applied));
    Ok(())
}

#[tokio::test]
async fn invalid_files_are_reported_in_one_sentence() -> Result<()> {
    let world = World::new("bad-files").await?;
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "data"}}).to_string();
    let mut invalid = replication("orders", "source-bucket", "dest-bucket");
    invalid["spec"]["rules"][0]["priority"] = json!("high");
    let invalid = invalid.to_string();
    let mut twice = replication("orders", "source-bucket", "dest-bucket");
    let rule = twice["spec"]["rules"][0].clone();
    twice["spec"]["rules"] = json!([rule, rule]);
    let twice = twice.to_string();
    let cases: [(&str, &str, &[&str]); 6] = [
        ("-", "a: [b", &["standard input is not YAML: line 1"]),
        ("-", &other, &["standard input contains no BucketReplication"]),
        ("-", "", &["standard input contains no BucketReplication"]),
        ("-", &twice, &["BucketReplication orders: spec.rules[ReplicateToEU]: the id occurs twice"]),
        ("-", &invalid, &["BucketReplication orders: spec.rules[0].priority: ", "high"]),
        ("/nowhere/file.yaml", "", &["cannot read /nowhere/file.yaml: No such file or directory"]),
    ];
    for (file, input, says) in cases {
        for subcommand in ["plan", "policy"] {
            let output = person(&world).run([subcommand, "-f", file], input).await?;
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{subcommand} {file} {input:?}: {text}");
            assert!(
                text.starts_with("error: ") && says.iter().all(|part| text.contains(part)),
                "{subcommand}: {text}"
            );
            assert_eq!(stdout(&output), "");
            assert!(!text.contains("panicked"), "{text}");
        }
    }
    assert_eq!(world.proxy.calls().len(), 0);
    Ok(())
}

#[tokio::test]
async fn every_subcommand_explains_itself() -> Result<()> {
    let world = World::new("help").await?;
    let (code, text) = run(&world, &["--help"], "").await?;
    assert_eq!(code, Some(0));
    for subcommand in ["run", "plan", "policy", "crds"] {
        assert!(text.contains(subcommand), "{text}");
        let (code, text) = run(&world, &[subcommand, "--help"], "").await?;
        assert_eq!(code, Some(0));
        assert!(text.contains("Usage: s3-replication-operator") && text.contains(subcommand), "{text}");
        // Each option has an explanation.
        for line in text.lines().filter(|line| line.trim_start().starts_with('-')) {
            ensure!(
                line.split_whitespace().count() > 2 || text.contains(&format!("{line}\n          ")),
                "{line}"
            );
        }
    }
    let (code, version) = run(&world, &["--version"], "").await?;
    assert_eq!(
        (code, version.trim()),
        (Some(0), concat!("s3-replication-operator ", env!("CARGO_PKG_VERSION")))
    );
    let output = person(&world).run(["paln"], "").await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("plan"), "a similar one is suggested: {}", stderr(&output));
    Ok(())
}

#[tokio::test]
async fn run_serves_health_and_metrics() -> Result<()> {
    let Scene { world: _, operator, .. } = Scene::named("serving").ready().await?;
    let address = operator.http_address().await?;

    assert_eq!(http_get(address, "/livez").await?.0, 200);
    assert_eq!(http_get(address, "/readyz").await?.0, 200);
    assert_eq!(http_get(address, "/nothing").await?.0, 404);
    // The reconcile is counted when it has ended, shortly after the status is written.
    let counted = async {
        loop {
            let (status, text) = http_get(address, "/metrics").await?;
            ensure!(status == 200, "{status}");
            if text.contains(r#"s3_replication_operator_reconciles_total{result="done",reason="Applied"} 1"#)
            {
                return Ok(text);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(DEADLINE, counted).await??;
    for (service, operation, code, count) in [
        ("s3", "PutBucketVersioning", "OK", 2),
        ("iam", "CreateRole", "OK", 1),
        ("iam", "GetRole", "NoSuchEntity", 1),
        ("s3", "PutBucketReplication", "OK", 1),
        ("sts", "GetCallerIdentity", "OK", 1),
    ] {
        let line = text.lines().find(|line| {
            let labels = [
                format!("service=\"{service}\""),
                format!("operation=\"{operation}\""),
                format!("code=\"{code}\""),
            ];
            line.starts_with("s3_replication_operator_aws_requests_total{")
                && labels.iter().all(|l| line.contains(l))
        });
        let line = line.with_context(|| format!("no count of {operation}: {text}"))?;
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
    Ok(())
}

/// One bucket has one policy, even if several resources replicate into it.
#[tokio::test]
async fn policy_allows_every_role_that_replicates_into_a_bucket() -> Result<()> {
    let world = World::new("policy-shared").await?;
    let resource = |name: &str, source: &str| {
        let mut resource = replication(name, source, "dest-bucket");
        resource["spec"]["rules"][0]["destination"]["account"] = json!("111122223333");
        resource
    };
    let both = format!("---\n{}\n---\n{}\n", resource("orders", "bucket-a"), resource("bills", "bucket-b"));
    let (code, text) = run(&world, &["policy", "-f", "-", "-o", "json"], &both).await?;
    assert_eq!(code, Some(0), "{text}");
    let policies: Value = serde_json::from_str(&text)?;
    let statements = policies["bucket policy of destination dest-bucket"]["Statement"].as_array();
    let statements = statements.context("no statements")?;
    for role in ["orders-role", "bills-role"] {
        let of_role = statements.iter().filter(|s| s["Principal"].to_string().contains(role)).count();
        assert_eq!(of_role, 2, "{role}: {text}");
    }
    let sids: std::collections::BTreeSet<String> = statements.iter().map(|s| s["Sid"].to_string()).collect();
    assert_eq!(sids.len(), statements.len(), "{text}");

    let (_, text) = run(&world, &["policy", "-f", "-"], &both).await?;
    assert_eq!(text.matches("# bucket policy of destination dest-bucket").count(), 1, "{text}");
    Ok(())
}

#[tokio::test]
async fn invalid_options_are_reported_immediately() -> Result<()> {
    let world = World::new("bad-flags").await?;
    let cases: [(&[&str], &str); 6] = [
        (&["run", "--interval", "soon"], "not a duration such as 10m"),
        (&["run", "--interval", "5s"], "must be between 1m and 24h"),
        (&["run", "--interval", "48h"], "must be between 1m and 24h"),
        (&["run", "--concurrency", "0"], "--concurrency"),
        (&["policy", "-f", "-", "--account-id", "prod"], "an account id has 12 digits"),
        (&["import", "--bucket", ""], "--bucket"),
    ];
    for (args, says) in cases {
        let output = person(&world).run(args, "").await?;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(says), "{args:?}: {text}");
    }
    Ok(())
}

/// `s3-replication-operator crds | head -1`.
#[test]
fn a_closed_pipe_is_no_error() -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut crds = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"));
    let output =
        crds.arg("crds").stdout(writer).stderr(std::process::Stdio::piped()).spawn()?.wait_with_output()?;
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    Ok(())
}
