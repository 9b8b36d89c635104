//! 10-clear-root-password.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::root::TestRoot;

const HOOK: &str = "10-clear-root-password";

#[test]
fn roots_password_alone_is_emptied_and_mode_and_owner_stay() {
    let others = "bin:*:19000:0:99999:7:::\nrooter:$6$x:19000::::::\nx:root:1::::::\n";
    for hash in ["", "!", "*", "$6$salt$hash/with.chars"] {
        let root = TestRoot::new();
        root.write(
            "etc/shadow",
            &format!("root:{hash}:19000:0:99999:7:::\n{others}"),
        );
        fs::set_permissions(root.path("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(root.path("etc/shadow"), Some(0), Some(42)).unwrap();
        }
        root.run_well(HOOK);
        let expected = format!("root::19000:0:99999:7:::\n{others}");
        assert_eq!(root.read("etc/shadow"), expected, "{hash}");
        assert_eq!(root.mode("etc/shadow"), 0o640);
        if nix::unistd::geteuid().is_root() {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(root.path("etc/shadow")).unwrap().gid(), 42);
        }
        root.assert_contained();
    }
}

#[test]
fn a_root_without_shadow_or_without_root_is_an_error() {
    let root = TestRoot::new();
    root.write("etc/shadow", "bin:*:19000:0:99999:7:::\n");
    assert!(root.run_badly(HOOK).contains("no line for root"));
    fs::remove_file(root.path("etc/shadow")).unwrap();
    assert!(root.run_badly(HOOK).contains("no /etc/shadow"));
}
