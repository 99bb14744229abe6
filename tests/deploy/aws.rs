//! The policies in `deploy/aws`: they allow what the operator says it needs and no more, and the operator works under
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::ReplicationStatus;
use kube::api::DeleteParams;
use rig::Clients;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{
    NAMESPACE, documents, name, of_kind, path_with_aws_cli, read, rendered, repository, the,
};

fn policy(file: &str) -> Result<Value> {
    serde_json::from_str(&read(&format!("deploy/aws/{file}"))?).with_context(|| format!("{file} is not JSON"))
}

/// All actions that a policy allows.
fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let list = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    statements.flat_map(|statement| list(&statement["Action"])).collect()
}

/// A resource that needs all that there is.
fn resource(policy: &str) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": "orders", "namespace": "data"},
        "spec": {
            "source": {"bucket": "source-bucket-us-east-1"},
            "managementPolicy": policy,
            "role": {"permissionsBoundary": "arn:aws:iam::111122223333:policy/boundary"},
            "rules": [{"id": "all", "destination": {"bucket": "dest-bucket-eu-west-1", "metrics": "Enabled"}}],
        },
    })
}

/// A backfill of that resource.
fn backfill() -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "ReplicationBackfill",
        "metadata": {"name": "missed", "namespace": "data"},
        "spec": {"replicationRef": {"name": "orders"}},
    })
}

/// The output of `policy` for a resource.
fn printed(resource: &Value) -> Result<Value> {
    printed_for(&[resource])
}

/// The output of `policy` for resources.
fn printed_for(resources: &[&Value]) -> Result<Value> {
    let file = rig::paths::scratch_dir("policy")?.join("resource.yaml");
    let documents: Vec<String> = resources.iter().map(ToString::to_string).collect();
    std::fs::write(&file, documents.join("\n---\n"))?;
    let output = Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .args(["policy", "-o", "json", "-f"])
        .arg(&file)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The actions that the program says it needs for a resource.
fn needed(resource: &Value) -> Result<BTreeSet<String>> {
    Ok(actions(&printed(resource)?["policy of the operator"]))
}

#[test]
fn the_policies_allow_what_the_operator_needs_and_no_more() -> Result<()> {
    let needed_to_write = needed(&resource("Enforce"))?;
    assert!(!needed_to_write.contains("iam:DeleteRolePermissionsBoundary"), "nobody takes a boundary off");
    assert_eq!(actions(&policy("operator-policy.json")?), needed_to_write);
    assert_eq!(actions(&policy("observe-policy.json")?), needed(&resource("Observe"))?);
    let with_backfills = printed_for(&[&resource("Enforce"), &backfill()])?;
    let both = &actions(&policy("operator-policy.json")?) | &actions(&policy("backfill-policy.json")?);
    let mut with_backfills = actions(&with_backfills["policy of the operator"]);
    with_backfills.remove("iam:DeleteRolePermissionsBoundary");
    assert_eq!(with_backfills, both);
    Ok(())
}

/// The name of the boundary that the scripts and modules make.
const BOUNDARY: &str = "s3-replication-boundary";

/// A document for the account of a world. The emulator leaves a role's path out of the resource that it compares with a
/// policy, so this does too.
fn filled(world: &World, file: &str) -> Result<String> {
    let policy = read(&format!("deploy/aws/{file}"))?;
    let policy = policy.replace("DESTINATION_ACCOUNT_IDS", &world.account);
    Ok(policy.replace("ACCOUNT_ID", &world.account).replace(":role/s3-replication/*", ":role/*"))
}

/// The operator's user in a world that enforces policies, with one of the policies.
async fn user(world: &World, file: &str) -> Result<(String, String)> {
    world.user("operator", &filled(world, file)?).await
}

async fn operator(world: &World, (key, secret): &(String, String)) -> Result<rig::Operator> {
    let operator = world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator"));
    operator.credentials(key, secret).start().await
}

/// Makes the boundary and returns its ARN.
async fn boundary(world: &World) -> Result<String> {
    let document = filled(world, "boundary-policy.json")?;
    let create = world.iam().create_policy().policy_name(BOUNDARY).policy_document(document);
    create.send().await?;
    Ok(format!("arn:aws:iam::{}:policy/{BOUNDARY}", world.account))
}

#[tokio::test]
async fn the_operator_lives_under_its_policy_and_objects_arrive_under_the_boundary() -> Result<()> {
    let world = World::with_auth("deploy-policy").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let credentials = user(&world, "operator-policy.json").await?;
    let _operator = operator(&world, &credentials).await?;
    let mut orders = resource("Enforce");
    orders["metadata"]["namespace"] = json!(world.namespace);
    orders["spec"]["source"]["bucket"] = json!(source);
    orders["spec"]["rules"][0]["destination"]["bucket"] = json!(destination);
    orders["spec"]["role"] = json!({"permissionsBoundary": boundary(&world).await?});
    world.apply(&orders.to_string()).await?;
    world.wait_ready("orders").await?;
    let put = world.s3("us-east-1").put_object().bucket(&source).key("order").body(b"one".to_vec().into());
    put.send().await?;
    let head = world.s3("us-east-1").head_object().bucket(&source).key("order").send().await?;
    assert_eq!(head.replication_status(), Some(&ReplicationStatus::Completed));
    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await
}

#[tokio::test]
async fn the_operator_s_identity_gets_no_role_out_of_the_boundary() -> Result<()> {
    let world = World::with_auth("deploy-boundary").await?;
    let (key, secret) = user(&world, "operator-policy.json").await?;
    let arn = boundary(&world).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let everything =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let (trust, everything) = (trust.to_string(), everything.to_string());
    let other = "arn:aws:iam::aws:policy/AdministratorAccess";
    // A role that someone else made at the path, without a boundary.
    let path = "/s3-replication/";
    let by_hand = world.iam().create_role().path(path).role_name("by-hand");
    by_hand.assume_role_policy_document(&trust).send().await?;

    let iam = Clients::with_credentials(&world.proxy.url(), &key, &secret).iam();
    let create =
        |name: &str| iam.create_role().path(path).role_name(name).assume_role_policy_document(&trust);
    let put =
        |name: &str| iam.put_role_policy().role_name(name).policy_name("p").policy_document(&everything);
    let denied = |what: &str, code: Option<&str>| {
        assert_eq!(code, Some("AccessDenied"), "{what}");
    };
    denied("a role without", create("free").send().await.err().and_then(code).as_deref());
    let wider = create("wider").permissions_boundary(other).send().await;
    denied("a role with another", wider.err().and_then(code).as_deref());
    denied("a policy for a role without", put("by-hand").send().await.err().and_then(code).as_deref());
    let replaced = iam.put_role_permissions_boundary().role_name("by-hand").permissions_boundary(other);
    denied("another for a role", replaced.send().await.err().and_then(code).as_deref());

    // Inside the boundary it may do its work.
    create("inside").permissions_boundary(&arn).send().await?;
    put("inside").send().await?;
    let removed = iam.delete_role_permissions_boundary().role_name("inside").send().await;
    denied("taking it off", removed.err().and_then(code).as_deref());
    iam.put_role_permissions_boundary().role_name("by-hand").permissions_boundary(&arn).send().await?;
    put("by-hand").send().await?;
    Ok(())
}

/// The error code of AWS.
fn code(error: impl ProvideErrorMetadata) -> Option<String> {
    error.code().map(str::to_owned)
}

#[test]
fn the_boundary_allows_what_a_role_may_need_and_no_more() -> Result<()> {
    let mut widest = resource("Enforce");
    let key = "arn:aws:kms:eu-west-1:444455556666:key/00000000-0000-0000-0000-000000000000";
    widest["spec"]["rules"] = json!([{
        "id": "all",
        "kmsEncryptedObjects": "Enabled",
        "destination": {
            "bucket": "dest-bucket-eu-west-1",
            "region": "eu-west-1",
            "account": "444455556666",
            "ownership": "Destination",
            "kmsKeyArn": key,
        },
    }]);
    let boundary = policy("boundary-policy.json")?;
    let policies = printed(&widest)?;
    let role =
        policies.as_object().into_iter().flatten().find(|(name, _)| name.starts_with("policy of role"));
    let mut needed = actions(role.with_context(|| format!("no policy of a role: {policies:#}"))?.1);
    // The operator grants these where the source has Object Lock, which takes a bucket to know.
    needed.extend(["s3:GetObjectLegalHold", "s3:GetObjectRetention"].map(str::to_owned));
    // The role of a backfill's job. A report needs s3:PutObject too, on a bucket that only its owner knows.
    let of_job = printed_for(&[&widest, &backfill()])?["policy of role backfill+data.missed"].take();
    needed.extend(actions(&of_job));
    assert_eq!(actions(&boundary), needed);
    for statement in boundary["Statement"].as_array().context("statements")? {
        // Whose bucket it is, or that the key is used through S3.
        ensure!(statement["Condition"].is_object(), "{statement:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_that_may_only_read_finds_what_differs() -> Result<()> {
    let world = World::with_auth("deploy-observe").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let _operator = operator(&world, &user(&world, "observe-policy.json").await?).await?;
    let mut orders = resource("Observe");
    orders["metadata"]["namespace"] = json!(world.namespace);
    orders["spec"]["source"]["bucket"] = json!(source);
    orders["spec"]["rules"][0]["destination"]["bucket"] = json!(destination);
    world.apply(&orders.to_string()).await?;
    let drifted = |status: &Value| status["conditions"][0]["reason"] == "Drifted";
    world.wait("orders", drifted, "to be Drifted").await?;
    assert_eq!(world.proxy.writes().len(), 0);
    Ok(())
}

#[test]
fn the_trust_policies_are_for_the_service_account_of_the_chart() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let account = name(the(&objects, "ServiceAccount")?);
    let condition = |file: &str| -> Result<Value> {
        Ok(policy(file)?["Statement"][0]["Condition"]["StringEquals"].clone())
    };
    assert_eq!(
        condition("trust-irsa.json")?["OIDC_PROVIDER:sub"],
        json!(format!("system:serviceaccount:{NAMESPACE}:{account}"))
    );
    assert_eq!(
        condition("trust-pod-identity.json")?,
        json!({
            "aws:RequestTag/kubernetes-namespace": NAMESPACE,
            "aws:RequestTag/kubernetes-service-account": account,
        })
    );
    for file in ["cli/pod-identity.sh", "terraform/pod-identity/main.tf"] {
        let text = read(&format!("deploy/aws/{file}"))?;
        assert!(text.contains(NAMESPACE) && text.contains(account), "{file}");
    }
    Ok(())
}

#[test]
fn scripts_and_modules_name_documents_that_there_are() -> Result<()> {
    for file in [
        "cli/irsa.sh",
        "cli/operator-role.sh",
        "cli/pod-identity.sh",
        "terraform/irsa/main.tf",
        "terraform/operator-role/main.tf",
        "terraform/pod-identity/main.tf",
    ] {
        let text = read(&format!("deploy/aws/{file}"))?;
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c));
        let named: BTreeSet<&str> =
            names.map(|word| word.trim_start_matches('-')).filter(|word| word.ends_with(".json")).collect();
        ensure!(!named.is_empty(), "{file} names no document");
        for document in named {
            policy(document).with_context(|| file)?;
        }
    }
    Ok(())
}

/// The calls of a script in a partition: action, and each option with its value.
fn calls(script: &str, partition: &str) -> Result<Vec<(String, BTreeMap<String, String>)>> {
    let record = rig::paths::scratch_dir("aws-cli")?.join("calls");
    let path = path_with_aws_cli("roles")?;
    let output = Command::new("sh")
        .arg(repository(&format!("deploy/aws/cli/{script}")))
        .arg("cluster")
        .env("PATH", path)
        .env("AWS_CALLS", &record)
        .env("AWS_PARTITION", partition)
        .env("DESTINATION_ACCOUNTS", "111122223333,444455556666")
        .output()?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout)?;
    let boundary = format!("arn:{partition}:iam::123456789012:policy/s3-replication-boundary");
    ensure!(printed.contains(&boundary), "{printed}");
    let text = std::fs::read_to_string(record)?;
    let calls = text.split_terminator('\u{1d}').map(|call| {
        let words: Vec<&str> = call.split_terminator('\u{1e}').collect();
        let action = words.get(1).copied().unwrap_or_default().to_owned();
        let options = words.get(2..).unwrap_or_default().chunks(2);
        let options =
            options.map(|pair| (pair[0].to_owned(), pair.get(1).copied().unwrap_or_default().to_owned()));
        (action, options.collect())
    });
    Ok(calls.collect())
}

#[test]
fn the_scripts_make_the_boundary_and_then_the_operator_s_role() -> Result<()> {
    for script in ["irsa.sh", "pod-identity.sh"] {
        let parsed = calls(script, "aws")?;
        let actions: Vec<&str> = parsed.iter().map(|(action, _)| action.as_str()).collect();
        assert_eq!(
            actions.get(..3),
            Some(&["create-policy", "create-role", "put-role-policy"][..]),
            "{script}"
        );
        let document = |call: usize, option: &str| -> Result<Value> {
            let text =
                parsed.get(call).and_then(|(_, options)| options.get(option)).context("no document")?;
            ensure!(!text.contains("ACCOUNT_ID") && !text.contains("OIDC_PROVIDER"), "{script}: {text}");
            serde_json::from_str(text).with_context(|| format!("{script}: {text}"))
        };
        let boundary = document(0, "--policy-document")?;
        let accounts = |statement: usize| {
            boundary["Statement"][statement]["Condition"]["StringEqualsIfExists"]["s3:ResourceAccount"]
                .clone()
        };
        assert_eq!(accounts(0), json!(["123456789012"]));
        assert_eq!(accounts(1), json!(["123456789012", "111122223333", "444455556666"]));
        document(1, "--assume-role-policy-document")?;
        document(2, "--policy-document")?;
    }
    Ok(())
}

#[test]
fn every_arn_of_the_scripts_is_of_the_partition_of_the_account() -> Result<()> {
    for script in ["irsa.sh", "pod-identity.sh"] {
        for partition in ["aws-cn", "aws-us-gov", "aws-eusc", "aws-iso-b"] {
            let parsed = calls(script, partition)?;
            let values = parsed.iter().flat_map(|(_, options)| options.values());
            let words = values.flat_map(|value| value.split('"')).filter(|word| word.starts_with("arn:"));
            let arns: Vec<&str> = words.collect();
            ensure!(arns.len() > 5, "{script}: {arns:?}");
            for arn in arns {
                ensure!(arn.starts_with(&format!("arn:{partition}:")), "{script} in {partition}: {arn}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_samples_impose_the_boundary_that_the_scripts_make() -> Result<()> {
    let objects = documents(&read("deploy/samples/accounts.yaml")?)?;
    let source = of_kind(&objects, "AwsAccount").into_iter().find(|account| name(account) == "prod");
    let id = source.context("no account prod")?["spec"]["accountId"].as_str().context("accountId")?;
    assert_eq!(
        source.context("prod")?["spec"]["roles"]["permissionsBoundary"],
        json!(format!("arn:aws:iam::{id}:policy/{BOUNDARY}"))
    );
    Ok(())
}
