//! Between each pair of kinds of filesystems, and what only Btrfs has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use p2v_sys::{Cmd, LoopDevice, Mount, btrfs};

use crate::common::{copy, judge, nasty};

/// A filesystem in a file.
struct Disk {
    mount: Mount,
    device: Option<LoopDevice>,
}

impl Disk {
    fn make(scratch: &Path, name: &str, kind: &str, args: &[&str], size: u64) -> Self {
        let target = scratch.join(name);
        fs::create_dir(&target).unwrap();
        let flags = MsFlags::empty();
        if kind == "tmpfs" {
            let size = format!("size={size}");
            let mount = Mount::new("tmpfs", &target, kind, flags, &size).unwrap();
            return Self {
                mount,
                device: None,
            };
        }
        let image = scratch.join(format!("{name}.img"));
        File::create(&image).unwrap().set_len(size).unwrap();
        let program = format!("mkfs.{kind}");
        Cmd::new(program, "making a fixture")
            .args(args)
            .arg(&image)
            .run()
            .unwrap();
        let extent = p2v_sys::loopdev::Extent {
            offset: 0,
            length: size,
        };
        let device = LoopDevice::attach(&image, extent, false).unwrap();
        let mount = Mount::new(device.path(), &target, kind, flags, "").unwrap();
        Self {
            mount,
            device: Some(device),
        }
    }

    fn top(&self) -> PathBuf {
        self.mount.target().to_owned()
    }

    fn close(self) {
        self.mount.close().unwrap();
        if let Some(device) = self.device {
            device.close().unwrap();
        }
    }
}

const SIZE: u64 = 400 << 20;

#[test]
fn everything_is_kept_from_each_filesystem_to_the_next() {
    p2v_testing::need_private_mounts!();
    let scratch = p2v_testing::scratch("copy");
    let make = |(name, kind, args): &(&str, &str, &[&str])| {
        Disk::make(scratch.path(), name, kind, args, SIZE)
    };
    let table: [(&str, &str, &[&str]); 4] = [
        ("ext4", "ext4", &["-q", "-F", "-b", "4096"]),
        ("xfs", "xfs", &["-q", "-f"]),
        ("btrfs", "btrfs", &["-q", "-f"]),
        ("ext3", "ext3", &["-q", "-F", "-b", "4096", "-I", "256"]),
    ];
    let disks: Vec<Disk> = table.iter().map(make).collect();
    fs::write(disks[1].top().join("was-there"), "before").unwrap();
    fs::create_dir_all(disks[2].top().join("size-1/in/the/way")).unwrap();
    nasty(&disks[0].top());
    for pair in disks.windows(2) {
        let (from, to) = (pair[0].top(), pair[1].top());
        let first = copy(&from, &to).unwrap();
        assert!(first.bytes_sent > 9_000_000, "{first:?}");
        judge(&from, &to);
        assert_eq!(copy(&from, &to).unwrap().bytes_sent, 0);
        judge(&from, &to);
        for name in ["sparse", "aside", "size-4096"] {
            let stored = |top: &Path| {
                use std::os::unix::fs::MetadataExt;
                top.join(name).metadata().unwrap().blocks() * 512
            };
            let (was, is) = (stored(&from), stored(&to));
            assert!(is.abs_diff(was) < 1 << 20, "{name} takes {is}, not {was}");
        }
        let flags = |path: &Path| {
            let path = path.join("size-4096");
            let said = Cmd::new("lsattr", "looking").arg(path).read().unwrap();
            said.split(' ').next().unwrap().contains('i')
        };
        assert!(flags(&to), "no longer immutable");
    }
    disks.into_iter().for_each(Disk::close);
}

#[test]
fn a_tmpfs_takes_what_it_can() {
    p2v_testing::need_private_mounts!();
    let scratch = p2v_testing::scratch("copy");
    let from = Disk::make(scratch.path(), "from", "tmpfs", &[], SIZE);
    let to = Disk::make(scratch.path(), "to", "tmpfs", &[], SIZE);
    fs::create_dir_all(from.top().join("a/b")).unwrap();
    fs::write(from.top().join("a/b/c"), "text").unwrap();
    copy(&from.top(), &to.top()).unwrap();
    judge(&from.top(), &to.top());
    from.close();
    to.close();
}

fn run_btrfs(top: &Path, args: &[&str]) {
    let command = Cmd::new("btrfs", "making a fixture").args(args);
    command.dir(top).run().unwrap();
}

/// Subvolumes in each other, one of them the default and one read-only, and a
/// file that is not copied on write.
fn make_subvolumes(top: &Path) {
    run_btrfs(top, &["-q", "subvolume", "create", "@"]);
    fs::write(top.join("@/file"), "@").unwrap();
    // Before there is one inside: in the place of that one a snapshot has a
    // directory that the filesystem makes up, with another time whenever asked.
    run_btrfs(
        top,
        &["-q", "subvolume", "snapshot", "-r", "@", "@snapshot"],
    );
    for name in ["@home", "@/var"] {
        run_btrfs(top, &["-q", "subvolume", "create", name]);
        fs::write(top.join(name).join("file"), name).unwrap();
    }
    run_btrfs(top, &["subvolume", "set-default", "@"]);
    fs::create_dir(top.join("nocow")).unwrap();
    Cmd::new("chattr", "making a fixture")
        .arg("+C")
        .arg(top.join("nocow"))
        .run()
        .unwrap();
    fs::write(top.join("nocow/image"), vec![7; 300_000]).unwrap();
}

fn check_subvolumes(there: &Path) {
    let open = |name: &str| File::open(there.join(name)).unwrap();
    for (name, read_only) in [
        ("@", false),
        ("@home", false),
        ("@/var", false),
        ("@snapshot", true),
    ] {
        assert_ne!(btrfs::id(&open(name)), btrfs::id(&open("")), "{name}");
        assert_eq!(btrfs::is_read_only(&open(name)), Ok(read_only), "{name}");
    }
    assert_eq!(btrfs::default_id(&open("")), btrfs::id(&open("@")));
    let said = Cmd::new("lsattr", "looking")
        .arg(there.join("nocow/image"))
        .read()
        .unwrap();
    assert!(said.split(' ').next().unwrap().contains('C'), "{said}");
}

#[test]
fn subvolumes_stay_subvolumes() {
    p2v_testing::need_private_mounts!();
    let scratch = p2v_testing::scratch("copy");
    let from = Disk::make(scratch.path(), "from", "btrfs", &["-q", "-f"], SIZE);
    let to = Disk::make(scratch.path(), "to", "btrfs", &["-q", "-f"], SIZE);
    let plain = Disk::make(scratch.path(), "plain", "ext4", &["-q", "-F"], SIZE);
    let (top, there) = (from.top(), to.top());
    make_subvolumes(&top);
    for _ in 0..2 {
        copy(&top, &there).unwrap();
        judge(&top, &there);
        check_subvolumes(&there);
    }
    // What the snapshot holds has changed meanwhile.
    run_btrfs(&top, &["property", "set", "-f", "@snapshot", "ro", "false"]);
    fs::write(top.join("@snapshot/file"), "changed").unwrap();
    run_btrfs(&top, &["property", "set", "-f", "@snapshot", "ro", "true"]);
    run_btrfs(&top, &["-q", "subvolume", "delete", "@home"]);
    copy(&top, &there).unwrap();
    judge(&top, &there);
    assert_eq!(
        btrfs::is_read_only(&File::open(there.join("@snapshot")).unwrap()),
        Ok(true)
    );
    copy(&top, &plain.top()).unwrap();
    judge(&top, &plain.top());
    [from, to, plain].into_iter().for_each(Disk::close);
}

#[test]
fn a_full_disk_is_told_and_the_copy_goes_on_when_there_is_room() {
    p2v_testing::need_private_mounts!();
    let scratch = p2v_testing::scratch("copy");
    let from = scratch.path().join("from");
    fs::create_dir(&from).unwrap();
    for number in 0..40 {
        fs::write(
            from.join(format!("file-{number}")),
            vec![number as u8; 1 << 20],
        )
        .unwrap();
    }
    let to = Disk::make(scratch.path(), "to", "ext4", &["-q", "-F"], 40 << 20);
    let error = format!("{:#}", copy(&from, &to.top()).unwrap_err());
    assert!(
        error.contains("receiving side") && error.contains("is full"),
        "{error}"
    );
    assert!(error.contains("file-"), "{error}");
    for number in 0..20 {
        fs::remove_file(from.join(format!("file-{number}"))).unwrap();
    }
    copy(&from, &to.top()).unwrap();
    judge(&from, &to.top());
    to.close();
}
