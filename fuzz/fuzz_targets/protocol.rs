//! The lines between a transfer's two sides, and the JSON that people may edit
//! or disks hold: plans, machines, stamps. The first byte says which.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fixes::Machine;
use p2v_fuzz::{choice, memory};
use p2v_transfer::fuzzing::{plan, stamp_in};
use p2v_transfer::protocol::{self, Answer, DataOrder, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    match kind % 8 {
        0 | 1 => lines::<Request>(rest),
        2 => lines::<Answer>(rest),
        3 => lines::<DataOrder>(rest),
        4 => again::<p2v_transfer::target::Target>(rest),
        5 => again::<Machine>(rest),
        6 => edited_plan(rest),
        _ => {
            if let Some(stamp) = stamp_in(rest) {
                again::<p2v_transfer::fuzzing::Stamp>(&serde_json::to_vec(&stamp).expect("plain"));
            }
        }
    }
});

/// Each line is a message or an error, and the next one counts.
fn lines<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(mut data: &[u8]) {
    let most = data.iter().filter(|byte| **byte == b'\n').count() + 2;
    for count in 0.. {
        assert!(count <= most, "more messages than lines");
        match protocol::read::<T>(&mut data) {
            Ok(None) => break,
            Ok(Some(message)) => {
                let mut line = Vec::new();
                protocol::write(&mut line, &message).expect("memory takes it");
                assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                let again = protocol::read::<T>(&mut line.as_slice()).expect("its own line");
                assert_eq!(again.as_ref(), Some(&message));
            }
            Err(error) => {
                let text = format!("{error:#}");
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
    }
}

/// What is written of it is read as the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(data) {
        let text = serde_json::to_vec(&value).expect("it is plain data");
        assert_eq!(value, serde_json::from_slice(&text).expect("its own text"));
    }
}

/// Volumes get partitions of their sizes, inside the disk, or it is an error.
fn edited_plan(data: &[u8]) {
    let Ok(read) = plan(data) else {
        return;
    };
    let text = serde_json::to_vec(&read).expect("it is plain data");
    assert_eq!(read, plan(&text).expect("its own text"));
}
