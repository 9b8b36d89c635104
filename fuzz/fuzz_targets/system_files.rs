//! What other fixes edit: boot loaders' menus and settings, grubenv, consoles,
//! crypttab, mdadm.conf, LVM's, device rules, debconf's answers, host names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::edits::{Files, assert_others_stay, fixed};
use p2v_fuzz::{choice, files, memory};

/// The fixes that only edit, and the words without which they leave a line as
/// it is; none where a whole file may go.
const FIXES: [(&str, &[&str]); 9] = [
    (
        "repair-cmdline",
        &[
            "root=",
            "resume",
            "rd",
            "cryptdevice",
            "kernel_cmdline",
            "add_device",
        ],
    ),
    (
        "set-consoles",
        &[
            "root=", "console", "cmdline", "getty", "tty", "hvc", "xvc", "serial", "terminal",
            "respawn",
        ],
    ),
    ("repair-crypttab", &["/dev/", "UUID", "LABEL", "/"]),
    ("drop-device-rules", &[]),
    ("set-hostname", &[]),
    ("keep-machine-id", &[]),
    ("scrub-lvm", &["filter", "devices"]),
    ("scrub-mdadm", &["ARRAY", "DEVICE"]),
    ("reset-debconf", &[]),
];

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((which, rest)) = choice(data) else {
        return;
    };
    let given: Files = files(rest).into_iter().collect();
    if given.len() > 20 {
        return;
    }
    let (name, words) = FIXES[usize::from(which) % FIXES.len()];
    let Some(after) = fixed(name, &given) else {
        return;
    };
    for (path, text) in &given {
        let new = after.get(path).filter(|_| !words.is_empty());
        if let Some(new) = new.filter(|new| *new != text) {
            check(path, text, new, words);
        }
    }
});

fn check(path: &str, old: &[u8], new: &[u8], words: &[&str]) {
    if path.ends_with("grubenv") {
        assert!(new.len() >= 1024, "a grubenv of {} bytes", new.len());
        return;
    }
    assert_others_stay(path, old, new, words);
}
