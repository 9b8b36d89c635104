//! Differences in words, and a list of them that does not grow without end.

use std::sync::Mutex;

use nix::libc;

use crate::Difference;
use crate::queue::lock;

/// So many are listed, the others counted.
const MOST: usize = 1000;

/// See the module.
#[derive(Default)]
pub struct Differences(Mutex<(Vec<Difference>, usize)>);

impl Differences {
    /// One more.
    pub fn add(&self, path: String, what: String) {
        let mut all = lock(&self.0);
        if all.0.len() < MOST {
            all.0.push(Difference { path, what });
        } else {
            all.1 += 1;
        }
    }

    /// All, by path.
    pub fn take(&self) -> Vec<Difference> {
        let (mut all, more) = std::mem::take(&mut *lock(&self.0));
        all.sort_by(|a, b| (&a.path, &a.what).cmp(&(&b.path, &b.what)));
        if more > 0 {
            all.push(Difference {
                path: String::new(),
                what: format!("and {more} more"),
            });
        }
        all
    }
}

/// What an inode of that kind is called.
pub fn type_name(kind: u32) -> &'static str {
    match kind {
        libc::S_IFDIR => "a directory",
        libc::S_IFREG => "a file",
        libc::S_IFLNK => "a symbolic link",
        libc::S_IFBLK => "a block device",
        libc::S_IFCHR => "a character device",
        libc::S_IFIFO => "a pipe",
        _ => "a socket",
    }
}
