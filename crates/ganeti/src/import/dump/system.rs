//! The restored system finds itself on its new disk: its filesystem gets the
//! UUID or the label by which its own fstab mounts it, and there is a menu for
//! the boot loader.

use anyhow::Result;
use p2v_bootloader::Menu;
use p2v_bootloader::menu::GRUB_CFG;
use p2v_sys::Root;
use p2v_sys::filesystem::Filesystem;

use crate::boot_loader::consoles;
use crate::create::kernel::Kernel;
use crate::job::Job;

const FSTAB: &str = "/etc/fstab";

/// What the restored filesystem must be given.
#[derive(Debug)]
pub struct System {
    /// The UUID it mounts its root by, or is booted with.
    pub uuid: Option<String>,
    /// The label it mounts its root by.
    pub label: Option<String>,
    /// How it boots.
    pub boot: Boot,
}

/// How a restored system boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// By the menu in its /boot/grub.
    Menu,
    /// By a kernel of the node.
    NoKernel,
}

impl System {
    /// Looks into the restored root on the new filesystem `uuid`, and changes
    /// in it what would keep it from booting.
    pub fn settle(root: &Root, job: &Job, filesystem: Filesystem, uuid: &str) -> Result<Self> {
        let fstab = root.read(FSTAB)?.unwrap_or_default();
        let line = RootLine::find(&fstab);
        let named = |prefix: &str| {
            let name = line.as_ref()?.device.strip_prefix(prefix)?;
            Some(name.trim_matches('"').to_owned())
        };
        let uuid_in_fstab = named("UUID=").filter(|uuid| is_uuid(uuid));
        let label = named("LABEL=").filter(|label| valid_label(label).is_some());
        let uuid_in_menu = uuid_in_menu(root)?;
        if let Some(line) = &line {
            let known = uuid_in_fstab.is_some() || label.is_some();
            let booted = uuid_in_menu.as_deref().unwrap_or(uuid);
            let device = (!known).then(|| format!("UUID={booted}"));
            if let Some(text) = line.corrected(&fstab, device, filesystem) {
                root.rewrite(FSTAB, text)?;
                tracing::info!("its /etc/fstab now mounts the new root");
            }
        }
        let own_uuid = uuid_in_fstab.or(uuid_in_menu);
        let uuid = own_uuid.as_deref().unwrap_or(uuid);
        let boot = boot(root, job, uuid)?;
        Ok(Self {
            uuid: own_uuid,
            label,
            boot,
        })
    }
}

/// The UUID by which its menu tells the kernel where the root is.
fn uuid_in_menu(root: &Root) -> Result<Option<String>> {
    let menu = root.read_text(GRUB_CFG)?.unwrap_or_default();
    let uuid = menu
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("root=UUID="));
    Ok(uuid.filter(|uuid| is_uuid(uuid)).map(str::to_owned))
}

/// A menu of its own, or one made for the newest kernel.
fn boot(root: &Root, job: &Job, uuid: &str) -> Result<Boot> {
    if root.exists(GRUB_CFG) {
        return Ok(Boot::Menu);
    }
    let Ok(kernel) = Kernel::newest(root) else {
        return Ok(Boot::NoKernel);
    };
    let initrd = format!("/boot/initrd.img-{}", kernel.version);
    if !root.exists(&initrd) {
        return Ok(Boot::NoKernel);
    }
    let menu = Menu {
        root_uuid: uuid.to_owned(),
        kernel: kernel.path(),
        initrd,
        title: format!("Linux {}", kernel.version),
        options: "",
        consoles: consoles(&job.hypervisor, job.serial_console()),
    };
    root.write(GRUB_CFG, menu.grub_cfg(), 0o644)?;
    tracing::info!(
        "it had no {GRUB_CFG}: there is one now, for {}",
        kernel.version
    );
    Ok(Boot::Menu)
}

/// A label that an ext filesystem can have, in letters that need no escapes.
pub fn valid_label(label: &str) -> Option<&str> {
    let fits = (1..=16).contains(&label.len());
    let plain = label
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\\\"'".contains(&byte));
    (fits && plain && !label.starts_with('-')).then_some(label)
}

/// Whether this is a UUID in the usual notation.
fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// The line of an fstab that mounts `/`.
struct RootLine {
    number: usize,
    device: String,
    kind: String,
}

impl RootLine {
    fn find(fstab: &[u8]) -> Option<Self> {
        let lines = fstab.split(|byte| *byte == b'\n').enumerate();
        lines.into_iter().find_map(|(number, line)| {
            let line = std::str::from_utf8(line).ok()?;
            let mut fields = line.split_whitespace();
            let (device, place) = (fields.next()?, fields.next()?);
            let kind = fields.next()?;
            // A system in RAM has a tmpfs there.
            let of_disk = ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="];
            let of_disk = of_disk.iter().any(|prefix| device.starts_with(prefix));
            (place == "/" && of_disk).then(|| Self {
                number,
                device: device.to_owned(),
                kind: kind.to_owned(),
            })
        })
    }

    /// The fstab with this device, where one is given, and with the type of the
    /// new filesystem; `None` if nothing is to be changed.
    fn corrected(
        &self,
        fstab: &[u8],
        device: Option<String>,
        filesystem: Filesystem,
    ) -> Option<Vec<u8>> {
        let name = filesystem.name();
        let kind = (self.kind != name && self.kind != "auto").then(|| name.to_owned());
        if device.is_none() && kind.is_none() {
            return None;
        }
        let mut lines: Vec<Vec<u8>> = fstab
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let line = lines.get_mut(self.number)?;
        let text = String::from_utf8(line.clone()).ok()?;
        let text = replace_field(&text, 0, device.as_deref());
        *line = replace_field(&text, 2, kind.as_deref()).into_bytes();
        Some(lines.join(&b'\n'))
    }
}

/// The line with another field `index`; the white space stays.
fn replace_field(line: &str, index: usize, value: Option<&str>) -> String {
    let Some(value) = value else {
        return line.to_owned();
    };
    let Some(old) = line.split_whitespace().nth(index) else {
        return line.to_owned();
    };
    // Fields are slices of the line: their addresses tell where they are.
    let start = old.as_ptr() as usize - line.as_ptr() as usize;
    format!("{}{value}{}", &line[..start], &line[start + old.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_change_in_fstab_changes() {
        let table = [
            ("UUID=x /\text4 ro", None, None),
            ("UUID=x\t/ ext3  ro", None, Some("UUID=x\t/ ext4  ro")),
            (
                "# c\n/dev/sda1  / auto a",
                Some("UUID=n"),
                Some("# c\nUUID=n  / auto a"),
            ),
            (
                "/dev/sda / ext3\nrest\n",
                Some("UUID=n"),
                Some("UUID=n / ext4\nrest\n"),
            ),
        ];
        for (text, device, after) in table {
            let line = RootLine::find(text.as_bytes()).unwrap();
            let device = device.map(str::to_owned);
            let found = line.corrected(text.as_bytes(), device, Filesystem::Ext4);
            let found = found.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found.as_deref(), after, "{text}");
        }
        assert!(RootLine::find(b"tmpfs / tmpfs defaults\n").is_none());
        assert!(RootLine::find(b"# / /\nproc /proc proc\n\xff / x").is_none());
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_not_used() {
        assert!(is_uuid("6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11"));
        for bad in [
            "",
            "clear",
            "6f4a1f6e3a104f5c8a3a0c3f5d0b6a11",
            "../../../../x",
        ] {
            assert!(!is_uuid(bad), "{bad}");
        }
        assert!(valid_label("root-1").is_some());
        for bad in ["", "-L", "a b", "a\\040b", "seventeen-letters"] {
            assert!(valid_label(bad).is_none(), "{bad}");
        }
    }
}
