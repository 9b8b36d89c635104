//! How a filesystem is made like another one: the same kind, block size and
//! feature set, so that the machine's own boot loader and kernel can read it.
//!
//! What is looked at is the superblock alone; whether the rest of the
//! filesystem is sound, the mount and the copy will tell.

mod btrfs;
mod ext;
mod label;
mod options;
mod version;
mod xfs;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use p2v_backup::window::Window;
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, block};
use serde::{Deserialize, Serialize};

pub use label::{label_bytes, label_text};

/// What mkfs must be told beside the identity and the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// blkid's word: `ext2`, `ext3`, `ext4`, `xfs`, `btrfs`, `vfat`.
    pub kind: String,
    /// mkfs's arguments that make its features those of the source:
    /// `["-b", "4096", "-O", "none,has_journal,..."]`. Each is an option
    /// followed by its value. None for what is copied block by block.
    pub options: Vec<String>,
}

/// What a filesystem or swap area is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// In blkid's notation.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
}

impl Format {
    /// The format of the filesystem of that kind in `extent` of the disk or
    /// image at `disk`, read from its superblock alone. An extent of no length
    /// reaches to the disk's end.
    ///
    /// # Errors
    /// The kind is none that we make; the superblock is damaged; a feature
    /// cannot be kept when files are copied one by one.
    pub fn of(disk: &Path, extent: Extent, kind: &str) -> Result<Self> {
        let doing = || {
            format!(
                "reading the features of the {kind} at byte {} of {}",
                extent.offset,
                disk.display()
            )
        };
        let file = File::open(disk).with_context(doing)?;
        let length = match extent.length {
            0 => size(&file)
                .with_context(doing)?
                .saturating_sub(extent.offset),
            length => length,
        };
        let extent = Extent { length, ..extent };
        let window = Window::new(&file, extent);
        let options = match kind {
            "ext2" | "ext3" | "ext4" => ext::options(&window),
            "xfs" => xfs::options(&window),
            "btrfs" => btrfs::options(&window),
            "vfat" => Ok(Vec::new()),
            _ => bail!("a filesystem of the kind {kind} cannot be made here"),
        };
        Ok(Self {
            kind: kind.to_owned(),
            options: options.with_context(doing)?,
        })
    }

    /// Fails if an option is not one that [`Format::of`] could have given: a
    /// plan may have been edited, and an option must not reach another device
    /// or file.
    pub fn check(&self) -> Result<()> {
        let checked = match self.kind.as_str() {
            "ext2" | "ext3" | "ext4" => ext::check(&self.options),
            "xfs" => xfs::check(&self.options),
            "btrfs" => btrfs::check(&self.options),
            "vfat" if self.options.is_empty() => Ok(()),
            "vfat" => Err(anyhow::anyhow!("a vfat is copied and has no options")),
            kind => Err(anyhow::anyhow!(
                "{kind} is no kind of filesystem that is made"
            )),
        };
        checked.with_context(|| format!("checking the format of a {}", self.kind))
    }

    /// Makes such a filesystem on `device`, which all that is there is lost on.
    ///
    /// # Errors
    /// A tool is missing or too old for a feature; an option is not one that
    /// [`Format::of`] could have given.
    pub fn make(&self, device: &Path, identity: &Identity) -> Result<()> {
        self.check()?;
        check_target(device, identity)?;
        let doing = format!("making {} on {}", self.kind, device.display());
        match self.kind.as_str() {
            "xfs" => xfs::make(&self.options, device, identity, &doing),
            "btrfs" => btrfs::make(&self.options, device, identity, &doing),
            "vfat" => bail!("{doing}: it is copied block by block"),
            _ => ext::make(&self.options, device, identity, &doing),
        }
    }

    /// The value of an option: `value("-b")`.
    pub fn value(&self, flag: &str) -> Option<&str> {
        options::value(&self.options, flag)
    }

    /// Gives an option another value, or adds it.
    pub fn set(&mut self, flag: &str, value: &str) {
        options::set(&mut self.options, flag, value);
    }
}

/// Makes a swap area on `device`.
pub fn make_swap(device: &Path, identity: &Identity) -> Result<()> {
    check_target(device, identity)?;
    let doing = format!("making a swap area on {}", device.display());
    let mut command = Cmd::new("mkswap", doing).arg("--force");
    if let Some(uuid) = &identity.uuid {
        command = command.args(["-U", uuid]);
    }
    if let Some(label) = &identity.label {
        command = command.arg("-L").arg(label::os(label));
    }
    command.arg(device).run()
}

/// What mkfs gets as its device must not look like an option, nor the UUID.
fn check_target(device: &Path, identity: &Identity) -> Result<()> {
    if !device.is_absolute() {
        bail!("{} is no path of a device", device.display());
    }
    let sound =
        |uuid: &String| uuid.len() == 36 && uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    match &identity.uuid {
        Some(uuid) if !sound(uuid) => bail!("{uuid:?} is no UUID for {}", device.display()),
        _ => Ok(()),
    }
}

/// Of a device or a regular file.
fn size(file: &File) -> Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    block::size(file).context("asking for its size")
}
