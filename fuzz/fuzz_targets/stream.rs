//! The stream of export and import, and dumps that instance-debootstrap wrote.
//! The first byte says which. Checksums are made here: damage is what tests
//! flip bits for, and here it is what a stream says that counts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_backup::stream::{MOST_DATA, Manifest, Record, StreamReader, StreamWriter};
use p2v_fuzz::{choice, memory, scratch};

const RECORD: usize = 1024;

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    match kind % 3 {
        0 => raw(rest),
        1 => written(rest),
        _ => dump(rest),
    }
});

fn raw(data: &[u8]) {
    if let Ok(mut reader) = StreamReader::start(data) {
        while let Ok(Some(_)) = reader.next_record() {}
    }
}

/// A manifest, NUL, then records of 14 bytes: what is read back is what was
/// written, up to the first that lies outside its area.
fn written(data: &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&data[..end]) else {
        return;
    };
    let records: Vec<(bool, u32, u64, u64)> = data[end..].chunks_exact(14).map(record).collect();
    let mut bytes = Vec::new();
    let bulk = vec![7; MOST_DATA];
    let mut writer = StreamWriter::start(&mut bytes, &manifest).expect("it is short");
    for (is_data, area, offset, length) in &records {
        let result = match is_data {
            true => writer.data(*area, *offset, &bulk[..(*length % 5000) as usize]),
            false => writer.zeros(*area, *offset, *length),
        };
        result.expect("memory takes it");
    }
    writer.finish().expect("memory takes it");
    let mut reader = StreamReader::start(bytes.as_slice()).expect("its own beginning");
    assert_eq!(*reader.manifest(), manifest);
    let areas: Vec<u64> = manifest.areas.iter().map(|area| area.length).collect();
    for (is_data, area, offset, length) in records {
        let length = if is_data { length % 5000 } else { length };
        let end = offset.checked_add(length);
        let inside = areas
            .get(area as usize)
            .is_some_and(|most| end.is_some_and(|e| e <= *most));
        match reader.next_record() {
            Ok(Some(Record::Data(a, o, bytes))) if is_data && inside => {
                assert_eq!((a, o, bytes.len() as u64), (area, offset, length));
            }
            Ok(Some(Record::Zeros(a, o, l))) if !is_data && inside => {
                assert_eq!((a, o, l), (area, offset, length));
            }
            Err(_) if !inside => return,
            other => panic!("{other:?} where inside is {inside}"),
        }
    }
    assert!(matches!(reader.next_record(), Ok(None)));
}

fn record(bytes: &[u8]) -> (bool, u32, u64, u64) {
    let long = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 0, 0].map(|i| bytes[at + i]));
    let wide = |number: u64| {
        if bytes[0] & 2 == 0 {
            number
        } else {
            number << 20
        }
    };
    (
        bytes[0] & 1 == 0,
        u32::from(bytes[1]),
        wide(long(2)),
        long(8) & 0xffff_ffff_ff,
    )
}

/// Records of a dump, each a header if its magic is right.
fn dump(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.resize(data.len().next_multiple_of(RECORD).max(RECORD), 0);
    for record in bytes.chunks_exact_mut(RECORD) {
        if record[24..28] == 60012u32.to_le_bytes() {
            record[28..32].fill(0);
            let words = record
                .chunks_exact(4)
                .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
            let missing = 84446u32.wrapping_sub(words.fold(0, u32::wrapping_add));
            record[28..32].copy_from_slice(&missing.to_le_bytes());
        }
    }
    let (head, rest) = bytes.split_at(RECORD);
    let _ = p2v_ganeti::fuzzing::dump(head.to_vec(), scratch::file(rest), scratch::empty());
}
