//! `rig fuzz`: runs the fuzz targets with libFuzzer, which is guided by coverage. The targets, the operator and all
//! that it is built from are compiled for it once more, in a directory of their own: with counters, which no other
//! build has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rig::process::{Spec, tail};
use rig::{paths, progress, system};
use serde_json::Value;

/// The flags by which the compiler helps libFuzzer: they add a counter at each edge of the control flow, and calls that
/// show libFuzzer the operands of each comparison.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// How long a run may take beside its minutes: one input alone never takes as long.
const SLACK: Duration = Duration::from_secs(120);

/// The targets to draw inputs for, and the time to do it.
#[derive(Args)]
pub struct FuzzArgs {
    /// The properties whose name contains this, such as the name of a target; all of them without it
    target: Option<String>,
    /// How long to draw inputs for each property, in minutes
    #[arg(long, default_value = "10")]
    minutes: f64,
    /// Run the one property that TARGET names on an input that libFuzzer has kept
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

/// Compiles the targets, and runs one property after the other.
///
/// # Errors
/// If a compiler is missing, if the targets do not compile, or if a property does not hold.
pub fn run(args: &FuzzArgs) -> Result<()> {
    require_compiler()?;
    let program = compile()?;
    let all = properties(&program)?;
    let wanted = args.target.as_deref().unwrap_or_default();
    let chosen: Vec<&str> = all.iter().map(String::as_str).filter(|name| name.contains(wanted)).collect();
    ensure!(!chosen.is_empty(), "{wanted} is in the name of none of these:\n{}", all.join("\n"));
    let mut broken = Vec::new();
    for name in &chosen {
        let property = Property { program: &program, name };
        let outcome = match &args.input {
            Some(_) if chosen.len() > 1 => bail!("name one of these:\n{}", chosen.join("\n")),
            Some(input) => property.run_on(input),
            None => property.draw(args.minutes),
        };
        match outcome {
            Ok(outcome) => progress::say(&format!("{name}: {outcome}")),
            Err(error) => {
                progress::say(&format!("{name}: {error:#}"));
                broken.push(*name);
            }
        }
    }
    ensure!(broken.is_empty(), "an input breaks {}: see above", broken.join(", "));
    Ok(())
}

/// libFuzzer is compiled from its sources in C++, by the compiler that the crate `cc` would take.
fn require_compiler() -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let is_there =
        Command::new(&compiler).arg("--version").output().is_ok_and(|output| output.status.success());
    ensure!(
        is_there,
        "libFuzzer is compiled from C++, and there is no compiler {compiler}: install one ({}), or name one in CXX",
        system::command(&["g++"])
    );
    Ok(())
}

/// The directory of everything that guided runs make.
fn folder() -> PathBuf {
    paths::target().join("guided")
}

/// Compiles the targets and returns the program that has them all.
fn compile() -> Result<PathBuf> {
    progress::say("compiling the fuzz targets and all that they use for libFuzzer");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--no-run", "--locked", "--package", "fuzz", "--features", "guided"])
        // With a target, programs that run while the rest compiles get no counters.
        .args(["--profile", "guided", "--target", "host-tuple", "--message-format", "json"])
        .arg("--target-dir")
        .arg(folder())
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .current_dir(paths::repository())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo, which compiles the fuzz targets")?;
    ensure!(output.status.success(), "the fuzz targets do not compile: see above");
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo names no program of the fuzz targets")
}

/// The program that cargo made, from its messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back()
}

/// The names of all properties, with their targets.
fn properties(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).args(["--list", "--format", "terse"]).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// A property, and the program that has it.
struct Property<'a> {
    program: &'a Path,
    name: &'a str,
}

impl Property<'_> {
    /// Draws inputs, beginning with those that reached new code in former runs.
    fn draw(&self, minutes: f64) -> Result<String> {
        let folder_name = self.name.replace("::", "/");
        let (corpus, found) =
            (folder().join("corpus").join(&folder_name), folder().join("found").join(&folder_name));
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let time = Duration::from_secs_f64(60.0 * minutes);
        let arguments = [
            format!("-max_total_time={}", time.as_secs()),
            format!("-artifact_prefix={}/", found.display()),
            "-max_len=4096".to_owned(),
            "-rss_limit_mb=4096".to_owned(),
            corpus.display().to_string(),
        ];
        self.fuzz(&arguments, time + SLACK)
    }

    fn run_on(&self, input: &Path) -> Result<String> {
        let input = fs::canonicalize(input).with_context(|| format!("cannot read {}", input.display()))?;
        self.fuzz(&[input.display().to_string()], SLACK)
    }

    /// Runs libFuzzer, and returns what it says of its inputs.
    fn fuzz(&self, arguments: &[String], deadline: Duration) -> Result<String> {
        let process = Spec::new(&self.name.replace("::", "-"), self.program)
            .args(["--exact", self.name, "--nocapture", "--test-threads", "1"])
            .env("FUZZ_GUIDED", arguments.join("\n"))
            .start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        if runtime.block_on(process.wait(deadline)).is_err() {
            // libFuzzer saves the input that is running.
            process.signal("ABRT");
        }
        let code = runtime.block_on(process.wait(SLACK))?;
        let log = process.log();
        ensure!(code == 0, "{}\n(all of it: {})", relevant_lines(&log), process.log_path().display());
        Ok(summary(&log))
    }
}

/// The last lines of a log without those about the course of the run.
fn relevant_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with(['#', '\t'])).collect();
    tail(&lines.join("\n"), 80)
}

/// How many inputs a run drew, and how much of the code they reached.
fn summary(log: &str) -> String {
    let line = |word: &str| log.lines().find(|line| line.split_whitespace().nth(1) == Some(word));
    let (Some(first), Some(last)) = (line("INITED"), line("DONE")) else {
        return "holds, and draws nothing".to_owned();
    };
    let inputs = last.split_whitespace().next().unwrap_or_default().trim_start_matches('#');
    let after = |line: &str, key: &str| {
        line.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?").to_owned()
    };
    format!(
        "{inputs} inputs, {} in a second, coverage from {} to {}, {} inputs kept",
        after(last, "exec/s:"),
        after(first, "cov:"),
        after(last, "cov:"),
        after(last, "corp:")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_cargo_names_last() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nnot JSON\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/fuzz-1\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/fuzz-1")));
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }

    #[test]
    fn a_run_is_summed_up_by_its_first_and_its_last_line() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 120 ft: 130 corp: 1/1b exec/s: 0 rss: 50Mb\n\
            #9\tNEW    cov: 130 ft: 140 corp: 2/5b lim: 4 exec/s: 0 rss: 50Mb L: 4/4 MS: 1 ChangeByte-\n\
            #812\tDONE   cov: 340 ft: 900 corp: 25/2Kb lim: 8 exec/s: 406 rss: 90Mb\nDone 812 runs in 2 second(s)\n";
        assert_eq!(summary(log), "812 inputs, 406 in a second, coverage from 120 to 340, 25/2Kb inputs kept");
        assert_eq!(summary("test result: ok. 1 passed"), "holds, and draws nothing");
        assert_eq!(relevant_lines(log), "INFO: Seed: 1\nDone 812 runs in 2 second(s)");
    }
}
