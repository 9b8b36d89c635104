//! tools/install-configuration, which `make install` calls, on an admin's
//! files and on a disk that is full.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use p2v_testing::names;

const NEW: &str = "#!/bin/sh\n# the new one\n";

/// Installs `from`; no file may become longer than so many blocks of 512 bytes.
fn install(from: &Path, into: &Path, blocks: &str) -> ExitStatus {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/install-configuration");
    let limited = "ulimit -f \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, "sh", blocks]);
    // By pipes: a log that the shell wrote to would meet the limit too.
    command.args([&tool, into, from]).output().unwrap().status
}

#[test]
fn half_a_file_is_never_taken_for_an_admins() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("50-set x");
    let into = dir.path().join("hooks.d");
    std::fs::create_dir(&into).unwrap();
    std::fs::write(&from, NEW.repeat(1000)).unwrap();
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(!install(&from, &into, "1").success());
    assert!(names(&into).is_empty(), "{:?}", names(&into));
    assert!(install(&from, &into, "1000").success());
    assert_eq!(names(&into), ["50-set x"]);
    let installed = into.join("50-set x");
    assert_eq!(
        std::fs::read_to_string(&installed).unwrap(),
        NEW.repeat(1000)
    );
    let mode = std::fs::metadata(&installed).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn an_edited_file_and_a_run_bit_stay() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("50-x");
    let into = dir.path().join("hooks.d");
    std::fs::create_dir(&into).unwrap();
    std::fs::write(&from, NEW).unwrap();
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o755)).unwrap();
    let installed = into.join("50-x");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // Turned off, and not edited.
    std::fs::write(&installed, NEW).unwrap();
    std::fs::set_permissions(&installed, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(install(&from, &into, "1000").success());
    assert_eq!((mode(&installed), names(&into).len()), (0o644, 1));
    // Edited: the new version must not run beside it.
    std::fs::write(&installed, "#!/bin/sh\n# edited\n").unwrap();
    assert!(install(&from, &into, "1000").success());
    assert_eq!(names(&into), ["50-x", "50-x.new"]);
    assert!(
        std::fs::read_to_string(&installed)
            .unwrap()
            .contains("edited")
    );
    assert_eq!(mode(&into.join("50-x.new")), 0o644);
}
