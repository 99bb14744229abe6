//! Connects to the cluster as kubectl does with the same flags.
//!
//! In: the flags, the kubeconfig and the environment. Out: a client whose requests end while a person waits, or the
//! reason why there is none.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cli::kubernetes::args::{ClusterArgs, KubeArgs};
use crate::cli::kubernetes::error::{KubernetesError, LONGEST_ANSWER};
use crate::cli::kubernetes::requests::Kubernetes;
use crate::cli::shell::word;

impl ClusterArgs {
    /// A client, as kubectl makes it with the same flags.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it lacks the context.
    pub async fn client(&self) -> Result<Client, KubernetesError> {
        let config = self.config().await?;
        client_of(config)
    }

    async fn config(&self) -> Result<Config, KubernetesError> {
        Ok(for_a_person(self.config_of_kubectl().await?))
    }

    async fn config_of_kubectl(&self) -> Result<Config, KubernetesError> {
        let unusable = |error: String| KubernetesError::Configuration(error);
        let known = self.contexts();
        if let Some(context) = self.context.as_ref().filter(|name| !known.is_empty() && !known.contains(name))
        {
            return Err(unusable(format!(
                "the kubeconfig has no context {}, but {}",
                word(context),
                known.join(", ")
            )));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Ok(match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path).map_err(|e| unusable(e.to_string()))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|e| unusable(e.to_string()))?
            }
            (None, Some(_)) => {
                Config::from_kubeconfig(&options).await.map_err(|e| unusable(e.to_string()))?
            }
            // In a pod without a kubeconfig, the pod's own ServiceAccount serves.
            (None, None) => match Config::from_kubeconfig(&options).await {
                Ok(config) => config,
                Err(why) => Config::incluster().map_err(|_| unusable(why.to_string()))?,
            },
        })
    }
}

impl KubeArgs {
    /// Connects as kubectl does with the same flags.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it lacks the context.
    pub async fn connect(&self) -> Result<Kubernetes, KubernetesError> {
        let config = self.cluster.config().await?;
        let namespace = self.named_namespace().unwrap_or(&config.default_namespace).to_owned();
        let client = client_of(config)?;
        Ok(Kubernetes { client, namespace, flags: self.cluster.flags() })
    }
}

/// A configuration whose requests end while a person waits.
pub(super) fn for_a_person(mut config: Config) -> Config {
    // By default a request to an API server that takes it and does not answer has no end.
    config.read_timeout = Some(LONGEST_ANSWER);
    config.reset_reader_on_write = true;
    // By default the client tries again in silence for minutes.
    config.default_retry = false;
    config
}

/// A client; the plugin that logs in runs here, where the kubeconfig names one.
pub(super) fn client_of(config: Config) -> Result<Client, KubernetesError> {
    Client::try_from(config).map_err(|error| match &error {
        kube::Error::Auth(why) => KubernetesError::Login(why.to_string()),
        _ => KubernetesError::Configuration(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_context_that_the_kubeconfig_lacks_is_named_with_those_that_it_has() {
        let path = std::env::temp_dir().join(format!("kubeconfig-{}", std::process::id()));
        let file = json!({"apiVersion": "v1", "kind": "Config", "current-context": "east", "clusters": [],
            "users": [], "contexts": [{"name": "east", "context": {"cluster": "a", "user": "a"}}]});
        std::fs::write(&path, file.to_string()).unwrap();
        let args = ClusterArgs { kubeconfig: Some(path.clone()), context: Some("wets".to_owned()) };
        let message = args.config().await.unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        assert!(message.contains("the kubeconfig has no context wets, but east"), "{message}");
    }
}
