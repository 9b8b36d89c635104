//! `rename` on disks whose owner means harm, or that are not as they should
//! be: nothing outside the root changes, and what cannot be done is said.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, LoopDevice};
use p2v_tests::guest::{self, assert_root, edit, format, make_root};
use p2v_tests::{Instance, Lab, MIB, Outcome, image, need_root};

const OLD: &str = "old.example.com";
const NEW: &str = "new.example.org";
const WHOLE: Extent = Extent {
    offset: 0,
    length: 0,
};

/// A whole disk with a root in it, in a filesystem of this kind.
fn ready(test: &str, kind: &str, size: u64) -> (Lab, PathBuf, Instance) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("disk.img", size).unwrap();
    let instance = Instance::new(NEW, &disk);
    format(&disk, WHOLE, &format!("mkfs.{kind}"), &["-q"]).unwrap();
    edit(&disk, WHOLE, (kind, ""), |top| make_root(top, OLD, OLD)).unwrap();
    (lab, disk, instance)
}

/// Renames a root that `spoil` has had its hands on, and looks at what came of
/// it.
fn spoilt<T>(
    (lab, disk, instance): &(Lab, PathBuf, Instance),
    spoil: impl FnOnce(&Path),
    look: impl FnOnce(&Path, &Outcome) -> T,
) -> T {
    edit(disk, WHOLE, ("ext4", ""), spoil).unwrap();
    let outcome = lab.rename(instance, OLD).unwrap();
    lab.assert_nothing_left();
    edit(disk, WHOLE, ("ext4", ""), |top| look(top, &outcome)).unwrap()
}

fn replace(top: &Path, name: &str, make: impl FnOnce(&Path)) {
    let path = top.join(name);
    let _ = std::fs::remove_file(&path);
    make(&path);
}

#[test]
fn a_superblock_left_under_a_strange_table_is_not_written_by() {
    need_root!();
    let (lab, disk, instance) = ready("strange-table", "ext4", 64 * MIB);
    let relabel = Cmd::new("sfdisk", "writing a table of another kind");
    let relabel = relabel.args(["--quiet", "--wipe=never"]).arg(&disk);
    relabel.stdin("label: sun\n").run().unwrap();
    let before = image::hash(&disk).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&["sun", "nothing was changed"]);
    assert_eq!(image::hash(&disk).unwrap(), before, "rename wrote");
    lab.assert_nothing_left();
}

#[test]
fn links_lead_no_write_to_the_node() {
    need_root!();
    let ready = ready("hostile-links", "ext4", 64 * MIB);
    let victims = ready.0.dir().join("victims");
    std::fs::create_dir(&victims).unwrap();
    let node = Node::remember(&victims);
    let climb = format!("{}{}", "../".repeat(12), victims.display());
    let victim = victims.display().to_string();
    let from_mount = format!("../../../../victims/{}", "passwd");
    for target in [
        &format!("{victim}/passwd"),
        &format!("{climb}/passwd"),
        &from_mount,
    ] {
        for name in ["hostname", "hosts", "mailname", "HOSTNAME"] {
            let spoil = |top: &Path| {
                replace(top, &format!("etc/{name}"), |path| {
                    symlink(target, path).unwrap();
                });
            };
            spoilt(&ready, spoil, |_, _| ());
            node.assert_unharmed(&victims, name);
            let mend = |top: &Path| {
                replace(top, &format!("etc/{name}"), |_| ());
                make_root(top, OLD, OLD);
            };
            edit(&ready.1, WHOLE, ("ext4", ""), mend).unwrap();
        }
    }
    // The whole directory, and one above it.
    for target in ["/", victim.as_str(), climb.as_str(), "..", "/etc", "etc"] {
        let spoil = |top: &Path| {
            let _ = std::fs::remove_file(top.join("etc"));
            let _ = std::fs::rename(top.join("etc"), top.join("etc.real"));
            symlink(target, top.join("etc")).unwrap();
            for name in ["hostname", "hosts", "passwd"] {
                std::fs::write(top.join(name), format!("{OLD}\n")).unwrap();
            }
        };
        spoilt(&ready, spoil, |_, _| ());
        node.assert_unharmed(&victims, target);
    }
}

/// What must stay as it is.
struct Node {
    names: Vec<Option<Vec<u8>>>,
}

/// A name that a followed link would change.
const VICTIMS: [&str; 4] = ["passwd", "hostname", "hosts", "mailname"];

impl Node {
    fn remember(victims: &Path) -> Self {
        for name in VICTIMS {
            std::fs::write(victims.join(name), OLD).unwrap();
        }
        Self {
            names: Self::files(),
        }
    }

    fn files() -> Vec<Option<Vec<u8>>> {
        let paths = [
            "/etc/hostname",
            "/etc/hosts",
            "/etc/mailname",
            "/etc/passwd",
        ];
        paths.map(|path| std::fs::read(path).ok()).into()
    }

    #[track_caller]
    fn assert_unharmed(&self, victims: &Path, by: &str) {
        for name in VICTIMS {
            let text = std::fs::read_to_string(victims.join(name)).unwrap();
            assert_eq!(text, OLD, "{name}, by {by}");
        }
        assert_eq!(std::fs::read_dir(victims).unwrap().count(), VICTIMS.len());
        assert_eq!(Self::files(), self.names, "by {by}");
    }
}

#[test]
fn links_within_the_root_are_followed_and_stay() {
    need_root!();
    let ready = ready("inner-links", "ext4", 64 * MIB);
    let spoil = |top: &Path| {
        std::fs::create_dir(top.join("config")).unwrap();
        for name in ["hostname", "hosts"] {
            std::fs::rename(top.join("etc").join(name), top.join("config").join(name)).unwrap();
        }
        symlink("/config/hostname", top.join("etc/hostname")).unwrap();
        symlink("../../../../config/hosts", top.join("etc/hosts")).unwrap();
        symlink("hostname", top.join("etc/HOSTNAME")).unwrap();
    };
    spoilt(&ready, spoil, |top, outcome| {
        outcome.assert_success();
        for name in ["hostname", "hosts", "HOSTNAME"] {
            assert!(top.join("etc").join(name).is_symlink(), "{name}");
        }
        let read = |name: &str| std::fs::read(top.join("config").join(name)).unwrap();
        assert_eq!(read("hostname"), format!("{NEW}\n").as_bytes());
        assert_eq!(read("hosts"), guest::hosts(NEW, "new"));
        assert_eq!(std::fs::read_dir(top.join("config")).unwrap().count(), 2);
    });
}

type Make = fn(&Path);

/// What takes the place of a file, and a word of why it is left alone.
const ODD: [(&str, Make, &str); 7] = [
    (
        "a FIFO",
        |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
        "not a regular file",
    ),
    (
        "a device",
        |path| device(path, SFlag::S_IFCHR),
        "permission denied",
    ),
    (
        "a disk",
        |path| device(path, SFlag::S_IFBLK),
        "permission denied",
    ),
    (
        "a directory",
        |path| std::fs::create_dir(path).unwrap(),
        "not a regular file",
    ),
    ("a socket", |path| device(path, SFlag::S_IFSOCK), ""),
    (
        "a loop of links",
        |path| symlink("hosts", path).unwrap(),
        "symbolic link",
    ),
    (
        "a huge file",
        |path| {
            let file = std::fs::File::create(path).unwrap();
            file.set_len(20 << 30).unwrap();
        },
        "larger than 16 MiB",
    ),
];

#[test]
fn files_that_are_no_files() {
    need_root!();
    let ready = ready("odd-files", "ext4", 64 * MIB);
    for (what, make, words) in ODD {
        let spoil = |top: &Path| replace(top, "etc/hosts", make);
        spoilt(&ready, spoil, |top, outcome| {
            outcome.assert_refused(&["etc/hosts", words]);
            // What can be changed is.
            let read = |name| std::fs::read_to_string(top.join(name)).unwrap();
            assert_eq!(read("etc/hostname"), format!("{NEW}\n"), "{what}");
            assert_eq!(read("etc/mailname"), format!("{NEW}\n"), "{what}");
            let hosts = top.join("etc/hosts");
            let _ = std::fs::remove_file(&hosts).or_else(|_| std::fs::remove_dir(&hosts));
            make_root(top, OLD, OLD);
        });
    }
    // Where the name itself cannot be read, nothing is changed.
    let spoil = |top: &Path| {
        replace(top, "etc/hostname", |path| {
            nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()
        });
    };
    spoilt(&ready, spoil, |top, outcome| {
        outcome.assert_refused(&["etc/hostname", "machine's own name", "not a regular file"]);
        assert_eq!(
            std::fs::read(top.join("etc/hosts")).unwrap(),
            guest::hosts(OLD, "old")
        );
    });
}

/// The numbers of a disk and of a terminal.
fn device(path: &Path, kind: SFlag) {
    let number = nix::sys::stat::makedev(7, 0);
    mknod(path, kind, Mode::S_IRWXU, number).unwrap();
}

#[test]
fn an_immutable_file_and_a_full_filesystem() {
    need_root!();
    let ready = ready("immutable", "ext4", 16 * MIB);
    let chattr = |flag: &'static str| {
        move |top: &Path| {
            let command = Cmd::new("chattr", "changing a flag").arg(flag);
            command.arg(top.join("etc/hosts")).run().unwrap();
        }
    };
    spoilt(&ready, chattr("+i"), |top, outcome| {
        outcome.assert_refused(&["etc/hosts", "immutable", "chattr -i"]);
        chattr("-i")(top);
        assert_eq!(
            std::fs::read(top.join("etc/hosts")).unwrap(),
            guest::hosts(OLD, "old")
        );
        make_root(top, OLD, OLD);
    });
    let fill = |top: &Path| {
        let mut file = std::fs::File::create(top.join("filler")).unwrap();
        // Down to the last block: larger writes fail where smaller ones fit.
        for size in [1 << 20, 4096, 1024, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    };
    spoilt(&ready, fill, |top, outcome| {
        outcome.assert_refused(&["etc/hosts", "No space left"]);
        std::fs::remove_file(top.join("filler")).unwrap();
        assert_root(top, OLD, OLD);
    });
}

/// What a machine that lost its power leaves: the disk as it was while its
/// filesystem was mounted and had just been written.
fn cut_off(disk: &Path, kind: &str, work: impl FnOnce(&Path)) {
    let copy = disk.with_extension("copy");
    edit(disk, WHOLE, (kind, ""), |top| {
        work(top);
        Cmd::new("sync", "writing out")
            .arg("-f")
            .arg(top)
            .run()
            .unwrap();
        let file = top.join("etc/late");
        std::fs::write(&file, "late").unwrap();
        std::fs::File::open(&file).unwrap().sync_all().unwrap();
        let cp = Cmd::new("cp", "copying the disk").arg("--sparse=always");
        cp.args([disk, &copy]).run().unwrap();
    })
    .unwrap();
    std::fs::rename(copy, disk).unwrap();
}

#[test]
fn journals_are_replayed_before_the_change() {
    need_root!();
    for (kind, size) in [("ext4", 64 * MIB), ("xfs", 320 * MIB), ("btrfs", 128 * MIB)] {
        let (lab, disk, instance) = ready(kind, kind, size);
        cut_off(&disk, kind, |_| ());
        lab.rename(&instance, OLD).unwrap().assert_success();
        lab.assert_nothing_left();
        let check = |top: &Path| {
            std::fs::remove_file(top.join("etc/late")).expect("the journal was not replayed");
            assert_root(top, NEW, NEW);
        };
        edit(&disk, WHOLE, (kind, ""), check).unwrap();
        let device = LoopDevice::attach(&disk, WHOLE, true).unwrap();
        let fsck = match kind {
            "ext4" => Cmd::new("e2fsck", "checking").args(["-f", "-n"]),
            "xfs" => Cmd::new("xfs_repair", "checking").arg("-n"),
            _ => Cmd::new("btrfs", "checking").arg("check"),
        };
        fsck.arg(device.path()).run().unwrap();
        device.close().unwrap();
    }
}

#[test]
fn a_dirty_filesystem_with_a_name_of_its_own() {
    need_root!();
    for (kind, size) in [("ext4", 64 * MIB), ("xfs", 320 * MIB), ("btrfs", 128 * MIB)] {
        let (lab, disk, instance) = ready(&format!("own-{kind}"), kind, size);
        cut_off(&disk, kind, |top| {
            std::fs::write(top.join("etc/hostname"), "db7\n").unwrap();
        });
        let before = image::hash(&disk).unwrap();
        let outcome = lab.rename(&instance, OLD).unwrap();
        let log = &outcome.assert_success().log;
        assert!(log.contains("name of its own, `db7`"), "{log}");
        // XFS has the name in its journal alone, which had to be replayed.
        if kind != "xfs" {
            assert_eq!(image::hash(&disk).unwrap(), before, "{kind} was written");
        }
        let hosts = |top: &Path| std::fs::read(top.join("etc/hosts")).unwrap();
        let hosts = edit(&disk, WHOLE, (kind, ""), hosts).unwrap();
        assert_eq!(hosts, guest::hosts(OLD, "old"));
    }
}

#[test]
fn what_only_a_check_can_mend_is_not_written() {
    need_root!();
    let (lab, disk, instance) = ready("dirty-ext2", "ext2", 64 * MIB);
    cut_off(&disk, "ext2", |_| ());
    let before = image::hash(&disk).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&["not cleanly unmounted", "nothing was changed", "e2fsck"]);
    assert_eq!(image::hash(&disk).unwrap(), before);
    let (lab, disk, instance) = ready("errors", "ext4", 64 * MIB);
    let tune = Cmd::new("tune2fs", "setting the error flag").args(["-E", "force_fsck"]);
    tune.arg(&disk).run().unwrap();
    let before = image::hash(&disk).unwrap();
    let outcome = lab.rename(&instance, OLD).unwrap();
    outcome.assert_refused(&["has errors", "nothing was changed", "e2fsck"]);
    assert_eq!(image::hash(&disk).unwrap(), before);
}
