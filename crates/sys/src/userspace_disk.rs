//! A disk that only QEMU reaches, shown as a regular file: `rbd:pool/image`,
//! `gluster://...`, `nbd+unix:///name?socket=/path` and whatever else QEMU
//! takes for a drive's file.
//!
//! `qemu-nbd`, which understands all of QEMU's syntaxes, serves the disk on a
//! Unix socket; `qemu-storage-daemon`, which does not, shows that by FUSE. Both
//! are told that the disk is raw: what a guest wrote to it is never taken for
//! the header of another format.
//!
//! A killed process flushes the file when it closes it, before the kernel ends
//! the programs: while the disk's own server hangs, neither ends.
//!
//! Nobody else is kept from the disk, unless its server does it.
//! See <https://www.qemu.org/docs/master/tools/qemu-storage-daemon.html>.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use nix::libc;
use nix::mount::MsFlags;

use crate::command::Cmd;
use crate::server::Server;
use crate::tools::{self, Tool};
use crate::{Mount, without_credentials};

/// How long the disk's own server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs that it takes.
pub const TOOLS: [Tool; 2] = [
    ("qemu-nbd", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-system-common"),
];

/// Said when the disk cannot be opened.
const HINT: &str = "check the URI, that its server runs and that this node reaches it";

/// Said when the disk cannot be shown.
const FUSE_HINT: &str = "does this node have FUSE? try `modprobe fuse`";

/// Whether the disk will be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read; QEMU itself refuses to write.
    ReadOnly,
    /// It is read and written.
    ReadWrite,
}

/// An attached disk, let go by [`UserspaceDisk::close`] or when dropped. It
/// lives in the mount and PID namespaces of the process that attached it, and
/// vanishes with these.
#[derive(Debug)]
pub struct UserspaceDisk {
    path: PathBuf,
    uri: String,
    access: Access,
    /// The fields below are dropped in this order: each needs those after it.
    shown: Option<Mount>,
    fuse: Server,
    nbd: Server,
    directory: Mount,
}

impl UserspaceDisk {
    /// Shows the disk `uri` as a file below the existing directory `at`, on
    /// which a tmpfs is mounted for it.
    ///
    /// # Errors
    /// One of the programs is missing, QEMU cannot open the disk, or somebody
    /// else uses it.
    pub fn attach(uri: &str, access: Access, at: &Path) -> Result<Self> {
        let doing = || format!("attaching the disk {}", without_credentials(uri));
        tools::check(&tools::missing(&TOOLS)).with_context(doing)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let directory = Mount::new("tmpfs", at, "tmpfs", flags, "mode=0700").with_context(doing)?;
        directory.share().with_context(doing)?;
        let nbd = serve(uri, access, at)
            .map_err(|error| advise(&error, HINT))
            .with_context(doing)?;
        let fuse = show(access, at)
            .map_err(|error| advise(&error, FUSE_HINT))
            .with_context(doing)?;
        let shown = Mount::of_program(&at.join(DISK));
        if access == Access::ReadOnly {
            shown.make_read_only().with_context(doing)?;
        }
        Ok(Self {
            path: at.join(DISK),
            uri: uri.to_owned(),
            access,
            shown: Some(shown),
            fuse,
            nbd,
            directory,
        })
    }

    /// The URI, without secrets.
    pub fn name(&self) -> String {
        without_credentials(&self.uri)
    }

    /// The regular file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the disk can no longer be read: its server, or ours, has ended.
    pub fn check(&mut self) -> Result<()> {
        let uri = &self.uri;
        let doing = || format!("reaching the disk {}", without_credentials(uri));
        // This one first: without it the other one ends by itself.
        for server in [&mut self.fuse, &mut self.nbd] {
            server.check().with_context(doing)?;
        }
        read_directly(&self.path).with_context(|| format!("{} (has its server ended?)", doing()))
    }

    /// Lets the disk go. What was written has reached its server then, which
    /// has been asked to flush it.
    ///
    /// # Errors
    /// A server has failed, and what was written last may be lost.
    pub fn close(mut self) -> Result<()> {
        let uri = without_credentials(&self.uri);
        let doing = || format!("letting the disk {uri} go");
        if self.access == Access::ReadWrite {
            let flushed = File::open(&self.path).and_then(|disk| disk.sync_all());
            flushed.with_context(|| format!("{}: flushing it", doing()))?;
        }
        self.shown
            .take()
            .map_or(Ok(()), Mount::close)
            .with_context(doing)?;
        self.fuse.end().with_context(doing)?;
        self.nbd.end().with_context(doing)?;
        self.directory.close().with_context(doing)
    }
}

/// The file's name in the directory.
const DISK: &str = "disk";

const SOCKET: &str = "nbd";

/// Starts the program that reaches the disk.
fn serve(uri: &str, access: Access, at: &Path) -> Result<Server> {
    let ready = at.join("nbd.pid");
    let mut command = Cmd::new("qemu-nbd", "opening it")
        // One client, ours, and the end when it leaves.
        .args(["--format=raw", "--discard=unmap", "--shared=1"])
        .arg(format!("--socket={}", at.join(SOCKET).display()))
        .arg(format!("--pid-file={}", ready.display()));
    if access == Access::ReadOnly {
        command = command.arg("--read-only");
    }
    let command = command.args(["--", uri]);
    Server::start(command, &at.join("nbd.log"), PATIENCE, || ready.exists())
}

/// Starts the program that shows it as a file.
fn show(access: Access, at: &Path) -> Result<Server> {
    let (ready, disk) = (at.join("fuse.pid"), at.join(DISK));
    File::create(&disk).with_context(|| format!("making {}", disk.display()))?;
    let writable = access == Access::ReadWrite;
    let node = serde_json::json!({
        "driver": "nbd",
        "node-name": "disk",
        "read-only": !writable,
        "discard": "unmap",
        "server": {"type": "unix", "path": at.join(SOCKET)},
    });
    let export = serde_json::json!({
        "type": "fuse",
        "id": "file",
        "node-name": "disk",
        "mountpoint": disk,
        "writable": writable,
        "growable": false,
    });
    let command = Cmd::new("qemu-storage-daemon", "showing it as a file")
        .args(["--blockdev", &node.to_string()])
        .args(["--export", &export.to_string()])
        .arg("--pidfile")
        .arg(&ready);
    Server::start(command, &at.join("fuse.log"), PATIENCE, || ready.exists())
}

/// Reads the disk's first bytes from its server, whatever the kernel remembers.
fn read_directly(path: &Path) -> Result<()> {
    /// Direct reads go to aligned memory.
    #[repr(align(4096))]
    struct Block([u8; 4096]);
    let mut block = Block([0; 4096]);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
        .open(path)?;
    file.read_at(&mut block.0, 0)?;
    Ok(())
}

/// The error with what to do at its end.
fn advise(error: &Error, hint: &str) -> Error {
    Error::msg(format!("{error:#}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::in_path;
    use crate::disk::Disk;
    use crate::loopdev::Extent;

    /// An image of 64 MiB, served by QEMU, and its URI.
    fn served(dir: &Path) -> (PathBuf, Server, String) {
        let (image, socket) = (dir.join("image"), dir.join("socket"));
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let command = Cmd::new("qemu-nbd", "serving an image")
            .args([
                "--format=raw",
                "--discard=unmap",
                "--persistent",
                "--export-name=x",
            ])
            .arg(format!("--socket={}", socket.display()))
            .arg(&image);
        let ready = || socket.exists();
        let server = Server::start(command, &dir.join("log"), PATIENCE, ready).unwrap();
        let uri = format!("nbd+unix:///x?socket={}", socket.display());
        (image, server, uri)
    }

    fn attach(dir: &Path, uri: &str, access: Access) -> Result<UserspaceDisk> {
        let at = dir.join("at");
        std::fs::create_dir_all(&at).unwrap();
        UserspaceDisk::attach(uri, access, &at)
    }

    fn skipped() -> bool {
        if !p2v_testing::root_or_skip() {
            return true;
        }
        let skip = !in_path("qemu-storage-daemon");
        if skip {
            p2v_testing::skip("needs qemu-storage-daemon");
        }
        skip
    }

    #[test]
    fn it_is_worked_on_like_any_other_and_lets_nothing_stay() {
        if skipped() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (image, server, uri) = served(dir.path());
        let mut attached = attach(dir.path(), &uri, Access::ReadWrite).unwrap();
        let disk = Disk::claim(attached.path()).unwrap();
        assert!(Disk::claim(attached.path()).is_err());
        assert_eq!((disk.size(), disk.room().unwrap()), (64 << 20, 64 << 20));
        disk.write_at(b"here", 5 << 20).unwrap();
        disk.write_at(&vec![1; 8 << 20], 16 << 20).unwrap();
        disk.zero(16 << 20, 8 << 20).unwrap();
        let extent = Extent {
            offset: 32 << 20,
            length: 16 << 20,
        };
        let part = disk.part(extent).unwrap();
        Cmd::new("mkfs.ext4", "making a filesystem")
            .arg("-q")
            .arg(part.path())
            .run()
            .unwrap();
        part.close().unwrap();
        drop(disk);
        attached.check().unwrap();
        attached.close().unwrap();
        assert!(
            std::fs::read_dir(dir.path().join("at"))
                .unwrap()
                .next()
                .is_none()
        );
        server.end().unwrap();
        let disk = Disk::claim(&image).unwrap();
        let mut found = [0; 4];
        disk.read_at(&mut found, 5 << 20).unwrap();
        assert_eq!(&found, b"here");
        // The zeros are a hole, and so is most of the filesystem.
        let held = std::os::unix::fs::MetadataExt::blocks(&image.metadata().unwrap()) * 512;
        assert!(held < 4 << 20, "{held}");
        let part = disk.part(extent).unwrap();
        Cmd::new("fsck.ext4", "checking")
            .args(["-f", "-n"])
            .arg(part.path())
            .run()
            .unwrap();
        part.close().unwrap();
    }

    #[test]
    fn read_only_is_not_written() {
        if skipped() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (_image, _server, uri) = served(dir.path());
        let attached = attach(dir.path(), &uri, Access::ReadOnly).unwrap();
        let written = OpenOptions::new().write(true).open(attached.path());
        written.unwrap_err();
        read_directly(attached.path()).unwrap();
        attached.close().unwrap();
    }

    #[test]
    fn a_server_that_ends_is_noticed() {
        if skipped() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (_image, server, uri) = served(dir.path());
        let mut attached = attach(dir.path(), &uri, Access::ReadWrite).unwrap();
        drop(server);
        let text = format!("{:#}", attached.check().unwrap_err());
        assert!(text.contains("has its server ended?"), "{text}");
        drop(attached);
    }

    #[test]
    fn one_that_cannot_be_opened_is_told_in_the_tools_words() {
        if skipped() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for (uri, words) in [
            ("nbd+unix:///x?socket=/no/such", "No such file or directory"),
            ("nbd://127.0.0.1:1/x", "Connection refused"),
            ("nonsense:x", "nknown protocol"),
            ("rbd:pool/image:key=secret", "qemu-block-extra"),
            ("/dev/null/x", "Not a directory"),
        ] {
            let text = format!(
                "{:#}",
                attach(dir.path(), uri, Access::ReadWrite).unwrap_err()
            );
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("secret"), "{text}");
            eprintln!("{text}");
        }
    }
}
