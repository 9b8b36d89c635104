//! Streams whose maps claim too much.

use super::*;

/// A header of this type that announces so many records.
fn header(kind: u32, count: u32) -> Vec<u8> {
    let mut record = vec![0; HEADER];
    for (at, word) in [
        (field::TYPE, kind),
        (field::MAGIC, MAGIC),
        (field::COUNT, count),
    ] {
        record[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    let missing = CHECKSUM.wrapping_sub(Order::Little.checksum(&record));
    record[28..32].copy_from_slice(&missing.to_le_bytes());
    record
}

#[test]
fn maps_without_end_are_refused() {
    for kind in [3, 6] {
        let mut follower = Follower::new(Order::Little);
        let mut maps = 0;
        let error = loop {
            if let Err(error) = follower.follow(&header(kind, MOST_MAP)) {
                break error;
            }
            maps += 1;
            // What it announced need not come to be counted.
            follower.data = 0;
        };
        assert_eq!(maps, 2);
        assert!(format!("{error:#}").contains("larger than any"));
    }
}
