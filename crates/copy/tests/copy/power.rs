//! What a power cut leaves: names, sizes and times that are right, with zeros
//! in the place of contents that were not on the medium yet.

use std::fs::{self, File, FileTimes};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use p2v_copy::{Progress, SendOptions};

use crate::common::{between, copy, from_and_to, judge};
use p2v_testing::need_root;

const SECOND: i64 = 1_000_000_000;

fn copy_doubting(from: &Path, to: &Path, doubt: Range<i64>) -> Progress {
    let (sent, received) = between(
        |far| p2v_copy::receive_doubting(to, Some(doubt), far, far),
        |near| p2v_copy::send(from, near, near, &SendOptions::default(), &|_| {}),
    );
    received.unwrap();
    sent.unwrap()
}

#[test]
fn contents_of_a_doubtful_time_are_sent_again() {
    need_root!();
    let (_scratch, from, to) = from_and_to();
    let past = SystemTime::now() - Duration::from_secs(86_400);
    for name in ["one", "two"] {
        fs::write(from.join(name), "contents").unwrap();
        let file = File::options().write(true).open(from.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(past)).unwrap();
    }
    fs::hard_link(from.join("two"), from.join("two again")).unwrap();
    copy(&from, &to).unwrap();
    for name in ["one", "two"] {
        fs::write(to.join(name), [0; 8]).unwrap();
        let file = File::options().write(true).open(to.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(past)).unwrap();
    }
    let changed = fs::metadata(to.join("one")).unwrap();
    let changed = changed.ctime() * SECOND + changed.ctime_nsec();
    // By size and time they are right.
    assert_eq!(copy(&from, &to).unwrap().bytes_sent, 0);
    let sent = copy_doubting(&from, &to, changed + 5 * SECOND..i64::MAX);
    assert_eq!(sent.bytes_sent, 0);
    let sent = copy_doubting(&from, &to, changed..changed + 5 * SECOND);
    assert_eq!(sent.bytes_sent, 16);
    for name in ["one", "two", "two again"] {
        assert_eq!(fs::read(to.join(name)).unwrap(), b"contents", "{name}");
    }
    judge(&from, &to);
}
