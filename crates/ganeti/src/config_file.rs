//! Reading an admin's file, whatever is in its place: none is no error, but a
//! link that leads nowhere, or what is no file, is.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::libc::O_NONBLOCK;

/// Larger than any configuration or key file, in bytes.
const LARGEST: u64 = 1 << 20;

/// The file's bytes; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let doing = || format!("reading {}", path.display());
    // A FIFO would have us wait for its writer.
    let file = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.is_symlink() {
                bail!(
                    "{}: it is a symbolic link that leads nowhere: remove it, or make what it names",
                    doing()
                );
            }
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(doing),
    };
    if !file.metadata().with_context(doing)?.is_file() {
        bail!(
            "{}: it is not a regular file: put one there, or remove it",
            doing()
        );
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(doing)?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "{}: larger than 1 MiB, which no configuration is: put the right file there",
            doing()
        );
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_read_and_only_nothing_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let large = File::create(path("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();

        assert_eq!(read(&path("none")).unwrap(), None);
        for name in ["file", "link"] {
            assert_eq!(read(&path(name)).unwrap().unwrap(), b"text");
        }
        for (name, words) in [
            ("dangling", "leads nowhere"),
            ("directory", "not a regular file"),
            ("fifo", "not a regular file"),
            ("large", "larger than 1 MiB"),
        ] {
            let text = read(&path(name)).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(words), "{text}");
        }
    }
}
