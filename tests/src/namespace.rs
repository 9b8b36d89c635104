//! Work in a private mount namespace of one thread, so that bind mounts over
//! this machine's own files are seen by nobody else.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `work`, and the programs it starts, with each pair's first path visible
/// at the second. The mounts vanish with the thread and its programs.
pub fn with_binds<T: Send>(
    binds: &[(PathBuf, PathBuf)],
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(binds)?;
            work()
        });
        thread
            .join()
            .map_err(|_| anyhow!("a thread in a private namespace panicked"))?
    })
}

fn enter(binds: &[(PathBuf, PathBuf)]) -> Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("making a private mount namespace")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("making the mounts private")?;
    for (from, to) in binds {
        mount(
            Some(from.as_path()),
            to.as_path(),
            none,
            MsFlags::MS_BIND,
            none,
        )
        .with_context(|| format!("showing {} at {}", from.display(), to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_seen_inside_only() {
        crate::need_root!();
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, "one").unwrap();
        std::fs::write(&two, "two").unwrap();
        let read = || {
            p2v_sys::Cmd::new("cat", "reading the file")
                .arg(&two)
                .read()
        };
        let inside = with_binds(&[(one.clone(), two.clone())], read).unwrap();
        assert_eq!(inside, "one");
        assert_eq!(read().unwrap(), "two");
    }
}
