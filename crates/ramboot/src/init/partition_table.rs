//! The identities of a disk's partitions: PARTUUID and PARTLABEL.
//!
//! The kernel knows the partitions but, before 6.10, not their UUIDs, so the
//! table is read here. An MBR's partition has the disk's signature and its
//! own number, a GPT's a GUID and a name.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// More entries than any GPT has; a damaged header must not make us read on
/// and on.
const MOST_ENTRIES: u32 = 1024;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// Its disk's signature.
    Mbr(u32),
    /// Each used entry: number from 1, GUID in lower case, name.
    Gpt(Vec<(u32, String, String)>),
}

impl Table {
    /// Reads the table of `disk`, whose logical sectors have `sector_size`
    /// bytes. `None` if there is none, or it cannot be read.
    pub fn read(disk: &File, sector_size: u32) -> Option<Self> {
        let mut sector = [0; 512];
        disk.read_exact_at(&mut sector, 0).ok()?;
        if sector[510..] != [0x55, 0xaa] {
            return None;
        }
        if let Some(entries) = gpt(disk, u64::from(sector_size)) {
            return Some(Self::Gpt(entries));
        }
        Some(Self::Mbr(word(&sector, 440)))
    }

    /// The PARTUUID, in lower case, of the partition with that number.
    pub fn uuid(&self, number: u32) -> Option<String> {
        match self {
            Self::Mbr(0) => None,
            Self::Mbr(signature) => Some(format!("{signature:08x}-{number:02x}")),
            Self::Gpt(entries) => {
                let entry = entries.iter().find(|entry| entry.0 == number)?;
                Some(entry.1.clone())
            }
        }
    }

    /// The name of the partition with that number.
    pub fn label(&self, number: u32) -> Option<&str> {
        let Self::Gpt(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.0 == number)?;
        Some(&entry.2)
    }
}

fn gpt(disk: &File, sector_size: u64) -> Option<Vec<(u32, String, String)>> {
    let mut header = [0; 92];
    disk.read_exact_at(&mut header, sector_size).ok()?;
    if &header[..8] != b"EFI PART" {
        return None;
    }
    let start = u64::from_le_bytes(header[72..80].try_into().ok()?);
    let (count, size) = (word(&header, 80), word(&header, 84));
    if count > MOST_ENTRIES || !(128..=4096).contains(&size) {
        return None;
    }
    let mut bytes = vec![0; (count * size) as usize];
    disk.read_exact_at(&mut bytes, start.checked_mul(sector_size)?)
        .ok()?;
    let entries = (1..).zip(bytes.chunks_exact(size as usize));
    Some(
        entries
            // An unused entry has a type of zeros.
            .filter(|(_, entry)| entry[..16] != [0; 16])
            .map(|(number, entry)| (number, guid(&entry[16..32]), name(&entry[56..128])))
            .collect(),
    )
}

/// A GUID's first three fields are stored with their bytes reversed.
fn guid(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (place, index) in order.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes[index]));
    }
    text
}

/// UTF-16, up to the first NUL.
fn name(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|&unit| unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2v_sys::Cmd;

    /// The table that a real program makes of its input.
    fn table_of(program: &str, args: &[&str], input: &str, sector_size: u32) -> Option<Table> {
        let file = p2v_testing::image(64 << 20);
        Cmd::new(program, "making a fixture")
            .args(args)
            .arg(file.path())
            .stdin(input)
            .run()
            .unwrap();
        Table::read(file.as_file(), sector_size)
    }

    fn sfdisk(script: &str) -> Option<Table> {
        let args = ["--quiet", "--no-reread", "--no-tell-kernel"];
        table_of("sfdisk", &args, script, 512)
    }

    const UUID: &str = "0fc63daf-8483-4772-8e79-3d69d8477dff";

    #[test]
    fn mbr_partitions_have_signature_and_number() {
        let table = sfdisk(
            "label: dos\nlabel-id: 0x00ab12cd\nsize=8M, type=83\ntype=5\nsize=8M, type=83\n",
        )
        .unwrap();
        assert_eq!(table.uuid(1).unwrap(), "00ab12cd-01");
        // The first logical one.
        assert_eq!(table.uuid(5).unwrap(), "00ab12cd-05");
        assert_eq!(table.label(1), None);
    }

    #[test]
    fn gpt_partitions_have_guid_and_name() {
        let table = sfdisk(&format!(
            "label: gpt\n1: size=8M, type=linux\n3: type=linux, uuid={UUID}, name=\"my wurzel ü\"\n"
        ))
        .unwrap();
        assert_eq!(table.uuid(3).unwrap(), UUID);
        assert_eq!(table.label(3), Some("my wurzel ü"));
        assert_eq!(table.uuid(2), None);
        assert_eq!(table.label(1), Some(""));
    }

    #[test]
    fn gpt_on_large_sectors() {
        let keys = format!("g\nn\n1\n\n+8M\nx\nu\n{UUID}\nn\nroot\nr\nw\n");
        let table = table_of("fdisk", &["-b", "4096"], &keys, 4096).unwrap();
        assert_eq!(table.uuid(1).unwrap(), UUID);
        assert_eq!(table.label(1), Some("root"));
    }

    #[test]
    fn empty_disk_has_no_table() {
        let file = p2v_testing::image(1 << 20);
        assert_eq!(Table::read(file.as_file(), 512), None);
    }
}
