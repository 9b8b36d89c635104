//! Disks of machines that `create` did not make: any partition table, any
//! filesystem, a small root in it; and a look at what became of them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};

use crate::image;

/// Writes a partition table, from a script of sfdisk's.
pub fn partition(disk: &Path, script: &str) -> Result<()> {
    Cmd::new("sfdisk", format!("partitioning {}", disk.display()))
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .stdin(script)
        .run()
}

/// Where partition `number` (from 1, in the table's order) is; 0 is the whole
/// disk.
pub fn extent(disk: &Path, number: usize) -> Result<Extent> {
    if number == 0 {
        return image::whole(disk);
    }
    let part = image::partitions(disk)?.into_iter().nth(number - 1);
    Ok(part.context("no such partition")?.extent)
}

/// Runs `program` (mkfs.ext4, mkswap, ...) with these options on a part.
pub fn format(disk: &Path, extent: Extent, program: &str, options: &[&str]) -> Result<()> {
    let device = LoopDevice::attach(disk, extent, false)?;
    let doing = format!("running {program} on {}", disk.display());
    let command = Cmd::new(program, doing).args(options).arg(device.path());
    command.run()?;
    device.close()
}

/// Does `work` in a filesystem, mounted with these options to be written.
pub fn edit<T>(
    disk: &Path,
    extent: Extent,
    (kind, options): (&str, &str),
    work: impl FnOnce(&Path) -> T,
) -> Result<T> {
    let device = LoopDevice::attach(disk, extent, false)?;
    let dir = disk.parent().context("finding the disk's directory")?;
    let target = tempfile::Builder::new().prefix("guest-").tempdir_in(dir)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mount = Mount::new(device.path(), target.path(), kind, flags, options)?;
    let result = work(target.path());
    mount.close()?;
    device.close()?;
    Ok(result)
}

/// Unpacks a system's files, but for those in /dev, which a kernel makes.
pub fn unpack(archive: &Path, top: &Path) -> Result<()> {
    Cmd::new("tar", format!("unpacking {}", archive.display()))
        .args(["--extract", "--numeric-owner"])
        .args(["--xattrs", "--xattrs-include=*"])
        .args(["--exclude=./dev/*", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(top)
        .run()
}

/// What names a machine, with the oddities that must stay.
pub fn hosts(full: &str, short: &str) -> Vec<u8> {
    let mut text = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1   {full}\t{short}  # old.example.com, old\r\n\
         192.0.2.7 oldest x-old old.lab {short}\n"
    )
    .into_bytes();
    text.extend_from_slice(b"# \xff not UTF-8\n10.0.0.1\tmail.example.net");
    text
}

/// Makes a small root whose machine is called `full` or, in its hostname file,
/// `hostname`.
pub fn make_root(top: &Path, full: &str, hostname: &str) {
    let short = full.split('.').next().unwrap_or(full);
    for dir in ["etc", "usr/bin", "bin", "root"] {
        std::fs::create_dir_all(top.join(dir)).unwrap();
    }
    let write = |name: &str, text: &[u8], mode: u32, owner: u32| {
        let path = top.join("etc").join(name);
        std::fs::write(&path, text).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner + 1)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("hostname", format!("{hostname}\n").as_bytes(), 0o444, 0);
    write("mailname", format!("{full}\n").as_bytes(), 0o640, 7);
    write("hosts", &hosts(full, short), 0o664, 1000);
    write("passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644, 0);
    write("os-release", b"ID=debian\n", 0o644, 0);
}

/// Fails unless the root that [`make_root`] made, and nothing else, now has
/// these names.
#[track_caller]
pub fn assert_root(top: &Path, full: &str, hostname: &str) {
    let short = full.split('.').next().unwrap_or(full);
    let check = |name: &str, text: &[u8], mode: u32, owner: u32| {
        let path = top.join("etc").join(name);
        let found = std::fs::read(&path).unwrap();
        let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(shown(&found), shown(text), "{name}");
        assert_eq!(found, text, "{name}");
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (owner, owner + 1),
            "{name}"
        );
    };
    check("hostname", format!("{hostname}\n").as_bytes(), 0o444, 0);
    check("mailname", format!("{full}\n").as_bytes(), 0o640, 7);
    check("hosts", &hosts(full, short), 0o664, 1000);
    let names = std::fs::read_dir(top.join("etc")).unwrap().count();
    assert_eq!(names, 5, "something is left in /etc");
}
