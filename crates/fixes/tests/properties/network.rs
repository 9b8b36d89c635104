//! Network configurations: the card's name and address change where they are
//! words of their own, and nothing else does.

use std::collections::BTreeMap;

use p2v_fixes::Verdict;
use p2v_fixes::machine::Machine;

use crate::random::Random;
use crate::{Case, pick, run, stranger};

const MACHINE: &str = r#"{"nics": [{"mac": "aa:00:00:00:00:01", "name": "ens3",
    "old_name": "eno1", "old_mac": "00:11:22:33:44:55"}]}"#;

/// A kind of configuration: where it lies, and its lines, in which `{card}` and
/// `{mac}` stand for what changes, `{close}` for what only looks like it.
struct Kind {
    path: &'static str,
    moved_to: &'static str,
    lines: &'static [&'static str],
}

const IFUPDOWN: Kind = Kind {
    path: "etc/network/interfaces",
    moved_to: "etc/network/interfaces",
    lines: &[
        "auto lo {card}",
        "auto\t{card}",
        "allow-hotplug {card} {card}.5",
        "iface {card} inet static",
        "iface {card}:1 inet dhcp",
        "  address 192.0.2.1/24",
        "\tup ip route add 198.51.100.0/24 dev  {card}",
        "  bridge_ports {card} {close}",
        "  pre-up echo {close}  # {card}",
        "mapping {close}",
        "  vlan-raw-device {card}  ",
    ],
};

const NETPLAN: Kind = Kind {
    path: "etc/netplan/01-all.yaml",
    moved_to: "etc/netplan/01-all.yaml",
    lines: &[
        "network:",
        "    {card}:",
        "    {close}:   ",
        "      match: {macaddress: \"{mac}\"}",
        "      interfaces: [{card}, {close}]",
        "      link: {card}",
        "      set-name: \"{card}\" # {close}",
        "\taddresses: [192.0.2.1/24]",
    ],
};

const NETWORKD: Kind = Kind {
    path: "etc/systemd/network/10-lan.network",
    moved_to: "etc/systemd/network/10-lan.network",
    lines: &[
        "Name={card}",
        "Name = {card}  {close}",
        "MACAddress={mac}",
        "Description={close}",
        "; a comment",
        "Name=\t{card} ",
    ],
};

const KEYFILE: Kind = Kind {
    path: "etc/NetworkManager/system-connections/lan.nmconnection",
    moved_to: "etc/NetworkManager/system-connections/lan.nmconnection",
    lines: &[
        "[connection]",
        "id=Wired",
        "interface-name={card}",
        "interface-name = {card} ",
        "[ethernet]",
        "mac-address={mac}",
        "parent={close}",
        "psk= a b ",
    ],
};

const IFCFG: Kind = Kind {
    path: "etc/sysconfig/network-scripts/ifcfg-eno1",
    moved_to: "etc/sysconfig/network-scripts/ifcfg-ens3",
    lines: &[
        "DEVICE={card}",
        "DEVICE=\"{card}\"\t",
        "HWADDR={mac}",
        "  ONBOOT=yes",
        "IPADDR='192.0.2.1'",
        "BRIDGE={close}",
        "PHYSDEV={card}  # x",
    ],
};

/// Not the card: other words that its name stands in.
const CLOSE: [&str; 7] = [
    "eno11", "veno1", "xeno1x", "br-eno1", "eno1.bak", "eno_1", "ENO1",
];

fn case(kind: &Kind, random: &mut Random) -> Case {
    let end = Case::end(random);
    let mut case = Case::default();
    if kind.path == NETWORKD.path {
        case.line(b"[Match]", b"[Match]", end);
    }
    for _ in 0..random.below(12) {
        if random.below(3) == 0 {
            let text = stranger(random);
            case.line(&text, &text, end);
            continue;
        }
        let line = pick(random, kind.lines).replace("{close}", pick::<&str>(random, &CLOSE));
        let mac = *pick(random, &["00:11:22:33:44:55", "00-11-22-33-44-55"]);
        let with = |card, mac| line.replace("{card}", card).replace("{mac}", mac);
        let (old, new) = (with("eno1", mac), with("ens3", "aa:00:00:00:00:01"));
        case.line(old.as_bytes(), new.as_bytes(), end);
    }
    if random.below(3) == 0 {
        case.without_last_end();
    }
    case
}

#[test]
fn only_the_cards_own_words_change() {
    let machine: Machine = serde_json::from_str(MACHINE).unwrap();
    for kind in [IFUPDOWN, NETPLAN, NETWORKD, KEYFILE, IFCFG] {
        let mut changed = 0;
        for seed in 0..120 {
            let mut random = Random(seed);
            let case = case(&kind, &mut random);
            let (old, new) = (case.old.clone(), case.new.clone());
            let stays = kind.path == kind.moved_to;
            let files = BTreeMap::from([(kind.path.to_owned(), case)]);
            if stays {
                let verdict = run("rename-nics", &machine, &files);
                let says_so = matches!(verdict, Verdict::Changed(_));
                assert_eq!(says_so, old != new, "{verdict:?}");
            } else {
                moved(&machine, &kind, &old, &new);
            }
            changed += usize::from(old != new);
        }
        assert!((60..120).contains(&changed), "{}: {changed}", kind.path);
    }
}

/// A file that is named after the card gets another name beside.
fn moved(machine: &Machine, kind: &Kind, old: &[u8], new: &[u8]) {
    use p2v_fixes::{Draft, by_name};
    let directory = tempfile::tempdir().unwrap();
    let root = p2v_sys::Root::open(directory.path()).unwrap();
    root.write(kind.path, old, 0o640).unwrap();
    let mut draft = Draft::new(&root);
    let fix = by_name("rename-nics").unwrap().run;
    fix(machine, &mut draft).unwrap();
    draft.apply().unwrap();
    assert!(!root.exists(kind.path));
    let text = root.read(kind.moved_to).unwrap().unwrap();
    assert!(
        text == new,
        "{}\nbecame\n{}",
        old.escape_ascii(),
        text.escape_ascii()
    );
    assert_eq!(draft.mode(kind.moved_to).unwrap(), 0o640);
    fix(machine, &mut draft).unwrap();
    assert!(draft.is_empty());
}
