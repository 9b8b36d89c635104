//! The proof that is the same for every filesystem.

use std::collections::BTreeMap;
use std::path::PathBuf;

use p2v_backup::ranges::Ranges;

use crate::image::Image;
use crate::oracle::{Oracle, ask, missing};
use crate::tree::describe;

type Tree = BTreeMap<PathBuf, String>;

/// How the proof is made for one kind of filesystem.
pub struct Judges {
    /// Fails unless the filesystem on the image is whole.
    pub check: &'static str,
    /// Who else tells what is in use.
    pub oracle: Oracle,
    /// Options of read-only mounts.
    pub options: &'static str,
    /// How much more than by the oracle may be in use: a factor, and bytes.
    pub slack: (f64, u64),
}

/// Proves that the image's used bytes are all that it takes; the image has
/// been unmounted. Prints one line.
pub fn prove(image: &Image, judges: &Judges, name: &str) {
    let oracle = ask(judges.oracle, &image.path);
    let used = image
        .used()
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let copy = image.copy_of(&used);
    copy.run(judges.check)
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    same_tree(image, &copy, judges, name);
    if let Some(wanted) = oracle.join().unwrap() {
        compare(&used, &wanted, judges, name);
    }
}

/// Proves it for an image that was not unmounted: a copy recovers to the same
/// tree as the image itself, which is recovered afterwards.
pub fn prove_recovery(image: &Image, judges: &Judges, name: &str) {
    let used = image
        .used()
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let copy = image.copy_of(&used);
    copy.recover();
    image.recover();
    copy.run(judges.check)
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let [ours, theirs] = [image, &copy].map(|image| recovered_tree(image, judges));
    same_lines(&ours, &theirs, name);
    let clean = image.used().unwrap();
    assert_eq!(missing(&used, &clean), None, "{name}");
    let most = clean.bytes() as f64 * judges.slack.0 + judges.slack.1 as f64;
    assert!(used.bytes() as f64 <= most, "{name}: {}", used.bytes());
}

fn same_tree(image: &Image, copy: &Image, judges: &Judges, name: &str) {
    let [ours, theirs] = [image, copy].map(|image| {
        let mounted = image.mount_read_only(judges.options);
        let tree = describe(mounted.root());
        mounted.close();
        tree
    });
    same_lines(&ours, &theirs, name);
}

fn same_lines(ours: &Tree, theirs: &Tree, name: &str) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (path, line) in ours {
        assert_eq!(theirs.get(path), Some(line), "{name}: {}", path.display());
    }
}

/// Recovery finishes truncations, and each gets its own time.
fn recovered_tree(image: &Image, judges: &Judges) -> Tree {
    let mounted = image.mount_read_only(judges.options);
    let mut tree = describe(mounted.root());
    mounted.close();
    for line in tree.values_mut() {
        let (before, rest) = line.split_once(" time ").unwrap();
        *line = format!("{before} {}", rest.split_once(' ').unwrap().1);
    }
    tree
}

pub fn compare(used: &Ranges, wanted: &Ranges, judges: &Judges, name: &str) {
    let (ours, theirs) = (used.bytes(), wanted.bytes());
    println!(
        "{name}: {} KiB, others {} KiB, ratio {:.4}",
        ours >> 10,
        theirs >> 10,
        ours as f64 / theirs as f64
    );
    if let Some(range) = missing(used, wanted) {
        panic!("{name}: {range:x?} is in use, say others");
    }
    let most = theirs as f64 * judges.slack.0 + judges.slack.1 as f64;
    assert!(ours as f64 <= most, "{name}: more than {most} bytes");
}
