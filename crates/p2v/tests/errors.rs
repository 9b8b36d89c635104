//! Each error that a wrong argument, a wrong variable or a missing program
//! leads to ends in what to do.

mod call;

use call::p2v;

/// The end of every usage error.
const SEE_HELP: &str = "For more information, try '--help'.";

/// A call, the variables it sees, and the end of what it says.
type Case = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

const API: (&str, &str) = ("OS_API_VERSION", "20");

const CASES: &[Case] = &[
    // Ganeti's five, called by somebody else.
    (
        &["create"],
        &[],
        "use gnt-instance, gnt-backup or gnt-os, which call it",
    ),
    (
        &["create"],
        &[("OS_API_VERSION", "5")],
        "use a Ganeti that has one of these",
    ),
    (
        &["create"],
        &[API],
        "or set them as ganeti-os-interface(7) says",
    ),
    (
        &["rename"],
        &[API],
        "or set them as ganeti-os-interface(7) says",
    ),
    (
        &["export"],
        &[API],
        "or set them as ganeti-os-interface(7) says",
    ),
    (
        &["import"],
        &[API],
        "or set them as ganeti-os-interface(7) says",
    ),
    (&["verify"], &[], SEE_HELP),
    (&["verify", "disks"], &[], SEE_HELP),
    (
        &["verify", "parameters"],
        &[API, ("OSP_FILESYSTEM", "zfs")],
        "allowed: ext2, ext3, ext4, xfs, btrfs",
    ),
    (
        &["verify", "parameters"],
        &[API, ("OSP_HOSTNAME_POLICY", "x")],
        "allowed: keep, instance",
    ),
    // Programs that are missing.
    (
        &["distribute"],
        &[],
        "run this on the cluster's master node (`gnt-cluster getmaster` names it)",
    ),
    (
        &["distribute"],
        &[("P2V_CONFIG_DIR", "here")],
        "not an absolute path: give one, or unset it",
    ),
    (
        &["transfer", "--status", "--target", "host"],
        &[],
        "install openssh-client",
    ),
    // Paths that are wrong.
    (
        &["initrd", "--kernel", "1", "--root", "/nonexistent"],
        &[],
        SEE_HELP,
    ),
    (
        &["initrd", "--kernel", "1", "--root", "/proc"],
        &[],
        "name the root that has them (--root)",
    ),
    (
        &["initrd", "--kernel", "../1"],
        &[],
        "`uname -r` prints the running one's",
    ),
    (&["inspect", "/nonexistent"], &[], SEE_HELP),
    (&["inspect", "/"], &[], SEE_HELP),
    (
        &["transfer", "--target", "host", "--source", "/nonexistent"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "host", "--plan", "/nonexistent"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "host", "--plan", "/"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "host", "--identity", "/nonexistent"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "host", "--report-dir", "/dev/null"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "host", "--port", "0"],
        &[],
        SEE_HELP,
    ),
    (
        &["transfer", "--target", "@host"],
        &[],
        "give it as HOST or USER@HOST",
    ),
    (
        &["transfer", "--status", "--target", "two words"],
        &[],
        "give the host's name or address alone, an IPv6 address without brackets",
    ),
    (
        &[
            "transfer",
            "--status",
            "--target",
            "host",
            "--host-key",
            "x",
        ],
        &[],
        "create prints them as SHA256: and 43 characters",
    ),
    // Fixes.
    (&["fixes"], &[], SEE_HELP),
    (&["fixes", "--root", "/nonexistent"], &[], SEE_HELP),
    (
        &["fixes", "--list", "--directory", "/nonexistent"],
        &[],
        SEE_HELP,
    ),
    (
        &["fixes", "--root", "/proc", "--dry-run"],
        &[],
        "mount the transferred system there, or describe its machine with --machine",
    ),
    (
        &[
            "fixes",
            "--root",
            "/proc",
            "--dry-run",
            "--machine",
            "/dev/null",
        ],
        &[],
        "docs/fixes.md has the fields",
    ),
    (
        &["fix", "repair-fstab"],
        &[],
        "or use `p2v fixes --root DIR --only NAME`",
    ),
    (&["fix", "nonsense"], &[], SEE_HELP),
    // Whatever it is.
    (&["nonsense"], &[], SEE_HELP),
    (
        &["verify", "parameters"],
        &[("P2V_LOG_FORMAT", "xml")],
        "or unset it",
    ),
];

#[test]
fn every_error_ends_in_what_to_do() {
    let is_root = nix::unistd::geteuid().is_root();
    for (call, environment, end) in CASES {
        let output = p2v(call, environment);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.trim_end();
        let end = match last.contains("not permitted") && !is_root {
            true => "run this as root",
            false => end,
        };
        assert!(
            last.ends_with(end),
            "{call:?} should end in {end:?}: {said}"
        );
        let status = if end == SEE_HELP { 64 } else { 1 };
        assert_eq!(output.status.code(), Some(status), "{call:?}: {said}");
        assert!(output.stdout.is_empty(), "{call:?}");
    }
}
