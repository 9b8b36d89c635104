//! All fixes in turn on small trees with the files of real distributions: what
//! changes, that nothing fails, and that a second run finds all right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use p2v_fixes::Machine;
use p2v_fixes::report::{Outcome, Report};
use p2v_fixes::runner::{Request, run};

const MACHINE: &str = r#"{"hypervisor": "kvm", "instance": "web1.example.com", "boot": "direct",
    "boot_disk": "/dev/vda", "old_disks": ["/dev/sda"],
    "volumes": [
      {"device": "/dev/vda1", "kind": "xfs", "uuid": "aaaa", "mount_point": "/",
       "was": ["/dev/sda2", "/dev/mapper/vg-root", "UUID=aaaa"]},
      {"device": "/dev/vda2", "kind": "swap", "uuid": "cccc", "was": ["/dev/mapper/vg-swap", "/dev/sda5"]}],
    "nics": [{"mac": "aa:00:00:00:00:01", "name": "NAME", "old_name": "OLD",
              "old_mac": "00:11:22:33:44:55"}]}"#;

struct Tree {
    directory: tempfile::TempDir,
    machine: Machine,
}

impl Tree {
    /// With a card that was called `old` and is called `name`.
    fn new(old: &str, name: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None => std::fs::write(path, text).unwrap(),
            }
        }
        let text = MACHINE.replace("NAME", name).replace("OLD", old);
        let machine = serde_json::from_str(&text).unwrap();
        Self { directory, machine }
    }

    fn run(&self) -> Report {
        let request = Request {
            root: self.directory.path().to_owned(),
            directory: Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixes.d")),
            ..Request::default()
        };
        run(&request, &self.machine, &BTreeMap::new()).unwrap()
    }

    /// Runs twice and returns the fixes that changed something the first time.
    fn repair(&self) -> Vec<String> {
        let changed = |report: &Report| -> Vec<String> {
            assert!(
                report.is_success() && report.obstacles.is_empty(),
                "{report:?}"
            );
            let parts = report.parts.iter();
            let changed = parts.filter(|part| matches!(part.outcome, Outcome::Changed(_)));
            changed.map(|part| part.name.clone()).collect()
        };
        let first = changed(&self.run());
        let second = changed(&self.run());
        assert!(second.is_empty(), "a second run changes {second:?}");
        first
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(path)).unwrap()
    }

    fn has(&self, path: impl AsRef<Path>) -> bool {
        self.directory.path().join(path).symlink_metadata().is_ok()
    }
}

#[test]
fn debian_7() {
    let tree = Tree::new(
        "eth1",
        "eth0",
        &[
            (
                "etc/fstab",
                "/dev/sda2 / xfs defaults 0 1\n/dev/sda5 none swap sw 0 0\n",
            ),
            (
                "etc/inittab",
                "id:2:initdefault:\nT0:23:respawn:/sbin/getty -L ttyS1 115200 vt100\n",
            ),
            (
                "etc/udev/rules.d/70-persistent-net.rules",
                "# PCI device 0x8086:0x1521 (igb)\nSUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"00:11:22:33:44:55\", KERNEL==\"eth*\", NAME=\"eth1\"\n",
            ),
            (
                "etc/network/interfaces",
                "auto lo eth1\niface eth1 inet static\n\taddress 192.0.2.7\n",
            ),
            (
                "etc/default/grub",
                "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet resume=/dev/sda5\"\nGRUB_CMDLINE_LINUX=\"\"\n",
            ),
            ("etc/rc2.d/S02mcelog", "-> ../init.d/mcelog"),
            (
                "var/cache/debconf/config.dat",
                "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: /dev/disk/by-id/ata-X\n",
            ),
        ],
    );
    let changed = tree.repair();
    let expected = [
        "10-repair-fstab",
        "20-repair-cmdline",
        "30-drop-device-rules",
        "35-rename-nics",
        "40-set-consoles",
        "75-disable-daemons",
        "80-reset-debconf",
    ];
    assert_eq!(changed, expected);
    assert_eq!(
        tree.read("etc/fstab"),
        "UUID=aaaa / xfs defaults 0 1\nUUID=cccc none swap sw 0 0\n"
    );
    assert_eq!(tree.read("etc/udev/rules.d/70-persistent-net.rules"), "");
    assert!(
        tree.read("etc/network/interfaces")
            .starts_with("auto lo eth0\niface eth0 inet static\n")
    );
    let grub = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet resume=UUID=cccc\"\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,38400\"\n";
    assert_eq!(tree.read("etc/default/grub"), grub);
    assert!(tree.has("etc/rc2.d/K98mcelog") && !tree.has("etc/rc2.d/S02mcelog"));
}

#[test]
fn ubuntu_22_04() {
    let tree = Tree::new(
        "eno1",
        "ens3",
        &[
            ("usr/lib/systemd/systemd", ""),
            ("usr/lib/systemd/network/99-default.link", ""),
            ("lib", "-> usr/lib"),
            (
                "etc/fstab",
                "/dev/disk/by-uuid/AAAA / xfs defaults 0 1\n/swap.img none swap sw 0 0\n",
            ),
            ("swap.img", ""),
            (
                "etc/netplan/00-installer-config.yaml",
                "network:\n  version: 2\n  ethernets:\n    eno1:\n      addresses: [192.0.2.9/24]\n",
            ),
            (
                "etc/systemd/system/getty.target.wants/serial-getty@ttyS1.service",
                "-> /lib/systemd/system/serial-getty@.service",
            ),
            ("usr/lib/systemd/system/thermald.service", ""),
        ],
    );
    let expected = ["35-rename-nics", "40-set-consoles", "75-disable-daemons"];
    assert_eq!(tree.repair(), expected);
    assert!(
        tree.read("etc/netplan/00-installer-config.yaml")
            .contains("    ens3:\n")
    );
    assert!(tree.has("etc/systemd/system/thermald.service"));
}

#[test]
fn alma_6_with_upstart_and_old_grub() {
    let menu = "title Linux\n\troot (hd0,0)\n\tkernel /vmlinuz ro root=/dev/mapper/vg-root rd_LVM_LV=vg/root rd_NO_LUKS rhgb\n\tinitrd /initramfs\n";
    let tree = Tree::new(
        "em1",
        "eth0",
        &[
            (
                "etc/fstab",
                "/dev/mapper/vg-root / xfs defaults 1 1\n/dev/mapper/vg-swap swap swap defaults 0 0\n",
            ),
            ("boot/grub/grub.conf", menu),
            ("boot/grub/menu.lst", "-> ./grub.conf"),
            ("etc/grub.conf", "-> ../boot/grub/grub.conf"),
            ("etc/inittab", "id:3:initdefault:\n"),
            ("etc/init/tty.conf", ""),
            (
                "etc/sysconfig/network-scripts/ifcfg-em1",
                "DEVICE=em1\nHWADDR=00:11:22:33:44:55\nONBOOT=yes\nIPADDR=192.0.2.6\n",
            ),
            ("etc/selinux/config", "SELINUX=enforcing\n"),
            ("etc/securetty", "tty1\n"),
        ],
    );
    let expected = [
        "10-repair-fstab",
        "20-repair-cmdline",
        "35-rename-nics",
        "40-set-consoles",
        "70-relabel-selinux",
    ];
    assert_eq!(tree.repair(), expected);
    let line =
        "\tkernel /vmlinuz ro root=UUID=aaaa rd_NO_LUKS rhgb console=tty0 console=ttyS0,38400\n";
    assert!(tree.read("boot/grub/grub.conf").contains(line));
    assert!(
        tree.directory
            .path()
            .join("boot/grub/menu.lst")
            .is_symlink()
    );
    let card = tree.read("etc/sysconfig/network-scripts/ifcfg-eth0");
    assert_eq!(
        card,
        "DEVICE=eth0\nHWADDR=aa:00:00:00:00:01\nONBOOT=yes\nIPADDR=192.0.2.6\n"
    );
    assert!(!tree.has("etc/sysconfig/network-scripts/ifcfg-em1"));
}

#[test]
fn alma_9_with_bls_and_network_manager() {
    let tree = Tree::new(
        "eno1np0",
        "ens3",
        &[
            ("usr/lib/systemd/systemd", ""),
            (
                "etc/fstab",
                "/dev/mapper/vg-root / xfs defaults 0 0\n/dev/mapper/vg-swap none swap defaults 0 0\n",
            ),
            (
                "etc/default/grub",
                "GRUB_CMDLINE_LINUX=\"resume=/dev/mapper/vg-swap rd.lvm.lv=vg/root rd.lvm.lv=vg/swap\"\n",
            ),
            ("etc/sysconfig/grub", "-> ../default/grub"),
            (
                "boot/loader/entries/1-5.14.conf",
                "title AlmaLinux\noptions root=/dev/mapper/vg-root ro resume=/dev/mapper/vg-swap rd.lvm.lv=vg/root rd.lvm.lv=vg/swap\n",
            ),
            (
                "etc/NetworkManager/system-connections/eno1np0.nmconnection",
                "[connection]\nid=eno1np0\ninterface-name=eno1np0\n[ipv4]\naddress1=192.0.2.8/24\n",
            ),
            (
                "etc/lvm/devices/system.devices",
                "IDTYPE=sys_wwid IDNAME=naa.1 DEVNAME=/dev/sda3\n",
            ),
            ("etc/selinux/config", "SELINUX=permissive\n"),
            ("usr/lib/systemd/system/smartd.service", ""),
            ("usr/lib/systemd/system/rasdaemon.service", ""),
        ],
    );
    let expected = [
        "10-repair-fstab",
        "20-repair-cmdline",
        "35-rename-nics",
        "40-set-consoles",
        "60-scrub-lvm",
        "70-relabel-selinux",
        "75-disable-daemons",
    ];
    assert_eq!(tree.repair(), expected);
    let entry = "title AlmaLinux\noptions root=UUID=aaaa ro resume=UUID=cccc console=tty0 console=ttyS0,38400\n";
    assert_eq!(tree.read("boot/loader/entries/1-5.14.conf"), entry);
    assert!(
        tree.directory
            .path()
            .join("etc/sysconfig/grub")
            .is_symlink()
    );
    let keyfile = tree.read("etc/NetworkManager/system-connections/eno1np0.nmconnection");
    assert!(keyfile.contains("interface-name=ens3\n") && keyfile.contains("192.0.2.8/24"));
}

#[test]
fn opensuse_and_arch() {
    let suse = Tree::new(
        "eth1",
        "eth0",
        &[
            ("usr/lib/systemd/systemd", ""),
            ("etc/fstab", "UUID=aaaa / xfs defaults 0 0\n"),
            (
                "etc/sysconfig/network/ifcfg-eth1",
                "BOOTPROTO='static'\nIPADDR='192.0.2.5/24'\nSTARTMODE='auto'\n",
            ),
            (
                "etc/sysconfig/network/ifcfg-br0",
                "BRIDGE='yes'\nBRIDGE_PORTS='eth1'\n",
            ),
            ("etc/sysconfig/network/config", "# eth1\n"),
        ],
    );
    assert_eq!(suse.repair(), ["35-rename-nics"]);
    assert!(
        suse.read("etc/sysconfig/network/ifcfg-eth0")
            .contains("192.0.2.5/24")
    );
    assert!(
        suse.read("etc/sysconfig/network/ifcfg-br0")
            .contains("BRIDGE_PORTS='eth0'")
    );
    let arch = Tree::new(
        "enp0s31f6",
        "ens3",
        &[
            ("usr/lib/systemd/systemd", ""),
            ("etc/fstab", "UUID=aaaa / xfs rw,relatime 0 1\n"),
            (
                "etc/systemd/network/20-wired.network",
                "[Match]\nName=enp0s31f6\n[Network]\nAddress=192.0.2.4/24\n",
            ),
            ("etc/kernel/cmdline", "root=UUID=aaaa rw\n"),
        ],
    );
    assert_eq!(arch.repair(), ["35-rename-nics", "40-set-consoles"]);
    let network = arch.read("etc/systemd/network/20-wired.network");
    assert_eq!(
        network,
        "[Match]\nName=ens3\n[Network]\nAddress=192.0.2.4/24\n"
    );
}
