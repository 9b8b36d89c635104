//! How wide a terminal is.

use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

mod ioctl {
    use nix::libc;
    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);
}

/// The columns of the terminal behind `file`; `None` if there is none, or it
/// does not know.
pub fn columns(file: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel fills the structure that it is given, whose type is
    // that of this call.
    unsafe { ioctl::window_size(file.as_fd().as_raw_fd(), &mut size) }.ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_terminal_has_no_width() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(super::columns(&file), None);
    }
}
