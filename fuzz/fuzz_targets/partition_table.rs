//! Partition tables: what sfdisk prints, and what init reads natively beside
//! filesystems' superblocks. The first byte says which.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::{choice, memory, scratch};
use p2v_sys::fuzzing::{parse_table, script};

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    if kind % 2 == 0 {
        printed(&String::from_utf8_lossy(rest));
    } else {
        native(rest, if kind & 2 == 0 { 512 } else { 4096 });
    }
});

fn printed(text: &str) {
    let Ok(table) = parse_table(text) else {
        return;
    };
    for entry in &table.partitions {
        let extent = entry.extent(table.sector_size);
        assert!(extent.offset >= entry.start || table.sector_size == 0);
        assert!(entry.end() >= entry.start);
        let _ = entry.is_extended();
    }
    // A partition is a line for sfdisk, whatever its name.
    let lines = 2
        + table.partitions.len()
        + usize::from(table.id.is_some())
        + usize::from(table.first_lba.is_some());
    assert_eq!(script(&table).split('\n').count(), lines + 1);
    assert!(
        script(&table)
            .bytes()
            .all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte))
    );
    let json = serde_json::to_vec(&table).expect("it is plain data");
    assert_eq!(table, serde_json::from_slice(&json).expect("its own text"));
}

fn native(bytes: &[u8], sector: u32) {
    let disk = scratch::file(bytes);
    if let Some(table) = p2v_ramboot::fuzzing::Table::read(&disk, sector) {
        for number in [0, 1, 5, 128, u32::MAX] {
            if let Some(uuid) = table.uuid(number) {
                assert!(
                    uuid.bytes()
                        .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
                );
            }
            let _ = table.label(number);
        }
    }
    if let Some(superblock) = p2v_ramboot::fuzzing::probe(&disk) {
        assert_eq!(superblock.uuid.len(), 36);
        assert!(!superblock.label.contains('\0'));
    }
}
