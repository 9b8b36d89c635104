//! Cards found in each network configuration, and what is none.

use p2v_sys::Root;

use super::*;
use crate::source::findings::Findings;

/// What is found where there are these files: `NAME MAC`.
fn found(tree: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in tree {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = Root::open(directory.path()).unwrap();
    let mut findings = Findings::default();
    let mut files = Files {
        root: &root,
        findings: &mut findings,
    };
    let nics = nics(&mut files).into_iter();
    let nics = nics.map(|nic| format!("{} {}", nic.name, nic.mac.unwrap_or_default()));
    let nics = nics.map(|nic| nic.trim_end().to_owned()).collect();
    (systems(&mut files), nics)
}

#[test]
fn ifupdown_with_all_that_is_no_card() {
    let text = "auto lo eth0\niface lo inet loopback\n# iface eth9 inet dhcp\n\
        iface eth0 inet static\n  address 10.0.0.1\niface eth0:1 inet static\n\
        iface eth0.5 inet manual\niface br0 inet static\n  bridge_ports eth1 regex eth2\n\
        iface bond0 inet manual\n bond-slaves none\n";
    let more = "allow-hotplug enp3s0\niface enp3s0 inet6 auto\n";
    let files = [
        ("etc/network/interfaces", text),
        ("etc/network/interfaces.d/more", more),
    ];
    let (systems, nics) = found(&files);
    assert_eq!(systems, ["ifupdown"]);
    assert_eq!(nics, ["eth0", "eth1", "eth2", "enp3s0"]);
}

#[test]
fn old_udev_rules_tell_addresses() {
    let rules = "# PCI device 0x8086\n\
        SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", \
        ATTR{address}==\"00:11:22:33:44:55\", ATTR{type}==\"1\", NAME=\"eth0\"\n\
        # ATTR{address}==\"00:11:22:33:44:66\", NAME=\"eth1\"\nbroken\n";
    let files = [
        ("etc/network/interfaces", "iface eth0 inet dhcp\n"),
        ("etc/udev/rules.d/70-persistent-net.rules", rules),
        (
            "etc/systemd/network/10-lan.link",
            "[Match]\nMACAddress=AA:BB:CC:DD:EE:FF\n[Link]\nName=lan1\n",
        ),
    ];
    let (_, nics) = found(&files);
    assert_eq!(nics, ["eth0 00:11:22:33:44:55", "lan1 aa:bb:cc:dd:ee:ff"]);
}

#[test]
fn netplan_in_blocks() {
    let text = "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    eno1:\n      \
        dhcp4: true # yes\n    lan:\n      match:\n        macaddress: \"00:11:22:33:44:55\"\n      \
        set-name: eth7\n    all:\n      match: {name: \"en*\"}\n    \"eno2\":\n      \
        addresses: [10.0.0.1/24]\n      nameservers:\n        addresses: [10.0.0.2]\n  \
        bridges:\n    br0:\n      interfaces: [eno1]\n";
    let (systems, nics) = found(&[("etc/netplan/01.yaml", text)]);
    assert_eq!(systems, ["netplan"]);
    assert_eq!(nics, ["eno1", "eth7 00:11:22:33:44:55", "eno2"]);
}

#[test]
fn networkd_manager_and_ifcfg() {
    let files = [
        (
            "etc/systemd/network/lan.network",
            "[Match]\nName=enp1s0\n\n[Network]\nDHCP=yes\n",
        ),
        ("etc/systemd/network/any.network", "[Match]\nName=en*\n"),
        ("etc/systemd/network/br0.network", "[Match]\nName=br0\n"),
        (
            "etc/NetworkManager/system-connections/Wired.nmconnection",
            "[connection]\nid=Wired\ntype=ethernet\ninterface-name=eno3\n\
             [ethernet]\nmac-address=00:AA:11:22:33:44\n",
        ),
        (
            "etc/NetworkManager/system-connections/wlan",
            "[connection]\ntype=wifi\ninterface-name=wlp1s0\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-em1",
            "DEVICE=\"em1\"\nHWADDR=00:BB:11:22:33:44\nTYPE=Ethernet\n",
        ),
        (
            "etc/sysconfig/network-scripts/ifcfg-br5",
            "DEVICE=br5\nTYPE=Bridge\n",
        ),
        ("etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\n"),
        ("etc/sysconfig/network-scripts/ifcfg-em1.5", "VLAN=yes\n"),
    ];
    let (systems, nics) = found(&files);
    assert_eq!(systems, ["networkd", "networkmanager", "ifcfg"]);
    let expected = ["em1 00:bb:11:22:33:44", "enp1s0", "eno3 00:aa:11:22:33:44"];
    assert_eq!(nics, expected);
}

#[test]
fn what_is_no_configuration() {
    assert_eq!(found(&[]), (vec![], vec![]));
    let files = [
        ("etc/netplan/x.yaml", "ethernets:\n\0:\n  - x: y\n:::\n"),
        ("etc/network/interfaces", "iface\niface \u{1b}[31m inet\n"),
        (
            "etc/udev/rules.d/70-persistent-net.rules",
            "ATTR{address}==\"",
        ),
        ("etc/NetworkManager/system-connections/x", "[[]\n=\n"),
    ];
    let (_, nics) = found(&files);
    assert_eq!(nics, [""; 0]);
    for (text, address) in [
        ("00:11:22:33:44:55", Some("00:11:22:33:44:55")),
        ("\"00-AA-22-33-44-55\"", Some("00:aa:22:33:44:55")),
        ("00:00:00:00:00:00", None),
        ("00:11:22:33:44", None),
        ("00:11:22:33:44:5g", None),
        ("", None),
    ] {
        assert_eq!(hardware_address(text).as_deref(), address, "{text}");
    }
}
