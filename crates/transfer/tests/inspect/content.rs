//! Each kind of table and filesystem.

use super::image::*;
use p2v_transfer::source::{Content, System};

const MIXED: &str = "label: dos\nlabel-id: 0x1234abcd\n\
    start=2048, size=262144, type=83, bootable\n\
    start=264192, type=5\n\
    start=266240, size=65536, type=82\n\
    start=333824, size=786432, type=83\n\
    start=1122304, size=131072, type=83\n";

const EVERY_NOTATION: &str = "# <file system> <mount point> <type>\n\
    proc /proc proc\n\
    UUID=11111111-2222-3333-4444-5555555555AA / ext4 errors=remount-ro 0 1\n\
    LABEL=home /home xfs\n\
    PARTUUID=1234abcd-07 /srv/a\\040b/ auto defaults\n\
    /srv/a\\040b /export none bind 0 0\n\
    LABEL=pages none swap sw 0 0\n\
    /swap\\040file none swap sw 0 0\n\
    nas:/x /mnt nfs defaults 0 0\n\
    tmpfs /tmp tmpfs size=1G\n\
    /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n\
    LABEL=elsewhere /backup ext4 nofail\n\
    alone\n";

#[test]
fn logical_partitions_with_every_notation_of_fstab() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(700, MIXED);
    image
        .make(1, "mkfs.ext4", &["-q", "-L", "my root", "-U", UUID])
        .make(5, "mkswap", &["-q", "-L", "pages"])
        .make(6, "mkfs.xfs", &["-q", "-L", "home"])
        .make(7, "mkfs.ext3", &["-q"]);
    image.fill(1, "ext4", "", |root| system(root, EVERY_NOTATION));
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    assert_told(&source.remarks, "mounts LABEL=elsewhere on /backup");
    let numbers: Vec<u32> = source.disks[0].areas.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [1, 5, 6, 7]);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    assert_eq!(mounts(area(&source, 6)), ["/home"]);
    assert_eq!(mounts(area(&source, 7)), ["/srv/a b"]);
    assert!(
        matches!(&area(&source, 5).content, Content::Swap(it) if it.label.as_deref() == Some("pages"))
    );
    assert_eq!(filesystem(area(&source, 7)).format.kind, "ext3");
    assert_eq!(
        filesystem(area(&source, 1)).identity.label.as_deref(),
        Some("my root")
    );
    for name in [
        "UUID=11111111-2222-3333-4444-5555555555aa",
        "LABEL=my\\040root",
        "/dev/disk/by-label/my\\x20root",
        "PARTUUID=1234abcd-01",
        "/dev/disk/by-partuuid/1234abcd-01",
    ] {
        assert!(has_name(area(&source, 1), name), "{name}");
    }
    check_system(&source.system);
}

fn check_system(system: &System) {
    assert_eq!(system.hostname.as_deref(), Some("oldbox"));
    assert_eq!(system.distribution.as_deref(), Some("debian"));
    assert_eq!(
        system.name.as_deref(),
        Some("Debian GNU/Linux 12 (bookworm)")
    );
    assert_eq!(system.init.as_deref(), Some("systemd"));
    assert_eq!(system.swap_files, ["/swap file"]);
    assert_eq!(system.fstab.len(), 12);
    assert_eq!(system.network, ["ifupdown"]);
    assert_eq!(system.nics[0].name, "eno1");
    assert_eq!(system.kernels.len(), 1);
    assert!(system.kernels[0].modules);
    assert_eq!(
        system.kernels[0].initramfs.as_deref(),
        Some("/boot/initrd.img-6.1.0-18-amd64")
    );
}

#[test]
fn usage_is_what_files_take() {
    p2v_testing::need_private_mounts!();
    for (kind, args, mib) in [
        ("ext2", &["-q", "-F"][..], 128),
        ("ext3", &["-q", "-F"], 128),
        ("ext4", &["-q", "-F"], 128),
        ("xfs", &["-q"], 400),
        ("btrfs", &["-q"], 200),
    ] {
        let image = Image::new(mib);
        image.make(0, &format!("mkfs.{kind}"), args);
        let empty = image.inspected();
        let before = filesystem(area(&empty, 0)).clone();
        image.fill(0, kind, "", |root| {
            for name in 0..50 {
                std::fs::write(root.join(name.to_string()), vec![name; 1 << 20]).unwrap();
            }
        });
        let source = image.inspected();
        assert_told(&source.obstacles, "no Linux system was found");
        assert_eq!(source.disks[0].table, None);
        let after = filesystem(area(&source, 0));
        assert_eq!(after.format.kind, kind);
        let grown = after.used - before.used;
        assert!(
            (50 * MIB..55 * MIB).contains(&grown),
            "{kind}: {grown}, {} before",
            before.used
        );
        assert!(before.used < 20 * MIB, "{kind}: {}", before.used);
        match kind {
            "btrfs" => assert_eq!(after.inodes, 0),
            // XFS makes them by the chunk.
            _ => assert!(
                (before.inodes + 50..before.inodes + 51).contains(&after.inodes),
                "{kind}: {} and {}",
                before.inodes,
                after.inodes
            ),
        }
    }
}

#[test]
fn unmovable_content_is_named_with_what_to_do() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(
        500,
        "label: gpt\nsize=100M\nsize=40M\nsize=40M\nsize=40M\nsize=130M\nsize=40M\nsize=20M\n",
    );
    let at = |number| image.extent(number).offset;
    image.make(1, "mkfs.ext4", &["-q", "-U", UUID]);
    image.write(&luks(), at(2));
    image.write(&lvm(), at(3));
    image.write(&raid(), at(4) + 4096);
    // Two superblocks that contradict each other.
    image.make(5, "mkfs.btrfs", &["-q"]);
    let ext = std::fs::read(&image.path).unwrap();
    let ext = &ext[at(1) as usize + 1024..at(1) as usize + 2048];
    image.write(ext, at(5) + 1024);
    image.make(6, "mkswap", &["-q"]);
    image.write(b"S1SUSPEND\0", at(6) + 4096 - 10);
    let fstab = format!("UUID={UUID} / ext4\n");
    image.fill(1, "ext4", "", |root| system(root, &fstab));
    let source = image.inspected();
    for (number, kind, advice) in [
        (2, "crypto_LUKS", "an encrypted volume"),
        (3, "LVM2_member", "a physical volume of LVM"),
        (4, "linux_raid_member", "a member of a RAID array"),
        (5, "ambiguous", "wipefs"),
        (6, "swsuspend", "start the machine and shut it down"),
    ] {
        assert_eq!(
            area(&source, number).content,
            Content::Unmovable(kind.to_owned())
        );
        let place = format!("partition {number} of {}", image.path.display());
        let about = |text: &&String| text.contains(&place) && text.contains(advice);
        assert!(source.obstacles.iter().any(|text| about(&text)), "{kind}");
    }
    assert_eq!(area(&source, 7).content, Content::Nothing);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
}

fn luks() -> Vec<u8> {
    let mut bytes = b"LUKS\xba\xbe\0\x01".to_vec();
    bytes.resize(592, 0);
    bytes[168..204].copy_from_slice(UUID.as_bytes());
    bytes
}

fn lvm() -> Vec<u8> {
    [[0; 512], p2v_testing::signature::lvm_label()].concat()
}

/// A superblock of version 1.2, which lies 4 KiB from the start.
fn raid() -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    bytes[4] = 1;
    bytes[16..32].copy_from_slice(b"0123456789abcdef");
    bytes[144] = 8;
    let words = bytes
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum: u64 = words.map(u64::from).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    bytes[216..220].copy_from_slice(&u32::try_from(sum).unwrap().to_le_bytes());
    bytes
}

#[test]
fn damaged_tables_are_obstacles() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(200, MIXED.split("start=264192").next().unwrap());
    // Past the end.
    let file = std::fs::File::options()
        .write(true)
        .open(&image.path)
        .unwrap();
    file.set_len(64 * MIB).unwrap();
    let source = image.inspected();
    assert_told(&source.obstacles, "reaches past the disk's end");
    assert!(source.disks[0].areas.is_empty());
    assert!(source.disks[0].table.is_some());

    // Into each other: the second entry begins in the first.
    let image = Image::partitioned(
        200,
        "label: dos\nstart=2048, size=65536, type=83\nstart=67584, size=65536, type=83\n",
    );
    image.write(&4096_u32.to_le_bytes(), 446 + 16 + 8);
    assert_told(&image.inspected().obstacles, "partitions 1 and 2 overlap");

    // A GPT whose both copies are gone behind its protective MBR.
    let image = Image::partitioned(64, "label: gpt\nsize=20M\n");
    image.write(&[0; 512], 512);
    image.write(&[0; 512], 64 * MIB - 512);
    let source = image.inspected();
    assert!(!source.obstacles.is_empty(), "{source:#?}");

    let blank = Image::new(8).inspected();
    assert_told(&blank.remarks, "holds nothing that is known");
    assert_told(&blank.obstacles, "no Linux system was found");
}

#[test]
fn sectors_of_4096_bytes() {
    p2v_testing::need_private_mounts!();
    let image = Image::new(300);
    let disk = Attached::new(&image.path, &["--sector-size", "4096"]);
    sfdisk(
        disk.path(),
        "label: gpt\nsize=200M, name=\"the root\"\nsize=40M\n",
    );
    make(disk.path(), 1, "mkfs.ext4", &["-q", "-U", UUID]);
    make(disk.path(), 2, "mkswap", &["-q"]);
    let mounted = Mounted::new(disk.path(), 1, "ext4", "");
    system(
        mounted.path(),
        "PARTLABEL=the\\040root / ext4\n/dev/nvme0n1p2 none swap\n",
    );
    mounted.close();
    let source = inspected(&[disk.path()]);
    assert_eq!(source.obstacles, [""; 0]);
    assert_eq!(source.disks[0].sector_size, 4096);
    assert_eq!(area(&source, 1).size, 200 * MIB);
    assert_eq!(mounts(area(&source, 1)), ["/"]);
    assert!(has_name(area(&source, 2), "/dev/nvme0n1p2"));
    drop(disk);
    let source = image.inspected();
    assert_told(&source.obstacles, "--sector-size 4096");
}
