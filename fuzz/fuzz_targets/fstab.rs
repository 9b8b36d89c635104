//! /etc/fstab, as the source's is read and as the fix edits it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fixes::lines::words;
use p2v_fuzz::edits::{Files, fixed};
use p2v_fuzz::memory;

const PATH: &str = "etc/fstab";

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    read(&String::from_utf8_lossy(data));
    let files = Files::from([(PATH.to_owned(), data.to_vec())]);
    let Some(after) = fixed("repair-fstab", &files) else {
        return;
    };
    let (old, new) = (lines(data), lines(&after[PATH]));
    // At its end there may be a line for the root.
    assert!((old.len()..=old.len() + 1).contains(&new.len()));
    for (old, new) in old.into_iter().zip(new) {
        same_but_for_device_type_and_options(old, new);
    }
});

fn read(text: &str) {
    for entry in p2v_transfer::fuzzing::fstab(text) {
        if let Some(path) = &entry.path {
            assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\0'));
            assert!(path.split('/').all(|part| part != ".." && part != "."));
        }
        let paths = [entry.swap_file(), entry.subvolume()];
        for path in paths.into_iter().flatten() {
            assert!(path.split('/').all(|part| part != ".."), "{path}");
        }
        let _ = (entry.subvolume_id(), entry.is_optional());
    }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn same_but_for_device_type_and_options(old: &[u8], new: &[u8]) {
    // The last line gets an end when the root's is put behind it.
    let texts = (std::str::from_utf8(old), std::str::from_utf8(new));
    let (Ok(old_text), Ok(new_text)) = texts else {
        assert_eq!(
            old.trim_ascii_end(),
            new.trim_ascii_end(),
            "a line that is not UTF-8"
        );
        return;
    };
    // Blanks as libmount knows them: others are part of a word.
    let blanks = [' ', '\t', '\r', '\n'];
    let [old_text, new_text] = [old_text, new_text].map(|text| text.trim_end_matches(blanks));
    let (before, after) = (words(old_text), words(new_text));
    if before.len() < 2 {
        assert_eq!(old_text, new_text);
        return;
    }
    assert_eq!(old_text[before[1].clone()], new_text[after[1].clone()]);
    assert!(after.len() == before.len() || before.len() < 4 && after.len() == 4);
    for (old, new) in before.iter().zip(&after).skip(4) {
        assert_eq!(old_text[old.clone()], new_text[new.clone()]);
    }
    if old.ends_with(b"\n") {
        assert_eq!(old.ends_with(b"\r\n"), new.ends_with(b"\r\n"));
    }
}
