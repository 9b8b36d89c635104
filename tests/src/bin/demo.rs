//! Shows the product at work: `create` makes a disk just as Ganeti calls it,
//! a virtual machine boots it from its own boot loader, and a login over SSH
//! shows that it runs in RAM and that the disk is free to be rewritten. Then a
//! machine with hardware of its own moves into such an instance and starts
//! there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use p2v_tests::moving::{self, Way};
use p2v_tests::progress::step;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ram_system::{self, Shown};
use p2v_tests::sources;
use p2v_tests::ssh::Ssh;
use p2v_tests::{GIB, Instance, Lab, leftovers};

const INSTANCE: &str = "demo.example.org";

/// Of the instance that the machine moves into, in bytes; its own is smaller.
const MOVED_DISK: u64 = 8 * GIB;

/// On a machine without hardware acceleration that does other work besides.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Creates a disk, boots it into RAM, shows it over SSH, and moves a machine
/// into an instance
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "creating a disk needs root; run this as root"
    );
    let lab = match &args.stage {
        Some(stage) => Lab::of_stage("demo", stage)?,
        None => Lab::new("demo")?,
    };
    lab.run(demonstrate)
}

fn demonstrate(lab: &Lab) -> Result<()> {
    let disk = lab.disk("disk.img", 2 * GIB)?;
    println!("{INSTANCE}, a disk of 2 GiB; create is called as Ganeti calls it.");
    println!("The first time, packages are fetched for its root: a minute or two.");
    let outcome = step("create", || {
        let outcome = lab.create(&Instance::new(INSTANCE, &disk))?;
        ensure!(outcome.status.success(), "create failed:\n{}", outcome.log);
        Ok(outcome)
    })?;
    for line in outcome.log.lines().filter(|line| line.contains("SHA256:")) {
        println!("    {line}");
    }
    let mut machine = Machine::start(&MachineSpec::new(Boot::Bios, &disk), lab.dir())?;
    let ssh = step("boot from its own boot loader, to SSH", || {
        machine.wait_for_ssh(LONGEST_BOOT)?;
        Ssh::new(machine.ssh_port(), lab.key(), &lab.state_of(INSTANCE))
    })?;
    let phases: Vec<String> = machine
        .phases()
        .iter()
        .map(|(name, when)| format!("{name} {:.1}", when.as_secs_f64()))
        .collect();
    println!("    reached at second: {}", phases.join(", "));
    let shown = step("log in with the key, look", || {
        ram_system::check_released(&ssh)
    })?;
    show(&shown);
    let shown = step("rewrite the disk", || ram_system::rewrite_disk(&ssh))?;
    show(&shown);
    drop(machine);
    let left = leftovers::find(lab.dir());
    ensure!(left.is_empty(), "left behind: {left:?}");
    println!("{INSTANCE} ran in RAM, and its disk was free. Nothing is left behind.");
    move_a_machine(lab)
}

/// The acceptance's first machine, with each of its steps.
fn move_a_machine(lab: &Lab) -> Result<()> {
    let recipe = &sources::EXT4;
    println!("\nA machine moves in: {}.", recipe.about);
    println!("The first time it is made from Debian's packages: some minutes.");
    let source = step("make the machine", || sources::ready(recipe))?;
    let before = step("start it on its own hardware", || source.before(lab.dir()))?;
    let times = moving::migrate(lab, &source, MOVED_DISK, Way::Whole, &before)?;
    println!(
        "The machine runs in its instance: {:.0} s to be ready, {:.0} s for the transfer, \
         {:.0} s to its login.",
        times.ready.as_secs_f64(),
        times.transfer.as_secs_f64(),
        times.boot.as_secs_f64()
    );
    Ok(())
}

fn show(shown: &[Shown]) {
    for (line, answer) in shown {
        println!("    # {}", line.replace('\n', "\\n"));
        for line in answer.lines() {
            println!("    {line}");
        }
    }
}
