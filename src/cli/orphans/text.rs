//! Lays out what is left over of resources that are gone, for people.
//!
//! In: [`Findings`], what the command is asked to delete, and the width of the terminal. Out: text: the verdict, each
//! role with the steps that delete it, what is kept, what is unclear, and the command that deletes. Names and messages
//! come from AWS and from other users.

use crate::cli::counted::{counted, form};
use crate::cli::orphans::findings::{Findings, Orphan, REPLICATION, Statements, Unclear, UnclearRole};
use crate::cli::orphans::recheck::{LeftPart, blocked};
use crate::cli::reach::title;
use crate::cli::terminal::{Layout, Tone, printable};

/// The request to the command.
#[derive(Debug)]
pub struct Mode {
    pub delete: bool,
    pub including_replicating: bool,
    /// The namespace to whose resources the command is limited.
    pub namespace: Option<String>,
    /// The command without its namespace and without what it deletes, as a user types it.
    pub typed: String,
    /// The flag for the namespace, after a blank.
    pub scope: String,
}

impl Mode {
    /// The resources that are gone, in the singular or in the plural.
    fn resources(&self, count: usize) -> String {
        let of = self.namespace.as_ref().map(|namespace| format!(" of namespace {namespace}"));
        let of = of.unwrap_or_default();
        format!("{}{of} that {} gone", form(count, "a resource", "resources"), form(count, "is", "are"))
    }
}

/// A text in the making.
struct Page<'a> {
    layout: &'a Layout,
    text: String,
}

impl Page<'_> {
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A line in a tone.
    fn heading(&mut self, tone: Tone, text: &str) {
        let wrapped = self.layout.wrap(text, "");
        self.text.push_str(&format!("{}\n", self.layout.paint(tone, &wrapped)));
    }

    /// A line that begins with `first`, and goes on after `more`.
    fn line(&mut self, text: &str, first: &str, more: &str) {
        self.text.push_str(&format!("{}\n", self.layout.fill(&printable(text), first, more)));
    }

    /// A line whose first words are in a tone.
    fn titled(&mut self, tone: Tone, title: &str, text: &str) {
        let title = self.layout.paint(tone, &printable(title));
        self.text
            .push_str(&format!("{}\n", self.layout.fill(&format!("{title}{}", printable(text)), "", "  ")));
    }

    /// A command is on one line, however long it is.
    fn command(&mut self, indent: &str, command: &str) {
        let command = self.layout.paint(Tone::Strong, &printable(command));
        self.text.push_str(&format!("{indent}→ {command}\n"));
    }
}

/// Lists the things that are left over, and the steps that would delete them.
pub fn text(findings: &Findings, mode: &Mode, layout: &Layout) -> String {
    let Findings {
        orphans,
        still_replicating,
        of_other_clusters,
        of_other_namespaces,
        unclear,
        unclear_roles,
        unknown,
    } = findings;
    let mut page = Page { layout, text: String::new() };
    let unread: Vec<String> = unknown.iter().map(|one| title(&one.account_id)).collect();
    let unread = unread.join(", ");
    if !orphans.is_empty() || still_replicating.is_empty() {
        let (tone, first) = verdict(findings, mode, &unread);
        page.heading(tone, &first);
    }
    for orphan in orphans {
        page.gap();
        list(&mut page, orphan, true);
    }
    if !still_replicating.is_empty() {
        page.gap();
        list_replicating(&mut page, still_replicating, mode);
    }
    list_unclear(&mut page, unclear, unclear_roles);
    if !unknown.is_empty() && (!orphans.is_empty() || !still_replicating.is_empty()) {
        page.gap();
        page.titled(Tone::Warning, "Unknown:", &format!(" {unread} could not be read, and may hold more."));
    }
    if *of_other_clusters > 0 {
        page.gap();
        page.line(&format!("Not touched: roles of other clusters ({of_other_clusters})."), "", "  ");
    }
    if *of_other_namespaces > 0 {
        page.gap();
        let roles = counted(*of_other_namespaces, "role");
        page.line(&format!("Left out: {roles} of resources of other namespaces. To list all:"), "", "  ");
        page.command("", &format!("{} -A", mode.typed));
    }
    if !orphans.is_empty() && !mode.delete {
        page.gap();
        page.line("To delete what is left over, after a confirmation:", "", "");
        page.command("", &format!("{}{} --delete", mode.typed, mode.scope));
    }
    page.text
}

/// The first line. `unread`: the accounts that could not be read.
fn verdict(findings: &Findings, mode: &Mode, unread: &str) -> (Tone, String) {
    let Findings { orphans, unknown, .. } = findings;
    let gone = mode.resources(orphans.len());
    match orphans.len() {
        0 if !unknown.is_empty() => (
            Tone::Warning,
            format!("It is unknown whether anything is left over of {gone}: {unread} could not be read."),
        ),
        0 if findings.has_unclear() => {
            (Tone::Warning, format!("No role, configuration or statement is certainly left over of {gone}."))
        }
        0 => (Tone::Good, format!("Nothing is left over of {gone}.")),
        count => (
            Tone::Warning,
            format!("{} {} left over of {gone}:", counted(count, "role"), form(count, "is", "are")),
        ),
    }
}

/// The roles that still replicate, why they may be there, and how to delete them.
fn list_replicating(page: &mut Page<'_>, roles: &[Orphan], mode: &Mode) {
    let count = roles.len();
    let fate = match mode.including_replicating {
        true => "--including-replicating ends that",
        false => form(count, "it is kept", "they are kept"),
    };
    let (subject, gone) = (counted(count, "role"), mode.resources(count));
    let verb = form(count, "replicates", "replicate");
    page.heading(Tone::Strong, &format!("{subject} of {gone} still {verb}; {fate}:"));
    for role in roles {
        page.gap();
        list(page, role, mode.including_replicating);
        for bucket in &role.configurations {
            let line = format!("the replication configuration of bucket {} names it", bucket.name);
            page.line(&line, "  ", "    ");
        }
        for Statements { bucket, .. } in &role.statements {
            let line = format!("the policy of bucket {} holds statements for it", bucket.name);
            page.line(&line, "  ", "    ");
        }
    }
    page.gap();
    page.line(
        "A resource with deletionPolicy: Retain or managementPolicy: Observe leaves its replication so on purpose. Otherwise its deletion was not finished.",
        "",
        "",
    );
    if !mode.including_replicating {
        page.line("To end the replication and delete what belongs to it:", "", "");
        let Mode { typed, scope, .. } = mode;
        page.command("", &format!("{typed}{scope} --delete --including-replicating"));
    }
}

fn list_unclear(page: &mut Page<'_>, statements: &[Unclear], roles: &[UnclearRole]) {
    for Unclear { bucket, sid, principals } in statements {
        page.gap();
        let principals = principals.join(", ");
        let why = format!(
            " the policy of bucket {bucket} holds statements {sid}… for {principals}, a role that was deleted. Nothing shows to which cluster they belong."
        );
        page.titled(Tone::Warning, "Unclear:", &why);
        page.line("→ remove them yourself if no cluster replicates into the bucket", "", "  ");
    }
    for UnclearRole { account_id, arn, namespace: _, why, fix } in roles {
        page.gap();
        page.titled(Tone::Warning, "Unclear:", &format!(" {arn}, account {account_id}: {why}."));
        page.line(&format!("→ {fix}"), "", "  ");
    }
}

/// A role, and the steps that delete it where it is to be deleted.
fn list(page: &mut Page<'_>, orphan: &Orphan, with_steps: bool) {
    let Orphan { account_id, arn, kind, namespace, name, blocked_by, .. } = orphan;
    let kind = if *kind == REPLICATION { String::new() } else { format!("{kind} ") };
    page.titled(Tone::Strong, arn, &format!(" of {kind}{namespace}/{name}, account {account_id}"));
    if !with_steps {
        return;
    }
    for (index, step) in orphan.steps().iter().enumerate() {
        let number = format!("  {}. ", index + 1);
        page.line(&step.to_string(), &number, &" ".repeat(number.len()));
    }
    if let Some(LeftPart { commands, .. }) = blocked(orphan) {
        page.line(&format!("the role stays: someone attached {}", blocked_by.join(", ")), "  ", "    ");
        commands.iter().for_each(|command| page.command("  ", command));
    }
}

/// Lists the things that a deletion left, and the commands that let them go.
pub fn left_text(left: &LeftPart, layout: &Layout) -> String {
    let LeftPart { why, commands } = left;
    let mut page = Page { layout, text: String::new() };
    page.titled(Tone::Warning, "left:", &format!(" {why}"));
    commands.iter().for_each(|command| page.command("  ", command));
    page.text
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::cli::orphans::findings::{UnreadAccount, full_sample, sample};

    const PIPE: Layout = Layout { width: None, height: None, color: false };

    fn mode() -> Mode {
        Mode {
            delete: false,
            including_replicating: false,
            namespace: None,
            typed: "kubectl s3replication orphans".to_owned(),
            scope: String::new(),
        }
    }

    /// Everything that the command may print of findings.
    fn printed(findings: &Findings, layout: &Layout) -> String {
        let deleting = Mode { delete: true, including_replicating: true, ..mode() };
        let left = findings.to_delete(true).into_iter().filter_map(blocked);
        let left = left.map(|part| left_text(&part, layout)).collect::<String>();
        format!("{}{}{left}", text(findings, &mode(), layout), text(findings, &deleting, layout))
    }

    #[test]
    fn nothing_is_called_clear_while_an_account_could_not_be_read() {
        let clear = "Nothing is left over";
        assert!(text(&Findings::default(), &mode(), &PIPE).starts_with(clear));
        let unread = |id: &str| UnreadAccount { account_id: id.to_owned(), why: "no session".to_owned() };
        let unknown = vec![unread("222222222222"), unread("the account of AwsAccount odd")];
        let findings = Findings { unknown, ..Findings::default() };
        assert!(!findings.is_empty());
        let shown = text(&findings, &mode(), &PIPE);
        assert!(!shown.contains(clear), "{shown}");
        let both = "account 222222222222, the account of AwsAccount odd";
        assert!(shown.contains("unknown") && shown.contains(both), "{shown}");
        let for_programs = serde_json::to_value(&findings).unwrap();
        assert_eq!(
            for_programs["unknown"][0],
            serde_json::json!({"accountId": "222222222222", "why": "no session"})
        );
        let also = Findings { still_replicating: vec![sample()], ..findings };
        let shown = text(&also, &mode(), &PIPE);
        assert!(shown.contains("Unknown: account 222222222222"), "{shown}");
    }

    #[test]
    fn a_namespace_is_named_with_how_many_roles_of_others_were_left_out() {
        let limited = || Mode { namespace: Some("data".to_owned()), scope: " -n data".to_owned(), ..mode() };
        let left_out = Findings { of_other_namespaces: 2, ..Findings::default() };
        assert_eq!(
            text(&left_out, &limited(), &PIPE),
            "Nothing is left over of resources of namespace data that are gone.\n\n\
             Left out: 2 roles of resources of other namespaces. To list all:\n\
             → kubectl s3replication orphans -A\n"
        );
        let one = Findings { orphans: vec![sample()], ..left_out };
        let shown = text(&one, &limited(), &PIPE);
        assert!(
            shown.starts_with("1 role is left over of a resource of namespace data that is gone:\n"),
            "{shown}"
        );
        assert!(shown.ends_with("→ kubectl s3replication orphans -n data --delete\n"), "{shown}");
    }

    #[test]
    fn text_fits_the_terminal_and_colour_is_never_the_only_sign() {
        let findings = full_sample("orders");
        let plain = printed(&findings, &PIPE);
        for width in [40, 60, 100] {
            let narrow = Layout { width: Some(width), ..PIPE };
            let shown = printed(&findings, &narrow);
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&shown), words(&plain), "nothing is lost");
            for line in shown.lines().filter(|line| line.width() > width) {
                // A command is copied as it stands, and a name has no gap.
                let is_one_word = line.split_whitespace().filter(|word| word.width() > 1).count() == 1;
                assert!(line.trim_start().starts_with('→') || is_one_word, "{width}: {line}");
            }
        }
        let coloured = printed(&findings, &Layout { color: true, ..PIPE });
        assert!(coloured.contains('\u{1b}'));
        let mut parts = coloured.split("\u{1b}[");
        let first = parts.next().unwrap_or_default().to_owned();
        let without = parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest));
        assert_eq!(without, plain);
    }

    #[test]
    fn no_name_from_elsewhere_commands_the_terminal() {
        let shown = printed(&full_sample("a\u{1b}[2Jb\r\nInjected"), &PIPE);
        let control: Vec<char> = shown.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(control.is_empty(), "{control:?} in {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("Injected")), "a name begins a line: {shown}");
    }
}
