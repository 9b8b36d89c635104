//! The OS definition's directory, as Ganeti reads it.
//!
//! See <https://docs.ganeti.org/docs/ganeti/3.0/html/man-ganeti-os-interface.html>.

use std::collections::BTreeSet;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use p2v_ganeti::parameters;
use p2v_ganeti::settings::SettingsPaths;
use p2v_transfer::preflight::Finding;

/// What Ganeti calls.
const ENTRY_POINTS: [&str; 5] = ["create", "export", "import", "rename", "verify"];

/// The version of the interface that is lost first where files are mixed.
const NEWEST: &str = "20";

const AGAIN: &str = "install the package of this p2v again (make install)";

/// Looks at the entry points and at the lists, which Ganeti reads strictly.
pub fn check(paths: &SettingsPaths) -> Vec<Finding> {
    let dir = &paths.os_dir;
    if !dir.is_dir() {
        let text = format!("there is no OS definition: {} is missing", dir.display());
        return vec![Finding::error(text).remedy(AGAIN)];
    }
    let mut findings = entry_points(dir);
    findings.extend(api_version(dir));
    findings.extend(parameters_list(dir));
    if findings.is_empty() {
        let text = format!("{} has every entry point and list", dir.display());
        findings.push(Finding::good(text));
    }
    findings
}

fn entry_points(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut programs = BTreeSet::new();
    for name in ENTRY_POINTS {
        let path = dir.join(name);
        match path.canonicalize() {
            Err(error) => {
                let text = format!("Ganeti cannot call {}: {error}", path.display());
                findings.push(Finding::error(text).remedy(AGAIN));
            }
            Ok(program) if access(&program, AccessFlags::X_OK).is_err() => {
                let text = format!("Ganeti cannot call {}: not executable", path.display());
                let remedy = format!("chmod 755 {}", program.display());
                findings.push(Finding::error(text).remedy(remedy));
            }
            Ok(program) => {
                programs.insert(program);
            }
        }
    }
    if programs.len() > 1 {
        let all: Vec<_> = programs.iter().map(|path| path.to_string_lossy()).collect();
        let text = format!(
            "the entry points are different programs: {}",
            all.join(", ")
        );
        findings.push(Finding::error(text).remedy(AGAIN));
    }
    findings
}

/// One blank line makes the whole definition invalid.
fn api_version(dir: &Path) -> Option<Finding> {
    let path = dir.join("ganeti_api_version");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let text = format!("reading {}: {error}", path.display());
            return Some(Finding::error(text).remedy(AGAIN));
        }
    };
    let sound = text.lines().all(|line| line.trim().parse::<u32>().is_ok());
    let newest = text.lines().any(|line| line.trim() == NEWEST);
    (!sound || !newest).then(|| {
        let text = format!(
            "{} is not a version number a line with {NEWEST} among them, and Ganeti takes the OS \
             definition for invalid",
            path.display()
        );
        Finding::error(text).remedy(AGAIN)
    })
}

/// Made of the table in the program: another one is another version's.
fn parameters_list(dir: &Path) -> Option<Finding> {
    let path = dir.join("parameters.list");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (text != parameters::parameters_list()).then(|| {
        let text = format!(
            "{} is not that of this p2v: Ganeti refuses or loses OS parameters",
            path.display()
        );
        Finding::error(text).remedy(AGAIN)
    })
}
