//! The last resort: the GRUB that the system in RAM brings along, with a menu
//! of one entry, the newest kernel. It needs nothing of the transferred
//! system's but that kernel and its initramfs, and a filesystem that GRUB reads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_bootloader::bios;
use p2v_bootloader::menu::version_key;
use p2v_bootloader::start::LAST_RESORT;
use p2v_sys::loopdev::Extent;
use p2v_sys::partition::table::Table;
use p2v_sys::{Mount, Root};

use super::efi;
use crate::Draft;
use crate::cmdline::CommandLines;
use crate::fix::initramfs::installed;
use crate::machine::{BootMode, Machine, Volume};

/// Where create has put GRUB's images.
const IMAGES: &str = "/usr/share/p2v-target/start";

/// A GPT's partition for GRUB's core image.
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

const IMAGE_NAMES: [&str; 3] = ["vmlinuz", "vmlinux", "kernel"];

/// Where GRUB's image goes, and what it then shows.
#[derive(Debug)]
pub struct LastResort {
    machine: Machine,
    /// The newest kernel's path from the root.
    kernel: String,
    initramfs: String,
    command_line: String,
}

impl LastResort {
    /// What can be done for this system; an error says what is missing.
    pub fn plan(machine: &Machine, draft: &Draft) -> Result<Self> {
        let root = machine.mounted_on("/").context("the root is not known")?;
        let mut kernels = Vec::new();
        for kernel in installed(draft)? {
            let version = &kernel.version;
            let paths = IMAGE_NAMES.map(|name| format!("boot/{name}-{version}"));
            let image = paths.into_iter().find(|path| draft.exists(path));
            kernels.extend(image.map(|image| (version_key(version), image, kernel.initramfs)));
        }
        kernels.sort();
        let (_, image, initramfs) = kernels.pop().context("there is no kernel in /boot")?;
        Ok(Self {
            command_line: command_line(machine, root, draft)?,
            machine: machine.clone(),
            kernel: image,
            initramfs,
        })
    }

    /// Does it, and says what starts now.
    pub fn install(&self, root: &Root) -> Result<String> {
        let place = BootPlace::of(&self.machine)?;
        place.write_menu(root, &self.menu(&place))?;
        match self.machine.boot {
            BootMode::Efi => self.install_on_esp(root)?,
            BootMode::Bios | BootMode::Direct => self.install_on_disk()?,
        }
        Ok(format!(
            "the GRUB of the system in RAM starts /{} from /{LAST_RESORT}; the system's own tools \
             do not know of it: a new kernel needs a new entry there",
            self.kernel
        ))
    }

    fn menu(&self, place: &BootPlace) -> String {
        format!(
            "# Written by p2v-target: the system brought no boot loader that could be installed.\n\
             if serial --unit=0 --speed={speed}; then\n  \
             terminal_input console serial\n  \
             terminal_output console serial\n\
             fi\n\
             set timeout=3\n\
             menuentry \"{title}\" {{\n  \
             linux {kernel} {line}\n  \
             initrd {initramfs}\n\
             }}\n",
            speed = self.machine.serial_speed(),
            title = self.kernel,
            kernel = place.path(&self.kernel),
            line = self.command_line,
            initramfs = place.path(&self.initramfs),
        )
    }

    fn install_on_disk(&self) -> Result<()> {
        let disk = self.machine.boot_disk.as_str();
        let doing = || format!("writing GRUB to {disk}");
        let (boot, core) = (image("boot.img")?, image("core.img")?);
        let area = area(disk)?;
        let device = File::options()
            .read(true)
            .write(true)
            .open(disk)
            .with_context(doing)?;
        let mut old = [0; 512];
        device.read_exact_at(&mut old, 0).with_context(doing)?;
        let (core, sector) = bios::place(&boot, &core, &old, area).with_context(doing)?;
        device
            .write_all_at(&core, area.offset)
            .with_context(doing)?;
        device.sync_all().with_context(doing)?;
        device.write_all_at(&sector, 0).with_context(doing)?;
        device.sync_all().with_context(doing)
    }

    fn install_on_esp(&self, root: &Root) -> Result<()> {
        let point = efi::mount_point(&self.machine)?;
        let path = format!("{point}/{}", efi::REMOVABLE[0]);
        root.write(&path, image("grub.efi")?, 0o644)
    }
}

fn image(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(IMAGES).join(name);
    std::fs::read(&path).with_context(|| {
        format!(
            "reading {}: the node that created the instance had no such GRUB",
            path.display()
        )
    })
}

/// Where the core image goes on a disk: a partition for it, or the gap.
fn area(disk: &str) -> Result<Extent> {
    let table = Table::read(Path::new(disk))?;
    let table = table.with_context(|| format!("{disk} has no partition table"))?;
    let extent = |entry: &p2v_sys::partition::table::Entry| entry.extent(table.sector_size);
    if table.label == "gpt" {
        let own = |kind: &str| kind.eq_ignore_ascii_case(BIOS_BOOT);
        let entry = table.partitions.iter().find(|entry| own(&entry.kind));
        return entry.map(extent).with_context(|| {
            format!("{disk} has a GPT without a BIOS boot partition: make one of 1 MiB")
        });
    }
    let first = table.partitions.iter().map(|entry| extent(entry).offset);
    Ok(bios::gap(first.min().unwrap_or(0)))
}

/// The filesystem that holds /boot, as GRUB sees it.
struct BootPlace<'a> {
    volume: &'a Volume,
    /// What GRUB's path has instead of the path from the root.
    prefix: String,
    /// Whether /boot is this filesystem's top.
    is_boot: bool,
}

impl<'a> BootPlace<'a> {
    fn of(machine: &'a Machine) -> Result<Self> {
        let boot = machine.mounted_on("/boot");
        let volume = boot.or_else(|| machine.mounted_on("/"));
        let volume = volume.context("the filesystem of /boot is not known")?;
        Ok(Self {
            volume,
            prefix: subvolume(&volume.device)?,
            is_boot: boot.is_some(),
        })
    }

    fn path(&self, path: &str) -> String {
        let path = match self.is_boot {
            true => path.strip_prefix("boot").unwrap_or(path),
            false => path,
        };
        format!("{}/{}", self.prefix, path.trim_start_matches('/'))
    }

    /// GRUB looks at the filesystem's top, which a subvolume does not show.
    fn write_menu(&self, root: &Root, menu: &str) -> Result<()> {
        if self.prefix.is_empty() {
            return root.write(LAST_RESORT, menu, 0o644);
        }
        let dir = tempfile::tempdir().context("making a mount point")?;
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        let device = Path::new(&self.volume.device);
        let mount = Mount::new(device, dir.path(), &self.volume.kind, flags, "subvolid=5")?;
        Root::open(dir.path())?.write(LAST_RESORT, menu, 0o644)?;
        mount.close()
    }
}

/// The path in its filesystem of what is mounted of a device; empty for all.
fn subvolume(device: &str) -> Result<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let rest = fields.iter().position(|field| *field == "-")?;
        (fields.get(rest + 2) == Some(&device)).then(|| fields.get(3).copied())?
    });
    match found {
        Some(path) if path.contains('\\') => bail!("the subvolume {path} has an odd name"),
        Some(path) => Ok(path.trim_end_matches('/').to_owned()),
        None => Ok(String::new()),
    }
}

/// The root, the consoles, and how the system has had its cards named.
fn command_line(machine: &Machine, root: &Volume, draft: &Draft) -> Result<String> {
    let uuid = root.uuid.as_deref().context("the root has no UUID")?;
    let mut line = format!("root=UUID={uuid} ro");
    let subvolume = subvolume(&root.device)?;
    if !subvolume.is_empty() {
        line += &format!(" rootflags=subvol={}", subvolume.trim_start_matches('/'));
    }
    let lines = CommandLines::find(draft)?;
    for word in ["net.ifnames=0", "biosdevname=0", "selinux=0"] {
        if lines.has_word(word) {
            line += &format!(" {word}");
        }
    }
    for console in machine.consoles() {
        line += &match console.starts_with("ttyS") {
            true => format!(" console={console},{}", machine.serial_speed()),
            false => format!(" console={console}"),
        };
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestRoot, machine};

    const FILES: [(&str, &str); 7] = [
        ("lib/modules/6.1.0-9-amd64/modules.dep", ""),
        ("lib/modules/6.1.0-10-amd64/modules.dep", ""),
        ("boot/vmlinuz-6.1.0-9-amd64", ""),
        ("boot/vmlinuz-6.1.0-10-amd64", ""),
        ("boot/initrd.img-6.1.0-9-amd64", ""),
        ("boot/initrd.img-6.1.0-10-amd64", ""),
        (
            "boot/grub/menu.lst",
            "kernel /vmlinuz net.ifnames=0 root=/dev/x\n",
        ),
    ];

    #[test]
    fn the_menu_starts_the_newest_kernel() {
        let test = TestRoot::new(&FILES);
        let line = "root=UUID=aaaa ro net.ifnames=0 console=tty0 console=ttyS0,115200";
        for (boot, path) in [
            ("", "/boot/"),
            (
                r#", {"device": "/dev/none2", "kind": "ext4", "mount_point": "/boot"}"#,
                "/",
            ),
        ] {
            let machine = machine(&format!(
                r#"{{"serial_speed": 115200, "volumes": [{{"device": "/dev/none1", "kind": "ext4",
                    "uuid": "aaaa", "mount_point": "/"}}{boot}]}}"#
            ));
            let last = LastResort::plan(&machine, &test.draft()).unwrap();
            let place = BootPlace::of(&machine).unwrap();
            let menu = last.menu(&place);
            let wanted = format!(
                "  linux {path}vmlinuz-6.1.0-10-amd64 {line}\n  \
                 initrd {path}initrd.img-6.1.0-10-amd64\n"
            );
            assert!(menu.contains(&wanted), "{menu}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let told = |files: &[(&str, &str)], text: &str| {
            let test = TestRoot::new(files);
            let error = LastResort::plan(&machine(text), &test.draft()).unwrap_err();
            format!("{error:#}")
        };
        let root = r#"{"volumes": [{"device": "/dev/none1", "kind": "ext4", "mount_point": "/"}]}"#;
        assert!(told(&FILES, "{}").contains("root"));
        assert!(told(&FILES[..2], root).contains("no kernel"));
        assert!(told(&FILES, root).contains("no UUID"));
    }
}
