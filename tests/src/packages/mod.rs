//! The Debian packages: made by `make deb` from the programs that are tested,
//! and the clean machines ([`machine`]) that they are installed on.

pub mod machine;
mod root;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_sys::Cmd;

use crate::place;

/// For the nodes of a cluster.
pub const NODE: &str = "ganeti-instance-p2v-target";

/// For the machines that move.
pub const TRANSFER: &str = "p2v-transfer";

/// Longer than a busy machine takes to strip and compress.
const LONGEST_BUILD: Duration = Duration::from_secs(900);

/// Both packages of one version, in a directory of their own.
#[derive(Debug, Clone)]
pub struct Packages {
    dir: PathBuf,
    version: String,
}

impl Packages {
    /// Makes those of a source tree in `dir`, with the installed programs.
    pub fn make(tree: &Path, dir: &Path) -> Result<Self> {
        let installed = place::installed_tree()?;
        let variable = |name: &str, path: &Path| format!("{name}={}", path.display());
        Cmd::new("make", format!("packaging {}", tree.display()))
            .args(["--silent", "deb"])
            .arg(variable("packages", dir))
            .arg(variable("binary", &installed.join("usr/sbin/p2v")))
            .arg(variable(
                "init",
                &installed.join("usr/lib/p2v-target/p2v-init"),
            ))
            .dir(tree)
            .timeout(LONGEST_BUILD)
            .run()?;
        Ok(Self {
            dir: dir.to_owned(),
            version: version(tree)?,
        })
    }

    /// Their version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A package's file.
    pub fn file(&self, package: &str) -> PathBuf {
        self.dir
            .join(format!("{package}_{}_amd64.deb", self.version))
    }

    /// What lists both, for an archive to take.
    pub fn changes(&self) -> PathBuf {
        self.dir
            .join(format!("p2v-target_{}_amd64.changes", self.version))
    }
}

/// The version of the workspace in a source tree.
fn version(tree: &Path) -> Result<String> {
    let text = read(&tree.join("Cargo.toml"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version.context("Cargo.toml has no version")?.to_owned())
}

/// A copy of this source tree, to be changed.
#[derive(Debug)]
pub struct SourceTree {
    dir: PathBuf,
}

impl SourceTree {
    /// Copies what a build needs to the new directory `dir`.
    pub fn copy_to(dir: &Path) -> Result<Self> {
        std::fs::create_dir(dir).with_context(|| format!("making {}", dir.display()))?;
        let mut copy = Cmd::new("cp", "copying the source tree").args(["-a", "--"]);
        let source = place::source_dir();
        for entry in std::fs::read_dir(&source).context("reading the source tree")? {
            let entry = entry.context("reading the source tree")?;
            if !["target", ".git"].contains(&&*entry.file_name().to_string_lossy()) {
                copy = copy.arg(entry.path());
            }
        }
        copy.arg(dir).run()?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it the tree of another version.
    pub fn set_version(&self, new: &str) -> Result<()> {
        let old = version(&self.dir)?;
        self.edit("Cargo.toml", |text| {
            text.replacen(&format!("\"{old}\""), &format!("\"{new}\""), 1)
        })?;
        self.edit("debian/changelog", |text| {
            text.replacen(&format!("({old})"), &format!("({new})"), 1)
        })
    }

    /// Adds a line to a file.
    pub fn append(&self, file: &str, line: &str) -> Result<()> {
        self.edit(file, |text| format!("{text}{line}\n"))
    }

    fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) -> Result<()> {
        let path = self.dir.join(file);
        let text = change(&read(&path)?);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// What the packages depend on or recommend, by debian/control: of choices the
/// first, without their own names.
pub(crate) fn needed_packages() -> Result<Vec<String>> {
    let control = read(&place::source_dir().join("debian/control"))?;
    Ok(needed(&control))
}

fn needed(control: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut counts = false;
    for line in control.lines() {
        let list = match line.split_once(':') {
            _ if line.starts_with(' ') => line,
            Some((field, rest)) => {
                counts = ["Depends", "Recommends"].contains(&field);
                rest
            }
            None => continue,
        };
        if counts {
            let first = |choice: &str| choice.split_whitespace().next().map(str::to_owned);
            names.extend(list.split(',').filter_map(first));
        }
    }
    names.retain(|name| !name.starts_with('$') && name != TRANSFER);
    names.sort();
    names.dedup();
    names
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_dependencies_the_first_choices_are_needed() {
        let control = "Source: it\nBuild-Depends: debhelper\n\nPackage: one\nDepends: b | c,\n \
                       a (>= 1), p2v-transfer (= 1)\nRecommends: d, ${misc:Recommends}\n\
                       Suggests: e\nDescription: of it\n Depends on, nothing\n";
        assert_eq!(needed(control), ["a", "b", "d"]);
    }
}
