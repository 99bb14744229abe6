//! The commands that the program prints for a shell.
//!
//! In: names as they come from Kubernetes, AWS and the flags. Out: words that a shell takes as they are, and commands that
//! are about the same cluster as the one that printed them.

use crate::cli::invocation::Program;

/// A name as a word for a shell. Names with other characters than these come from past admission, and must not become
/// commands.
pub fn word(name: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/:+=@".contains(c);
    match name {
        "" => "NAME".to_owned(),
        name if name.chars().all(harmless) => name.to_owned(),
        name => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

/// A command with the flags that name a cluster, each after a blank: without them it would be about the current context.
pub fn about_cluster(command: &str, flags: &str) -> String {
    if flags.is_empty() {
        return command.to_owned();
    }
    let with_flags = |part: &str| {
        let (plugin, operator) = (Program::Plugin.typed(), Program::Operator.typed());
        // kubectl takes them before its verb, and this program after its own.
        let at = [(plugin, 1), ("kubectl", 0), (operator, 1)].into_iter().find_map(|(program, verbs)| {
            let rest = part.strip_prefix(program)?.strip_prefix(' ')?;
            let verb = if verbs == 0 { 0 } else { 1 + rest.find(' ').unwrap_or(rest.len()) };
            Some(program.len() + verb)
        });
        match at.and_then(|at| part.split_at_checked(at)) {
            Some((before, after)) => format!("{before}{flags}{after}"),
            None => part.to_owned(),
        }
    };
    command.split(" | ").map(with_flags).collect::<Vec<String>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_about_the_cluster_that_flags_named() {
        let about = |command: &str| about_cluster(command, " --context prod");
        for (command, wanted) in [
            (
                "kubectl s3replication status orders -n data",
                "kubectl s3replication status --context prod orders -n data",
            ),
            ("s3-replication-operator map -A", "s3-replication-operator map --context prod -A"),
            ("kubectl s3replication report", "kubectl s3replication report --context prod"),
            ("kubectl edit awsaccount prod", "kubectl --context prod edit awsaccount prod"),
            (
                "kubectl get br a -o yaml | kubectl s3replication plan -f -",
                "kubectl --context prod get br a -o yaml | kubectl s3replication plan --context prod -f -",
            ),
            ("aws iam get-role --role-name kubectl", "aws iam get-role --role-name kubectl"),
        ] {
            assert_eq!(about(command), wanted);
            assert_eq!(about_cluster(command, ""), command);
        }
    }

    #[test]
    fn a_name_with_special_characters_is_quoted() {
        assert_eq!(word("orders-to-eu.2"), "orders-to-eu.2");
        assert_eq!(word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("team in (data, shop)"), "'team in (data, shop)'");
    }
}
