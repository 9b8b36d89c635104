//! What one side was told to do, the other cannot make anything else of.

use std::fs;
use std::os::unix::net::UnixStream;

use anyhow::Result;
use p2v_copy::SendOptions;

use crate::common::{between, from_and_to};

type End<'a> = Box<dyn FnOnce(&UnixStream) -> Result<()> + Send + 'a>;

/// How both ends fail.
fn meet(far_end: End, near_end: End) -> [String; 2] {
    let (sent, received) = between(far_end, near_end);
    [sent, received].map(|result| format!("{:#}", result.unwrap_err()))
}

#[test]
fn an_order_to_compare_writes_nothing_and_the_other_way_round() {
    p2v_testing::need_root!();
    let (scratch, from, to) = from_and_to();
    for (top, text) in [(&from, "new"), (&to, "old")] {
        fs::write(top.join("file"), text).unwrap();
    }
    let disk = |name: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, name).unwrap();
        fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    };
    let (ours, theirs) = (disk("ours"), disk("mine"));
    let options = SendOptions::default();
    let send = || -> End {
        Box::new(|link| p2v_copy::send(&from, link, link, &options, &|_| {}).map(drop))
    };
    let compare = || -> End {
        Box::new(|link| p2v_copy::compare(&from, link, link, &options, &|_| {}).map(drop))
    };
    let blocks = || -> End {
        Box::new(|link| {
            p2v_copy::send_blocks(&ours, 0, &[0..2, 2..4], link, link, &|_| {}).map(drop)
        })
    };
    let compare_blocks = || -> End {
        Box::new(|link| {
            p2v_copy::compare_blocks(&ours, 0, &[0..2, 2..4], link, link, &|_| {}).map(drop)
        })
    };
    let receive = || -> End { Box::new(|link| p2v_copy::receive(&to, link, link).map(drop)) };
    let answer = || -> End { Box::new(|link| p2v_copy::answer(&to, link, link)) };
    let receive_blocks =
        || -> End { Box::new(|link| p2v_copy::receive_blocks(&theirs, 4, link, link).map(drop)) };
    let answer_blocks =
        || -> End { Box::new(|link| p2v_copy::answer_blocks(&theirs, 4, link, link)) };
    for (far, near, told) in [
        (answer(), send(), "to compare files"),
        (receive(), compare(), "to copy files"),
        (receive(), blocks(), "to copy files"),
        (answer_blocks(), blocks(), "to compare blocks"),
        (receive_blocks(), compare_blocks(), "to copy blocks"),
        (receive_blocks(), send(), "to copy blocks"),
    ] {
        for text in meet(far, near) {
            assert!(text.contains("wants something else"), "{text}");
            assert!(text.contains(told), "{told}: {text}");
        }
    }
    assert_eq!(fs::read(to.join("file")).unwrap(), b"old");
    assert_eq!(fs::read(scratch.path().join("mine")).unwrap(), b"mine");
}
