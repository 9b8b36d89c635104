//! `p2v doctor` as a test calls it, and what it said.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Lab;

/// What the doctor said.
#[derive(Debug)]
pub struct Diagnosis {
    /// The exit status.
    pub status: i32,
    /// The JSON.
    pub report: Value,
}

impl Diagnosis {
    /// The findings of that weight, each as `subject: text -> remedy`.
    pub fn of(&self, weight: &str) -> Vec<String> {
        let findings = self.report["findings"].as_array().unwrap();
        let of_weight = findings.iter().filter(|one| one["weight"] == weight);
        let line = |one: &Value| {
            let part = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            format!(
                "{}: {} -> {}",
                part("subject"),
                part("text"),
                part("remedy")
            )
        };
        of_weight.map(line).collect()
    }

    /// Fails unless one finding of that weight has all of the words.
    #[track_caller]
    pub fn assert_found(&self, weight: &str, words: &[&str]) {
        let found = self.of(weight);
        let has_all = |line: &&String| words.iter().all(|word| line.contains(word));
        assert!(
            found.iter().any(|line| has_all(&line)),
            "no {weight} with {words:?} in {:#}",
            self.report
        );
        let status = match weight {
            "good" => return,
            "warning" => 1,
            _ => 2,
        };
        assert!(self.status >= status, "{:#}", self.report);
        assert_eq!(self.report["status"], self.status);
    }
}

/// Runs `p2v doctor --json` with these arguments, and this PATH.
pub fn doctor(lab: &Lab, args: &[&str], path: Option<&Path>) -> Diagnosis {
    let mut command = Command::new(lab.binary());
    command.arg("doctor").arg("--json").args(args);
    command.envs(lab.directories());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Diagnosis {
        status: output.status.code().unwrap(),
        report,
    }
}

/// What it says of a node.
pub fn node(lab: &Lab) -> Diagnosis {
    doctor(lab, &["--role", "node"], None)
}

/// A directory with every program of PATH but these.
pub fn path_without(lab: &Lab, programs: &[&str]) -> PathBuf {
    let dir = lab.dir().join("bin");
    std::fs::create_dir(&dir).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for from in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !programs.iter().any(|program| name == **program) {
                // Of two of the same name the first counts.
                let _ = symlink(entry.path(), dir.join(name));
            }
        }
    }
    dir
}
