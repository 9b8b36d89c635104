//! The plan that keeps the source's layout, scaled to the target's disks.
//!
//! It follows from the source and the target's disks alone, so that one who
//! begins again after an interruption comes to the same plan: what is on the
//! target just now, or how busy it is, has no say.

use anyhow::{Context, Result, anyhow, bail, ensure};
use p2v_fixes::machine::BootMode;
use p2v_sys::partition::table::Table;

use super::areas::sort;
use super::layout::{STEP, Space};
use super::share::{Kind, TooSmall, Want, share};
use super::{Fill, Plan, PlannedDisk, VERSION, Volume, Wishes, demand, needs};
use crate::source::{Content, Disk, Source};
use crate::target::{Target, TargetDisk};

/// See [`super::derive`].
pub fn derive(source: &Source, target: &Target, wishes: &Wishes) -> Result<Plan> {
    let mut problems = Vec::new();
    let mut plan = without_disks(source, target, wishes);
    let mut moved = Vec::new();
    for disk in in_boot_order(source) {
        let sorted = sort(disk);
        plan.left_out.extend(sorted.left_out);
        let reserved = |volume: &Volume| volume.fill == Fill::Reserved;
        if !sorted.volumes.iter().all(reserved) {
            moved.push((disk, sorted.volumes));
        }
    }
    let counted = check_count(&moved, target);
    problems.extend(counted.err().map(|error| format!("{error:#}")));
    for ((disk, volumes), onto) in moved.into_iter().zip(&target.disks) {
        match place(disk, volumes, onto) {
            Ok(disk) => plan.disks.push(disk),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if problems.is_empty() {
        problems = needs::unmet(source, &plan);
    }
    if problems.is_empty() {
        return Ok(plan);
    }
    bail!("making a plan: {}", problems.join("; "))
}

/// See [`super::without_disks`].
pub fn without_disks(source: &Source, target: &Target, wishes: &Wishes) -> Plan {
    Plan {
        version: VERSION,
        disks: Vec::new(),
        boot: match target.boot {
            BootMode::Direct => BootMode::Direct,
            _ => source.system.boot,
        },
        hostname: wishes.hostname,
        left_out: Vec::new(),
        system: source.system.clone(),
    }
}

/// The source's disks, that with the boot loader's files first.
fn in_boot_order(source: &Source) -> Vec<&Disk> {
    let holds = |disk: &Disk, mount: &str| {
        disk.areas.iter().any(|area| match &area.content {
            Content::Filesystem(filesystem) => {
                filesystem.mounts.iter().any(|point| point.path == mount)
            }
            _ => false,
        })
    };
    let of_boot = |mount: &str| source.disks.iter().position(|disk| holds(disk, mount));
    let wanted: &[&str] = match source.system.boot {
        BootMode::Efi => &["/boot/efi", "/efi", "/boot", "/"],
        _ => &["/boot", "/"],
    };
    let first = wanted.iter().find_map(|mount| of_boot(mount));
    let mut disks: Vec<_> = source.disks.iter().collect();
    if let Some(first) = first {
        disks[..=first].rotate_right(1);
    }
    disks
}

fn check_count(moved: &[(&Disk, Vec<Volume>)], target: &Target) -> Result<()> {
    ensure!(
        !moved.is_empty(),
        "nothing on the source can be moved: no filesystem was found that is known"
    );
    let missing: Vec<_> = moved
        .iter()
        .skip(target.disks.len())
        .map(|(disk, _)| format!("{} ({})", disk.path.display(), super::show::size(disk.size)))
        .collect();
    ensure!(
        missing.is_empty(),
        "the instance has {} disks, and {} are needed; there is none for {}: add disks to it \
         (gnt-instance modify --disk add:size=...), then start it again",
        target.disks.len(),
        moved.len(),
        missing.join(", ")
    );
    Ok(())
}

/// A disk's volumes on the target's disk.
fn place(disk: &Disk, volumes: Vec<Volume>, onto: &TargetDisk) -> Result<PlannedDisk> {
    let doing = || format!("moving {} to {}", disk.path.display(), onto.device);
    let mut planned = PlannedDisk {
        device: onto.device.clone().into(),
        size: onto.size,
        source: disk.path.clone(),
        source_names: disk.names.clone(),
        hardware: disk.hardware.clone(),
        table: None,
        volumes,
    };
    check_sectors(disk, &planned.volumes, onto).with_context(doing)?;
    match &disk.table {
        None => whole(&mut planned, onto).with_context(doing)?,
        Some(table) => partitions(&mut planned, disk, table, onto).with_context(doing)?,
    }
    for volume in &mut planned.volumes {
        fit_format(volume, onto.sector_size);
    }
    Ok(planned)
}

/// A filesystem's blocks that are copied as they are count in the source's
/// sectors.
fn check_sectors(disk: &Disk, volumes: &[Volume], onto: &TargetDisk) -> Result<()> {
    let sector = onto.sector_size;
    ensure!(
        sector.is_power_of_two() && (512..=65536).contains(&sector),
        "{} has sectors of {sector} bytes",
        onto.device
    );
    let blocks = volumes.iter().find_map(|volume| match &volume.fill {
        Fill::Blocks { kind } => Some((kind, volume)),
        _ => None,
    });
    match blocks {
        Some((kind, volume)) if disk.sector_size < sector => bail!(
            "the {kind} on partition {} counts in sectors of {} bytes, which {} with its sectors \
             of {sector} bytes cannot hold: give the instance a disk with sectors of {} bytes",
            volume.number,
            disk.sector_size,
            onto.device,
            disk.sector_size
        ),
        _ => Ok(()),
    }
}

fn whole(planned: &mut PlannedDisk, onto: &TargetDisk) -> Result<()> {
    let [volume] = &mut planned.volumes[..] else {
        bail!("it has no partition table, and not one volume");
    };
    let size = onto.size / 4096 * 4096;
    let least = demand::least_of(volume).next_multiple_of(4096);
    ensure!(size >= least, too_small(least, onto));
    volume.size = match volume.fill {
        Fill::Files { .. } => size,
        _ => volume.source_size.min(size),
    };
    Ok(())
}

fn partitions(
    planned: &mut PlannedDisk,
    disk: &Disk,
    table: &Table,
    onto: &TargetDisk,
) -> Result<()> {
    let space = Space {
        size: onto.size,
        sector: u64::from(onto.sector_size),
    };
    ensure!(
        ["dos", "gpt"].contains(&table.label.as_str()),
        "its partition table is of the kind {}, and only MBR and GPT are moved",
        table.label
    );
    if is_same(planned, disk, table, onto) {
        planned.table = Some(table.clone());
        return Ok(());
    }
    let numbers: Vec<_> = planned.volumes.iter().map(|volume| volume.number).collect();
    let room = space.room(table, &numbers)?;
    let sizes = shared(&planned.volumes, room).map_err(|error| {
        let around = onto.size.saturating_sub(room);
        let text = too_small(error.needed.saturating_add(around), onto);
        anyhow!(text + &limit_reason(&space, table))
    })?;
    let mut placed = Vec::new();
    for (volume, size) in planned.volumes.iter_mut().zip(sizes) {
        volume.size = match volume.fill {
            Fill::Files { .. } => size,
            Fill::Swap => size.min(volume.source_size),
            // Its end need not be a whole MiB.
            _ => volume.source_size,
        };
        placed.push((volume.number, volume.size));
    }
    let table = space.place(table, &placed)?;
    for volume in &mut planned.volumes {
        let entry = table
            .partitions
            .iter()
            .find(|entry| entry.number == volume.number);
        volume.size = entry.map_or(0, |entry| entry.extent(table.sector_size).length);
    }
    planned.table = Some(table);
    Ok(())
}

/// Whether all can stay where it is: the same size, nothing left out, all at
/// whole MiB.
fn is_same(planned: &PlannedDisk, disk: &Disk, table: &Table, onto: &TargetDisk) -> bool {
    let fits = onto.size == disk.size && u64::from(onto.sector_size) == table.sector_size;
    let mut primary = table.partitions.iter().filter(|entry| !entry.is_extended());
    fits && primary.all(|entry| {
        let extent = entry.extent(table.sector_size);
        let same = |volume: &Volume| volume.number == entry.number && volume.size == extent.length;
        extent.offset % STEP == 0 && planned.volumes.iter().any(same)
    })
}

fn limit_reason(space: &Space, table: &Table) -> String {
    if space.end(&table.label) + STEP >= space.size {
        return String::new();
    }
    format!(
        "; its partition table is an MBR, which reaches no further than {}",
        super::show::size(space.end(&table.label))
    )
}

/// Sizes that fill the room. A source that goes on working, and holds a little
/// more when the transfer is run again, gets the same ones, if at all possible:
/// else all would be formatted anew.
fn shared(volumes: &[Volume], room: u64) -> Result<Vec<u64>, TooSmall> {
    let wants = |volume: fn(&Volume) -> Want| volumes.iter().map(volume).collect::<Vec<_>>();
    let rough = wants(|volume| want(&roughly(volume)));
    let needed = rough
        .iter()
        .map(|want| match want.kind {
            Kind::Swap => want.had,
            _ => want.least,
        })
        .fold(0, u64::saturating_add);
    match needed <= room {
        true => share(&rough, room, STEP),
        false => share(&wants(want), room, STEP),
    }
}

/// With what is in use rounded up to a sixteenth of its size.
fn roughly(volume: &Volume) -> Volume {
    let mut rough = volume.clone();
    if let Fill::Files { used, inodes, .. } = &mut rough.fill {
        let step = (volume.source_size / 16).max(1);
        *used = used.div_ceil(step).saturating_mul(step);
        *inodes = inodes.checked_next_power_of_two().unwrap_or(*inodes);
    }
    rough
}

fn want(volume: &Volume) -> Want {
    let up = |bytes: u64| bytes.checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
    let had = up(volume.source_size);
    let least = up(demand::least_of(volume)).min(had);
    let (least, kind) = match &volume.fill {
        Fill::Files { used, .. } => (least, Kind::Files(*used)),
        Fill::Swap => (least, Kind::Swap),
        _ => (had, Kind::Fixed),
    };
    Want { had, least, kind }
}

fn too_small(needed: u64, onto: &TargetDisk) -> String {
    format!(
        "{} has {}, and at least {} are needed: make it larger (gnt-instance grow-disk), or \
         remove what need not be moved",
        onto.device,
        super::show::size(onto.size),
        super::show::size(needed)
    )
}

/// What the new size and the disk's sectors ask of a format.
fn fit_format(volume: &mut Volume, sector: u32) {
    let Fill::Files { format, inodes, .. } = &mut volume.fill else {
        return;
    };
    match format.kind.as_str() {
        "xfs" => {
            let smaller = |setting: &str| {
                let size = setting.strip_prefix("size=");
                size.and_then(|size| size.parse().ok())
                    .is_some_and(|size: u32| size < sector)
            };
            for flag in ["-s", "-b"] {
                if format.value(flag).is_some_and(smaller) {
                    format.set(flag, &format!("size={sector}"));
                }
            }
        }
        "ext2" | "ext3" | "ext4" => {
            let block = format.value("-b").and_then(|block| block.parse().ok());
            if block.is_some_and(|block: u32| block < sector) {
                format.set("-b", &sector.to_string());
            }
            demand::fit_inodes(format, volume.size, *inodes);
        }
        _ => {}
    }
}
