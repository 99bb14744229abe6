//! kubectl's own flags, and the names that users type.
//!
//! In: arguments. Out: which cluster, namespace and resources a subcommand is about, or wrong usage.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use kube::config::Kubeconfig;

use crate::cli::shell::word;

/// Of what a word may be the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Replication,
    Backfill,
    Account,
    Namespace,
    Context,
}

/// Which cluster: the flags of kubectl.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterArgs {
    /// Path of the kubeconfig file; absent: KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file; absent: its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Takes the name of a resource: one that cannot be a name is wrong usage, and not a resource that is missing.
pub fn object_name(text: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    match text.chars().all(is_of_name) && (1..=253).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 253 characters: lowercase letters, digits, - and .".to_owned()),
    }
}

/// Takes the name of a namespace. An empty one names none, as for kubectl.
pub fn namespace_name(text: &str) -> Result<String, String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text.chars().all(is_of_name) && text.len() <= 63 {
        true => Ok(text.to_owned()),
        false => Err("a namespace has 1 to 63 characters: lowercase letters, digits and -".to_owned()),
    }
}

/// How to reach the resources of a cluster: the flags of kubectl.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Namespace; absent: that of the context
    #[arg(long, short, value_parser = namespace_name)]
    pub namespace: Option<String>,
}

/// The same flags for resources in files: the cluster is read only for what the files do not contain.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct FileKubeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Namespace of the resources whose file names none; absent: default
    #[arg(long, short, value_parser = namespace_name)]
    pub namespace: Option<String>,
}

/// Which of the resources a subcommand is about, where it takes no name.
#[derive(Clone, Debug, Default, Args)]
pub struct ScopeArgs {
    /// The resources of all namespaces, also where a namespace is given
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Label selector, such as team=data
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
}

impl ScopeArgs {
    /// Every resource of the cluster.
    pub fn everywhere() -> ScopeArgs {
        ScopeArgs { all_namespaces: true, selector: None }
    }
}

impl ClusterArgs {
    /// Whether a flag names a cluster.
    pub fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The flags that were given, each after a blank, for a command that is to be about the same cluster.
    pub fn flags(&self) -> String {
        let ClusterArgs { kubeconfig, context } = self;
        let kubeconfig = kubeconfig.as_ref().map(|path| ("--kubeconfig", path.display().to_string()));
        let given = kubeconfig.into_iter().chain(context.iter().map(|name| ("--context", name.clone())));
        given.map(|(flag, value)| format!(" {flag} {}", word(&value))).collect()
    }

    /// The names of the contexts of the kubeconfig; none if there is no kubeconfig.
    pub fn contexts(&self) -> Vec<String> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let contexts = read.map(|file| file.contexts).unwrap_or_default();
        contexts.into_iter().map(|context| context.name).collect()
    }
}

impl KubeArgs {
    /// The namespace that the flag names. An empty one names none, as for kubectl.
    pub fn named_namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_wrong_usage() {
        assert_eq!(object_name("orders-to-eu.2").as_deref(), Ok("orders-to-eu.2"));
        for wrong in ["", "Orders", "a/../b", "a b", &"a".repeat(254)] {
            assert!(object_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_a_namespace_is_wrong_usage() {
        for right in ["", "data", "team-2"] {
            assert_eq!(namespace_name(right).as_deref(), Ok(right));
        }
        for wrong in ["Data", "a b", "a/../b", "a.b", &"a".repeat(64)] {
            assert!(namespace_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_namespace_is_none() {
        let named = |namespace: Option<&str>| {
            let args = KubeArgs { namespace: namespace.map(str::to_owned), ..KubeArgs::default() };
            args.named_namespace().map(str::to_owned)
        };
        assert_eq!(
            (named(None), named(Some("")), named(Some("data"))),
            (None, None, Some("data".to_owned()))
        );
    }
}
