//! The acceptance of a transfer: machines made by script from Debian's packages
//! move into instances and start there, each with its files and as well as
//! before.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use p2v_tests::moving::{self, Times, Way, trouble};
use p2v_tests::progress::step;
use p2v_tests::sources::{self, BTRFS, EXT3, EXT4, Recipe, XFS};
use p2v_tests::{GIB, Lab, leftovers};

/// Moves every source machine into an instance and starts it there
#[derive(Parser)]
struct Args {
    /// Tree that `make install` has filled
    stage: Option<PathBuf>,
    /// Only the moves with these numbers
    #[arg(long, value_name = "NUMBER")]
    only: Vec<usize>,
    /// Only makes them, and starts each on its own hardware
    #[arg(long)]
    before: bool,
}

/// A machine's move.
struct Move {
    recipe: &'static Recipe,
    /// Bytes of the disk that it moves to.
    size: u64,
    how: How,
}

enum How {
    By(Way),
    /// Through all that can go wrong.
    Trouble,
}

const MOVES: &[Move] = &[
    Move {
        recipe: &EXT4,
        size: 8 * GIB,
        how: How::By(Way::Whole),
    },
    Move {
        recipe: &XFS,
        size: 6 * GIB,
        how: How::By(Way::Whole),
    },
    Move {
        recipe: &BTRFS,
        size: 6 * GIB,
        how: How::By(Way::Whole),
    },
    Move {
        recipe: &EXT3,
        size: 4 * GIB,
        how: How::By(Way::Whole),
    },
    // Onto a disk that is smaller than its own.
    Move {
        recipe: &EXT4,
        size: 3 * GIB,
        how: How::By(Way::Breaking { cuts: 10 }),
    },
    Move {
        recipe: &EXT4,
        size: 8 * GIB,
        how: How::Trouble,
    },
];

impl Move {
    fn about(&self) -> String {
        let how = match self.how {
            How::By(Way::Whole) => String::new(),
            How::By(Way::Breaking { cuts }) => format!(", {cuts} cuts"),
            How::Trouble => ", killed at every end".to_owned(),
        };
        let (old, new) = (self.recipe.disk / GIB, self.size / GIB);
        format!("{}; {old} to {new} GiB{how}", self.recipe.about)
    }
}

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
    for (index, one) in MOVES.iter().enumerate() {
        let number = index + 1;
        if !args.only.is_empty() && !args.only.contains(&number) {
            continue;
        }
        println!("{number}. {}", one.about());
        // Each one's fate is told, whatever became of the others.
        let result = move_one(args, one).unwrap_or_else(|error| {
            eprintln!("  number {number} failed: {error:#}");
            failed += 1;
            "FAILED".to_owned()
        });
        rows.push((format!("{number}. {}", one.about()), result));
    }
    let width = rows.iter().map(|(about, _)| about.chars().count()).max();
    let width = width.unwrap_or(0);
    println!("\n{:<width$}  {HEADING}", "source");
    for (about, result) in rows {
        println!("{about:<width$}  {result}");
    }
    ensure!(failed == 0, "{failed} moves failed");
    Ok(())
}

fn move_one(args: &Args, one: &Move) -> Result<String> {
    let recipe = one.recipe;
    let lab = match &args.stage {
        Some(stage) => Lab::of_stage(recipe.name, stage)?,
        None => Lab::new(recipe.name)?,
    };
    lab.run(|lab| {
        let source = step("make the source", || sources::ready(recipe))?;
        let before = step("start it on its own hardware", || source.before(lab.dir()))?;
        if args.before {
            println!("    {before:?}");
            return Ok(String::new());
        }
        let result = match one.how {
            How::By(way) => moving::migrate(lab, &source, one.size, way, &before).map(figures)?,
            How::Trouble => {
                trouble::migrate(lab, &source, one.size, &before)?;
                "well".to_owned()
            }
        };
        let left = leftovers::find(lab.dir());
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(result)
    })
}

const HEADING: &str = "ready s  transfer s  boot s";

fn figures(times: Times) -> String {
    format!(
        "{:7.1}  {:10.1}  {:6.1}",
        times.ready.as_secs_f64(),
        times.transfer.as_secs_f64(),
        times.boot.as_secs_f64()
    )
}
