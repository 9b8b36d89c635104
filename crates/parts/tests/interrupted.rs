//! A termination signal ends the running part and the run. Alone in its
//! process, since the signal is the whole process's.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use p2v_parts::Parts;

#[test]
fn a_signal_ends_the_part_and_the_run() {
    p2v_sys::interrupt::install().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // $PPID is this test; the part itself would run for five minutes.
    let text = "#!/bin/sh\necho $$ > \"${0%/*}/pid\"\nkill -TERM \"$PPID\"\nsleep 300\n";
    for name in ["10-long", "20-never"] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let parts = Parts::in_directory(directory.path()).unwrap();
    let start = Instant::now();
    let error = parts
        .run(&BTreeMap::new(), Duration::from_secs(300))
        .unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(
        format!("{error:#}"),
        "running 10-long: interrupted by SIGTERM"
    );
    let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists());
    // A run that starts after the signal does nothing.
    let error = parts.run(&BTreeMap::new(), Duration::from_secs(300));
    assert!(format!("{:#}", error.unwrap_err()).contains("interrupted"));
}
