//! Cards that exchange their names, or hand them on: each word becomes what its
//! card is called now, once, however often the fix runs, and anew after a copy
//! has brought the source's files back.

use std::collections::BTreeMap;

use p2v_fixes::machine::{Machine, Nic};
use p2v_fixes::{Draft, Verdict, by_name};
use p2v_sys::Root;

use crate::random::Random;
use crate::{Case, pick, stranger};

/// What the cards were called, each with its address.
const OLD: [(&str, &str); 3] = [
    ("eth0", "00:11:22:33:44:50"),
    ("eth1", "00:11:22:33:44:51"),
    ("eth2", "00:11:22:33:44:52"),
];

/// What they can be called now: the same names, and one that nobody had.
const NEW: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// Where a configuration lies, and its lines, in which `{card}` and `{mac}`
/// stand for what changes. `{own}` in a path is the card that the file is named
/// after.
const KINDS: [(&str, &[&str]); 5] = [
    (
        "etc/network/interfaces",
        &[
            "auto lo {card}",
            "iface {card}:1 inet dhcp",
            "  bridge_ports {card} {card}.7",
            "\tup ip route add 198.51.100.0/24 dev {card}",
        ],
    ),
    (
        "etc/netplan/01-all.yaml",
        &[
            "    {card}:",
            "      match: {macaddress: \"{mac}\"}",
            "      interfaces: [{card}, veth0]",
        ],
    ),
    (
        "etc/systemd/network/10-lan.network",
        &["Name={card} {card}", "MACAddress={mac}", "Description=eth0"],
    ),
    (
        "etc/NetworkManager/system-connections/lan.nmconnection",
        &["interface-name={card}", "mac-address={mac}", "id=eth0"],
    ),
    (
        "etc/sysconfig/network-scripts/ifcfg-{own}",
        &["DEVICE={card}", "HWADDR={mac}", "ONBOOT=yes"],
    ),
];

/// Cards in any order; sometimes one has the address of another one before.
fn cards(random: &mut Random) -> Vec<Nic> {
    let mut names = NEW.to_vec();
    let card = |(index, (old_name, old_mac)): (usize, &(&str, &str))| {
        let name = names.remove(random.below(names.len() as u64) as usize);
        Nic {
            name: name.to_owned(),
            mac: format!("aa:00:00:00:00:0{index}"),
            old_name: Some((*old_name).to_owned()),
            old_mac: Some((*old_mac).to_owned()),
        }
    };
    let mut cards: Vec<Nic> = OLD.iter().enumerate().map(card).collect();
    if random.below(4) == 0 {
        OLD[1].1.clone_into(&mut cards[0].mac);
    }
    cards
}

/// A made-up file, for cards that are called so now.
fn case(random: &mut Random, lines: &[&str], cards: &[Nic]) -> Case {
    let end = Case::end(random);
    let mut case = Case::default();
    if lines[0].starts_with("Name=") {
        case.line(b"[Match]", b"[Match]", end);
    }
    for _ in 0..random.below(9) {
        if random.below(4) == 0 {
            let text = stranger(random);
            case.line(&text, &text, end);
            continue;
        }
        let (mut old, mut new) = (String::new(), String::new());
        let mut rest = *pick(random, lines);
        while let Some((before, (word, after))) = split(rest) {
            let card = pick(random, cards);
            let was = (card.old_name.as_deref(), card.old_mac.as_deref());
            let (was_called, had) = (was.0.unwrap(), was.1.unwrap());
            // Whoever has an address now is the one that is meant.
            let stays = cards.iter().any(|other| other.mac == had);
            let (was, is) = match word {
                "{card}" => (was_called, card.name.as_str()),
                _ if stays => (had, had),
                _ => (had, card.mac.as_str()),
            };
            old += &format!("{before}{was}");
            new += &format!("{before}{is}");
            rest = after;
        }
        case.line((old + rest).as_bytes(), (new + rest).as_bytes(), end);
    }
    case
}

/// A line up to its first word that changes, that word, and what follows.
fn split(line: &str) -> Option<(&str, (&str, &str))> {
    let at = [line.find("{card}"), line.find("{mac}")];
    let start = at.into_iter().flatten().min()?;
    let end = start + line[start..].find('}')? + 1;
    Some((&line[..start], (&line[start..end], &line[end..])))
}

type Files = BTreeMap<String, Vec<u8>>;

/// A whole configuration as it is, and as it must become.
fn configuration(random: &mut Random, cards: &[Nic]) -> (Files, Files) {
    let (mut old, mut new) = (Files::new(), Files::new());
    for (path, lines) in KINDS {
        let owners = if path.contains("{own}") {
            cards
        } else {
            &cards[..1]
        };
        for owner in owners {
            if random.below(3) == 0 {
                continue;
            }
            let case = case(random, lines, cards);
            let named = |name: &str| path.replace("{own}", name);
            old.insert(named(owner.old_name.as_deref().unwrap()), case.old);
            new.insert(named(&owner.name), case.new);
        }
    }
    (old, new)
}

/// Makes the directory hold these files and no others, as a copy does.
fn copy(files: &Files, root: &Root) {
    for entry in std::fs::read_dir(root.path()).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }
    for (path, bytes) in files {
        root.write(path, bytes, 0o644).unwrap();
    }
}

/// Runs the fix, and makes what it drafted.
fn run(machine: &Machine, root: &Root) -> (Verdict, bool) {
    let mut draft = Draft::new(root);
    let verdict = (by_name("rename-nics").unwrap().run)(machine, &mut draft).unwrap();
    let changes = !draft.is_empty();
    draft.apply().unwrap();
    (verdict, changes)
}

fn check(files: &Files, old: &Files, root: &Root, seed: u64) {
    for path in files.keys().chain(old.keys()) {
        let found = root
            .exists(path)
            .then(|| root.read(path).unwrap())
            .flatten();
        let shown = |bytes: Option<&Vec<u8>>| bytes.map(|it| it.escape_ascii().to_string());
        assert!(
            found.as_ref() == files.get(path),
            "seed {seed}, {path}:\n{:?}\nbecame\n{:?}\nnot\n{:?}",
            shown(old.get(path)),
            shown(found.as_ref()),
            shown(files.get(path))
        );
    }
}

#[test]
fn every_run_and_every_copy_ends_in_the_same_names() {
    let mut exchanged = 0;
    for seed in 0..100 {
        let mut random = Random(seed);
        let cards = cards(&mut random);
        let (old, new) = configuration(&mut random, &cards);
        let keeps = |card: &Nic| card.old_name.as_ref() == Some(&card.name);
        let machine = Machine {
            nics: cards.clone(),
            ..Machine::default()
        };
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        for _ in 0..2 {
            copy(&old, &root);
            let (verdict, changes) = run(&machine, &root);
            check(&new, &old, &root, seed);
            assert_eq!(
                matches!(verdict, Verdict::Changed(_)),
                changes,
                "{seed}: {verdict:?}"
            );
            for _ in 0..2 {
                let (verdict, changes) = run(&machine, &root);
                check(&new, &old, &root, seed);
                let quiet = !changes && !matches!(verdict, Verdict::Changed(_));
                assert!(quiet, "seed {seed}, once more: {verdict:?}");
            }
        }
        exchanged += usize::from(!cards.iter().all(keeps) && old != new);
    }
    assert!((60..100).contains(&exchanged), "{exchanged}");
}

/// A run that was killed while it wrote: nothing is renamed twice, and what was
/// not reached is named.
#[test]
fn a_run_that_was_killed_amid_its_writes_renames_nothing_twice() {
    let nic = |name: &str, mac: &str, old: &str| Nic {
        name: name.to_owned(),
        mac: mac.to_owned(),
        old_name: Some(old.to_owned()),
        ..Nic::default()
    };
    let cards = [
        nic("eth1", "aa:00:00:00:00:01", "eth0"),
        nic("eth0", "aa:00:00:00:00:02", "eth1"),
    ];
    let machine = Machine {
        nics: cards.to_vec(),
        ..Machine::default()
    };
    let text = |first: &str, second: &str| format!("auto {first}\niface {second} inet dhcp\n");
    let (first, last) = ("etc/network/interfaces", "etc/network/interfaces.d/x");
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    for path in [first, last] {
        root.write(path, text("eth0", "eth1"), 0o644).unwrap();
    }
    let mut draft = Draft::new(&root);
    let fix = by_name("rename-nics").unwrap().run;
    fix(&machine, &mut draft).unwrap();
    let record = draft.paths().next().unwrap().to_owned();
    let bytes = draft.read(&record).unwrap().unwrap();
    // The first of them alone: as if nothing had been done.
    root.write(&record, bytes, 0o600).unwrap();
    let (verdict, _) = run(&machine, &root);
    assert!(matches!(verdict, Verdict::Changed(_)), "{verdict:?}");
    for path in [first, last] {
        let found = root.read(path).unwrap().unwrap();
        assert_eq!(found, text("eth1", "eth0").into_bytes());
    }
    // The second one too, and not the third.
    root.write(last, text("eth0", "eth1"), 0o644).unwrap();
    let mut draft = Draft::new(&root);
    fix(&machine, &mut draft).unwrap();
    assert!(draft.is_empty());
    let warnings = draft.take_warnings();
    assert!(
        warnings[0].contains("/etc/network/interfaces.d/x"),
        "{warnings:?}"
    );
    assert!(!warnings[0].contains("interfaces,"), "{warnings:?}");
    // Other cards are another move: what is there counts as their old names.
    let other = Machine {
        nics: vec![
            nic("ens3", "aa:00:00:00:00:03", "eth1"),
            nic("eth1", "aa:00:00:00:00:04", "eth0"),
        ],
        ..Machine::default()
    };
    run(&other, &root);
    let found = root.read(first).unwrap().unwrap();
    assert_eq!(found, text("ens3", "eth1").into_bytes());
}
