//! Decides from the arguments of a test program whether any of its tests will run, so that an expensive environment is
//! prepared only if one will.

use libtest_mimic::Arguments;

/// Whether any of these tests will run.
pub fn will_run<'a>(arguments: &Arguments, mut tests: impl Iterator<Item = &'a str>) -> bool {
    let matches = |name: &str, pattern: &str| match arguments.exact {
        true => name == pattern,
        false => name.contains(pattern),
    };
    let selected = |name: &str| {
        arguments.filter.as_deref().is_none_or(|filter| matches(name, filter))
            && !arguments.skip.iter().any(|skip| matches(name, skip))
    };
    !arguments.list && tests.any(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_and_skips_select_tests_and_a_list_runs_none() {
        let runs = |arguments: &[&str]| {
            let arguments = Arguments::from_iter([&["test"], arguments].concat());
            will_run(&arguments, ["killed", "drained"].into_iter())
        };
        assert!(runs(&[]) && runs(&["kill"]) && runs(&["killed", "--exact"]));
        assert!(runs(&["--skip", "kill"]));
        assert!(!runs(&["other"]) && !runs(&["kill", "--exact"]) && !runs(&["--list"]));
        assert!(!runs(&["--skip", "killed", "--skip", "drained"]));
    }
}
