//! The first steps of PID 1: is this really our initrd, and the kernel's own
//! filesystems.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::console;
use crate::MARKER;

/// Fails unless this is PID 1 in an initrd of ours: elsewhere, what follows
/// would delete the machine's root.
pub fn check() -> Result<()> {
    if std::process::id() != 1 {
        bail!("init runs only as PID 1 of the ramboot initrd; make one with `p2v initrd`");
    }
    if !Path::new(MARKER).is_file() {
        bail!("init runs only in the ramboot initrd, and there is no {MARKER}");
    }
    Ok(())
}

/// Mounts /proc, /sys and /dev, and makes the console our standard input and
/// outputs, which the next init inherits.
pub fn mount_kernel_filesystems() -> Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    kernel_filesystem("proc", "/proc", safe, "")?;
    kernel_filesystem("sysfs", "/sys", safe, "")?;
    kernel_filesystem("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755")?;
    console::use_kernel_log();
    if let Err(error) = take_console() {
        // A machine without any console still boots.
        console::warn(format!("{error:#}"));
    }
    Ok(())
}

fn kernel_filesystem(kind: &str, target: &str, flags: MsFlags, data: &str) -> Result<()> {
    let doing = || format!("mounting {target}");
    std::fs::create_dir_all(target).with_context(doing)?;
    match mount(Some(kind), target, Some(kind), flags, Some(data)) {
        // Some kernels mount /dev themselves.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(error).with_context(doing),
    }
}

fn take_console() -> Result<()> {
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")
        .context("opening /dev/console")?;
    dup2_stdin(&console)
        .and_then(|()| dup2_stdout(&console))
        .and_then(|()| dup2_stderr(&console))
        .context("making /dev/console the standard input and output")
}
