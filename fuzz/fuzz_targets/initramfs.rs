//! What is inside an initramfs: cpio archives, packed in any way that kernels
//! know.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fixes::fuzzing::read;
use p2v_fuzz::memory;

fuzz_target!(|data: &[u8]| {
    memory::limit(512 << 20);
    let Ok(contents) = read(data) else {
        return;
    };
    assert!(!contents.names.is_empty());
    for (name, text) in &contents.texts {
        assert!(contents.names.contains(name) || name == "TRAILER!!!");
        assert!(text.len() <= 3 << 16, "{name} has {} bytes", text.len());
    }
    assert!(
        contents
            .names
            .iter()
            .all(|name| !name.starts_with('/') && !name.contains('\0'))
    );
});
