//! Each network configuration's names of cards, before and after.

use super::*;
use crate::testing::{TestRoot, machine, run as run_fix, run_on};

const ONE: &str = r#"{"nics": [{"mac": "aa:00:00:00:00:01", "name": "ens3",
    "old_name": "eno1", "old_mac": "00:11:22:33:44:55"}]}"#;

#[test]
fn ifupdown_with_all_that_is_on_top() {
    let text = "# eno1 is the first\nsource /etc/network/interfaces.d/*\nsource-directory more\n\
        auto lo eno1\nallow-hotplug eno1 eno1.5 br0\niface lo inet loopback\n\
        iface eno1 inet static\n  address 192.0.2.10/24\n  hwaddress ether 00:11:22:33:44:55\n\
        \tup ip route add 198.51.100.0/24 dev eno1\n  up echo 1 >/proc/sys/net/ipv4/conf/eno1/rp_filter\n\
        iface eno1:1 inet static\n  address 192.0.2.11\niface eno1.5 inet dhcp\n  vlan-raw-device eno1\n\
        iface br0 inet manual\n  bridge_ports eno1 eno2\n  bond-slaves eno1\n";
    let files = [
        ("etc/network/interfaces", text),
        ("etc/network/interfaces.d/eno1", "auto eno1\n"),
        ("etc/network/more/x", "iface eno1 inet6 auto\n"),
    ];
    let outcome = run_fix(run, &machine(ONE), &files).unwrap();
    let expected = "# eno1 is the first\nsource /etc/network/interfaces.d/*\nsource-directory more\n\
        auto lo ens3\nallow-hotplug ens3 ens3.5 br0\niface lo inet loopback\n\
        iface ens3 inet static\n  address 192.0.2.10/24\n\
        \tup ip route add 198.51.100.0/24 dev ens3\n  up echo 1 >/proc/sys/net/ipv4/conf/ens3/rp_filter\n\
        iface ens3:1 inet static\n  address 192.0.2.11\niface ens3.5 inet dhcp\n  vlan-raw-device ens3\n\
        iface br0 inet manual\n  bridge_ports ens3 eno2\n  bond-slaves ens3\n";
    assert_eq!(outcome.file("etc/network/interfaces"), expected);
    assert_eq!(outcome.file("etc/network/interfaces.d/eno1"), "auto ens3\n");
    assert_eq!(
        outcome.file("etc/network/more/x"),
        "iface ens3 inet6 auto\n"
    );
}

#[test]
fn netplan_by_name_match_and_pattern() {
    for (text, expected) in [
        (
            "network:\n  ethernets:\n    eno1: # eno1\n      addresses: [192.0.2.1/24]\n  bridges:\n    br0:\n      interfaces: [eno1, eno2]\n  vlans:\n    vlan5:\n      link: eno1\n",
            "network:\n  ethernets:\n    ens3: # eno1\n      addresses: [192.0.2.1/24]\n  bridges:\n    br0:\n      interfaces: [ens3, eno2]\n  vlans:\n    vlan5:\n      link: ens3\n",
        ),
        (
            "      match:\n        macaddress: '00:11:22:33:44:55'\n      set-name: \"eno1\"\n",
            "      match:\n        macaddress: 'aa:00:00:00:00:01'\n      set-name: \"ens3\"\n",
        ),
        (
            "    all:\n      match:\n        name: \"eno*\"\n      dhcp4: true\n",
            "    all:\n      match:\n        name: ens3\n      dhcp4: true\n",
        ),
    ] {
        let path = "etc/netplan/50-cloud-init.yaml";
        let outcome = run_fix(run, &machine(ONE), &[(path, text)]).unwrap();
        assert_eq!(outcome.file(path), expected);
    }
    let text = "      match:\n        name: en*\n      dhcp4: true\n";
    let outcome = run_fix(run, &machine(ONE), &[("etc/netplan/a.yaml", text)]).unwrap();
    assert!(matches!(outcome.verdict, Verdict::Right(_)));
}

#[test]
fn networkd_matches() {
    let text = "[Match]\nName=eno1 eno2 wl*\nMACAddress=00:11:22:33:44:55\n\n[Network]\nDescription=eno1\nAddress=192.0.2.1/24\nVLAN=eno1.5\n";
    let path = "etc/systemd/network/10-lan.network";
    let outcome = run_fix(run, &machine(ONE), &[(path, text)]).unwrap();
    let expected = "[Match]\nName=ens3 eno2 wl*\nMACAddress=aa:00:00:00:00:01\n\n[Network]\nDescription=eno1\nAddress=192.0.2.1/24\nVLAN=eno1.5\n";
    assert_eq!(outcome.file(path), expected);
}

#[test]
fn network_manager_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let path = "etc/NetworkManager/system-connections/Wired 1.nmconnection";
    let text = "[connection]\nid=eno1\nuuid=1-2\ntype=ethernet\ninterface-name=eno1\n\n[ethernet]\nmac-address=00:11:22:33:44:55\n\n[ipv4]\naddress1=192.0.2.1/24\nmethod=manual\n";
    let test = TestRoot::new(&[]);
    test.root.write(path, text, 0o600).unwrap();
    let outcome = run_on(run, &machine(ONE), &test).unwrap();
    let expected = text
        .replace("interface-name=eno1", "interface-name=ens3")
        .replace("00:11:22:33:44:55", "aa:00:00:00:00:01");
    assert_eq!(outcome.file(path), expected);
    let metadata = std::fs::metadata(test.root.path().join(path)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn ifcfg_files_are_renamed_too() {
    let directory = "etc/sysconfig/network-scripts";
    let eth0 = format!("{directory}/ifcfg-eth0");
    let files = [
        (
            eth0.as_str(),
            "DEVICE=\"eth0\"\nNAME=\"System eth0\"\nHWADDR=00:11:22:33:44:55\nUUID=1-2\nIPADDR=192.0.2.1\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eth0.5",
            "DEVICE=eth0.5\nVLAN=yes\n",
        ),
        (
            "etc/sysconfig/network-scripts/route-eth0",
            "default via 192.0.2.254 dev eth0\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eth0.bak",
            "DEVICE=eth0\n",
        ),
        ("etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth1\n"),
        ("etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\n"),
    ];
    let swapped = machine(
        r#"{"nics": [
        {"mac": "aa:00:00:00:00:01", "name": "eth1", "old_name": "eth0", "old_mac": "00:11:22:33:44:55"},
        {"mac": "aa:00:00:00:00:02", "name": "eth0", "old_name": "eth1"}]}"#,
    );
    let test = TestRoot::new(&files);
    let mut draft = test.draft();
    run(&swapped, &mut draft).unwrap();
    let text = |name: &str| draft.text(format!("{directory}/{name}")).unwrap().unwrap();
    assert_eq!(
        text("ifcfg-eth1"),
        "DEVICE=\"eth1\"\nNAME=\"System eth0\"\nHWADDR=aa:00:00:00:00:01\nUUID=1-2\nIPADDR=192.0.2.1\n"
    );
    assert_eq!(text("ifcfg-eth0"), "DEVICE=eth0\n");
    assert_eq!(text("ifcfg-eth1.5"), "DEVICE=eth1.5\nVLAN=yes\n");
    assert_eq!(text("route-eth1"), "default via 192.0.2.254 dev eth1\n");
    assert_eq!(text("ifcfg-eth0.bak"), "DEVICE=eth0\n");
    assert!(!draft.exists(format!("{directory}/ifcfg-eth0.5")));
}

#[test]
fn one_card_and_one_name_belong_together() {
    let one = machine(r#"{"nics": [{"mac": "aa:00:00:00:00:01", "name": "ens3"}]}"#);
    let files = [(
        "etc/network/interfaces",
        "auto enp0s25\niface enp0s25 inet dhcp\n",
    )];
    let outcome = run_fix(run, &one, &files).unwrap();
    let expected = "auto ens3\niface ens3 inet dhcp\n";
    assert_eq!(outcome.file("etc/network/interfaces"), expected);
    let two = [("etc/network/interfaces", "auto eno1 eno2\n")];
    let outcome = run_fix(run, &one, &two).unwrap();
    assert!(matches!(outcome.verdict, Verdict::Right(_)));
}

#[test]
fn what_is_said_elsewhere_and_the_pin() {
    let files = [
        ("usr/lib/systemd/network/99-default.link", ""),
        ("etc/network/interfaces", "auto eno1\n"),
        ("etc/sysctl.d/x.conf", "net.ipv4.conf.eno1.rp_filter = 0\n"),
        (
            "etc/kernel/cmdline",
            "ip=192.0.2.1::192.0.2.254:255.255.255.0:host:eno1:off ifname=eno1:00:11:22:33:44:55\n",
        ),
    ];
    let outcome = run_fix(run, &machine(ONE), &files).unwrap();
    assert_eq!(
        outcome.file("etc/kernel/cmdline"),
        "ip=192.0.2.1::192.0.2.254:255.255.255.0:host:ens3:off\n"
    );
    assert_eq!(
        outcome.file("etc/systemd/network/10-p2v-ens3.link"),
        "[Match]\nMACAddress=aa:00:00:00:00:01\nType=ether\n\n[Link]\nName=ens3\n"
    );
    assert!(outcome.warnings[0].contains("/etc/sysctl.d/x.conf"));
}

#[test]
fn cards_that_are_not_there_fail_no_boot() {
    let files = [
        (
            "etc/network/interfaces",
            "auto lo eno1 eno2 eno2.5\nallow-hotplug eno3\niface eno2 inet dhcp\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-eth1",
            "DEVICE=eth1\nONBOOT=\"yes\"\n",
        ),
        ("etc/sysconfig/network/ifcfg-eth2", "STARTMODE='auto'\n"),
    ];
    let outcome = run_fix(run, &machine(ONE), &files).unwrap();
    let text =
        "auto lo ens3\nallow-hotplug eno2 eno2.5\nallow-hotplug eno3\niface eno2 inet dhcp\n";
    assert_eq!(outcome.file("etc/network/interfaces"), text);
    let ifcfg = outcome.file("etc/sysconfig/network-scripts/ifcfg-eth1");
    assert_eq!(ifcfg, "DEVICE=eth1\nONBOOT=\"no\"\n");
}
