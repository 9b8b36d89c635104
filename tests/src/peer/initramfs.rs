//! An initramfs-tools initrd with a script that copies the root to RAM, and
//! the untrimmed root that it boots, made by instance-debootstrap's create.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};

use super::debootstrap::InstanceDebootstrap;
use crate::ganeti_env::Instance;
use crate::namespace;
use crate::ssh::Key;

const COPY_SCRIPT: &str = "etc/initramfs-tools/scripts/local-bottom/copy-root-to-ram";

/// The size of the root's disk: the root, packages on their way in, initrds.
const DISK_SIZE: u64 = 4 << 30;

/// DHCP on the only interface, by both names that it may have: nothing else in
/// a root of instance-debootstrap brings the network up.
const INTERFACES: &str = "auto lo\niface lo inet loopback\n\
    allow-hotplug ens3 eth0\niface ens3 inet dhcp\niface eth0 inet dhcp\n";

/// The peer's disk with initramfs-tools, busybox and the script on it.
#[derive(Debug)]
pub struct PeerRoot {
    disk: PathBuf,
}

impl PeerRoot {
    /// Makes it, once for a peer's cache: packages are fetched for it. `key`
    /// is what may log in, written anew each time.
    pub fn prepare(peer: &InstanceDebootstrap, key: &Key, scratch: &Path) -> Result<Self> {
        let disk = peer.dir().join("root.img");
        let root = Self { disk };
        if !root.disk.exists() {
            let new = root.disk.with_extension("new");
            std::fs::File::create(&new)
                .and_then(|file| file.set_len(DISK_SIZE))
                .with_context(|| format!("making {}", new.display()))?;
            peer.create(&Instance::new("peer.example", &new))?;
            let making = Self { disk: new.clone() };
            making.with_mounted(scratch, equip)?;
            std::fs::rename(&new, &root.disk)
                .with_context(|| format!("renaming {}", new.display()))?;
        }
        root.with_mounted(scratch, |mounted| {
            let dir = mounted.join("root/.ssh");
            std::fs::create_dir_all(&dir).context("making .ssh")?;
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))
                .context("closing .ssh")?;
            std::fs::write(dir.join("authorized_keys"), key.public()).context("writing the key")
        })?;
        Ok(root)
    }

    /// Its disk, an ext4 filesystem without a partition table.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Runs `work` on the mounted root, /proc and /dev inside, in a private
    /// mount namespace.
    pub fn with_mounted<T: Send>(
        &self,
        scratch: &Path,
        work: impl FnOnce(&Path) -> Result<T> + Send,
    ) -> Result<T> {
        let point = scratch.join("peer-root");
        std::fs::create_dir_all(&point).context("making the peer's mount point")?;
        let device = LoopDevice::attach(&self.disk, Extent::default(), false)?;
        let result = namespace::with_binds(&[], || {
            let root = Mount::new(device.path(), &point, "ext4", MsFlags::empty(), "")?;
            let proc = Mount::bind(Path::new("/proc"), &point.join("proc"))?;
            let dev = Mount::bind(Path::new("/dev"), &point.join("dev"))?;
            let result = work(&point)?;
            dev.close()?;
            proc.close()?;
            root.close()?;
            Ok(result)
        })?;
        device.close()?;
        Ok(result)
    }
}

/// Installs what the initrd is made with, and the script.
fn equip(root: &Path) -> Result<()> {
    let chroot = |doing: &str| {
        Cmd::new("chroot", doing)
            .arg(root)
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    chroot("updating the peer's package lists")
        .args(["apt-get", "--quiet", "update"])
        .run()?;
    chroot("installing initramfs-tools and busybox into the peer's root")
        .args(["apt-get", "--quiet", "--yes", "--no-install-recommends"])
        .args(["install", "initramfs-tools", "busybox", "zstd"])
        .run()?;
    chroot("cleaning the peer's root")
        .args(["apt-get", "clean"])
        .run()?;
    let lists = root.join("var/lib/apt/lists");
    std::fs::remove_dir_all(&lists).context("removing the peer's package lists")?;
    std::fs::create_dir_all(&lists).context("making the peer's package lists")?;
    let script = root.join(COPY_SCRIPT);
    std::fs::copy(super::script("copy-root-to-ram"), &script)
        .with_context(|| format!("installing {}", script.display()))?;
    std::fs::write(root.join("etc/network/interfaces"), INTERFACES)
        .context("writing the peer's interfaces")?;
    // Its disk will not be there when systemd looks for it.
    std::fs::write(root.join("etc/fstab"), "").context("emptying the peer's fstab")
}

/// Builds an initrd in the mounted root with `mkinitramfs`, moves it to
/// `output`, and returns the time that the building took.
pub fn build(root: &Path, kernel: &str, output: &Path) -> Result<Duration> {
    let inside = "/tmp/initrd";
    let start = Instant::now();
    Cmd::new("chroot", format!("building the peer's initrd for {kernel}"))
        .arg(root)
        .args(["mkinitramfs", "-o", inside, kernel])
        .run()?;
    let took = start.elapsed();
    let made = root.join("tmp/initrd");
    std::fs::copy(&made, output).with_context(|| format!("copying {}", made.display()))?;
    std::fs::remove_file(&made).with_context(|| format!("removing {}", made.display()))?;
    Ok(took)
}

/// The host keys' public halves in a root.
pub fn host_keys(root: &Path) -> Result<Vec<String>> {
    let dir = root.join("etc/ssh");
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry.context("reading the host keys")?.path();
        if path.extension() == Some("pub".as_ref()) {
            keys.push(
                std::fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?,
            );
        }
    }
    Ok(keys)
}
