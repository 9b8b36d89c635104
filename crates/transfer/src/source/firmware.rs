//! What on the disks tells how the machine's firmware starts it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use p2v_backup::window::Window;
use p2v_sys::partition::table::{Entry, Table};
use p2v_sys::source_disk::SourceDisk;
use p2v_sys::{Cmd, Root};

use super::mounted::MountedSource;
use super::system::Firmware;
use super::{Area, Content, Disk};

const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const GPT_LEGACY: &str = "LegacyBIOSBootable";

/// The part of the boot sector that is code.
const CODE: usize = 440;

/// How deep loaders lie in an EFI system partition: EFI/debian/grubx64.efi.
const DEPTH: usize = 3;

/// Adds what `disk` tells. `mounted` finds its filesystems.
pub fn look<'a>(
    firmware: &mut Firmware,
    disk: &Disk,
    source: &SourceDisk,
    mounted: impl Fn(usize) -> Option<&'a MountedSource>,
) {
    firmware.boot_code |= has_boot_code(disk, source);
    for (number, area) in disk.areas.iter().enumerate() {
        let Content::Filesystem(filesystem) = &area.content else {
            continue;
        };
        if filesystem.format.kind != "vfat" || !is_esp(disk, area) {
            continue;
        }
        let points = ["/boot/efi", "/efi", "/boot"];
        let mut mounts = filesystem.mounts.iter();
        firmware.efi_mounted |= mounts.any(|point| points.contains(&point.path.as_str()));
        let found = match mounted(number) {
            Some(mounted) => loader_below(mounted),
            None => loader_by_mtools(&disk.path, area),
        };
        match found {
            Ok(found) => firmware.efi_loader |= found,
            Err(error) => {
                tracing::debug!("{error:#}");
                firmware.efi_unknown = true;
            }
        }
    }
}

fn is_esp(disk: &Disk, area: &Area) -> bool {
    let entry = entry(disk, area.number);
    entry.is_some_and(|entry| {
        entry.kind.eq_ignore_ascii_case(ESP) || entry.kind.eq_ignore_ascii_case("ef")
    })
}

fn entry(disk: &Disk, number: u32) -> Option<&Entry> {
    let table = disk.table.as_ref()?;
    table.partitions.iter().find(|entry| entry.number == number)
}

fn loader_below(mounted: &MountedSource) -> Result<bool> {
    fn any_below(root: &Root, directory: &Path, depth: usize) -> Result<bool> {
        for name in root.list(directory)? {
            let path = directory.join(&name);
            let text = name.to_string_lossy().to_ascii_lowercase();
            let is_directory = || {
                let metadata = root.open_file(&path).and_then(|file| Ok(file.metadata()?));
                metadata.is_ok_and(|metadata| metadata.is_dir())
            };
            if text.ends_with(".efi")
                || depth > 1 && is_directory() && any_below(root, &path, depth - 1)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
    any_below(&Root::open(mounted.path())?, Path::new("EFI"), DEPTH)
}

/// For kernels that know no vfat.
fn loader_by_mtools(disk: &Path, area: &Area) -> Result<bool> {
    let place = area.place(disk);
    // With status 1 there is no such directory.
    let image = format!("{}@@{}", disk.display(), area.start);
    let (_, text) = Cmd::new("mdir", format!("looking for EFI loaders on {place}"))
        .args(["-i", &image, "-/", "-b", "::/EFI"])
        .env("MTOOLS_SKIP_CHECK", "1")
        .timeout(Duration::from_secs(30))
        .read_answer(&[1])?;
    let mut paths = text.lines().map(|line| line.trim().to_ascii_lowercase());
    Ok(paths.any(|path| path.ends_with(".efi")))
}

/// Whether a BIOS would find a loader here. That there is code is not enough:
/// tools for partitions write some that only says that there is none.
fn has_boot_code(disk: &Disk, source: &SourceDisk) -> bool {
    let begins = |start: u64, length: usize| {
        let extent = p2v_sys::loopdev::Extent {
            offset: start,
            length: length as u64,
        };
        let bytes = Window::new(source.file(), extent).read(0, length);
        bytes.unwrap_or_default()
    };
    let holds = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    let sector = begins(0, 512);
    if sector.len() < 512 || !holds(&sector[..CODE]) || sector[510..] != [0x55, 0xaa] {
        return false;
    }
    match &disk.table {
        None => true,
        Some(table) if table.label == "gpt" => {
            let mut areas = disk.areas.iter();
            areas.any(|area| area.content == Content::BiosBoot && holds(&begins(area.start, 512)))
                || has_legacy_partition(table)
        }
        Some(table) => {
            let active = table.partitions.iter().any(|entry| entry.bootable);
            active || sector[..CODE].windows(4).any(|word| word == b"GRUB")
        }
    }
}

fn has_legacy_partition(table: &Table) -> bool {
    let mut attributes = table
        .partitions
        .iter()
        .filter_map(|entry| entry.attributes.as_deref());
    attributes.any(|attributes| attributes.contains(GPT_LEGACY))
}
