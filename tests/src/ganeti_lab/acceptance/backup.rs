//! Rename, export, import, reinstall and remove of an instance into which a
//! machine has moved.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::machine::{self, MEMORY, NAME, nic};
use crate::ganeti_lab::cluster::{NODE, STORAGE};
use crate::ganeti_lab::{Cluster, files};
use crate::vm_slot::VmSlot;
use crate::{MIB, image, manifest};

/// [`NAME`] after its rename.
const RENAMED: &str = "mail2.lab";

/// What its export is imported as.
const IMPORTED: &str = "db3.lab";

/// GPT with xfs, and never started.
pub const SELF_BOOTING: &str = "asked.lab";

/// The number of its address.
pub const SELF_BOOTING_NIC: u8 = 2;

/// Where Ganeti puts exports.
const EXPORTS: &str = "/var/lib/ganeti/export";

/// The files that may change with an instance's name.
const NAMED: &[&str] = &["etc/hostname", "etc/hosts", "etc/mailname"];

/// Nothing in the machine goes by the old name.
pub fn rename(cluster: &Cluster) -> Result<()> {
    let before = files::of_disk(&cluster.disk(NAME)?, cluster.dir())?;
    cluster.gnt(&format!(
        "gnt-instance rename --no-ip-check {NAME} {RENAMED}"
    ))?;
    cluster.check_os_logs()?;
    let disk = cluster.disk(RENAMED)?;
    has_name(cluster, &disk, "mail2", "web1")?;
    only_names_differ(&before, &files::of_disk(&disk, cluster.dir())?)
}

fn has_name(cluster: &Cluster, disk: &Path, name: &str, old: &str) -> Result<()> {
    let partitions = image::partitions(disk)?;
    let root = partitions.last().context("no partition")?;
    let root = files::mount(disk, root, cluster.dir())?.context("no root filesystem")?;
    for file in NAMED {
        let text = std::fs::read_to_string(root.path().join(file))
            .with_context(|| format!("reading the machine's {file}"))?;
        ensure!(!text.contains(old), "{file} still has {old}:\n{text}");
        ensure!(text.contains(name), "{file} has no {name}:\n{text}");
    }
    root.close()
}

fn only_names_differ(before: &files::Files, after: &files::Files) -> Result<()> {
    let others: Vec<String> = manifest::differing(before, after)
        .into_iter()
        .filter(|((_, path), _)| !NAMED.iter().any(|named| path == Path::new(named)))
        .map(|((number, path), change)| {
            format!("partition {}: {}: {change}", number + 1, path.display())
        })
        .collect();
    let shown = others.len().min(20);
    ensure!(
        others.is_empty(),
        "{} files differ:\n{}",
        others.len(),
        others[..shown].join("\n")
    );
    Ok(())
}

/// The disk is the same afterwards, to the byte.
pub fn export(cluster: &Cluster) -> Result<()> {
    let disk = cluster.disk(RENAMED)?;
    let before = image::hash(&disk)?;
    export_of(cluster, RENAMED)?;
    ensure!(image::hash(&disk)? == before, "export wrote to the disk");
    let exports = cluster.gnt("gnt-backup list --no-headers")?;
    ensure!(exports.contains(RENAMED), "gnt-backup list shows {exports}");
    Ok(())
}

fn export_of(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.gnt(&format!("gnt-backup export -n {NODE} {name}"))?;
    cluster.check_os_logs()
}

/// Onto 4 GiB instead of 3.
pub fn import(cluster: &Cluster) -> Result<()> {
    let source = cluster.disk(RENAMED)?;
    import_as(cluster, RENAMED, IMPORTED, &format!("4G {}", nic(1)))?;
    let disk = cluster.disk(IMPORTED)?;
    has_name(cluster, &disk, "db3", "mail2")?;
    let before = files::of_disk(&source, cluster.dir())?;
    ensure!(before.len() > 5000, "only {} files", before.len());
    only_names_differ(&before, &files::of_disk(&disk, cluster.dir())?)
}

/// The disk that the import got is larger by one GiB.
pub fn has_grown(cluster: &Cluster) -> Result<()> {
    let source = root_room(cluster, &cluster.disk(RENAMED)?)?;
    let grown = root_room(cluster, &cluster.disk(IMPORTED)?)?.saturating_sub(source);
    ensure!(grown > 900 * MIB, "the root grew by {} MiB", grown / MIB);
    Ok(())
}

fn import_as(cluster: &Cluster, from: &str, name: &str, size_and_more: &str) -> Result<()> {
    cluster.gnt(&format!(
        "gnt-backup import -n {NODE} -t file --src-node={NODE} --src-dir={EXPORTS}/{from} \
         --no-name-check --no-ip-check --disk 0:size={size_and_more} {name}"
    ))?;
    // Ganeti only warns when the scripts of an import fail.
    cluster.check_os_logs()
}

/// The size of the last partition's filesystem.
fn root_room(cluster: &Cluster, disk: &Path) -> Result<u64> {
    let partitions = image::partitions(disk)?;
    let root = partitions.last().context("no partition")?;
    let root = files::mount(disk, root, cluster.dir())?.context("no root filesystem")?;
    let room = nix::sys::statvfs::statvfs(root.path()).context("measuring the root")?;
    root.close()?;
    Ok(room.blocks() * room.fragment_size())
}

/// Over a layout that create did not make.
pub fn reinstall(cluster: &Cluster) -> Result<()> {
    cluster.gnt(&format!("gnt-instance reinstall -f {RENAMED}"))?;
    cluster.check_os_logs()?;
    let disk = cluster.disk(RENAMED)?;
    let label = image::label(&disk);
    ensure!(label.as_deref() == Some("dos"), "the table is {label:?}");
    let count = image::partitions(&disk)?.len();
    ensure!(count == 1, "{count} partitions");
    ensure!(image::has_boot_code(&disk)?, "it would not boot");
    Ok(())
}

/// With the host keys of its reinstallation.
pub fn boot_reinstalled(cluster: &Cluster) -> Result<()> {
    let _slot = VmSlot::wait()?;
    machine::start(cluster, RENAMED, 0, RENAMED)?;
    cluster.gnt(&format!("gnt-instance stop --timeout=60 {RENAMED}"))?;
    Ok(())
}

/// Exported, removed, and back under another name: what makes a disk boot
/// comes along, and so do the host keys.
pub fn boot_imported(cluster: &Cluster) -> Result<()> {
    export_of(cluster, SELF_BOOTING)?;
    cluster.gnt(&format!("gnt-instance remove -f {SELF_BOOTING}"))?;
    let name = "again.lab";
    let rest = format!("3G {MEMORY} {}", nic(SELF_BOOTING_NIC));
    import_as(cluster, SELF_BOOTING, name, &rest)?;
    let _slot = VmSlot::wait()?;
    machine::start(cluster, name, SELF_BOOTING_NIC, SELF_BOOTING)?;
    cluster.gnt(&format!("gnt-instance stop --timeout=60 {name}"))?;
    Ok(())
}

/// Instances and exports; their disks go with them.
pub fn remove_all(cluster: &Cluster) -> Result<()> {
    for name in cluster.instances()? {
        cluster.gnt(&format!("gnt-instance remove -f {name}"))?;
    }
    for name in [RENAMED, SELF_BOOTING] {
        if cluster.node().path(EXPORTS).join(name).exists() {
            cluster.gnt(&format!("gnt-backup remove {name}"))?;
        }
    }
    let stored = cluster.gnt(&format!("find {STORAGE} {EXPORTS} -mindepth 1"))?;
    ensure!(stored.is_empty(), "left:\n{stored}");
    let attached = cluster.gnt("losetup --list --noheadings --output BACK-FILE")?;
    ensure!(!attached.contains(STORAGE), "still attached:\n{attached}");
    Ok(())
}
