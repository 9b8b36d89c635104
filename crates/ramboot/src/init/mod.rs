//! PID 1 of the ramboot initrd: loads the drivers, finds the root, moves it
//! into RAM, lets the disk go and hands over to the root's own init. Where the
//! initrd carries the root itself, no disk is looked for.
//!
//! Each step is a line on the console. Nothing is written to any disk, and no
//! other program is run. What the kernel command line can say is in
//! [`cmdline`].
//!
//! A root may have a file [`EXCLUDE`](crate::EXCLUDE), which names what is not to be copied,
//! one absolute path a line, like `ramboot.exclude=`.

pub(crate) mod block_device;
pub(crate) mod cmdline;
mod console;
mod copy;
mod drivers;
mod early;
mod embedded;
mod failure;
mod find_root;
mod memory;
mod mount_root;
mod parallel;
pub(crate) mod partition_table;
pub(crate) mod release;
pub(crate) mod superblock;
mod switch_root;
mod tree;

use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use p2v_sys::Root;

use cmdline::{CommandLine, OnError};
use drivers::Drivers;
use memory::{Memory, Need, RAM, Room, megabytes};
use mount_root::DiskRoot;
use tree::Tree;

/// Boots. Exits with status 1 unless it is PID 1 of a ramboot initrd; else it
/// becomes the next init, or ends as `ramboot.onerror=` says.
pub fn run() -> ! {
    if let Err(error) = early::check() {
        eprintln!("p2v: error: {error:#}");
        std::process::exit(1);
    }
    let line = failure::guarded(|| {
        early::mount_kernel_filesystems()?;
        CommandLine::read()
    });
    match line {
        Ok(line) => {
            let Err(error) = failure::guarded(|| boot(&line));
            failure::end(&error, line.on_error)
        }
        Err(error) => failure::end(&error, OnError::Wait),
    }
}

fn boot(line: &CommandLine) -> Result<Infallible> {
    let root = greet(line);
    let mut drivers = Drivers::open(line)?;
    if let Some(facts) = embedded::find()? {
        drivers.settle();
        let init = embedded::move_to_ram(facts, line)?;
        return switch_root::hand_over(Path::new(RAM), &init);
    }
    let device = find_root::wait(line, &mut drivers)?;
    let modules = drivers.loaded();
    console::say(format!("root {root} is {device}, {modules} modules loaded"));
    let disk = DiskRoot::mount(&device, line, &mut drivers)?;
    let init = disk.bootable(line.init.as_deref())?;
    move_to_ram(&disk, line)?;
    disk.close()?;
    let free = release::prove(&device)?.join(", ");
    console::say(format!("disk released: {free} can be written to"));
    switch_root::hand_over(Path::new(RAM), &init)
}

fn greet(line: &CommandLine) -> String {
    console::say(concat!(
        "p2v ",
        env!("CARGO_PKG_VERSION"),
        ": moving the root into RAM"
    ));
    for warning in &line.warnings {
        console::warn(format!("kernel command line: {warning}"));
    }
    line.root
        .as_ref()
        .map_or_else(String::new, ToString::to_string)
}

/// Copies the mounted root to a tmpfs, if the memory suffices.
fn move_to_ram(disk: &DiskRoot, line: &CommandLine) -> Result<()> {
    let mut exclude = crate::excluded(&Root::open(disk.path())?)?;
    exclude.extend(line.exclude.iter().cloned());
    let tree = Tree::list(disk.path(), &exclude)?;
    let memory = Memory::read()?;
    let need = Need::of(tree.data(), tree.entries.len() as u64);
    let room = Room::plan(need, memory, line.size)?;
    console::say(format!(
        "copying {} MB in {} files into RAM: {} MB needed of {} MB available",
        megabytes(tree.data()),
        tree.entries.len(),
        megabytes(need.memory()),
        memory.available >> 20
    ));
    let ram = memory::mount(room)?;
    let start = Instant::now();
    let copied = copy::copy(&tree, ram.target(), disk.plain_device().as_deref())?;
    // It is to stay.
    std::mem::forget(ram);
    report(copied, start);
    Ok(())
}

fn report(copied: copy::Copied, start: Instant) {
    let time = start.elapsed();
    console::say(format!(
        "copied {} MB in {:.1} s, {} MB/s",
        megabytes(copied.bytes),
        time.as_secs_f64(),
        copy::rate(copied.bytes, time)
    ));
    copy::warn_of_lost_attributes(copied.lost_attributes);
}
