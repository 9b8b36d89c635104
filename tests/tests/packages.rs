//! The Debian packages, on clean machines with the real dpkg and apt:
//! installed, used, upgraded over edited configuration, removed and purged.

use std::path::Path;
use std::sync::OnceLock;

use p2v_sys::Cmd;
use p2v_sys::lock::FileLock;
use p2v_tests::packages::machine::{CACHE, CONFIG, Machine, OS_DIR, STATE};
use p2v_tests::packages::{NODE, Packages, SourceTree, TRANSFER};
use p2v_tests::{Instance, need_root, place};

/// Older than any version.
const OLDER: &str = "0.0.1";

/// Where packages and trees are made, beside the build.
fn work_dir() -> std::path::PathBuf {
    let dir = place::source_dir().join("target/test-packages");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Makes something once for all tests, while no other process does.
fn once(
    cell: &'static OnceLock<Packages>,
    make: impl FnOnce(&Path) -> Packages,
) -> &'static Packages {
    cell.get_or_init(|| {
        let dir = work_dir();
        let _lock = FileLock::wait(&dir.join("lock"), "making the packages to test").unwrap();
        make(&dir)
    })
}

/// The packages of this tree.
fn current() -> &'static Packages {
    static CURRENT: OnceLock<Packages> = OnceLock::new();
    once(&CURRENT, |dir| {
        Packages::make(&place::source_dir(), &dir.join("current")).unwrap()
    })
}

/// The packages of an older version, whose configuration was another one.
fn older() -> &'static Packages {
    static OLDER_ONES: OnceLock<Packages> = OnceLock::new();
    once(&OLDER_ONES, |dir| {
        from_copy(dir, "older", |tree| {
            tree.set_version(OLDER).unwrap();
            for file in [
                "os-def/p2v-target.conf",
                "hooks.d/10-clear-root-password",
                "hooks.d/20-write-interfaces",
                "fixes.d/60-scrub-lvm",
            ] {
                tree.append(file, "# of the older version").unwrap();
            }
        })
    })
}

/// The packages of a changed copy of this tree.
fn from_copy(dir: &Path, name: &str, change: impl FnOnce(&SourceTree)) -> Packages {
    let copy = dir.join(format!("{name}-tree"));
    if copy.exists() {
        std::fs::remove_dir_all(&copy).unwrap();
    }
    let tree = SourceTree::copy_to(&copy).unwrap();
    change(&tree);
    let packages = Packages::make(tree.dir(), &dir.join(name)).unwrap();
    std::fs::remove_dir_all(&copy).unwrap();
    packages
}

/// Installs both, and the key that create wants.
fn install_node(machine: &Machine, packages: &Packages) -> String {
    let said = machine.install(packages, &[TRANSFER, NODE]).unwrap();
    for package in [TRANSFER, NODE] {
        let status = machine.field(package, "db:Status-Status").unwrap();
        assert_eq!(status, "installed", "{package}");
        let version = machine.field(package, "Version").unwrap();
        assert_eq!(version, packages.version(), "{package}");
    }
    said
}

/// Creates an SSH key and authorizes it.
fn authorize_a_key(machine: &Machine) {
    machine
        .command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "/root/key"])
        .run()
        .unwrap();
    let key = machine.read("/root/key.pub").unwrap();
    machine
        .write(&format!("{CONFIG}/authorized_keys"), &key)
        .unwrap();
}

/// The whole life on one node.
fn installed_used_and_purged(suite: &str) {
    let machine = Machine::start(suite).unwrap();
    let depends = [
        "mmdebstrap",
        "grub-pc-bin",
        "openssh-client",
        "e2fsprogs",
        "fdisk",
    ];
    machine.apt(&[&["install"], &depends[..]].concat()).unwrap();
    let before = machine.everything().unwrap();
    install_node(&machine, current());
    let listed = machine
        .run(&format!("dpkg --listfiles {TRANSFER} {NODE}"))
        .unwrap();
    let new = machine.everything().unwrap();
    for path in new.difference(&before) {
        assert!(listed.lines().any(|line| line == path), "{path}");
    }
    assert_eq!(machine.run("dpkg --verify").unwrap(), "");
    every_configuration_file_is_a_conffile(&machine);
    assert_eq!(machine.mode(CACHE).unwrap(), 0o700);

    a_node_makes_instances(&machine);
    remove_and_purge(&machine);
    machine.run("rmdir /etc/ganeti").unwrap();
    let left = machine.everything().unwrap();
    let strays: Vec<_> = left.symmetric_difference(&before).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

/// Whatever lies below the configuration directory, dpkg asks about.
fn every_configuration_file_is_a_conffile(machine: &Machine) {
    let conffiles = machine.field(NODE, "Conffiles").unwrap();
    let files = machine.run(&format!("find {CONFIG} -type f")).unwrap();
    assert!(files.lines().count() > 20, "{files}");
    for file in files.lines() {
        let listed = format!(" {file} ");
        assert!(
            conffiles.lines().any(|line| line.starts_with(&listed)),
            "{file}"
        );
    }
}

/// What the package depends on suffices for the first variant, and what it
/// recommends for all that come along.
fn a_node_makes_instances(machine: &Machine) {
    authorize_a_key(machine);
    machine.warm_cache().unwrap();
    let instance = Instance::new("web1.example.org", Path::new("/no/disk"));
    let verify = machine.as_ganeti("verify", &instance).arg("parameters");
    verify.run().unwrap();
    let list = machine.run(&format!("cat {OS_DIR}/variants.list")).unwrap();
    assert!(list.lines().any(|line| line == "gpt"), "{list}");
    machine.create("default", &[]).unwrap();
    assert!(machine.has(&format!("{STATE}/web1.example.org.json")));

    let recommended = machine.field(NODE, "Recommends").unwrap();
    let recommended: Vec<&str> = recommended.split(", ").collect();
    for (variant, filesystem) in [("gpt", "ext4"), ("default", "xfs"), ("default", "btrfs")] {
        let error = machine
            .create(variant, &[("filesystem", filesystem)])
            .unwrap_err();
        let error = format!("{error:#}");
        let named = recommended
            .iter()
            .any(|name| error.contains(&format!("install {name}")));
        assert!(named, "{error}");
    }
    machine
        .apt(&[&["install"], &recommended[..]].concat())
        .unwrap();
    for (variant, filesystem) in [("gpt", "xfs"), ("default", "btrfs")] {
        machine
            .create(variant, &[("filesystem", filesystem)])
            .unwrap();
    }
    machine
        .apt(&[&["autoremove", "--purge"], &recommended[..]].concat())
        .unwrap();
}

/// Removing keeps what an admin may have changed; purging keeps and names what
/// only an admin or an instance could bring again.
fn remove_and_purge(machine: &Machine) {
    let own_hook = format!("{CONFIG}/hooks.d/95-own");
    let new_version = format!("{CONFIG}/p2v-target.conf.new");
    let state = format!("{STATE}/web1.example.org.json");
    machine.write(&own_hook, "#!/bin/sh\n").unwrap();
    machine.write(&new_version, "").unwrap();
    machine.apt(&["remove", NODE, TRANSFER]).unwrap();
    assert!(!machine.has("/usr/sbin/p2v") && !machine.has(OS_DIR));
    for kept in [
        "p2v-target.conf",
        "authorized_keys",
        "hooks.d/10-clear-root-password",
    ] {
        assert!(machine.has(&format!("{CONFIG}/{kept}")), "{kept}");
    }

    let said = machine.apt(&["purge", NODE, TRANSFER]).unwrap();
    for (path, directory) in [(&own_hook, CONFIG), (&state, STATE)] {
        assert!(machine.has(path), "{path}");
        let is_said = |end: &str| said.lines().any(|line| line.ends_with(end));
        assert!(is_said(&format!("  {path}")), "{said}");
        assert!(is_said(&format!("rm -r {directory}")), "{said}");
        machine.run(&format!("rm -r {directory}")).unwrap();
    }
}

/// An older version's configuration, edited by its admin, meets the new one's.
fn upgraded_over_edited_configuration(suite: &str) {
    let machine = Machine::start(suite).unwrap();
    install_node(&machine, older());
    authorize_a_key(&machine);
    let at = |name: &str| format!("{CONFIG}/{name}");
    for edited in ["p2v-target.conf", "variants/gpt.conf", "variants.list"] {
        machine.append(&at(edited), "# by the admin").unwrap();
    }
    machine
        .write(&at("variants/own.conf"), "SUITE=trixie\n")
        .unwrap();
    machine.write(&at("hooks.d/95-own"), "#!/bin/sh\n").unwrap();
    machine
        .write(&format!("{STATE}/db3.example.org.json"), "{}")
        .unwrap();
    machine
        .write(&format!("{CACHE}/initrd-of-a-test.img"), "")
        .unwrap();
    machine
        .set_mode(&at("hooks.d/20-write-interfaces"), "a-x")
        .unwrap();
    machine
        .set_mode(&at("hooks.d/60-write-hosts"), "a+x")
        .unwrap();
    machine.remove(&at("fixes.d/60-scrub-lvm")).unwrap();
    machine.remove(&at("fixes.d/65-scrub-mdadm")).unwrap();

    install_node(&machine, current());
    let text = |name: &str| machine.read(&at(name)).unwrap();
    let is_older = |name: &str| text(name).contains("# of the older version");
    let is_admins = |name: &str| text(name).contains("# by the admin");
    // Changed on both sides: the admin's stays, the new one lies beside it.
    assert!(is_admins("p2v-target.conf") && is_older("p2v-target.conf"));
    assert!(!is_admins("p2v-target.conf.dpkg-dist") && !is_older("p2v-target.conf.dpkg-dist"));
    // Changed by the admin alone.
    assert!(is_admins("variants/gpt.conf") && is_admins("variants.list"));
    // Changed by the package alone.
    assert!(!is_older("hooks.d/10-clear-root-password"));
    // The run bit is the admin's switch, also of a hook with a new text.
    assert!(!is_older("hooks.d/20-write-interfaces"));
    assert_eq!(
        machine.mode(&at("hooks.d/20-write-interfaces")).unwrap(),
        0o644
    );
    assert_eq!(machine.mode(&at("hooks.d/60-write-hosts")).unwrap(), 0o755);
    // What an admin has removed does not come again.
    assert!(
        !machine.has(&at("fixes.d/60-scrub-lvm")) && !machine.has(&at("fixes.d/65-scrub-mdadm"))
    );
    for own in ["authorized_keys", "variants/own.conf", "hooks.d/95-own"] {
        assert!(machine.has(&at(own)), "{own}");
    }
    assert!(machine.has(&format!("{STATE}/db3.example.org.json")));
    assert!(machine.has(&format!("{CACHE}/initrd-of-a-test.img")));
    what_dpkg_left_beside_is_not_run(&machine);
}

fn what_dpkg_left_beside_is_not_run(machine: &Machine) {
    machine
        .write(
            &format!("{CONFIG}/fixes.d/10-repair-fstab.dpkg-dist"),
            "#!/bin/sh\n",
        )
        .unwrap();
    let list = machine.run("p2v fixes --list").unwrap();
    assert!(
        list.contains("15-repair-crypttab") && !list.contains("dpkg"),
        "{list}"
    );
    assert!(!list.contains("60-scrub-lvm"), "{list}");
}

/// The source's package alone; then the node's beside it, and gone again.
fn both_on_one_machine(suite: &str) {
    let machine = Machine::start(suite).unwrap();
    machine.install(current(), &[TRANSFER]).unwrap();
    let version = format!("p2v {}", current().version());
    assert_eq!(machine.run("p2v --version").unwrap(), version);
    assert!(!machine.has(CONFIG) && !machine.has(OS_DIR));
    for tool in ["ssh", "ssh-keyscan", "ssh-keygen", "sfdisk", "blkid"] {
        machine
            .command("sh")
            .args(["-c", &format!("command -v {tool}")])
            .run()
            .unwrap();
    }
    install_node(&machine, current());
    // The cache was moved to where an admin has other files: the link goes, and
    // nothing that is behind it.
    machine.run(&format!("mv {CACHE} /srv/images")).unwrap();
    machine.run(&format!("ln -s /srv/images {CACHE}")).unwrap();
    let own = "/srv/images/initrd-6.1.0-31-amd64.img";
    machine.write(own, "").unwrap();
    machine.apt(&["purge", NODE]).unwrap();
    assert!(machine.has(own));
    assert!(
        machine
            .run("p2v-transfer --help")
            .unwrap()
            .contains("--target")
    );
    assert!(!machine.has(CONFIG) && !machine.has(CACHE) && !machine.has(STATE));
}

/// A node that had it from `make install`, when the list of variants was in the
/// OS directory.
fn over_what_make_install_left(suite: &str) {
    let machine = Machine::start(suite).unwrap();
    let tree = place::installed_tree().unwrap();
    machine.copy_into(&tree, "/").unwrap();
    machine
        .write(&format!("{CONFIG}/authorized_keys"), "# a key\n")
        .unwrap();
    let configured = format!("{CONFIG}/p2v-target.conf");
    let (list, old_list) = (
        format!("{CONFIG}/variants.list"),
        format!("{OS_DIR}/variants.list"),
    );
    machine.append(&configured, "# by the admin").unwrap();
    machine.remove(&list).unwrap();
    machine.remove(&old_list).unwrap();
    machine.write(&old_list, "default\nown\n").unwrap();

    install_node(&machine, current());
    assert!(
        machine
            .read(&configured)
            .unwrap()
            .contains("# by the admin")
    );
    assert_eq!(machine.read(&list).unwrap(), "default\nown\n");
    assert_eq!(machine.run(&format!("readlink {old_list}")).unwrap(), list);
    let differing = machine.run("dpkg --verify").unwrap();
    let names: Vec<_> = differing
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .collect();
    assert_eq!(names, [&configured, &list], "{differing}");
    assert!(machine.has(&format!("{CONFIG}/authorized_keys")));
}

macro_rules! on {
    ($suite:ident: $($story:ident)*) => {
        mod $suite {
            $(#[test]
            fn $story() {
                p2v_tests::need_root!();
                super::$story(stringify!($suite));
            })*
        }
    };
}

on!(bookworm: installed_used_and_purged upgraded_over_edited_configuration over_what_make_install_left);
on!(trixie: installed_used_and_purged upgraded_over_edited_configuration both_on_one_machine);

#[test]
fn lintian_finds_no_error() {
    need_root!();
    Cmd::new("lintian", "checking the packages")
        .args(["--allow-root", "--fail-on", "error"])
        .arg(current().changes())
        .run()
        .unwrap();
}

#[test]
fn made_in_another_directory_they_are_the_same() {
    need_root!();
    let here = current();
    let dir = work_dir();
    let _lock = FileLock::wait(&dir.join("lock"), "making the packages to test").unwrap();
    let there = from_copy(&dir, "there", |_| ());
    for package in [TRANSFER, NODE] {
        let bytes = |packages: &Packages| std::fs::read(packages.file(package)).unwrap();
        assert!(bytes(here) == bytes(&there), "{package} differs");
    }
}
