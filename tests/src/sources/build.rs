//! A source's disk, from Debian's packages: a root by mmdebstrap, a disk as the
//! recipe says, and a first start of the machine itself, which puts its boot
//! loader on its disk with its own programs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::partition::table::Table;
use p2v_sys::{Cmd, Mount};

use super::recipe::{LEFT_OUT, PACKAGES, Recipe, SPARSE, Volume};
use crate::guest;
use crate::image::beside_clones;
use crate::qemu::{Boot, Hardware, Machine, MachineSpec};

/// Run in every source's root.
const EVERY: &str = include_str!("scripts/every");

/// The first process of a source's first start.
const FINISH: &str = include_str!("scripts/finish");

/// Longer than a slow mirror takes on a busy machine.
const LONGEST_BOOTSTRAP: Duration = Duration::from_secs(1200);

/// Ten times what an idle machine with two cores needs.
const LONGEST_FINISH: Duration = Duration::from_secs(600);

/// What a source's root depends on.
pub fn root_key(recipe: &Recipe) -> String {
    format!(
        "{} {:?} {:?} {:?} {:?} {:?}",
        recipe.suite, PACKAGES, recipe.packages, LEFT_OUT, recipe.initramfs, recipe.modules
    )
}

/// What its disk depends on besides.
pub fn disk_key(recipe: &Recipe) -> String {
    format!(
        "{} {} {:?} {} {} {EVERY} {FINISH} {SPARSE}",
        recipe.disk, recipe.table, recipe.volumes, recipe.setup, recipe.finish
    )
}

/// Makes the archive of a source's root.
pub fn make_root(recipe: &Recipe, archive: &Path) -> Result<()> {
    let dir = archive.parent().context("finding the cache")?;
    let files = tempfile::Builder::new()
        .prefix("initramfs-")
        .tempdir_in(dir)
        .context("making a directory for settings")?;
    write(&files.path().join("settings"), recipe.initramfs)?;
    write(&files.path().join("modules"), recipe.modules)?;
    let put = |from: &str, to: &str| {
        let from = files.path().join(from);
        format!("--essential-hook=upload {} {to}", from.display())
    };
    let packages: Vec<&str> = PACKAGES.iter().chain(recipe.packages).copied().collect();
    let mut command = Cmd::new(
        "mmdebstrap",
        format!("installing the source {}", recipe.name),
    )
    .args(["--mode=root", "--variant=minbase"])
    .arg("--aptopt=APT::Install-Recommends \"false\"")
    .arg(format!("--include={}", packages.join(",")))
    .arg("--essential-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\"")
    .arg(put("settings", "/etc/initramfs-tools/conf.d/settings"))
    .arg(put("modules", "/etc/initramfs-tools/modules"));
    for pattern in LEFT_OUT {
        command = command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    command
        .arg(recipe.suite)
        .arg(archive)
        .timeout(LONGEST_BOOTSTRAP)
        .run()
        .context("sources need Debian's packages: is there a way to the mirror, or http_proxy set?")
}

/// Makes a source's disk from its root, with `login` as the public key that may
/// log in; returns its host keys. Works in `dir`.
pub fn make_disk(
    recipe: &Recipe,
    root: &Path,
    disk: &Path,
    login: &str,
    dir: &Path,
) -> Result<String> {
    std::fs::File::create(disk)
        .and_then(|file| file.set_len(recipe.disk))
        .with_context(|| format!("making {}", disk.display()))?;
    guest::partition(disk, recipe.table)?;
    for volume in recipe.volumes {
        let (program, options) = volume.format.split_first().context("no program")?;
        guest::format(disk, extent(disk, volume.number)?, program, options)?;
    }
    let filled = fill(recipe, root, disk, login, dir)?;
    finish(recipe, disk, &filled, dir)?;
    Ok(filled.host_keys)
}

/// What is taken from a source's root.
struct Filled {
    kernel: PathBuf,
    initrd: PathBuf,
    host_keys: String,
}

/// Where a partition is on its disk, by its number.
pub fn extent(disk: &Path, number: u32) -> Result<Extent> {
    let table = Table::read(disk)?.context("the disk has no table")?;
    let entry = table.partitions.iter().find(|entry| entry.number == number);
    let entry = entry.with_context(|| format!("there is no partition {number}"))?;
    Ok(entry.extent(table.sector_size))
}

/// Unpacks the root and sets it up.
fn fill(recipe: &Recipe, root: &Path, disk: &Path, login: &str, dir: &Path) -> Result<Filled> {
    let top = dir.join("root");
    std::fs::create_dir_all(&top).context("making a mount point")?;
    let mounted = mount_all(recipe, disk, &top)?;
    guest::unpack(root, &top)?;
    run_in(&top, "its setup", recipe.setup, login)?;
    run_in(&top, "every source's setup", EVERY, login)?;
    put_script(&top.join("finish"), FINISH)?;
    write(&top.join("finish.d"), recipe.finish)?;
    let take = |prefix: &str| take_boot_file(&top, prefix, dir);
    let filled = Filled {
        kernel: take("vmlinuz-")?,
        initrd: take("initrd.img-")?,
        host_keys: host_keys(&top)?,
    };
    for (mount, device) in mounted.into_iter().rev() {
        mount.close()?;
        device.close()?;
    }
    Ok(filled)
}

/// Mounts what this machine's kernel can, at its place below `top`.
fn mount_all(recipe: &Recipe, disk: &Path, top: &Path) -> Result<Vec<(Mount, LoopDevice)>> {
    let mut mounted = Vec::new();
    for volume in recipe.volumes {
        let (Some(kind), Some(place)) = (volume.kind, volume.mount) else {
            continue;
        };
        let target = top.join(place.trim_start_matches('/'));
        if kind == "vfat" {
            continue;
        }
        std::fs::create_dir_all(&target).context("making a mount point")?;
        let device = LoopDevice::attach(disk, extent(disk, volume.number)?, false)?;
        let options = make_subvolume(volume, kind, &device, &target)?;
        let mount = Mount::new(device.path(), &target, kind, MsFlags::empty(), &options)?;
        mounted.push((mount, device));
    }
    Ok(mounted)
}

/// Makes the volume's subvolume, if it has one; returns how to mount it.
fn make_subvolume(
    volume: &Volume,
    kind: &str,
    device: &LoopDevice,
    target: &Path,
) -> Result<String> {
    let Some(name) = volume.subvolume else {
        return Ok(beside_clones(kind).to_owned());
    };
    let mount = Mount::new(device.path(), target, kind, MsFlags::empty(), "")?;
    Cmd::new("btrfs", format!("making the subvolume {name}"))
        .args(["subvolume", "create"])
        .arg(target.join(name))
        .run()?;
    mount.close()?;
    Ok(format!("subvol={name}"))
}

/// Runs a script in the root, with nothing of this machine's environment.
fn run_in(top: &Path, what: &str, script: &str, login: &str) -> Result<()> {
    let path = top.join("setup");
    put_script(&path, script)?;
    let null = top.join("dev/null");
    let devices = Mount::bind(Path::new("/dev/null"), {
        write(&null, "")?;
        &null
    })?;
    Cmd::new("chroot", format!("running {what} in its root"))
        .arg(top)
        .arg("/setup")
        .clear_env()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LOGIN", login.trim())
        .env("SPARSE", SPARSE.to_string())
        .run()?;
    devices.close()?;
    std::fs::remove_file(&null).context("removing a device")?;
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// Starts the machine on its own hardware with its own kernel, as whose first
/// process it puts its boot loader in place.
fn finish(recipe: &Recipe, disk: &Path, filled: &Filled, dir: &Path) -> Result<()> {
    let boot = Boot::Direct {
        kernel: filled.kernel.clone(),
        initrd: filled.initrd.clone(),
        append: format!("{} ro console=ttyS1 init=/finish panic=-1", recipe.root),
    };
    let spec = MachineSpec::new(boot, disk)
        .hardware(Hardware::Physical)
        .memory(1024);
    let mut machine = Machine::start(&spec, dir)?;
    let console = machine.console().clone();
    let words = ["the source is finished", "finishing the source failed"];
    let (index, _) = console.expect_any(&words, LONGEST_FINISH)?;
    let ended = machine.wait_for_end(LONGEST_FINISH)?;
    ensure!(
        index == 0 && ended == "guest-shutdown",
        "finishing the source {}: {ended}. {}",
        recipe.name,
        console.tail()
    );
    Ok(())
}

/// The public keys that its SSH server shows, a line each.
fn host_keys(top: &Path) -> Result<String> {
    let mut keys = String::new();
    let entries = std::fs::read_dir(top.join("etc/ssh")).context("reading /etc/ssh")?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "pub") {
            keys += &std::fs::read_to_string(&path).context("reading a host key")?;
        }
    }
    ensure!(!keys.is_empty(), "the source has no host keys");
    Ok(keys)
}

/// Copies the one file of /boot with that prefix to `dir`.
fn take_boot_file(top: &Path, prefix: &str, dir: &Path) -> Result<PathBuf> {
    let boot = top.join("boot");
    let entries = std::fs::read_dir(&boot).context("reading /boot")?;
    let found = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        })
        .with_context(|| format!("there is no {prefix}* in /boot"))?;
    let copy = dir.join(prefix.trim_end_matches('-'));
    std::fs::copy(&found, &copy).with_context(|| format!("copying {}", found.display()))?;
    Ok(copy)
}

fn put_script(path: &Path, text: &str) -> Result<()> {
    write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
