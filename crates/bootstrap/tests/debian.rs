//! Real roots from Debian's mirror. They take minutes and the network, so they
//! run only when asked for: `cargo test -p p2v-bootstrap -- --ignored`.
//!
//! P2V_TEST_MIRROR and P2V_TEST_PROXY in the environment become the recipes'
//! mirror and proxy.

use std::path::Path;

use nix::mount::MsFlags;
use p2v_bootstrap::{Cache, CachePolicy, CachedRoot, Debian, Recipe, Tool};
use p2v_sys::command::in_path;
use p2v_sys::filesystem::{Filesystem, new_uuid};
use p2v_sys::loopdev::Extent;
use p2v_sys::{Cmd, LoopDevice, Mount};

/// The aim for the unpacked root, in bytes.
const MOST: u64 = 200_000_000;

/// What a migration needs, with arguments that end at once.
const TOOLS: &[&[&str]] = &[
    &["sshd", "-t"],
    &["rsync", "--version"],
    &["lvm", "version"],
    &["mdadm", "--version"],
    &["sfdisk", "--version"],
    &["sgdisk", "--version"],
    &["mkfs.ext4", "-V"],
    &["mkfs.xfs", "-V"],
    &["mkfs.btrfs", "-V"],
    &["mkfs.vfat", "--help"],
    &["xfs_repair", "-V"],
    &["zstd", "--version"],
    &["nano", "--version"],
    &["less", "--version"],
    &["ps", "--version"],
    &["ping", "-V"],
    &["ip", "-V"],
    &["ifup", "--version"],
    &["dhclient", "--version"],
    &["udevadm", "--version"],
    &["systemctl", "--version"],
    &["perl", "-e", "use strict; use POSIX; print 1"],
    &["dpkg", "--audit"],
    &["apt-get", "check"],
];

const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_scsi",
    "xen-blkfront",
    "xen-netfront",
    "ahci",
    "nvme",
    "e1000",
    "e1000e",
    "sd_mod",
    "sr_mod",
    "ext4",
    "xfs",
    "btrfs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "isofs",
    "squashfs",
    "overlay",
    "loop",
    "dm-mod",
    "dm-snapshot",
    "dm-crypt",
    "dm-thin-pool",
    "raid1",
    "raid10",
    "raid456",
    "9p",
    "9pnet_virtio",
    "af_packet",
];

fn can_run(tool: Tool) -> bool {
    if !p2v_testing::root_or_skip() {
        return false;
    }
    if !in_path(tool.name()) {
        p2v_testing::skip(&format!("needs {}", tool.name()));
        return false;
    }
    true
}

fn recipe(suite: &str) -> Recipe {
    Recipe {
        suite: suite.into(),
        arch: "amd64".into(),
        mirror: std::env::var("P2V_TEST_MIRROR").ok(),
        components: Vec::new(),
        packages: Vec::new(),
        proxy: std::env::var("P2V_TEST_PROXY").ok(),
    }
}

fn build(recipe: &Recipe, tool: Tool, look: impl Fn(&Path, &CachedRoot)) {
    if !can_run(tool) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let policy = CachePolicy {
        generate: true,
        clean_days: None,
    };
    let cache = Cache::new(dir.path().join("cache"), policy);
    let source = Debian { tool: Some(tool) };
    let root = cache.obtain_from(recipe, &source).unwrap();
    eprintln!("{:?}", root.metadata());

    let image = dir.path().join("image");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let device = LoopDevice::attach(&image, Extent::default(), false).unwrap();
    Filesystem::Ext4
        .create(device.path(), &new_uuid().unwrap())
        .unwrap();
    let target = dir.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let mount = Mount::new(device.path(), &target, "ext4", MsFlags::empty(), "").unwrap();
    let start = std::time::Instant::now();
    root.unpack(&target).unwrap();
    eprintln!("unpacked in {} ms", start.elapsed().as_millis());
    look(&target, &root);
    mount.close().unwrap();
    device.close().unwrap();
}

/// What every plain root must be.
fn look_at(target: &Path, root: &CachedRoot) {
    assert!(
        root.unpacked_bytes() <= MOST,
        "{} bytes",
        root.unpacked_bytes()
    );
    for path in [
        "etc/resolv.conf",
        "etc/hostname",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "debootstrap",
        "usr/sbin/policy-rc.d",
    ] {
        let found = std::fs::symlink_metadata(target.join(path));
        assert!(found.is_err(), "{path} is still there");
    }
    let boot = std::fs::read_dir(target.join("boot")).unwrap();
    let boot: Vec<_> = boot.map(|entry| entry.unwrap().file_name()).collect();
    let image = format!("vmlinuz-{}", root.kernel_version());
    assert_eq!(boot, [image.as_str()]);
    assert_eq!(std::fs::read(target.join("etc/machine-id")).unwrap(), b"");
    for rule in std::fs::read_dir(target.join("usr/lib/udev/rules.d")).unwrap() {
        let rule = rule.unwrap();
        let text = std::fs::read_to_string(rule.path()).unwrap();
        if text.contains("pvscan") || text.contains("--incremental") || text.contains("mdadm -I") {
            let mask = target.join("etc/udev/rules.d").join(rule.file_name());
            let mask = std::fs::read_link(&mask);
            assert_eq!(
                mask.ok().as_deref(),
                Some(Path::new("/dev/null")),
                "{rule:?}"
            );
        }
    }

    let proc = Mount::new("proc", &target.join("proc"), "proc", MsFlags::empty(), "").unwrap();
    let inside = |words: &[&str]| {
        let command = Cmd::new("chroot", format!("running {words:?}"));
        command.arg(target).args(words).read().unwrap()
    };
    inside(&["ssh-keygen", "-A"]);
    std::fs::create_dir_all(target.join("run/sshd")).unwrap();
    for tool in TOOLS {
        inside(tool);
    }
    for module in MODULES {
        inside(&["modprobe", "-n", "-S", root.kernel_version(), module]);
    }
    let lvm = inside(&[
        "lvmconfig",
        "activation/auto_activation_volume_list",
        "global/event_activation",
    ]);
    assert_eq!(lvm, "auto_activation_volume_list=[]\nevent_activation=0");
    proc.close().unwrap();
}

/// A root with a package of contrib, whose dependencies would be left out
/// without it, and with others whose files would.
fn extras(tool: Tool) {
    let mut recipe = recipe("bookworm");
    recipe.components = ["main", "contrib"].map(str::to_owned).into();
    recipe.packages = ["python3-yaml", "locales", "bash-completion", "gobi-loader"]
        .map(str::to_owned)
        .into();
    build(&recipe, tool, |target, _| {
        for path in [
            "usr/share/i18n/charmaps/UTF-8.gz",
            "usr/share/bash-completion/bash_completion",
            "var/lib/dpkg/info/gobi-loader.list",
        ] {
            assert!(target.join(path).exists(), "{path} is not there");
        }
        let sources = std::fs::read_dir(target.join("etc/apt/sources.list.d")).unwrap();
        let mut texts =
            std::fs::read_to_string(target.join("etc/apt/sources.list")).unwrap_or_default();
        for source in sources {
            texts += &std::fs::read_to_string(source.unwrap().path()).unwrap();
        }
        assert!(texts.contains("main contrib"), "{texts}");
        eprintln!("{texts}");
        Cmd::new("chroot", "importing yaml")
            .arg(target)
            .args(["python3", "-c", "import yaml, json, sqlite3"])
            .run()
            .unwrap();
    });
}

/// A package that does not exist is named in the error's last line.
fn misspelt(tool: Tool) {
    if !can_run(tool) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let policy = CachePolicy {
        generate: true,
        clean_days: None,
    };
    let cache = Cache::new(dir.path().join("cache"), policy);
    let mut recipe = recipe("bookworm");
    recipe.packages = ["tmux", "vim-tinny"].map(str::to_owned).into();
    let source = Debian { tool: Some(tool) };
    let error = cache.obtain_from(&recipe, &source).unwrap_err();
    let text = format!("{error:#}");
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("bookworm has no package vim-tinny:"),
        "{text}"
    );
    assert!(last.contains("EXTRA_PKGS"), "{text}");
}

#[test]
#[ignore = "takes minutes and the network"]
fn bookworm_by_mmdebstrap() {
    build(&recipe("bookworm"), Tool::Mmdebstrap, look_at);
}

#[test]
#[ignore = "takes minutes and the network"]
fn bookworm_by_debootstrap() {
    build(&recipe("bookworm"), Tool::Debootstrap, look_at);
}

#[test]
#[ignore = "takes minutes and the network"]
fn trixie_by_mmdebstrap() {
    build(&recipe("trixie"), Tool::Mmdebstrap, look_at);
}

#[test]
#[ignore = "takes minutes and the network"]
fn trixie_by_debootstrap() {
    build(&recipe("trixie"), Tool::Debootstrap, look_at);
}

#[test]
#[ignore = "takes minutes and the network"]
fn extras_by_mmdebstrap() {
    extras(Tool::Mmdebstrap);
}

#[test]
#[ignore = "takes minutes and the network"]
fn extras_by_debootstrap() {
    extras(Tool::Debootstrap);
}

#[test]
#[ignore = "takes the network"]
fn a_misspelt_package_is_named_by_mmdebstrap() {
    misspelt(Tool::Mmdebstrap);
}

#[test]
#[ignore = "takes the network"]
fn a_misspelt_package_is_named_by_debootstrap() {
    misspelt(Tool::Debootstrap);
}
