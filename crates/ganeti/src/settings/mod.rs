//! The settings of a create: defaults, p2v-target.conf, the variant's file and
//! the OS parameters, each going over what came before.
//!
//! Names, meaning and syntax are instance-debootstrap's ([`syntax`]: no shell
//! runs). Everything is checked before anything is used, and one error lists
//! every wrong value with the file and line it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use p2v_bootstrap::{Cache, CachePolicy, Recipe};
use p2v_sys::filesystem::Filesystem;
use serde::Serialize;

use crate::authorized_keys::{self, AuthorizedKey};

mod cursor;
mod example;
mod layers;
mod reference;
mod scope;
mod syntax;
pub(crate) mod table;
mod values;
mod variant;

pub use example::example_conf;
pub use reference::{Explained, reference};
pub use scope::Origin;
pub use values::{HostnamePolicy, PartitionStyle, PasswordHash, Url};
pub use variant::{FILE_END as VARIANT_FILE_END, published as published_variants};

/// The configuration file's name in the configuration directory.
pub const CONF_NAME: &str = "p2v-target.conf";

/// Where the node's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsPaths {
    /// p2v-target.conf, variants, hooks.d, fixes.d, authorized_keys.
    pub config_dir: PathBuf,
    /// The OS definition: entry points and Ganeti's lists.
    pub os_dir: PathBuf,
    /// The bootstrap roots.
    pub cache_dir: PathBuf,
    /// An INSTANCE.json for each instance.
    pub state_dir: PathBuf,
}

impl SettingsPaths {
    /// The fixes that go into an instance.
    pub fn fixes_dir(&self) -> PathBuf {
        self.config_dir.join("fixes.d")
    }

    /// Where a create, in its own mount namespace, mounts the new root.
    pub fn target_dir(&self) -> PathBuf {
        self.state_dir.join("run/target")
    }

    /// Where a create, in its own mount namespace, mounts its scratch space.
    pub fn scratch_dir(&self) -> PathBuf {
        self.state_dir.join("run/scratch")
    }

    /// Where a disk that only QEMU reaches is shown, in the mount namespace of
    /// who works on it.
    pub fn disk_dir(&self, number: u32) -> PathBuf {
        self.state_dir.join(format!("run/disk{number}"))
    }
}

impl Default for SettingsPaths {
    fn default() -> Self {
        Self {
            config_dir: "/etc/ganeti/instance-p2v-target".into(),
            os_dir: "/usr/share/ganeti/os/p2v-target".into(),
            cache_dir: "/var/cache/ganeti-instance-p2v-target".into(),
            state_dir: "/var/lib/ganeti-instance-p2v-target".into(),
        }
    }
}

/// The settings of a create, checked. [`Settings::load`] makes them.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The suite to bootstrap.
    pub suite: String,
    /// Its architecture, in Debian's words.
    pub arch: String,
    /// Where its packages come from; `None`: the bootstrap tool's default.
    pub mirror: Option<Url>,
    /// The proxy that they come through.
    pub proxy: Option<Url>,
    /// The archive's components; none: the bootstrap tool's default.
    pub components: Vec<String>,
    /// Packages besides those that a target needs.
    pub extra_pkgs: Vec<String>,
    /// The directory of the hooks.
    pub customize_dir: PathBuf,
    /// The directory of the variants' files.
    pub variants_dir: PathBuf,
    /// Whether new roots go into the cache.
    pub generate_cache: bool,
    /// After how many days a cached root is dropped; `None`: never.
    pub clean_cache: Option<u32>,
    /// The partition table of the disk.
    pub partition_style: PartitionStyle,
    /// What partitions are aligned to, in sectors of 512 bytes.
    pub partition_alignment: u64,
    /// The root's filesystem.
    pub filesystem: Filesystem,
    /// Root's password on the console; `None`: what the hooks leave.
    pub root_password_hash: Option<PasswordHash>,
    /// The time zone; `None`: what the hooks leave.
    pub timezone: Option<String>,
    /// Whether a machine keeps a name of its own.
    pub hostname_policy: HostnamePolicy,
    /// The file of the public keys that may log in.
    pub authorized_keys_file: PathBuf,
    /// The public keys given by the OS parameter; for all that may log in see
    /// [`Settings::authorized_keys`].
    pub given_keys: Vec<AuthorizedKey>,
    /// How long one hook may take.
    pub hook_timeout: Duration,
    /// What the files export, for hooks.
    #[serde(skip)]
    exported: BTreeMap<String, String>,
    /// Where each setting comes from, by its name in the files.
    #[serde(skip)]
    origins: BTreeMap<&'static str, Origin>,
    /// What in the files is probably not meant so; logged by
    /// [`Settings::load`].
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Settings {
    /// The alignment of partitions in bytes.
    pub fn alignment_bytes(&self) -> u64 {
        self.partition_alignment * 512
    }

    /// The text of root's authorized_keys: the keys of the file, which is read
    /// now, and those of the OS parameter. None at all is an error that says
    /// where to put one.
    pub fn authorized_keys(&self) -> Result<String> {
        let named_by: Option<&dyn fmt::Display> = match self.origin("AUTHORIZED_KEYS_FILE") {
            Origin::Default => None,
            origin => Some(origin),
        };
        let keys =
            authorized_keys::collect(&self.authorized_keys_file, named_by, &self.given_keys)?;
        Ok(keys.iter().map(|key| format!("{key}\n")).collect())
    }

    /// What the bootstrap root is made of.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            suite: self.suite.clone(),
            arch: self.arch.clone(),
            mirror: self.mirror.as_ref().map(|url| url.as_str().to_owned()),
            components: self.components.clone(),
            packages: self.extra_pkgs.clone(),
            proxy: self.proxy.as_ref().map(|url| url.as_str().to_owned()),
        }
    }

    /// The node's cache of bootstrap roots.
    pub fn cache(&self, paths: &SettingsPaths) -> Cache {
        let policy = CachePolicy {
            generate: self.generate_cache,
            clean_days: self.clean_cache,
        };
        Cache::new(&paths.cache_dir, policy)
    }

    /// Where a setting comes from, by its name in the files (`SUITE`).
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }

    /// The variables that hooks get from the settings, by their names in
    /// instance-debootstrap, and what the files export. Whoever runs hooks
    /// adds [`crate::environment::Environment::hook_environment`], and TARGET,
    /// BLOCKDEV and FSYSDEV.
    pub fn hook_variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.exported.clone();
        let ours = [
            ("SUITE", self.suite.clone()),
            ("ARCH", self.arch.clone()),
            ("PARTITION_STYLE", self.partition_style.name().to_owned()),
            ("EXTRA_PKGS", self.extra_pkgs.join(",")),
            ("FILESYSTEM", self.filesystem.name().to_owned()),
            ("HOSTNAME_POLICY", self.hostname_policy.name().to_owned()),
        ];
        variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        variables
    }
}

/// Nothing set: only the ground that the table's defaults are put on.
pub(crate) fn blank() -> Settings {
    Settings {
        suite: String::new(),
        arch: String::new(),
        mirror: None,
        proxy: None,
        components: Vec::new(),
        extra_pkgs: Vec::new(),
        customize_dir: PathBuf::new(),
        variants_dir: PathBuf::new(),
        generate_cache: true,
        clean_cache: None,
        partition_style: PartitionStyle::Msdos,
        partition_alignment: 0,
        filesystem: Filesystem::Ext4,
        root_password_hash: None,
        timezone: None,
        hostname_policy: HostnamePolicy::Keep,
        authorized_keys_file: PathBuf::new(),
        given_keys: Vec::new(),
        hook_timeout: Duration::ZERO,
        exported: BTreeMap::new(),
        origins: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
