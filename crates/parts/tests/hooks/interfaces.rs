//! 20-write-interfaces: for each environment the file's text, and what the
//! real ifup would do with it.

use std::process::Command;

use crate::root::TestRoot;

const HOOK: &str = "20-write-interfaces";

const HEAD: &str = "# Written when this instance was created. See interfaces(5).\n\nauto lo\niface lo inet loopback\n";

/// An instance's NICs, the stanzas that must come of it, and what ifup must do
/// to bring up each interface.
struct Case {
    what: &'static str,
    env: &'static [(&'static str, &'static str)],
    stanzas: &'static str,
    ifup: &'static [(&'static str, &'static [&'static str])],
}

const CASES: &[Case] = &[
    Case {
        what: "no NIC",
        env: &[("NIC_COUNT", "0")],
        stanzas: "",
        ifup: &[],
    },
    Case {
        what: "no count at all",
        env: &[],
        stanzas: "",
        ifup: &[],
    },
    Case {
        what: "a bridged NIC without network: DHCP",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:12:34:56"),
            ("NIC_0_MODE", "bridged"),
            ("NIC_0_IP", ""),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "static IPv4",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:12:34:56"),
            ("NIC_0_IP", "192.0.2.77"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.64/26"),
            ("NIC_0_NETWORK_GATEWAY", "192.0.2.65"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 192.0.2.77
    netmask 255.255.255.192
    gateway 192.0.2.65
",
        ifup: &[(
            "eth0",
            &[
                "ip addr add 192.0.2.77/255.255.255.192",
                "default via 192.0.2.65",
            ],
        )],
    },
    Case {
        what: "static IPv4 without gateway, widest and narrowest networks",
        env: &[
            ("NIC_COUNT", "2"),
            ("NIC_0_IP", "10.1.2.3"),
            ("NIC_0_NETWORK_SUBNET", "10.0.0.0/8"),
            ("NIC_1_IP", "10.1.2.3"),
            ("NIC_1_NETWORK_SUBNET", "0.0.0.0/0"),
        ],
        stanzas: "
mapping eth*
    script /etc/network/p2v-card-by-mac

allow-hotplug eth0
iface nic0 inet static
    address 10.1.2.3
    netmask 255.0.0.0

allow-hotplug eth1
iface nic1 inet static
    address 10.1.2.3
    netmask 0.0.0.0
",
        ifup: &[("eth0=nic0", &["ip addr add 10.1.2.3/255.0.0.0"])],
    },
    Case {
        what: "IPv4 and IPv6, the address made of the MAC",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "AA:00:00:4F:DA:1B"),
            ("NIC_0_IP", "192.0.2.5"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_GATEWAY", "192.0.2.1"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8:0:1::/64"),
            ("NIC_0_NETWORK_GATEWAY6", "fe80::1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8:0:1:a800:00ff:fe4f:da1b
    netmask 64
    gateway fe80::1
iface eth0 inet static
    address 192.0.2.5
    netmask 255.255.255.0
    gateway 192.0.2.1
",
        ifup: &[(
            "eth0",
            &[
                "ip -6 addr add 2001:db8:0:1:a800:00ff:fe4f:da1b/64",
                "default via fe80::1",
                "ip addr add 192.0.2.5/255.255.255.0",
            ],
        )],
    },
    Case {
        what: "IPv6 only, no gateway: the routers announce it",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "52:54:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/32"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8:0:0:5054:00ff:fe00:0001
    netmask 64
    accept_ra 1
    autoconf 0
# eth0 has no IPv4 network.
",
        ifup: &[(
            "eth0",
            &[
                "net.ipv6.conf.eth0.accept_ra=1",
                "ip -6 addr add 2001:db8:0:0:5054:00ff:fe00:0001/64",
            ],
        )],
    },
    Case {
        what: "IPv6 only, with an address of its own",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "52:54:00:00:00:01"),
            ("NIC_0_IP", "2001:db8::25"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/80"),
            ("NIC_0_NETWORK_GATEWAY6", "2001:db8::1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8::25
    netmask 80
    gateway 2001:db8::1
# eth0 has no IPv4 network.
",
        ifup: &[(
            "eth0",
            &["ip -6 addr add 2001:db8::25/80", "default via 2001:db8::1"],
        )],
    },
    Case {
        what: "two NICs, DHCP beside a static IPv6 address",
        env: &[
            ("NIC_COUNT", "2"),
            ("NIC_0_MAC", "AA:00:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_SUBNET6", "fd00:0:0:7:0:0:0:0/64"),
            ("NIC_0_NETWORK_GATEWAY6", "fd00:0:0:7::1"),
            ("NIC_1_MAC", "aa:00:00:00:00:02"),
        ],
        stanzas: "
mapping eth*
    script /etc/network/p2v-card-by-mac
    map aa:00:00:00:00:01 nic0
    map aa:00:00:00:00:02 nic1

allow-hotplug eth0
iface nic0 inet6 static
    address fd00:0:0:7:a800:00ff:fe00:0001
    netmask 64
    gateway fd00:0:0:7::1
iface nic0 inet dhcp

allow-hotplug eth1
iface nic1 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "routed, with a gateway",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "routed"),
            ("NIC_0_IP", "198.51.100.7"),
            ("NIC_0_NETWORK_SUBNET", "198.51.100.0/24"),
            ("NIC_0_NETWORK_GATEWAY", "198.51.100.1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 198.51.100.7
    netmask 255.255.255.255
    pointopoint 198.51.100.1
    gateway 198.51.100.1
",
        ifup: &[(
            "eth0",
            &[
                "ip addr add 198.51.100.7/255.255.255.255",
                "peer 198.51.100.1",
                "via 198.51.100.1",
            ],
        )],
    },
    Case {
        what: "routed, nothing but an address",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "routed"),
            ("NIC_0_IP", "198.51.100.7"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 198.51.100.7
    netmask 255.255.255.255
    up ip route add default dev \"$IFACE\"
",
        ifup: &[("eth0", &["ip route add default dev \"$IFACE\""])],
    },
    Case {
        what: "an address without a network",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "bridged"),
            ("NIC_0_IP", "198.51.100.7"),
        ],
        stanzas: "
allow-hotplug eth0
# Ganeti says the address is 198.51.100.7, but names no network with a netmask.
iface eth0 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "an IPv6 network too narrow for an address of the MAC",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/112"),
        ],
        stanzas: "
allow-hotplug eth0
# eth0: no address can be made for 2001:db8::/112; routers may announce one.
iface eth0 inet dhcp
",
        ifup: &[],
    },
];

#[test]
fn each_environment_gives_its_stanzas() {
    for case in CASES {
        let mut root = TestRoot::with_systemd();
        root.set_all(case.env);
        let said = root.run_well(HOOK);
        assert_eq!(said, "", "{}", case.what);
        let text = root.read("etc/network/interfaces");
        assert_eq!(text, format!("{HEAD}{}", case.stanzas), "{}", case.what);
        assert_eq!(root.mode("etc/network/interfaces"), 0o644);
        root.assert_contained();
    }
}

fn ifup(root: &TestRoot, arguments: &[&str]) -> Option<std::process::Output> {
    let state = root.outer.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("ifup")
        .args([
            "--no-act",
            "--verbose",
            "--no-scripts",
            "--force",
            "--state-dir",
        ])
        .arg(state)
        .arg("-i")
        .arg(root.path("etc/network/interfaces"))
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .ok()
}

#[test]
fn the_real_ifup_makes_of_it_what_is_meant() {
    for case in CASES {
        let mut root = TestRoot::with_systemd();
        root.set_all(case.env);
        root.run_well(HOOK);
        let Some(output) = ifup(&root, &["-a"]) else {
            eprintln!("SKIPPED: ifupdown is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", case.what);
        for (name, phrases) in case.ifup {
            let output = ifup(&root, &[name]).unwrap();
            // The commands collapse their blanks in the shell, too.
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(output.status.success(), "{}: {said}", case.what);
            for phrase in *phrases {
                assert!(
                    said.contains(phrase),
                    "{}: {phrase} not in: {said}",
                    case.what
                );
            }
        }
    }
}

#[test]
fn values_that_are_no_addresses_are_said_and_get_nowhere() {
    let mut root = TestRoot::with_systemd();
    root.set_all(&[
        ("NIC_COUNT", "1"),
        ("NIC_0_MAC", "auto"),
        ("NIC_0_IP", "1.2.3.4\n    up touch /tmp/x"),
        ("NIC_0_NETWORK_SUBNET", "1.2.3.0/33"),
        ("NIC_0_NETWORK_GATEWAY", "1.2.3.1; reboot"),
        ("NIC_0_NETWORK_SUBNET6", "2001:db8::/64 up reboot"),
        ("NIC_0_NETWORK_GATEWAY6", "x"),
    ]);
    let said = root.run_well(HOOK);
    for name in [
        "NIC_0_MAC",
        "NIC_0_IP",
        "NIC_0_NETWORK_SUBNET ",
        "NIC_0_NETWORK_SUBNET6",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let text = root.read("etc/network/interfaces");
    assert_eq!(
        text,
        format!("{HEAD}\nallow-hotplug eth0\niface eth0 inet dhcp\n")
    );
}

#[test]
fn malformed_addresses_are_told_from_good_ones() {
    for (ip, good) in [
        ("192.0.2.5", true),
        ("255.255.255.255", true),
        ("256.0.2.5", false),
        ("1.2.3", false),
        ("1.2.3.4.5", false),
        ("1..2.3", false),
        ("1.2.3.", false),
        ("1.2.3.4000", false),
        ("2001:db8::5", true),
        ("::", true),
        ("2001:db8:::5", false),
        ("2001:db8::g", false),
        ("12:34", true),
        ("1234", false),
    ] {
        let mut root = TestRoot::with_systemd();
        root.set_all(&[("NIC_COUNT", "1"), ("NIC_0_IP", ip)]);
        let said = root.run_well(HOOK);
        // ifup, not we, knows that two groups are too few.
        let good = good && ip != "12:34";
        assert_eq!(said.contains("not an address"), !good, "{ip}: {said}");
    }
}

#[test]
fn cards_keep_the_kernels_names() {
    let root = TestRoot::with_systemd();
    root.run_well(HOOK);
    let link = root.read("etc/systemd/network/10-p2v.link");
    assert!(
        link.ends_with("[Match]\nOriginalName=eth*\n\n[Link]\nNamePolicy=keep\n"),
        "{link}"
    );
}

/// With a card of the machine that runs the test, which has some MAC address.
#[test]
fn a_card_finds_its_stanza_by_mac_address_else_by_number() {
    let mut root = TestRoot::with_systemd();
    root.set_all(&[("NIC_COUNT", "2")]);
    root.run_well(HOOK);
    let script = root.path("etc/network/p2v-card-by-mac");
    assert_eq!(root.mode("etc/network/p2v-card-by-mac"), 0o755);
    let address = std::fs::read_to_string("/sys/class/net/lo/address");
    let Ok(address) = address else {
        eprintln!("SKIPPED: needs /sys");
        return;
    };
    let own = address.trim();
    for (map, stanza) in [
        (format!("aa:00:00:00:00:01 nic0\n{own} nic1\n"), "nic1"),
        (format!("{own} nic0\n{own} nic1\n"), "nic0"),
        // Its number is what follows "eth", and here all of the name.
        ("aa:00:00:00:00:01 nic0\n".to_owned(), "niclo"),
        (String::new(), "niclo"),
    ] {
        let chosen = p2v_sys::Cmd::new(&script, "choosing")
            .arg("lo")
            .stdin(map.clone())
            .read();
        assert_eq!(chosen.unwrap(), stanza, "{map}");
    }
    let chosen = p2v_sys::Cmd::new(&script, "choosing").arg("eth7").stdin("");
    assert_eq!(chosen.read().unwrap(), "nic7");
}

#[test]
fn a_root_without_udev_brings_its_interfaces_up_at_boot() {
    let mut root = TestRoot::new();
    root.set_all(&[("NIC_COUNT", "1")]);
    root.run_well(HOOK);
    let text = root.read("etc/network/interfaces");
    assert!(
        text.ends_with("\nauto eth0\niface eth0 inet dhcp\n"),
        "{text}"
    );
}

#[test]
fn files_that_operators_drop_in_are_read() {
    let root = TestRoot::with_systemd();
    root.write("etc/network/interfaces.d/vlan", "# mine\n");
    root.run_well(HOOK);
    let text = root.read("etc/network/interfaces");
    assert!(
        text.contains("\nsource /etc/network/interfaces.d/*\n"),
        "{text}"
    );
}

#[test]
fn a_root_without_ifupdown_is_an_error_that_says_so() {
    let root = TestRoot::with_systemd();
    std::fs::remove_dir_all(root.path("etc/network")).unwrap();
    assert!(root.run_badly(HOOK).contains("ifupdown"));
    let mut root = TestRoot::with_systemd();
    root.set("NIC_COUNT", "one");
    assert!(root.run_badly(HOOK).contains("NIC_COUNT"));
}
