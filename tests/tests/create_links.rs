//! Symbolic links where `create` and its hooks write: none leads a write out
//! of the instance's root, whoever planted it.

use std::path::Path;

use p2v_sys::Cmd;
use p2v_tests::image;
use p2v_tests::{GIB, Instance, Lab, Outcome, need_root};

const NAME: &str = "linked.example.org";

#[test]
fn links_in_the_bootstrap_root_lead_no_write_outside() {
    need_root!();
    let lab = Lab::with_own_cache("links").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let victims = lab.dir().join("victims");
    std::fs::create_dir(&victims).unwrap();
    bootstrap_with_links(&lab, &victims);
    let path = format!(
        "{}:/sbin:/bin:/usr/sbin:/usr/bin",
        lab.dir().join("bin").display()
    );
    let instance = Instance::new(NAME, &disk).with("PATH", &path);
    let outcome = lab.create(&instance).unwrap();
    assert_victims_unharmed(&victims, &outcome);
    lab.assert_nothing_left();
}

#[test]
fn links_made_by_a_hook_lead_no_write_outside() {
    need_root!();
    let lab = Lab::new("hook-links").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    let victims = lab.dir().join("victims");
    std::fs::create_dir(&victims).unwrap();
    make_victims(&victims);
    lab.hook(
        "05-link",
        &format!("#!/bin/sh\nset -eu\n{}", link_commands("$TARGET", &victims)),
    )
    .unwrap();
    let outcome = lab.create(&instance).unwrap();
    assert_victims_unharmed(&victims, &outcome);
    lab.assert_nothing_left();
}

/// Files of the instance that create or its hooks write.
const LINKED: &[&str] = &[
    "etc/fstab",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/machine-id",
    "etc/network/interfaces",
    "etc/ssh/ssh_host_ed25519_key",
    "root/.ssh",
];

/// Shell lines that replace each by a link to a victim of the node's.
fn link_commands(root: &str, victims: &Path) -> String {
    LINKED
        .iter()
        .map(|name| {
            let victim = victims.join(name.replace('/', "-"));
            format!(
                "rm -rf \"{root}/{name}\"\nln -s '{}' \"{root}/{name}\"\n",
                victim.display()
            )
        })
        .collect()
}

fn make_victims(victims: &Path) {
    for name in LINKED {
        let victim = victims.join(name.replace('/', "-"));
        if *name == "root/.ssh" {
            std::fs::create_dir(victim).unwrap();
        } else {
            std::fs::write(victim, "unharmed").unwrap();
        }
    }
}

/// Whether create succeeds with such a root or refuses it, is up to it.
fn assert_victims_unharmed(victims: &Path, outcome: &Outcome) {
    for name in LINKED {
        let victim = victims.join(name.replace('/', "-"));
        if *name == "root/.ssh" {
            let inside = std::fs::read_dir(&victim).unwrap().count();
            assert_eq!(inside, 0, "written to {}", victim.display());
        } else {
            let text = std::fs::read_to_string(&victim).unwrap();
            assert_eq!(text, "unharmed", "{name}. The log:\n{}", outcome.log);
        }
    }
    assert!(
        outcome.log.lines().count() > 3,
        "it did not come far enough to tell:\n{}",
        outcome.log
    );
}

/// A stand-in for mmdebstrap that copies the root of a created disk and plants
/// the links in it: a hostile mirror's package could do the same.
fn bootstrap_with_links(lab: &Lab, victims: &Path) {
    use std::os::unix::fs::PermissionsExt;
    make_victims(victims);
    let donor = Lab::new("links-donor").unwrap();
    let disk = donor.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new("donor.example.org", &disk).parameter("partition_style", "none");
    donor.create(&instance).unwrap().assert_success();
    let root = image::MountedPart::new(&disk, image::whole(&disk).unwrap(), "ext4", donor.dir());
    let root = root.unwrap();
    let copy = lab.dir().join("donated");
    let cp = Cmd::new("cp", "copying a root").args(["-a", "--"]);
    cp.arg(root.path()).arg(&copy).run().unwrap();
    root.close().unwrap();
    let script = format!(
        "#!/bin/sh\nset -eu\nfor target; do :; done\nmkdir -p \"$target\"\n\
         cp -a '{}/.' \"$target/\"\n{}",
        copy.display(),
        link_commands("$target", victims)
    );
    let bin = lab.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let tool = bin.join("mmdebstrap");
    std::fs::write(&tool, script).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
}
