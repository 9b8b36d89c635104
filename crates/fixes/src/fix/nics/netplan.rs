//! netplan: the YAML files of /etc/netplan, edited by words. An id that is a
//! card's old name changes in all places at once, so the files stay sound.

use anyhow::Result;

use super::{Names, Words};
use crate::Draft;
use crate::lines::Line;

/// The files.
pub fn files(draft: &Draft) -> Result<Vec<String>> {
    let mut files = draft.list_paths("etc/netplan", ".yaml")?;
    files.extend(draft.list_paths("etc/netplan", ".yml")?);
    Ok(files)
}

/// Renames in all of them; returns those that changed.
pub fn edit(draft: &mut Draft, names: &Names) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in files(draft)? {
        let mut drivers = false;
        let edited = draft.edit(&path, |line| {
            drivers |= line.trim_start().starts_with("driver:");
            renamed(line, names)
        })?;
        if drivers {
            draft.warn(format!(
                "/{path} chooses a card by its driver: look whether it must change"
            ));
        }
        if edited {
            changed.push(path);
        }
    }
    Ok(changed)
}

fn renamed(line: &str, names: &Names) -> Line {
    let code = line.split(" #").next().unwrap_or(line);
    if code.trim_start().starts_with('#') {
        return Line::Keep;
    }
    let comment = &line[code.len()..];
    // A pattern that covered the old name and does not cover the new one.
    if let Some((key, value)) = code.split_once("name:") {
        let value = value.trim().trim_matches(['"', '\'']);
        let is_pattern = key.trim().is_empty() && value.contains(['*', '?']);
        if let Some(name) = names.pattern(value).filter(|_| is_pattern) {
            return Line::Is(format!("{key}name: {name}{comment}"));
        }
    }
    Line::of(line, names.replace(code, Words::Whole) + comment)
}
