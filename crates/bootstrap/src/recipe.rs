//! What shapes a bootstrap root, and the key that stands for it.

use anyhow::{Result, bail};

use crate::{settle, trim};

/// Raised when the code that shapes the root changes in a way that the tables
/// do not show.
const REVISION: u32 = 2;

/// What every transfer target needs, and why. The kernel comes on top.
pub const BASE_PACKAGES: &[(&str, &str)] = &[
    ("systemd-sysv", "init"),
    ("udev", "devices appear, by UUID and label too"),
    ("kmod", "modules"),
    (
        "ifupdown",
        "the network, in the words of hooks written for years",
    ),
    (
        "isc-dhcp-client",
        "DHCP; unlike dhcpcd it does not probe for conflicts for seconds",
    ),
    ("iproute2", "ip, which ifupdown runs"),
    ("netbase", "/etc/protocols and /etc/services"),
    ("openssh-server", "how the migrator comes in"),
    ("acpid", "the power button, which is how a cluster stops it"),
    ("rsync", "for whoever brings some files by hand"),
    ("fdisk", "sfdisk"),
    ("gdisk", "sgdisk"),
    ("e2fsprogs", "ext2, ext3, ext4"),
    ("xfsprogs", "XFS"),
    ("btrfs-progs", "Btrfs"),
    ("dosfstools", "vfat, for EFI system partitions"),
    ("lvm2", "logical volumes"),
    ("mdadm", "software RAID"),
    ("zstd", "compressed streams"),
    ("less", "reading logs at the console"),
    ("nano", "repairing a file by hand"),
    ("iputils-ping", "is the network there?"),
    ("procps", "ps, free, sysctl"),
];

/// Asserts a merged /usr without usrmerge, which would bring all of Perl.
pub(crate) const USR_IS_MERGED: &str = "usr-is-merged";

/// Digits of the hash in a key: 96 bits.
const HASH_LENGTH: usize = 24;

/// Everything that shapes a bootstrap root, except for the proxy, which only
/// says how its packages come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The Debian suite: `bookworm`.
    pub suite: String,
    /// The Debian architecture: `amd64`.
    pub arch: String,
    /// The mirror's address; the tool's own default if `None`.
    pub mirror: Option<String>,
    /// The archive's components; `main` if empty.
    pub components: Vec<String>,
    /// Packages on top of [`BASE_PACKAGES`]. A `linux-image-*` among them
    /// takes the place of the suite's usual kernel.
    pub packages: Vec<String>,
    /// The HTTP proxy to fetch through.
    pub proxy: Option<String>,
}

impl Recipe {
    /// Fails where a value could not be a suite, a package and so on: the
    /// tools would take it for an option or a path.
    pub fn check(&self) -> Result<()> {
        check_word("SUITE", &self.suite)?;
        kernel_of(&self.arch)?;
        for component in &self.components {
            check_word("COMPONENTS", component)?;
        }
        for package in &self.packages {
            check_word("EXTRA_PKGS", package)?;
        }
        for (name, value) in [("MIRROR", &self.mirror), ("PROXY", &self.proxy)] {
            let Some(value) = value else { continue };
            if value.is_empty() || value.starts_with('-') || value.contains(char::is_control) {
                bail!("checking {name}: `{value}` is not an address");
            }
        }
        Ok(())
    }

    /// The name of this root in the cache: suite, architecture and a hash of
    /// everything that shapes it.
    ///
    /// Two things are left out on purpose. The day: packages get security
    /// updates, and CLEAN_CACHE says how old a root may be. The tool: it
    /// decides which suites besides the named one are taken (see
    /// [`crate::Tool`]), but a node that has neither can so use a root that
    /// was made elsewhere.
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            // The length keeps "a", "bc" and "ab", "c" apart.
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(&REVISION.to_string());
        add(&self.suite);
        add(&self.arch);
        add(self.mirror.as_deref().unwrap_or_default());
        add(&self.components().join(" "));
        add(&self.all_packages().join(" "));
        add(&settle::fingerprint());
        add(&trim::fingerprint());
        let hash = hasher.finalize().to_hex();
        format!("{}-{}-{}", self.suite, self.arch, &hash[..HASH_LENGTH])
    }

    /// The components, never none, in the given order.
    pub(crate) fn components(&self) -> Vec<&str> {
        if self.components.is_empty() {
            return vec!["main"];
        }
        self.components.iter().map(String::as_str).collect()
    }

    /// Every package to be named to the tool, sorted, each once.
    pub(crate) fn all_packages(&self) -> Vec<&str> {
        let mut packages: Vec<&str> = BASE_PACKAGES.iter().map(|(name, _)| *name).collect();
        packages.extend(self.packages.iter().map(String::as_str));
        if !packages.iter().any(|name| name.starts_with("linux-image-")) {
            // `check` has seen the architecture.
            packages.extend(kernel_of(&self.arch));
        }
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// The names of the packages that only the operator asked for, without
    /// the version and the architecture that may be asked for too.
    pub(crate) fn extra_packages(&self) -> Vec<&str> {
        let usual = kernel_of(&self.arch).ok();
        let extra = self.packages.iter();
        extra
            .map(|package| package.split([':', '=']).next().unwrap_or(package))
            .filter(|name| !is_base(name) && usual != Some(*name))
            .collect()
    }
}

/// Whether every target has this package.
pub(crate) fn is_base(package: &str) -> bool {
    BASE_PACKAGES.iter().any(|(base, _)| *base == package)
}

/// Whether this is a recipe's key by its form, and no other file's name.
pub(crate) fn is_key(name: &str) -> bool {
    let hash = name.rsplit('-').next().unwrap_or_default();
    name.matches('-').count() >= 2
        && hash.len() == HASH_LENGTH
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The package that brings an architecture's usual kernel.
fn kernel_of(arch: &str) -> Result<&'static str> {
    Ok(match arch {
        "amd64" => "linux-image-amd64",
        "i386" => "linux-image-686-pae",
        "arm64" => "linux-image-arm64",
        _ => bail!("checking ARCH: `{arch}` is not supported (amd64, i386 and arm64 are)"),
    })
}

fn check_word(setting: &str, word: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+-:~=".contains(c);
    let starts_well = word.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !word.chars().all(allowed) {
        bail!("checking {setting}: `{word}` is not a valid name");
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn recipe() -> Recipe {
        Recipe {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            mirror: None,
            components: vec!["main".into()],
            packages: vec!["vim".into(), "acpid".into()],
            proxy: None,
        }
    }

    #[test]
    fn what_shapes_the_root_changes_the_key() {
        let plain = recipe().key();
        assert!(plain.starts_with("bookworm-amd64-"));
        assert!(is_key(&plain));
        assert!(!is_key("backup") && !is_key("bookworm-amd64-old") && !is_key(&plain[16..]));
        let changes: [fn(&mut Recipe); 6] = [
            |r| r.suite = "trixie".into(),
            |r| r.arch = "arm64".into(),
            |r| r.mirror = Some("http://mirror.example/debian".into()),
            |r| r.components.push("contrib".into()),
            |r| r.packages.push("tmux".into()),
            |r| r.packages = vec!["vima".into(), "cpid".into()],
        ];
        let mut keys: Vec<String> = changes
            .iter()
            .map(|change| {
                let mut changed = recipe();
                change(&mut changed);
                changed.key()
            })
            .collect();
        keys.push(plain);
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all, "two recipes share a key: {keys:?}");
    }

    #[test]
    fn what_does_not_shape_the_root_leaves_the_key() {
        let mut other = recipe();
        other.packages.reverse();
        other.packages.push("rsync".into());
        other.proxy = Some("http://proxy.example:3128".into());
        assert_eq!(other.key(), recipe().key());
        other.components.clear();
        assert_eq!(other.key(), recipe().key(), "main is the default");
    }

    #[test]
    fn an_own_kernel_replaces_the_usual_one() {
        let mut own = recipe();
        assert!(own.all_packages().contains(&"linux-image-amd64"));
        own.packages.push("linux-image-cloud-amd64".into());
        assert!(!own.all_packages().contains(&"linux-image-amd64"));
    }

    #[test]
    fn extra_packages_are_names_that_are_not_there_anyway() {
        let mut own = recipe();
        own.packages = [
            "rsync",
            "linux-image-amd64",
            "python3=3.11.2-1",
            "tmux:amd64",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(own.extra_packages(), ["python3", "tmux"]);
        assert!(own.all_packages().contains(&"python3=3.11.2-1"));
    }

    #[test]
    fn values_that_a_tool_would_misread_are_refused() {
        type Change = fn(&mut Recipe);
        let bad: [(Change, &str); 6] = [
            (|r| r.suite = "../etc".into(), "SUITE"),
            (|r| r.suite = String::new(), "SUITE"),
            (|r| r.arch = "vax".into(), "ARCH"),
            (|r| r.packages.push("--yes".into()), "EXTRA_PKGS"),
            (|r| r.components.push("main contrib".into()), "COMPONENTS"),
            (|r| r.mirror = Some("--help".into()), "MIRROR"),
        ];
        recipe().check().unwrap();
        for (change, setting) in bad {
            let mut changed = recipe();
            change(&mut changed);
            let text = changed.check().unwrap_err().to_string();
            assert!(text.contains(setting), "{text}");
        }
    }
}
