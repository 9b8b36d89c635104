//! `create` in the less usual environments: reinstalls, older interfaces,
//! layers of settings, networks, an operator's own hooks and keys.

use std::os::unix::fs::PermissionsExt;

use p2v_sys::Cmd;
use p2v_tests::ganeti_env::Nic;
use p2v_tests::{Created, GIB, Instance, Lab, image, need_root};

#[test]
fn a_reinstall_wipes_what_was_there() {
    need_root!();
    let lab = Lab::new("reinstall").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let name = "again.example.org";
    let first = Instance::new(name, &disk)
        .parameter("partition_style", "gpt")
        .parameter("filesystem", "btrfs");
    let first = Created::make(&lab, &first).unwrap();
    let mut second = Instance::new(name, &disk)
        .parameter("partition_style", "none")
        .parameter("filesystem", "ext4");
    second.reinstall = true;
    let second = Created::make(&lab, &second).unwrap();
    assert_eq!(image::label(&disk), None);
    assert!(!image::has_boot_code(&disk).unwrap());
    let signatures = Cmd::new("wipefs", "listing signatures")
        .args(["--noheadings", "--output", "TYPE"])
        .arg(&disk)
        .read()
        .unwrap();
    assert_eq!(signatures, "ext4", "an old signature stayed");
    assert_ne!(
        first.fact("root_uuid").unwrap(),
        second.fact("root_uuid").unwrap()
    );
    assert_ne!(first.host_keys(), second.host_keys());
    lab.assert_nothing_left();
}

#[test]
fn older_interfaces() {
    need_root!();
    let lab = Lab::new("older").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    for api in [15, 10] {
        let mut instance = Instance::new("older.example.org", &disk);
        instance.api = api;
        Created::make(&lab, &instance).unwrap();
        assert!(image::has_boot_code(&disk).unwrap());
    }
}

#[test]
fn a_variant_and_a_parameter_go_over_the_configuration() {
    need_root!();
    let lab = Lab::new("layers").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    lab.configure("PARTITION_STYLE=none\nFILESYSTEM=ext2")
        .unwrap();
    lab.write_config(
        "variants/other.conf",
        "PARTITION_STYLE=msdos\nFILESYSTEM=ext3\n",
    )
    .unwrap();
    let mut instance = Instance::new("layers.example.org", &disk).parameter("filesystem", "xfs");
    instance.variant = Some("other".to_owned());
    let created = Created::make(&lab, &instance).unwrap();
    assert_eq!(created.fact("partition_style").unwrap(), "msdos");
    assert_eq!(created.fact("filesystem").unwrap(), "xfs");
}

#[test]
fn addresses_of_ganetis_networks_are_configured() {
    need_root!();
    let lab = Lab::new("network").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let mut instance = Instance::new("net.example.org", &disk);
    instance.nics = vec![
        Nic {
            ip: Some("192.0.2.7".to_owned()),
            network: Some(("192.0.2.0/24".to_owned(), "192.0.2.1".to_owned())),
            network6: Some(("2001:db8:1::/64".to_owned(), "2001:db8:1::1".to_owned())),
        },
        Nic::default(),
    ];
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let text = std::fs::read_to_string(root.path().join("etc/network/interfaces")).unwrap();
    root.close().unwrap();
    for words in [
        "192.0.2.7",
        "192.0.2.1",
        "2001:db8:1:",
        "inet6 static",
        "inet dhcp",
    ] {
        assert!(text.contains(words), "no {words} in:\n{text}");
    }
}

#[test]
fn an_operators_hook_gets_instance_debootstraps_variables() {
    need_root!();
    let lab = Lab::new("hook-variables").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let script = "#!/bin/sh\nset -eu\ntest -d \"$TARGET/etc\"\ntest -b \"$BLOCKDEV\"\n\
         test -b \"$FSYSDEV\"\nprintf '%s\\n' \"$SUITE\" \"$ARCH\" \"$PARTITION_STYLE\" \
         \"$EXTRA_PKGS\" \"$INSTANCE_NAME\" \"$NIC_0_MAC\" > \"$TARGET/etc/from-hook\"\n";
    lab.hook("95-report", script).unwrap();
    // A name that run-parts passes over.
    lab.hook("96-passed.over", "#!/bin/sh\nexit 1\n").unwrap();
    let instance = Instance::new("hooked.example.org", &disk);
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let text = std::fs::read_to_string(root.path().join("etc/from-hook")).unwrap();
    root.close().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mac = instance.environment()["NIC_0_MAC"].clone();
    assert_eq!(lines[0], "bookworm");
    assert_eq!(lines[2], "msdos");
    assert_eq!(lines[lines.len() - 2..], ["hooked.example.org", &mac]);
}

#[test]
fn a_key_may_come_as_a_parameter_alone() {
    need_root!();
    let lab = Lab::new("key-parameter").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    std::fs::remove_file(lab.config_dir().join("authorized_keys")).unwrap();
    let instance = Instance::new("key.example.org", &disk)
        .parameter("authorized_keys", lab.key().public().trim());
    let created = Created::make(&lab, &instance).unwrap();
    let root = created.mount(&lab).unwrap();
    let path = root.path().join("root/.ssh/authorized_keys");
    let text = std::fs::read_to_string(&path).unwrap();
    let mode = path.metadata().unwrap().permissions().mode();
    root.close().unwrap();
    assert!(text.contains(lab.key().public().trim()));
    assert_eq!(mode & 0o777, 0o600);
}
