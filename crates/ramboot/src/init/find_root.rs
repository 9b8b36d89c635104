//! Waits for the root's block device, loading drivers as hardware appears.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::block_device::{self, BlockDevice};
use super::cmdline::{CommandLine, RootSpec};
use super::console;
use super::drivers::Drivers;
use super::partition_table::Table;
use super::superblock;

/// The first pause between two looks; it doubles ...
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// When to say for the first time that we wait; then at every doubling.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// Returns the device that holds the root, as soon as there is one.
pub fn wait(line: &CommandLine, drivers: &mut Drivers) -> Result<BlockDevice> {
    let root = line.root.as_ref().context(
        "finding the root: there is no usable root= on the kernel command line; \
         add root=/dev/..., UUID=, LABEL=, PARTUUID= or PARTLABEL=",
    )?;
    let start = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    let mut next_word = FIRST_WORD;
    loop {
        drivers.settle();
        let devices = block_device::list()?;
        if let Some(device) = find(root, &devices) {
            return Ok(device);
        }
        let waited = start.elapsed();
        if line.timeout.is_some_and(|most| waited >= most) {
            bail!(
                "finding the root {root}: not there after {} s; block devices: {}",
                waited.as_secs(),
                block_device::describe(&devices)
            );
        }
        if waited >= next_word {
            let most = line.timeout.map_or("for ever".to_owned(), |most| {
                format!("up to {} s", most.as_secs())
            });
            console::say(format!("waiting for the root {root}, {most}"));
            next_word *= 2;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn find(root: &RootSpec, devices: &[BlockDevice]) -> Option<BlockDevice> {
    let mut matching = devices.iter().filter(|device| is(root, device));
    let first = matching.next()?;
    let others: Vec<&str> = matching.map(|device| device.name.as_str()).collect();
    if !others.is_empty() {
        let (name, others) = (&first.name, others.join(", "));
        console::warn(format!(
            "{root} is {name}, but also {others}; taking {name}"
        ));
    }
    Some(first.clone())
}

fn is(root: &RootSpec, device: &BlockDevice) -> bool {
    // A drive without a medium, or a loop device without a file.
    if device.size == 0 {
        return false;
    }
    match root {
        RootSpec::Device(path) => *path == device.path(),
        RootSpec::Uuid(uuid) => superblock_of(device).is_some_and(|sb| sb.uuid == *uuid),
        RootSpec::Label(label) => superblock_of(device).is_some_and(|sb| sb.label == *label),
        RootSpec::PartUuid(uuid) => partition(device, |table, number| {
            table.uuid(number).as_deref() == Some(uuid)
        }),
        RootSpec::PartLabel(label) => {
            partition(device, |table, number| table.label(number) == Some(label))
        }
    }
}

fn superblock_of(device: &BlockDevice) -> Option<superblock::Superblock> {
    superblock::probe(&device.open().ok()?)
}

fn partition(device: &BlockDevice, is: impl Fn(&Table, u32) -> bool) -> bool {
    let Some((disk, number)) = &device.part_of else {
        return false;
    };
    let disk = std::fs::File::open(std::path::Path::new("/dev").join(disk.replace('!', "/")));
    let table = disk
        .ok()
        .and_then(|disk| Table::read(&disk, device.sector_size));
    table.is_some_and(|table| is(&table, *number))
}
