//! The page of `report` in a real browser: it opens without an error and without a request, sorts, filters, prints, and
//! is readable in the dark, by keyboard and by a screen reader. Text that would be a script stays text.
//!
//! The tests need headless Chromium (`cargo rig tools --system` installs it on Debian). Without one they are ignored
//! and a line says so. `RIG_BROWSER=must` turns that into a failure, `RIG_BROWSER=off` ignores the tests.

mod devtools;
mod page;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use rig::{system, will_run};

use devtools::Browser;

/// The name of a test, and its function.
type Test = (&'static str, fn(&mut Browser) -> Result<()>);

const TESTS: [Test; 8] = [
    ("the_page_opens_without_an_error_and_without_a_request", page::opens),
    ("rows_are_filtered_by_words_and_by_verdict", page::filters),
    ("rows_are_sorted_by_a_column_with_the_keyboard_alone", page::sorts),
    ("text_that_would_be_a_script_stays_text", page::escapes),
    ("every_colour_has_the_contrast_of_wcag_aa_in_light_and_dark", page::contrasts),
    ("a_screen_reader_finds_headings_tables_controls_and_the_map", page::reads),
    ("a_print_has_every_row_and_no_control", page::prints),
    ("ten_thousand_replications_are_filtered_and_sorted", page::scales),
];

/// The programs that serve, the smallest first.
const PROGRAMS: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"];

fn program() -> Result<PathBuf> {
    if env::var_os("RIG_BROWSER").is_some_and(|value| value == "off") {
        bail!("RIG_BROWSER is off");
    }
    match PROGRAMS.into_iter().find_map(system::find) {
        Some(program) => Ok(program),
        None => bail!("there is no {}: `cargo rig tools --system` installs the first", PROGRAMS.join(" or ")),
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test has its own browser, which takes a whole processor for a while.
    arguments.test_threads.get_or_insert(2);
    let program = match will_run(&arguments, TESTS.iter().map(|(name, _)| *name)) {
        true => program(),
        false => Ok(PathBuf::new()),
    };
    if let Err(why) = &program {
        eprintln!("tests in a browser are ignored: {why}");
        if env::var_os("RIG_BROWSER").is_some_and(|value| value == "must") {
            return ExitCode::FAILURE;
        }
    }
    let trials = TESTS.into_iter().map(|(name, test)| {
        let path = program.as_ref().ok().cloned();
        let trial = Trial::test(name, move || {
            let run = || test(&mut Browser::start(&path.unwrap_or_default())?);
            run().map_err(|error| Failed::from(format!("{error:#}")))
        });
        trial.with_ignored_flag(program.is_err())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
