//! Trees copied between two threads, judged by rsync.

use crate::common::{copy, judge, nasty, scratch};

#[test]
fn a_nasty_tree_arrives_and_nothing_is_sent_again() {
    crate::need_root!();
    let scratch = scratch();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    nasty(&from);
    let first = copy(&from, &to).unwrap();
    judge(&from, &to);
    assert!(first.bytes_sent > 0);
    let again = copy(&from, &to).unwrap();
    judge(&from, &to);
    assert_eq!(again.bytes_sent, 0);
    assert_eq!(
        (again.entries, again.bytes_done),
        (first.entries, first.bytes_done)
    );
    crate::common::unlock_all(&[&from, &to]);
}
