//! Which tests of a program are going to run: what is dear to prepare is prepared only for those that are.

use libtest_mimic::Arguments;

/// Whether any of these tests is going to run.
pub fn is_asked_for<'a>(arguments: &Arguments, mut tests: impl Iterator<Item = &'a str>) -> bool {
    let matches = |name: &str, pattern: &str| match arguments.exact {
        true => name == pattern,
        false => name.contains(pattern),
    };
    let asked = |name: &str| {
        arguments.filter.as_deref().is_none_or(|filter| matches(name, filter))
            && !arguments.skip.iter().any(|skip| matches(name, skip))
    };
    !arguments.list && tests.any(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_what_is_skipped_and_a_mere_list_decide() {
        let asked = |arguments: &[&str]| {
            let arguments = Arguments::from_iter([&["test"], arguments].concat());
            is_asked_for(&arguments, ["killed", "drained"].into_iter())
        };
        assert!(asked(&[]) && asked(&["kill"]) && asked(&["killed", "--exact"]));
        assert!(asked(&["--skip", "kill"]));
        assert!(!asked(&["other"]) && !asked(&["kill", "--exact"]) && !asked(&["--list"]));
        assert!(!asked(&["--skip", "killed", "--skip", "drained"]));
    }
}
