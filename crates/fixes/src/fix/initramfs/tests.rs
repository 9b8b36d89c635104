//! Initramfs files with and without drivers, and what is done about each.

use super::archive::tests::cpio;
use super::*;
use crate::testing::{TestRoot, machine};

const MACHINE: &str = r#"{"volumes": [{"device": "/dev/vda1", "kind": "xfs", "uuid": "aaaa",
    "mount_point": "/", "was": ["/dev/sda1"]}], "gone": ["UUID=dead"]}"#;

const DEP: &str = "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko\n\
    kernel/fs/xfs/xfs.ko.xz:\nkernel/drivers/virtio/virtio_pci.ko:\n";

/// A root with a kernel of `version`, its initramfs, and more files.
fn root(version: &str, image: &str, inside: &[(&str, &str)], more: &[(&str, &str)]) -> TestRoot {
    let base = format!("lib/modules/{version}");
    let (dep, builtin) = (
        format!("{base}/modules.dep"),
        format!("{base}/modules.builtin"),
    );
    let mut files = vec![
        (dep.as_str(), DEP),
        (builtin.as_str(), "kernel/fs/ext4/ext4.ko\n"),
    ];
    files.extend(more);
    let test = TestRoot::new(&files);
    test.root.write(image, cpio(inside), 0o600).unwrap();
    test
}

fn looked(test: &TestRoot) -> (Verdict, Vec<String>, Vec<String>, String) {
    let mut draft = test.draft();
    let verdict = run(&machine(MACHINE), &mut draft).unwrap();
    let steps = draft.take_steps().iter().map(ToString::to_string).collect();
    let diff = String::from_utf8(draft.diff().unwrap()).unwrap();
    (verdict, steps, draft.take_obstacles(), diff)
}

const GOOD: &[(&str, &str)] = &[
    ("lib/modules/1/kernel/drivers/block/virtio_blk.ko", ""),
    ("usr/lib/modules/1/kernel/fs/xfs/xfs.ko.zst", ""),
    ("lib/modules/1/virtio-pci.ko.xz", ""),
    ("conf/conf.d/resume", "RESUME=none\n"),
];

#[test]
fn a_good_one_is_left_alone() {
    let test = root("1", "boot/initrd.img-1", GOOD, &[]);
    let (verdict, steps, obstacles, _) = looked(&test);
    assert!(matches!(verdict, Verdict::Right(_)), "{verdict:?}");
    assert!(steps.is_empty() && obstacles.is_empty());
}

/// The initramfs, more files, the command, what changes in a configuration.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn each_tool_makes_what_lacks_drivers() {
    let cases: [Case; 4] = [
        (
            "boot/initrd.img-1",
            &[
                ("usr/sbin/update-initramfs", ""),
                ("usr/share/initramfs-tools/hook-functions", ""),
                ("etc/initramfs-tools/modules", "# modules\nvirtio_pci\n"),
            ],
            "/usr/sbin/update-initramfs -c -k 1",
            "+virtio_blk\n+xfs\n",
        ),
        (
            "boot/initramfs-1.img",
            &[
                ("usr/bin/dracut", ""),
                ("usr/lib/dracut/dracut-init.sh", ""),
            ],
            "/usr/bin/dracut --force --no-hostonly /boot/initramfs-1.img 1",
            "+add_drivers+=\" virtio_blk virtio_pci xfs \"\n",
        ),
        (
            "boot/initramfs-linux.img",
            &[
                ("lib/modules/1/pkgbase", "linux\n"),
                ("usr/bin/mkinitcpio", ""),
                ("etc/mkinitcpio.conf", "MODULES=(i915)\nHOOKS=(base udev)\n"),
            ],
            "/usr/bin/mkinitcpio -k 1 -S autodetect -g /boot/initramfs-linux.img",
            "+MODULES=(i915 virtio_blk virtio_pci xfs)\n",
        ),
        (
            "boot/initrd-1.img",
            &[("sbin/mkinitrd", ""), ("etc/redhat-release", "")],
            "/sbin/mkinitrd -f --with=virtio_pci --with=virtio_blk /boot/initrd-1.img 1",
            "",
        ),
    ];
    for (image, more, command, change) in cases {
        let test = root("1", image, &[("init", "")], more);
        let (verdict, steps, _, diff) = looked(&test);
        let Verdict::Changed(lines) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(
            lines[0],
            format!("/{image} lacks virtio_blk, virtio_pci, xfs")
        );
        assert_eq!(
            steps,
            [format!("making the initramfs of 1 anew: {command}")]
        );
        assert!(diff.contains(change), "{diff}");
    }
}

#[test]
fn old_disks_inside_are_seen() {
    for (path, text) in [
        ("conf/conf.d/resume", "RESUME=UUID=dead\n"),
        ("etc/cmdline.d/95resume.conf", " resume=/dev/sda2 \n"),
        ("cryptroot/crypttab", "root UUID=dead none luks\n"),
    ] {
        let mut inside = GOOD[..3].to_vec();
        inside.push((path, text));
        let more = [("usr/bin/dracut", "")];
        let test = root("1", "boot/initramfs-1.img", &inside, &more);
        let (verdict, steps, ..) = looked(&test);
        let Verdict::Changed(lines) = verdict else {
            panic!("{path}: {verdict:?}")
        };
        assert!(lines[0].contains("waits for"), "{lines:?}");
        assert_eq!(steps.len(), 1);
    }
}

#[test]
fn what_cannot_be_made_right_is_an_obstacle() {
    let test = root("1", "boot/initrd.img-1", &[("init", "")], &[]);
    let (_, steps, obstacles, _) = looked(&test);
    assert!(steps.is_empty());
    assert!(obstacles[0].contains("no tool"), "{obstacles:?}");
    let test = root(
        "1",
        "boot/initrd.img-1",
        &[("init", "")],
        &[("lib/modules/1/modules.dep", "kernel/fs/xfs/xfs.ko:\n")],
    );
    test.root
        .write(
            "lib/modules/1/modules.dep",
            "kernel/fs/xfs/xfs.ko:\n",
            0o644,
        )
        .unwrap();
    let (_, _, obstacles, _) = looked(&test);
    assert!(
        obstacles[0].contains("has no virtio_blk, virtio_pci"),
        "{obstacles:?}"
    );
}

#[test]
fn the_new_one_is_looked_into() {
    let more = [("usr/bin/dracut", "")];
    let test = root("1", "boot/initramfs-1.img", &[("init", "")], &more);
    let mut draft = test.draft();
    run(&machine(MACHINE), &mut draft).unwrap();
    let steps = draft.take_steps();
    let check = steps[0].check.as_ref().unwrap();
    let error = format!("{:#}", check(&test.root).unwrap_err());
    assert!(error.contains("lacks virtio_blk"), "{error}");
    test.root
        .write("boot/initramfs-1.img", cpio(GOOD), 0o600)
        .unwrap();
    assert!(check(&test.root).unwrap().contains("has the drivers now"));
}
