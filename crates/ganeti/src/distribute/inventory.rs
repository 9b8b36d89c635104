//! What a node has of the configuration and the cached roots, and how two
//! nodes differ.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// How the lines of our survey begin; what else a node says is not meant.
const MARK: &str = "p2v-distribute";

/// The directories that are distributed, by absolute paths without the root of
/// a virtual node.
#[derive(Debug)]
pub struct Source {
    config: String,
    cache: String,
}

impl Source {
    pub fn new(config: &Path, cache: &Path) -> Result<Self> {
        Ok(Self {
            config: plain(config)?,
            cache: plain(cache)?,
        })
    }

    /// A shell command that prints every directory and file below with its mode
    /// and hash, and which program is installed. Ganeti sets the variable on
    /// the nodes of a virtual cluster alone.
    pub fn survey(&self) -> String {
        format!(
            "for d in {} {}; do cd \"$GANETI_ROOTDIR$d\" 2>/dev/null || continue; \
             find -L . -name '.?*' -prune -o \\( -type d -o -type f \\) -print | \
             while read -r f; do p=\"$d${{f#.}}\"; \
             if [ -d \"$f\" ]; then h=-; else h=$(sha256sum < \"$f\"); fi; \
             echo \"{MARK} $(stat -L -c %a \"$f\") ${{h%% *}} $p\"; done; done; \
             p=$(PATH=\"$PATH:/usr/sbin\" command -v p2v) && \
             echo \"{MARK} $($p --version) $(sha256sum < $p | cut -c 1-12)\"; echo {MARK}",
            self.config, self.cache
        )
    }

    /// Whether a file or directory is distributed.
    fn has(&self, path: &str) -> bool {
        if let Some(name) = below(path, &self.cache) {
            return name.is_empty() || is_root(name);
        }
        let Some(name) = below(path, &self.config) else {
            return false;
        };
        // What editors, packages and `make install` lay beside a file.
        let stray = ["~", ".new", ".bak", ".dpkg-old", ".dpkg-dist", ".dpkg-new"];
        let kept = ["", "p2v-target.conf", "variants.list", "authorized_keys"].contains(&name)
            || ["variants", "hooks.d", "fixes.d", "confdata"]
                .iter()
                .any(|dir| below(name, dir).is_some());
        kept && !stray.iter().any(|end| name.ends_with(end))
    }

    /// A cached root is there when this file is.
    pub fn is_announcement(&self, path: &str) -> bool {
        below(path, &self.cache).is_some_and(|name| name.ends_with(".json"))
    }
}

/// The rest of `path` if it is `directory` or lies below.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory)?;
    match rest.is_empty() {
        true => Some(rest),
        false => rest.strip_prefix('/'),
    }
}

fn is_root(name: &str) -> bool {
    !name.contains('/') && (name.ends_with(".tar.zst") || name.ends_with(".json"))
}

/// A path that means the same to every shell.
fn plain(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| is_plain(text));
    text.map(str::to_owned)
        .with_context(|| format!("distributing {}: {PLAIN}", path.display()))
}

const PLAIN: &str = "only letters, digits and `/._+@-` are possible in its name; rename it";

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._+@-".contains(&b))
}

/// A directory, or a file by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    hash: Option<String>,
}

/// What a node has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<String, Entry>,
    program: Option<String>,
}

impl Inventory {
    pub fn parse(lines: &[String], source: &Source) -> Result<Self> {
        let mut inventory = Self::default();
        let mut whole = false;
        for line in lines.iter().filter_map(|line| line.strip_prefix(MARK)) {
            let words: Vec<&str> = line.splitn(4, ' ').skip(1).collect();
            match words[..] {
                [] => whole = true,
                ["p2v", version, build] => {
                    inventory.program = Some(format!("{version} ({build})"));
                }
                [mode, hash, path] if source.has(path) => inventory.add(mode, hash, path)?,
                _ => {}
            }
        }
        if !whole {
            bail!("it did not tell what it has: {}", lines.join("; "));
        }
        inventory.drop_halves();
        Ok(inventory)
    }

    fn add(&mut self, mode: &str, hash: &str, path: &str) -> Result<()> {
        if !is_plain(path) {
            bail!("distributing {path}: {PLAIN}");
        }
        let entry = Entry {
            mode: u32::from_str_radix(mode, 8).with_context(|| format!("parsing {mode:?}"))?,
            hash: (hash != "-").then(|| hash.to_owned()),
        };
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// An archive without its description is in the making, or left over.
    fn drop_halves(&mut self) {
        let described = |stem: &str| self.entries.contains_key(&format!("{stem}.json"));
        let halves = self.entries.keys().filter(|path| {
            let stem = path.strip_suffix(".tar.zst");
            stem.is_some_and(|stem| !described(stem))
        });
        for half in halves.cloned().collect::<Vec<_>>() {
            self.entries.remove(&half);
        }
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter();
        entries.filter_map(|(path, entry)| entry.hash.as_ref().map(|_| path.as_str()))
    }

    /// A shell command that makes the directories with their modes.
    pub fn make_directories(&self) -> String {
        let directories = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.hash.is_none());
        let commands = directories.map(|(path, entry)| {
            format!("install -d -m {:04o} \"$GANETI_ROOTDIR{path}\"", entry.mode)
        });
        commands.collect::<Vec<_>>().join(" && ")
    }

    /// How many files and roots, and which program.
    pub fn summary(&self) -> String {
        let roots = self
            .files()
            .filter(|path| path.ends_with(".tar.zst"))
            .count();
        let files = self.files().count() - 2 * roots;
        let program = self.program.as_deref().unwrap_or("not in PATH");
        format!("{files} files, cached roots: {roots}, p2v {program}")
    }
}

/// How a node differs from the master.
#[derive(Debug, Default)]
pub struct Difference<'a> {
    missing: Vec<&'a str>,
    differing: Vec<&'a str>,
    extra: Vec<&'a str>,
    directories: usize,
    program: Option<String>,
    summary: String,
}

impl<'a> Difference<'a> {
    pub fn between(master: &'a Inventory, node: &'a Inventory) -> Self {
        let mut difference = Self {
            summary: node.summary(),
            ..Self::default()
        };
        for (path, entry) in &master.entries {
            let found = node.entries.get(path);
            match (found, &entry.hash) {
                (Some(found), _) if found == entry => {}
                (_, None) => difference.directories += 1,
                (None, Some(_)) => difference.missing.push(path),
                (Some(_), Some(_)) => difference.differing.push(path),
            }
        }
        // Roots of its own do no harm: a node uses what its settings ask for.
        difference.extra = node
            .files()
            .filter(|path| !master.entries.contains_key(*path))
            .filter(|path| !path.ends_with(".tar.zst") && !path.ends_with(".json"))
            .collect();
        if node.program != master.program {
            let other = node.program.as_deref().unwrap_or("none");
            let ours = master.program.as_deref().unwrap_or("none");
            difference.program = Some(format!("p2v {other}, the master has {ours}"));
        }
        difference
    }

    /// The files to copy.
    pub fn wanting_files(&self) -> impl Iterator<Item = &'a str> {
        self.missing.iter().chain(&self.differing).copied()
    }

    /// Whether something is to be copied or made.
    pub fn is_wanting(&self) -> bool {
        self.directories > 0 || self.wanting_files().next().is_some()
    }

    pub fn is_equal(&self) -> bool {
        !self.is_wanting() && self.extra.is_empty() && self.program.is_none()
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return write!(f, "equal, {}", self.summary);
        }
        let mut parts = Vec::new();
        for (what, paths) in [
            ("missing", &self.missing),
            ("different", &self.differing),
            ("only there (remove it if it is not meant)", &self.extra),
        ] {
            if !paths.is_empty() {
                parts.push(format!("{what}: {}", paths.join(", ")));
            }
        }
        if self.directories > 0 {
            parts.push(format!(
                "{} directories missing or of other modes",
                self.directories
            ));
        }
        if let Some(program) = &self.program {
            parts.push(format!("{program}: install the same version"));
        }
        write!(f, "not equal: {}", parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new(Path::new("/etc/c"), Path::new("/var/k")).unwrap()
    }

    fn inventory(lines: &str) -> Inventory {
        let lines: Vec<String> = lines
            .lines()
            .map(|line| format!("{MARK} {line}"))
            .chain([MARK.to_owned()])
            .collect();
        Inventory::parse(&lines, &source()).unwrap()
    }

    #[test]
    fn what_is_distributed() {
        for (path, is) in [
            ("/etc/c", true),
            ("/etc/c/p2v-target.conf", true),
            ("/etc/c/p2v-target.conf.new", false),
            ("/etc/c/variants.list", true),
            ("/etc/c/hooks.d/10-a", true),
            ("/etc/c/hooks.d/10-a~", false),
            ("/etc/c/fixes.d/x/y", true),
            ("/etc/c/confdata/ssh-keys.web1.example.org", true),
            ("/etc/c/notes", false),
            ("/etc/cc/hooks.d/10-a", false),
            ("/var/k/a.tar.zst", true),
            ("/var/k/a.lock", false),
            ("/var/k/initrd-a.img", false),
            ("/var/k/.tmp/a.json", false),
        ] {
            assert_eq!(source().has(path), is, "{path}");
        }
        assert!(source().is_announcement("/var/k/a.json"));
        assert!(Source::new(Path::new("/a b"), Path::new("/c")).is_err());
    }

    #[test]
    fn differences_are_named() {
        let master = inventory(
            "755 - /etc/c\n644 aa /etc/c/p2v-target.conf\n755 bb /etc/c/hooks.d/10-a\n\
             600 cc /var/k/r.tar.zst\n600 dd /var/k/r.json\n600 ee /var/k/half.tar.zst\np2v 1.0 x",
        );
        assert_eq!(master.summary(), "2 files, cached roots: 1, p2v 1.0 (x)");
        let node = inventory(
            "700 - /etc/c\n644 aa /etc/c/p2v-target.conf\n644 bb /etc/c/hooks.d/10-a\n\
             755 ff /etc/c/hooks.d/99-z\n600 gg /var/k/own.tar.zst\n600 gg /var/k/own.json\np2v 1.1 y",
        );
        let difference = Difference::between(&master, &node);
        assert_eq!(
            difference.to_string(),
            "not equal: missing: /var/k/r.json, /var/k/r.tar.zst; different: \
             /etc/c/hooks.d/10-a; only there (remove it if it is not meant): \
             /etc/c/hooks.d/99-z; 1 directories missing or of other modes; p2v 1.1 (y), the \
             master has 1.0 (x): install the same version"
        );
        assert!(Difference::between(&master, &master).is_equal());
        let made = master.make_directories();
        assert_eq!(made, "install -d -m 0755 \"$GANETI_ROOTDIR/etc/c\"");
    }

    #[test]
    fn half_an_answer_is_none() {
        let lines = [format!("{MARK} 644 aa /etc/c/p2v-target.conf")];
        assert!(Inventory::parse(&lines, &source()).is_err());
    }
}
