//! `restore` in a root of its own.
//!
//! It creates files by the names that the stream gives them, follows links that
//! it has made on the way, and trusts its input. So the only thing that it can
//! write to is the filesystem that it restores, whose mount has neither devices
//! nor programs: its root is a read-only tmpfs that shows the node's programs
//! and libraries, also read-only, and it has no network. That
//! holds against names and links, not against a stream that would make restore
//! run code of its own: it stays root, since only root restores all attributes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use p2v_sys::{Cmd, Mount, Root};

use super::stream::Beginning;

/// Where programs and what they need are, on any distribution.
const PROGRAMS: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64"];

/// Where restore puts the directories while it reads, on the filesystem that
/// it restores: they may be too many for the node's memory.
const TEMPORARY: &str = ".p2v-restore";

/// What restore leaves for a later, incremental dump.
const SYMBOL_TABLE: &str = "restoresymtable";

/// How many of its complaints are shown, and how much of each.
const MOST_WARNINGS: usize = 20;
const MOST_WORDS: usize = 500;

/// Longer than the largest dump takes through the slowest network.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Restores the dump into the new, empty filesystem.
pub fn restore(target: &Mount, dump: Beginning) -> Result<()> {
    let root = Root::open(target.target())?;
    // The dump brings its own, and restore would complain.
    let found = target.target().join("lost+found");
    std::fs::remove_dir(&found).with_context(|| format!("removing {}", found.display()))?;
    root.create_dir(TEMPORARY, 0o700)?;
    let jail = Jail::make(target)?;
    // Without -y: what restore would ask about is a failure.
    let said = Cmd::new("unshare", "restoring the dump")
        .arg("--net")
        .arg(format!("--root={}", jail.path().display()))
        .args(["--wd=/target", "restore", "-r", "-f", "-"])
        .args(["-T", &format!("/target/{TEMPORARY}")])
        .timeout(LONGEST)
        .run_fed(|input| dump.feed(input));
    jail.close()?;
    judge(&said?)?;
    root.remove_file(SYMBOL_TABLE)?;
    let temporary = target.target().join(TEMPORARY);
    // Never through a link: of one, this removes the link.
    std::fs::remove_dir_all(&temporary).with_context(|| format!("removing {}", temporary.display()))
}

/// restore goes on after much that it only complains of, and then ends with
/// success. What it would have asked about, nobody to answer, is a failure; so
/// is a file that it did not find where it should be.
fn judge(said: &str) -> Result<()> {
    let lines = || said.lines().filter(|line| !line.contains("/dev/tty"));
    let grave = ["[yn]", "expected next file", "not found on tape"];
    if lines().any(|line| grave.iter().any(|words| line.contains(words))) {
        bail!(
            "restoring the dump: restore says: {}",
            shortened(said.trim())
        );
    }
    for line in lines().take(MOST_WARNINGS) {
        tracing::warn!("restore says: {}", shortened(line));
    }
    match lines().count().saturating_sub(MOST_WARNINGS) {
        0 => {}
        more => tracing::warn!("restore says {more} lines more"),
    }
    Ok(())
}

/// The stream can make it say lines of any length.
fn shortened(text: &str) -> String {
    text.chars().take(MOST_WORDS).collect()
}

/// The root, as long as it lives.
struct Jail {
    /// In the order in which they were mounted.
    mounts: Vec<Mount>,
    path: PathBuf,
}

impl Jail {
    /// Makes a root that shows `target` at `/target`.
    fn make(target: &Mount) -> Result<Self> {
        // On the run's own tmpfs: nothing has to be removed.
        let top = tempfile::tempdir().context("making a directory for restore's root")?;
        let top = top.keep();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let root = Mount::new("tmpfs", &top, "tmpfs", flags, "mode=0755,size=1m")?;
        let mut jail = Self {
            mounts: vec![root],
            path: top.clone(),
        };
        for name in PROGRAMS {
            jail.show(&Path::new("/").join(name), &top.join(name))?;
        }
        let null = top.join("dev/null");
        std::fs::create_dir(top.join("dev"))
            .and_then(|()| std::fs::write(&null, ""))
            .context("making restore's root")?;
        jail.mounts
            .push(Mount::bind(Path::new("/dev/null"), &null)?);
        let place = top.join("target");
        std::fs::create_dir(&place).context("making restore's root")?;
        jail.mounts.push(Mount::bind(target.target(), &place)?);
        if let Some(root) = jail.mounts.first() {
            root.make_read_only()?;
        }
        Ok(jail)
    }

    /// Shows a directory of the node's, or the link that it is.
    fn show(&mut self, source: &Path, place: &Path) -> Result<()> {
        let doing = || format!("showing {} in restore's root", source.display());
        if let Ok(link) = std::fs::read_link(source) {
            return std::os::unix::fs::symlink(link, place).with_context(doing);
        }
        if source.is_dir() {
            std::fs::create_dir(place).with_context(doing)?;
            self.mounts.push(Mount::bind_read_only(source, place)?);
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn close(mut self) -> Result<()> {
        while let Some(mount) = self.mounts.pop() {
            mount.close()?;
        }
        Ok(())
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        // The last one first, which a vector's own drop does not do.
        while let Some(mount) = self.mounts.pop() {
            drop(mount);
        }
    }
}
