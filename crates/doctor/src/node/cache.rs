//! The cache of bootstrap roots: room to build one, and whether there is one.

use std::io::ErrorKind;
use std::path::Path;

use p2v_bootstrap::Cache;
use p2v_ganeti::settings::SettingsPaths;
use p2v_ganeti::variants;
use p2v_transfer::preflight::Finding;

use super::configuration::Configuration;
use crate::{failed, shell_word};

/// Looks at the directory, and at the root of every variant in it.
pub fn check(paths: &SettingsPaths, configuration: &Configuration) -> Vec<Finding> {
    let dir = paths.cache_dir.display();
    let Some((_, first)) = configuration.settings.first() else {
        return Vec::new();
    };
    if paths.cache_dir.symlink_metadata().is_err() {
        let text = format!("{dir} is missing; the first create makes it");
        return vec![Finding::good(text).remedy(format!(
            "install -d -m 0700 {}",
            shell_word(&paths.cache_dir)
        ))];
    }
    if let Err(error) = std::fs::read_dir(&paths.cache_dir) {
        return vec![unreadable(&paths.cache_dir, &error)];
    }
    let cache = first.cache(paths);
    if let Err(error) = cache.check_directory() {
        let dir = shell_word(&paths.cache_dir);
        let remedy = format!("chown root {dir}; chmod 700 {dir}; then empty it");
        return vec![failed(&error, &remedy)];
    }
    let mut findings = Vec::new();
    let settings = configuration.settings.iter();
    let variants = variants::by_root(settings.map(|(name, settings)| (name.as_str(), settings)));
    let mut all_built = true;
    for (key, variants) in variants {
        let (finding, is_built) = root(&cache, &key, &variants);
        findings.push(finding);
        all_built &= is_built;
    }
    for error in cache.build_obstacles() {
        let remedy = "make room or move the directory to a larger filesystem (a link in its \
                      place); apt-get install mmdebstrap";
        let finding = failed(&error, remedy);
        findings.push(match all_built {
            // Until the roots grow old.
            true => Finding::warning(finding.text).remedy(remedy),
            false => finding,
        });
    }
    findings
}

/// What is in its place although it cannot be read. One that only its owner may
/// read is nothing to mend.
fn unreadable(dir: &Path, error: &std::io::Error) -> Finding {
    let text = format!("reading the cache directory {}: {error}", dir.display());
    match error.kind() {
        ErrorKind::PermissionDenied => Finding::warning(text).remedy("run the doctor as root"),
        // Its disk is not mounted.
        ErrorKind::NotFound => Finding::error(text + ": a link that leads nowhere")
            .remedy("mount or make what it leads to"),
        _ => Finding::error(text).remedy("put a directory, or a link to one, in its place"),
    }
}

/// The root that the next create of these variants takes, and whether it is
/// there.
fn root(cache: &Cache, key: &str, variants: &[String]) -> (Finding, bool) {
    let names = variants.join(", ");
    let build = format!("p2v image build {}", variants[0]);
    let build = build.trim_end();
    let Some(image) = cache.image(key) else {
        let text = format!("{key} is not there yet ({names}): the first create builds it");
        let remedy = format!("that takes minutes; to have it built before: {build}");
        return (Finding::good(text).remedy(remedy), false);
    };
    if let Some(damage) = &image.damage {
        let text = format!("{key} is damaged ({names}): {damage}");
        return (Finding::warning(text).remedy(build), false);
    }
    let days = image.age().unwrap_or_default().as_secs() / 86400;
    let megabytes = image.bytes / 1_000_000;
    let text = format!("{key} is there ({names}): {megabytes} MB, {days} days old");
    (Finding::good(text), true)
}

#[cfg(test)]
mod tests {
    use p2v_transfer::preflight::Weight;

    use super::*;

    #[test]
    fn a_cache_that_cannot_be_read_is_told_from_one_that_is_missing() {
        for (kind, weight, words) in [
            (
                ErrorKind::PermissionDenied,
                Weight::Warning,
                "run the doctor as root",
            ),
            (ErrorKind::NotADirectory, Weight::Error, "put a directory"),
        ] {
            let found = unreadable(Path::new("/c"), &kind.into());
            assert_eq!(found.weight, weight);
            assert!(found.whole().contains(words), "{}", found.whole());
        }
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("cache");
        let paths = SettingsPaths {
            config_dir: dir.path().join("config"),
            os_dir: dir.path().join("os"),
            cache_dir: link.clone(),
            state_dir: dir.path().join("state"),
        };
        std::fs::create_dir_all(paths.config_dir.join("variants")).unwrap();
        std::fs::create_dir(&paths.os_dir).unwrap();
        std::fs::write(paths.os_dir.join("variants.list"), "").unwrap();
        std::fs::write(paths.config_dir.join("p2v-target.conf"), "").unwrap();
        let found = || check(&paths, &Configuration::load(&paths).0).remove(0);
        assert!(found().whole().contains("the first create makes it"));
        // Create could not make it in the place of a link.
        std::os::unix::fs::symlink(dir.path().join("not-mounted"), link).unwrap();
        assert_eq!(found().weight, Weight::Error);
        assert!(found().whole().contains("a link that leads nowhere"));
    }
}
