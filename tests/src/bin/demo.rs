//! Shows the product at work: `create` makes a disk just as Ganeti calls it,
//! a virtual machine boots it from its own boot loader, and a login over SSH
//! shows that it runs in RAM and that the disk is free to be rewritten.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use p2v_tests::progress::step;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ram_system::{self, Shown};
use p2v_tests::ssh::Ssh;
use p2v_tests::{GIB, Instance, Lab, leftovers};

const INSTANCE: &str = "demo.example.org";

/// On a machine without hardware acceleration that does other work besides.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Creates a disk, boots it into RAM and shows it over SSH
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
