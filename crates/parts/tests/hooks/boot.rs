//! 30-prepare-ramboot, 40-enable-console and 50-install-fixes: how the root
//! boots.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::root::TestRoot;

const CONSOLE: &str = "40-enable-console";

#[test]
fn fstab_names_a_tmpfs_and_no_disk() {
    let root = TestRoot::with_systemd();
    root.write(
        "etc/fstab",
        "UUID=1234 / ext4 defaults 0 1\n/dev/vda2 none swap sw 0 0\n",
    );
    root.run_well("30-prepare-ramboot");
    let text = root.read("etc/fstab");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["tmpfs / tmpfs defaults 0 0"]);
    assert_eq!(root.mode("etc/fstab"), 0o644);
    if let Ok(output) = std::process::Command::new("findmnt")
        .args(["--verify", "--tab-file"])
        .arg(root.path("etc/fstab"))
        .output()
    {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    } else {
        p2v_testing::skip("findmnt is not installed");
    }
}

#[test]
fn a_remount_by_this_fstab_keeps_the_size() {
    use nix::mount::MsFlags;
    p2v_testing::need_root!();
    let root = TestRoot::with_systemd();
    root.run_well("30-prepare-ramboot");
    let place = root.outer.path().join("outside");
    let mount = p2v_sys::Mount::new(
        "tmpfs",
        &place,
        "tmpfs",
        MsFlags::empty(),
        "size=7m,mode=755",
    );
    let Ok(mount) = mount else {
        p2v_testing::skip("cannot mount here");
        return;
    };
    let table = root.read("etc/fstab");
    let table = table.replace("tmpfs / ", &format!("tmpfs {} ", place.display()));
    let file = root.outer.path().join("fstab");
    fs::write(&file, table).unwrap();
    let result = p2v_sys::Cmd::new("mount", "remounting")
        .arg("-T")
        .arg(&file)
        .arg(&place)
        .args(["-o", "remount"])
        .run();
    let size = nix::sys::statvfs::statvfs(&place).unwrap();
    let mode = fs::metadata(&place).unwrap().permissions().mode();
    mount.close().unwrap();
    result.unwrap();
    assert_eq!(size.blocks() * size.fragment_size(), 7 << 20);
    assert_eq!(mode & 0o7777, 0o755);
}

/// Ganeti's variables.
type Env = &'static [(&'static str, &'static str)];

/// The consoles that each hypervisor has.
const CONSOLES: &[(Env, &[&str])] = &[
    (
        &[
            ("HYPERVISOR", "kvm"),
            ("INSTANCE_HV_serial_console", "True"),
        ],
        &["ttyS0"],
    ),
    (&[("HYPERVISOR", "kvm")], &["ttyS0"]),
    (&[], &["ttyS0"]),
    (
        &[
            ("HYPERVISOR", "kvm"),
            ("INSTANCE_HV_serial_console", "False"),
        ],
        &[],
    ),
    (&[("HYPERVISOR", "xen-pvm")], &["hvc0"]),
    (&[("HYPERVISOR", "xen-hvm")], &["hvc0", "ttyS0"]),
    (&[("HYPERVISOR", "lxc")], &[]),
];

const INITTAB: &str = "id:2:initdefault:\n\
    l2:2:wait:/etc/init.d/rc 2\n\
    1:2345:respawn:/sbin/getty 38400 tty1\n\
    #T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n";

fn root_with_every_init() -> TestRoot {
    let root = TestRoot::with_systemd();
    root.write("etc/inittab", INITTAB);
    root.write("etc/init/rc.conf", "");
    root.write("etc/event.d/rc2", "");
    root.write("etc/securetty", "console\ntty1\nttyS0\n");
    root
}

#[test]
fn each_hypervisors_consoles_get_a_prompt_under_each_init() {
    for (env, consoles) in CONSOLES {
        let mut root = root_with_every_init();
        root.set_all(env);
        root.run_well(CONSOLE);
        let inittab = root.read("etc/inittab");
        assert!(inittab.starts_with(INITTAB), "{env:?}: {inittab}");
        for console in ["hvc0", "ttyS0"] {
            let on = consoles.contains(&console);
            let line = format!(":2345:respawn:/sbin/getty -L {console} 38400 ");
            assert_eq!(inittab.contains(&line), on, "{env:?}: {inittab}");
            for file in [
                format!("etc/init/{console}.conf"),
                format!("etc/event.d/{console}"),
                format!("etc/systemd/system/serial-getty@{console}.service.d/10-p2v.conf"),
            ] {
                assert_eq!(root.path(&file).exists(), on, "{env:?}: {file}");
            }
            let wanted =
                format!("etc/systemd/system/getty.target.wants/serial-getty@{console}.service");
            let wanted = fs::symlink_metadata(root.path(&wanted));
            assert_eq!(wanted.is_ok(), on, "{env:?}: {console}");
            let listed = root
                .read("etc/securetty")
                .lines()
                .filter(|line| *line == console)
                .count();
            assert_eq!(
                listed,
                usize::from(on || console == "ttyS0"),
                "{env:?}: {console}"
            );
        }
        root.assert_contained();
        let first = root.snapshot();
        root.run_well(CONSOLE);
        assert_eq!(
            root.snapshot(),
            first,
            "{env:?}: a second run changed something"
        );
    }
}

#[test]
fn systemd_finds_the_template_and_keeps_the_kernels_speed() {
    let root = TestRoot::with_systemd();
    root.run_well(CONSOLE);
    assert_eq!(
        root.link("etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"),
        "/lib/systemd/system/serial-getty@.service"
    );
    let text = root.read("etc/systemd/system/serial-getty@ttyS0.service.d/10-p2v.conf");
    assert!(text.ends_with(
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty -o '-p -- \\\\u' --keep-baud 38400,115200,9600 %I $TERM\n"
    ), "{text}");
}

#[test]
fn a_prompt_that_is_there_already_is_replaced() {
    let root = TestRoot::new();
    root.write(
        "etc/inittab",
        "S0:12345:respawn:/sbin/getty -L ttyS0 9600 vt100\n2:23:respawn:/sbin/getty 38400 tty2\n",
    );
    root.run_well(CONSOLE);
    assert_eq!(
        root.read("etc/inittab"),
        "2:23:respawn:/sbin/getty 38400 tty2\nT0:2345:respawn:/sbin/getty -L ttyS0 38400 vt102\n"
    );
    assert!(!root.path("etc/systemd").exists());
    assert!(!root.path("etc/init").exists());
}

#[test]
fn the_binary_the_fixes_and_the_service_go_in() {
    let mut root = root_with_every_init();
    let fixes = root.outer.path().join("fixes");
    fs::create_dir_all(fixes.join("directory")).unwrap();
    fs::write(fixes.join("20 odd; name"), "odd\n").unwrap();
    fs::write(fixes.join("real"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(fixes.join("real"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(fixes.join("real"), fixes.join("10-linked")).unwrap();
    symlink("nowhere", fixes.join("30-broken")).unwrap();
    root.set("P2V_FIXES_DIR", fixes);
    root.set("P2V_BINARY", "/bin/true");
    root.write(
        "usr/share/p2v-target/fixes.d/99-old",
        "gone from the node\n",
    );
    root.run_well("50-install-fixes");
    assert_eq!(
        fs::read(root.path("usr/sbin/p2v")).unwrap(),
        fs::read("/bin/true").unwrap()
    );
    assert_eq!(root.mode("usr/sbin/p2v"), 0o755);
    let installed = "usr/share/p2v-target/fixes.d";
    let mut names: Vec<_> = fs::read_dir(root.path(installed))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["10-linked", "20 odd; name", "real"]);
    assert_eq!(root.mode(&format!("{installed}/10-linked")), 0o755);
    assert_eq!(root.mode(&format!("{installed}/20 odd; name")), 0o644);
    let service = "/etc/systemd/system/p2v-ready.service";
    let wanted = "etc/systemd/system/multi-user.target.wants/p2v-ready.service";
    assert_eq!(root.link(wanted), service);
    let unit = root.read(&service[1..]);
    assert!(unit.contains("\nExecStart=/usr/sbin/p2v ready\n"), "{unit}");
    assert!(
        root.read("etc/inittab")
            .ends_with(":once:/usr/sbin/p2v ready >/dev/null 2>&1\n")
    );
    assert!(root.path("etc/init/p2v-ready.conf").exists());
    root.assert_contained();
    let first = root.snapshot();
    root.run_well("50-install-fixes");
    assert_eq!(root.snapshot(), first);
}

#[test]
fn systemd_accepts_the_service() {
    let mut root = TestRoot::with_systemd();
    let fixes = root.outer.path().join("outside").to_owned();
    root.set("P2V_FIXES_DIR", fixes);
    root.set("P2V_BINARY", "/bin/true");
    root.run_well("50-install-fixes");
    let unit = root.path("etc/systemd/system/p2v-ready.service");
    // The binary is in the root only; everything else is judged.
    let text = fs::read_to_string(&unit)
        .unwrap()
        .replace("/usr/sbin/p2v", "/bin/true");
    let copy = root.outer.path().join("p2v-ready.service");
    fs::write(&copy, text).unwrap();
    let output = std::process::Command::new("systemd-analyze")
        .arg("verify")
        .arg(&copy)
        .output();
    let Ok(output) = output else {
        p2v_testing::skip("systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("p2v-ready.service:"), "{said}");
}

#[test]
fn a_missing_binary_or_directory_of_fixes_is_named() {
    let mut root = TestRoot::with_systemd();
    assert!(root.run_badly("50-install-fixes").contains("P2V_BINARY"));
    root.set("P2V_BINARY", "/bin/true");
    root.set("P2V_FIXES_DIR", "/no/such/fixes.d");
    assert!(
        root.run_badly("50-install-fixes")
            .contains("/no/such/fixes.d")
    );
    assert!(!root.path("usr/sbin/p2v").exists());
}
