//! Streams whole, and in every way not.

use super::*;

fn manifest() -> Manifest {
    let area = Area {
        role: AreaRole::WholeDisk,
        offset: 0,
        length: 1 << 20,
        content: None,
        uuid: None,
        label: None,
        used: 1 << 20,
        whole_because: None,
    };
    Manifest {
        writer: "test".to_owned(),
        disk_size: 1 << 20,
        sector_size: 512,
        table: None,
        areas: vec![area],
    }
}

fn stream() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::start(&mut bytes, &manifest()).unwrap();
    writer.data(0, 0, &[7; 100]).unwrap();
    writer.zeros(0, 100, 5000).unwrap();
    writer.data(0, 5100, &[8; 300]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The bytes that the stream's records fill.
fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut filled = Vec::new();
    let mut read = || -> anyhow::Result<()> {
        let mut reader = StreamReader::start(bytes)?;
        assert_eq!(*reader.manifest(), manifest());
        while let Some(record) = reader.next_record()? {
            match record {
                Record::Data(0, offset, data) => {
                    assert_eq!(offset as usize, filled.len());
                    filled.extend(data);
                }
                Record::Zeros(0, _, length) => filled.resize(filled.len() + length as usize, 0),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    };
    let result = read().map_err(|error| format!("{error:#}"));
    result.map(|()| filled)
}

#[test]
fn what_is_written_is_read_and_its_length_known() {
    let bytes = stream();
    let filled = read(&bytes).unwrap();
    assert_eq!(filled.len(), 5400);
    assert_eq!((filled[99], filled[100], filled[5100]), (7, 0, 8));
    let length = writer::length(&manifest(), 3, 400).unwrap();
    assert_eq!(length, bytes.len() as u64);
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed() {
    let bytes = stream();
    for length in 0..bytes.len() {
        let text = read(&bytes[..length]).unwrap_err();
        assert!(text.contains("truncated"), "{length}: {text}");
    }
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        let text = read(&bad).unwrap_err();
        let known = ["damaged", "truncated", "no stream", "it has version"];
        assert!(known.iter().any(|word| text.contains(word)), "{at}: {text}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(read(&longer).unwrap_err().contains("something follows"));
}

#[test]
fn records_keep_their_order() {
    let bytes = stream();
    let at = bytes.len() - 40 - (40 + 300) - 40 - (40 + 100);
    let (first, second) = (at..at + 140, at + 140..at + 180);
    let swapped = [
        &bytes[..at],
        &bytes[second.clone()],
        &bytes[first],
        &bytes[second.end..],
    ];
    assert!(read(&swapped.concat()).unwrap_err().contains("checksum"));
    let without = [&bytes[..at], &bytes[second.start..]].concat();
    assert!(read(&without).unwrap_err().contains("checksum"));
}

#[test]
fn a_record_outside_its_area_is_refused() {
    for (area, offset) in [(0, (1 << 20) - 99), (1, 0), (0, u64::MAX)] {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::start(&mut bytes, &manifest()).unwrap();
        writer.data(area, offset, &[7; 100]).unwrap();
        writer.finish().unwrap();
        assert!(read(&bytes).unwrap_err().contains("outside its area"));
    }
}

#[test]
fn what_fails_says_what_to_do() {
    let bytes = stream();
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for bad in [&bytes[..last], &damaged[..]] {
        let text = read(bad).unwrap_err();
        assert!(text.contains("export it again"), "{text}");
    }
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let text = format!(
        "{:#}",
        StreamWriter::start(std::fs::File::from(writer), &manifest()).unwrap_err()
    );
    assert!(text.contains("what reads it has ended"), "{text}");
}
