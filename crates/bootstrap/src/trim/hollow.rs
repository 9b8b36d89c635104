//! Packages that others depend on without needing them here: they stay
//! installed for dpkg, but their files go.
//!
//! In Debian, xfsprogs depends on Python and on 35 MB of ICU tables for
//! xfs_scrub alone, and initialising a merged /usr pulled in all of Perl.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result};

use super::pattern::{expand, remove_path};

/// Package names (`*` at the end stands for anything) and the reason.
pub const HOLLOWED: &[(&str, &str)] = &[
    (
        "libicu*",
        "only xfs_scrub uses it, which checks mounted filesystems",
    ),
    ("python3*", "only xfs_scrub_all is written in it"),
    ("libpython3*", "the same"),
    ("libsqlite3-0", "only Python uses it"),
    ("media-types", "the same"),
    ("perl", "what runs here needs perl-base only"),
    ("perl-modules-*", "the same"),
    ("libperl5*", "the same"),
    (
        "libfile-find-rule-perl",
        "only usrmerge, which has done its work",
    ),
    ("libnumber-compare-perl", "the same"),
    ("libtext-glob-perl", "the same"),
];

/// Removes the files of [`HOLLOWED`] packages from the tree `root`, unless one
/// of the `requested` packages depends on them, directly or not.
pub(super) fn hollow(root: &Path, requested: &[&str]) -> Result<()> {
    let path = root.join("var/lib/dpkg/status");
    let status = match std::fs::read_to_string(&path) {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let needed = closure(&status, requested);
    let hollowed = |name: &str| HOLLOWED.iter().any(|(pattern, _)| matches(pattern, name));
    for name in packages(&status).filter(|name| hollowed(name) && !needed.contains(name)) {
        empty(root, name)?;
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Removes a package's files, then the directories that this left empty.
fn empty(root: &Path, package: &str) -> Result<()> {
    let mut lists = expand(root, &format!("var/lib/dpkg/info/{package}.list"))?;
    lists.extend(expand(
        root,
        &format!("var/lib/dpkg/info/{package}:*.list"),
    )?);
    for list in lists {
        let text = std::fs::read_to_string(&list)
            .with_context(|| format!("reading {}", list.display()))?;
        // Sorted by dpkg: what is in a directory comes after it.
        for line in text.lines().rev() {
            // `expand` also sees to it that no step is a link.
            for path in expand(root, line.trim_start_matches('/'))? {
                if std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
                    // It may hold what others own, or compiled Python.
                    let _ = std::fs::remove_dir(&path);
                } else {
                    remove_path(&path)?;
                    if let Some(directory) = path.parent() {
                        remove_path(&directory.join("__pycache__"))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The names in dpkg's status file.
fn packages(status: &str) -> impl Iterator<Item = &str> {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("Package: "))
}

/// The requested packages and everything they depend on; where they leave a
/// choice, all that is installed of it.
fn closure<'a>(status: &'a str, requested: &[&'a str]) -> HashSet<&'a str> {
    let mut depends: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut provided: HashMap<&str, Vec<&str>> = HashMap::new();
    for stanza in status.split("\n\n") {
        let Some(package) = packages(stanza).next() else {
            continue;
        };
        for line in stanza.lines() {
            let Some((field, value)) = line.split_once(": ") else {
                continue;
            };
            match field {
                "Depends" | "Pre-Depends" | "Recommends" => {
                    depends.entry(package).or_default().extend(names(value));
                }
                "Provides" => {
                    for name in names(value) {
                        provided.entry(name).or_default().push(package);
                    }
                }
                _ => {}
            }
        }
    }
    let mut found = HashSet::new();
    let mut open: Vec<&str> = requested.to_vec();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            for next in [&depends, &provided] {
                open.extend(next.get(name).into_iter().flatten());
            }
        }
    }
    found
}

/// The package names in a dependency field: `a (>= 1), b:any | c`.
fn names(field: &str) -> impl Iterator<Item = &str> {
    field.split([',', '|']).filter_map(|word| {
        let name = word.split_whitespace().next()?;
        Some(name.split(':').next().unwrap_or(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: xfsprogs
Depends: libc6, libicu72 (>= 72), python3:any

Package: python3
Depends: python3.11 (>= 3)

Package: python3.11
Depends: libc6

Package: libicu72

Package: perl
Provides: perl5

Package: ansible
Depends: python3, tool | other
";

    fn hollowed(requested: &[&str]) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(dir.path().join("var/lib/dpkg/status"), STATUS).unwrap();
        let files = [
            (
                "python3.list",
                "/.\n/usr\n/usr/lib\n/usr/lib/p3\n/usr/lib/p3/a.py",
            ),
            ("python3.11.list", "/usr\n/usr/lib\n/usr/lib/p311"),
            ("libicu72:amd64.list", "/usr\n/usr/lib\n/usr/lib/icu"),
            ("xfsprogs.list", "/usr\n/usr/lib\n/usr/lib/xfs"),
        ];
        std::fs::create_dir_all(dir.path().join("usr/lib/p3/__pycache__")).unwrap();
        for (name, list) in files {
            std::fs::write(info.join(name), format!("{list}\n")).unwrap();
            let last = list.lines().last().unwrap();
            std::fs::write(dir.path().join(&last[1..]), "").unwrap();
        }
        hollow(dir.path(), requested).unwrap();
        let all = ["p3", "p311", "icu", "xfs"];
        let lib = dir.path().join("usr/lib");
        all.into_iter().filter(|n| !lib.join(n).exists()).collect()
    }

    #[test]
    fn unneeded_dependencies_lose_their_files() {
        assert_eq!(hollowed(&[]), ["p3", "p311", "icu"]);
    }

    #[test]
    fn what_an_extra_package_depends_on_stays() {
        assert_eq!(hollowed(&["ansible"]), ["icu"]);
        assert_eq!(hollowed(&["python3"]), ["icu"]);
    }
}
