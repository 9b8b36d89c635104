//! The environment that Ganeti gives its OS scripts: `NAME=value` ended by NUL.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::memory;
use p2v_ganeti::environment::Environment;

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let pairs = data.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let text = |bytes| OsString::from(std::ffi::OsStr::from_bytes(bytes));
        Some((text(&pair[..at]), text(&pair[at + 1..])))
    });
    let environment = Environment::from_pairs(pairs);
    let _ = environment.rename_job();
    let _ = environment.export_job();
    let _ = environment.size_descriptor();
    let _ = environment.parameters();
    let _ = environment.paths();
    if let Ok(job) = environment.import_job() {
        let disk = job.disk;
        assert!(
            disk.path.is_some() || disk.uri.is_some(),
            "an import without a disk"
        );
    }
    if let Ok(job) = environment.create_job() {
        assert!(!job.disks.is_empty(), "a create without a disk");
        let hooks = environment.hook_environment();
        assert!(hooks.iter().any(|(name, _)| name == "PATH"));
    }
    // Names alone: values may be secret.
    let shown = format!("{environment:?}");
    assert!(shown.len() <= 16 + data.len() * 12);
});
