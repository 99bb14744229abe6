//! The forms in which S3 holds configurations: each is imported as a resource that kubectl applies as it is and on
//! which `plan` finds nothing, or refused with its rule and its field.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rig::proxy::{Answer, Fault, FaultId, Matcher};
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{person, plan};

use super::import::by_hand;

const MARKERS: &str = "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>";

/// Two buckets and a role, and what S3 answers of the configuration of the first.
struct Form {
    world: World,
    source: String,
    destination: String,
    role: String,
}

impl Form {
    async fn new(name: &str) -> Result<Form> {
        let world = World::new(name).await?;
        let (source, destination, role) = by_hand(&world).await?;
        Ok(Form { world, source, destination, role })
    }

    /// A rule with these elements: `rule` beside its id and its status, and `to` in its destination.
    fn rule(&self, id: &str, rule: &str, to: &str) -> String {
        format!(
            "<Rule><ID>{id}</ID><Status>Enabled</Status>{rule}\
             <Destination><Bucket>arn:aws:s3:::{}</Bucket>{to}</Destination></Rule>",
            self.destination
        )
    }

    /// Has S3 answer with these rules.
    fn show(&self, rules: &str) -> FaultId {
        let body = format!(
            "<?xml version=\"1.0\"?><ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Role>{}</Role>{rules}</ReplicationConfiguration>",
            self.role
        );
        let matching = Matcher::operation("GetBucketReplication").about(&self.source);
        let answer = Answer::Custom { status: 200, headers: Vec::new(), body };
        self.world.proxy.inject(Fault::always(matching, answer))
    }

    async fn import(&self) -> Result<(Option<i32>, String, String)> {
        let args = ["import", "--bucket", &self.source, "--namespace", &self.world.namespace];
        let output = person(&self.world).run(args, "").await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// The spec as kubectl sends it and admission lets it pass.
    fn applied(&self, manifest: &str) -> Result<Value> {
        let args = ["create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"];
        let output = self.world.cluster().kubectl_with_input(args, manifest)?;
        ensure!(output.status.success(), "{}\n{manifest}", String::from_utf8_lossy(&output.stderr));
        let object: Value = serde_json::from_slice(&output.stdout)?;
        Ok(object["spec"].clone())
    }
}

/// A rule of the second version of the schema, with this filter.
fn second(filter: &str, priority: i32, more: &str) -> String {
    format!("<Priority>{priority}</Priority>{filter}{MARKERS}{more}")
}

#[tokio::test]
async fn each_form_of_a_configuration_is_imported_as_it_is() -> Result<()> {
    let form = Form::new("import-forms").await?;
    let everything = "<Filter><Prefix></Prefix></Filter>";
    let tags = |inner: &str| format!("<Filter><And>{inner}</And></Filter>");
    let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>yes</Value></Tag>");
    let enabled = "<Status>Enabled</Status>";
    let cases: BTreeMap<&str, String> = [
        ("a filter without content", form.rule("r", &second("<Filter/>", 1, ""), "")),
        ("a prefix in And alone", form.rule("r", &second(&tags("<Prefix>a/</Prefix>"), 1, ""), "")),
        ("tags in And alone", form.rule("r", &second(&tags(&[tag("a"), tag("b")].concat()), 1, ""), "")),
        ("a tag alone", form.rule("r", &second(&format!("<Filter>{}</Filter>", tag("a")), 1, ""), "")),
        ("no delete markers", form.rule("r", &format!("<Priority>1</Priority>{everything}"), "")),
        ("a prefix of the first version", form.rule("r", "<Prefix>old/</Prefix>", "")),
        (
            "several rules of the first version",
            [form.rule("a", "<Prefix>a/</Prefix>", ""), form.rule("b", "<Prefix>b/</Prefix>", "")].concat(),
        ),
        ("priority 0", form.rule("r", &second(everything, 0, ""), "")),
        ("an id with characters of YAML", form.rule("- r: #1 {a} [b] 'c' %d", &second(everything, 1, ""), "")),
        ("an id like a number", form.rule("0o17", &second(everything, 1, ""), "")),
        (
            "metrics without a threshold",
            form.rule("r", &second(everything, 1, ""), &format!("<Metrics>{enabled}</Metrics>")),
        ),
        (
            "replication time without a threshold",
            form.rule(
                "r",
                &second(everything, 1, ""),
                &format!(
                    "<ReplicationTime>{enabled}<Time><Minutes>15</Minutes></Time></ReplicationTime><Metrics>{enabled}</Metrics>"
                ),
            ),
        ),
        (
            "replication time that is disabled",
            form.rule(
                "r",
                &second(everything, 1, ""),
                "<ReplicationTime><Status>Disabled</Status><Time><Minutes>15</Minutes></Time></ReplicationTime><Metrics><Status>Disabled</Status></Metrics>",
            ),
        ),
        (
            "existing objects that are left out",
            form.rule(
                "r",
                &second(everything, 1, "<ExistingObjectReplication><Status>Disabled</Status></ExistingObjectReplication>"),
                "",
            ),
        ),
        (
            "modifications of replicas",
            form.rule(
                "r",
                &second(
                    everything,
                    1,
                    &format!("<SourceSelectionCriteria><ReplicaModifications>{enabled}</ReplicaModifications></SourceSelectionCriteria>"),
                ),
                "",
            ),
        ),
        (
            "the account of the source",
            form.rule("r", &second(everything, 1, ""), &format!("<Account>{}</Account>", form.world.account)),
        ),
    ]
    .into();
    for (what, rules) in cases {
        let fault = form.show(&rules);
        let (code, manifest, error) = form.import().await?;
        assert_eq!(code, Some(0), "{what}: {error}");
        form.applied(&manifest).with_context(|| format!("{what}: admission refuses it"))?;
        let (code, text) = plan(&form.world, &manifest).await?;
        assert_eq!(code, Some(0), "{what}: {text}{manifest}");
        form.world.proxy.remove(fault);
    }
    Ok(())
}

#[tokio::test]
async fn a_form_that_a_resource_cannot_keep_is_refused_with_its_rule_and_its_field() -> Result<()> {
    let form = Form::new("import-refused").await?;
    let account = &form.world.account;
    let everything = "<Filter><Prefix/></Filter>";
    let (first, next) = (second(everything, 1, ""), second(everything, 2, ""));
    let enabled = "<Status>Enabled</Status>";
    let minutes = |minutes: u32| format!("{enabled}<Time><Minutes>{minutes}</Minutes></Time>");
    let key = |id: &str| {
        format!("<EncryptionConfiguration><ReplicaKmsKeyID>{id}</ReplicaKmsKeyID></EncryptionConfiguration>")
    };
    let encrypted = format!(
        "<SourceSelectionCriteria><SseKmsEncryptedObjects>{enabled}</SseKmsEncryptedObjects></SourceSelectionCriteria>"
    );
    let of_kms = second(everything, 1, &encrypted);
    let owner = "<AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>";
    let existing = format!("<ExistingObjectReplication>{enabled}</ExistingObjectReplication>");
    let named = |rules: String, field: &str| (rules, field.to_owned());
    let cases = [
        named(
            form.rule("r", &of_kms, &key(&format!("arn:aws:kms:eu-west-1:{account}:alias/mrk-replicas"))),
            "rules[r].destination.kmsKeyArn",
        ),
        named(form.rule("r", &of_kms, &key("alias/replicas")), "rules[r].destination.kmsKeyArn"),
        named(form.rule("r", &of_kms, ""), "rules[r].destination.kmsKeyArn"),
        named(
            form.rule("r", &first, &key(&format!("arn:aws:kms:eu-west-1:{account}:key/k"))),
            "rules[r].destination.kmsKeyArn",
        ),
        named(
            form.rule("r", &of_kms, &key(&format!("arn:aws:kms:us-east-1:{account}:key/k"))),
            "rules[r].destination.kmsKeyArn",
        ),
        named(
            form.rule("r", &of_kms, &key(&format!("arn:aws-cn:kms:eu-west-1:{account}:key/k"))),
            "rules[r].destination.kmsKeyArn",
        ),
        named(form.rule("r", &first, owner), "rules[r].destination.ownership"),
        named(
            form.rule("r", &first, &format!("<Account>{account}</Account>{owner}")),
            "rules[r].destination.ownership",
        ),
        named(form.rule("r", &first, "<Account>999988887777</Account>"), "rules[r]: destination bucket"),
        named(
            form.rule("r", &first, "<StorageClass>EXPRESS_ONEZONE</StorageClass>"),
            "rules[r].destination.storageClass",
        ),
        named(
            form.rule("r", &first, &format!("<ReplicationTime>{}</ReplicationTime>", minutes(15))),
            "rules[r].destination.metrics",
        ),
        named(
            form.rule(
                "r",
                &first,
                &format!("<ReplicationTime>{}</ReplicationTime><Metrics>{enabled}</Metrics>", minutes(30)),
            ),
            "Rule[r]/Destination/ReplicationTime/Time/Minutes=30",
        ),
        named(form.rule("r", &second(everything, 1, &existing), ""), "rules[r].existingObjectReplication"),
        named(form.rule("r", &second(everything, -1, ""), ""), "rules[r].priority"),
        named([form.rule("a", &first, ""), form.rule("b", &first, "")].concat(), "rules[b].priority"),
        named([form.rule("r", &first, ""), form.rule("r", &next, "")].concat(), "rules[r].id"),
        named([form.rule("", &first, ""), form.rule("b", &next, "")].concat(), "rules[].id"),
        named(form.rule("ü", &first, ""), "rules[ü].id"),
        named(
            form.rule("r", &first, "").replace(&form.destination, &form.source),
            "rules[r].destination.bucket",
        ),
        named(
            form.rule("r", &first, "")
                .replace("<Bucket>arn:aws:s3:::", "<Bucket>arn:aws:s3:us-east-1:1:accesspoint/"),
            "rules[r].destination.bucket",
        ),
    ];
    for (rules, field) in cases {
        let fault = form.show(&rules);
        let (code, manifest, error) = form.import().await?;
        assert_eq!((code, manifest.as_str()), (Some(2), ""), "{field}: {error}");
        ensure!(error.contains(&form.source) && error.contains(&field), "{field}: {error}");
        form.world.proxy.remove(fault);
    }
    Ok(())
}

/// kubectl reads YAML 1.1, in which `on` is true and `012` is 10.
#[tokio::test]
async fn a_text_of_s3_reaches_the_api_server_unchanged_by_kubectl() -> Result<()> {
    let form = Form::new("import-texts").await?;
    let texts = [
        "on",
        "y",
        "No",
        "null",
        "~",
        "012",
        "0b11",
        "1_000",
        "1e3",
        "+.inf",
        "2001-01-01",
        "12:30:45",
        "=",
        "&lt;&lt;",
        "- a",
        "a: b",
        "a #b",
        "? a",
        "&amp;a",
        "*a",
        "!a",
        "|",
        "&gt;",
        "%a",
        "@a",
        "`a",
        "{a",
        "[a",
        "'a'",
        "\"a\"",
        "a:",
        " lead",
        "trail ",
        "tab\tbed",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "ü 🦀",
        "---",
    ];
    let long = "words and  more   words ".repeat(20);
    let texts = texts.iter().map(|text| (*text).to_owned()).chain([long.chars().take(256).collect()]);
    let texts: Vec<String> = texts.collect();
    for some in texts.chunks(10) {
        let tag = |text: &String| {
            let key: String = text.chars().take(60).collect();
            format!("<Tag><Key>{key}</Key><Value>{text}</Value></Tag>")
        };
        let tags: String = some.iter().map(tag).collect();
        let prefix = some.last().context("no text")?;
        let filter = format!("<Filter><And><Prefix>{prefix}</Prefix>{tags}</And></Filter>");
        let fault = form.show(&form.rule("r", &second(&filter, 1, ""), ""));
        let (code, manifest, error) = form.import().await?;
        assert_eq!(code, Some(0), "{error}");
        let spec = form.applied(&manifest)?;
        let plain = |text: &str| {
            let [lt, gt, amp] = [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
            text.replace(lt.0, lt.1).replace(gt.0, gt.1).replace(amp.0, amp.1)
        };
        let wanted: serde_json::Map<String, Value> = some
            .iter()
            .map(|text| (plain(&text.chars().take(60).collect::<String>()), json!(plain(text))))
            .collect();
        let filter = &spec["rules"][0]["filter"];
        assert_eq!(filter["tags"], Value::Object(wanted), "{manifest}");
        assert_eq!(filter["prefix"], json!(plain(prefix)), "{manifest}");
        let (code, text) = plan(&form.world, &manifest).await?;
        assert_eq!(code, Some(0), "{text}{manifest}");
        form.world.proxy.remove(fault);
    }
    Ok(())
}

/// Whether a bucket that may not be read replicates is unknown, and that is never silent.
#[tokio::test]
async fn a_bucket_that_may_not_be_read_is_named_and_hides_no_other() -> Result<()> {
    let form = Form::new("import-denied").await?;
    let denied = form.world.versioned_bucket("us-east-1").await?;
    form.show(&form.rule("r", &second("<Filter><Prefix/></Filter>", 1, ""), ""));
    let matching = Matcher::operation("GetBucketReplication").about(&denied);
    form.world.proxy.inject(Fault::always(matching, Answer::access_denied()));
    let args = ["import", "--all", "--namespace", &form.world.namespace];
    let output = person(&form.world).run(args, "").await?;
    let (printed, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{error}");
    ensure!(printed.contains(&format!("name: {}\n", form.source)) && !printed.contains(&denied), "{printed}");
    ensure!(error.contains(&denied) && error.contains("s3:GetReplicationConfiguration"), "{error}");
    let (code, text) = plan(&form.world, &printed).await?;
    assert_eq!(code, Some(0), "{text}");
    Ok(())
}
