//! What an agent mounts: the volumes side by side to be filled, or as the
//! system's tree to be repaired.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use p2v_sys::{Mount, Root, mount};

use super::devices::Device;
use super::place::Place;
use crate::plan::{Fill, Plan, PlannedDisk, Volume};

/// Mounts every volume that takes files. They stay mounted after this process.
pub fn mount_all(place: &Place, plan: &Plan) -> Result<()> {
    for (disk, volume) in plan.volumes() {
        if let Fill::Files { format, .. } = &volume.fill {
            let target = place.volume(&volume.name(disk));
            directory(&target)?;
            let mounted = mount_one(disk, volume, &format.kind, &target, None)?;
            // For the agents that fill them.
            std::mem::forget(mounted);
        }
    }
    Ok(())
}

/// Puts the system's tree together, each filesystem before those below it.
pub fn mount_tree(place: &Place, plan: &Plan) -> Result<Vec<Mount>> {
    let mut all: Vec<_> = plan
        .volumes()
        .filter_map(|(disk, volume)| {
            let kind = match &volume.fill {
                Fill::Files { format, .. } => &format.kind,
                Fill::Blocks { kind } => kind,
                Fill::Swap | Fill::Reserved => return None,
            };
            Some((disk, volume, kind))
        })
        .flat_map(|(disk, volume, kind)| {
            let mounts = volume.mounts.iter();
            mounts.map(move |mount| (mount, disk, volume, kind))
        })
        .collect();
    all.sort_by_key(|(mount, ..)| (Path::new(&mount.path).components().count(), &mount.path));
    if all.first().is_none_or(|(mount, ..)| mount.path != "/") {
        bail!("the plan has no volume for the system's root");
    }
    let top = place.root();
    directory(&top)?;
    // Dropped on failure, the last one first.
    let mut mounts: Vec<Mount> = Vec::new();
    for (mount, disk, volume, kind) in all {
        let target = mount_point(&top, &mount.path)?;
        let subvolume = mount.subvolume.as_deref();
        mounts.insert(0, mount_one(disk, volume, kind, &target, Some(subvolume))?);
    }
    mount_kernels(&top, &mut mounts)?;
    Ok(mounts)
}

/// What the system's programs expect. Over whatever the disk has there: a
/// `/dev` with a few nodes of its own knows no disks.
fn mount_kernels(top: &Path, mounts: &mut Vec<Mount>) -> Result<()> {
    let private = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    for (name, kind) in [
        ("proc", "proc"),
        ("sys", "sysfs"),
        ("dev", ""),
        ("run", "tmpfs"),
    ] {
        let place = top.join(name);
        if !std::fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        let mounted = match kind {
            "" => Mount::bind(Path::new("/dev"), &place)?,
            _ => Mount::new(kind, &place, kind, private, "")?,
        };
        mounts.insert(0, mounted);
    }
    Ok(())
}

/// Where a filesystem belongs in the tree; links of the system lead nowhere
/// else.
fn mount_point(top: &Path, path: &str) -> Result<PathBuf> {
    if path == "/" {
        return Ok(top.to_owned());
    }
    let root = Root::open(top)?;
    root.create_dir_all(path)?;
    let inside = root.real_path(path)?;
    let inside = inside.with_context(|| format!("finding {path} in the system"))?;
    Ok(top.join(inside.strip_prefix("/").unwrap_or(&inside)))
}

/// Mounts a volume: by its top to be filled, or as the system does.
fn mount_one(
    disk: &PlannedDisk,
    volume: &Volume,
    kind: &str,
    target: &Path,
    in_system: Option<Option<&str>>,
) -> Result<Mount> {
    let options = match (kind, in_system) {
        ("btrfs", None) => "subvolid=5".to_owned(),
        ("btrfs", Some(Some(name))) => format!("subvol={}", name.trim_start_matches('/')),
        // A copy of its blocks may be on another disk.
        ("xfs", _) => "nouuid".to_owned(),
        _ => String::new(),
    };
    // Programs of the system run in its tree, but not from where it is filled.
    let flags = match in_system {
        None => MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some(_) => MsFlags::empty(),
    };
    let device = Device::of(disk, volume)?;
    let mounted = Mount::new(device.path(), target, kind, flags, &options)?;
    device.close()?;
    Ok(mounted)
}

/// Takes down all that agents have mounted. What still runs in the tree, left
/// by an agent that was killed amid a fix, is ended.
pub fn unmount_all(place: &Place) -> Result<()> {
    for top in [place.root(), place.run().join("volumes")] {
        if !top.exists() {
            continue;
        }
        end_inside(&top)?;
        let points = mount::points_below(&top)?;
        for point in points.iter().rev() {
            let mounted = Mount::of_program(point);
            mounted.close().map_err(|error| {
                let advice = "is a shell's current directory there?";
                error.context(format!("letting go of {} ({advice})", point.display()))
            })?;
        }
    }
    Ok(())
}

/// Ends the processes whose root directory lies there.
fn end_inside(top: &Path) -> Result<()> {
    let top = top
        .canonicalize()
        .with_context(|| format!("resolving {}", top.display()))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let inside = inside(&top)?;
        if inside.is_empty() {
            return Ok(());
        }
        for pid in &inside {
            tracing::info!("ending process {pid}, which an earlier agent left in the system");
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if Instant::now() > deadline {
            bail!("ending what runs in {}: it hangs", top.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn inside(top: &Path) -> Result<Vec<Pid>> {
    let processes = std::fs::read_dir("/proc").context("listing the processes")?;
    let is_inside = |pid: &i32| {
        let root = std::fs::read_link(format!("/proc/{pid}/root"));
        root.is_ok_and(|root| root.starts_with(top))
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(is_inside).map(Pid::from_raw).collect())
}

fn directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("creating {}", path.display()))
}
