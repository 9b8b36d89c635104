//! A disk's used bytes, sent, sent again and compared.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use anyhow::Result;
use p2v_copy::{Difference, Progress};

use crate::common::between;

const SIZE: u64 = 40 << 20;
const START: u64 = 1 << 20;

fn disk(fill: impl Fn(usize) -> u8) -> File {
    let file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..(SIZE + START) as usize).map(fill).collect();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

fn bytes(file: &File, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start).unwrap();
    bytes
}

fn with<T: Send>(
    to: &File,
    size: u64,
    work: impl FnOnce(&UnixStream) -> Result<T>,
) -> (Result<T>, Result<Progress>) {
    between(|far| p2v_copy::receive_blocks(to, size, far, far), work)
}

#[test]
fn what_is_used_arrives_and_only_what_differs_is_sent_again() {
    let from = disk(|i| (i / 1000 + i * 7) as u8);
    let to = disk(|_| 0xaa);
    let used = [0..5000, (3 << 20)..(3 << 20) + 777_777, (20 << 20)..SIZE];
    let total: u64 = used.iter().map(|range| range.end - range.start).sum();
    let send = |to: &File| {
        let (sent, received) = with(to, SIZE, |link| {
            p2v_copy::send_blocks(&from, START, &used, link, link, &|_| {})
        });
        received.unwrap();
        sent.unwrap()
    };
    let first = send(&to);
    assert_eq!((first.bytes_sent, first.bytes_done), (total, total));
    for range in &used {
        let there = range.start + START..range.end + START;
        assert_eq!(bytes(&to, range.clone()), bytes(&from, there));
    }
    assert_eq!(bytes(&to, 5000..(3 << 20)), vec![0xaa; (3 << 20) - 5000]);
    let second = send(&to);
    assert_eq!((second.bytes_sent, second.bytes_done), (0, total));

    to.write_all_at(b"!", (30 << 20) + 5).unwrap();
    from.write_all_at(&vec![0; 1 << 20], START + (25 << 20))
        .unwrap();
    let compare = || -> Vec<Difference> {
        let answer = |link: &UnixStream| p2v_copy::answer_blocks(&to, SIZE, link, link);
        let (found, answered) = between(answer, |link| {
            p2v_copy::compare_blocks(&from, START, &used, link, link, &|_| {})
        });
        answered.unwrap();
        found.unwrap()
    };
    let found = compare();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].path.contains("26214400 to "), "{found:?}");
    let third = send(&to);
    assert_eq!(third.bytes_sent, (1 << 20) + (256 << 10));
    assert!(third.bytes_wire < 400_000);
    assert_eq!(compare(), []);
}

#[test]
fn a_volume_that_is_too_small_is_told() {
    let (from, to) = (disk(|_| 1), disk(|_| 2));
    let used = [0..1 << 20, (1 << 20)..2 << 20];
    let (sent, received) = with(&to, 1 << 20, |link| {
        p2v_copy::send_blocks(&from, 0, &used, link, link, &|_| {})
    });
    for error in [sent.unwrap_err(), received.unwrap_err()] {
        let error = format!("{error:#}");
        assert!(
            error.contains("do not fit into the volume of 1048576 bytes"),
            "{error}"
        );
    }
}
