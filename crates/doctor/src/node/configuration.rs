//! The settings of every variant, the keys, and the files that lie about.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use p2v_ganeti::authorized_keys;
use p2v_ganeti::settings::{CONF_NAME, Settings, SettingsPaths, VARIANT_FILE_END};
use p2v_ganeti::variants;
use p2v_transfer::preflight::Finding;

use super::hooks;
use crate::failed;

/// How the names end of new versions of a file that an admin edited.
const NEW_VERSIONS: [&str; 4] = [".new", ".dpkg-dist", ".dpkg-new", ".ucf-dist"];

/// What every variant comes to.
#[derive(Debug)]
pub struct Configuration {
    /// The variants that Ganeti offers.
    pub published: Vec<String>,
    /// The settings of those that can be read, by the variant's name; of an OS
    /// definition without variants under an empty one.
    pub settings: Vec<(String, Settings)>,
}

impl Configuration {
    /// Reads all of it, and says what is wrong with it.
    pub fn load(paths: &SettingsPaths) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let again = "install the package of this p2v again";
        let all = variants::all(paths).unwrap_or_else(|error| {
            findings.push(failed(&error, again));
            Vec::new()
        });
        let mut published = Vec::new();
        let mut settings = Vec::new();
        for (name, loaded) in all {
            match loaded {
                Ok(loaded) => settings.push((name.clone(), loaded)),
                Err(error) => findings.push(failed(&error, "mend what it names; docs/settings.md")),
            }
            published.push(name);
        }
        published.retain(|name| !name.is_empty());
        if published.is_empty() {
            let list = variants_list(paths);
            let text = format!("{} offers no variant", list.display());
            findings.push(Finding::warning(text).remedy("add the line `default` to it"));
        }
        let configuration = Self {
            published,
            settings,
        };
        findings.extend(configuration.judge(paths));
        (configuration, findings)
    }

    fn judge(&self, paths: &SettingsPaths) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (_, settings) in &self.settings {
            let stray = settings.warnings.iter();
            let remedy = "correct the name, or remove the line";
            findings.extend(stray.map(|text| Finding::warning(text).remedy(remedy)));
            findings.extend(self.unpublished(paths, &settings.variants_dir));
        }
        findings.extend(new_versions(&paths.config_dir));
        findings.extend(writable_by_others(&paths.config_dir));
        if findings.is_empty() {
            let text = match self.published.as_slice() {
                [] => "the settings are sound".to_owned(),
                names => format!(
                    "the settings of each variant are sound: {}",
                    names.join(", ")
                ),
            };
            findings.push(Finding::good(text));
        }
        findings
    }

    /// Variants that have a file, and that Ganeti does not offer.
    fn unpublished(&self, paths: &SettingsPaths, dir: &Path) -> Vec<Finding> {
        let offered = |name: &str| self.published.iter().any(|one| one == name);
        let names = names(dir);
        let variants = names
            .iter()
            .filter_map(|name| name.strip_suffix(VARIANT_FILE_END));
        variants
            .filter(|name| !offered(name))
            .map(|name| {
                let file = dir.join(format!("{name}{VARIANT_FILE_END}"));
                let list = variants_list(paths);
                let text = format!("Ganeti does not offer the variant of {}", file.display());
                let remedy = format!("add the line `{name}` to {}", list.display());
                Finding::warning(text).remedy(remedy)
            })
            .collect()
    }

    /// Whether anybody could log in to what create makes.
    pub fn keys(&self) -> Vec<Finding> {
        let files = self.settings.iter();
        let files: BTreeSet<&PathBuf> = files.map(|(_, it)| &it.authorized_keys_file).collect();
        files.into_iter().map(|file| keys_in(file)).collect()
    }

    /// The hooks of every variant's directory.
    pub fn hooks(&self) -> Vec<Finding> {
        let dirs = self
            .settings
            .iter()
            .map(|(_, settings)| &settings.customize_dir);
        let dirs: BTreeSet<&PathBuf> = dirs.collect();
        dirs.into_iter().flat_map(|dir| hooks::check(dir)).collect()
    }
}

/// The list of variants itself. The OS directory has a link to it, which is not
/// where an admin edits.
fn variants_list(paths: &SettingsPaths) -> PathBuf {
    let link = paths.os_dir.join("variants.list");
    link.canonicalize().unwrap_or(link)
}

fn keys_in(file: &Path) -> Finding {
    let shown = file.display();
    match authorized_keys::in_file(file) {
        Ok(Some(keys)) if !keys.is_empty() => {
            let plural = if keys.len() == 1 { "" } else { "s" };
            Finding::good(format!("{} key{plural} of {shown} may log in", keys.len()))
        }
        Ok(_) => {
            let text = format!("there is no key in {shown}: nobody could log in");
            Finding::error(text).remedy(format!(
                "cp ~/.ssh/id_ed25519.pub {shown}; or give every instance its own: \
                 -O authorized_keys=..."
            ))
        }
        Err(error) => failed(&error, "mend or remove what it names"),
    }
}

/// What an update laid beside a file that an admin has edited.
fn new_versions(config_dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dir in ["", "variants", "hooks.d", "fixes.d"].map(|name| config_dir.join(name)) {
        for name in names(&dir) {
            let end = NEW_VERSIONS.iter().find(|end| name.ends_with(**end));
            let Some(old) = end.and_then(|end| name.strip_suffix(end)) else {
                continue;
            };
            let (new, old) = (dir.join(&name), dir.join(old));
            let (new, old) = (new.display(), old.display());
            let text = format!("an update brought {new}, and {old} stayed as it was edited");
            let remedy =
                format!("diff -u {old} {new}; take over what is wanted, and remove the latter");
            findings.push(Finding::warning(text).remedy(remedy));
        }
    }
    findings
}

/// Whoever writes here decides what root runs on the node, and who may log in
/// to every instance.
fn writable_by_others(config_dir: &Path) -> Vec<Finding> {
    let mut paths = vec![config_dir.to_owned()];
    paths.extend(["authorized_keys", CONF_NAME].map(|name| config_dir.join(name)));
    for dir in ["variants", "hooks.d", "fixes.d"].map(|name| config_dir.join(name)) {
        paths.extend(names(&dir).iter().map(|name| dir.join(name)));
        paths.push(dir);
    }
    let us = nix::unistd::geteuid().as_raw();
    let finding = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok()?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let foreign = ![0, us].contains(&owner) || mode & 0o022 != 0;
        foreign.then(|| {
            let path = path.display();
            let text = format!("others may write to {path} (owner {owner}, mode {mode:o}), and so decide what root runs");
            Finding::error(text).remedy(format!("chown root {path}; chmod go-w {path}"))
        })
    };
    paths.into_iter().filter_map(finding).collect()
}

/// The names in a directory, sorted; none if it is not there.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
