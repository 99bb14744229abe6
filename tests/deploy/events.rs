//! The files in `deploy/aws` for events: patterns for every event that the operator reads, and the modules and the
//! script that use them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use s3_replication_operator::replication::events::policies::{
    RULE_PREFIX, failure_notification, queue_policy, receive_failures,
};
use s3_replication_operator::replication::events::{EventName, EventQueue, Service};
use serde_json::{Value, json};
use strum::VariantArray;

use crate::support::{path_with_aws_cli, read, repository};

const MODULES: [&str; 3] = ["events", "events-region", "events-account"];

#[test]
fn the_patterns_name_every_event_that_is_read_and_no_other() -> Result<()> {
    for service in Service::VARIANTS {
        let name = service.as_str();
        let pattern: Value = serde_json::from_str(&read(&format!("deploy/aws/events/{name}.json"))?)?;
        let names = EventName::VARIANTS.iter().filter(|event| event.service() == *service);
        let expected = json!({
            "source": [format!("aws.{name}")],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "eventSource": [format!("{name}.amazonaws.com")],
                "eventName": names.map(|event| event.as_str()).collect::<Vec<_>>(),
                "errorCode": [{"exists": false}],
            },
        });
        assert_eq!(pattern, expected, "{name}");
    }
    Ok(())
}

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/s3-replication-operator-events";

/// The answers of the stand-in for the AWS CLI.
struct Answers<'a> {
    identity: &'a str,
    url: &'a str,
    /// How many targets EventBridge did not take, and why.
    failed: &'a str,
}

const IN_AWS: Answers<'_> =
    Answers { identity: "arn:aws:iam::111122223333:user/admin", url: URL, failed: "0\tNone\tNone" };

/// Runs the script with a stand-in for the AWS CLI. Returns the arguments of each call, and the output of the script.
fn run_script(arguments: &[&str], answers: &Answers<'_>) -> Result<(Vec<Vec<String>>, String)> {
    let record = rig::paths::scratch_dir("aws-events")?.join("calls");
    let path = path_with_aws_cli("events")?;
    let output = Command::new("sh")
        .arg(repository("deploy/aws/cli/events.sh"))
        .args(arguments)
        .env("PATH", path)
        .env("AWS_CALLS", &record)
        .env("AWS_IDENTITY", answers.identity)
        .env("AWS_QUEUE_URL", answers.url)
        .env("AWS_FAILED", answers.failed)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(record)?;
    let words = |call: &str| call.split_terminator('\u{1e}').map(str::to_owned).collect();
    Ok((text.split_terminator('\u{1d}').map(words).collect(), String::from_utf8(output.stdout)?))
}

fn option<'a>(call: &'a [String], name: &str) -> Result<&'a str> {
    let at = call.iter().position(|word| word == name).with_context(|| format!("no {name} in {call:?}"))?;
    call.get(at + 1).map(String::as_str).context("an option without a value")
}

#[test]
fn the_script_makes_a_queue_with_its_policy_and_a_rule_in_each_region() -> Result<()> {
    let (calls, printed) = run_script(&["eu-west-1", "eu-central-1"], &IN_AWS)?;
    let queue = calls.iter().find(|call| call[1] == "create-queue").context("no queue")?;
    let attributes: Value = serde_json::from_str(option(queue, "--attributes")?)?;
    let policy: Value = serde_json::from_str(attributes["Policy"].as_str().context("no policy")?)?;
    let own = queue_policy(&URL.parse::<EventQueue>().map_err(anyhow::Error::msg)?, "eu-west-1").to_value();
    // The program writes lists where the script writes one word.
    let (rules, printed_rules) = (&policy["Statement"][0], &own["Statement"][0]);
    assert_eq!(rules["Resource"], printed_rules["Resource"][0]);
    let source = |statement: &Value| statement["Condition"]["ArnLike"]["aws:SourceArn"].clone();
    assert_eq!(source(rules), source(printed_rules)[0]);
    assert_eq!(policy["Statement"][1]["Effect"], own["Statement"][1]["Effect"]);

    let mut made = BTreeSet::new();
    for call in calls.iter().filter(|call| call[1] == "put-rule") {
        let rule = option(call, "--name")?;
        ensure!(rule.starts_with(RULE_PREFIX), "{rule}");
        serde_json::from_str::<Value>(option(call, "--event-pattern")?)?;
        made.insert(format!("{} {}", option(call, "--region")?, rule.trim_start_matches(RULE_PREFIX)));
    }
    let expected = [
        "eu-central-1 kms",
        "eu-central-1 s3",
        "eu-west-1 iam",
        "eu-west-1 kms",
        "eu-west-1 s3",
        "us-east-1 iam",
        "us-east-1 kms",
        "us-east-1 s3",
    ];
    assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for call in calls.iter().filter(|call| call[1] == "put-targets") {
        let target = option(call, "--targets")?;
        let at_home = option(call, "--region")? == "eu-west-1";
        ensure!(target.contains(":event-bus/default") != at_home, "{target}");
    }
    let values: Value = serde_saphyr::from_str(printed.split("\n#").next().unwrap_or_default())?;
    assert_eq!(values["operator"]["events"]["queues"][0], URL);
    Ok(())
}

#[test]
fn in_another_partition_the_script_names_its_arns_and_no_region_of_another() -> Result<()> {
    let china = "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/s3-replication-operator-events";
    let gov = "https://sqs.us-gov-west-1.amazonaws.com/111122223333/s3-replication-operator-events";
    for (partition, home, url) in [("aws-cn", "cn-north-1", china), ("aws-us-gov", "us-gov-west-1", gov)] {
        let identity = format!("arn:{partition}:sts::111122223333:assumed-role/admin/session");
        let answers = Answers { identity: &identity, url, ..IN_AWS };
        let (calls, printed) = run_script(&[home], &answers)?;
        let text = format!("{calls:?}{printed}");
        ensure!(!text.contains("arn:aws:") && !text.contains("us-east-1"), "{text}");
        ensure!(text.contains(&format!("arn:{partition}:sqs:{home}:111122223333:")), "{text}");
        let rules = calls.iter().filter(|call| call[1] == "put-rule");
        assert_eq!(rules.map(|call| option(call, "--region")).collect::<Result<Vec<_>>>()?, [home; 3]);
        let values: Value = serde_saphyr::from_str(printed.split("\n#").next().unwrap_or_default())?;
        assert_eq!(values["operator"]["events"]["queues"][0], url);
        let refused = run_script(&[home, "cn-northwest-1"], &answers).unwrap_err().to_string();
        ensure!(refused.contains("for each Region alone"), "{refused}");
    }
    Ok(())
}

#[test]
fn the_script_fails_where_eventbridge_takes_no_target() {
    let answers = Answers { failed: "1\tAccessDenied\tthe queue may not be used", ..IN_AWS };
    let failure = run_script(&["eu-west-1"], &answers).unwrap_err().to_string();
    assert!(failure.contains("events:PutTargets failed") && failure.contains("AccessDenied"), "{failure}");
}

#[test]
fn the_modules_use_the_patterns_and_terraform_takes_them() -> Result<()> {
    for module in MODULES {
        let text = read(&format!("deploy/aws/terraform/{module}/main.tf"))?;
        let uses = text.contains("/../../events/") || text.contains("../events-region");
        ensure!(uses, "{module} uses no pattern");
    }
    // In a copy: Terraform writes beside what it reads.
    let copy = rig::paths::scratch_dir("terraform")?;
    let copied = Command::new("cp").args(["-r"]).arg(repository("deploy/aws")).arg(&copy).status()?;
    ensure!(copied.success(), "cannot copy deploy/aws");
    let run = |args: &[&str], module: &str| {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(copy.join("aws/terraform").join(module));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()
    };
    if run(&["version"], MODULES[0]).is_err() {
        rig::progress::say("terraform is not on the PATH: the modules for events are not validated");
        return Ok(());
    }
    for module in MODULES {
        let format = run(&["fmt", "-check", "-diff"], module)?;
        ensure!(format.status.success(), "{module}: {}", String::from_utf8_lossy(&format.stdout));
        // It loads the provider, which needs the registry or a mirror of it.
        let init = run(&["init", "-backend=false", "-no-color"], module)?;
        if !init.status.success() {
            rig::progress::say(
                "terraform has no provider hashicorp/aws here: the modules for events are only parsed",
            );
            return Ok(());
        }
        let valid = run(&["validate", "-no-color"], module)?;
        ensure!(valid.status.success(), "{module}: {}", String::from_utf8_lossy(&valid.stderr));
    }
    Ok(())
}

#[test]
fn the_page_shows_what_policy_prints_for_the_failures_that_s3_reports() -> Result<()> {
    let page = read("docs/events.md")?;
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks = blocks.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let url = "https://sqs.eu-west-1.amazonaws.com/111122223333/s3-replication-operator-events";
    let queue: EventQueue = url.parse().map_err(anyhow::Error::msg)?;
    let accounts = BTreeSet::from(["111122223333".to_owned()]);
    let statement = receive_failures(&queue, "eu-west-1", &accounts);
    for printed in [failure_notification(&queue, "eu-west-1"), serde_json::to_value(statement)?] {
        ensure!(blocks.contains(&printed), "docs/events.md lacks {printed:#}");
    }
    Ok(())
}
