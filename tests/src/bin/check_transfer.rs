//! The acceptance of a transfer: machines made by script from Debian's packages
//! move into instances and start there, each with its files and as well as
//! before.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use p2v_tests::moving::{self, Times, Way};
use p2v_tests::progress::step;
use p2v_tests::sources::{self, BTRFS, EXT3, EXT4, Recipe, XFS};
use p2v_tests::{GIB, Lab, leftovers};

/// Moves every source machine into an instance and starts it there
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
    /// Only the sources with these numbers
    #[arg(long, value_name = "NUMBER")]
    only: Vec<usize>,
    /// Only makes them, and starts each on its own hardware
    #[arg(long)]
    before: bool,
}

/// A source, and the size of the disk that it moves to.
const MOVES: &[(&Recipe, u64)] = &[
    (&EXT4, 8 * GIB),
    (&XFS, 6 * GIB),
    (&BTRFS, 6 * GIB),
    (&EXT3, 4 * GIB),
    // Onto a disk that is smaller than its own.
    (&EXT4, 3 * GIB),
];

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("check-transfer: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "this makes disks and mounts them; run it as root"
    );
    let mut rows = Vec::new();
    let mut failed = 0;
    for (index, (recipe, size)) in MOVES.iter().enumerate() {
        let number = index + 1;
        if !args.only.is_empty() && !args.only.contains(&number) {
            continue;
        }
        println!(
            "{number}. {}, {} GiB to {} GiB",
            recipe.about,
            recipe.disk / GIB,
            size / GIB
        );
        // Each one's fate is told, whatever became of the others.
        let result = move_one(args, recipe, *size).unwrap_or_else(|error| {
            eprintln!("  source {number} failed: {error:#}");
            failed += 1;
            "FAILED".to_owned()
        });
        rows.push(format!("{number}. {:<58} {result}", recipe.about));
    }
    println!("\n{:<61} {}", "source", HEADING);
    for row in rows {
        println!("{row}");
    }
    ensure!(failed == 0, "{failed} sources failed");
    Ok(())
}

fn move_one(args: &Args, recipe: &'static Recipe, size: u64) -> Result<String> {
    let lab = match &args.stage {
        Some(stage) => Lab::of_stage(recipe.name, stage)?,
        None => Lab::new(recipe.name)?,
    };
    lab.run(|lab| {
        let source = step("make the source", || sources::ready(recipe))?;
        let before = step("start it on its own hardware", || source.before(lab.dir()))?;
        if args.before {
            println!("    {:?}", before);
            return Ok(String::new());
        }
        let times = moving::migrate(lab, &source, size, Way::Whole, &before)?;
        let left = leftovers::find(lab.dir());
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(figures(&times))
    })
}

const HEADING: &str = "ready s  transfer s  boot s";

fn figures(times: &Times) -> String {
    format!(
        "{:7.1}  {:10.1}  {:6.1}",
        times.ready.as_secs_f64(),
        times.transfer.as_secs_f64(),
        times.boot.as_secs_f64()
    )
}
