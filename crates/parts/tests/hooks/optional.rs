//! The hooks that are off by default.

use std::fs;
use std::path::PathBuf;

use crate::root::TestRoot;

/// Sets P2V_CONFIG_DIR and makes its confdata directory.
fn confdata(root: &mut TestRoot) -> PathBuf {
    let directory = root.outer.path().join("config");
    root.set("P2V_CONFIG_DIR", directory.clone());
    let confdata = directory.join("confdata");
    fs::create_dir_all(&confdata).unwrap();
    confdata
}

#[test]
fn hosts_has_the_name_with_its_own_address_or_the_loopback_one() {
    for (env, line) in [
        (
            &[
                ("INSTANCE_NAME", "web1.example.com"),
                ("NIC_0_IP", "192.0.2.5"),
            ][..],
            "192.0.2.5 web1.example.com web1\n",
        ),
        (
            &[("INSTANCE_NAME", "web1.example.com"), ("NIC_0_IP", "")],
            "127.0.1.1 web1.example.com web1\n",
        ),
        (&[("INSTANCE_NAME", "web1")], "127.0.1.1 web1\n"),
        (
            &[("INSTANCE_NAME", "web1"), ("NIC_0_IP", "1\n6.6.6.6 bank")],
            "127.0.1.1 web1\n",
        ),
    ] {
        let mut root = TestRoot::new();
        root.set_all(env);
        root.run_well("60-write-hosts");
        let text = root.read("etc/hosts");
        assert!(
            text.starts_with(&format!("127.0.0.1 localhost\n{line}\n")),
            "{text}"
        );
    }
    let mut root = TestRoot::new();
    root.set("INSTANCE_NAME", "web1\n6.6.6.6 bank");
    assert!(root.run_badly("60-write-hosts").contains("INSTANCE_NAME"));
}

#[test]
fn hosts_takes_the_admins_own_lines() {
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    root.set("INSTANCE_NAME", "web1");
    fs::write(confdata.join("hosts"), "192.0.2.1 router\n").unwrap();
    root.run_well("60-write-hosts");
    assert!(root.read("etc/hosts").ends_with("\n\n192.0.2.1 router\n"));
}

#[test]
fn keys_are_added_once_to_those_that_are_there() {
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    root.set("INSTANCE_NAME", "web1");
    root.write("root/.ssh/authorized_keys", "ssh-ed25519 AAAA first\n");
    fs::write(
        confdata.join("ssh-keys"),
        "ssh-ed25519 BBBB all\n\nssh-ed25519 AAAA first\n",
    )
    .unwrap();
    fs::write(confdata.join("ssh-keys.web1"), "ssh-ed25519 CCCC web1").unwrap();
    fs::write(confdata.join("ssh-keys.web2"), "ssh-ed25519 DDDD web2\n").unwrap();
    for _ in 0..2 {
        root.run_well("70-add-ssh-keys");
        assert_eq!(
            root.read("root/.ssh/authorized_keys"),
            "ssh-ed25519 AAAA first\nssh-ed25519 BBBB all\nssh-ed25519 CCCC web1\n"
        );
    }
    assert_eq!(root.mode("root/.ssh/authorized_keys"), 0o600);
    assert_eq!(root.mode("root/.ssh"), 0o700);
}

#[test]
fn no_keys_and_private_keys_are_errors() {
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    let said = root.run_badly("70-add-ssh-keys");
    assert!(said.contains("confdata/ssh-keys"), "{said}");
    fs::write(
        confdata.join("ssh-keys"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    )
    .unwrap();
    assert!(root.run_badly("70-add-ssh-keys").contains("private key"));
    assert!(!root.path("root/.ssh").exists());
}

#[test]
fn the_time_zone_is_a_link_where_the_root_knows_it() {
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    fs::write(confdata.join("timezone"), "Mars/Olympus_Mons\n").unwrap();
    root.write("usr/share/zoneinfo/Mars/Olympus_Mons", "TZif2");
    root.run_well("80-set-timezone");
    assert_eq!(
        root.link("etc/localtime"),
        "/usr/share/zoneinfo/Mars/Olympus_Mons"
    );
    assert_eq!(root.read("etc/timezone"), "Mars/Olympus_Mons\n");
}

#[test]
fn a_root_without_tzdata_gets_the_nodes_file() {
    if !std::path::Path::new("/usr/share/zoneinfo/Europe/Brussels").exists() {
        p2v_testing::skip("needs tzdata");
        return;
    }
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    fs::write(confdata.join("timezone"), "Europe/Brussels\n").unwrap();
    root.run_well("80-set-timezone");
    let bytes = fs::read(root.path("etc/localtime")).unwrap();
    assert!(bytes.starts_with(b"TZif"));
    assert!(
        fs::symlink_metadata(root.path("etc/localtime"))
            .unwrap()
            .is_file()
    );
}

#[test]
fn unknown_and_malicious_time_zones_are_errors() {
    for zone in [
        "No/Such_Zone",
        "../../../etc/shadow",
        "/etc/passwd",
        "-x",
        "",
        "a b",
        "$(id)",
    ] {
        let mut root = TestRoot::new();
        let confdata = confdata(&mut root);
        fs::write(confdata.join("timezone"), zone).unwrap();
        assert!(
            root.run_badly("80-set-timezone").contains("time zone"),
            "{zone}"
        );
        assert!(!root.path("etc/timezone").exists(), "{zone}");
    }
}

#[test]
fn plain_and_hashed_passwords_are_set() {
    p2v_testing::need_root!();
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    root.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/sh\n",
    );
    root.write(
        "etc/shadow",
        "root::19000:0:99999:7:::\nadmin:!:19000:0:99999:7:::\n",
    );
    root.write("etc/login.defs", "");
    let passwords = confdata.join("defaultpasswords");
    fs::write(
        &passwords,
        "# ours\n\nroot:pass: word$\nadmin:$6$salt$hash\n",
    )
    .unwrap();
    let said = root.run_well("90-set-defaultpasswords");
    assert!(said.contains("chmod 600"), "{said}");
    let shadow = root.read("etc/shadow");
    assert!(shadow.contains("root:$6$"), "{shadow}");
    assert!(shadow.contains("admin:$6$salt$hash:"), "{shadow}");
    let hash = shadow.split(':').nth(1).unwrap();
    let salt = hash.split('$').collect::<Vec<_>>();
    if let Ok(real) = p2v_sys::Cmd::new("openssl", "hashing")
        .args(["passwd", "-6", "-salt", salt[salt.len() - 2], "pass: word$"])
        .read()
    {
        if salt.len() == 4 {
            assert_eq!(hash, real);
        }
    } else {
        p2v_testing::skip("needs openssl to check the hash");
    }
    // Nobody's.
    fs::write(&passwords, "nobody-here:x\n").unwrap();
    root.run_badly("90-set-defaultpasswords");
}

#[test]
fn no_passwords_are_an_error_that_says_what_to_create() {
    let mut root = TestRoot::new();
    let confdata = confdata(&mut root);
    let said = root.run_badly("90-set-defaultpasswords");
    assert!(
        said.contains("create ") && said.contains("confdata/defaultpasswords"),
        "{said}"
    );
    fs::write(confdata.join("defaultpasswords"), "# none\n").unwrap();
    assert!(
        root.run_badly("90-set-defaultpasswords")
            .contains("no line")
    );
}
