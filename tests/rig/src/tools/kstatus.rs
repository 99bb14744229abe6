//! kstatus as Flux uses it: a main package of this repository around Flux's library. In: objects. Out: the assessment
//! of each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::build;
use super::go::{self, Module};
use crate::{paths, progress};

/// The program.
#[derive(Debug, Clone)]
pub struct Kstatus(PathBuf);

/// kstatus' assessment of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Assessment {
    /// `Current`, `InProgress`, `Failed`, `Terminating` …
    pub status: String,
    /// The message.
    pub message: String,
}

/// Builds the program, if it was not built before.
pub fn ensure() -> Result<Kstatus> {
    let module = Module::read("kstatus")?;
    let main = paths::sources().join("tools/kstatus/main.go");
    let main = fs::read(&main).with_context(|| format!("cannot read {}", main.display()))?;
    let flags = "-s -w";
    let inputs: Vec<&[u8]> = module.inputs(flags).into_iter().chain([main.as_slice()]).collect();
    let dir = build::once("kstatus", &inputs, |dir| {
        go::require("kstatus is built for the tests of conditions")?;
        progress::step("building kstatus with Go (about 1 minute, once)", || {
            module.build(".", &dir.join("kstatus"), flags)
        })
    })?;
    Ok(Kstatus(dir.join("kstatus")))
}

impl Kstatus {
    /// The path of the program.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The assessments of these objects, in their order.
    ///
    /// # Errors
    /// When an object is not valid, or kstatus cannot read its status.
    pub fn assess(&self, objects: &[Value]) -> Result<Vec<Assessment>> {
        self.run(&[], objects)
    }

    /// Flux' assessments with these expressions, as in `healthCheckExprs` of a Kustomization.
    ///
    /// # Errors
    /// When an expression is not valid, or cannot be evaluated.
    pub fn assess_by(&self, expressions: &Value, objects: &[Value]) -> Result<Vec<Assessment>> {
        self.run(&["-exprs", &expressions.to_string()], objects)
    }

    fn run(&self, args: &[&str], objects: &[Value]) -> Result<Vec<Assessment>> {
        let mut child = Command::new(&self.0)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.0.display()))?;
        let mut input = child.stdin.take().context("no input")?;
        let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let output = thread::scope(|scope| {
            // The program answers while it reads. If it ends early, its standard error holds the reason.
            scope.spawn(move || drop(input.write_all(lines.as_bytes())));
            child.wait_with_output()
        })?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let results =
            answers.collect::<Result<Vec<Assessment>, _>>().context("kstatus does not answer in JSON")?;
        ensure!(results.len() == objects.len(), "{} answers for {} objects", results.len(), objects.len());
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(conditions: Value) -> Value {
        let metadata = json!({"name": "a", "generation": 2});
        let status = json!({"observedGeneration": 2, "conditions": conditions});
        json!({"apiVersion": "example.com/v1", "kind": "A", "metadata": metadata, "status": status})
    }

    #[test]
    fn each_object_is_answered_in_its_turn() {
        let stalled = json!([{"type": "Stalled", "status": "True", "message": "no"}]);
        let results = ensure().unwrap().assess(&[object(stalled), object(json!([]))]).unwrap();
        let statuses: Vec<_> = results.iter().map(|result| result.status.as_str()).collect();
        assert_eq!((statuses, results[0].message.as_str()), (vec!["Failed", "Current"], "no"));
    }

    #[test]
    fn expressions_are_flux_s_own() {
        let current = |text: &str| json!({"current": text});
        let assess = |text| ensure().unwrap().assess_by(&current(text), &[object(json!([]))]);
        assert_eq!(assess("metadata.name == 'a'").unwrap()[0].status, "Current");
        assert_eq!(assess("metadata.name == 'b'").unwrap()[0].status, "InProgress");
        assert!(assess("metadata.name ==").is_err());
    }

    #[test]
    fn a_line_that_is_no_object_is_reported() {
        let error = ensure().unwrap().assess(&[object(json!([])), json!({"kind": 3})]).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
