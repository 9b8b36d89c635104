//! Consoles in command lines and in what starts logins, before and after.

use super::*;
use crate::testing::{TestRoot, machine, run as run_fix};

const KVM: &str = r#"{"hypervisor": "kvm"}"#;
const XEN: &str = r#"{"hypervisor": "xen-pvm"}"#;

#[test]
fn command_lines() {
    let menu = "boot/grub/grub.cfg";
    for (machine_text, path, text, expected) in [
        (
            KVM,
            "etc/default/grub",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet console=ttyS1,115200n8\"\nGRUB_CMDLINE_LINUX=\"\"\nGRUB_TERMINAL=\"serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=1 --speed=115200 --word=8\"\n",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,38400\"\nGRUB_TERMINAL=\"serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=38400 --word=8\"\n",
        ),
        (
            XEN,
            "etc/default/grub",
            "GRUB_TIMEOUT=1\nGRUB_TERMINAL=serial\n",
            "GRUB_TIMEOUT=1\nGRUB_TERMINAL=console\nGRUB_CMDLINE_LINUX=\"console=hvc0\"\n",
        ),
        (
            KVM,
            menu,
            "\tlinux\t/vmlinuz root=UUID=a ro console=ttyS1 quiet\n\tlinux16 /memtest.bin console=ttyS1\n",
            "\tlinux\t/vmlinuz root=UUID=a ro console=tty0 console=ttyS0,38400 quiet\n\tlinux16 /memtest.bin\n",
        ),
        (
            XEN,
            "boot/grub/menu.lst",
            "# kopt=root=/dev/xvda1 ro\nkernel /vmlinuz root=/dev/xvda1 ro\n",
            "# kopt=root=/dev/xvda1 ro console=hvc0\nkernel /vmlinuz root=/dev/xvda1 ro console=hvc0\n",
        ),
    ] {
        let outcome = run_fix(run, &machine(machine_text), &[(path, text)]).unwrap();
        assert_eq!(outcome.file(path), expected);
    }
    let right = [(
        menu,
        "\tlinux /vmlinuz root=UUID=a console=tty0 console=ttyS0,38400\n",
    )];
    let outcome = run_fix(run, &machine(KVM), &right).unwrap();
    assert!(matches!(outcome.verdict, Verdict::Right(_)));
}

#[test]
fn bls_entries_leave_it_to_grubenv() {
    let mut environment = "# GRUB Environment Block\nkernelopts=root=UUID=a ro\n".to_owned();
    environment += &"#".repeat(1024 - environment.len());
    let files = [
        (
            "boot/loader/entries/a.conf",
            "options $kernelopts $tuned_params\n",
        ),
        ("boot/loader/entries/b.conf", "options root=UUID=a ro\n"),
        ("boot/grub2/grubenv", environment.as_str()),
    ];
    let outcome = run_fix(run, &machine(KVM), &files).unwrap();
    assert_eq!(
        outcome.changed(),
        ["boot/grub2/grubenv", "boot/loader/entries/b.conf"]
    );
    let text = outcome.file("boot/loader/entries/b.conf");
    assert_eq!(
        text,
        "options root=UUID=a ro console=tty0 console=ttyS0,38400\n"
    );
}

#[test]
fn inittab() {
    let tail = "1:2345:respawn:/sbin/getty 38400 tty1\n";
    for (text, expected) in [
        (
            "#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
            "#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n{}S0:2345:respawn:/sbin/getty -L ttyS0 38400 vt100\n",
        ),
        (
            "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
            "T0:23:respawn:/sbin/getty -L ttyS0 38400 vt100\n{}",
        ),
        (
            "T1:23:respawn:/sbin/getty -L ttyS1 115200,9600 vt100\nT0:23:respawn:/sbin/getty -L 115200 ttyS0\n",
            "#T1:23:respawn:/sbin/getty -L ttyS1 115200,9600 vt100\nT0:23:respawn:/sbin/getty -L 38400 ttyS0\n{}",
        ),
    ] {
        let text = format!("id:2:initdefault:\n{text}{tail}");
        let files = [
            ("etc/inittab", text.as_str()),
            ("sbin/getty", ""),
            ("etc/securetty", "tty1\n"),
        ];
        let outcome = run_fix(run, &machine(KVM), &files).unwrap();
        let expected = format!("id:2:initdefault:\n{}", expected.replace("{}", tail));
        assert_eq!(outcome.file("etc/inittab"), expected);
        assert_eq!(outcome.file("etc/securetty"), "tty1\nttyS0\n");
    }
}

#[test]
fn upstart_and_systemd() {
    let files = [
        ("etc/init/tty1.conf", ""),
        ("etc/init/ttyS1.conf", "x"),
        ("etc/inittab", ""),
    ];
    let outcome = run_fix(run, &machine(XEN), &files).unwrap();
    assert_eq!(outcome.file("etc/init/ttyS1.override"), "manual\n");
    assert!(outcome.file("etc/init/hvc0.conf").contains("-L 38400 hvc0"));
    let link = "etc/systemd/system/getty.target.wants/serial-getty@ttyS1.service";
    let files = [
        ("usr/lib/systemd/systemd", ""),
        (link, "-> /lib/systemd/system/serial-getty@.service"),
        (
            "etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service",
            "-> x",
        ),
    ];
    let outcome = run_fix(run, &machine(KVM), &files).unwrap();
    assert_eq!(outcome.changed(), [link]);
}

#[test]
fn a_grub_file_that_is_not_utf_8_keeps_its_bytes() {
    let test = TestRoot::new(&[]);
    let text = b"# M\xfcnchen\nGRUB_TIMEOUT=5";
    test.root.write("etc/default/grub", text, 0o644).unwrap();
    let mut draft = test.draft();
    run(&machine(KVM), &mut draft).unwrap();
    let edited = draft.read("etc/default/grub").unwrap().unwrap();
    let added = "\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,38400\"\n";
    assert_eq!(edited, [&text[..], added.as_bytes()].concat());
}

#[test]
fn what_is_put_together_in_a_shells_way_stays_and_is_used() {
    let text = "GRUB_CMDLINE_LINUX=a\"b c\" # x\n";
    let test = TestRoot::new(&[("etc/default/grub", text)]);
    let mut draft = test.draft();
    let added = "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX console=tty0 console=ttyS0,38400\"\n";
    // The second time nothing is added.
    for _ in 0..2 {
        run(&machine(KVM), &mut draft).unwrap();
        let edited = draft.text("etc/default/grub").unwrap().unwrap();
        assert_eq!(edited, format!("{text}{added}"));
    }
}
