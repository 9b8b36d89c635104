//! Disks are held: nobody writes to them, and no disk in use is taken.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::image::*;
use p2v_sys::block;
use p2v_transfer::source::OpenSource;

fn disk() -> (Image, Attached) {
    let image = Image::partitioned(100, "label: gpt\nsize=50M\n");
    image.make(1, "mkfs.ext4", &["-q", "-U", UUID]);
    let fstab = format!("UUID={UUID} / ext4\n");
    image.fill(1, "ext4", "", |root| system(root, &fstab));
    let disk = Attached::new(&image.path, &[]);
    (image, disk)
}

fn is_read_only(disk: &Path) -> bool {
    block::is_read_only(&File::open(disk).unwrap()).unwrap()
}

fn refusal(disk: &Path) -> String {
    let refused = OpenSource::open(&[disk.to_owned()]).unwrap_err();
    format!("{refused:#}")
}

#[test]
fn a_disk_is_read_only_as_long_as_it_is_open() {
    p2v_testing::need_private_mounts!();
    let (_image, disk) = disk();
    let paths = [disk.path().to_owned()];
    let open = OpenSource::open(&paths).unwrap();
    assert!(is_read_only(disk.path()));
    let writable = File::options().write(true).open(disk.path());
    let written = writable.and_then(|mut file| {
        use std::io::Write;
        file.write_all(&[1; 4096])?;
        file.sync_all()
    });
    assert!(written.is_err());
    assert!(refusal(disk.path()).contains("another inspection"));
    assert!(is_read_only(disk.path()));
    // A filesystem in use keeps it.
    let mounted = open.mount(disk.path(), MIB).unwrap();
    assert!(mounted.path().join("etc/fstab").exists());
    mounted.close().unwrap();
    open.close().unwrap();
    assert!(!is_read_only(disk.path()));
    drop(OpenSource::open(&paths).unwrap());
    assert!(!is_read_only(disk.path()));
    // What was read-only before stays so.
    block::set_read_only(&File::open(disk.path()).unwrap(), true).unwrap();
    OpenSource::open(&paths).unwrap().close().unwrap();
    assert!(is_read_only(disk.path()));
    block::set_read_only(&File::open(disk.path()).unwrap(), false).unwrap();
}

#[test]
fn a_disk_in_use_is_refused_however_it_is_used() {
    p2v_testing::need_private_mounts!();
    let (image, disk) = disk();
    let live = "start the machine from a live medium";
    // A partition of the disk, by a device that stands on it.
    let mounted = Mounted::new(disk.path(), 1, "ext4", "");
    let at = format!("mounted on {}", mounted.path().display());
    for path in [disk.path(), &image.path] {
        let text = refusal(path);
        assert!(text.contains(live) && text.contains(&at), "{text}");
    }
    assert!(!is_read_only(disk.path()));
    mounted.close();
    // A partition of the same image, by a device beside it.
    let mounted = image.mounted(1, "ext4", "");
    assert!(refusal(disk.path()).contains("mounted on"));
    mounted.close();
    assert!(OpenSource::open(&[disk.path().to_owned()]).is_ok());
    drop(disk);

    // A btrfs, whose device number is its own.
    let whole = Image::new(130);
    whole.make(0, "mkfs.btrfs", &["-q"]);
    let mounted = whole.mounted(0, "btrfs", "");
    assert!(refusal(&whole.path).contains("mounted on"));
    mounted.close();
    assert!(OpenSource::open(std::slice::from_ref(&whole.path)).is_ok());
}

#[test]
fn what_is_no_disk_is_refused() {
    p2v_testing::need_private_mounts!();
    let (image, disk) = disk();
    let directory = image.directory.path();
    let fifo = directory.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, said) in [
        (directory.join("missing"), "No such file"),
        (
            directory.to_owned(),
            "neither a block device nor a regular file",
        ),
        (fifo, "neither a block device nor a regular file"),
        (
            PathBuf::from("/dev/null"),
            "neither a block device nor a regular file",
        ),
    ] {
        let text = refusal(&path);
        assert!(text.contains(said), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
    let linked = directory.join("link");
    link("disk.img", &linked);
    let twice = OpenSource::open(&[image.path.clone(), linked]).unwrap_err();
    assert!(twice.to_string().contains("are one disk"));
    // A failure later lets go of what was held before.
    let missing = directory.join("missing");
    OpenSource::open(&[disk.path().to_owned(), missing]).unwrap_err();
    assert!(!is_read_only(disk.path()));
}
