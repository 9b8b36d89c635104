//! The settings of every variant, the keys, and the files that lie about.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use p2v_ganeti::authorized_keys;
use p2v_ganeti::settings::{CONF_NAME, Settings, SettingsPaths, VARIANT_FILE_END};
use p2v_ganeti::variants;
use p2v_transfer::preflight::Finding;

use super::hooks;
use crate::{failed, shell_word};

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
        let all_usable = findings.is_empty();
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
        let faults = configuration.faults(paths);
        if all_usable && faults.is_empty() {
            findings.push(configuration.praise());
        }
        findings.extend(faults);
        (configuration, findings)
    }

    fn praise(&self) -> Finding {
        Finding::good(match self.published.as_slice() {
            [] => "the settings are sound".to_owned(),
            names => format!(
                "the settings of each variant are sound: {}",
                names.join(", ")
            ),
        })
    }

    /// What is wrong although the settings can be used.
    fn faults(&self, paths: &SettingsPaths) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (_, settings) in &self.settings {
            let stray = settings.warnings.iter();
            let remedy = "correct the name, or remove the line";
            findings.extend(stray.map(|text| Finding::warning(text).remedy(remedy)));
            findings.extend(self.unpublished(paths, &settings.variants_dir));
        }
        findings.extend(new_versions(&paths.config_dir));
        findings.extend(self.writable_by_others(&paths.config_dir));
        findings
    }

    /// Whoever writes here decides what root runs on the node, and who may log
    /// in to every instance.
    fn writable_by_others(&self, config_dir: &Path) -> Vec<Finding> {
        let mut dirs: BTreeSet<_> = ["variants", "hooks.d", "fixes.d"]
            .map(|name| config_dir.join(name))
            .into();
        let mut paths: BTreeSet<_> = ["authorized_keys", CONF_NAME]
            .map(|name| config_dir.join(name))
            .into();
        paths.insert(config_dir.to_owned());
        for (_, settings) in &self.settings {
            dirs.extend([&settings.customize_dir, &settings.variants_dir].map(Clone::clone));
            paths.insert(settings.authorized_keys_file.clone());
        }
        for dir in dirs {
            paths.extend(names(&dir).iter().map(|name| dir.join(name)));
            paths.insert(dir);
        }
        paths.iter().filter_map(|path| writable(path)).collect()
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
            let text = format!(
                "an update brought {}, and {} stayed as it was edited",
                new.display(),
                old.display()
            );
            let (new, old) = (shell_word(&new), shell_word(&old));
            let remedy =
                format!("diff -u {old} {new}; take over what is wanted, and remove the latter");
            findings.push(Finding::warning(text).remedy(remedy));
        }
    }
    findings
}

fn writable(path: &Path) -> Option<Finding> {
    let metadata = std::fs::metadata(path).ok()?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let us = nix::unistd::geteuid().as_raw();
    if [0, us].contains(&owner) && mode & 0o022 == 0 {
        return None;
    }
    let text = format!(
        "others may write to {} (owner {owner}, mode {mode:o}), and so decide what root runs",
        path.display()
    );
    let path = shell_word(path);
    Some(Finding::error(text).remedy(format!("chown root {path}; chmod go-w {path}")))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use p2v_transfer::preflight::Weight;

    use super::*;

    /// A configuration with the variants `a` and `b`, and these settings.
    fn with(settings: &str) -> (tempfile::TempDir, SettingsPaths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = SettingsPaths {
            config_dir: dir.path().join("config"),
            os_dir: dir.path().join("os"),
            cache_dir: dir.path().join("cache"),
            state_dir: dir.path().join("state"),
        };
        for made in ["config/variants", "config/hooks.d", "os", "my hooks"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        std::fs::write(paths.os_dir.join("variants.list"), "a\nb\n").unwrap();
        for name in ["a", "b"] {
            std::fs::write(paths.config_dir.join(format!("variants/{name}.conf")), "").unwrap();
        }
        std::fs::write(paths.config_dir.join(CONF_NAME), settings).unwrap();
        (dir, paths)
    }

    fn said(paths: &SettingsPaths, weight: Weight) -> Vec<String> {
        let (_, found) = Configuration::load(paths);
        let of_weight = found.iter().filter(|one| one.weight == weight);
        of_weight.map(Finding::whole).collect()
    }

    #[test]
    fn settings_that_cannot_be_used_are_not_called_sound() {
        let (_dir, paths) = with("SUITE=trixie\n");
        let sound = "the settings of each variant are sound: a, b";
        assert_eq!(said(&paths, Weight::Good), [sound]);
        std::fs::write(paths.config_dir.join("variants/b.conf"), "SUITE=\"tri\n").unwrap();
        assert_eq!(said(&paths, Weight::Error).len(), 1);
        assert!(said(&paths, Weight::Good).is_empty());
    }

    #[test]
    fn what_lies_elsewhere_must_not_be_others_to_write_either() {
        let (dir, paths) = with("");
        let hooks = dir.path().join("my hooks");
        let keys = dir.path().join("keys");
        std::fs::write(
            paths.config_dir.join(CONF_NAME),
            format!(
                "CUSTOMIZE_DIR='{}'\nAUTHORIZED_KEYS_FILE={}\n",
                hooks.display(),
                keys.display()
            ),
        )
        .unwrap();
        let hook = hooks.join("50-x");
        for path in [&hook, &keys] {
            std::fs::write(path, "").unwrap();
        }
        assert!(said(&paths, Weight::Error).is_empty());
        for path in [&hooks, &hook, &keys] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        let found = said(&paths, Weight::Error);
        assert_eq!(found.len(), 3, "{found:?}");
        let remedy = format!("chmod go-w '{}'", hook.display());
        assert!(
            found.iter().any(|line| line.ends_with(&remedy)),
            "{found:?}"
        );
    }
}
