//! Environments as Ganeti gives them, and as nobody should.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::job::Backend;

/// What Ganeti 3.0 gives create for an instance with one DRBD disk and one
/// interface in a network of both families.
const GIVEN: &[(&str, &str)] = &[
    ("OS_API_VERSION", "20"),
    ("OS_NAME", "p2v-target"),
    ("OS_VARIANT", "default"),
    ("DEBUG_LEVEL", "0"),
    ("PATH", "/sbin:/bin:/usr/sbin:/usr/bin"),
    ("INSTANCE_NAME", "web1.example.com"),
    ("INSTANCE_OS", "p2v-target+default"),
    ("INSTANCE_UUID", "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11"),
    ("INSTANCE_CTIME", "1700000000.12"),
    ("INSTANCE_PRIMARY_NODE", "2f1c"),
    ("INSTANCE_SECONDARY_NODES", ""),
    ("HYPERVISOR", "kvm"),
    ("INSTANCE_HV_serial_console", "True"),
    ("INSTANCE_HV_kernel_path", "/boot/vmlinuz-3-kvmU"),
    ("INSTANCE_HV_initrd_path", ""),
    ("INSTANCE_HV_cdrom_image_path", "None"),
    ("INSTANCE_HV_root_path", "/dev/vda1"),
    ("INSTANCE_BE_maxmem", "1024"),
    ("DISK_COUNT", "1"),
    ("DISK_0_PATH", "/dev/drbd0"),
    ("DISK_0_ACCESS", "rw"),
    ("DISK_0_UUID", "d8d7bc2a-1d2f-4f9c-9c3a-222222222222"),
    ("DISK_0_BACKEND_TYPE", "block"),
    ("DISK_0_FRONTEND_TYPE", "paravirtual"),
    ("NIC_COUNT", "1"),
    ("NIC_0_MAC", "AA:00:00:AB:CD:01"),
    ("NIC_0_IP", "192.0.2.10"),
    ("NIC_0_MODE", "bridged"),
    ("NIC_0_LINK", "br0.100"),
    ("NIC_0_BRIDGE", "br0.100"),
    ("NIC_0_UUID", "0f"),
    ("NIC_0_NETWORK_NAME", "office"),
    ("NIC_0_NETWORK_UUID", "77aa"),
    ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
    ("NIC_0_NETWORK_GATEWAY", "192.0.2.1"),
    ("NIC_0_NETWORK_SUBNET6", "2001:db8::/64"),
    ("NIC_0_NETWORK_GATEWAY6", "fe80::1"),
    ("NIC_0_NETWORK_MAC_PREFIX", "aa:00:00"),
    ("NIC_0_NETWORK_TAGS", "floor2 dhcp"),
];

fn given(changes: &[(&str, Option<&str>)]) -> Environment {
    let mut environment = Environment::from_pairs(GIVEN.iter().copied());
    for (name, value) in changes {
        match value {
            Some(value) => environment.variables.insert(name.into(), value.into()),
            None => environment.variables.remove(OsStr::new(name)),
        };
    }
    environment
}

fn error(changes: &[(&str, Option<&str>)]) -> String {
    format!("{:#}", given(changes).create_job().unwrap_err())
}

#[test]
fn what_ganeti_gives_becomes_a_job() {
    let job = given(&[]).create_job().unwrap();
    assert_eq!(job.api, ApiVersion::V20);
    assert_eq!(job.instance.as_str(), "web1.example.com");
    assert_eq!(job.os.as_deref(), Some("p2v-target+default"));
    assert_eq!(job.variant.as_deref(), Some("default"));
    assert_eq!(job.root_disk().unwrap().path, Some("/dev/drbd0".into()));
    assert_eq!(job.disks[0].backend, Some(Backend::Block));
    assert!(!job.reinstall);
    assert!(job.serial_console());
    assert_eq!(job.hypervisor_parameter("root_path"), Some("/dev/vda1"));
    assert_eq!(job.hypervisor_parameter("initrd_path"), None);
    assert_eq!(job.hypervisor_parameter("cdrom_image_path"), None);
    let nic = &job.nics[0];
    assert_eq!(nic.mac.as_ref().unwrap().as_str(), "aa:00:00:ab:cd:01");
    let network = nic.network.as_ref().unwrap();
    assert_eq!(network.subnet.unwrap().to_string(), "192.0.2.0/24");
    assert_eq!(network.gateway6.unwrap().to_string(), "fe80::1");
    assert_eq!(network.tags, ["floor2", "dhcp"]);
}

#[test]
fn a_first_disk_that_is_read_only_is_refused() {
    let job = given(&[("DISK_0_ACCESS", Some("ro"))])
        .create_job()
        .unwrap();
    let text = job.root_disk().unwrap_err().to_string();
    assert!(text.contains("DISK_0_ACCESS is ro"), "{text}");
}

#[test]
fn either_family_and_the_whole_network_may_be_absent() {
    let no_network: Vec<_> = GIVEN
        .iter()
        .filter(|(name, _)| name.starts_with("NIC_0_NETWORK"))
        .map(|(name, _)| (*name, None))
        .collect();
    let job = given(&no_network).create_job().unwrap();
    assert_eq!(job.nics[0].network, None);
    let only6 = [
        ("NIC_0_NETWORK_SUBNET", None),
        ("NIC_0_NETWORK_GATEWAY", None),
    ];
    let job = given(&only6).create_job().unwrap();
    let network = job.nics[0].network.clone().unwrap();
    assert!(network.subnet.is_none() && network.subnet6.is_some());
    let job = given(&[("NIC_COUNT", None)]).create_job().unwrap();
    assert!(job.nics.is_empty());
}

#[test]
fn the_versions_of_the_interface() {
    for version in ["20", "15", "10"] {
        let job = given(&[("OS_API_VERSION", Some(version))]).create_job();
        assert_eq!(job.unwrap().api.number().to_string(), version);
    }
    for version in ["5", "25", "020", "+20", "20\n", " ", "twenty"] {
        let text = error(&[("OS_API_VERSION", Some(version))]);
        assert!(text.contains("known: 20, 15, 10"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    let text = error(&[("OS_API_VERSION", None)]);
    assert!(
        text.contains("it is not set") && text.contains("version 5"),
        "{text}"
    );
}

#[test]
fn all_faults_are_in_one_list() {
    let text = error(&[
        ("INSTANCE_NAME", Some("../x")),
        ("HYPERVISOR", None),
        ("DISK_COUNT", Some("0")),
        ("NIC_0_IP", Some("192.0.2.300")),
        ("NIC_0_NETWORK_SUBNET6", Some("192.0.2.0/24")),
        ("INSTANCE_REINSTALL", Some("yes")),
    ]);
    for part in [
        "6 faults",
        "INSTANCE_NAME=`../x`: not a host name",
        "HYPERVISOR is not set",
        "DISK_COUNT is 0",
        "NIC_0_IP=`192.0.2.300`: not an IP address",
        "NIC_0_NETWORK_SUBNET6=`192.0.2.0/24`: not an IPv6 subnet",
        "INSTANCE_REINSTALL=`yes`: allowed: 0, 1",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn one_wrong_variable_is_named_with_what_is_allowed() {
    let table = [
        ("INSTANCE_NAME", "", "INSTANCE_NAME is not set"),
        (
            "INSTANCE_NAME",
            "a\nb",
            "INSTANCE_NAME=`a\\nb`: not a host name",
        ),
        ("HYPERVISOR", "k/v", "HYPERVISOR=`k/v`"),
        ("DISK_COUNT", "", "DISK_COUNT is not set"),
        ("DISK_COUNT", "-1", "not a number from 0 to 64"),
        ("DISK_COUNT", "65", "not a number from 0 to 64"),
        (
            "DISK_COUNT",
            "99999999999999999999",
            "not a number from 0 to 64",
        ),
        ("DISK_COUNT", "1e3", "not a number from 0 to 64"),
        ("DISK_0_PATH", "", "neither DISK_0_PATH nor DISK_0_URI"),
        (
            "DISK_0_PATH",
            "drbd0",
            "DISK_0_PATH=`drbd0`: not an absolute path",
        ),
        ("DISK_0_PATH", "/dev/x\ny", "control characters"),
        ("DISK_0_ACCESS", "x", "allowed: rw, ro"),
        ("DISK_0_BACKEND_TYPE", "nbd", "allowed: block, file:DRIVER"),
        ("NIC_COUNT", "4294967295", "not a number from 0 to 64"),
        ("NIC_0_MAC", "aa:bb", "not a hardware address"),
        ("NIC_0_NETWORK_GATEWAY", "fe80::1", "not an IPv4 address"),
        ("NIC_0_NETWORK_GATEWAY6", "192.0.2.1", "not an IPv6 address"),
        ("NIC_0_NETWORK_MAC_PREFIX", "aa:00", "aa:bb:cc"),
        ("DEBUG_LEVEL", "-1", "DEBUG_LEVEL=`-1`: not a number"),
    ];
    for (name, value, part) in table {
        let text = error(&[(name, Some(value))]);
        assert!(text.contains(part), "{part} is not in {text}");
        assert!(!text.contains('\n'), "one fault, one line: {text}");
    }
}

#[test]
fn a_disk_may_have_a_uri_instead_of_a_path() {
    let uri = ("DISK_0_URI", Some("rbd:rbd/disk0"));
    let job = given(&[("DISK_0_PATH", None), uri]).create_job().unwrap();
    let disk = job.root_disk().unwrap();
    assert_eq!(disk.path, None);
    assert_eq!(disk.uri.as_deref(), Some("rbd:rbd/disk0"));
}

const OLD_NAME: (&str, Option<&str>) = ("OLD_INSTANCE_NAME", Some("old.example.com"));

#[test]
fn rename_needs_the_old_name_and_no_disk() {
    let job = given(&[OLD_NAME, ("DISK_COUNT", Some("0"))]);
    let job = job.rename_job().unwrap();
    assert_eq!(job.old_name.as_str(), "old.example.com");
    assert!(job.job.disks.is_empty());
    let text = format!("{:#}", given(&[]).rename_job().unwrap_err());
    assert!(text.contains("OLD_INSTANCE_NAME is not set"), "{text}");
}

#[test]
fn export_and_import_name_one_disk() {
    let index = ("EXPORT_INDEX", Some("1"));
    let snapshot = ("EXPORT_DEVICE", Some("/dev/vg/snap"));
    let job = given(&[index, snapshot]).export_job().unwrap();
    assert_eq!((job.index, job.disk.path), (1, Some("/dev/vg/snap".into())));
    // The disk's own uri does not go with another path.
    let uri = ("DISK_0_URI", Some("rbd:x"));
    let job = given(&[("EXPORT_INDEX", Some("0")), snapshot, uri]);
    assert_eq!(job.export_job().unwrap().disk.uri, None);
    // Without a device of its own the disk is the instance's.
    let job = given(&[("IMPORT_INDEX", Some("0"))]).import_job().unwrap();
    assert_eq!(job.disk.path, Some("/dev/drbd0".into()));
    let text = format!("{:#}", given(&[index]).export_job().unwrap_err());
    assert!(text.contains("EXPORT_DEVICE is not set"), "{text}");
    let text = format!("{:#}", given(&[snapshot]).export_job().unwrap_err());
    assert!(text.contains("EXPORT_INDEX is not set"), "{text}");
}

#[test]
fn the_size_goes_to_a_descriptor_of_its_own() {
    let of = |value| given(&[("EXP_SIZE_FD", Some(value))]).size_descriptor();
    assert_eq!(given(&[]).size_descriptor().unwrap(), None);
    assert_eq!(of("7").unwrap(), Some(7));
    for bad in ["1", "2", "-1", "x", "99999999999"] {
        let text = format!("{:#}", of(bad).unwrap_err());
        assert!(text.contains("not a file descriptor"), "{text}");
    }
}

#[test]
fn invalid_utf8_is_a_fault_and_no_panic() {
    let bad = OsString::from_vec(b"a\xffb".to_vec());
    for name in [
        "INSTANCE_NAME",
        "DISK_0_PATH",
        "NIC_0_IP",
        "OSP_TOKEN",
        "INSTANCE_HV_x",
    ] {
        let mut environment = given(&[]);
        environment.variables.insert(name.into(), bad.clone());
        let text = environment.create_job().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("UTF-8"), "{text}");
    }
    let mut environment = given(&[]);
    environment.variables.insert(bad.clone(), bad.clone());
    environment
        .create_job()
        .expect("a foreign variable is none of ours");
    environment.variables.insert("OS_API_VERSION".into(), bad);
    assert!(environment.create_job().is_err());
}

#[test]
fn reinstall_and_debug() {
    for (value, wanted) in [
        (Some("1"), true),
        (Some("0"), false),
        (Some(""), false),
        (None, false),
    ] {
        let job = given(&[("INSTANCE_REINSTALL", value)])
            .create_job()
            .unwrap();
        assert_eq!(job.reinstall, wanted);
    }
    assert!(!given(&[]).is_verbose());
    assert!(given(&[("DEBUG_LEVEL", Some("1"))]).is_verbose());
}

#[test]
fn secrets_reach_hooks_but_no_text() {
    let environment = given(&[("OSP_TOKEN", Some("s3cret"))]);
    let job = environment.create_job().unwrap();
    assert_eq!(job.parameters.get("token"), Some("s3cret"));
    let texts = format!(
        "{environment:?} {job:?} {}",
        serde_json::to_string(&job).unwrap()
    );
    assert!(
        texts.contains("token") && !texts.contains("s3cret"),
        "{texts}"
    );
    let hooks = environment.hook_environment();
    assert!(hooks.contains(&("OSP_TOKEN".into(), "s3cret".into())));
}

#[test]
fn hooks_get_what_ganeti_set_and_nothing_inherited() {
    let environment = given(&[("LD_PRELOAD", Some("/x.so")), ("HOME", Some("/root"))]);
    let hooks = environment.hook_environment();
    let names: Vec<_> = hooks
        .iter()
        .map(|(name, _)| name.to_str().unwrap())
        .collect();
    for (name, _) in GIVEN {
        assert!(names.contains(name), "{name}");
    }
    assert!(!names.contains(&"LD_PRELOAD") && !names.contains(&"HOME"));
    assert_eq!(names.iter().filter(|name| **name == "PATH").count(), 1);
    let bare = Environment::default().hook_environment();
    assert_eq!(bare, [("PATH".into(), DEFAULT_PATH.into())]);
}

#[test]
fn paths_have_defaults_and_can_be_moved() {
    let paths = given(&[]).paths().unwrap();
    assert_eq!(paths, SettingsPaths::default());
    let moved = [
        ("P2V_CONFIG_DIR", Some("/d/etc")),
        ("P2V_STATE_DIR", Some("/d/var")),
    ];
    let paths = given(&moved).paths().unwrap();
    assert_eq!(paths.config_dir, PathBuf::from("/d/etc"));
    assert_eq!(paths.os_dir, SettingsPaths::default().os_dir);
    let wrong = given(&[("P2V_OS_DIR", Some("os"))]);
    assert!(
        wrong
            .paths()
            .unwrap_err()
            .to_string()
            .contains("P2V_OS_DIR=`os`")
    );
}
