//! `p2v image`: the cached bootstrap roots, for who looks after a node.

mod catalogue;
mod text;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use p2v_bootstrap::{Outcome, PruneRules, Verdict};
use p2v_ganeti::job::OsParameters;
use p2v_ganeti::variants;
use p2v_sys::supervise;

use crate::help::Help;
use crate::log;
use catalogue::Catalogue;

/// What its help says.
pub const HELP: Help = Help {
    description: &[
        "An image is the Debian system that create unpacks onto an instance's disk, packed in the \
         node's cache. Create builds the one that it needs where there is none, which takes \
         minutes; here it is built before. IMAGE is its name, the beginning of one, or a variant.",
        "Images are used by several programs at once. One that a create reads or somebody builds \
         is never removed, and none is seen before it is complete.",
    ],
    statuses: &[
        (0, "It is done; all that was verified is whole."),
        (1, "An image is damaged, or it could not be done."),
    ],
    examples: &[
        ("p2v image list", "See what the cache holds"),
        (
            "p2v image build",
            "Build what the variants need, before the first create",
        ),
        (
            "p2v image build --rebuild default",
            "Build it anew, with the security updates of today",
        ),
        (
            "p2v image prune --unused --older-than 30 --dry-run",
            "See what would be removed",
        ),
    ],
};

#[derive(Subcommand)]
enum ImageCommand {
    /// Lists the images with their sizes and ages
    List(ListArgs),
    /// Builds what creates of the variants will take from the cache
    Build(BuildArgs),
    /// Reads images and compares their checksums
    Verify(VerifyArgs),
    /// Removes images, and what killed runs left
    Prune(PruneArgs),
    /// Shows all that is known of an image
    Show(ShowArgs),
}

#[derive(Args)]
struct ListArgs {
    /// Print it as JSON; sizes are in bytes, ages in seconds
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct BuildArgs {
    /// Variant to build for [default: every one that Ganeti offers]
    #[arg(value_name = "VARIANT")]
    variants: Vec<String>,
    /// OS parameter that the creates will be given too; may be repeated
    #[arg(short = 'O', long = "os-parameter", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Build it anew where it is there; until it is done, the old one stays
    #[arg(long)]
    rebuild: bool,
}

#[derive(Args)]
struct VerifyArgs {
    /// Image to verify [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("rules").required(true).multiple(true)
    .args(["older_than", "unused", "damaged", "keep"]))]
struct PruneArgs {
    /// Remove those that are so old; initrds too
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// Remove those that no variant uses
    #[arg(long)]
    unused: bool,
    /// Remove those that are damaged
    #[arg(long)]
    damaged: bool,
    /// Keep the newest ones in any case; alone: remove all others
    #[arg(long, value_name = "COUNT")]
    keep: Option<usize>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct ShowArgs {
    /// Image to show
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Print it as JSON; sizes are in bytes, ages in seconds
    #[arg(long)]
    json: bool,
}

/// The cached roots.
pub fn image() -> Command {
    ImageCommand::augment_subcommands(Command::new("image"))
        .about("Lists, builds, verifies and removes the cached bootstrap roots")
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// Does what the subcommand says.
pub fn run_image(matches: &ArgMatches) -> Result<u8> {
    match ImageCommand::from_arg_matches(matches)? {
        ImageCommand::List(args) => list(&args),
        // The tools that build are gone with us, whatever ends us.
        ImageCommand::Build(args) => supervise::run(move || match build(&args) {
            Ok(()) => 0,
            Err(error) => {
                log::error(&error);
                1
            }
        }),
        ImageCommand::Verify(args) => verify(&args),
        ImageCommand::Prune(args) => prune(&args),
        ImageCommand::Show(args) => show(&args),
    }
}

fn say(text: &str) -> Result<()> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.context("writing the answer")
}

fn list(args: &ListArgs) -> Result<u8> {
    let catalogue = Catalogue::open()?;
    catalogue.warn();
    let listing = catalogue.listing()?;
    say(&match args.json {
        true => text::json(&listing),
        false => text::table(&listing),
    })?;
    Ok(0)
}

fn show(args: &ShowArgs) -> Result<u8> {
    let catalogue = Catalogue::open()?;
    let entry = catalogue.find(&args.image)?;
    say(&match args.json {
        true => text::json(&entry),
        false => text::card(&entry),
    })?;
    Ok(0)
}

fn build(args: &BuildArgs) -> Result<()> {
    let catalogue = Catalogue::open()?;
    let given = parameters(&args.parameters)?;
    let names = match args.variants.as_slice() {
        [] => catalogue.offered()?,
        names => names.to_vec(),
    };
    let mut done = BTreeSet::new();
    for name in &names {
        let settings = variants::of(&catalogue.paths, name, &given)?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let recipe = settings.recipe();
        let key = recipe.key();
        if !done.insert(key.clone()) {
            continue;
        }
        let before = catalogue.cache.image(&key);
        // Somebody asks for it: GENERATE_CACHE is for what create does.
        let cache = settings.cache(&catalogue.paths).keeping();
        let root = match args.rebuild {
            true => cache.rebuild(&recipe)?,
            false => cache.obtain(&recipe)?,
        };
        let is_old = before.is_some_and(|image| image.metadata.as_ref() == Some(root.metadata()));
        let what = if is_old { "was there" } else { "built" };
        say(&format!(
            "{what}: {key}, {}\n",
            text::summary(root.metadata())
        ))?;
    }
    Ok(())
}

/// As create gets them: names in lower case.
fn parameters(given: &[String]) -> Result<OsParameters> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        }
        _ => bail!("reading the OS parameter {text:?}: write it as NAME=VALUE"),
    };
    given.iter().map(pair).collect()
}

fn verify(args: &VerifyArgs) -> Result<u8> {
    let catalogue = Catalogue::open()?;
    let entries = match args.images.as_slice() {
        [] => catalogue.listing()?.images,
        names => {
            let found = names.iter().map(|name| catalogue.find(name));
            found.collect::<Result<_>>()?
        }
    };
    let mut all_whole = true;
    for entry in &entries {
        let key = &entry.image.key;
        let line = match catalogue.cache.verify(key)? {
            Verdict::Whole => format!("whole: {key}\n"),
            Verdict::BeingBuilt => format!("being built: {key}\n"),
            Verdict::Damaged(damage) => {
                all_whole = false;
                let remedy = match entry.variants.first() {
                    Some(variant) => format!("p2v image build {variant}"),
                    None => "p2v image prune --damaged".to_owned(),
                };
                format!("damaged: {key}: {damage}\n  -> {}\n", remedy.trim_end())
            }
        };
        say(&line)?;
    }
    Ok(u8::from(!all_whole))
}

fn prune(args: &PruneArgs) -> Result<u8> {
    const DAY: u64 = 24 * 3600;
    let catalogue = Catalogue::open()?;
    let rules = PruneRules {
        older_than: args
            .older_than
            .map(|days| Duration::from_secs(u64::from(days) * DAY)),
        but: match args.unused {
            true => Some(catalogue.used_keys()?),
            false => None,
        },
        damaged: args.damaged,
        keep: args.keep,
    };
    let pruned = catalogue.cache.prune(&rules, args.dry_run)?;
    for one in &pruned {
        let what = match one.outcome {
            Outcome::Removed => "removed",
            Outcome::WouldBeRemoved => "would be removed",
            Outcome::InUse => "in use, stays",
        };
        let size = text::size(one.bytes);
        say(&format!("{what}: {}, {size}: {}\n", one.name, one.reason))?;
    }
    if pruned.is_empty() {
        say("nothing to remove\n")?;
    }
    Ok(0)
}
