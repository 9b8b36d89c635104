//! A disk in letters: proportions, widths and locales.

use std::path::PathBuf;

use super::*;
use crate::format::Format;
use crate::source::{Filesystem, Identity, MountPoint, VERSION};

const GIB: u64 = 1 << 30;

fn area(number: u32, start: u64, size: u64, content: Content) -> Area {
    Area {
        number,
        start,
        size,
        names: vec!["UUID=12345678-1234-1234-1234-123456789abc".to_owned()],
        content,
    }
}

fn filesystem(used: u64, mounts: &[&str]) -> Content {
    let mounts = mounts.iter().map(|path| MountPoint::of(path, None));
    Content::Filesystem(Filesystem {
        format: Format {
            kind: "ext4".to_owned(),
            options: Vec::new(),
        },
        identity: Identity::default(),
        used,
        inodes: 0,
        mounts: mounts.collect(),
    })
}

fn disk(size: u64, areas: Vec<Area>) -> Disk {
    Disk {
        path: PathBuf::from("/dev/sda"),
        names: Vec::new(),
        model: Some("A disk\u{1b}[31m".to_owned()),
        hardware: None,
        size,
        sector_size: 512,
        table: None,
        areas,
    }
}

fn bar(disk: &Disk) -> String {
    bar::drawn(disk, Letters::Ascii, 22)
}

#[test]
fn bars_are_in_proportion() {
    let half = vec![area(1, 0, 10 * GIB, filesystem(5 * GIB, &["/"]))];
    assert_eq!(bar(&disk(10 * GIB, half)), "|##########..........|");
    let swap = vec![
        area(1, 0, 6 * GIB, filesystem(0, &["/"])),
        area(2, 6 * GIB, 4 * GIB, Content::Swap(Identity::default())),
    ];
    assert_eq!(bar(&disk(10 * GIB, swap)), "|...........|========|");
    let gap = vec![area(1, 0, 5 * GIB, Content::Nothing)];
    assert_eq!(bar(&disk(10 * GIB, gap)), "|??????????|         |");
    assert_eq!(bar(&disk(10 * GIB, Vec::new())), "|                    |");
    // The least is seen, and the width kept.
    let tiny = (0..4).map(|n| area(n, u64::from(n), 1, Content::BiosBoot));
    let tiny = tiny.chain([area(9, 4, 100 * GIB, filesystem(1, &["/"]))]);
    assert_eq!(
        bar(&disk(100 * GIB, tiny.collect())),
        "|?|?|?|?|#...........|"
    );
    let many = (0..128).map(|n| area(n, u64::from(n), 1, Content::BiosBoot));
    assert!(bar(&disk(128, many.collect())).chars().count() <= 22);
    // Sizes that nothing can have.
    let absurd = vec![area(1, u64::MAX, u64::MAX, filesystem(u64::MAX, &["/"]))];
    assert_eq!(bar(&disk(u64::MAX, absurd)).chars().count(), 22);
    assert_eq!(bar(&disk(0, Vec::new())), "|");
}

#[test]
fn no_line_is_too_wide_and_no_letter_dangerous() {
    let long = [
        "/a/path/that/is/very/long/indeed",
        "/and/another/one/\u{202e}",
    ];
    let area = area(1, 0, GIB, filesystem(GIB / 2, &long));
    let system = System {
        name: Some("Debian\u{7}\nfake: line".repeat(20)),
        ..System::default()
    };
    let source = Source {
        version: VERSION,
        disks: vec![disk(GIB, vec![area])],
        system,
        obstacles: vec!["much ".repeat(50)],
        remarks: Vec::new(),
    };
    for letters in [Letters::Ascii, Letters::Unicode] {
        let text = text(&source, letters);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(bad), "{text:?}");
        assert!(!text.contains("\nfake"));
        assert!(text.contains("It cannot be moved"));
        assert_eq!(letters == Letters::Ascii, !text.contains('█'));
    }
}

#[test]
fn locales() {
    for (locale, letters) in [
        ("de_DE.UTF-8", Letters::Unicode),
        ("C.utf8", Letters::Unicode),
        ("C", Letters::Ascii),
        ("", Letters::Ascii),
        ("de_DE@euro", Letters::Ascii),
    ] {
        assert_eq!(Letters::of_locale(locale), letters, "{locale}");
    }
    assert_eq!(size(1536 << 20), "1.5 GiB");
    assert_eq!(size(0), "0.0 KiB");
}
