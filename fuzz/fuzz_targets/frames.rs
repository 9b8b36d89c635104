//! The copy's frames and what is in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_copy::fuzzing::{
    Cursor, Entry, Exclude, FrameReader, FrameWriter, LONGEST, Wish, read_hello, read_ranges,
};
use p2v_fuzz::{choice, memory};

fuzz_target!(|data: &[u8]| {
    // Some frames of the greatest length, packed and not.
    memory::limit(6 * LONGEST);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    match kind % 4 {
        0 => frames(rest),
        1 => hello(rest),
        2 => entries(rest, kind & 4 != 0),
        _ => ranges(rest),
    }
});

/// What is read and written again is what came.
fn frames(data: &[u8]) {
    let mut from = FrameReader::new(data);
    let mut written = Vec::new();
    let mut to = FrameWriter::new(&mut written);
    let mut length = 0;
    let mut all = Vec::new();
    while let Ok(frame) = from.read(Vec::new()) {
        to.write(&frame).expect("memory takes it");
        length += frame.wire() as usize;
        all.push(frame);
    }
    assert_eq!(written, data[..length]);
    for frame in all {
        let said = frame.packed_from;
        if let Ok(payload) = frame.unpacked() {
            assert!(payload.len() <= LONGEST);
            assert!(said.is_none_or(|said| said == payload.len()));
        }
    }
}

fn hello(data: &[u8]) {
    if let Ok(exclude) = read_hello(&mut FrameReader::new(data), Wish::Copy) {
        let _ = Exclude::new(&exclude);
    }
}

/// An entry is one that can be made, and is sent as it came.
fn entries(data: &[u8], is_top: bool) {
    let mut from = Cursor(data);
    while let Ok(entry) = {
        let before = from.0;
        Entry::decode(&mut from, is_top).inspect(|entry| sent_as_it_came(entry, before, from.0))
    } {
        assert!(entry.name != b".." && entry.name != b"." && !entry.name.contains(&b'/'));
        assert!(entry.name.len() < 256 && (is_top || !entry.name.is_empty()));
    }
}

fn sent_as_it_came(entry: &Entry, before: &[u8], after: &[u8]) {
    let mut sent = Vec::new();
    entry.encode(&mut sent).expect("it has just been read");
    let again = Entry::decode(&mut Cursor(&sent), entry.name.is_empty()).expect("its own bytes");
    assert_eq!(*entry, again);
    assert_eq!(sent.len(), before.len() - after.len());
}

fn ranges(data: &[u8]) {
    let size = 1 << 40;
    for range in read_ranges(data, size).into_iter().flatten() {
        assert!(range.start < range.end && range.end <= size);
    }
}
