//! `p2v initrd` from the command line: what it refuses, and that what it
//! writes can be read by other programs than ours.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use p2v_sys::{Cmd, Mount};
use p2v_tests::{Created, GIB, Instance, Lab, need_root};

/// A root with the modules of a created instance, and their version.
struct Modules {
    lab: Lab,
    root: PathBuf,
    version: String,
}

impl Modules {
    fn new(test: &str) -> Self {
        let lab = Lab::new(test).unwrap();
        let disk = lab.disk("disk.img", 2 * GIB).unwrap();
        let instance =
            Instance::new("modules.example.org", &disk).parameter("partition_style", "none");
        let created = Created::make(&lab, &instance).unwrap();
        let mounted = created.mount(&lab).unwrap();
        let root = lab.dir().join("root");
        std::fs::create_dir_all(root.join("lib")).unwrap();
        Cmd::new("cp", "copying modules")
            .arg("-a")
            .arg(mounted.path().join("lib/modules"))
            .arg(root.join("lib"))
            .run()
            .unwrap();
        mounted.close().unwrap();
        let version = created.fact("kernel").unwrap().to_owned();
        Self { lab, root, version }
    }

    fn output(&self) -> PathBuf {
        self.lab.dir().join("initrd.img")
    }

    /// `p2v initrd` for these modules, writing to `output`.
    fn build(&self, output: &Path) -> Cmd {
        self.for_kernel(&self.version, output)
    }

    fn for_kernel(&self, version: &str, output: &Path) -> Cmd {
        Cmd::new(self.lab.binary(), "building an initrd")
            .args(["initrd", "--kernel", version, "--root"])
            .arg(&self.root)
            .arg("--output")
            .arg(output)
    }
}

/// The message of a refusal.
fn refusal(command: &Cmd) -> String {
    let text = format!("{:#}", command.run().expect_err("it should have failed"));
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// What `cpio` lists of an archive that `tool` decompresses.
fn listing(tool: &str, initrd: &Path, dir: &Path) -> String {
    let archive = dir.join("archive");
    let plain = match tool {
        "none" => std::fs::read(initrd).unwrap(),
        _ => {
            let output = std::process::Command::new(tool)
                .args(["-d", "-c"])
                .stdin(std::fs::File::open(initrd).unwrap())
                .output()
                .unwrap();
            assert!(output.status.success(), "{tool}: {output:?}");
            output.stdout
        }
    };
    std::fs::write(&archive, plain).unwrap();
    Cmd::new("cpio", "listing an initrd")
        .args(["--list", "--quiet", "--file"])
        .arg(&archive)
        .read()
        .unwrap()
}

#[test]
fn every_compression_is_read_by_its_own_tool() {
    need_root!();
    let modules = Modules::new("initrd-compression");
    for (compression, tool) in [
        ("zstd", "zstd"),
        ("xz", "xz"),
        ("gzip", "gzip"),
        ("none", "none"),
    ] {
        let output = modules.lab.dir().join(format!("initrd.{compression}"));
        let build = modules.build(&output).args(["--compress", compression]);
        build.run().unwrap();
        let names = listing(tool, &output, modules.lab.dir());
        for name in ["init", "etc/p2v-initrd", "dev/console"] {
            assert!(
                names.lines().any(|line| line == name),
                "no {name}:\n{names}"
            );
        }
        for module in [
            "virtio_blk",
            "ext4",
            "xfs",
            "btrfs",
            "nvme",
            "ahci",
            "e1000",
        ] {
            let there = names
                .lines()
                .any(|line| line.contains(&format!("/{module}.ko")));
            assert!(there, "no {module}:\n{names}");
        }
        // The kernel reads xz with this checksum only.
        if tool == "xz" {
            let details = Cmd::new("xz", "examining").args(["--robot", "--list"]);
            let details = details.arg(&output).read().unwrap();
            assert!(details.contains("CRC32"), "{details}");
        }
    }
}

#[test]
fn a_self_contained_one_is_for_a_whole_root_and_its_owner_only() {
    need_root!();
    let modules = Modules::new("initrd-self-contained");
    let output = modules.output();
    let text = refusal(&modules.build(&output).arg("--self-contained"));
    assert!(text.contains("/sbin/init"), "{text}");
    let init = modules.root.join("sbin/init");
    std::fs::create_dir(modules.root.join("sbin")).unwrap();
    std::fs::write(&init, "").unwrap();
    std::fs::write(modules.root.join(".p2v-incomplete"), "").unwrap();
    let text = refusal(&modules.build(&output).arg("--self-contained"));
    assert!(text.contains(".p2v-incomplete"), "{text}");
    std::fs::remove_file(modules.root.join(".p2v-incomplete")).unwrap();
    let build = modules.build(&output).arg("--self-contained");
    build.run().unwrap();
    // It holds the root's SSH keys.
    let mode = std::fs::metadata(&output).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = listing("none", &output, modules.lab.dir());
    assert!(names.contains("p2v-root/000000"), "{names}");
    // This machine's root is not taken by mistake.
    let build = Cmd::new(modules.lab.binary(), "building an initrd");
    let build = build.args(["initrd", "--kernel", "1", "--self-contained"]);
    assert!(refusal(&build).contains("--root"));
}

#[test]
fn an_existing_file_is_replaced_with_force_only() {
    need_root!();
    let modules = Modules::new("initrd-force");
    let output = modules.output();
    std::fs::write(&output, "precious").unwrap();
    let text = refusal(&modules.build(&output));
    assert!(text.contains("initrd.img"), "{text}");
    assert!(text.contains("--force"), "{text}");
    assert_eq!(std::fs::read(&output).unwrap(), b"precious");
    modules.build(&output).arg("--force").run().unwrap();
    assert!(std::fs::metadata(&output).unwrap().len() > 1 << 20);
}

#[test]
fn a_kernel_without_modules_is_told_before_any_work() {
    need_root!();
    let modules = Modules::new("initrd-version");
    let output = modules.output();
    let text = refusal(&modules.for_kernel("5.4.3-21-none", &output));
    for words in ["5.4.3-21-none", &modules.version] {
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
    for version in ["", "..", "../../etc", "a/b"] {
        refusal(&modules.for_kernel(version, &output));
    }
    assert!(!output.exists());
}

#[test]
fn an_unknown_module_is_named() {
    need_root!();
    let modules = Modules::new("initrd-module");
    let output = modules.output();
    let text = refusal(&modules.build(&output).args(["--module", "no_such_thing"]));
    assert!(text.contains("no_such_thing"), "{text}");
    assert!(!output.exists());
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    need_root!();
    let modules = Modules::new("initrd-output");
    let missing = modules.lab.dir().join("no/such/directory/initrd.img");
    assert!(refusal(&modules.build(&missing)).contains("no/such/directory"));
    let directory = modules.lab.dir().join("directory");
    std::fs::create_dir(&directory).unwrap();
    refusal(&modules.build(&directory).arg("--force"));
    // Permissions stop no root, but a read-only filesystem does.
    let point = modules.lab.dir().join("read-only");
    std::fs::create_dir(&point).unwrap();
    let flags = nix::mount::MsFlags::MS_RDONLY;
    let mount = Mount::new("tmpfs", &point, "tmpfs", flags, "").unwrap();
    let text = refusal(&modules.build(&point.join("initrd.img")));
    mount.close().unwrap();
    assert!(text.contains("Read-only file system"), "{text}");
}

#[test]
fn a_full_disk_leaves_no_part_of_a_file() {
    need_root!();
    let modules = Modules::new("initrd-full");
    let point = modules.lab.dir().join("full");
    std::fs::create_dir(&point).unwrap();
    let flags = nix::mount::MsFlags::empty();
    let mount = Mount::new("tmpfs", &point, "tmpfs", flags, "size=1m").unwrap();
    let text = refusal(&modules.build(&point.join("initrd.img")));
    let left = std::fs::read_dir(&point).unwrap().count();
    mount.close().unwrap();
    assert!(text.contains("No space left on device"), "{text}");
    assert_eq!(left, 0, "a part of a file stayed");
}

#[test]
fn the_same_input_gives_the_same_bytes_by_either_name() {
    need_root!();
    let modules = Modules::new("initrd-same");
    let (one, two) = (modules.output(), modules.lab.dir().join("again.img"));
    modules.build(&one).run().unwrap();
    let link = modules.lab.dir().join("make-ramboot-initrd");
    std::os::unix::fs::symlink(modules.lab.binary().canonicalize().unwrap(), &link).unwrap();
    Cmd::new(&link, "building an initrd by the other name")
        .args(["--kernel", &modules.version, "--root"])
        .arg(&modules.root)
        .arg("--output")
        .arg(&two)
        .run()
        .unwrap();
    assert!(std::fs::read(one).unwrap() == std::fs::read(two).unwrap());
}

#[test]
fn init_refuses_to_run_on_a_running_system() {
    need_root!();
    let lab = Lab::new("initrd-init").unwrap();
    let text = refusal(&Cmd::new(lab.binary(), "running init").arg("init"));
    assert!(text.contains("PID 1"), "{text}");
}
