//! Links that end, and other sides that are not to be trusted.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use p2v_copy::SendOptions;

use crate::common::{between, copy, from_and_to, judge, nasty, unlock_all};

/// Ends after so many bytes.
struct Cut<T>(T, u64);

impl<T: Read> Read for Cut<T> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let most = room.len().min(self.1 as usize);
        let count = self.0.read(&mut room[..most])?;
        self.1 -= count as u64;
        Ok(count)
    }
}

fn copy_cut(from: &Path, to: &Path, after: u64) -> bool {
    let (sent, received) = between(
        |far| p2v_copy::receive(to, Cut(far, after), far).is_ok(),
        |near| p2v_copy::send(from, near, near, &SendOptions::default(), &|_| {}).is_ok(),
    );
    assert_eq!(received, sent);
    sent
}

#[test]
fn a_copy_that_is_cut_many_times_is_complete_in_the_end() {
    p2v_testing::need_root!();
    let (_scratch, from, to) = from_and_to();
    nasty(&from);
    let mut state = 12345_u64;
    let mut ended = 0;
    for _ in 0..50 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Near the beginning, too.
        let after = (state >> 33) % if state >> 63 == 0 { 60_000 } else { 4_000_000 };
        ended += usize::from(!copy_cut(&from, &to, after));
    }
    assert!(ended > 20, "only {ended} were cut");
    copy(&from, &to).unwrap();
    judge(&from, &to);
    unlock_all(&[&from, &to]);
}

/// What a sender says after it has said hello properly; and how the receiver
/// fails.
fn say(to: &Path, frames: &[(u8, Vec<u8>)]) -> String {
    let send = |mut near: &UnixStream| {
        let hello = (
            1,
            [1_u32.to_le_bytes().as_slice(), &[1], &0_u32.to_le_bytes()].concat(),
        );
        for (number, (kind, payload)) in [hello].iter().chain(frames).enumerate() {
            let length = (payload.len() as u32).to_le_bytes();
            let mut frame = b"p2vC".to_vec();
            frame.extend([*kind, 0]);
            frame.extend((number as u16).to_le_bytes());
            frame.extend(length);
            frame.extend(length);
            frame.extend(payload);
            let _ = near.write_all(&frame);
        }
        // Until it has said how it failed, or has gone.
        let mut header = [0; 16];
        while near.read_exact(&mut header).is_ok() && header[4] != 8 {
            let length = u64::from(u32::from_le_bytes(header[8..12].try_into().unwrap()));
            let _ = std::io::copy(&mut near.take(length), &mut std::io::sink());
        }
    };
    let ((), received) = between(|far| p2v_copy::receive(to, far, far), send);
    format!("{:#}", received.unwrap_err())
}

/// A batch of the top with one entry.
fn batch(name: &[u8], mode: u32, rest: &[u8]) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.push(2);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend(name);
    for number in [mode, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.push(0);
    bytes.extend(rest);
    (3, bytes)
}

#[test]
fn a_hostile_sender_reaches_nothing_outside() {
    p2v_testing::need_root!();
    let scratch = p2v_testing::scratch("copy");
    let (to, outside) = (scratch.path().join("to"), scratch.path().join("outside"));
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    let file = |name: &[u8]| batch(name, 0o100_644, &[[5, 0, 0, 0, 0, 0, 0, 0]; 2].concat());
    let names: [&[u8]; 7] = [b"..", b".", b"", b"a/b", b"/etc/x", b"a\0b", &[b'x'; 256]];
    for name in names {
        let error = say(&to, &[file(name)]);
        assert!(error.contains("impossible name"), "{error}");
    }
    let table: [(&str, (u8, Vec<u8>)); 7] = [
        ("no known type", batch(b"x", 0o30_000, &[])),
        ("impossible target", batch(b"x", 0o120_777, &[0, 0])),
        ("impossible size", batch(b"x", 0o100_644, &[0xff; 16])),
        ("ends too early", batch(b"x", 0o100_644, &[1])),
        (
            "longer than it should be",
            batch(b"x", 0o10_644, &[1, 2, 3]),
        ),
        (
            "nobody asked for",
            (4, [[0xff; 8].as_slice(), &[7; 17], &[0; 4]].concat()),
        ),
        ("what only a receiver does", (6, vec![])),
    ];
    for (expected, frame) in table {
        let error = say(&to, &[frame]);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // A directory in which entries come, but which is a symbolic link by then.
    symlink(&outside, to.join("link")).unwrap();
    let mut inside = file(b"kept");
    inside.1[4] = 7;
    let link = batch(
        b"link",
        0o120_777,
        &[
            &[(outside.as_os_str().len()) as u8, 0],
            outside.as_os_str().as_encoded_bytes(),
        ]
        .concat(),
    );
    let error = say(&to, &[link, inside, (5, vec![])]);
    assert!(error.contains("never came"), "{error}");
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
}

#[test]
fn a_directory_in_place_of_a_planted_link_is_made_anew() {
    p2v_testing::need_root!();
    let scratch = p2v_testing::scratch("copy");
    let top = |name: &str| scratch.path().join(name);
    for name in ["from/a/b", "to", "outside/b"] {
        fs::create_dir_all(top(name)).unwrap();
    }
    fs::write(top("from/a/b/new"), "new").unwrap();
    fs::write(top("outside/b/kept"), "kept").unwrap();
    symlink(top("outside"), top("to/a")).unwrap();
    copy(&top("from"), &top("to")).unwrap();
    judge(&top("from"), &top("to"));
    assert_eq!(fs::read_dir(top("outside/b")).unwrap().count(), 1);
}

#[test]
fn noise_is_an_error_on_both_sides() {
    let scratch = p2v_testing::scratch("copy");
    let noise = b"Last login: today\nWelcome to this machine, and have a nice day!\n";
    let error = p2v_copy::receive(scratch.path(), &noise[..], std::io::sink()).unwrap_err();
    assert!(format!("{error:#}").contains("Last login"), "{error:#}");
    let options = SendOptions::default();
    let error = p2v_copy::send(
        scratch.path(),
        &noise[..],
        std::io::sink(),
        &options,
        &|_| {},
    );
    assert!(format!("{:#}", error.unwrap_err()).contains("Last login"));
}
