//! Makes the seeds that are no text, each from what a real program writes:
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, as root or not,
//! in the repository's top. Built as the targets are, see tools/fuzz.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use p2v_backup::stream::{Area, AreaRole, Manifest};
use p2v_fuzz::image;
use p2v_sys::Cmd;

fn main() -> Result<()> {
    filesystems()?;
    partition_tables()?;
    initramfs()?;
    frames()?;
    stream()
}

fn save(target: &str, name: &str, first: Option<u8>, bytes: &[u8]) -> Result<()> {
    let directory = Path::new("fuzz/corpus").join(target);
    std::fs::create_dir_all(&directory)?;
    let whole: Vec<u8> = first.into_iter().chain(bytes.iter().copied()).collect();
    let path = directory.join(name);
    std::fs::write(&path, whole).with_context(|| format!("writing {}", path.display()))
}

fn run(program: &str, args: &[&str], path: &Path, input: &str) -> Result<()> {
    let command = Cmd::new(program, format!("making a seed with {program}"));
    command.args(args).arg(path).stdin(input).run()
}

fn empty(length: u64) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    file.as_file().set_len(length)?;
    Ok(file)
}

fn filesystems() -> Result<()> {
    let ext = |features| ["-q", "-F", "-O", features, "-b", "1024", "-N", "16"];
    let plain = ext("^resize_inode");
    let small = ext("^has_journal,^metadata_csum,uninit_bg");
    let cases: [(u8, &str, &str, &[&str], u64); 6] = [
        (0, "ext4", "mkfs.ext4", &plain, 4 << 20),
        (0, "ext4-crc16", "mkfs.ext4", &small, 2 << 20),
        (
            1,
            "xfs",
            "mkfs.xfs",
            &["-q", "-f", "-d", "agcount=2"],
            image::LENGTH,
        ),
        (
            2,
            "btrfs",
            "mkfs.btrfs",
            &["-q", "-f", "-m", "single"],
            image::LENGTH,
        ),
        (3, "vfat", "mkfs.vfat", &["-F", "16"], 8 << 20),
        (4, "swap", "mkswap", &["-q"], 1 << 20),
    ];
    for (first, name, program, args, length) in cases {
        let file = empty(length)?;
        run(program, args, file.path(), "")?;
        let pieces = image::pieces(File::open(file.path())?)?;
        save("filesystems", name, Some(first), &pieces)?;
    }
    Ok(())
}

fn partition_tables() -> Result<()> {
    let gpt = "label: gpt\n1: size=2M, name=\"a b\"\n3: size=1M\n";
    let dos = "label: dos\nsize=1M, type=83, bootable\ntype=5\nsize=1M, type=82\n";
    for (name, script) in [("gpt", gpt), ("dos", dos)] {
        let file = empty(8 << 20)?;
        let quiet = ["--quiet", "--no-reread", "--no-tell-kernel"];
        run("sfdisk", &quiet, file.path(), script)?;
        let bytes = std::fs::read(file.path())?;
        save("partition_table", name, Some(1), &bytes[..3 * 512])?;
        let json = Cmd::new("sfdisk", "reading a seed").arg("--json");
        let json = json.arg(file.path()).read()?;
        save(
            "partition_table",
            &format!("{name}.json"),
            Some(0),
            json.as_bytes(),
        )?;
    }
    Ok(())
}

fn initramfs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("conf/conf.d"))?;
    std::fs::write(at("conf/conf.d/resume"), "RESUME=none\n")?;
    std::fs::write(at("init"), "#!/bin/sh\n")?;
    let archive = Cmd::new("cpio", "making a seed").dir(directory.path());
    let archive = archive.args(["--quiet", "--create", "--format=newc", "--file"]);
    let whole = tempfile::NamedTempFile::new()?;
    archive
        .arg(whole.path())
        .stdin("init\nconf/conf.d/resume\n")
        .run()?;
    save("initramfs", "cpio", None, &std::fs::read(whole.path())?)?;
    for (name, args) in [
        ("gzip", &["-k", "-9"][..]),
        ("xz", &["-k", "--check=crc32"]),
        ("zstd", &["-k", "-q"]),
        ("bzip2", &["-k"]),
        ("lz4", &["-k", "-l", "-q"]),
    ] {
        run(name, args, whole.path(), "")?;
        let suffix = ["gz", "xz", "zst", "bz2", "lz4"];
        for suffix in suffix {
            let packed = whole.path().with_extension(suffix);
            let packed = std::path::PathBuf::from(match packed.exists() {
                true => packed,
                false => format!("{}.{suffix}", whole.path().display()).into(),
            });
            if packed.exists() {
                save("initramfs", name, None, &std::fs::read(&packed)?)?;
                std::fs::remove_file(packed)?;
            }
        }
    }
    Ok(())
}

/// A frame of kind 1 that is a hello, and entries: a directory, a file with an
/// attribute, a link.
fn frames() -> Result<()> {
    let hello = [&1u32.to_le_bytes()[..], &[1, 1, 0, 0, 0, 3, 0], b"a/b"].concat();
    let length = (hello.len() as u32).to_le_bytes();
    let frame = [&b"p2vC"[..], &[1, 0, 0, 0], &length, &length, &hello].concat();
    save("frames", "frame", Some(0), &frame)?;
    save("frames", "hello", Some(1), &frame)?;
    let entry = |name: &str, mode: u32, extended: &[u8], what: &[u8]| {
        let name = [&(name.len() as u16).to_le_bytes()[..], name.as_bytes()].concat();
        // Owner, group, time, nanoseconds, flags.
        [
            &name[..],
            &mode.to_le_bytes(),
            &[0; 22],
            extended,
            &[0],
            what,
        ]
        .concat()
    };
    let attribute = [&[1, 0, 6, 0][..], b"user.a", &[1, 0, 0, 0], b"x"].concat();
    let entries = [
        entry("dir", 0o040_755, &[0; 2], &[1, 0, 0, 0, 3]),
        entry("file", 0o100_644, &attribute, &[0; 16]),
        entry("link", 0o120_777, &[0; 2], b"\x03\0dir"),
    ];
    save("frames", "entries", Some(2), &entries.concat())?;
    save(
        "frames",
        "ranges",
        Some(3),
        &[0u64, 4096, 8192, 16384].map(u64::to_le_bytes).concat(),
    )
}

fn stream() -> Result<()> {
    let manifest = Manifest {
        writer: "p2v 0.1.0".to_owned(),
        disk_size: 1 << 20,
        sector_size: 512,
        table: None,
        areas: vec![Area {
            role: AreaRole::WholeDisk,
            offset: 0,
            length: 1 << 20,
            content: Some("ext4".to_owned()),
            uuid: None,
            label: None,
            used: 1 << 20,
            whole_because: None,
        }],
    };
    let mut written = serde_json::to_vec(&manifest)?;
    written.extend([0; 14]);
    written.extend([1, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0]);
    save("stream", "written", Some(1), &written)?;
    // A dump's first header, both maps, a file and the end, as far as it must
    // be right: types, numbers of records, magic.
    let mut dump = Vec::new();
    for (kind, count) in [(1u32, 0u32), (6, 1), (0, 0), (3, 1), (0, 1), (2, 0), (5, 0)] {
        let mut record = [0; 1024];
        if kind == 0 {
            record[0] = count as u8;
        } else {
            record[..4].copy_from_slice(&kind.to_le_bytes());
            record[12..16].copy_from_slice(&1u32.to_le_bytes());
            record[20..24].copy_from_slice(&1u32.to_le_bytes());
            record[24..28].copy_from_slice(&60012u32.to_le_bytes());
            record[160..164].copy_from_slice(&count.to_le_bytes());
        }
        dump.extend(record);
    }
    save("stream", "dump", Some(2), &dump)
}
