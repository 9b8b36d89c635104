//! Measures the product against its peers, side by side in one run, and prints
//! a table. Exits with status 1 if a limit is missed or a measurement fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use p2v_sys::Cmd;
use p2v_tests::peer::debootstrap::InstanceDebootstrap;
use p2v_tests::peer::initramfs::{self, PeerRoot};
use p2v_tests::progress::step;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::table::{Measure, median, render};
use p2v_tests::{Created, GIB, Instance, Lab};

/// RAM of the measured machines in MiB: what the peer needs.
const MEMORY: u32 = 3072;

/// Longer than the slower of the two takes on a busy machine.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Services that start after sshd have started by then.
const SETTLING: Duration = Duration::from_secs(8);

/// The instance that is booted, and the one that is only created: a create
/// replaces what the node remembers of the host keys.
const INSTANCE: &str = "bench.example.org";
const TIMED: &str = "timed.example.org";

/// Of both machines; the disks have no partitions.
const COMMAND_LINE: &str = "root=/dev/vda ro console=tty0 console=ttyS0,38400";

/// Measures p2v-target against ganeti-instance-debootstrap and initramfs-tools
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
    /// Rounds of create and of the initrds; the medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rounds of booting; the medians are shown
    #[arg(long, default_value_t = 1)]
    boots: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: a limit was missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let lab = match &args.stage {
        Some(stage) => Lab::of_stage("bench", stage)?,
        None => Lab::new("bench")?,
    };
    let measures = lab.run(|lab| measure(lab, args))?;
    println!("\n{}", render(&measures));
    Ok(measures.iter().all(Measure::met))
}

fn measure(lab: &Lab, args: &Args) -> Result<Vec<Measure>> {
    println!("Preparing (what can be kept for the next run is):");
    let ours = Ours::prepare(lab)?;
    let peer = step("the peer's bootstrap root", || {
        let peer = InstanceDebootstrap::new(&ours.suite, &ours.packages)?;
        peer.warm_up(lab.dir())?;
        Ok(peer)
    })?;
    let peer_root = step("the peer's disk to boot", || {
        PeerRoot::prepare(&peer, lab.key(), lab.dir())
    })?;
    println!("Measuring, {} rounds, {} boots:", args.rounds, args.boots);
    let mut measures = vec![creates(lab, &peer, args.rounds)?];
    let initrds = Initrds::build(lab, &peer_root, args.rounds)?;
    measures.extend(initrds.measures());
    measures.extend(boots(lab, &ours, &peer_root, &initrds, args.boots)?);
    Ok(measures)
}

/// Our disk without partitions, and what is on it.
struct Ours {
    disk: PathBuf,
    suite: String,
    packages: Vec<String>,
    boot: Boot,
}

impl Ours {
    fn prepare(lab: &Lab) -> Result<Self> {
        lab.configure("PARTITION_STYLE=none")?;
        let disk = lab.disk("ours.img", 3 * GIB)?;
        let created = step("our bootstrap root and disk", || {
            Created::make(lab, &Instance::new(INSTANCE, &disk))
        })?;
        let root = created.mount(lab)?;
        let packages = packages(root.path())?;
        root.close()?;
        Ok(Self {
            suite: created.fact("suite")?.to_owned(),
            packages,
            boot: created.direct_boot(lab, COMMAND_LINE)?,
            disk,
        })
    }
}

/// The installed packages of a root as "NAME=VERSION", sorted.
fn packages(root: &Path) -> Result<Vec<String>> {
    let list = Cmd::new("dpkg-query", "listing our root's packages")
        .arg(format!(
            "--admindir={}",
            root.join("var/lib/dpkg").display()
        ))
        .args(["--show", "--showformat=${Package}=${Version}\\n"])
        .read()?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn create(lab: &Lab, disk: &Path) -> Result<Duration> {
    let outcome = lab.create(&Instance::new(TIMED, disk))?;
    anyhow::ensure!(outcome.status.success(), "create failed:\n{}", outcome.log);
    Ok(outcome.took)
}

/// Both creates in turn, so that a slow moment of the machine meets both.
fn creates(lab: &Lab, peer: &InstanceDebootstrap, rounds: usize) -> Result<Measure> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let disk = lab.disk("ours-timed.img", 3 * GIB)?;
        ours.push(step(&format!("create, ours, round {round}"), || {
            create(lab, &disk)
        })?);
        std::fs::remove_file(&disk).context("removing a disk")?;
        let disk = lab.disk("theirs-timed.img", 3 * GIB)?;
        theirs.push(step(&format!("create, peer, round {round}"), || {
            peer.create(&Instance::new("peer.example", &disk))
        })?);
        std::fs::remove_file(&disk).context("removing a disk")?;
    }
    Ok(seconds("warm create, s", &ours, &theirs, 0.5))
}

/// Both initrds of one kernel, from one root.
struct Initrds {
    ours: PathBuf,
    theirs: PathBuf,
    our_times: Vec<Duration>,
    their_times: Vec<Duration>,
    host_keys: Vec<String>,
    kernel: PathBuf,
}

impl Initrds {
    fn build(lab: &Lab, peer_root: &PeerRoot, rounds: usize) -> Result<Self> {
        peer_root.with_mounted(lab.dir(), |root| {
            let version = newest_kernel(root)?;
            let mut initrds = Self {
                ours: lab.dir().join("initrd-ours"),
                theirs: lab.dir().join("initrd-theirs"),
                our_times: Vec::new(),
                their_times: Vec::new(),
                host_keys: initramfs::host_keys(root)?,
                kernel: lab.dir().join("vmlinuz-theirs"),
            };
            let image = root.join("boot").join(format!("vmlinuz-{version}"));
            std::fs::copy(&image, &initrds.kernel)
                .with_context(|| format!("copying {}", image.display()))?;
            for round in 1..=rounds {
                let took = step(&format!("initrd, ours, round {round}"), || {
                    build_ours(lab, root, &version, &initrds.ours)
                })?;
                initrds.our_times.push(took);
                let took = step(&format!("initrd, peer, round {round}"), || {
                    initramfs::build(root, &version, &initrds.theirs)
                })?;
                initrds.their_times.push(took);
            }
            Ok(initrds)
        })
    }

    fn their_boot(&self) -> Boot {
        Boot::Direct {
            kernel: self.kernel.clone(),
            initrd: self.theirs.clone(),
            append: COMMAND_LINE.to_owned(),
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let megabytes =
            |path: &Path| std::fs::metadata(path).map_or(f64::NAN, |m| m.len() as f64) / 1e6;
        vec![
            seconds(
                "building the initrd, s",
                &self.our_times,
                &self.their_times,
                0.05,
            ),
            Measure {
                name: "initrd size, MB".to_owned(),
                ours: megabytes(&self.ours),
                peer: megabytes(&self.theirs),
                limit: 0.15,
            },
        ]
    }
}

fn build_ours(lab: &Lab, root: &Path, version: &str, output: &Path) -> Result<Duration> {
    let start = Instant::now();
    Cmd::new(lab.binary(), "building our initrd")
        .args(["initrd", "--force", "--kernel", version, "--root"])
        .arg(root)
        .arg("--output")
        .arg(output)
        .run()?;
    Ok(start.elapsed())
}

fn newest_kernel(root: &Path) -> Result<String> {
    let dir = root.join("lib/modules");
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let name = entry.context("reading the kernels")?.file_name();
        versions.push(name.to_string_lossy().into_owned());
    }
    versions.sort();
    versions.pop().context("the peer's root has no kernel")
}

/// A machine that has been booted to SSH, and what that took.
struct Booted {
    seconds: f64,
    used_mb: f64,
}

fn boots(
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

fn seconds(name: &str, ours: &[Duration], theirs: &[Duration], limit: f64) -> Measure {
    let of =
        |times: &[Duration]| median(&times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>());
    Measure {
        name: name.to_owned(),
        ours: of(ours),
        peer: of(theirs),
        limit,
    }
}
