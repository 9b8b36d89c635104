//! A kernel's image and a ramboot initrd: which kernel each is of. A node that
//! gives an instance its kernel may have got a newer one since.
//!
//! See <https://docs.kernel.org/arch/x86/boot.html> for the image's header.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lzma_rust2::XzReader;
use nix::libc;

use crate::MARKER;

/// Where a bzImage has its magic, and where the place of its version.
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
const VERSION_AT: usize = 0x20e;
/// What that place is counted from.
const SETUP: usize = 0x200;
/// Longer than the part of an image that the version is in.
const HEAD: u64 = 128 << 10;

/// The most of an initrd that is looked through, packed and unpacked, in bytes.
const MOST: u64 = 4 << 30;
/// More zeros between archives than anybody fills one up with.
const MOST_PADDING: usize = 1 << 20;
/// The longest name in an archive, and the longest marker, in bytes.
const LONGEST: u64 = 4096;

/// The version of an x86 kernel's image, as in `6.1.0-31-amd64`; `None` if it
/// is no such image.
pub fn kernel_version(image: &Path) -> Result<Option<String>> {
    let doing = || format!("reading the kernel {}", image.display());
    let mut head = Vec::new();
    let file = open(image).with_context(doing)?;
    file.take(HEAD).read_to_end(&mut head).with_context(doing)?;
    Ok(version_in(&head))
}

/// Opens a file to read; whatever else is in its place might never end.
fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        bail!("it is not a regular file");
    }
    Ok(file)
}

fn version_in(head: &[u8]) -> Option<String> {
    head.get(MAGIC.0..)?.strip_prefix(MAGIC.1)?;
    let place = head.get(VERSION_AT..VERSION_AT + 2)?;
    let place = usize::from(u16::from_le_bytes(place.try_into().ok()?));
    let text = head.get(SETUP + place..)?;
    let end = text.iter().position(|byte| [b' ', 0].contains(byte))?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    (place > 0 && !version.is_empty()).then(|| version.to_owned())
}

/// The version of the kernel that a ramboot initrd was built for; `None` if
/// the file is no ramboot initrd.
pub fn initrd_version(initrd: &Path) -> Result<Option<String>> {
    let doing = || format!("reading the initrd {}", initrd.display());
    let file = open(initrd).with_context(doing)?;
    let mut file = BufReader::new(file.take(MOST));
    let marker = marker(&mut file).with_context(doing)?;
    let version = marker.as_deref().and_then(|marker| {
        let mut lines = marker.lines();
        lines.find_map(|line| line.strip_prefix("kernel="))
    });
    Ok(version.map(str::to_owned))
}

/// The marker's text, from archives that follow one another, of which the last
/// may be compressed.
fn marker(file: &mut impl BufRead) -> Result<Option<String>> {
    let mut padding = 0;
    loop {
        let start = file.fill_buf()?;
        match start {
            [] => return Ok(None),
            // A large hole is no initrd.
            [0, ..] if padding > MOST_PADDING => return Ok(None),
            // What fills up an archive.
            [0, ..] => {
                let zeros = start.iter().take_while(|byte| **byte == 0).count();
                file.consume(zeros);
                padding += zeros;
            }
            [b'0', ..] => {
                if let Some(marker) = in_archive(file)? {
                    return Ok(Some(marker));
                }
            }
            [0xfd, ..] => return in_archive(&mut XzReader::new(file, true).take(MOST)),
            [0x28, ..] => return in_archive(&mut zstd::Decoder::new(file)?.take(MOST)),
            [0x1f, ..] => {
                return in_archive(&mut flate2::read::MultiGzDecoder::new(file).take(MOST));
            }
            _ => return Ok(None),
        }
    }
}

/// The marker's text, from an archive that is read up to its end.
fn in_archive(archive: &mut impl Read) -> Result<Option<String>> {
    loop {
        let mut header = [0; 110];
        archive.read_exact(&mut header)?;
        if !header.starts_with(b"07070") {
            bail!("it is no cpio archive");
        }
        let (size, name_size) = (field(&header, 6)?, field(&header, 11)?);
        if name_size > LONGEST {
            bail!("a name in it is too long");
        }
        let name = read(archive, name_size, 110 + name_size)?;
        let name = name.strip_suffix(b"\0").unwrap_or(&name);
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        if name == MARKER.trim_start_matches('/').as_bytes() && size <= LONGEST {
            let text = read(archive, size, size)?;
            return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
        }
        let padded = size.next_multiple_of(4);
        if io::copy(&mut archive.take(padded), &mut io::sink())? < padded {
            bail!("it is cut short");
        }
    }
}

/// The header's field of that number, eight hexadecimal digits after the magic.
fn field(header: &[u8; 110], number: usize) -> Result<u64> {
    let digits = &header[6 + 8 * number..][..8];
    let text = std::str::from_utf8(digits).context("reading an entry")?;
    u64::from_str_radix(text, 16).context("reading an entry")
}

/// `length` bytes, and what follows them until `end` is a multiple of four.
fn read(archive: &mut impl Read, length: u64, end: u64) -> Result<Vec<u8>> {
    let padding = end.next_multiple_of(4) - end;
    let mut bytes = Vec::new();
    archive.take(length + padding).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        bail!("it is cut short");
    }
    bytes.truncate(usize::try_from(length)?);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_where_the_header_says() {
        let mut image = vec![0; 0x4000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
        let text = b"6.1.0-31-amd64 (debian-kernel@lists.debian.org) #1 SMP\0";
        image[0x3200..0x3200 + text.len()].copy_from_slice(text);
        assert_eq!(version_in(&image).as_deref(), Some("6.1.0-31-amd64"));
        assert_eq!(version_in(&image[..0x3208]), None);
        image[0x202] = 0;
        assert_eq!(version_in(&image), None);
        assert_eq!(version_in(b""), None);
    }

    #[test]
    fn damaged_archives_are_errors_and_other_files_are_none() {
        for (bytes, is_error) in [
            (&b""[..], false),
            (b"\0\0\0\0", false),
            (b"MZ what else", false),
            (b"0707", true),
            (&[b'0'; 200], true),
            (&[0x1f, 0x8b, 8, 0, 0, 0], true),
            (&[0x28, 0xb5, 0x2f, 0xfd, 9], true),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], true),
        ] {
            let result = marker(&mut &bytes[..]);
            assert_eq!(result.is_err(), is_error, "{bytes:?}: {result:?}");
            if let Ok(found) = result {
                assert_eq!(found, None);
            }
        }
    }

    #[test]
    fn what_never_ends_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        File::create(at("hole")).unwrap().set_len(1 << 40).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let paths = ["fifo", "zero", "hole"].map(at);
        std::thread::spawn(move || {
            for path in paths {
                let of =
                    |found: Result<Option<String>>| found.map_err(|error| format!("{error:#}"));
                tell.send((of(initrd_version(&path)), of(kernel_version(&path))))
                    .unwrap();
            }
        });
        for is_file in [false, false, true] {
            let (initrd, kernel) = told
                .recv_timeout(std::time::Duration::from_secs(60))
                .expect("an answer");
            for found in [initrd, kernel] {
                match is_file {
                    true => assert_eq!(found, Ok(None)),
                    false => assert!(found.unwrap_err().ends_with("it is not a regular file")),
                }
            }
        }
    }
}
