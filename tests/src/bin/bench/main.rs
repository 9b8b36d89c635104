//! Measures the product against its peers, side by side in one run, and prints
//! a table. Exits with status 1 if a limit is missed or a measurement fails.

mod backups;
mod boots;
mod copies;
mod creates;
mod initrds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use p2v_sys::Cmd;
use p2v_tests::peer::debootstrap::InstanceDebootstrap;
use p2v_tests::peer::initramfs::PeerRoot;
use p2v_tests::progress::step;
use p2v_tests::qemu::Boot;
use p2v_tests::table::{Measure, median, render};
use p2v_tests::{Created, GIB, Instance, Lab};

use initrds::Initrds;

/// The instance that is booted.
const INSTANCE: &str = "bench.example.org";

/// Of both machines; the disks have no partitions.
const COMMAND_LINE: &str = "root=/dev/vda ro console=tty0 console=ttyS0,38400";

/// Measures p2v-target against ganeti-instance-debootstrap and initramfs-tools
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
    /// Rounds of create, of backups and of the initrds; the medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rounds of booting; the medians are shown. 0: neither initrds nor boots
    #[arg(long, default_value_t = 1)]
    boots: usize,
    /// Measure only the copy of a transfer
    #[arg(long)]
    copies: bool,
    /// Be the far end of a copy into this directory
    #[arg(long, hide = true, value_name = "DIR")]
    far_end: Option<PathBuf>,
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
    if let Some(top) = &args.far_end {
        return copies::far_end(top).map(|()| true);
    }
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
    if args.copies {
        return copies::measures(lab, &peer, args.rounds);
    }
    println!("Measuring, {} rounds, {} boots:", args.rounds, args.boots);
    let mut measures = vec![creates::creates(lab, &peer, args.rounds)?];
    measures.extend(backups::measures(lab, &peer, args.rounds)?);
    measures.extend(copies::measures(lab, &peer, args.rounds)?);
    if args.boots == 0 {
        return Ok(measures);
    }
    let peer_root = step("the peer's disk to boot", || {
        PeerRoot::prepare(&peer, lab.key(), lab.dir())
    })?;
    let initrds = Initrds::build(lab, &peer_root, args.rounds)?;
    measures.extend(initrds.measures());
    measures.extend(boots::boots(lab, &ours, &peer_root, &initrds, args.boots)?);
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
