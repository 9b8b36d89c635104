//! A filesystem on one of the instance's disks, mounted to look or to write.
//!
//! Looking writes nothing, not even what a journal still holds back: the loop
//! device is read-only, and the mount skips the journal.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use p2v_sys::disk::Disk;
use p2v_sys::filesystem::Filesystem;
use p2v_sys::loopdev::Extent;
use p2v_sys::{LoopDevice, Mount, Root};

/// Where ext2, ext3 and ext4 keep `s_state`, two bytes, and
/// `s_feature_compat`, four, from the filesystem's start. See
/// <https://docs.kernel.org/filesystems/ext4/globals.html>.
const EXT_STATE: u64 = 1024 + 0x3a;
const EXT_COMPAT: u64 = 1024 + 0x5c;
const EXT_CLEANLY_UNMOUNTED: u16 = 1;
const EXT_HAS_ERRORS: u16 = 2;
const EXT_HAS_JOURNAL: u32 = 4;

/// A filesystem that may hold a root.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Where on its disk it is.
    pub extent: Extent,
    /// Its type.
    pub filesystem: Filesystem,
    /// The subvolume of a btrfs; `None`: the default one.
    pub subvolume: Option<&'static str>,
    /// What messages call it: "partition 2 of /dev/drbd0".
    pub name: String,
}

/// To look, or to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing reaches the disk.
    Look,
    /// As the instance itself would mount it.
    Write,
}

impl Volume {
    /// Does `work` in the filesystem, mounted on the directory `target`.
    /// Everything has been written out, unmounted and detached when it
    /// returns.
    pub fn with<T>(
        &self,
        disk: &Disk,
        target: &Path,
        access: Access,
        work: impl FnOnce(&Root) -> Result<T>,
    ) -> Result<T> {
        let look = access == Access::Look;
        let device = LoopDevice::attach(disk.path(), self.extent, look)?;
        let mut flags =
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        flags.set(MsFlags::MS_RDONLY, look);
        let kind = self.filesystem.name();
        let mount = Mount::new(device.path(), target, kind, flags, &self.options(access))
            .with_context(|| format!("mounting the {kind} on {}", self.name))?;
        let writes = (!look).then(|| mount.watch_writes()).transpose()?;
        let result = Root::open(target).and_then(|root| work(&root));
        let written = writes.map_or(Ok(()), |writes| writes.finish());
        mount.close()?;
        device.close()?;
        let result = result?;
        written?;
        Ok(result)
    }

    fn options(&self, access: Access) -> String {
        let of_kind = match (self.filesystem, access) {
            (Filesystem::Ext2, _) | (_, Access::Write) => "",
            (Filesystem::Ext3 | Filesystem::Ext4, _) => "noload",
            (Filesystem::Xfs, _) => "norecovery",
            (Filesystem::Btrfs, _) => "rescue=nologreplay",
        };
        let subvolume = self.subvolume.map(|name| format!("subvol={name}"));
        // A clone of it may be mounted on the node.
        let clone = (self.filesystem == Filesystem::Xfs).then(|| "nouuid".to_owned());
        let all = [Some(of_kind.to_owned()), subvolume, clone];
        let given = all
            .into_iter()
            .flatten()
            .filter(|option| !option.is_empty());
        given.collect::<Vec<_>>().join(",")
    }

    /// Fails where writing could do harm: an ext filesystem that only a check
    /// can make whole, since the kernel would mount it all the same.
    pub fn check_writable(&self, disk: &Disk) -> Result<()> {
        use Filesystem::{Ext2, Ext3, Ext4};
        if !matches!(self.filesystem, Ext2 | Ext3 | Ext4) {
            return Ok(());
        }
        let (mut state, mut compat) = ([0; 2], [0; 4]);
        disk.read_at(&mut state, self.extent.offset + EXT_STATE)?;
        disk.read_at(&mut compat, self.extent.offset + EXT_COMPAT)?;
        let state = u16::from_le_bytes(state);
        let journal = u32::from_le_bytes(compat) & EXT_HAS_JOURNAL != 0;
        let fault = if state & EXT_HAS_ERRORS != 0 {
            "has errors"
        } else if state & EXT_CLEANLY_UNMOUNTED == 0 && !journal {
            "was not cleanly unmounted, and has no journal to mend it"
        } else {
            return Ok(());
        };
        bail!(
            "the {} on {} {fault}, so nothing was changed: start the instance, which checks it, \
             or run e2fsck on it",
            self.filesystem.name(),
            self.name
        )
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subvolume {
            Some(subvolume) => write!(f, "{}, subvolume {subvolume}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_replays_no_journal() {
        let options = |filesystem, subvolume, access| {
            let volume = Volume {
                extent: Extent::default(),
                filesystem,
                subvolume,
                name: String::new(),
            };
            volume.options(access)
        };
        use Filesystem::{Btrfs, Ext2, Ext4, Xfs};
        assert_eq!(options(Ext2, None, Access::Look), "");
        assert_eq!(options(Ext4, None, Access::Look), "noload");
        assert_eq!(options(Ext4, None, Access::Write), "");
        assert_eq!(options(Xfs, None, Access::Look), "norecovery,nouuid");
        assert_eq!(options(Xfs, None, Access::Write), "nouuid");
        let look = options(Btrfs, Some("@"), Access::Look);
        assert_eq!(look, "rescue=nologreplay,subvol=@");
        assert_eq!(options(Btrfs, Some("@"), Access::Write), "subvol=@");
    }
}
