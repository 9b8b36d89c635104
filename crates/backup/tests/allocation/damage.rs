//! Damaged and crafted filesystems: an answer or a refusal, in little time and
//! memory, never a panic.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::image::{Image, used_of};
use crate::random::Random;
use crate::tree;

const MIB: u64 = 1 << 20;

/// Changes up to nine bytes of the image's structures in each round. `repair`
/// makes the checksums right again.
pub fn damage(image: &Image, places: &[Range<u64>], rounds: u64, repair: fn(&mut [u8])) {
    let file = image.open();
    let mut random = Random(rounds);
    let mut answered = 0;
    for round in 0..rounds {
        let place = &places[random.below(places.len() as u64) as usize];
        let mut before = vec![0; (place.end - place.start) as usize];
        file.read_exact_at(&mut before, place.start).unwrap();
        let mut bytes = before.clone();
        for _ in 0..=random.below(8) {
            // Headers are where they start.
            let within = [64, 256, bytes.len() as u64][random.below(3) as usize];
            let at = random.below(within.min(bytes.len() as u64)) as usize;
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        repair(&mut bytes);
        file.write_all_at(&bytes, place.start).unwrap();
        let begun = Instant::now();
        if let Ok(used) = used_of(image.kind, &file, image.length) {
            assert!(used.end() <= image.length);
            answered += 1;
        }
        let taken = begun.elapsed();
        assert!(taken < Duration::from_secs(2), "round {round}: {taken:?}");
        file.write_all_at(&before, place.start).unwrap();
    }
    image.used().unwrap();
    println!("{}: {answered} of {rounds} answered", image.kind);
    small_memory();
}

/// Of this process with all its tests, whose own buffers are small.
pub fn small_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 400 << 10, "{peak} KiB of memory");
}

#[test]
fn ext() {
    p2v_testing::need_private_mounts!();
    for options in [
        "-b 1024 -g 1024 -O ^metadata_csum,^uninit_bg",
        "-b 1024 -g 512 -O ^metadata_csum,^uninit_bg,^resize_inode,meta_bg,64bit",
        "-b 4096 -O ^metadata_csum,^uninit_bg,bigalloc -C 8192",
        "-b 1024 -g 1024",
    ] {
        let image = Image::made("ext4", 24 * MIB, &format!("mkfs.ext4 -q -F {options}"));
        let mounted = image.mount("");
        tree::fill(mounted.root(), MIB);
        mounted.close();
        // The superblock's numbers twice, descriptors, then bitmaps.
        let places = [
            1024..1024 + 0x70,
            1024..2048,
            2048..8192,
            8192..12288,
            65536..131_072,
        ];
        damage(&image, &places, 600, |_| ());
    }
}

/// The journal, which is followed only when it is not empty.
#[test]
fn journal() {
    p2v_testing::need_private_mounts!();
    for options in ["", " -O ^metadata_csum,^64bit"] {
        let mkfs = format!("mkfs.ext4 -q -F -b 1024 -J size=1{options}");
        let image = Image::made("ext4", 24 * MIB, &mkfs);
        let mounted = image.mount("");
        let mut random = Random(3);
        tree::churn(mounted.root(), &mut random);
        mounted.flush();
        tree::churn(mounted.root(), &mut random);
        mounted.crash(true);
        let mark = |start: &[u8]| start.starts_with(&[0xc0, 0x3b, 0x39, 0x98]);
        let mut places = blocks(&image, 1024, mark);
        assert!(places.len() > 4, "{}", places.len());
        // The journal's inode, and its superblock more often.
        places.push(inode_table(&image) + 7 * 256..inode_table(&image) + 8 * 256);
        places.extend(vec![places[0].clone(); 3]);
        damage(&image, &places, 800, |_| ());
    }
}

/// From the first descriptor of blocks of 1 KiB.
fn inode_table(image: &Image) -> u64 {
    let mut block = [0; 4];
    image.open().read_exact_at(&mut block, 2048 + 8).unwrap();
    u64::from(u32::from_le_bytes(block)) * 1024
}

/// Starts of blocks of `length` in use that `wanted` recognises.
fn blocks(image: &Image, length: u64, wanted: impl Fn(&[u8]) -> bool) -> Vec<Range<u64>> {
    let file = image.open();
    let mut found = Vec::new();
    for range in image.used().unwrap().iter() {
        let mut at = range.start.next_multiple_of(length);
        while at + length <= range.end.min(image.length) {
            let mut start = [0; 64];
            file.read_exact_at(&mut start, at).unwrap();
            if wanted(&start) {
                found.push(at..at + length);
            }
            at += length;
        }
    }
    found
}

/// CRC-32C, with the checksum's own place taken for zeros.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn repair_xfs(bytes: &mut [u8]) {
    let at = match bytes.first_chunk() {
        Some(b"XFSB") => 224,
        Some(b"XAGF") => 216,
        Some(b"AB3B") => 52,
        _ => return,
    };
    bytes[at..at + 4].fill(0);
    let crc = crc32c(bytes);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn xfs() {
    p2v_testing::need_private_mounts!();
    for options in ["", " -m crc=0"] {
        let mkfs = format!("mkfs.xfs -q -f --unsupported -l size=8m -b size=1024{options}");
        let image = Image::made("xfs", 64 * MIB, &mkfs);
        if options.is_empty() {
            let mounted = image.mount("");
            tree::fragment(mounted.root(), 1500);
            mounted.close();
        }
        let known = |start: &[u8]| start.starts_with(b"AB3B") || start.starts_with(b"ABTB");
        let mut places = blocks(&image, 1024, known);
        assert!(!places.is_empty());
        for _ in 0..2 {
            // The superblock, its numbers, the first two groups' headers.
            places.extend([0..512, 512..1024, 16 * MIB + 512..16 * MIB + 1024]);
        }
        damage(&image, &places, 800, repair_xfs);
    }
}

fn repair_btrfs(bytes: &mut [u8]) {
    let crc = crc32c(&bytes[32..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn btrfs() {
    p2v_testing::need_private_mounts!();
    let mkfs = "mkfs.btrfs -q -f --mixed -n 4096";
    let image = Image::made("btrfs", 64 * MIB, mkfs);
    let mounted = image.mount("");
    tree::fragment(mounted.root(), 400);
    mounted.close();
    let mut uuid = [0; 16];
    image.open().read_exact_at(&mut uuid, 65536 + 32).unwrap();
    let mut places = blocks(&image, 4096, |start| start[32..48] == uuid);
    assert!(places.len() > 20, "{}", places.len());
    let superblock = 65536..65536 + 4096;
    places.extend(vec![superblock; places.len() / 3]);
    damage(&image, &places, 1500, repair_btrfs);
}

#[test]
fn fat() {
    for options in ["-F 12 -s 16", "-F 16", "-F 32 -s 1"] {
        let image = Image::made("vfat", 24 * MIB, &format!("mkfs.vfat {options}"));
        damage(&image, &[0..0x60, 0..512, 16384..20480], 500, |_| ());
    }
}

#[test]
fn swap() {
    let image = Image::made("swap", MIB, "mkswap");
    damage(&image, &[0..4096, 1024..1100, 4080..4096], 200, |_| ());
}
