//! An instance in RAM, and a machine that moves in: its disk gets a layout and
//! files that no create made.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use p2v_sys::loopdev::LoopDevice;
use p2v_sys::{Cmd, Mount};

use crate::ganeti_lab::Cluster;
use crate::ganeti_lab::cluster::instance_address;
use crate::ssh::Ssh;
use crate::{image, ram_system};

/// The instance that lives through all of it.
pub const NAME: &str = "web1.lab";

/// On a machine without hardware acceleration that does other work besides.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Given to the instances that boot.
pub const MEMORY: &str = "-B memory=2048,vcpus=2";

/// What a migrator does to the disk, and what comes to lie on it: four
/// partitions, one a whole system.
const MOVE_IN: &str = "set -e
printf 'label: gpt\\n,64M,L\\n,128M,S\\n,400M,L\\n,,L\\n' |
    sfdisk --quiet --wipe always --wipe-partitions always /dev/vda
udevadm settle --timeout 30 || true
mkfs.ext2 -q -F /dev/vda1
mkswap /dev/vda2 >/dev/null
mkfs.xfs -q -f /dev/vda3
mkfs.ext4 -q -F /dev/vda4
mkdir /tmp/disk
mount /dev/vda4 /tmp/disk
cp -ax /. /tmp/disk
rmdir /tmp/disk/tmp/disk
mkdir -p /tmp/disk/srv/data
mount /dev/vda3 /tmp/disk/srv/data
mkdir /tmp/disk/srv/data/copies
cp -a /etc /usr/sbin /tmp/disk/srv/data/copies
mount /dev/vda1 /tmp/disk/boot
cp -a /etc /tmp/disk/boot/copy
printf '/dev/vda4 / ext4 defaults 0 1\\n/dev/vda1 /boot ext2 defaults 0 2\\n' >/tmp/disk/etc/fstab
printf '/dev/vda2 none swap sw 0 0\\n/dev/vda3 /srv/data xfs defaults 0 2\\n' >>/tmp/disk/etc/fstab
umount /tmp/disk/boot /tmp/disk/srv/data /tmp/disk
rmdir /tmp/disk";

/// Without any parameter, and with an address to reach it at.
pub fn add(cluster: &Cluster) -> Result<()> {
    let options = format!("-s 3G {MEMORY} {}", nic(0));
    cluster.add(NAME, &options)?;
    cluster.check_os_logs()?;
    let disk = cluster.disk(NAME)?;
    ensure!(image::has_boot_code(&disk)?, "it would not boot");
    Ok(())
}

/// The option for an interface with the `index`th address.
pub fn nic(index: u8) -> String {
    format!("--net 0:ip={},network=lab-net", instance_address(index))
}

/// From its own boot loader to a login.
pub fn boot(cluster: &Cluster) -> Result<()> {
    let ssh = start(cluster, NAME, 0, NAME)?;
    check_fingerprints(cluster)?;
    ram_system::check_released(&ssh)?;
    let name = ssh.run("hostname --fqdn")?;
    ensure!(name == NAME, "it calls itself {name}");
    Ok(())
}

/// Starts an instance and waits until somebody can log in. The server must
/// show a host key that `create` wrote down for `created`.
pub fn start(cluster: &Cluster, instance: &str, address: u8, created: &str) -> Result<Ssh> {
    cluster.gnt(&format!("gnt-instance start {instance}"))?;
    let ssh = cluster.ssh(created, &instance_address(address))?;
    ssh.wait(LONGEST_BOOT)?;
    Ok(ssh)
}

/// The operator compares with the job's log: it must have the same.
fn check_fingerprints(cluster: &Cluster) -> Result<()> {
    let log = cluster.os_log("add", NAME)?;
    let path = cluster.state_of(NAME);
    let text = std::fs::read_to_string(&path).context("reading what the node remembers")?;
    let state: serde_json::Value = serde_json::from_str(&text).context("parsing it")?;
    let keys = state["host_keys"].as_array().context("no host keys")?;
    for key in keys {
        let public = key["public_key"].as_str().context("no public key")?;
        let told = Cmd::new("ssh-keygen", "computing a fingerprint")
            .args(["-l", "-f", "/dev/stdin"])
            .stdin(public)
            .read()?;
        let fingerprint = told.split_whitespace().nth(1).context("no fingerprint")?;
        ensure!(log.contains(fingerprint), "no {fingerprint} in:\n{log}");
    }
    Ok(())
}

/// Repartitions the disk over SSH, puts a system on it and stops the instance.
pub fn move_in(cluster: &Cluster) -> Result<()> {
    let ssh = cluster.ssh(NAME, &instance_address(0))?;
    ssh.run(MOVE_IN)?;
    cluster.gnt(&format!("gnt-instance stop --timeout=60 {NAME}"))?;
    let disk = cluster.disk(NAME)?;
    let partitions = image::partitions(&disk)?;
    ensure!(partitions.len() == 4, "{} partitions", partitions.len());
    let root = partitions.last().context("no partition")?;
    let dir = tempfile::tempdir_in(cluster.dir()).context("making a mount point")?;
    let device = LoopDevice::attach(&disk, root.extent, false)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mount = Mount::new(device.path(), dir.path(), "ext4", flags, "")?;
    add_rarities(&dir.path().join("srv"))?;
    mount.close()?;
    device.close()
}

/// What copies like to lose.
fn add_rarities(dir: &Path) -> Result<()> {
    let path = |name: &str| dir.join(name);
    let writing = || format!("writing to {}", dir.display());
    std::fs::write(path("plain"), "plain\n").with_context(writing)?;
    std::fs::hard_link(path("plain"), path("linked")).with_context(writing)?;
    std::os::unix::fs::symlink("/etc/passwd", path("link")).with_context(writing)?;
    let sparse = std::fs::File::create(path("sparse")).with_context(writing)?;
    sparse.set_len(64 << 20).with_context(writing)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 32 << 20).with_context(writing)?;
    std::fs::write(path("a name\nof two lines"), "").with_context(writing)?;
    std::fs::copy("/bin/true", path("able")).with_context(writing)?;
    std::os::unix::fs::chown(path("plain"), Some(12345), Some(54321)).with_context(writing)?;
    let run = |program: &str, arguments: &[&str], name: &str| {
        Cmd::new(program, format!("marking {name}"))
            .args(arguments)
            .arg(path(name))
            .run()
    };
    run("setcap", &["cap_net_raw+ep"], "able")?;
    run("setfacl", &["--modify", "user:1234:rw"], "plain")?;
    run("setfattr", &["--name=user.note", "--value=kept"], "sparse")?;
    run("mkfifo", &[], "pipe")
}
