//! `p2v doctor` on real systems: kernels and initrds that do and do not belong
//! together, this machine as a source, and the RAM system's own root.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use p2v_sys::{Cmd, Mount};
use p2v_tests::diagnosis::{Diagnosis, doctor, node};
use p2v_tests::{Created, Lab, namespace, need_root, skip};
use serde_json::Value;

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

#[test]
fn kernels_and_their_initrds_are_matched() {
    need_root!();
    let (lab, created) = Created::anew("doctor-pairs").unwrap();
    let boot = lab.dir().join("boot");
    std::fs::create_dir(&boot).unwrap();
    let root = created.mount(&lab).unwrap();
    let of_root = names(&root.path().join("boot"));
    for name in &of_root {
        let from = root.path().join("boot").join(name);
        if from.is_file() {
            std::fs::copy(from, boot.join(name)).unwrap();
        }
    }
    root.close().unwrap();
    let version = of_root
        .iter()
        .find_map(|name| name.strip_prefix("vmlinuz-"));
    let version = version.unwrap();
    let diagnose = || {
        let binds = [(boot.clone(), PathBuf::from("/boot"))];
        namespace::with_binds(&binds, || Ok(node(&lab))).unwrap()
    };
    let (kernel, initrd) = (
        format!("vmlinuz-{version}"),
        format!("ramboot-{version}.img"),
    );
    let pair = [initrd.as_str(), kernel.as_str(), version];
    diagnose().assert_found("good", &pair);
    // A kernel of the same name that is another one, as its own header says.
    let image = std::fs::read(boot.join(&kernel)).unwrap();
    let at = find(&image, version.as_bytes());
    let mut other = image.clone();
    other[at] = b'9';
    std::fs::write(boot.join(&kernel), other).unwrap();
    diagnose().assert_found(
        "error",
        &["initrds: ", "no module would load", "p2v initrd --kernel 9"],
    );
    remove(&boot.join(&kernel));
    diagnose().assert_found("error", &["initrds: ", "is gone", &kernel, "rm "]);
    std::fs::write(boot.join(&kernel), image).unwrap();
    std::fs::write(boot.join("ramboot-old.img"), "no initrd").unwrap();
    diagnose().assert_found(
        "error",
        &["initrds: ", "ramboot-old.img is no ramboot initrd"],
    );
    remove(&boot.join("ramboot-old.img"));
    let bytes = std::fs::read(boot.join(&initrd)).unwrap();
    std::fs::write(boot.join(&initrd), &bytes[..100]).unwrap();
    diagnose().assert_found("error", &["initrds: ", &initrd, "build it anew"]);
}

/// Where the kernel's header has its version.
fn find(image: &[u8], words: &[u8]) -> usize {
    let head = &image[..64 << 10];
    let mut windows = head.windows(words.len());
    windows.position(|window| window == words).unwrap()
}

#[test]
fn a_running_machine_is_told_to_start_from_a_live_medium() {
    need_root!();
    let lab = Lab::new("doctor-source").unwrap();
    let diagnosis = doctor(&lab, &["--role", "source"], None);
    let text = diagnosis.of("error").join("\n");
    if !text.contains("in use") {
        skip("this machine's own system is on no disk of its own");
        return;
    }
    diagnosis.assert_found(
        "error",
        &["disks: ", "in use by the running system", "live medium"],
    );
    // Without a word it is a node: its OS definition is there, and its disks
    // are in use.
    let own = doctor(&lab, &[], None);
    assert_eq!(own.report["roles"], serde_json::json!(["node"]));
    let mut bare = Command::new(lab.binary());
    bare.args(["doctor", "--json"]);
    for (name, _) in lab.directories() {
        bare.env(name, "/no/such");
    }
    let report: Value = serde_json::from_slice(&bare.output().unwrap().stdout).unwrap();
    if !p2v_sys::command::in_path("gnt-cluster") {
        assert_eq!(report["roles"], serde_json::json!(["source"]));
    }
}

/// The root that boots into RAM, in RAM, on this machine's kernel, which is
/// made to show no disks: they are in use, and may be closed to us.
#[test]
fn the_ram_system_is_looked_at_as_a_target() {
    need_root!();
    let (lab, created) = Created::anew("doctor-target").unwrap();
    let root = created.mount(&lab).unwrap();
    let ram = lab.dir().join("ram");
    std::fs::create_dir(&ram).unwrap();
    let options = "mode=755,size=600m";
    let tmpfs = Mount::new("tmpfs", &ram, "tmpfs", MsFlags::empty(), options).unwrap();
    let copy = Cmd::new("cp", "copying the root").args(["-a", "-T"]);
    copy.args([root.path(), &ram]).run().unwrap();
    root.close().unwrap();
    std::fs::copy(lab.binary(), ram.join("usr/bin/doctor")).unwrap();
    std::fs::write(ram.join(".p2v-in-ram"), "").unwrap();
    let script = format!(
        "cd {0} && mount --rbind /proc proc && mount --rbind /sys sys && mount --rbind /dev dev && \
         for i in sys/class/block sys/block; do mount -t tmpfs none $i; done && \
         pivot_root . mnt && exec chroot . /bin/sh -c 'mount -t proc proc /proc; umount -l /mnt; \
         exec env -i PATH=/usr/sbin:/usr/bin /usr/bin/p2v-as-root doctor --json'",
        ram.display()
    );
    std::fs::rename(ram.join("usr/bin/doctor"), ram.join("usr/bin/p2v-as-root")).unwrap();
    let diagnose = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "sh", "-c", &script]);
        let output = unshare.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Diagnosis {
            status: output.status.code().unwrap(),
            report,
        }
    };
    let found = diagnose();
    assert_eq!(found.report["roles"], serde_json::json!(["target"]));
    found.assert_found("good", &["runs in RAM, started by p2v-target"]);
    found.assert_found("error", &["the target has no disk", "--disk add"]);
    found.assert_found("good", &["1 key may log in as root"]);
    found.assert_found("good", &["host keys", "SHA256:"]);
    remove(&ram.join("root/.ssh/authorized_keys"));
    remove(&ram.join("usr/sbin/mkfs.xfs"));
    for key in names(&ram.join("etc/ssh")) {
        if key.starts_with("ssh_host_") {
            remove(&ram.join("etc/ssh").join(key));
        }
    }
    let found = diagnose();
    found.assert_found(
        "error",
        &["there is no key", "nobody can log in", "reinstall"],
    );
    found.assert_found(
        "warning",
        &["mkfs.xfs is missing on the target", "xfsprogs"],
    );
    found.assert_found("error", &["has no host key", "ssh-keygen -A"]);
    tmpfs.close().unwrap();
    lab.assert_nothing_left();
}
