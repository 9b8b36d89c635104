//! The machine as it is found: filesystems that are mounted below a root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use p2v_fixes::machine::{BootMode, found};
use p2v_sys::filesystem::Filesystem;
use p2v_sys::loopdev::Extent;
use p2v_sys::{LoopDevice, Mount, Root};

const UUIDS: [&str; 2] = [
    "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a11",
    "6f4a1f6e-3a10-4f5c-8a3a-0c3f5d0b6a12",
];

fn attached(image: PathBuf, uuid: &str) -> LoopDevice {
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(64 << 20).unwrap();
    let device = LoopDevice::attach(&image, Extent::default(), false).unwrap();
    Filesystem::Ext4.create(device.path(), uuid).unwrap();
    device
}

fn mounted(device: &LoopDevice, point: &Path) -> Mount {
    std::fs::create_dir_all(point).unwrap();
    Mount::new(device.path(), point, "ext4", MsFlags::empty(), "").unwrap()
}

#[test]
fn what_is_mounted_below_the_root_is_the_system() {
    p2v_testing::need_root!();
    let scratch = tempfile::tempdir().unwrap();
    let root = attached(scratch.path().join("root.img"), UUIDS[0]);
    let home = attached(scratch.path().join("home.img"), UUIDS[1]);
    let target = scratch.path().join("target");
    let root_mount = mounted(&root, &target);
    let home_mount = mounted(&home, &target.join("home"));
    let device = root.path().display().to_string();
    let given = [
        ("HYPERVISOR".to_owned(), "kvm".to_owned()),
        ("BLOCKDEV".to_owned(), device.clone()),
    ];
    let machine = found::machine(&Root::open(&target).unwrap(), &BTreeMap::from(given)).unwrap();
    for (point, uuid) in [("/", UUIDS[0]), ("/home", UUIDS[1])] {
        let volume = machine.mounted_on(point).unwrap();
        assert_eq!(volume.uuid.as_deref(), Some(uuid));
        assert_eq!(volume.kind, "ext4");
    }
    // There is no partition that a boot loader could be in front of.
    assert_eq!(machine.boot, BootMode::Direct);
    let environment = found::part_environment(&target, &machine).unwrap();
    let of = |name: &str| environment[std::ffi::OsStr::new(name)].to_str().unwrap();
    assert_eq!(
        (of("FSYSDEV"), of("BLOCKDEV")),
        (device.as_str(), device.as_str())
    );
    home_mount.close().unwrap();
    root_mount.close().unwrap();
    home.close().unwrap();
    root.close().unwrap();
}
