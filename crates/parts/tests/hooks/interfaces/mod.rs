//! 20-write-interfaces: for each environment the file's text, and what the
//! real ifup would do with it.

mod cases;

use std::process::Command;

use crate::root::TestRoot;
use cases::CASES;

const HOOK: &str = "20-write-interfaces";

const HEAD: &str = "# Written when this instance was created. See interfaces(5).\n\nauto lo\niface lo inet loopback\n";

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
            p2v_testing::skip("ifupdown is not installed");
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
        p2v_testing::skip("needs /sys");
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
