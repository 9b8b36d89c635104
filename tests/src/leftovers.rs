//! Looks for what should be gone: mounts in any namespace, loop devices and
//! processes that belong to a test's directory.
//!
//! Tests run beside each other, so nothing is compared with "before": what is
//! ours is known by the directory's name in a path or in an environment.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kernel takes namespaces down after their last process has been reaped;
/// and a mount namespace that another test's program began meanwhile holds a
/// copy of what was mounted then, until that program ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails, naming each, if after a short patience anything of `dir` is mounted,
/// attached or running.
#[track_caller]
pub fn assert_none(dir: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find(dir);
        if found.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "left behind:\n{}",
            found.join("\n")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything of `dir` that is mounted, attached or running, in words.
pub fn find(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let loops = loop_devices(dir);
    found.extend(
        loops
            .iter()
            .map(|(device, file)| format!("loop device {device} on {}", file.display())),
    );
    let devices: BTreeSet<String> = loops.into_iter().map(|(device, _)| device).collect();
    found.extend(mounts(dir, &devices));
    found.extend(processes(dir));
    found
}

/// The mount points below `dir` in this process's own namespace.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    parse_mountinfo(&text)
        .into_iter()
        .map(|mount| mount.target)
        .filter(|target| target.starts_with(dir))
        .collect()
}

fn loop_devices(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in list("/sys/block") {
        let Ok(text) = std::fs::read(entry.join("loop/backing_file")) else {
            continue;
        };
        let file = Path::new(OsStr::from_bytes(text.trim_ascii_end())).to_owned();
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let device = format!("/dev/{name}");
        // A device that is attached to another of ours belongs to us too.
        if file.starts_with(dir) {
            found.push((device, file));
        }
    }
    found
}

struct MountPoint {
    target: PathBuf,
    source: String,
}

/// Mounts in every namespace that some process lives in.
fn mounts(dir: &Path, devices: &BTreeSet<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for process in process_dirs() {
        let Ok(namespace) = std::fs::read_link(process.join("ns/mnt")) else {
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        let text = std::fs::read(process.join("mountinfo")).unwrap_or_default();
        for mount in parse_mountinfo(&text) {
            if mount.target.starts_with(dir)
                || devices.contains(&mount.source)
                || Path::new(&mount.source).starts_with(dir)
            {
                found.push(format!(
                    "mount of {} on {} (seen by process {})",
                    mount.source,
                    mount.target.display(),
                    process.file_name().unwrap_or_default().to_string_lossy()
                ));
            }
        }
    }
    found
}

/// See proc_pid_mountinfo(5): the mount point is the fifth field, and after a
/// lone hyphen come type and source.
fn parse_mountinfo(text: &[u8]) -> Vec<MountPoint> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let hyphen = fields.iter().position(|field| *field == b"-")?;
            let source = fields.get(hyphen + 2)?;
            Some(MountPoint {
                target: PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.get(4)?))),
                source: String::from_utf8_lossy(&unescape(source)).into_owned(),
            })
        })
        .collect()
}

/// The kernel writes space, tab, newline and backslash as \ooo.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// Other processes with `dir` in their arguments, environment, working
/// directory or root.
fn processes(dir: &Path) -> Vec<String> {
    let needle = dir.as_os_str().as_bytes();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for process in process_dirs() {
        let pid = process.file_name().unwrap_or_default().to_string_lossy();
        if pid == own {
            continue;
        }
        let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        let inside = |name: &str| {
            std::fs::read_link(process.join(name)).is_ok_and(|path| path.starts_with(dir))
        };
        if contains(&arguments, needle)
            || contains(&environment, needle)
            || inside("cwd")
            || inside("root")
        {
            let command = String::from_utf8_lossy(&arguments).replace('\0', " ");
            found.push(format!("process {pid}: {command}"));
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn process_dirs() -> Vec<PathBuf> {
    let mut dirs = list("/proc");
    dirs.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().iter().all(u8::is_ascii_digit))
    });
    dirs
}

fn list(dir: &str) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2v_sys::loopdev::{Extent, LoopDevice};
    use p2v_sys::mount::Mount;

    #[test]
    fn escapes_in_mount_points_are_undone() {
        let line = b"36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/loop0 rw";
        let mounts = parse_mountinfo(line);
        assert_eq!(mounts[0].target, Path::new("/mnt/a b"));
        assert_eq!(mounts[0].source, "/dev/loop0");
    }

    #[test]
    fn a_loop_device_a_mount_and_a_process_are_found() {
        crate::need_root!();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path()), Vec::<String>::new());
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(1 << 20).unwrap();
        let device = LoopDevice::attach(&image, Extent::default(), false).unwrap();
        let point = dir.path().join("point");
        std::fs::create_dir(&point).unwrap();
        let flags = nix::mount::MsFlags::empty();
        let mount = Mount::new("tmpfs", &point, "tmpfs", flags, "").unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("SOME_DIR", dir.path())
            .spawn()
            .unwrap();
        let found = find(dir.path());
        child.kill().unwrap();
        child.wait().unwrap();
        mount.close().unwrap();
        device.close().unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_none(dir.path());
    }
}
