//! The cache, with a small tree in the place of Debian's packages.

mod common;
mod lab;

use std::path::Path;
use std::time::Duration;

use nix::mount::MsFlags;
use p2v_bootstrap::{Cache, CachePolicy, Debian, Metadata, Tool};
use p2v_sys::Mount;
use p2v_sys::command::in_path;
use p2v_sys::lock::FileLock;
use p2v_testing::manifest;

use lab::{KEEP, Lab, recipe};

#[test]
fn a_root_is_built_once_and_then_found() {
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    let root = lab.obtain(KEEP).unwrap();
    assert_eq!(lab.small.builds(), 1);
    assert_eq!(lab.names(), lab.complete());
    assert_eq!(root.key(), recipe().key());
    assert_eq!(root.kernel_version(), "6.10.0-1-amd64");
    assert_eq!(root.metadata().tool, "small");
    let listed = Cache::new(lab.cache(), KEEP).images().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].metadata.as_ref(), Some(root.metadata()));

    let (tree, copy) = (lab.dir.path().join("tree"), lab.dir.path().join("copy"));
    common::make_tree(&tree);
    // Twice: unpacking must not use the root up.
    for _ in 0..2 {
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).unwrap();
        root.unpack(&copy).unwrap();
        let paths = |root: &Path| manifest::of(root).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(paths(&tree), paths(&copy));
    }
}

#[test]
fn a_damaged_root_is_built_anew() {
    type Damage = fn(&Lab);
    let damages: [(&str, Damage); 6] = [
        ("a flipped bit", |lab| {
            let mut bytes = std::fs::read(lab.file("tar.zst")).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(lab.file("tar.zst"), bytes).unwrap();
        }),
        ("cut short", |lab| {
            let file = std::fs::File::options()
                .write(true)
                .open(lab.file("tar.zst"))
                .unwrap();
            file.set_len(1000).unwrap();
        }),
        ("no archive", |lab| {
            std::fs::remove_file(lab.file("tar.zst")).unwrap()
        }),
        ("no metadata", |lab| {
            std::fs::remove_file(lab.file("json")).unwrap()
        }),
        ("empty metadata", |lab| {
            std::fs::write(lab.file("json"), "").unwrap()
        }),
        ("unknown metadata", |lab| {
            let text = std::fs::read_to_string(lab.file("json")).unwrap();
            let text = text.replacen('{', "{\"colour\": 1,", 1);
            std::fs::write(lab.file("json"), text).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let Some(lab) = Lab::new() else { return };
        lab.obtain(KEEP).unwrap();
        damage(&lab);
        let root = lab.obtain(KEEP).unwrap();
        assert_eq!(lab.small.builds(), 2, "{name}");
        assert_eq!(lab.names(), lab.complete(), "{name}");
        let copy = lab.dir.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        root.unpack(&copy).unwrap();
        lab.obtain(KEEP).unwrap();
        assert_eq!(lab.small.builds(), 2, "{name}");
    }
}

#[test]
fn two_creates_at_once_build_once() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    lab.small.pause = Duration::from_millis(300);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| lab.obtain(KEEP).unwrap());
        }
    });
    assert_eq!(lab.small.builds(), 1);
}

#[test]
fn old_roots_are_built_anew_from_the_given_age_on() {
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    let mut metadata: Metadata =
        serde_json::from_slice(&std::fs::read(lab.file("json")).unwrap()).unwrap();
    metadata.built_at -= 7 * 24 * 3600;
    std::fs::write(lab.file("json"), serde_json::to_vec(&metadata).unwrap()).unwrap();
    for (days, builds) in [(None, 1), (Some(8), 1), (Some(7), 2), (Some(7), 2)] {
        let policy = CachePolicy {
            generate: true,
            clean_days: days,
        };
        lab.obtain(policy).unwrap();
        assert_eq!(lab.small.builds(), builds, "{days:?}");
    }
}

#[test]
fn without_generating_nothing_is_kept_but_what_is_there_is_used() {
    let Some(lab) = Lab::new() else { return };
    let policy = CachePolicy {
        generate: false,
        clean_days: None,
    };
    let root = lab.obtain(policy).unwrap();
    assert_eq!(lab.names(), [format!("{}.lock", recipe().key())]);
    let copy = lab.dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    root.unpack(&copy).unwrap();
    assert!(copy.join("usr/bin/program").exists());
    lab.obtain(KEEP).unwrap();
    lab.obtain(policy).unwrap();
    assert_eq!(lab.small.builds(), 2);
}

#[test]
fn what_a_killed_build_left_goes_but_a_running_one_stays() {
    let Some(lab) = Lab::new() else { return };
    std::fs::create_dir(lab.cache()).unwrap();
    let [killed, running] = ["killed", "running"].map(|key| {
        let path = lab.cache().join(format!(".building-{key}/root/etc"));
        std::fs::create_dir_all(path).unwrap();
        lab.cache().join(format!(".building-{key}"))
    });
    let lock = FileLock::try_lock(&lab.cache().join("running.lock")).unwrap();
    assert!(lock.is_some());
    lab.obtain(KEEP).unwrap();
    assert!(!killed.exists());
    assert!(running.exists());
}

#[test]
fn an_archive_that_was_never_described_goes_and_other_files_stay() {
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    let mut other = recipe();
    other.packages = vec!["tmux".into()];
    let orphan = lab.cache().join(format!("{}.tar.zst", other.key()));
    let backup = lab.cache().join("backup.tar.zst");
    // Metadata that names another file: neither it nor that file is removed.
    let precious = lab.dir.path().join("precious.json");
    let mut metadata: Metadata =
        serde_json::from_slice(&std::fs::read(lab.file("json")).unwrap()).unwrap();
    (metadata.key, metadata.built_at) = ("../precious".to_owned(), 0);
    for path in [&orphan, &backup, &precious] {
        std::fs::write(path, "").unwrap();
    }
    let liar = lab.cache().join("liar.json");
    std::fs::write(&liar, serde_json::to_vec(&metadata).unwrap()).unwrap();
    let policy = CachePolicy {
        generate: true,
        clean_days: Some(1),
    };
    lab.obtain(policy).unwrap();
    assert!(!orphan.exists());
    for path in [&backup, &precious, &liar] {
        assert!(path.exists(), "{}", path.display());
    }
    assert_eq!(lab.small.builds(), 1);
}

#[test]
fn initrds_age_like_roots_and_temporary_files_within_a_day() {
    use std::time::SystemTime;
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    let hours = |hours: u64| Duration::from_secs(hours * 3600 + 60);
    let initrd = "initrd-06db35f5dfc400e1d4753db522f47d7c.img";
    let grub = "initrd-grub-1d525f45c3bbbd59baaaf39a9027f19a.img";
    for (name, age, days, stays) in [
        (initrd, hours(13 * 24), Some(14), true),
        (initrd, hours(14 * 24), Some(14), false),
        (initrd, hours(1000 * 24), None, true),
        (grub, hours(14 * 24), Some(14), false),
        (".tmpAbCdEf", hours(23), None, true),
        (".tmpAbCdEf", hours(24), None, false),
        // An admin's own, where the cache is a link to elsewhere.
        (
            "initrd-6.1.0-31-amd64.img",
            hours(1000 * 24),
            Some(14),
            true,
        ),
        (".tmp-notes", hours(24), None, true),
        ("notes.img", hours(1000 * 24), Some(14), true),
    ] {
        let path = lab.cache().join(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        let policy = CachePolicy {
            generate: true,
            clean_days: days,
        };
        lab.obtain(policy).unwrap();
        assert_eq!(path.exists(), stays, "{name} of {age:?}, {days:?} days");
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    assert_eq!(lab.cache().metadata().unwrap().mode() & 0o7777, 0o700);
    for ending in ["json", "tar.zst", "lock"] {
        let mode = lab.file(ending).metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600, "{ending}");
    }
    let link = lab.dir.path().join("link");
    symlink(lab.cache(), &link).unwrap();
    let linked = || Cache::new(&link, KEEP).obtain_from(&recipe(), &lab.small);
    linked().unwrap();
    for (owner, mode, good) in [
        (0, 0o755, true),
        (0, 0o770, false),
        (0, 0o1777, false),
        (1, 0o700, false),
    ] {
        chown(lab.cache(), Some(owner), None).unwrap();
        std::fs::set_permissions(lab.cache(), PermissionsExt::from_mode(mode)).unwrap();
        for result in [lab.obtain(KEEP), linked()] {
            match result {
                Ok(_) => assert!(good, "owner {owner}, mode {mode:o}"),
                Err(error) => {
                    assert!(!good, "{error:#}");
                    let text = error.to_string();
                    assert!(text.contains("others may write to it"), "{text}");
                }
            }
        }
    }
    assert_eq!(lab.small.builds(), 1);
}

#[test]
fn a_root_is_used_from_a_read_only_filesystem_but_none_can_be_built() {
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    let bind = MsFlags::MS_BIND;
    let mount = Mount::new(lab.cache(), &lab.cache(), "", bind, "").unwrap();
    let none: Option<&str> = None;
    let flags = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    nix::mount::mount(none, &lab.cache(), none, flags, none).unwrap();
    lab.obtain(KEEP).unwrap();
    assert_eq!(lab.small.builds(), 1);
    let mut other = recipe();
    other.packages = vec!["tmux".into()];
    let cache = Cache::new(lab.cache(), KEEP);
    let error = cache.obtain_from(&other, &lab.small).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(text.contains(lab.cache().to_str().unwrap()), "{text}");
    assert_eq!(lab.small.builds(), 1);
    mount.close().unwrap();
}

#[test]
fn a_failed_build_leaves_nothing() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    lab.small.fail = true;
    let error = lab.obtain(KEEP).unwrap_err();
    assert!(format!("{error:#}").contains("the packages are no good"));
    assert_eq!(lab.names(), [format!("{}.lock", recipe().key())]);
}

#[test]
fn a_full_disk_is_named_and_nothing_stays_on_it() {
    // What is needed is known to be too much before; or it shows midway, when
    // the archive does not fit beside the tree.
    for (needed, size, expected) in [
        (1_000_000_000, "mode=700,size=16m", "needs 1000 MB"),
        (0, "mode=700,size=4500k", "is full"),
    ] {
        let Some(mut lab) = Lab::new() else {
            return;
        };
        lab.small.needed = needed;
        std::fs::create_dir(lab.cache()).unwrap();
        let mount = Mount::new("tmpfs", &lab.cache(), "tmpfs", MsFlags::empty(), size).unwrap();
        let probe = lab.cache().join("probe");
        std::fs::write(&probe, "").unwrap();
        if xattr::set(&probe, "user.probe", b"").is_err() {
            p2v_testing::skip("this kernel's tmpfs has no user attributes");
            return;
        }
        std::fs::remove_file(probe).unwrap();
        let error = format!("{:#}", lab.obtain(KEEP).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(lab.cache().to_str().unwrap()), "{error}");
        assert_eq!(lab.names(), [format!("{}.lock", recipe().key())]);
        mount.close().unwrap();
    }
}

#[test]
fn an_unreachable_mirror_is_named_with_what_to_do() {
    for tool in [Tool::Mmdebstrap, Tool::Debootstrap] {
        let Some(lab) = Lab::new() else { return };
        if !in_path(tool.name()) {
            p2v_testing::skip(&format!("needs {}", tool.name()));
            continue;
        }
        let mut recipe = recipe();
        recipe.mirror = Some("http://127.0.0.1:9/debian".into());
        recipe.proxy = Some(String::new());
        assert!(recipe.check().is_err(), "an empty proxy is no address");
        recipe.proxy = None;
        let source = Debian { tool: Some(tool) };
        let cache = Cache::new(lab.cache(), KEEP);
        let error = cache.obtain_from(&recipe, &source).unwrap_err();
        let text = format!("{error:#}");
        let last = text.lines().last().unwrap();
        assert!(
            last.contains("MIRROR (now http://127.0.0.1:9/debian)"),
            "{text}"
        );
        assert!(last.contains("PROXY (now not set)"), "{text}");
        assert_eq!(lab.names(), [format!("{}.lock", recipe.key())]);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(lab.dir.path().to_str().unwrap()),
            "{mounts}"
        );
    }
}

#[test]
fn a_cache_where_no_root_can_be_built_is_named_with_what_to_do() {
    for (tool, flags, expected) in [
        (Tool::Debootstrap, MsFlags::MS_NODEV, "mounted with nodev"),
        (Tool::Debootstrap, MsFlags::MS_NOEXEC, "mounted with noexec"),
        (Tool::Mmdebstrap, MsFlags::MS_NOEXEC, "mounted with noexec"),
    ] {
        let Some(lab) = Lab::new() else { return };
        if !in_path(tool.name()) {
            p2v_testing::skip(&format!("needs {}", tool.name()));
            continue;
        }
        std::fs::create_dir(lab.cache()).unwrap();
        let data = "mode=700,size=2g";
        let mount = Mount::new("tmpfs", &lab.cache(), "tmpfs", flags, data).unwrap();
        let mut recipe = recipe();
        recipe.mirror = Some("http://127.0.0.1:9/debian".into());
        let source = Debian { tool: Some(tool) };
        let cache = Cache::new(lab.cache(), KEEP);
        let error = cache.obtain_from(&recipe, &source).unwrap_err();
        let text = format!("{error:#}");
        let last = text.lines().last().unwrap();
        assert!(last.contains(expected) && last.contains("a link"), "{text}");
        mount.close().unwrap();
    }
}
