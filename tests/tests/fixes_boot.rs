//! The fixes at work: systems as a copy leaves them are repaired in a machine
//! in RAM, whose disks they are on, and then start from those disks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use p2v_sys::Cmd;
use p2v_tests::moved::{self, Layout};
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::{Created, GIB, Instance, Lab, need_root};

/// Ten times what an idle machine with two cores needs.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// An initramfs and a boot loader are made meanwhile.
const LONGEST_REPAIR: Duration = Duration::from_secs(900);

/// GRUB of its own, an MBR, ext4 and swap.
const WITH_GRUB: Layout = Layout {
    table: "label: dos\nsize=2500MiB, type=83\nsize=200MiB, type=82\n",
    root: 1,
    kind: "ext4",
    swap: Some(2),
};

/// No boot loader at all, a GPT, xfs.
const WITHOUT_ANY: Layout = Layout {
    table: "label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\ntype=L\n",
    root: 2,
    kind: "xfs",
    swap: None,
};

#[test]
#[ignore = "takes long: two starts under emulation; run it alone"]
fn a_system_with_grub_starts_by_it_after_the_fixes() {
    need_root!();
    let lab = Lab::new("fixes-grub").unwrap();
    let moved = Moved::make(&lab, &WITH_GRUB);
    moved.repaired("/dev/vda1", |run| {
        let said = run("p2v fixes --root /moved");
        for words in [
            "/dev/sda1 is now UUID=",
            "lacks virtio_blk",
            "the menu starts root=",
            "nothing is known that keeps the system from starting",
        ] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
        // Again: what is right stays.
        let said = run("p2v fixes --root /moved --only rebuild-initramfs");
        assert!(said.contains("right: "), "{said}");
    });
    moved.starts();
}

#[test]
#[ignore = "takes long: two starts under emulation; run it alone"]
fn a_system_without_a_boot_loader_starts_by_that_of_the_system_in_ram() {
    need_root!();
    let lab = Lab::new("fixes-no-grub").unwrap();
    let moved = Moved::make(&lab, &WITHOUT_ANY);
    moved.repaired("/dev/vda2", |run| {
        run("cd /moved && rm -rf usr/sbin/grub* usr/sbin/update-grub usr/lib/grub boot/grub");
        let said = run("p2v fixes --root /moved");
        for words in ["the GRUB of the system in RAM", "vmlinuz-"] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
    });
    moved.starts();
}

const INSTANCE: &str = "moved.example.org";

/// A RAM system that needs no disk, so that the systems' disks are its own.
fn ram_system(lab: &Lab) -> Boot {
    let disk = lab.disk("created.img", 2 * GIB).unwrap();
    let created = Created::make(lab, &Instance::new(INSTANCE, &disk)).unwrap();
    let version = created.fact("kernel").unwrap();
    let (kernel, initrd) = (lab.dir().join("kernel"), lab.dir().join("initrd"));
    let root = created.mount(lab).unwrap();
    std::fs::copy(root.path().join(format!("boot/vmlinuz-{version}")), &kernel).unwrap();
    Cmd::new(lab.binary(), "building a self-contained initrd")
        .args(["initrd", "--kernel", version, "--self-contained", "--root"])
        .arg(root.path())
        .arg("--output")
        .arg(&initrd)
        .run()
        .unwrap();
    root.close().unwrap();
    Boot::Direct {
        kernel,
        initrd,
        append: "console=ttyS0,38400 net.ifnames=0".to_owned(),
    }
}

/// What a command line says that may take longer than a login lasts.
fn finished(ssh: &Ssh, line: &str) -> String {
    ssh.run(&format!(
        "rm -f /said /status; (({line}) >/said 2>&1 </dev/null; echo $? >/status) >/dev/null 2>&1 &"
    ))
    .unwrap();
    let start = Instant::now();
    while start.elapsed() < LONGEST_REPAIR {
        std::thread::sleep(Duration::from_secs(2));
        if ssh.run("cat /status 2>/dev/null || true").unwrap() == "0" {
            return ssh.run("cat /said").unwrap();
        }
    }
    panic!("{line}: {}", ssh.run("cat /said /status").unwrap());
}

/// A system on a disk, and what it is to be.
struct Moved<'a> {
    lab: &'a Lab,
    layout: &'static Layout,
    disk: PathBuf,
    host_keys: Vec<String>,
}

impl<'a> Moved<'a> {
    fn make(lab: &'a Lab, layout: &'static Layout) -> Self {
        let disk = lab.disk("moved.img", 3 * GIB).unwrap();
        let host_keys = moved::make(&disk, layout, lab.key().public()).unwrap();
        Self {
            lab,
            layout,
            disk,
            host_keys,
        }
    }

    /// Boots into RAM, mounts the system on /moved, and lets `work` run
    /// commands there.
    fn repaired(&self, device: &str, work: impl FnOnce(&dyn Fn(&str) -> String)) {
        let lab = self.lab;
        let spec = MachineSpec::new(ram_system(lab), &self.disk);
        let mut machine = Machine::start(&spec, lab.dir()).unwrap();
        machine.wait_for_ssh(LONGEST_BOOT).unwrap();
        let ssh = Ssh::new(machine.ssh_port(), lab.key(), &lab.state_of(INSTANCE)).unwrap();
        let run = |line: &str| {
            let said = finished(&ssh, line);
            println!("# {line}\n{said}");
            said
        };
        run(&format!("mkdir /moved && mount {device} /moved"));
        work(&run);
        run("umount /moved && sync");
        machine.press_power_button().unwrap();
        machine.wait_for_end(LONGEST_BOOT).unwrap();
    }

    /// By its boot loader alone, and with nothing that the move has broken.
    fn starts(&self) {
        let spec = MachineSpec::new(Boot::Bios, &self.disk);
        let mut machine = Machine::start(&spec, self.lab.dir()).unwrap();
        machine.wait_for_ssh(LONGEST_BOOT).unwrap();
        let console = machine.console().clone();
        console.expect("login: ", LONGEST_BOOT).unwrap();
        let port = machine.ssh_port();
        let ssh = Ssh::with_host_keys(port, self.lab.key(), &self.host_keys).unwrap();
        let ask = |line: &str| ssh.run(line).unwrap();
        assert_eq!(ask("hostname"), "moved");
        assert_eq!(
            ask("findmnt --noheadings --output FSTYPE /"),
            self.layout.kind
        );
        assert_eq!(ask("systemctl --failed --no-legend --plain"), "");
        let id = ask("cat /etc/machine-id");
        assert_eq!(id, "5d3e0c6b7f2a4819a0b1c2d3e4f50617");
        let swap = ask("swapon --show=NAME --noheadings");
        assert_eq!(swap.is_empty(), self.layout.swap.is_none(), "{swap}");
        drop(machine);
        self.lab.assert_nothing_left();
    }
}
