//! Reads the API server's audit log, so that tests can count the operator's requests to Kubernetes.

use std::collections::HashMap;

use serde::Deserialize;

/// The audit policy: every request, without bodies.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// One request that the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// The plural of the resource, for example `bucketreplications`; empty for paths without a resource.
    pub resource: String,
    /// For example `status`; empty for the object itself.
    pub subresource: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name of the object; empty for lists.
    pub name: String,
    /// The HTTP status of the answer; 0 for a watch that is still open.
    pub code: u16,
}

impl KubeRequest {
    /// Whether the request was a write.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

/// The requests of one user in one namespace (all namespaces when `None`), in order.
pub(super) fn parse(log: &str, user: &str, namespace: Option<&str>) -> Vec<KubeRequest> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut requests: Vec<KubeRequest> = Vec::new();
    // The last line may be incomplete: it is not counted.
    for event in log.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        let object = event.object_ref;
        if event.user.username != user || namespace.is_some_and(|ns| ns != object.namespace) {
            continue;
        }
        let request = KubeRequest {
            verb: event.verb,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.code,
        };
        // A watch is logged when it starts and again when it ends.
        match seen.get(&event.id).and_then(|at| requests.get_mut(*at)) {
            Some(earlier) => *earlier = request,
            None => {
                seen.insert(event.id, requests.len());
                requests.push(request);
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
{"auditID":"1","stage":"ResponseStarted","verb":"watch","user":{"username":"operator"},"objectRef":{"resource":"bucketreplications","namespace":"a"},"responseStatus":{"code":200}}
{"auditID":"2","stage":"ResponseComplete","verb":"patch","user":{"username":"operator"},"objectRef":{"resource":"bucketreplications","namespace":"a","name":"x","subresource":"status"},"responseStatus":{"code":200}}
{"auditID":"3","stage":"ResponseComplete","verb":"get","user":{"username":"admin"},"objectRef":{"resource":"bucketreplications","namespace":"a","name":"x"},"responseStatus":{"code":200}}
{"auditID":"1","stage":"ResponseComplete","verb":"watch","user":{"username":"operator"},"objectRef":{"resource":"bucketreplications","namespace":"a"},"responseStatus":{"code":200}}
{"auditID":"4","stage":"ResponseComplete","verb":"get","user":{"username":"operator"},"requestURI":"/version","responseStatus":{"code":200}}
{"auditID":"5","stage":"Respon"#;

    #[test]
    fn a_user_s_requests_in_a_namespace_are_counted_once_each() {
        let requests = parse(LOG, "operator", Some("a"));
        let verbs: Vec<_> = requests.iter().map(|r| r.verb.as_str()).collect();
        assert_eq!(verbs, ["watch", "patch"]);
        assert!(requests[1].is_write());
        assert_eq!(requests[1].subresource, "status");
    }

    #[test]
    fn without_a_namespace_all_of_a_user_s_requests_are_there() {
        assert_eq!(parse(LOG, "operator", None).len(), 3);
    }
}
