//! Many creates at once on a node whose cache is empty.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};

use crate::ganeti_lab::Cluster;
use crate::ganeti_lab::cluster::CACHE;

const COUNT: usize = 10;

/// What a create says that finds another at work on the same root.
const WAITED: &str = "waiting for another run to finish";

/// All succeed, one of them makes the root, and the others wait for it.
pub fn ten_at_once(cluster: &Cluster) -> Result<()> {
    empty_cache(cluster)?;
    let names: Vec<String> = (1..=COUNT).map(|n| format!("crowd{n}.lab")).collect();
    add_all(cluster, &names)?;
    cluster.check_os_logs()?;
    let mut waited = 0;
    for name in &names {
        waited += usize::from(cluster.os_log("add", name)?.contains(WAITED));
        cluster.gnt(&format!("gnt-instance remove -f {name}"))?;
    }
    let roots = cached(cluster, ".tar.zst")?;
    ensure!(roots.len() == 1, "the cache has {roots:?}");
    ensure!(
        waited == COUNT - 1,
        "{waited} of {COUNT} waited for another"
    );
    Ok(())
}

/// A command each; Ganeti runs their jobs beside each other.
fn add_all(cluster: &Cluster, names: &[String]) -> Result<()> {
    std::thread::scope(|scope| {
        let adding: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| cluster.add(name, "-s 2G -B memory=256")))
            .collect();
        for thread in adding {
            let added = thread.join();
            added.map_err(|_| anyhow!("a thread that adds an instance panicked"))??;
        }
        Ok(())
    })
}

fn empty_cache(cluster: &Cluster) -> Result<()> {
    for file in cached(cluster, "")? {
        std::fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    Ok(())
}

/// The cache's files whose names end so.
fn cached(cluster: &Cluster, end: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(cluster.node().path(CACHE)).context("reading the cache")?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(end));
    Ok(files)
}
