//! Network configurations of every kind: read from a source, and edited.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::edits::{Files, assert_others_stay, fixed};
use p2v_fuzz::{files, memory, scratch};
use p2v_sys::Root;

/// Where none of these stands nothing changes: the names and addresses of the
/// card, what waits for cards that are not there, patterns, and the kernel's
/// command line.
const WORDS: [&str; 13] = [
    "eno1",
    "ens3",
    "00:11:22:33:44:55",
    "00-11-22-33-44-55",
    "aa:00:00:00:00:01",
    "auto",
    "hotplug",
    "ONBOOT",
    "STARTMODE",
    "*",
    "?",
    "[",
    ":",
];

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let given: Files = files(data).into_iter().collect();
    if given.len() > 20 {
        return;
    }
    read(&given);
    let Some(after) = fixed("rename-nics", &given) else {
        return;
    };
    for (path, text) in &given {
        // A file named after a card has another name now.
        if let Some(new) = after.get(path) {
            assert_others_stay(path, text, new, &WORDS);
        }
    }
});

/// As the source's system is read, from files.
fn read(given: &Files) {
    let directory = scratch::directory();
    let root = Root::open(directory.path()).expect("it was made just now");
    for (path, text) in given {
        // A file may be where another one needs a directory.
        let _ = root.write(path, text.clone(), 0o600);
    }
    if let Ok(system) = p2v_transfer::fuzzing::system(&root) {
        for nic in system.nics {
            assert!(!nic.name.is_empty() || nic.mac.is_some());
        }
    }
}
