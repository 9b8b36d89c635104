//! The one table of settings: name, default, meaning, and how its text is
//! checked and taken over. The example configuration is made from it.

use std::path::Path;
use std::time::Duration;

use super::values::{self, NATIVE_ARCH};
use super::{Settings, SettingsPaths};
use crate::findings::quoted;

/// A setting.
pub(crate) struct Setting {
    /// Its name in the files.
    pub(crate) name: &'static str,
    /// What it is if no layer says anything.
    pub(super) default: Default,
    /// What it means and may be, in lines for the example configuration.
    pub(super) help: &'static [&'static str],
    /// A value for the example configuration where the default is empty.
    pub(super) example: Option<&'static str>,
    /// Whether an empty value means something of its own. Else it is the
    /// default, as with the shell's `:=`.
    pub(super) empty_is_a_value: bool,
    /// Checks the text and takes it over; the reason says what is allowed.
    pub(crate) set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// A default's text.
pub(super) enum Default {
    Text(&'static str),
    /// Empty, which means this.
    Empty(&'static str),
    /// The path of this name in the configuration directory.
    InConfigDir(&'static str),
}

impl Setting {
    pub(super) fn default_text(&self, paths: &SettingsPaths) -> String {
        match self.default {
            Default::Text(text) => text.to_owned(),
            Default::Empty(_) => String::new(),
            Default::InConfigDir(name) => display(&paths.config_dir.join(name)),
        }
    }
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The setting of that name.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// How a message shows a setting's refused value after the name. One that may
/// hold a password is not shown: it need not have the form that tells where.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if SECRET.contains(&name) {
        return " (its value is not shown)".to_owned();
    }
    format!("={}", quoted(value))
}

/// The setting that is a password's hash.
pub(super) const PASSWORD: &str = "ROOT_PASSWORD_HASH";

/// Settings whose values may hold a password.
const SECRET: [&str; 3] = ["MIRROR", "PROXY", PASSWORD];

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name)
}

/// All settings, in the order of the example configuration.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "SUITE",
        default: Default::Text("bookworm"),
        help: &[
            "The suite whose packages the RAM system is made of. It is what the",
            "bootstrap tool on the node knows: bookworm, trixie, ...",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.suite = values::suite(text)?;
            Ok(())
        },
    },
    Setting {
        name: "ARCH",
        default: Default::Text(NATIVE_ARCH),
        help: &["The architecture, in Debian's words: that of the node's own p2v."],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.arch = values::arch(text)?;
            Ok(())
        },
    },
    Setting {
        name: "MIRROR",
        default: Default::Empty("the bootstrap tool's own"),
        help: &[
            "The archive that packages come from: http, https, ftp or file. Empty: the",
            "bootstrap tool's default, which is right for Debian and Ubuntu alike; that of",
            "mmdebstrap has security updates, a mirror named here its suite only.",
        ],
        example: Some("http://mirror.example.com/debian"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.mirror = values::url(text, &["http", "https", "ftp", "file"])?;
            Ok(())
        },
    },
    Setting {
        name: "PROXY",
        default: Default::Empty("none"),
        help: &[
            "The proxy that packages come through: http or https. Empty: none. Ganeti",
            "starts create with a clean environment, so no other proxy setting is seen.",
        ],
        example: Some("http://proxy.example.com:3128/"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.proxy = values::url(text, &["http", "https"])?;
            Ok(())
        },
    },
    Setting {
        name: "COMPONENTS",
        default: Default::Empty("the bootstrap tool's own, main"),
        help: &[
            "The archive's components, separated by commas. Empty: the bootstrap tool's",
            "default, main.",
        ],
        example: Some("main,non-free-firmware"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.components = values::components(text)?;
            Ok(())
        },
    },
    Setting {
        name: "EXTRA_PKGS",
        default: Default::Empty("none"),
        help: &[
            "Packages besides those that a transfer target needs anyway, separated by",
            "commas. All of them take RAM in the instance. A variant adds to them with",
            "EXTRA_PKGS+=\",more\".",
        ],
        example: Some("tmux,vim-tiny"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.extra_pkgs = values::packages(text)?;
            Ok(())
        },
    },
    Setting {
        name: "PARTITION_STYLE",
        default: Default::Text("msdos"),
        help: &[
            "How the disk is partitioned:",
            "none   the filesystem fills the disk; needs a kernel given by Ganeti",
            "       (kernel_path, initrd_path), since there is no place to boot from",
            "msdos  one partition; boots under BIOS",
            "gpt    BIOS boot partition, EFI system partition and root; boots under both",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.partition_style = values::partition_style(text)?;
            Ok(())
        },
    },
    Setting {
        name: "PARTITION_ALIGNMENT",
        default: Default::Text("2048"),
        help: &[
            "What partitions are aligned to, in sectors of 512 bytes: a multiple of 8,",
            "at least 2048 (1 MiB), which leaves the boot loader its room.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.partition_alignment = values::alignment(text)?;
            Ok(())
        },
    },
    Setting {
        name: "FILESYSTEM",
        default: Default::Text("ext4"),
        help: &["The root's filesystem: ext2, ext3, ext4, xfs or btrfs."],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.filesystem = values::filesystem(text)?;
            Ok(())
        },
    },
    Setting {
        name: PASSWORD,
        default: Default::Empty("what the hooks do: no password"),
        help: &[
            "Root's password on the RAM system's console, as `mkpasswd` prints it in",
            "single quotes here; ! for none that fits. SSH takes keys only, whatever is",
            "set. Empty: what the hooks do, which is no password at first.",
        ],
        example: Some("!"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.root_password_hash = values::password_hash(text)?;
            Ok(())
        },
    },
    Setting {
        name: "TIMEZONE",
        default: Default::Empty("UTC, or what the hooks do"),
        help: &["The RAM system's time zone. Empty: UTC, or what the hooks do."],
        example: Some("Europe/Brussels"),
        empty_is_a_value: true,
        set: |settings, text| {
            settings.timezone = values::timezone(text)?;
            Ok(())
        },
    },
    Setting {
        name: "HOSTNAME_POLICY",
        default: Default::Text("keep"),
        help: &[
            "What becomes of a name of its own that a machine brings along:",
            "keep      it stays when the instance is renamed; a machine that has the",
            "          instance's name follows it",
            "instance  it goes, and the machine takes the instance's, at each rename",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.hostname_policy = values::hostname_policy(text)?;
            Ok(())
        },
    },
    Setting {
        name: "AUTHORIZED_KEYS_FILE",
        default: Default::InConfigDir("authorized_keys"),
        help: &[
            "The public keys that may log in as root, in OpenSSH's authorized_keys",
            "format. Those of the OS parameter authorized_keys are added to them. There",
            "must be one at least: password login over SSH is off.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.authorized_keys_file = values::absolute_path(text)?;
            Ok(())
        },
    },
    Setting {
        name: "CUSTOMIZE_DIR",
        default: Default::InConfigDir("hooks.d"),
        help: &[
            "The directory of the hooks that create runs on the new root, in order, by",
            "the rules of run-parts.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.customize_dir = values::absolute_path(text)?;
            Ok(())
        },
    },
    Setting {
        name: "HOOK_TIMEOUT",
        default: Default::Text("600"),
        help: &[
            "How many seconds one hook may take before it is ended and create fails: 1",
            "to 86400.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.hook_timeout = Duration::from_secs(values::number(text, 1..=86_400)?);
            Ok(())
        },
    },
    Setting {
        name: "VARIANTS_DIR",
        default: Default::InConfigDir("variants"),
        help: &[
            "The directory of the variants' files, NAME.conf. They are read after this",
            "one and may set everything that is set here, except this.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.variants_dir = values::absolute_path(text)?;
            Ok(())
        },
    },
    Setting {
        name: "GENERATE_CACHE",
        default: Default::Text("yes"),
        help: &[
            "Whether a newly made root goes into the cache: yes or no. A root that is",
            "there is used all the same.",
        ],
        example: None,
        empty_is_a_value: false,
        set: |settings, text| {
            settings.generate_cache = values::yes_or_no(text)?;
            Ok(())
        },
    },
    Setting {
        name: "CLEAN_CACHE",
        default: Default::Text("14"),
        help: &["After how many days a cached root is dropped. Empty: never."],
        example: None,
        empty_is_a_value: true,
        set: |settings, text| {
            settings.clean_cache = match text {
                "" => None,
                days => Some(values::number(days, 0..=3650)? as u32),
            };
            Ok(())
        },
    },
];
