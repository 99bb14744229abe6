//! The state of a pod of the operator.

use k8s_openapi::api::core::v1::Pod;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPod {
    pub name: String,
    pub uid: String,
    pub node: String,
    pub ready: bool,
    /// Its deletion was requested.
    pub ending: bool,
    pub restarts: i32,
    /// The exit code of the previous run of its container.
    pub exit_code: Option<i32>,
}

impl From<&Pod> for OperatorPod {
    fn from(pod: &Pod) -> Self {
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
        let ended = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            ready: status.is_some_and(|status| status.ready),
            ending: pod.metadata.deletion_timestamp.is_some(),
            restarts: status.map(|status| status.restart_count).unwrap_or_default(),
            exit_code: ended.map(|ended| ended.exit_code),
        }
    }
}
