//! Disks that are claimed, wiped and measured; they are image files.

use super::*;

#[test]
fn a_disk_is_claimed_once_and_free_again() {
    let image = p2v_testing::image(4 << 20);
    let disk = Disk::claim(image.path()).unwrap();
    assert_eq!((disk.size(), disk.sector_size()), (4 << 20, 512));
    let text = format!("{:#}", Disk::claim(image.path()).unwrap_err());
    assert!(text.contains("another create"), "{text}");
    // A killed holder lets go while the next one waits.
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(disk);
    });
    Disk::claim(image.path()).unwrap();
    holder.join().unwrap();
}

#[test]
fn a_file_without_a_name_can_be_a_disk() {
    use std::os::fd::AsRawFd;
    let image = tempfile::tempfile().unwrap();
    image.set_len(1 << 20).unwrap();
    let path = format!("/proc/self/fd/{}", image.as_raw_fd());
    Disk::claim(Path::new(&path))
        .unwrap()
        .write_at(b"x", 0)
        .unwrap();
    let mut byte = [0];
    image.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(byte, *b"x");
}

/// As a disk that was LUKS2 with `--luks2-metadata-size=4m`: mkfs leaves
/// that header, and blkid took the new filesystem for a LUKS one.
#[test]
fn a_wiped_disk_is_empty_to_blkid() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let file = image.as_file();
    file.set_len(16 << 20).unwrap();
    let probe = crate::Cmd::new("blkid", "probing").arg("--probe");
    let probe = probe.arg(image.path());
    for place in [0x4000, 1 << 20, 2 << 20, 4 << 20] {
        let mut header = vec![0; 4096];
        header[..8].copy_from_slice(b"SKUL\xba\xbe\0\x02");
        header[168..172].copy_from_slice(b"uuid");
        header[256..264].copy_from_slice(&u64::to_be_bytes(place));
        file.write_all_at(&header, place).unwrap();
        assert!(probe.read().unwrap().contains("crypto_LUKS"), "{place}");
        let disk = Disk::claim(image.path()).unwrap();
        disk.wipe_edges().unwrap();
        // Its way to say that there is nothing.
        let text = probe.read().unwrap_err().to_string();
        assert!(text.contains("exit status 2"), "{place}: {text}");
    }
}

#[test]
fn zeroed_parts_are_zeros_and_their_neighbours_stay() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().write_all_at(&[7; 64 << 10], 0).unwrap();
    let zeroed = |disk: &Disk, from: usize, length: usize| {
        disk.zero(from as u64, length as u64).unwrap();
        let mut bytes = vec![1; 64 << 10];
        disk.read_at(&mut bytes, 0).unwrap();
        let zeros = bytes.iter().filter(|byte| **byte == 0).count();
        bytes[from..from + length].iter().all(|byte| *byte == 0) && zeros == length
    };
    let disk = Disk::claim(image.path()).unwrap();
    assert!(zeroed(&disk, 1000, 30_000));
    drop(disk);
    p2v_testing::need_root!();
    image.as_file().write_all_at(&[7; 64 << 10], 0).unwrap();
    let device = LoopDevice::attach(image.path(), Extent::default(), false).unwrap();
    let disk = Disk::claim(device.path()).unwrap();
    assert!(zeroed(&disk, 4096, 8192));
    disk.write_at(&[7; 64 << 10], 0).unwrap();
    assert!(zeroed(&disk, 100, 5000));
}

#[test]
fn room_is_what_the_file_has_and_what_is_left_for_it() {
    p2v_testing::need_root!();
    let dir = tempfile::tempdir().unwrap();
    let flags = nix::mount::MsFlags::empty();
    let small = crate::Mount::new("tmpfs", dir.path(), "tmpfs", flags, "size=8m").unwrap();
    let image = dir.path().join("image");
    std::fs::write(&image, vec![1; 3 << 20]).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    file.set_len(64 << 20).unwrap();
    let disk = Disk::claim(&image).unwrap();
    assert_eq!(disk.room().unwrap(), 8 << 20);
    file.set_len(2 << 20).unwrap();
    drop(disk);
    assert_eq!(Disk::claim(&image).unwrap().room().unwrap(), 2 << 20);
    drop(file);
    small.close().unwrap();
}

#[test]
fn a_disk_that_a_loop_device_shows_is_in_use() {
    p2v_testing::need_root!();
    let image = p2v_testing::image(4 << 20);
    let lower = LoopDevice::attach(image.path(), Extent::default(), false).unwrap();
    let upper = LoopDevice::attach(lower.path(), Extent::default(), false).unwrap();
    for (disk, user) in [(image.path(), &lower), (lower.path(), &upper)] {
        let text = format!("{:#}", Disk::claim(disk).unwrap_err());
        let user = user.path().display().to_string();
        assert!(text.ends_with(&user), "{text} does not end with {user}");
    }
    upper.close().unwrap();
    lower.close().unwrap();
}
