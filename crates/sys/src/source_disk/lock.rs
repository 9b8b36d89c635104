//! QEMU's way of locking images, which others keep to: a user of a disk has a
//! read lock on byte 100 + n for each kind n of access that it needs, and one on
//! byte 200 + n for each kind that it lets nobody else have. The locks belong to
//! the open file and end with it.
//!
//! See "Image locking" in <https://www.qemu.org/docs/master/system/images.html>
//! and QEMU's `block/file-posix.c`.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::interrupt;

/// How long a lock is waited for: what a killed program held, or a child that
/// is just being started, is free a moment later.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a reader locks: that it needs consistent reads (0), and lets nobody
/// write (1) or change the size (3).
const OF_A_READER: [i64; 3] = [100, 201, 203];

/// First byte and length of what readers leave alone: whoever has a lock there
/// may write, or forbids others to read; 0 reaches to the end. A lock on all of
/// the file, as [`crate::disk::Disk`] has, lies there too. Byte 202 is for
/// writing what is there already, which a reader may forbid.
const OF_OTHERS: [(i64, i64); 3] = [(0, 100), (101, 100), (204, 0)];

/// Keeps writers out for as long as the file is open.
///
/// # Errors
/// Somebody has it who may write to it, and does not let go soon.
pub fn keep_writers_out(file: &File) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // Locked before it is looked: two that come at once both see the other.
    while !lock(file).context("locking it")? || is_locked(file).context("asking for its locks")? {
        interrupt::check()?;
        if Instant::now() >= deadline {
            bail!(
                "another program, such as a running virtual machine, has locked it; what is read \
                 while it is written would be damaged: stop the instance first"
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn lock(file: &File) -> nix::Result<bool> {
    for byte in OF_A_READER {
        let lock = range(libc::F_RDLCK, byte, 1);
        match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            other => other?,
        };
    }
    Ok(true)
}

fn is_locked(file: &File) -> nix::Result<bool> {
    for (start, length) in OF_OTHERS {
        let mut found = range(libc::F_WRLCK, start, length);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
        if found.l_type != libc::F_UNLCK as libc::c_short {
            return Ok(true);
        }
    }
    Ok(false)
}

fn range(kind: libc::c_int, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use crate::command::in_path;
    use crate::disk::Disk;
    use crate::source_disk::SourceDisk;

    fn qemu(image: &Path, command: &str) -> Command {
        let mut qemu = Command::new("qemu-io");
        qemu.args(["-f", "raw", "-c", command]).arg(image);
        qemu
    }

    #[test]
    fn who_writes_and_who_reads_do_not_meet() {
        if !in_path("qemu-io") {
            p2v_testing::skip("needs qemu-io");
            return;
        }
        let image = p2v_testing::image(8 << 20);
        let open = SourceDisk::open(image.path()).unwrap();
        // Readers do not mind each other.
        let other = SourceDisk::open(image.path()).unwrap();
        assert!(
            qemu(image.path(), "read 0 4k")
                .arg("-r")
                .status()
                .unwrap()
                .success()
        );
        let write = || qemu(image.path(), "write 0 4k").output().unwrap();
        let refused = String::from_utf8(write().stderr).unwrap();
        assert!(refused.contains("lock"), "{refused}");
        assert!(Disk::claim(image.path()).is_err());
        drop((open, other));
        assert!(write().status.success());

        // A virtual machine's disk.
        let mut machine = qemu(image.path(), "write 0 4k");
        let mut machine = machine.args(["-c", "sleep 600000"]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !super::is_locked(image.as_file()).unwrap() {
            assert!(Instant::now() < deadline, "it locks nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
        let text = format!("{:#}", SourceDisk::open(image.path()).unwrap_err());
        assert!(text.contains("stop the instance"), "{text}");
        machine.kill().unwrap();
        machine.wait().unwrap();
        SourceDisk::open(image.path()).unwrap();
    }
}
