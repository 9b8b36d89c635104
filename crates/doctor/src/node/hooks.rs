//! Directories of ordered parts: what would be passed over, and what could not
//! start.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use p2v_ganeti::settings::SettingsPaths;
use p2v_parts::{Parts, Reason, Skipped};
use p2v_sys::command::in_path;
use p2v_transfer::preflight::Finding;

use crate::{failed, shell_word};

/// How names end that nobody means to run: editors, packages and `make
/// install` lay such files beside others.
const STRAY: [&str; 8] = [
    "~",
    ".new",
    ".bak",
    ".orig",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
];

/// The fixes that go into an instance.
pub fn fixes(paths: &SettingsPaths) -> Vec<Finding> {
    let dir = paths.fixes_dir();
    if !dir.is_dir() {
        let text = format!("{} is missing, and create fails", dir.display());
        let remedy = format!("mkdir {}; an empty one is enough", dir.display());
        return vec![Finding::error(text).remedy(remedy)];
    }
    check(&dir)
}

/// What runs in a directory, what does not, and why.
pub fn check(dir: &Path) -> Vec<Finding> {
    let parts = match Parts::in_directory(dir) {
        Ok(parts) => parts,
        Err(error) => {
            let remedy = format!(
                "mkdir {}, an empty one is enough; CUSTOMIZE_DIR names it",
                shell_word(dir)
            );
            return vec![failed(&error, &remedy)];
        }
    };
    let skipped = parts.skipped().iter();
    let mut findings: Vec<_> = skipped
        .filter_map(|skipped| passed_over(dir, skipped))
        .collect();
    let names = parts.names().iter();
    findings.extend(names.filter_map(|name| unstartable(&dir.join(name))));
    let off = |skipped: &&Skipped| skipped.reason == Reason::NotExecutable;
    let off = parts.skipped().iter().filter(off);
    let off: Vec<_> = off.map(|skipped| skipped.name.to_string_lossy()).collect();
    let mut text = format!("{} of {} run", parts.names().len(), dir.display());
    if !off.is_empty() {
        text += &format!("; turned off (chmod +x turns on): {}", off.join(", "));
    }
    findings.push(Finding::good(text));
    findings
}

/// One that somebody meant to run, as far as can be told.
fn passed_over(dir: &Path, skipped: &Skipped) -> Option<Finding> {
    let name = skipped.name.to_string_lossy();
    let path = dir.join(&skipped.name);
    let text = format!("{} does not run: {}", path.display(), skipped.reason);
    let remedy = match skipped.reason {
        Reason::NotExecutable | Reason::NotAFile => return None,
        Reason::BrokenLink => format!("rm {}, or make what it leads to", shell_word(&path)),
        Reason::Name => {
            let stray = name.starts_with('.') || STRAY.iter().any(|end| name.ends_with(end));
            let mode = std::fs::metadata(&path).ok()?.permissions().mode();
            // Without a number or a run bit it is something for the others.
            let numbered = name.starts_with(|c: char| c.is_ascii_digit());
            if stray || !path.is_file() || (mode & 0o111 == 0 && !numbered) {
                return None;
            }
            // Another part may have the good name.
            format!(
                "mv -i {} {}",
                shell_word(&path),
                shell_word(&dir.join(allowed(&name)))
            )
        }
    };
    Some(Finding::warning(text).remedy(remedy))
}

/// The name as run-parts takes it: without what looks like an ending.
fn allowed(name: &str) -> String {
    let stem = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && end.len() <= 4 => stem,
        _ => name,
    };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    stem.chars()
        .map(|c| if good(c) { c } else { '-' })
        .collect()
}

/// One that the kernel could not start.
fn unstartable(path: &Path) -> Option<Finding> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut head));
    if let Err(error) = read {
        let text = format!("reading {}: {error}", path.display());
        return Some(Finding::error(text).remedy("run the doctor as root"));
    }
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        let text = format!("{} is neither a program nor a script", path.display());
        return Some(Finding::error(text).remedy("begin it with a line such as #!/bin/sh"));
    };
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next()?).into_owned();
    if line.ends_with('\r') {
        let text = format!(
            "{} cannot start: its first line ends with a carriage return, as on Windows",
            path.display()
        );
        let remedy = format!("sed -i 's/\\r$//' {}", shell_word(path));
        return Some(Finding::error(text).remedy(remedy));
    }
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    let missing = match words.next() {
        _ if !Path::new(interpreter).exists() => interpreter,
        Some(word) if interpreter.ends_with("/env") && !word.starts_with('-') && !in_path(word) => {
            word
        }
        _ => return None,
    };
    let text = format!(
        "{} cannot start: its interpreter `{missing}` is not there",
        path.display()
    );
    Some(Finding::error(text).remedy("install it, or mend the first line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_offered_that_run_parts_takes() {
        for (name, good) in [
            ("50-set-x.sh", "50-set-x"),
            ("50 set x", "50-set-x"),
            ("50-a.b.py", "50-a-b"),
            ("20-v1.config", "20-v1-config"),
        ] {
            assert_eq!(allowed(name), good);
        }
    }

    #[test]
    fn a_part_from_windows_is_found_and_its_remedy_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("50-a", "#!/bin/sh\r\nexit 0\r\n"),
            ("51-b", "#!/bin/sh -e\r\nexit 0\r\n"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            let found = unstartable(&path).expect("it cannot start");
            assert!(found.text.contains("carriage return"), "{}", found.text);
            run(dir.path(), &found.remedy.unwrap());
            assert_eq!(unstartable(&path), None);
            assert!(
                std::process::Command::new(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    #[test]
    fn a_remedy_takes_a_name_with_blanks_and_replaces_no_other_part() {
        let dir = tempfile::tempdir().unwrap();
        let own = "50 set 'x'; rm *.sh";
        for (name, text) in [(own, "own"), ("51-y.sh", "new"), ("51-y", "old")] {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n# {text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        for found in check(dir.path()) {
            if let Some(remedy) = found.remedy {
                run(dir.path(), &remedy);
            }
        }
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text("50-set--x---rm--").contains("own"));
        assert!(text("51-y").contains("old") && text("51-y.sh").contains("new"));
    }

    /// What a person would do with a remedy, who answers no question.
    fn run(dir: &Path, remedy: &str) {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", remedy]).current_dir(dir);
        shell.stdin(std::process::Stdio::null());
        shell.status().unwrap();
    }
}
