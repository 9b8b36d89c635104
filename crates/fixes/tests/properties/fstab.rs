//! fstab: the device changes, or the options where it did not come along.

use std::collections::BTreeMap;

use p2v_fixes::Verdict;
use p2v_fixes::machine::Machine;

use crate::random::Random;
use crate::{Case, blank, pick, run, stranger};

const MACHINE: &str = r#"{"volumes": [
    {"device": "/dev/vda1", "kind": "ext4", "uuid": "aaaa", "partuuid": "01-01",
     "mount_point": "/", "was": ["/dev/sda1", "UUID=old-a", "/dev/mapper/vg-root"]},
    {"device": "/dev/vda2", "kind": "ext4", "uuid": "bbbb", "label": "ho me",
     "mount_point": "/home", "was": ["/dev/sda5", "LABEL=home"]},
    {"device": "/dev/vda3", "kind": "swap", "uuid": "cccc", "was": ["/dev/sda2"]}],
    "gone": ["UUID=dead", "/dev/sdb1"]}"#;

/// A device, what it is called now, and its type.
const DEVICES: [(&str, Option<&str>, &str); 14] = [
    ("/dev/sda1", Some("UUID=aaaa"), "ext4"),
    ("UUID=old-a", Some("UUID=aaaa"), "ext3"),
    ("UUID=\"old-a\"", Some("UUID=aaaa"), "auto"),
    ("/dev/mapper/vg-root", Some("UUID=aaaa"), "ext4"),
    ("/dev/sda5", Some("UUID=bbbb"), "ext4"),
    ("LABEL=home", Some("LABEL=ho\\040me"), "ext2"),
    ("/dev/sda2", Some("UUID=cccc"), "swap"),
    ("UUID=aaaa", Some("UUID=aaaa"), "ext4"),
    ("PARTUUID=01-01", Some("PARTUUID=01-01"), "ext4"),
    ("tmpfs", Some("tmpfs"), "tmpfs"),
    ("nas:/export", Some("nas:/export"), "nfs"),
    ("UUID=dead", None, "ext4"),
    ("/dev/sdb1", None, "xfs"),
    ("/swap.img", None, "swap"),
];

/// Where it is mounted: no mount point of a volume that is there, or what did
/// not come along would be taken for it.
const POINTS: [&str; 5] = ["/srv", "/mnt/a\\040b", "none", "/opt/\u{e9}", "/var/lib/x"];

const OPTIONS: [&str; 5] = [
    "defaults",
    "ro",
    "rw,relatime,x=y",
    "subvol=@",
    "noatime,nofail",
];

/// A line, and what it becomes.
fn line(random: &mut Random) -> (String, String) {
    let (device, now, kind) = *pick(random, &DEVICES);
    let fields = 2 + random.below(6) as usize;
    let options = *pick(random, &OPTIONS);
    let others = [*pick(random, &POINTS), kind, options, "0", "2", "# x"];
    let before = *pick(random, &["", "", " ", "\t"]);
    let mut texts = [
        before.to_owned() + device,
        before.to_owned() + now.unwrap_or(device),
    ];
    for (index, other) in others[..fields - 1].iter().enumerate() {
        let space = blank(random);
        texts[0] += &format!("{space}{other}");
        let waits = now.is_none() && index == 2 && !options.contains("nofail");
        texts[1] += &format!("{space}{other}{}", if waits { ",nofail" } else { "" });
    }
    match (now, fields) {
        // A swap file is known by its type.
        (None, 2) if kind != "swap" => texts[1] += " auto defaults,nofail",
        (None, 3) => texts[1] += " defaults,nofail",
        _ => {}
    }
    let after = *pick(random, &["", "", " ", "\t\t"]);
    if after.is_empty() || now.is_some() || fields > 3 {
        texts = texts.map(|text| text + after);
    }
    let [old, new] = texts;
    (old, new)
}

#[test]
fn only_the_device_or_the_options_of_a_line_change() {
    let machine: Machine = serde_json::from_str(MACHINE).unwrap();
    let mut changed = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let end = Case::end(&mut random);
        let mut case = Case::default();
        case.line(
            b"UUID=aaaa / ext4 defaults 0 1",
            b"UUID=aaaa / ext4 defaults 0 1",
            end,
        );
        for _ in 0..random.below(12) {
            if random.below(3) == 0 {
                let text = stranger(&mut random);
                case.line(&text, &text, end);
            } else {
                let (old, new) = line(&mut random);
                case.line(old.as_bytes(), new.as_bytes(), end);
            }
        }
        if random.below(3) == 0 {
            case.without_last_end();
        }
        let files = BTreeMap::from([("etc/fstab".to_owned(), case.clone())]);
        let verdict = run("repair-fstab", &machine, &files);
        let says_so = matches!(verdict, Verdict::Changed(_));
        assert_eq!(says_so, case.old != case.new, "{verdict:?}");
        changed += usize::from(says_so);
    }
    assert!((200..400).contains(&changed), "{changed} of them changed");
}

#[test]
fn a_line_for_the_root_is_all_that_is_added() {
    let machine: Machine = serde_json::from_str(MACHINE).unwrap();
    for seed in 0..60 {
        let mut random = Random(seed);
        let end = Case::end(&mut random);
        let mut case = Case::default();
        case.line(b"proc /proc proc", b"proc /proc proc", end);
        for _ in 0..random.below(5) {
            let text = stranger(&mut random);
            case.line(&text, &text, end);
        }
        if random.below(2) == 0 && case.old.ends_with(b"proc\n") {
            case.old.pop();
        }
        case.new
            .extend_from_slice(b"UUID=aaaa / ext4 defaults 0 1\n");
        let files = BTreeMap::from([("etc/fstab".to_owned(), case)]);
        assert!(matches!(
            run("repair-fstab", &machine, &files),
            Verdict::Changed(_)
        ));
    }
}
