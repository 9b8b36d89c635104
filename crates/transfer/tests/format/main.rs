//! A filesystem made like another one has its features, as the filesystem's
//! own tools tell them. On image files: nothing here needs root.

mod btrfs;
mod ext;
mod refused;
mod xfs;

use std::path::Path;
use std::process::Command;

use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use p2v_testing::image;
use p2v_transfer::format::{Format, label_bytes, label_text, make_swap};
use p2v_transfer::source::Identity;

const UUID: &str = "2b0f8d1e-6a3c-4d5e-9f70-8192a3b4c5d6";

/// Runs a tool and returns what it prints.
fn tool(line: &str, at: &Path) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .arg(at)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{line}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn whole(path: &Path, kind: &str) -> Format {
    Format::of(path, Extent::default(), kind).unwrap()
}

/// A second filesystem in the first one's format, and the identity given.
fn made_like(first: &Path, kind: &str, size: u64) -> tempfile::NamedTempFile {
    let format = whole(first, kind);
    let text = serde_json::to_string(&format).unwrap();
    let format: Format = serde_json::from_str(&text).unwrap();
    let second = image(size);
    let identity = Identity {
        uuid: Some(UUID.to_owned()),
        label: Some("a b\"\\xff".to_owned()),
    };
    format
        .make(second.path(), &identity)
        .unwrap_or_else(|error| panic!("{format:?}: {error:#}"));
    if first.metadata().unwrap().len() == size {
        assert_eq!(whole(second.path(), kind), format);
    }
    second
}

/// Whether this mkfs could make it; older ones do not know all.
fn could(line: &str, at: &Path) -> bool {
    let mut words = line.split_whitespace();
    let command = Cmd::new(words.next().unwrap(), "trying")
        .args(words)
        .arg(at);
    let made = command.run().is_ok();
    if !made {
        p2v_testing::skip(&format!("no {line} here"));
    }
    made
}

#[test]
fn a_part_of_a_disk_is_read_by_itself() {
    let disk = image(600 << 20);
    Cmd::new("mke2fs", "making")
        .args(["-q", "-F", "-t", "ext3", "-E", "offset=104857600"])
        .arg(disk.path())
        .arg("64M")
        .run()
        .unwrap();
    let extent = Extent {
        offset: 100 << 20,
        length: 64 << 20,
    };
    let format = Format::of(disk.path(), extent, "ext3").unwrap();
    let features = format.value("-O").unwrap();
    assert!(features.starts_with("none,has_journal"), "{features}");
    assert!(Format::of(disk.path(), Extent::default(), "ext3").is_err());
}

#[test]
fn swap_and_labels_of_any_bytes() {
    let target = image(16 << 20);
    let odd = label_text(b"s \xfe\"\\").unwrap();
    let identity = Identity {
        uuid: Some(UUID.to_owned()),
        label: Some(odd.clone()),
    };
    make_swap(target.path(), &identity).unwrap();
    let bytes = std::fs::read(target.path()).unwrap();
    assert_eq!(&bytes[1052..1052 + 5], label_bytes(&odd));
    let found = tool("blkid -p -o value -s UUID", target.path());
    assert_eq!(found.trim(), UUID);
}
