//! Booting to SSH, and the memory that is used then.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use p2v_tests::Lab;
use p2v_tests::peer::initramfs::PeerRoot;
use p2v_tests::progress::step;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::table::{Measure, median};

use crate::initrds::Initrds;
use crate::{INSTANCE, Ours};

/// RAM of the measured machines in MiB: what the peer needs.
const MEMORY: u32 = 3072;

/// Longer than the slower of the two takes on a busy machine.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Services that start after sshd have started by then.
const SETTLING: Duration = Duration::from_secs(8);

/// A machine that has been booted to SSH, and what that took.
struct Booted {
    seconds: f64,
    used_mb: f64,
}

pub fn boots(
    lab: &Lab,
    ours: &Ours,
    peer_root: &PeerRoot,
    initrds: &Initrds,
    rounds: usize,
) -> Result<[Measure; 2]> {
    let mut our_boots = Vec::new();
    let mut their_boots = Vec::new();
    for round in 1..=rounds {
        our_boots.push(step(&format!("boot to SSH, ours, boot {round}"), || {
            let spec = machine(&ours.disk, ours.boot.clone());
            boot(lab, &spec, |port| {
                Ssh::new(port, lab.key(), &lab.state_of(INSTANCE))
            })
        })?);
        their_boots.push(step(&format!("boot to SSH, peer, boot {round}"), || {
            let spec = machine(peer_root.disk(), initrds.their_boot());
            boot(lab, &spec, |port| {
                Ssh::with_host_keys(port, lab.key(), &initrds.host_keys)
            })
        })?);
    }
    let of = |boots: &[Booted], figure: fn(&Booted) -> f64| {
        median(&boots.iter().map(figure).collect::<Vec<_>>())
    };
    Ok([
        Measure {
            name: "boot to SSH, s".to_owned(),
            ours: of(&our_boots, |boot| boot.seconds),
            peer: of(&their_boots, |boot| boot.seconds),
            limit: 0.5,
        },
        Measure {
            name: "RAM used when ready, MB".to_owned(),
            ours: of(&our_boots, |boot| boot.used_mb),
            peer: of(&their_boots, |boot| boot.used_mb),
            limit: 0.4,
        },
    ])
}

fn machine(disk: &Path, boot: Boot) -> MachineSpec {
    MachineSpec::new(boot, disk).memory(MEMORY).volatile()
}

fn boot(lab: &Lab, spec: &MachineSpec, ssh: impl Fn(u16) -> Result<Ssh>) -> Result<Booted> {
    let mut machine = Machine::start(spec, lab.dir())?;
    let took = machine.wait_for_ssh(LONGEST_BOOT)?;
    let ssh = ssh(machine.ssh_port())?;
    std::thread::sleep(SETTLING);
    let kind = ssh.run("stat --file-system --format=%T /")?;
    anyhow::ensure!(kind == "tmpfs", "the root is not in RAM but on {kind}");
    let meminfo = ssh.run("cat /proc/meminfo")?;
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok())
            .with_context(|| format!("reading {name} from /proc/meminfo"))
    };
    Ok(Booted {
        seconds: took.as_secs_f64(),
        used_mb: (kib("MemTotal:")? - kib("MemAvailable:")?) * 1024.0 / 1e6,
    })
}
