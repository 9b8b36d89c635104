//! A backup that instance-debootstrap's export wrote: a level 0 dump of an ext
//! filesystem, restored onto a disk that is laid out as create does it.
//!
//! The stream is followed on its way ([`stream`]); `restore` reads it in a root
//! of its own ([`jail`]), and what has come out of it is made to find itself on
//! its new disk ([`system`]). Not here: dumps in several volumes, incremental
//! ones, and those that a system before 4.4BSD wrote.
//!
//! The partition table is written when all is there, and the boot loader after
//! it. On a disk without partitions the file that create leaves in a root in
//! the making does the same for our own initrd.

mod jail;
pub(crate) mod stream;
mod system;

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use p2v_backup::restore::Untouched;
use p2v_bootloader::Start;
use p2v_sys::disk::Disk;
use p2v_sys::filesystem::{self, Filesystem};
use p2v_sys::partition::table::Table;
use p2v_sys::tools;
use p2v_sys::{Mount, Root, interrupt, supervise};

use crate::boot_loader;
use crate::job::{DiskJob, Job};
use crate::layout::{self, Layout};
use crate::needs;
use crate::scratch;
use crate::settings::{PartitionStyle, Settings, SettingsPaths};
use stream::Beginning;
use system::{Boot, System};

pub use stream::{HEADER, is_dump};

/// mke2fs makes an inode for that many bytes; more of them on small disks.
const BYTES_PER_INODE: u64 = 16384;
const BYTES_PER_INODE_SMALL: u64 = 4096;
const SMALL: u64 = 512 << 20;

/// Restores the dump that begins with `head` and goes on in `input`.
pub fn restore(
    disk: &Disk,
    job: &DiskJob,
    paths: &SettingsPaths,
    head: Vec<u8>,
    input: File,
) -> Result<()> {
    let beginning = Beginning::read(head, input)?;
    let plan = Plan::make(disk, &job.job, paths, &beginning).context(Untouched)?;
    tracing::info!(
        "the stream is a dump: making {} with {} on {}",
        plan.style.name(),
        plan.filesystem.name(),
        disk.path().display()
    );
    let _scratch = scratch::mount(paths)?;
    let (layout, table) = plan.lay_out()?;
    let label = beginning.label();
    let mut uuid = filesystem::new_uuid()?;
    plan.filesystem.create(layout.root.path(), &uuid)?;
    let system = plan.fill(&layout, &uuid, beginning)?;
    if let Some(own) = &system.uuid {
        uuid.clone_from(own);
    }
    let label = system.label.clone().or(label);
    if system.uuid.is_some() || label.is_some() {
        let own = system.uuid.as_deref();
        filesystem::set_ext_identity(layout.root.path(), own, label.as_deref())?;
    }
    layout.check_root(&uuid)?;
    plan.make_bootable(&layout, table, &uuid, &system)?;
    layout.close()?;
    disk.sync()
}

/// A restore that can go ahead.
struct Plan<'a> {
    disk: &'a Disk,
    job: &'a Job,
    style: PartitionStyle,
    filesystem: Filesystem,
    alignment: u64,
    target: PathBuf,
}

impl<'a> Plan<'a> {
    /// Checks the settings, the node's tools and the disk's size. Writes
    /// nothing.
    fn make(
        disk: &'a Disk,
        job: &'a Job,
        paths: &SettingsPaths,
        beginning: &Beginning,
    ) -> Result<Self> {
        let settings = Settings::load(paths, job)?;
        let filesystem = match settings.filesystem {
            ext @ (Filesystem::Ext2 | Filesystem::Ext3 | Filesystem::Ext4) => ext,
            other => {
                tracing::warn!(
                    "FILESYSTEM={}, but the dump is of an ext filesystem, whose system may know \
                     no other: making ext4",
                    other.name()
                );
                Filesystem::Ext4
            }
        };
        tools::check(&needs::for_dump(settings.partition_style, filesystem))?;
        layout::check_sectors(disk, settings.partition_style)?;
        let plan = Self {
            disk,
            job,
            style: settings.partition_style,
            filesystem,
            alignment: settings.alignment_bytes(),
            target: paths.target_dir(),
        };
        plan.check_size(beginning)?;
        Ok(plan)
    }

    /// A dump does not say how many bytes it holds, but how many files.
    fn check_size(&self, beginning: &Beginning) -> Result<()> {
        let least = layout::needed_size(self.style, self.filesystem, self.alignment, 0);
        let size = self.disk.size();
        let per_inode = match size < SMALL {
            true => BYTES_PER_INODE_SMALL,
            false => BYTES_PER_INODE,
        };
        let files = beginning.files().unwrap_or(0);
        let needed = least.max(files.saturating_mul(per_inode));
        if size < needed {
            bail!(
                "checking the size of {}: it has {} MiB, and for the {files} files of the dump it \
                 needs at least {} MiB; take a larger disk",
                self.disk.path().display(),
                size >> 20,
                needed.div_ceil(1 << 20)
            );
        }
        Ok(())
    }

    /// Attaches the parts of the disk. The table that says where they are is
    /// taken away again, to be written when they are complete.
    fn lay_out(&self) -> Result<(Layout, Option<Table>)> {
        self.disk.wipe_edges()?;
        let layout = layout::lay_out(self.disk, self.style, self.alignment)?;
        let table = match self.style {
            PartitionStyle::None => None,
            PartitionStyle::Msdos | PartitionStyle::Gpt => Table::read(self.disk.path())?,
        };
        self.disk.wipe_edges()?;
        Ok((layout, table))
    }

    /// Fills the new filesystem `uuid`, and makes sure that all was written.
    fn fill(&self, layout: &Layout, uuid: &str, beginning: Beginning) -> Result<System> {
        let mount = self.mount(layout)?;
        let writes = mount.watch_writes()?;
        let root = Root::open(mount.target())?;
        root.write(p2v_ramboot::INCOMPLETE, "", 0o600)?;
        tracing::info!("restoring the dump");
        let restored = jail::restore(&mount, beginning);
        supervise::end_others();
        restored.map_err(|error| {
            let hint = match format!("{error:#}").contains("No space left") {
                true => "; its files need a larger disk",
                false => "",
            };
            error.context(format!(
                "restoring onto {}{hint}",
                self.disk.path().display()
            ))
        })?;
        interrupt::check()?;
        let system = System::settle(&root, self.job, self.filesystem, uuid)?;
        root.remove_file(p2v_ramboot::INCOMPLETE)?;
        writes.finish().with_context(|| {
            let disk = self.disk.path().display();
            format!("is the pool or the filesystem that holds {disk} full?")
        })?;
        drop(root);
        mount.close()?;
        Ok(system)
    }

    fn mount(&self, layout: &Layout) -> Result<Mount> {
        scratch::make_directory(&self.target)?;
        let options = match self.filesystem {
            Filesystem::Ext2 => "",
            // No flush on each commit: all is flushed at the end.
            _ => "barrier=0",
        };
        let flags =
            MsFlags::MS_NOATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let device = layout.root.path();
        Mount::new(device, &self.target, self.filesystem.name(), flags, options)
    }

    /// The last writes: the partition table, then the boot loader.
    fn make_bootable(
        &self,
        layout: &Layout,
        table: Option<Table>,
        uuid: &str,
        system: &System,
    ) -> Result<()> {
        if let Some(table) = &table {
            table.write(self.disk.path())?;
        }
        match (&system.boot, self.style) {
            (Boot::Menu, PartitionStyle::Msdos | PartitionStyle::Gpt) => {
                boot_loader::install(self.disk, layout, &Start::of_system(uuid))
            }
            (Boot::Menu, PartitionStyle::None) => {
                tracing::info!(
                    "PARTITION_STYLE=none leaves no place for a boot loader: the instance starts \
                     with a kernel of the node (kernel_path)"
                );
                Ok(())
            }
            (Boot::NoKernel, _) => {
                tracing::info!(
                    "there is no kernel in it: the instance starts with one of the node \
                     (kernel_path)"
                );
                Ok(())
            }
        }
    }
}
