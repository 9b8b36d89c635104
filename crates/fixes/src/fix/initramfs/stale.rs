//! What an initramfs's own configuration waits for and will never come.

use std::collections::BTreeMap;

use crate::lines::{assigned, words};
use crate::machine::{Machine, Resolved};

/// The names of old devices in the texts of an initramfs.
pub fn stale(machine: &Machine, texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in texts {
        for line in text.lines() {
            found.extend(specs(path, line).filter(|spec| {
                matches!(
                    machine.resolve(spec),
                    Resolved::Gone | Resolved::Unknown | Resolved::Renamed(..)
                )
            }));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The devices that a line names: initramfs-tools' RESUME and ROOT, dracut's
/// words of a command line, the lines of a crypttab.
fn specs(path: &str, line: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    for name in ["RESUME", "ROOT"] {
        found.extend(assigned(line, name).map(|place| line[place].to_owned()));
    }
    if path.starts_with("etc/cmdline.d/") {
        let word = |word: &str| {
            let (key, value) = word.split_once('=')?;
            ["root", "resume"].contains(&key).then(|| value.to_owned())
        };
        found.extend(line.split_ascii_whitespace().filter_map(word));
    }
    if path.ends_with("crypttab") {
        found.extend(
            words(line)
                .get(1)
                .map(|place| line[place.clone()].to_owned()),
        );
    }
    found.into_iter()
}
