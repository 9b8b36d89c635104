//! The parts of a directory of fixes: which there are, and what each stands
//! for.

use std::path::Path;

use anyhow::Result;
use p2v_parts::Parts;

use crate::{BUILT_IN, BuiltIn, by_name};

/// Where fixes are: in an instance, on a node.
const DIRECTORIES: [&str; 2] = [
    "/usr/share/p2v-target/fixes.d",
    "/etc/ganeti/instance-p2v-target/fixes.d",
];

/// A part of the directory.
#[derive(Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The fix that it stands for; `None` for an operator's own.
    pub built_in: Option<&'static BuiltIn>,
}

/// The parts that would run, in order.
pub fn parts(directory: Option<&Path>) -> Result<Vec<Part>> {
    let Some(directory) = directory.or_else(installed) else {
        let part = |fix: &'static BuiltIn| Part {
            name: fix.part(),
            built_in: Some(fix),
        };
        return Ok(BUILT_IN.iter().map(part).collect());
    };
    let found = Parts::in_directory(directory)?;
    let part = |name: &String| Part {
        name: name.clone(),
        built_in: built_in(&directory.join(name)),
    };
    Ok(found.names().iter().map(part).collect())
}

/// The directory of fixes of this machine.
pub fn installed<'a>() -> Option<&'a Path> {
    DIRECTORIES
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_dir())
}

/// The fix that a script calls and nothing else.
fn built_in(path: &Path) -> Option<&'static BuiltIn> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let name = lines.next()?.strip_prefix("exec p2v fix ")?;
    by_name(name).filter(|_| lines.next().is_none())
}
