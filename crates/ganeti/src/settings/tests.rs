//! The layers with real files, and the files that are installed.

use std::path::Path;

use super::table::{SETTINGS, names};
use super::*;
use crate::environment::Environment;
use crate::job::OsParameters;

/// A node's directories with these files.
fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, SettingsPaths) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let paths = SettingsPaths {
        config_dir: dir.path().join("etc"),
        os_dir: dir.path().join("os"),
        cache_dir: dir.path().join("cache"),
        state_dir: dir.path().join("state"),
    };
    (dir, paths)
}

fn parameters(pairs: &[(&str, &str)]) -> OsParameters {
    let owned = pairs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    owned.collect()
}

fn load(files: &[(&str, &str)], variant: Option<&str>, given: &[(&str, &str)]) -> Settings {
    let (_dir, paths) = node(files);
    Settings::from_layers(&paths, variant, &parameters(given)).unwrap()
}

fn error(files: &[(&str, &str)], variant: Option<&str>, given: &[(&str, &str)]) -> String {
    let (dir, paths) = node(files);
    let error = Settings::from_layers(&paths, variant, &parameters(given)).unwrap_err();
    format!("{error:#}").replace(&*dir.path().to_string_lossy(), "")
}

#[test]
fn without_any_file_the_defaults_stand() {
    let (_dir, paths) = node(&[]);
    let settings = Settings::from_layers(&paths, None, &OsParameters::default()).unwrap();
    assert_eq!(settings.suite, "bookworm");
    assert_eq!(settings.partition_style, PartitionStyle::Msdos);
    assert_eq!(settings.alignment_bytes(), 1 << 20);
    assert_eq!(settings.filesystem, Filesystem::Ext4);
    assert_eq!(
        (settings.mirror.as_ref(), settings.proxy.as_ref()),
        (None, None)
    );
    assert!(settings.extra_pkgs.is_empty() && settings.components.is_empty());
    assert!(settings.generate_cache);
    assert_eq!(settings.clean_cache, Some(14));
    assert_eq!(settings.hook_timeout, Duration::from_secs(600));
    assert_eq!(settings.customize_dir, paths.config_dir.join("hooks.d"));
    assert_eq!(
        settings.authorized_keys_file,
        paths.config_dir.join("authorized_keys")
    );
    assert_eq!(*settings.origin("SUITE"), Origin::Default);
    let defaults = Settings::defaults(&paths).unwrap();
    assert_eq!(
        format!("{:?}", serde_json::to_value(&defaults).unwrap()),
        format!("{:?}", serde_json::to_value(&settings).unwrap())
    );
}

#[test]
fn each_layer_goes_over_those_before() {
    let conf = (
        "etc/p2v-target.conf",
        "SUITE=trixie\nFILESYSTEM=xfs\nEXTRA_PKGS=vim\nPARTITION_STYLE=gpt\nCLEAN_CACHE=\n\
        MIRROR=http://a.example.com/$SUITE\n",
    );
    let variant = (
        "etc/variants/big.conf",
        "EXTRA_PKGS+=\",less\"\nFILESYSTEM=btrfs\n: ${HOOK_TIMEOUT:=9}\nGENERATE_CACHE=no\n",
    );
    let files = [conf, variant];
    let base = load(&files, None, &[]);
    assert_eq!(
        (base.suite.as_str(), base.filesystem),
        ("trixie", Filesystem::Xfs)
    );
    assert_eq!(base.mirror.unwrap().as_str(), "http://a.example.com/trixie");
    assert_eq!(base.clean_cache, None);
    let big = load(&files, Some("big"), &[]);
    assert_eq!(big.extra_pkgs, ["vim", "less"]);
    assert_eq!(big.filesystem, Filesystem::Btrfs);
    assert_eq!(big.suite, "trixie");
    assert!(!big.generate_cache);
    // As in instance-debootstrap, a variant's file sees the defaults.
    assert_eq!(big.hook_timeout, Duration::from_secs(600));
    let given = [
        ("filesystem", "ext2"),
        ("extra_pkgs", "+htop vim"),
        ("suite", ""),
    ];
    let all = load(&files, Some("big"), &given);
    assert_eq!(all.filesystem, Filesystem::Ext2);
    assert_eq!(all.extra_pkgs, ["vim", "less", "htop"]);
    assert_eq!(all.suite, "trixie", "an empty parameter is not given");
    assert_eq!(*all.origin("FILESYSTEM"), Origin::Parameter("filesystem"));
    let instead = load(&files, Some("big"), &[("extra_pkgs", "htop")]);
    assert_eq!(instead.extra_pkgs, ["htop"]);
}

#[test]
fn an_empty_value_is_the_default_unless_it_means_something() {
    let text = "SUITE=\nPARTITION_STYLE=''\nCLEAN_CACHE=\"\"\nMIRROR=\nGENERATE_CACHE=\n";
    let settings = load(&[("etc/p2v-target.conf", text)], None, &[]);
    assert_eq!(settings.suite, "bookworm");
    assert_eq!(settings.partition_style, PartitionStyle::Msdos);
    assert!(settings.generate_cache);
    assert_eq!((settings.clean_cache, settings.mirror), (None, None));
    let emptied = load(
        &[
            ("etc/p2v-target.conf", "SUITE=sid"),
            ("etc/variants/x.conf", "SUITE="),
        ],
        Some("x"),
        &[],
    );
    assert_eq!(emptied.suite, "bookworm");
}

#[test]
fn wrong_values_are_listed_with_their_places() {
    let conf = (
        "etc/p2v-target.conf",
        "\nPARTITION_STYLE=mbr\nSUITE=Bookworm\n",
    );
    let variant = ("etc/variants/v.conf", "# x\n#\nFILESYSTEM=zfs\n");
    let given = [
        ("mirror", "nowhere"),
        ("colour", "red"),
        ("authorized_keys", "hello"),
    ];
    let text = error(&[conf, variant], Some("v"), &given);
    for part in [
        "6 faults",
        "/etc/p2v-target.conf:2: PARTITION_STYLE=`mbr`: allowed: none, msdos, gpt",
        "/etc/p2v-target.conf:3: SUITE=`Bookworm`: ",
        "/etc/variants/v.conf:3: FILESYSTEM=`zfs`: allowed: ext2",
        "OS parameter mirror (its value is not shown): allowed: a URL",
        "OS parameter `colour`: unknown (known: filesystem",
        "OS parameter authorized_keys: key 1: not a public key",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn each_setting_refuses_nonsense_and_says_what_it_takes() {
    let refused = [
        ("SUITE", "../x"),
        ("ARCH", "sparc"),
        ("MIRROR", "x y"),
        ("PROXY", "socks://x"),
        ("COMPONENTS", "a/b"),
        ("EXTRA_PKGS", "a b;c"),
        ("PARTITION_STYLE", "mbr"),
        ("PARTITION_ALIGNMENT", "63"),
        ("FILESYSTEM", "ntfs"),
        ("HOSTNAME_POLICY", "Keep"),
        ("ROOT_PASSWORD_HASH", "secret"),
        ("TIMEZONE", "a b"),
        ("AUTHORIZED_KEYS_FILE", "keys"),
        ("CUSTOMIZE_DIR", "hooks"),
        ("HOOK_TIMEOUT", "0"),
        ("VARIANTS_DIR", "."),
        ("GENERATE_CACHE", "maybe"),
        ("CLEAN_CACHE", "-1"),
    ];
    for (name, value) in refused {
        let text = error(
            &[("etc/p2v-target.conf", &format!("{name}='{value}'"))],
            None,
            &[],
        );
        let shown = super::table::shown(name, value);
        let place = format!("/etc/p2v-target.conf:1: {name}{shown}: ");
        assert!(text.contains(&place), "{text}");
    }
    let all: Vec<_> = refused.iter().map(|(name, _)| *name).collect();
    assert!(
        names().all(|name| all.contains(&name)),
        "a setting is not tried here"
    );
}

#[test]
fn variants_without_a_file_say_what_to_do() {
    let list = ("os/variants.list", "# comment\n\ndefault\ngone\n");
    let files = [
        list,
        ("etc/variants/default.conf", ""),
        ("etc/variants/forced.conf", "SUITE=sid"),
    ];
    let text = error(&files, Some("gone"), &[]);
    assert!(
        text.contains("it is published, but its file is missing"),
        "{text}"
    );
    assert!(text.contains("create /etc/variants/gone.conf"), "{text}");
    assert!(
        text.contains("remove the line `gone` from /os/variants.list"),
        "{text}"
    );
    let text = error(&files, Some("other"), &[]);
    assert!(
        text.contains("there is no such variant (published are: default, gone)"),
        "{text}"
    );
    assert!(
        text.contains("create /etc/variants/other.conf and add"),
        "{text}"
    );
    assert_eq!(load(&files, Some("default"), &[]).suite, "bookworm");
    // Ganeti passes on an unpublished one only when it is forced to.
    assert_eq!(load(&files, Some("forced"), &[]).suite, "sid");
    let moved = error(
        &[("etc/p2v-target.conf", "VARIANTS_DIR=/nonexistent")],
        Some("x"),
        &[],
    );
    assert!(moved.contains("create /nonexistent/x.conf"), "{moved}");
    for hostile in ["../p2v-target", "a/b", ".x", "-x", "a\nb", "a b", ""] {
        let text = error(&files, Some(hostile), &[]);
        assert!(text.contains("a variant's name has letters"), "{text}");
    }
}

#[test]
fn a_job_brings_its_variant_and_parameters() {
    let files = [
        ("etc/variants/v.conf", "SUITE=sid"),
        ("etc/p2v-target.conf", "SUTE=x"),
    ];
    let (_dir, paths) = node(&files);
    let job = |version: &str, variant: &str| {
        Environment::from_pairs([
            ("OS_API_VERSION", version),
            ("INSTANCE_NAME", "i"),
            ("HYPERVISOR", "kvm"),
            ("DISK_COUNT", "1"),
            ("DISK_0_PATH", "/dev/x"),
            ("OS_VARIANT", variant),
            ("OSP_FILESYSTEM", "xfs"),
        ])
        .create_job()
        .unwrap()
    };
    let settings = Settings::load(&paths, &job("20", "v")).unwrap();
    assert_eq!(
        (settings.suite.as_str(), settings.filesystem),
        ("sid", Filesystem::Xfs)
    );
    assert!(settings.warnings[0].contains("did you mean SUITE?"));
    let none = Settings::load(&paths, &job("20", "")).unwrap();
    assert_eq!(none.suite, "bookworm");
    let old = Settings::load(&paths, &job("10", "v")).unwrap();
    assert_eq!(old.suite, "bookworm", "version 10 knows no variants");
}

#[test]
fn hooks_get_the_settings_and_what_is_exported() {
    let text = "export OURS='a b'\nexport SUITE=sid\nHIDDEN=1\nEXTRA_PKGS=\",vim, less\"\n";
    let settings = load(
        &[("etc/p2v-target.conf", text)],
        None,
        &[("suite", "trixie")],
    );
    let variables = settings.hook_variables();
    let wanted = [
        ("ARCH", values::NATIVE_ARCH),
        ("EXTRA_PKGS", "vim,less"),
        ("FILESYSTEM", "ext4"),
        ("HOSTNAME_POLICY", "keep"),
        ("OURS", "a b"),
        ("PARTITION_STYLE", "msdos"),
        ("SUITE", "trixie"),
    ];
    let wanted = wanted.map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(variables.into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn unreadable_and_huge_files_are_errors() {
    let (_dir, paths) = node(&[]);
    std::fs::create_dir_all(paths.config_dir.join(CONF_NAME)).unwrap();
    let error = Settings::from_layers(&paths, None, &OsParameters::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("p2v-target.conf: "),
        "{error:#}"
    );
    let huge = "#".repeat(2 << 20);
    let text = error_of(&huge);
    assert!(text.contains("larger than 1 MiB"), "{text}");
}

fn error_of(conf: &str) -> String {
    error(&[("etc/p2v-target.conf", conf)], None, &[])
}

#[test]
fn secrets_are_not_shown() {
    let conf = (
        "etc/p2v-target.conf",
        "PROXY=http://user:s3cret@proxy:3128/\n",
    );
    let settings = load(&[conf], None, &[]);
    let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
    assert!(
        !shown.contains("s3cret") && shown.contains("proxy:3128"),
        "{shown}"
    );
    assert!(settings.proxy.unwrap().as_str().contains("s3cret"));
    for conf in [
        "PROXY='http://user:s3cret@proxy:3128/ x'\n",
        "PROXY=http://user:s3/cret@proxy/\n",
        "ROOT_PASSWORD_HASH=$6$s3cret$s3cretHash/x\n",
        "ROOT_PASSWORD_HASH=\"$6$s3cret\n",
        "ROOT_PASSWORD_HASH=s3cret\n",
    ] {
        let text = error_of(conf);
        assert!(!text.contains("s3"), "{conf}: {text}");
        assert!(text.contains("not shown"), "{conf}: {text}");
    }
    let text = error_of("MIRROR=http://user:s3/(cret@h/\n");
    assert!(!text.contains("s3"), "{text}");
}

/// A file of this repository.
fn installed(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

#[test]
fn the_example_configuration_can_be_used_as_it_is_and_uncommented() {
    let text = example_conf();
    let as_it_is = load(&[("etc/p2v-target.conf", &text)], None, &[]);
    assert!(as_it_is.warnings.is_empty());
    assert_eq!(*as_it_is.origin("SUITE"), Origin::Default);
    let set: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(bare) if names().any(|name| bare.starts_with(&format!("{name}="))) => bare,
            _ => line,
        })
        .collect();
    let uncommented = load(&[("etc/p2v-target.conf", &set.join("\n"))], None, &[]);
    for setting in SETTINGS {
        let origin = uncommented.origin(setting.name);
        assert!(
            matches!(origin, Origin::File(..)),
            "{} is missing",
            setting.name
        );
    }
    assert_eq!(uncommented.suite, as_it_is.suite);
    assert!(
        text.lines().all(|line| line.len() <= 79),
        "a line is too long"
    );
}

#[test]
fn every_published_variant_has_its_file_and_is_valid() {
    let list = std::fs::read_to_string(installed("variants.list")).unwrap();
    let published: Vec<&str> = list
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    // Ganeti takes the first one where an admin names none.
    assert_eq!(published.first(), Some(&"default"));
    for name in published {
        let file = installed(&format!("os-def/variants/{name}.conf"));
        let text = std::fs::read_to_string(&file).expect("a published variant's file");
        let settings = load(
            &[(&format!("etc/variants/{name}.conf"), &text)],
            Some(name),
            &[],
        );
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }
}
