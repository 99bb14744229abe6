//! The rendered chart: a real API server accepts it, it grants the intended permissions and no others, and an uninstall
//! removes everything but the definitions.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rig::Cluster;
use serde_json::{Value, json};

use crate::support::{
    NAMESPACE, RELEASE, accepted, chart, container, documents, helm, kubectl, name, of_kind, prepare_cluster,
    rendered, rendered_tests, rendered_text, rendered_with, repository, the,
};

/// Values of different kinds of users.
pub fn sets() -> Vec<(&'static str, Value)> {
    let monitoring = json!({
        "serviceMonitor": {
            "enabled": true,
            "interval": "30s",
            "scrapeTimeout": "10s",
            "labels": {"release": "prometheus"},
            "relabelings": [{"targetLabel": "cluster", "replacement": "eu"}],
            "metricRelabelings": [{"action": "drop", "regex": "go_.*", "sourceLabels": ["__name__"]}],
        },
        "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": true, "namespace": "monitoring", "annotations": {"grafana_folder": "AWS"}},
    });
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    vec![
        ("as it comes", json!({})),
        ("one replica without election", json!({"replicas": 1, "leaderElection": {"enabled": false}})),
        ("paused", json!({"replicas": 0})),
        (
            "by digest",
            json!({"image": {"repository": "registry.example.com:5000/s3", "digest": digest},
            "imagePullSecrets": [{"name": "registry"}]}),
        ),
        (
            "IRSA",
            json!({"serviceAccount": {"annotations":
            {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/s3-replication-operator"}}}),
        ),
        (
            "static credentials",
            json!({"aws": {"region": "eu-west-1", "credentialsSecret": "aws",
            "endpointUrl": "http://emulator.aws.svc:4566", "credentialsSecretKeys": {"accessKeyId": "id"}}}),
        ),
        (
            "accounts",
            json!({"accounts": {
                "default": {"accountId": "111122223333", "namespaces": {"matchNames": ["data"]},
                    "sources": ["orders-*"], "destinations": ["*-copy"]},
                "dr": {"accountId": "444455556666", "namespaces": {"matchLabels": {"team": "data"}},
                    "assumeRole": {"arn": "arn:aws:iam::444455556666:role/s3-replication-operator"}},
            }}),
        ),
        ("one team", json!({"operator": {"requireAccount": false}})),
        ("some namespaces", json!({"namespaces": ["data", "shop", "data"]})),
        (
            "lease elsewhere",
            json!({"leaderElection": {"leaseName": "other", "leaseNamespace": "leases",
            "leaseDuration": "30s", "renewDeadline": "20s", "retryPeriod": "4s"}}),
        ),
        ("everything watched", json!({"monitoring": monitoring})),
        ("open network", json!({"networkPolicy": {"enabled": false}})),
        (
            "narrow network",
            json!({"networkPolicy": {
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "apiServerPorts": [],
                "extraEgress": [{"ports": [{"port": 4318}]}],
            }}),
        ),
        (
            "more of everything",
            json!({
                "extraArgs": ["--log-level=debug"],
                "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
                "extraEnvFrom": [{"secretRef": {"name": "aws"}}],
                "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": true}],
                "commonLabels": {"team": "platform"},
                "podLabels": {"sidecar.istio.io/inject": "false"},
                "podAnnotations": {"example.com/note": "1"},
                "deploymentAnnotations": {"example.com/note": "2"},
            }),
        ),
        (
            "placed",
            json!({
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"kubernetes.io/arch": "arm64"},
                "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                    [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}}},
                "topologySpreadConstraints": [{"topologyKey": "example.com/rack", "maxSkew": 2,
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}],
                "podDisruptionBudget": {"maxUnavailable": "50%"},
            }),
        ),
        (
            "as little as possible",
            json!({
                "service": {"enabled": false},
                "rbac": {"create": false},
                "serviceAccount": {"create": false, "name": "made-elsewhere"},
                "podDisruptionBudget": {"enabled": false},
                "topologySpreadConstraints": [],
                "crds": {"install": false},
            }),
        ),
        (
            "probed, confined and with hardware",
            json!({
                "livenessProbe": {"initialDelaySeconds": 5, "terminationGracePeriodSeconds": 20, "successThreshold": 1},
                "readinessProbe": {"successThreshold": 2, "timeoutSeconds": null},
                "resources": {
                    "requests": {"cpu": 1, "memory": "64Mi", "example.com/device": 1, "hugepages-2Mi": "4Mi"},
                    "limits": {"cpu": 1.5, "memory": 134217728, "example.com/device": 1, "hugepages-2Mi": "4Mi"},
                },
                "podSecurityContext": {
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "supplementalGroups": [1000],
                    "supplementalGroupsPolicy": "Strict",
                    "appArmorProfile": {"type": "RuntimeDefault"},
                    "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}],
                },
                "securityContext": {"privileged": false, "procMount": "Default", "seccompProfile": {"type": "RuntimeDefault"}},
            }),
        ),
        ("a name of its own", json!({"fullnameOverride": "replicator", "nameOverride": "replicator"})),
        (
            "a user that the cluster assigns",
            json!({"podSecurityContext": {"runAsUser": null, "runAsGroup": null}}),
        ),
    ]
}

/// The pod that the Deployment would create.
fn pod_of(deployment: &Value) -> Value {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["name"] = json!("as-deployed");
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"],
        "spec": template["spec"],
    })
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_every_set_of_values() -> Result<()> {
    let cluster = prepare_cluster().await?;
    for (what, values) in sets() {
        let text = rendered_with(&[], RELEASE, NAMESPACE, &values).with_context(|| what)?;
        accepted(cluster, &text).with_context(|| what)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_pods_of_every_set_of_values_are_admitted_as_restricted() -> Result<()> {
    let cluster = prepare_cluster().await?;
    let admitted = |pod: &Value| -> Result<()> {
        let args = ["apply", "--server-side", "--dry-run=server", "-n", NAMESPACE, "-f", "-"];
        kubectl(cluster, &args, &pod.to_string()).map(drop)
    };
    for (what, values) in sets() {
        let objects = rendered(&values)?;
        let mut pod = pod_of(the(&objects, "Deployment")?);
        admitted(&pod).with_context(|| what)?;
        // The server does check: it refuses the same pod with one privilege more.
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refused = admitted(&pod).expect_err(what);
        ensure!(format!("{refused:#}").contains("violates PodSecurity"), "{what}: {refused:#}");
    }
    Ok(())
}

#[test]
fn the_image_is_named_by_tag_or_digest() -> Result<()> {
    let image = |values: Value| -> Result<String> {
        let objects = rendered(&json!({"image": values}))?;
        Ok(container(the(&objects, "Deployment")?)["image"].as_str().unwrap_or_default().to_owned())
    };
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(json!({}))?, format!("s3-replication-operator:{version}"));
    assert_eq!(image(json!({"repository": "r.example.com/x", "tag": "v2"}))?, "r.example.com/x:v2");
    assert_eq!(image(json!({"repository": "x", "digest": digest}))?, format!("x@{digest}"));
    assert_eq!(image(json!({"repository": "x", "tag": "v2", "digest": digest}))?, format!("x:v2@{digest}"));
    Ok(())
}

#[test]
fn static_credentials_come_from_a_secret_and_nowhere_else() -> Result<()> {
    let objects = rendered(&json!({"aws": {"credentialsSecret": "aws", "region": "eu-west-1"}}))?;
    let env = container(the(&objects, "Deployment")?)["env"].clone();
    let key = |name: &str, optional: bool| {
        let mut reference = json!({"name": "aws", "key": name});
        if optional {
            reference["optional"] = json!(true);
        }
        json!({"name": name, "valueFrom": {"secretKeyRef": reference}})
    };
    assert_eq!(
        env,
        json!([
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "AWS_REGION", "value": "eu-west-1"},
            key("AWS_ACCESS_KEY_ID", false),
            key("AWS_SECRET_ACCESS_KEY", false),
            key("AWS_SESSION_TOKEN", true),
        ])
    );
    Ok(())
}

#[test]
fn without_election_there_is_one_operator_at_any_time() -> Result<()> {
    let objects = rendered(&json!({"replicas": 1, "leaderElection": {"enabled": false}}))?;
    assert_eq!(the(&objects, "Deployment")?["spec"]["strategy"], json!({"type": "Recreate"}));
    assert!(of_kind(&objects, "PodDisruptionBudget").is_empty());
    assert!(of_kind(&objects, "Role").is_empty(), "no Lease, no right to one");
    Ok(())
}

/// As GitOps tools apply it, after the API server has filled in the defaults of a rolling update.
#[tokio::test]
async fn election_can_be_switched_off_by_a_server_side_apply() -> Result<()> {
    let cluster = prepare_cluster().await?;
    for values in [json!({}), json!({"replicas": 1, "leaderElection": {"enabled": false}})] {
        let objects = documents(&rendered_text("switched", NAMESPACE, &values)?)?;
        let deployment = the(&objects, "Deployment")?.to_string();
        kubectl(cluster, &["apply", "--server-side", "-f", "-"], &deployment)?;
    }
    Ok(())
}

#[test]
fn services_and_budgets_are_for_the_pods_at_work_alone() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let pods = &the(&objects, "Deployment")?["spec"]["template"]["metadata"]["labels"];
    let tests = rendered_tests(RELEASE, NAMESPACE, &json!({}))?;
    let test = &the(&tests, "Pod")?["metadata"]["labels"];
    let service = &the(&objects, "Service")?["spec"]["selector"];
    let budget = &the(&objects, "PodDisruptionBudget")?["spec"]["selector"]["matchLabels"];
    let selects = |selector: &Value, labels: &Value| {
        selector.as_object().is_some_and(|s| s.iter().all(|(key, value)| labels[key] == *value))
    };
    for selector in [service, budget] {
        assert!(selects(selector, pods), "{selector}");
        assert!(!selects(selector, test), "{selector}");
    }
    Ok(())
}

/// Every permission of a role, as `group/resource[name] verb`.
fn rights(role: &Value) -> BTreeSet<String> {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = list(&rule["resourceNames"]);
        let names = if names.is_empty() { String::new() } else { format!("[{}]", names.join(",")) };
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                rights.extend(list(&rule["verbs"]).iter().map(|v| format!("{group}/{resource}{names} {v}")));
            }
        }
    }
    rights
}

const IN_A_NAMESPACE: [&str; 9] = [
    "events.k8s.io/events create",
    "s3replication.dev/bucketreplications get",
    "s3replication.dev/bucketreplications patch",
    "s3replication.dev/bucketreplications watch",
    "s3replication.dev/bucketreplications/status patch",
    "s3replication.dev/replicationbackfills get",
    "s3replication.dev/replicationbackfills patch",
    "s3replication.dev/replicationbackfills watch",
    "s3replication.dev/replicationbackfills/status patch",
];

const OF_ACCOUNTS: [&str; 3] = [
    "s3replication.dev/awsaccounts get",
    "s3replication.dev/awsaccounts watch",
    "s3replication.dev/awsaccounts/status patch",
];

const OF_THE_LEASE: [&str; 3] = [
    "coordination.k8s.io/leases create",
    "coordination.k8s.io/leases[s3-replication-operator] get",
    "coordination.k8s.io/leases[s3-replication-operator] update",
];

fn set(parts: &[&[&str]]) -> BTreeSet<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

/// The roles that the operator is bound to, by namespace; empty for the cluster.
fn bound(objects: &[Value]) -> Result<Vec<(String, BTreeSet<String>)>> {
    let account = the(objects, "ServiceAccount")?;
    let mut all = Vec::new();
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        for binding in of_kind(objects, binding) {
            assert_eq!(
                binding["subjects"],
                json!([{"kind": "ServiceAccount", "name": name(account), "namespace": NAMESPACE}])
            );
            let namespace = &binding["metadata"]["namespace"];
            let role = of_kind(objects, role)
                .into_iter()
                .find(|r| {
                    r["metadata"]["name"] == binding["roleRef"]["name"]
                        && r["metadata"]["namespace"] == *namespace
                })
                .with_context(|| format!("no role for {binding}"))?;
            all.push((namespace.as_str().unwrap_or_default().to_owned(), rights(role)));
        }
    }
    Ok(all)
}

#[test]
fn for_all_namespaces_there_is_one_cluster_role_with_what_is_needed() -> Result<()> {
    let objects = rendered(&json!({}))?;
    assert_eq!(
        bound(&objects)?,
        [
            (String::new(), set(&[&IN_A_NAMESPACE, &["/namespaces get"], &OF_ACCOUNTS])),
            (NAMESPACE.to_owned(), set(&[&OF_THE_LEASE])),
        ]
    );
    Ok(())
}

#[test]
fn for_some_namespaces_next_to_nothing_is_left_for_the_cluster() -> Result<()> {
    let objects = rendered(&json!({"namespaces": ["data", "shop", "data"]}))?;
    assert_eq!(
        bound(&objects)?,
        [
            (String::new(), set(&[&["/namespaces[kube-system,data,shop] get"], &OF_ACCOUNTS])),
            ("data".to_owned(), set(&[&IN_A_NAMESPACE])),
            ("shop".to_owned(), set(&[&IN_A_NAMESPACE])),
            (NAMESPACE.to_owned(), set(&[&OF_THE_LEASE])),
        ]
    );
    Ok(())
}

#[test]
fn view_edit_and_admin_include_the_kinds_and_never_the_status() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let aggregated = |objects: &[Value], into: &str| -> BTreeSet<String> {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{into}");
        let roles = of_kind(objects, "ClusterRole");
        roles.iter().filter(|r| r["metadata"]["labels"][&label] == "true").flat_map(|r| rights(r)).collect()
    };
    let kinds = |resource: &str, verbs: &[&str]| -> BTreeSet<String> {
        verbs.iter().map(|verb| format!("s3replication.dev/{resource} {verb}")).collect()
    };
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let both = |verbs: &[&str]| &kinds("bucketreplications", verbs) | &kinds("replicationbackfills", verbs);
    let view = &both(&read) | &kinds("awsaccounts", &read);
    assert_eq!(aggregated(&objects, "view"), view);
    assert_eq!(aggregated(&objects, "edit"), &view | &both(&write));
    assert_eq!(aggregated(&objects, "admin"), aggregated(&objects, "edit"));

    // Without accounts nothing would limit what people write.
    let unrestricted = rendered(&json!({"operator": {"requireAccount": false}}))?;
    for role in ["view", "edit", "admin"] {
        assert_eq!(aggregated(&unrestricted, role), view, "{role}");
    }
    Ok(())
}

#[test]
fn the_network_policy_opens_the_ports_that_the_values_name() -> Result<()> {
    let ports = |values: Value| -> Result<Vec<Value>> {
        let objects = rendered(&values)?;
        let ports = the(&objects, "NetworkPolicy")?["spec"]["egress"][1]["ports"].clone();
        Ok(ports.as_array().context("ports")?.iter().map(|port| port["port"].clone()).collect())
    };
    assert_eq!(ports(json!({}))?, [443, 6443]);
    let urls = |endpoint: &str, collector: &str| json!({"aws": {"endpointUrl": endpoint}, "operator": {"otlpEndpoint": collector}});
    assert_eq!(ports(urls("http://emulator.aws", "http://collector:4318/"))?, [443, 6443, 80, 4318]);
    assert_eq!(ports(urls("https://vpce.example.com", "https://[fd00::1]:8443"))?, [443, 6443, 8443]);
    Ok(())
}

#[test]
fn the_containers_ask_for_all_that_they_use_of_a_node() -> Result<()> {
    let objects = rendered(&json!({}))?;
    let tests = rendered_tests(RELEASE, NAMESPACE, &json!({}))?;
    let (deployment, test) = (the(&objects, "Deployment")?, the(&tests, "Pod")?);
    for container in [container(deployment), &test["spec"]["containers"][0]] {
        let resources = &container["resources"];
        for what in ["cpu", "memory", "ephemeral-storage"] {
            ensure!(resources["requests"][what].is_string(), "{what} is not requested: {container}");
        }
        for what in ["memory", "ephemeral-storage"] {
            ensure!(resources["limits"][what].is_string(), "{what} has no limit: {container}");
        }
    }
    Ok(())
}

/// The same with whole numbers as integers: Helm writes 0 for 0.0.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) => n.as_f64().filter(|f| f.fract() == 0.0).map_or(json!(n), |f| json!(f as i64)),
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, whole(value))).collect(),
        other => other,
    }
}

#[test]
fn the_chart_installs_the_definitions_as_they_are() -> Result<()> {
    let mut files: Vec<_> =
        std::fs::read_dir(repository("crds"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let objects = rendered(&json!({}))?;
    let mut carried: Vec<Value> =
        of_kind(&objects, "CustomResourceDefinition").into_iter().cloned().collect();
    for definition in &mut carried {
        let metadata = definition["metadata"].as_object_mut().context("metadata")?;
        let annotations = metadata.remove("annotations");
        assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
        metadata.remove("labels");
    }
    let mut expected = Vec::new();
    for file in files {
        expected.extend(documents(&std::fs::read_to_string(file)?)?);
    }
    assert_eq!(
        carried.into_iter().map(whole).collect::<Vec<_>>(),
        expected.into_iter().map(whole).collect::<Vec<_>>()
    );
    let without = rendered(&json!({"crds": {"install": false}}))?;
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
    Ok(())
}

/// Runs Helm against the cluster.
fn release(cluster: &Cluster, args: &[&str], values: &Value) -> Result<String> {
    let kubeconfig = cluster.admin_kubeconfig().to_string_lossy();
    let output = helm(&[args, &["--kubeconfig", &kubeconfig, "--namespace", "release"]].concat(), values)?;
    ensure!(output.status.success(), "helm {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn a_release_comes_changes_and_goes_and_leaves_the_definitions() -> Result<()> {
    let cluster = prepare_cluster().await?;
    let path = chart();
    let path = path.to_string_lossy();
    // The rig has applied the definitions already, as after an installation with kubectl.
    let install = ["install", RELEASE, &path, "--take-ownership", "-f", "-"];
    let notes = release(cluster, &install, &json!({}))?;
    for words in [
        "helm test s3-replication-operator",
        // Else Helm prints these notes again.
        " --hide-notes\n",
        "CredentialsUnavailable",
        "To uninstall, delete the resources",
    ] {
        assert!(notes.contains(words), "{notes}");
    }
    let held = |kinds: &str| -> Result<Vec<String>> {
        // The rig's operator has roles from `install.yaml`, which belong to no release.
        let label = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/managed-by=Helm");
        let listed = kubectl(cluster, &["get", kinds, "-A", "-l", &label, "-o", "name"], "")?;
        Ok(listed.lines().map(str::to_owned).collect())
    };
    let kinds = "deployments,services,serviceaccounts,poddisruptionbudgets,clusterroles,roles,rolebindings,clusterrolebindings";
    assert_eq!(held("deployments")?.len(), 1);
    assert_eq!(held("clusterroles")?.len(), 3);
    assert_eq!(held("roles")?.len(), 1);

    let upgrade = ["upgrade", RELEASE, &path, "-f", "-"];
    release(cluster, &upgrade, &json!({"namespaces": ["data", "shop"], "replicas": 3}))?;
    assert_eq!(held("roles")?.len(), 3);
    release(cluster, &upgrade, &json!({"replicas": 1, "leaderElection": {"enabled": false}}))?;
    assert_eq!(held("roles")?.len(), 0);

    release(cluster, &["uninstall", RELEASE], &Value::Null)?;
    // Nothing here collects the children of the Deployment; the release itself made these.
    assert_eq!(held(kinds)?, Vec::<String>::new());
    let definitions = held("crds")?;
    assert!(
        definitions.iter().any(|d| d.ends_with("/bucketreplications.s3replication.dev")),
        "{definitions:?}"
    );
    // And it can be installed again.
    release(cluster, &["install", RELEASE, &path, "-f", "-"], &json!({}))?;
    release(cluster, &["uninstall", RELEASE], &Value::Null)?;
    Ok(())
}
