//! What to do about what any step may meet in the system itself.

use nix::errno::Errno;

/// What ends an error that is the system's refusal, unless it says so itself.
pub(super) fn advice(error: &anyhow::Error, is_root: bool) -> Option<&'static str> {
    let said = format!("{error:#}");
    match error.chain().find_map(refusal)? {
        Errno::ENOSPC | Errno::EDQUOT if !said.contains("make room") && !said.contains("full") => {
            Some("make room there")
        }
        Errno::EACCES | Errno::EPERM if !is_root => Some("run this as root"),
        _ => None,
    }
}

fn refusal(cause: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let io = cause.downcast_ref::<std::io::Error>();
    let code = io.and_then(std::io::Error::raw_os_error);
    code.map(Errno::from_raw)
        .or_else(|| cause.downcast_ref::<Errno>().copied())
}

#[cfg(test)]
mod tests {
    use anyhow::{Error, anyhow};

    use super::*;

    #[test]
    fn a_full_disk_and_a_missing_right_say_what_to_do_once() {
        let io = |errno: Errno| Error::from(std::io::Error::from(errno)).context("writing x");
        for (error, is_root, expected) in [
            (io(Errno::ENOSPC), true, Some("make room there")),
            (Error::from(Errno::EDQUOT), true, Some("make room there")),
            (io(Errno::ENOSPC).context("(make room)"), true, None),
            (io(Errno::EACCES), false, Some("run this as root")),
            (io(Errno::EACCES), true, None),
            (io(Errno::ENOENT), false, None),
            (anyhow!("wrong"), false, None),
        ] {
            assert_eq!(advice(&error, is_root), expected, "{error:#}");
        }
    }
}
