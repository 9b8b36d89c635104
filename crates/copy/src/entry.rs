//! One name in a directory and all that is known of what it names, but for a
//! file's contents; as sent, and checked when received.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use nix::libc;
use p2v_sys::inode::Inode;

use crate::frame::{Append, Cursor};

/// A name has at most so many bytes.
const LONGEST_NAME: usize = 255;
/// A symbolic link's target has at most so many.
const LONGEST_TARGET: usize = 4095;

/// The subvolume of a Btrfs that a directory is the top of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subvolume {
    /// It may not be written to, a snapshot mostly.
    pub read_only: bool,
    /// It is the one that a mount without options shows.
    pub default: bool,
}

/// What a name names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory; its entries come under this number.
    Directory {
        /// Unique, and 0 for the top.
        number: u32,
        /// If it is one's top.
        subvolume: Option<Subvolume>,
        /// Something else is mounted there: what is in it is nobody's business.
        foreign: bool,
    },
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Bytes stored: fewer, and it has holes.
        stored: u64,
    },
    /// A symbolic link, with its target.
    Symlink(Vec<u8>),
    /// A device.
    Device(u64),
    /// A pipe or a socket.
    Other,
}

/// Whether a file has other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// It has not.
    One,
    /// It has, and this is the first that was found.
    First,
    /// It has, and the first is this entry.
    Same(u64),
}

/// Owner, permissions and everything else that is set after the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modified: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// [`crate::flags`]
    pub flags: u16,
    /// Extended attributes by name; access control lists and capabilities are such.
    pub extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One component; empty for the top itself.
    pub name: Vec<u8>,
    /// What is common to all types.
    pub metadata: Metadata,
    /// Whether it has other names.
    pub names: Names,
    /// What it names.
    pub what: What,
}

impl Entry {
    /// The type.
    pub fn kind(&self) -> u32 {
        self.metadata.mode & libc::S_IFMT
    }

    /// The name, for the system's calls.
    pub fn name(&self) -> &OsStr {
        match self.name.as_slice() {
            b"" => OsStr::new("."),
            name => OsStr::from_bytes(name),
        }
    }

    /// Appends it to a frame.
    pub fn encode(&self, to: &mut Vec<u8>) -> Result<()> {
        to.put_short(&self.name)?;
        let metadata = &self.metadata;
        to.put_u32(metadata.mode);
        to.put_u32(metadata.uid);
        to.put_u32(metadata.gid);
        to.put_u64(metadata.modified.0 as u64);
        to.put_u32(metadata.modified.1);
        to.put_u16(metadata.flags);
        to.put_u16(u16::try_from(metadata.extended.len()).context("too many attributes")?);
        for (name, value) in &metadata.extended {
            to.put_short(name)?;
            to.put_long(value)?;
        }
        match self.names {
            Names::One => to.put_u8(0),
            Names::First => to.put_u8(1),
            Names::Same(first) => {
                to.put_u8(2);
                to.put_u64(first);
            }
        }
        self.encode_what(to)
    }

    fn encode_what(&self, to: &mut Vec<u8>) -> Result<()> {
        match &self.what {
            What::Directory {
                number,
                subvolume,
                foreign,
            } => {
                to.put_u32(*number);
                let volume = subvolume.map_or(0, |volume| {
                    1 | u8::from(volume.read_only) << 1 | u8::from(volume.default) << 2
                });
                to.put_u8(volume | u8::from(*foreign) << 3);
            }
            What::File { size, stored } => {
                to.put_u64(*size);
                to.put_u64(*stored);
            }
            What::Symlink(target) => to.put_short(target)?,
            What::Device(device) => to.put_u64(*device),
            What::Other => {}
        }
        Ok(())
    }

    /// Takes one from a frame, and checks all that can be wrong with it.
    pub fn decode(from: &mut Cursor, is_top: bool) -> Result<Self> {
        let name = from.short()?;
        if !(is_top && name.is_empty()) {
            check_name(name)?;
        }
        let mut metadata = Metadata {
            mode: from.u32()?,
            uid: from.u32()?,
            gid: from.u32()?,
            modified: (from.u64()? as i64, from.u32()?),
            flags: from.u16()?,
            extended: Vec::new(),
        };
        if metadata.modified.1 >= 1_000_000_000 || metadata.mode > 0o177_777 {
            bail!("receiving: {} has an impossible mode or time", shown(name));
        }
        for _ in 0..from.u16()? {
            let (name, value) = (from.short()?, from.long()?);
            check_attribute(name, value)?;
            metadata.extended.push((name.to_vec(), value.to_vec()));
        }
        let names = match from.u8()? {
            0 => Names::One,
            1 => Names::First,
            2 => Names::Same(from.u64()?),
            _ => bail!("receiving: {} has impossible names", shown(name)),
        };
        Ok(Self {
            what: decode_what(from, &metadata, name)?,
            name: name.to_vec(),
            metadata,
            names,
        })
    }
}

fn decode_what(from: &mut Cursor, metadata: &Metadata, name: &[u8]) -> Result<What> {
    Ok(match metadata.mode & libc::S_IFMT {
        libc::S_IFDIR => {
            let number = from.u32()?;
            let bits = from.u8()?;
            What::Directory {
                number,
                subvolume: (bits & 1 != 0).then_some(Subvolume {
                    read_only: bits & 2 != 0,
                    default: bits & 4 != 0,
                }),
                foreign: bits & 8 != 0,
            }
        }
        libc::S_IFREG => {
            let (size, stored) = (from.u64()?, from.u64()?);
            if i64::try_from(size).is_err() {
                bail!("receiving: {} has an impossible size", shown(name));
            }
            What::File { size, stored }
        }
        libc::S_IFLNK => {
            let target = from.short()?;
            if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
                bail!("receiving: {} has an impossible target", shown(name));
            }
            What::Symlink(target.to_vec())
        }
        libc::S_IFBLK | libc::S_IFCHR => What::Device(from.u64()?),
        libc::S_IFIFO | libc::S_IFSOCK => What::Other,
        _ => bail!("receiving: {} is of no known type", shown(name)),
    })
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || name == b"."
        || name == b".."
        || name.contains(&b'/')
        || name.contains(&0)
    {
        bail!(
            "receiving: the other side sent the impossible name {:?}",
            shown(name)
        );
    }
    Ok(())
}

fn check_attribute(name: &[u8], value: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(&0) || value.len() > 1 << 16 {
        bail!(
            "receiving: the other side sent an impossible attribute {:?}",
            shown(name)
        );
    }
    Ok(())
}

/// A name or path, fit for a message.
pub fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => name.escape_ascii().to_string(),
    }
}

/// The metadata of an inode, without what only other calls tell.
pub fn metadata_of(inode: &Inode) -> Metadata {
    Metadata {
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        modified: inode.modified,
        flags: crate::flags::of(inode),
        extended: Vec::new(),
    }
}

/// Whether an extended attribute is one, not a view that the filesystem gives
/// of something else; XFS shows access control lists a second time.
pub fn is_kept_attribute(name: &[u8]) -> bool {
    let is_view = name.starts_with(b"system.") && !name.starts_with(b"system.posix_acl_");
    !is_view && !name.starts_with(b"trusted.SGI_ACL_")
}
