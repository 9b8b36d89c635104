//! `create` with bad input: each refusal says what to do, and writes nothing
//! that it need not have written.

use std::path::Path;
use std::time::Duration;

use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};
use p2v_tests::ganeti_env::Instance;
use p2v_tests::image;
use p2v_tests::{GIB, Lab, MIB, Outcome, leftovers, need_root};

const NAME: &str = "refused.example.org";

/// A refusal before the first write: the message has `words`, the disk is as
/// it was, and nothing is left.
fn assert_untouched(lab: &Lab, disk: &Path, instance: &Instance, words: &[&str]) -> Outcome {
    image::scribble(disk).unwrap();
    let before = image::hash(disk).unwrap();
    let outcome = lab.create(instance).unwrap();
    outcome.assert_refused(words);
    assert_eq!(image::hash(disk).unwrap(), before, "the disk was written");
    assert!(!lab.state_of(NAME).exists(), "a state file was written");
    lab.assert_nothing_left();
    outcome
}

/// A lab with a disk of 2 GiB and an instance on it.
fn ready(test: &str) -> (Lab, std::path::PathBuf, Instance) {
    let lab = Lab::new(test).unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new(NAME, &disk);
    (lab, disk, instance)
}

#[test]
fn no_disk() {
    need_root!();
    let lab = Lab::new("no-disk").unwrap();
    let mut instance = Instance::new(NAME, Path::new("/unused"));
    instance.disks.clear();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["disk"]);
    lab.assert_nothing_left();
}

#[test]
fn a_disk_without_a_path() {
    need_root!();
    let (lab, disk, instance) = ready("no-path");
    let instance = instance.without("DISK_0_PATH");
    assert_untouched(&lab, &disk, &instance, &["DISK_0_PATH"]);
}

#[test]
fn a_disk_too_small_is_told_the_size_needed() {
    need_root!();
    for (style, filesystem) in [("none", "ext4"), ("gpt", "btrfs"), ("msdos", "xfs")] {
        let lab = Lab::new("too-small").unwrap();
        let disk = lab.disk("disk.img", 200 * MIB).unwrap();
        let instance = Instance::new(NAME, &disk)
            .parameter("partition_style", style)
            .parameter("filesystem", filesystem);
        let words = ["200 MiB", "needs at least", "nothing was written"];
        assert_untouched(&lab, &disk, &instance, &words);
    }
}

#[test]
fn an_empty_disk_file() {
    need_root!();
    let lab = Lab::new("empty-file").unwrap();
    let disk = lab.disk("disk.img", 0).unwrap();
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&["needs at least"]);
    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 0);
    lab.assert_nothing_left();
}

#[test]
fn a_disk_that_is_not_there() {
    need_root!();
    let lab = Lab::new("missing").unwrap();
    let disk = lab.dir().join("no-such-disk.img");
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&["no-such-disk.img", "No such file"]);
    assert!(!disk.exists(), "it was made");
    lab.assert_nothing_left();
}

#[test]
fn a_disk_that_is_a_directory_or_a_character_device() {
    need_root!();
    let lab = Lab::new("directory").unwrap();
    let directory = lab.dir().join("directory");
    std::fs::create_dir(&directory).unwrap();
    for path in [directory.as_path(), Path::new("/dev/zero")] {
        let outcome = lab.create(&Instance::new(NAME, path)).unwrap();
        let name = path.to_str().unwrap();
        outcome.assert_refused(&[name, "neither a block device nor a regular file"]);
    }
    lab.assert_nothing_left();
}

#[test]
fn a_disk_attached_to_a_loop_device() {
    need_root!();
    let (lab, disk, instance) = ready("attached");
    image::scribble(&disk).unwrap();
    let before = image::hash(&disk).unwrap();
    let device = LoopDevice::attach(&disk, Extent::default(), false).unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["in use", device.path().to_str().unwrap()]);
    device.close().unwrap();
    assert_eq!(image::hash(&disk).unwrap(), before);
    lab.assert_nothing_left();
}

#[test]
fn a_mounted_block_device() {
    need_root!();
    let (lab, disk, _) = ready("mounted");
    let device = LoopDevice::attach(&disk, Extent::default(), false).unwrap();
    let mkfs = Cmd::new("mkfs.ext4", "making a filesystem");
    mkfs.arg("-q").arg(device.path()).run().unwrap();
    let point = lab.dir().join("point");
    std::fs::create_dir(&point).unwrap();
    let flags = nix::mount::MsFlags::empty();
    let mount = Mount::new(device.path(), &point, "ext4", flags, "").unwrap();
    std::fs::write(point.join("treasure"), "gold").unwrap();
    let outcome = lab.create(&Instance::new(NAME, device.path())).unwrap();
    outcome.assert_refused(&["in use", "mounted"]);
    assert_eq!(
        std::fs::read_to_string(point.join("treasure")).unwrap(),
        "gold"
    );
    mount.close().unwrap();
    Cmd::new("fsck.ext4", "checking that nothing was written")
        .args(["-f", "-n"])
        .arg(device.path())
        .run()
        .unwrap();
    device.close().unwrap();
    lab.assert_nothing_left();
}

#[test]
fn a_block_device_too_small() {
    need_root!();
    let lab = Lab::new("small-block").unwrap();
    let disk = lab.disk("disk.img", 100 * MIB).unwrap();
    let device = LoopDevice::attach(&disk, Extent::default(), false).unwrap();
    let outcome = lab.create(&Instance::new(NAME, device.path())).unwrap();
    outcome.assert_refused(&["100 MiB", "needs at least"]);
    device.close().unwrap();
    assert!(image::edges_are_blank(&disk).unwrap(), "it was written");
    lab.assert_nothing_left();
}

#[test]
fn unknown_values_name_what_is_known() {
    need_root!();
    let (lab, disk, instance) = ready("unknown-values");
    for (parameter, value, known) in [
        ("partition_style", "mbr", "msdos"),
        ("filesystem", "ext5", "ext4"),
    ] {
        let instance = instance.clone().parameter(parameter, value);
        assert_untouched(&lab, &disk, &instance, &[parameter, value, known]);
    }
    for (setting, value, known) in [
        ("PARTITION_STYLE", "mbr", "msdos"),
        ("FILESYSTEM", "ext5", "ext4"),
    ] {
        lab.write_config("p2v-target.conf", &format!("{setting}={value}\n"))
            .unwrap();
        let words = [setting, value, known, "p2v-target.conf"];
        assert_untouched(&lab, &disk, &instance, &words);
    }
}

#[test]
fn an_unknown_os_parameter() {
    need_root!();
    let (lab, disk, instance) = ready("unknown-parameter");
    let instance = instance.parameter("filesytem", "xfs");
    assert_untouched(&lab, &disk, &instance, &["filesytem", "filesystem"]);
}

#[test]
fn an_unknown_variant_and_a_published_one_without_its_file_differ() {
    need_root!();
    let (lab, disk, mut instance) = ready("variants");
    instance.variant = Some("ghost".to_owned());
    let unknown = assert_untouched(&lab, &disk, &instance, &["ghost", "no such variant"]);
    let list = lab.os_dir().join("variants.list");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text + "ghost\n").unwrap();
    let words = ["ghost", "published", "ghost.conf", "missing"];
    let published = assert_untouched(&lab, &disk, &instance, &words);
    assert_ne!(unknown.error_message(), published.error_message());
    instance.variant = Some("../../evil".to_owned());
    assert_untouched(&lab, &disk, &instance, &["variant"]);
}

#[test]
fn a_configuration_with_a_syntax_error_names_file_and_line() {
    need_root!();
    let (lab, disk, instance) = ready("syntax");
    for line in ["SUITE='bookworm", "rm -rf /", "SUITE=$(reboot)"] {
        lab.write_config("p2v-target.conf", &format!("# one\n# two\n{line}\n"))
            .unwrap();
        assert_untouched(&lab, &disk, &instance, &["p2v-target.conf", "line 3"]);
    }
}

#[test]
fn no_authorized_key_says_which_file_to_create() {
    need_root!();
    let (lab, disk, instance) = ready("no-key");
    let file = lab.config_dir().join("authorized_keys");
    let words = ["key", file.to_str().unwrap(), "create"];
    std::fs::remove_file(&file).unwrap();
    assert_untouched(&lab, &disk, &instance, &words);
    std::fs::write(&file, "# nobody yet\n").unwrap();
    assert_untouched(&lab, &disk, &instance, &words);
}

#[test]
fn an_unreachable_mirror() {
    need_root!();
    let lab = Lab::with_own_cache("mirror").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    // Port 9 of the loopback: refused at once.
    lab.configure("MIRROR=http://127.0.0.1:9/debian").unwrap();
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&["127.0.0.1:9", "mirror"]);
    assert!(!image::has_boot_code(&disk).unwrap());
    assert!(!lab.state_of(NAME).exists());
    lab.assert_nothing_left();
    assert_only_locks_in_cache(&lab);
}

#[test]
fn a_cache_disk_that_is_too_small() {
    need_root!();
    let lab = Lab::with_own_cache("small-cache").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let cache = small_tmpfs(lab.cache_dir(), "size=64m");
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&[lab.cache_dir().to_str().unwrap(), "needs"]);
    assert!(!image::has_boot_code(&disk).unwrap());
    assert_only_locks_in_cache(&lab);
    cache.close().unwrap();
    lab.assert_nothing_left();
}

#[test]
fn a_cache_disk_that_fills_up_midway() {
    need_root!();
    let lab = Lab::with_own_cache("full-cache").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    // Room enough at first sight; inodes run out while packages are unpacked.
    let cache = small_tmpfs(lab.cache_dir(), "size=16g,nr_inodes=1500");
    let outcome = lab.create(&Instance::new(NAME, &disk)).unwrap();
    outcome.assert_refused(&["full", "cache"]);
    assert!(!image::has_boot_code(&disk).unwrap());
    assert_only_locks_in_cache(&lab);
    cache.close().unwrap();
    lab.assert_nothing_left();
}

#[test]
fn a_failing_hook_is_named_and_the_disk_does_not_boot() {
    need_root!();
    let (lab, disk, instance) = ready("failing-hook");
    lab.hook("25-break", "#!/bin/sh\necho the reason >&2\nexit 3\n")
        .unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["25-break", "3", "unbootable"]);
    assert!(outcome.log.contains("the reason"), "{}", outcome.log);
    assert_unfinished(&lab, &disk);
}

#[test]
fn a_hanging_hook_is_named_and_ended_with_all_its_children() {
    need_root!();
    let (lab, disk, instance) = ready("hanging-hook");
    lab.configure("HOOK_TIMEOUT=2").unwrap();
    lab.hook(
        "25-hang",
        "#!/bin/sh\nsleep 3000 &\ntrap '' TERM\nsleep 3000\n",
    )
    .unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["25-hang", "2 s", "unbootable"]);
    assert!(
        outcome.took < Duration::from_secs(120),
        "{:?}",
        outcome.took
    );
    assert_unfinished(&lab, &disk);
}

#[test]
fn a_hook_that_leaves_a_daemon_keeps_nothing_mounted() {
    need_root!();
    let (lab, disk, instance) = ready("daemon-hook");
    let script = "#!/bin/sh\ncd \"$TARGET\"\nsetsid sleep 3000 </dev/null >/dev/null 2>&1 &\n";
    lab.hook("25-daemon", script).unwrap();
    lab.create(&instance).unwrap().assert_success();
    assert!(image::has_boot_code(&disk).unwrap());
    lab.assert_nothing_left();
}

#[test]
fn usage_for_help_and_for_arguments() {
    need_root!();
    let lab = Lab::new("usage").unwrap();
    for name in ["create", "verify"] {
        let script = lab.os_dir().join(name);
        for flag in ["-h", "--help"] {
            let text = Cmd::new(&script, "asking for help")
                .arg(flag)
                .read()
                .unwrap();
            assert!(text.contains("Usage:"), "{text}");
        }
    }
    let wrong = Cmd::new(lab.os_dir().join("create"), "giving an argument")
        .arg("surprise")
        .run()
        .unwrap_err();
    let text = format!("{wrong:#}");
    assert!(
        text.contains("Usage:") && text.contains("surprise"),
        "{text}"
    );
}

#[test]
fn entry_points_refuse_without_ganetis_environment() {
    need_root!();
    let lab = Lab::new("no-environment").unwrap();
    for name in ["import", "export", "rename"] {
        let refused = Cmd::new(lab.os_dir().join(name), "calling it").run();
        assert!(refused.is_err(), "{name} pretends to have worked");
    }
}

/// A disk whose making failed midway.
fn assert_unfinished(lab: &Lab, disk: &Path) {
    assert!(image::edges_are_blank(disk).unwrap(), "it may boot");
    assert!(!lab.state_of(NAME).exists());
    leftovers::assert_none(lab.dir());
}

fn assert_only_locks_in_cache(lab: &Lab) {
    let stray: Vec<_> = std::fs::read_dir(lab.cache_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() > 0 || path.is_dir())
        .collect();
    assert!(stray.is_empty(), "left in the cache: {stray:?}");
}

fn small_tmpfs(on: &Path, options: &str) -> Mount {
    let flags = nix::mount::MsFlags::empty();
    // A tmpfs is everybody's to write by default, and create refuses such a cache.
    let options = format!("mode=700,{options}");
    Mount::new("tmpfs", on, "tmpfs", flags, &options).unwrap()
}
