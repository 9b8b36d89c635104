//! What a filesystem's superblock says of it: type, UUID and label.
//!
//! Only what a root can be is known: ext2, ext3, ext4, XFS and Btrfs. The
//! formats are described at
//! <https://docs.kernel.org/filesystems/ext4/globals.html#super-block>,
//! <https://git.kernel.org/pub/scm/fs/xfs/xfs-documentation.git> and
//! <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Past the end of the last thing we look at: Btrfs's label.
const LENGTH: usize = BTRFS + 0x1000;

const EXT: usize = 1024;
const EXT_HAS_JOURNAL: u32 = 0x4;
const EXT_JOURNAL_DEVICE: u32 = 0x8;
/// Any of these is not in ext3: in the incompatible features all but
/// filetype, recover and meta_bg ...
const EXT4_INCOMPATIBLE: u32 = !(0x2 | 0x4 | 0x10);
/// ... and in the read-only compatible ones all but sparse_super, large_file
/// and btree_dir.
const EXT4_READ_ONLY: u32 = !(0x1 | 0x2 | 0x4);

const BTRFS: usize = 0x1_0000;

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The type, as mount(2) takes it.
    pub kind: &'static str,
    /// In lower case, as blkid writes it.
    pub uuid: String,
    /// Often empty.
    pub label: String,
}

/// Looks for a superblock on `device`. `None` if there is none that we know,
/// or the device cannot be read.
pub fn probe(device: &File) -> Option<Superblock> {
    let mut bytes = vec![0; LENGTH];
    let length = read_up_to(device, &mut bytes);
    bytes.truncate(length);
    ext(&bytes)
        .or_else(|| xfs(&bytes))
        .or_else(|| btrfs(&bytes))
}

fn read_up_to(device: &File, bytes: &mut [u8]) -> usize {
    let mut length = 0;
    while length < bytes.len() {
        match device.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    length
}

fn ext(bytes: &[u8]) -> Option<Superblock> {
    let block = bytes.get(EXT..EXT + 1024)?;
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if block[0x38..0x3a] != [0x53, 0xef] {
        return None;
    }
    let (compatible, incompatible, read_only) = (word(0x5c), word(0x60), word(0x64));
    if incompatible & EXT_JOURNAL_DEVICE != 0 {
        return None;
    }
    let kind = if incompatible & EXT4_INCOMPATIBLE != 0 || read_only & EXT4_READ_ONLY != 0 {
        "ext4"
    } else if compatible & EXT_HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    Some(Superblock {
        kind,
        uuid: uuid(&block[0x68..0x78]),
        label: text(&block[0x78..0x88]),
    })
}

fn xfs(bytes: &[u8]) -> Option<Superblock> {
    let block = bytes.get(..512)?;
    (&block[..4] == b"XFSB").then(|| Superblock {
        kind: "xfs",
        uuid: uuid(&block[32..48]),
        label: text(&block[108..120]),
    })
}

fn btrfs(bytes: &[u8]) -> Option<Superblock> {
    let block = bytes.get(BTRFS..BTRFS + 0x1000)?;
    (&block[0x40..0x48] == b"_BHRfS_M").then(|| Superblock {
        kind: "btrfs",
        uuid: uuid(&block[0x20..0x30]),
        label: text(&block[0x12b..0x22b]),
    })
}

/// Sixteen bytes in order, as "01234567-89ab-cdef-0123-456789abcdef".
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2v_sys::Cmd;

    const UUID: &str = "11111111-2222-3333-4444-5555555555aa";

    /// Made by the real programs, since only they know what is really written.
    fn probe_made(program: &str, args: &[&str]) -> Option<Superblock> {
        let file = p2v_testing::image(400 << 20);
        Cmd::new(program, "making a fixture")
            .args(args)
            .arg(file.path())
            .run()
            .unwrap();
        probe(file.as_file())
    }

    #[test]
    fn filesystems_of_every_kind() {
        let table: [(&str, &str, &[&str]); 5] = [
            (
                "ext2",
                "mkfs.ext2",
                &["-F", "-q", "-L", "my root", "-U", UUID],
            ),
            (
                "ext3",
                "mkfs.ext3",
                &["-F", "-q", "-L", "my root", "-U", UUID],
            ),
            (
                "ext4",
                "mkfs.ext4",
                &["-F", "-q", "-L", "my root", "-U", UUID],
            ),
            ("btrfs", "mkfs.btrfs", &["-q", "-L", "my root", "-U", UUID]),
            // mkfs.xfs allows no space in a label.
            (
                "xfs",
                "mkfs.xfs",
                &[
                    "-q",
                    "-L",
                    "my-root",
                    "-m",
                    "uuid=11111111-2222-3333-4444-5555555555aa",
                ],
            ),
        ];
        for (kind, program, args) in table {
            let found = probe_made(program, args).unwrap();
            assert_eq!(found.kind, kind);
            assert_eq!(found.uuid, UUID, "{kind}");
            assert_eq!(found.label.replace('-', " "), "my root", "{kind}");
        }
    }

    #[test]
    fn no_filesystem() {
        assert_eq!(probe_made("mkswap", &["-U", UUID]), None);
        let journal = ["-F", "-q", "-O", "journal_dev"];
        assert_eq!(probe_made("mkfs.ext4", &journal), None);
        let short = p2v_testing::image(1500);
        assert_eq!(probe(short.as_file()), None);
    }
}
