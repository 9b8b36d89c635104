//! Brings up a Ganeti cluster on this machine, with the OS definition
//! installed, and lets somebody work in it, or a program, or the acceptance.
//! Everything is gone when that ends.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use p2v_sys::supervise;
use p2v_tests::ganeti_lab::acceptance::{self, Extent};
use p2v_tests::ganeti_lab::{Cluster, node_root};
use p2v_tests::progress::step;

/// A Ganeti cluster on this machine, gone when its work is done
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
    /// Leaves the OS definition out: the packages in this directory lie in the
    /// node's /root, to be installed as docs/install.md says
    #[arg(long, value_name = "DIR", conflicts_with_all = ["stage", "check"])]
    packages: Option<PathBuf>,
    /// Goes through the acceptance instead of a shell
    #[arg(
        long,
        value_name = "EXTENT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "whole",
        conflicts_with = "command"
    )]
    check: Option<Extent>,
    /// Command to run in the cluster instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // In namespaces of its own, so that what the work mounts and starts here,
    // outside of the cluster, ends with it too.
    let supervised = supervise::run(|| match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ganeti_lab: error: {error:#}");
            1
        }
    });
    match supervised {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ganeti_lab: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<u8> {
    let cluster = bring_up(args)?;
    if let Some(extent) = args.check {
        acceptance::run(&cluster, extent)?;
        return Ok(0);
    }
    if args.command.is_empty() {
        welcome(&cluster, args.packages.is_some());
        let shell = ["bash", "--login"].map(str::to_owned);
        cluster.node().interact(&shell)?;
        return Ok(0);
    }
    let status = cluster.node().interact(&args.command)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(1))
}

fn bring_up(args: &Args) -> Result<Cluster> {
    if !node_root::is_there()? {
        step("make the node's root, once", node_root::ready)?;
    }
    step("bring the cluster up", || match &args.packages {
        Some(packages) => Cluster::without_os_definition(packages),
        None => Cluster::up(args.stage.as_deref()),
    })
}

fn welcome(cluster: &Cluster, to_install: bool) {
    println!(
        "
This is node1.lab, the only node of cluster.lab, as root. Its storage is file,
its hypervisor kvm (emulated); what it writes is in {}.
",
        cluster.dir().display()
    );
    if to_install {
        println!(
            "There is no OS definition yet. The packages are in /root: follow docs/install.md.\n"
        );
    }
    println!(
        "  gnt-instance add -t file -s 2G -o p2v-target+default -n node1.lab \\
    --no-name-check --no-ip-check -B memory=2048,vcpus=2 \\
    --net 0:ip=198.51.100.50,network=lab-net --no-start web1.lab
  gnt-instance start web1.lab
  gnt-instance console web1.lab        (leave with Ctrl-])
  ssh root@198.51.100.50

The OS scripts' logs are in /var/log/ganeti/os. Leaving the shell ends it all.
"
    );
}
