//! What was renamed, for cards that exchange their names: `eth0` is a card's
//! name before and after, so the configuration alone does not tell whether it
//! was renamed, and renaming it once more would undo that.
//!
//! The record lies in the system itself. A copy, which brings the source's files
//! back, takes it away, since the source has none; one that came along from an
//! earlier move is of other cards.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::names::{Change, Names};
use crate::Draft;
use crate::draft::Mark;

/// Before all other names in the alphabet, and so the first file that is
/// written: a run that is killed amid the others leaves a record.
const RECORD: &str = ".p2v-renamed-nics";

/// It is nobody's business, and what the files were is nobody else's.
const MODE: u32 = 0o600;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    cards: Vec<Change>,
    /// The files that changed, with a hash of what they were; none where there
    /// was no file.
    files: BTreeMap<String, Option<String>>,
}

/// Whether these names are in the configuration already.
pub fn says_renamed(draft: &mut Draft, names: &Names) -> Result<bool> {
    if !names.are_exchanged() {
        return Ok(false);
    }
    let text = draft.read(RECORD)?.unwrap_or_default();
    // One that cannot be read is none of ours.
    let Ok(record) = serde_json::from_slice::<Record>(&text) else {
        return Ok(false);
    };
    if record.cards != names.changes {
        return Ok(false);
    }
    let mut as_before = Vec::new();
    for (path, before) in &record.files {
        if hash(draft.read(path)?.as_deref()) == *before {
            as_before.push(format!("/{path}"));
        }
    }
    if !as_before.is_empty() && as_before.len() == record.files.len() {
        return Ok(false);
    }
    if !as_before.is_empty() {
        draft.warn(format!(
            "the cards were renamed before, but not in {}: look whether they must change there, \
             or run the transfer again, which brings the source's files back",
            as_before.join(", ")
        ));
    }
    Ok(true)
}

/// Records what was changed since `before`.
pub fn keep(draft: &mut Draft, names: &Names, before: &Mark) -> Result<()> {
    if !names.are_exchanged() {
        return Ok(());
    }
    let changed = draft.changed_since(before)?.into_iter();
    let files = changed
        .map(|(path, bytes)| (path.to_string_lossy().into_owned(), hash(bytes.as_deref())))
        .collect();
    let record = Record {
        cards: names.changes.clone(),
        files,
    };
    let text = serde_json::to_vec_pretty(&record).context("recording what was renamed")?;
    draft.write_mode(RECORD, text, MODE)
}

fn hash(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| blake3::hash(bytes).to_hex().to_string())
}
