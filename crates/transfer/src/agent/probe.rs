//! What the target is: the answer to `probe`.

use std::path::Path;

use anyhow::{Context, Result};
use p2v_fixes::machine::{BootMode, Hypervisor, found};
use p2v_sys::command::in_path;

use super::claim;
use super::disks::{self, Disk};
use super::place::Place;
use super::stamp;
use super::voice::Voice;
use crate::target::{Target, TargetDisk, TargetNic};

/// What preparing disks and running the fixes can take.
const TOOLS: [&str; 8] = [
    "sfdisk",
    "blkid",
    "chroot",
    "mke2fs",
    "e2fsck",
    "mkfs.xfs",
    "mkfs.btrfs",
    "mkswap",
];

/// What a system's volumes can be.
pub const FILESYSTEMS: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"];

/// Looks at the machine for that run; nothing is changed.
pub fn target(place: &Place, run: &str, voice: &mut Voice) -> Result<Target> {
    // First: whoever ends meanwhile lets go of the disks.
    let at_work = match place.is_ram_booted() {
        true => claim::still_at_work(place, run, voice)?,
        false => None,
    };
    Ok(Target {
        at_work,
        ..look(place)?
    })
}

/// Looks at the machine alone, not at who works on it.
pub fn look(place: &Place) -> Result<Target> {
    let (hypervisor, instance) = found::ganeti()?;
    let ram_booted = place.is_ram_booted();
    // A system that lives on its disks is the wrong machine: they are its own.
    let disks = match ram_booted {
        true => disks::list(place)?,
        false => Vec::new(),
    };
    let hostname = nix::unistd::gethostname().context("reading the host name")?;
    Ok(Target {
        p2v: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: hostname.to_string_lossy().into_owned(),
        instance,
        hypervisor,
        boot: boot_mode(hypervisor),
        ram_booted,
        memory: memory("MemTotal:")?,
        memory_available: memory("MemAvailable:")?,
        processors: processors(),
        at_work: None,
        disks: disks
            .iter()
            .map(|disk| examined(place, disk))
            .collect::<Result<_>>()?,
        nics: nics()?,
        missing_tools: missing(&TOOLS),
        filesystems: mountable()?,
    })
}

fn examined(place: &Place, disk: &Disk) -> Result<TargetDisk> {
    let in_use = match disk.read_only {
        true => Some("read-only".to_owned()),
        false => disks::user(place, &disk.path)?,
    };
    let stamp = stamp::on_disk(&disk.path)?;
    Ok(TargetDisk {
        device: disk.path.to_string_lossy().into_owned(),
        size: disk.size,
        sector_size: disk.sector_size,
        in_use,
        holds: disks::content(disk)?,
        begun_from: stamp.as_ref().and_then(|stamp| stamp.hardware.clone()),
        plan_id: stamp.map(|stamp| stamp.plan_id),
    })
}

fn boot_mode(hypervisor: Hypervisor) -> BootMode {
    match Path::new("/sys/firmware/efi").exists() {
        _ if hypervisor == Hypervisor::XenPvm => BootMode::Direct,
        true => BootMode::Efi,
        false => BootMode::Bios,
    }
}

/// A line of /proc/meminfo, in bytes.
fn memory(name: &str) -> Result<u64> {
    let doing = || format!("reading {name} of /proc/meminfo");
    let text = std::fs::read_to_string("/proc/meminfo").with_context(doing)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.with_context(doing)?.saturating_mul(1024))
}

fn processors() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The cards in the order of the kernel's names, as the fixes see them.
fn nics() -> Result<Vec<TargetNic>> {
    let directory = Path::new("/sys/class/net");
    let entries = std::fs::read_dir(directory).context("listing the network cards")?;
    let mut nics: Vec<TargetNic> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| directory.join(name).join("device").exists())
        .map(|name| {
            let mac = std::fs::read_to_string(directory.join(&name).join("address"));
            TargetNic {
                mac: mac.unwrap_or_default().trim().to_owned(),
                name,
            }
        })
        .collect();
    nics.sort_by_key(|nic| (nic.name.len(), nic.name.clone()));
    Ok(nics)
}

fn missing(tools: &[&str]) -> Vec<String> {
    let missing = tools.iter().filter(|tool| !in_path(tool));
    missing.map(|tool| (*tool).to_owned()).collect()
}

/// The filesystems that the kernel has, or has a module for that is there.
pub fn mountable() -> Result<Vec<String>> {
    let known =
        std::fs::read_to_string("/proc/filesystems").context("reading /proc/filesystems")?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let is_there = |name: &&&str| {
        let in_kernel = known
            .lines()
            .any(|line| line.split_whitespace().last() == Some(name));
        in_kernel || has_module(&modules, name)
    };
    let there = FILESYSTEMS.iter().filter(is_there);
    Ok(there.map(|name| (*name).to_owned()).collect())
}

/// Whether the alias by which the kernel would ask for it leads to a file.
fn has_module(modules: &Path, filesystem: &str) -> bool {
    let read = |name: &str| std::fs::read_to_string(modules.join(name)).unwrap_or_default();
    let alias = format!("alias fs-{filesystem} ");
    let aliases = read("modules.alias");
    let mut named = aliases.lines().filter_map(|line| line.strip_prefix(&alias));
    let files = read("modules.dep");
    named.any(|module| {
        let of_it = |line: &&str| {
            let file = line.split(':').next().unwrap_or_default();
            let name = file.rsplit('/').next().unwrap_or_default();
            let name = name.split('.').next().unwrap_or_default();
            name.replace('-', "_") == module.trim().replace('-', "_") && modules.join(file).exists()
        };
        files.lines().any(|line| of_it(&line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_counts_if_its_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir_all(dir.path().join("kernel/fs")).unwrap();
        put(
            "modules.alias",
            "alias fs-ext3 ext4\nalias fs-ext4 ext4\nalias fs-xfs xfs\n",
        );
        put(
            "modules.dep",
            "kernel/fs/ext4.ko.xz: kernel/lib/crc16.ko\nkernel/fs/xfs.ko:\n",
        );
        put("kernel/fs/ext4.ko.xz", "");
        for (name, expected) in [
            ("ext3", true),
            ("ext4", true),
            ("xfs", false),
            ("vfat", false),
        ] {
            assert_eq!(has_module(dir.path(), name), expected, "{name}");
        }
    }

    #[test]
    fn this_machine_has_memory_and_processors() {
        let all = memory("MemTotal:").unwrap();
        assert!(all > memory("MemAvailable:").unwrap() && all > 64 << 20);
        assert!(processors() > 0);
        assert!(memory("Nonsense:").is_err());
        assert_eq!(missing(&["sh", "no-such-tool"]), ["no-such-tool"]);
    }
}
