//! A move during which all goes wrong that can: processes killed on either
//! side, the target without power, a disk that is too small.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{LONGEST_BOOT, LONGEST_STOP, LONGEST_TRANSFER, Moving, RAM, Running};
use crate::outcome::Outcome;
use crate::progress::step;
use crate::qemu::{Boot, Machine, MachineSpec};
use crate::sources::{Look, Source, extent};
use crate::ssh::Ssh;
use crate::unreliable::Unreliable;
use crate::{Lab, MIB, guest, manifest};

/// How much of the machine has arrived when something happens.
const BEFORE_TROUBLE: u64 = 25 * MIB;

/// Too small for any of the sources.
const TOO_SMALL: u64 = 300 * MIB;

/// How long the way waits for that much.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// More files than most directories have.
const SMALL_FILES: u32 = 100_000;

/// Moves a copy of `source` with 100,000 small files more, to a disk of `size`
/// bytes, through all of it; it must start as well as it was `before`.
pub fn migrate(lab: &Lab, source: &Source, size: u64, before: &Look) -> Result<()> {
    let source = step("give the source 100,000 files more", || {
        let source = source.own_copy(lab.dir())?;
        add_small_files(&source)?;
        Ok(source)
    })?;
    let moving = step("create the instance", || Moving::new(lab, &source, size))?;
    let diskless = step("build an initrd that needs no disk", || {
        moving.created.self_contained_boot(lab)
    })?;
    step("a disk that is too small is refused, untouched", || {
        too_small(&moving, &diskless)
    })?;
    let machine = step("start it into RAM", || moving.start_ready())?;
    step("kill the transfer", || kill_transfer(&moving, &machine))?;
    let (running, way) = step("kill the agents, cut the target's power", || {
        kill_agents_and_power(&moving, machine)
    })?;
    let mut machine = step("start the target by the initrd without a disk", || {
        let machine = start(&moving, &diskless, moving.disk())?;
        machine.console().expect("p2v: ready", LONGEST_BOOT)?;
        Ok(machine)
    })?;
    step("the transfer goes on by itself, and compares", || {
        way.lead_to(machine.ssh_port());
        let outcome = running.finish(LONGEST_TRANSFER)?;
        ensure!(outcome.status.success(), "{}", outcome.log);
        says(&outcome, "both sides are equal")?;
        let status = moving.transfer(machine.ssh_port(), &["--status"])?;
        says(&status, "filled")
    })?;
    step("move what has changed by then", || {
        let way = Unreliable::to(machine.ssh_port(), 0, 0)?;
        let outcome = moving.transfer(way.port(), &[])?;
        ensure!(outcome.status.success(), "{}", outcome.log);
        println!("    {} MiB went there", way.passed() / MIB);
        let ended = machine.wait_for_end(LONGEST_STOP)?;
        ensure!(ended == "guest-reset", "{ended}, not a restart");
        moving.source_is_untouched()
    })?;
    drop(machine);
    let found = step("compare the files", || moving.compare())?;
    ensure!(found.files > SMALL_FILES as usize, "{} files", found.files);
    let mut machine = moving.start()?;
    step("start the machine in its new place", || {
        let worse = moving.look(&mut machine)?.worse_than(before);
        ensure!(worse.is_empty(), "{}", worse.join("\n"));
        Ok(())
    })
}

fn says(outcome: &Outcome, words: &str) -> Result<()> {
    ensure!(outcome.log.contains(words), "no {words:?}: {}", outcome.log);
    Ok(())
}

fn add_small_files(source: &Source) -> Result<()> {
    let home = source
        .recipe
        .volumes
        .iter()
        .find(|volume| volume.mount == Some("/home"));
    let home = home.context("the source has no /home")?;
    let place = extent(&source.disk, home.number)?;
    let kind = home.kind.context("it is no filesystem")?;
    guest::edit(&source.disk, place, (kind, ""), |top| {
        for number in 0..SMALL_FILES {
            let dir = top.join(format!("alice/many/{}", number / 1000));
            std::fs::create_dir_all(&dir)?;
            std::fs::write(dir.join(number.to_string()), format!("{number}\n"))?;
        }
        Ok(())
    })?
    .map_err(|error: std::io::Error| error)
    .context("writing small files")
}

fn start(moving: &Moving, boot: &Boot, disk: &Path) -> Result<Machine> {
    let spec = MachineSpec::new(boot.clone(), disk).memory(RAM);
    Machine::start(&spec, moving.lab.dir())
}

fn too_small(moving: &Moving, diskless: &Boot) -> Result<()> {
    let disk = moving.lab.disk("small.img", TOO_SMALL)?;
    crate::image::scribble(&disk)?;
    let before = manifest::hash_of_sparse(&disk)?;
    let machine = start(moving, diskless, &disk)?;
    machine.console().expect("p2v: ready", LONGEST_BOOT)?;
    let outcome = moving.transfer(machine.ssh_port(), &[])?;
    ensure!(
        !outcome.status.success(),
        "it was not refused: {}",
        outcome.log
    );
    let message = outcome.error_message();
    ensure!(!message.is_empty(), "no error is told: {}", outcome.log);
    println!("    {}", message.trim().replace('\n', "\n    "));
    drop(machine);
    ensure!(
        manifest::hash_of_sparse(&disk)? == before,
        "the disk was written to"
    );
    Ok(())
}

/// Starts a copy that only goes ahead, and waits until some has arrived.
fn partly(moving: &Moving, port: u16) -> Result<(Running, Unreliable)> {
    let way = Unreliable::to(port, 0, 0)?;
    let mut command = moving.command(way.port());
    let running = Running::start(command.args(["--seed", "--verify"]), moving.lab.dir())?;
    way.wait_for(BEFORE_TROUBLE, LONGEST_WAIT)
        .with_context(|| running.said())?;
    Ok((running, way))
}

fn kill_transfer(moving: &Moving, machine: &Machine) -> Result<()> {
    let (running, _) = partly(moving, machine.ssh_port())?;
    // With SIGKILL.
    drop(running);
    moving.source_is_untouched()
}

/// Goes on with the transfer, kills its agents, and takes the target's power
/// when it has recovered from that. It goes on trying.
fn kill_agents_and_power(moving: &Moving, machine: Machine) -> Result<(Running, Unreliable)> {
    let (running, way) = partly(moving, machine.ssh_port())?;
    let said = running.said();
    ensure!(said.contains("goes on there"), "it began anew: {said}");
    let state = moving.lab.state_of(&moving.created.name);
    let ssh = Ssh::new(machine.ssh_port(), moving.lab.key(), &state)?;
    ssh.run("pkill -KILL -f '[p]2v agent'")?;
    let passed = way.passed();
    way.wait_for(passed + BEFORE_TROUBLE, LONGEST_WAIT)
        .with_context(|| running.said())?;
    Ok((running, way))
}
