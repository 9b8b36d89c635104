//! Fixes run on files that are only in memory, and what holds of every fix.

use std::collections::BTreeMap;

use p2v_fixes::machine::Machine;
use p2v_fixes::{Draft, Verdict, by_name};

use crate::scratch;

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The machine that all are fixed for: a root, a swap area and another disk's
/// filesystem with new names, one card with a new one.
pub fn machine() -> &'static Machine {
    static MACHINE: std::sync::OnceLock<Machine> = std::sync::OnceLock::new();
    MACHINE.get_or_init(|| {
        serde_json::from_str(include_str!("machine.json")).expect("it is a machine")
    })
}

/// What a fix makes of the files; `None` if it refuses them. Panics if it says
/// that it changed them and did not, or the other way round, or changes them
/// again when it is run again.
pub fn fixed(name: &str, files: &Files) -> Option<Files> {
    let (verdict, after) = run(name, files)?;
    let says_so = matches!(verdict, Verdict::Changed(_));
    assert_eq!(says_so, after != *files, "{name} says {verdict:?}");
    let (again, last) = run(name, &after).expect("what it wrote itself it reads");
    assert_eq!(after, last, "{name} changes again: {again:?}");
    Some(after)
}

fn run(name: &str, files: &Files) -> Option<(Verdict, Files)> {
    let mut draft = Draft::new(scratch::empty_root());
    for (path, text) in files {
        draft.write(path, text.clone()).ok()?;
    }
    let verdict = (by_name(name).expect("it is a fix's name").run)(machine(), &mut draft).ok()?;
    let paths: Vec<String> = draft
        .paths()
        .filter_map(|path| path.to_str().map(str::to_owned))
        .collect();
    let mut after = Files::new();
    for path in paths {
        if let Some(text) = draft.read(&path).ok()? {
            after.insert(path, text);
        }
    }
    Some((verdict, after))
}

/// Panics unless every line of `old` in which none of these words stands, in any
/// case, is in `new` too, in the same order, with the same end: such as a fix has
/// no business with. A last line without an end may have got one. In mdadm.conf a
/// line that begins with a blank belongs to the one above.
pub fn assert_others_stay(path: &str, old: &[u8], new: &[u8], words: &[&str]) {
    let holds = |line: &[u8], word: &str| {
        let mut parts = line.windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let mut found = new.split_inclusive(|byte| *byte == b'\n');
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        if path.ends_with("mdadm.conf") && matches!(line[0], b' ' | b'\t') {
            continue;
        }
        let is_text = std::str::from_utf8(line).is_ok();
        if is_text && words.iter().any(|word| holds(line, word)) {
            continue;
        }
        let same = |new: &[u8]| new == line || new.strip_suffix(b"\n") == Some(line);
        assert!(
            found.any(same),
            "{path}: {:?} is gone",
            line.escape_ascii().to_string()
        );
    }
}
