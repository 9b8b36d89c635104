//! What RAM should not hold: every byte of the root is a byte of the target's
//! memory, and of every copy on the way there.
//!
//! Three tables, the same for every tool: paths ([`LEFT_OUT`]), kernel modules
//! ([`modules`]) and packages that others depend on without needing them
//! ([`hollow`]). dpkg's database stays: apt and dpkg work in the target, and
//! reinstalling a package brings back what is missing of it.

pub mod hollow;
pub mod modules;
mod pattern;

use std::path::Path;

use anyhow::Result;

/// Paths that go, with the reason.
#[derive(Debug)]
pub struct LeftOut {
    /// Inside the root; `*` stands for anything within one name. A directory
    /// goes with all that is in it.
    pub paths: &'static [&'static str],
    /// Names that stay although a `*` at the end of a path matches them.
    pub except: &'static [&'static str],
    /// Extra packages that are asked for because of what is there: with one
    /// of them the paths stay.
    pub unless: &'static [&'static str],
    /// The reason.
    pub why: &'static str,
}

/// The paths.
pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        paths: &[
            "usr/share/doc/*",
            "usr/share/doc-base",
            "usr/share/gtk-doc",
            "usr/share/info/*",
        ],
        except: &[],
        unless: &[],
        why: "nobody reads here. The licences too: nothing is handed on, each \
              node fetches its packages from the mirror, which has them",
    },
    LeftOut {
        paths: &[
            "usr/share/applications",
            "usr/share/apport",
            "usr/share/bug",
            "usr/share/icons",
            "usr/share/lintian",
            "usr/share/menu",
            "usr/share/nano/*",
            "usr/share/pixmaps",
            "usr/share/pkgconfig",
            "usr/lib/debug",
        ],
        except: &[],
        unless: &[],
        why: "desktops, packagers and syntax colours",
    },
    LeftOut {
        paths: &["usr/share/man/*"],
        except: &[],
        unless: &["man-db"],
        why: "manual pages",
    },
    LeftOut {
        paths: &["usr/share/bash-completion"],
        except: &[],
        unless: &["bash-completion"],
        why: "completion, for a package that is not there",
    },
    LeftOut {
        paths: &["usr/share/zsh"],
        except: &[],
        unless: &["zsh"],
        why: "the same",
    },
    LeftOut {
        paths: &["usr/share/gdb"],
        except: &[],
        unless: &["gdb"],
        why: "the debugger's own",
    },
    LeftOut {
        paths: &["usr/share/locale/*", "usr/share/i18n", "usr/lib/locale/*"],
        except: &["C.utf8", "locale.alias"],
        unless: &["locales", "locales-all"],
        why: "the target speaks C.UTF-8",
    },
    LeftOut {
        paths: &["usr/lib/*/gconv/*"],
        except: &[
            "gconv-modules",
            "gconv-modules.cache",
            "gconv-modules.d",
            "ISO8859-1.so",
            "ISO8859-15.so",
            "UTF-16.so",
            "UTF-32.so",
            "UTF-7.so",
            // The code pages that mkfs.vfat writes labels in.
            "IBM437.so",
            "IBM850.so",
            "IBM852.so",
            "IBM858.so",
        ],
        unless: &[],
        why: "character sets that only mail of another age is written in",
    },
    LeftOut {
        paths: &[
            "usr/lib/udev/hwdb.d",
            "usr/lib/udev/hwdb.bin",
            "etc/udev/hwdb.bin",
            "usr/lib/systemd/catalog",
            "var/lib/systemd/catalog",
        ],
        except: &[],
        unless: &[],
        why: "names and quirks of hardware that no virtual machine has; long \
              explanations of log messages",
    },
    LeftOut {
        paths: &["usr/share/zoneinfo/right", "usr/share/zoneinfo/posix"],
        except: &[],
        unless: &[],
        why: "the time zones once more",
    },
    LeftOut {
        paths: &[
            "boot/System.map-*",
            "boot/config-*",
            "boot/initrd.img*",
            "initrd.img",
            "initrd.img.old",
            "vmlinuz.old",
        ],
        except: &[],
        unless: &[],
        why: "for debuggers; and the initrd is ours, made at create",
    },
    LeftOut {
        paths: &[
            "var/lib/apt/lists/*",
            "var/cache/apt/*.bin",
            "var/cache/apt/archives/*",
            "var/cache/debconf/*-old",
            "var/cache/ldconfig/*",
            "var/cache/man",
            "var/backups/*",
            "var/lib/dpkg/*-old",
            "etc/passwd-",
            "etc/group-",
            "etc/shadow-",
            "etc/gshadow-",
            "etc/subuid-",
            "etc/subgid-",
        ],
        except: &[],
        unless: &[],
        why: "caches and backups: `apt update` fetches the lists again",
    },
    LeftOut {
        paths: &[
            "debootstrap",
            "etc/apt/apt.conf.d/99mmdebstrap",
            "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
            "usr/sbin/policy-rc.d",
            "tmp/*",
            "var/tmp/*",
            "run/*",
            "var/log/*",
            "var/log/apt/*",
        ],
        except: &["apt", "private"],
        unless: &[],
        why: "what installing left behind; without /var/log/journal the \
              journal stays in /run",
    },
    LeftOut {
        paths: &[
            "etc/hostname",
            "etc/hosts",
            "etc/resolv.conf",
            "etc/ssh/ssh_host_*",
            "root/.bash_history",
            "root/.ssh",
            "var/lib/dbus/machine-id",
            "var/lib/dhcp/*",
            "var/lib/systemd/random-seed",
        ],
        except: &[],
        unless: &[],
        why: "the identity of the node that built it, or one that every \
              instance would share",
    },
];

/// Takes all of it out of the tree `target`, except for what the `requested`
/// packages are there for or depend on.
pub fn trim(target: &Path, requested: &[&str]) -> Result<()> {
    // First: its lists and documents are still in place.
    hollow::hollow(target, requested)?;
    let stays = |entry: &LeftOut| entry.unless.iter().any(|name| requested.contains(name));
    for entry in LEFT_OUT.iter().filter(|entry| !stays(entry)) {
        for path in entry.paths {
            pattern::remove(target, path, entry.except)?;
        }
    }
    modules::trim(target)
}

/// A text that changes with the tables.
pub(crate) fn fingerprint() -> String {
    format!("{LEFT_OUT:?} {:?} {:?}", modules::KEPT, hollow::HOLLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_paths_go_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let gone = [
            "usr/share/doc/rsync/copyright",
            "usr/lib/x86_64-linux-gnu/gconv/EUC-JP.so",
            "usr/share/locale/de/LC_MESSAGES/tar.mo",
            "etc/ssh/ssh_host_ed25519_key",
            "var/log/dpkg.log",
            "var/log/apt/term.log",
            "boot/initrd.img-6.1",
        ];
        let kept = [
            "usr/lib/x86_64-linux-gnu/gconv/IBM850.so",
            "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
            "usr/lib/locale/C.utf8/LC_CTYPE",
            "etc/ssh/sshd_config",
            "var/lib/dpkg/status",
            "boot/vmlinuz-6.1",
        ];
        for path in gone.iter().chain(&kept) {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        trim(root, &[]).unwrap();
        for path in gone {
            assert!(!root.join(path).exists(), "{path} is still there");
        }
        for path in kept {
            assert!(root.join(path).exists(), "{path} is gone");
        }
        assert!(root.join("var/log/apt").is_dir());
    }

    #[test]
    fn what_a_package_is_asked_for_because_of_stays() {
        let path = "usr/share/i18n/locales/de_BE";
        for (requested, stays) in [
            (&[][..], false),
            (&["bash-completion"], false),
            (&["locales"], true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            trim(dir.path(), requested).unwrap();
            assert_eq!(path.exists(), stays, "{requested:?}");
        }
    }
}
