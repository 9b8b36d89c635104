//! Initrds built for a kernel of our own, and what cpio(1) finds in them.

mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;
use crate::modules::{IndexTexts, canonical, fixture, folded, without_packing};

const KERNEL: &str = "6.1.0-test";

/// A root with the fixture's kernel, whose "modules" are their own names, and
/// a directory for the output.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(lab.dir.path().join("boot")).unwrap();
        std::fs::write(lab.dir.path().join("p2v"), program()).unwrap();
        let modules = lab.modules();
        for (name, text) in fixture::texts().files() {
            write(&modules.join(name), text.as_bytes());
        }
        for line in fixture::texts().dep.lines() {
            let path = line.split(':').next().unwrap();
            let contents = contents(path);
            let bytes = match path.rsplit('.').next().unwrap() {
                "xz" => Compression::Xz.compress(&contents).unwrap(),
                "zst" => Compression::Zstd.compress(&contents).unwrap(),
                "gz" => Compression::Gzip.compress(&contents).unwrap(),
                _ => contents,
            };
            write(&modules.join(path), &bytes);
        }
        lab
    }

    fn modules(&self) -> PathBuf {
        self.dir.path().join("root/usr/lib/modules").join(KERNEL)
    }

    fn request(&self) -> InitrdRequest {
        InitrdRequest {
            root: self.dir.path().join("root"),
            kernel: KERNEL.to_owned(),
            output: self.dir.path().join("boot/initrd.img"),
            modules: vec!["one".to_owned()],
            compression: Compression::None,
            force: false,
            self_contained: false,
            init_binary: self.dir.path().join("p2v"),
        }
    }

    fn boot(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("boot")).unwrap();
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// An ELF header without program headers: nothing asks for a linker.
fn program() -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01".to_vec();
    elf.resize(1000, 0);
    elf
}

fn contents(path: &str) -> Vec<u8> {
    format!("\x7fELF {}", without_packing(path)).into_bytes()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// What cpio(1), which is not ours, makes of the archive.
fn cpio(args: &[&str], archive: &[u8], dir: &Path) -> Option<String> {
    let child = Command::new("cpio")
        .args(args)
        .current_dir(dir)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        p2v_testing::skip("cpio is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let archive = archive.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(&archive));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "cpio {args:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn cpio_lists_and_unpacks_what_was_built() {
    let lab = Lab::new();
    let report = build(&lab.request()).unwrap();
    let archive = std::fs::read(lab.request().output).unwrap();
    assert_eq!(report.bytes, archive.len() as u64);
    assert_eq!(report.unpacked_bytes, archive.len() as u64);
    let Some(listing) = cpio(&["-itv", "--quiet"], &archive, lab.dir.path()) else {
        return;
    };
    let has = |mode: &str, name: &str| {
        listing.lines().any(|line| {
            line.starts_with(mode) && line.ends_with(&format!(" {name}")) && line.contains("1970")
        })
    };
    assert!(has("crw-------", "dev/console"), "{listing}");
    assert!(listing.contains("root       5,   1"), "{listing}");
    assert!(has("-rwxr-xr-x", "init"), "{listing}");
    assert!(has("drwxrwxrwt", "tmp"), "{listing}");
    assert!(has("drwx------", "root"), "{listing}");
    for dir in ["dev", "proc", "sys", "run", "etc", "lib"] {
        assert!(has("drwxr-xr-x", dir), "{dir} in {listing}");
    }
    let out = lab.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    cpio(
        &["-id", "--quiet", "lib/*", "etc/*", "init"],
        &archive,
        &out,
    );
    let inside = out.join("lib/modules").join(KERNEL);
    let path = "kernel/fs/ext4/ext4.ko";
    assert_eq!(std::fs::read(inside.join(path)).unwrap(), contents(path));
    let path = "kernel/drivers/block/xen-blkfront.ko";
    assert_eq!(std::fs::read(inside.join(path)).unwrap(), contents(path));
    let marker = std::fs::read_to_string(out.join("etc/p2v-initrd")).unwrap();
    assert!(marker.starts_with("kernel=6.1.0-test\n"), "{marker}");
    assert_eq!(std::fs::read(out.join("init")).unwrap(), program());
    let texts = IndexTexts::read(
        &Root::open(&out).unwrap(),
        Path::new("lib/modules/6.1.0-test"),
    );
    closed(
        &Index::parse(&texts.unwrap()).unwrap(),
        &report.modules,
        &inside,
    );
}

/// Every module reported is a file and in the index, and so is all it needs,
/// and nothing else is there.
fn closed(index: &Index, modules: &[String], dir: &Path) {
    let listed: BTreeSet<_> = index.modules().map(|m| m.name.clone()).collect();
    assert_eq!(listed, modules.iter().cloned().collect());
    for module in index.modules() {
        assert!(dir.join(&module.path).is_file(), "{}", module.path);
        for need in &module.needs {
            assert!(listed.contains(need), "{} needs {need}", module.name);
        }
    }
}

#[test]
fn the_closure_is_what_the_indexes_say() {
    let index = Index::parse(&fixture::texts()).unwrap();
    let selection = Selection::choose(&index, &[]).unwrap();
    let mut names: Vec<_> = selection.modules.iter().map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    let expected = "crc16 crc32c_generic crc32c_intel ext4 jbd2 mbcache virtio virtio_blk \
                    virtio_ring xen_blkfront";
    assert_eq!(names.join(" "), expected);
    assert!(selection.absent.contains(&"btrfs"));
    assert!(!selection.absent.contains(&"ext4"));
    let selection = Selection::choose(&index, &["8250".to_owned(), "xen:vbd".to_owned()]);
    assert_eq!(selection.unwrap().modules.len(), 10, "nothing to add");
}

#[test]
fn a_real_kernels_closure_is_complete() {
    let root = Root::open(Path::new(
        &std::env::var("P2V_TEST_ROOT").unwrap_or_else(|_| "/".into()),
    ))
    .unwrap();
    let kernels = root.list("lib/modules").unwrap();
    let Some(dir) = kernels
        .iter()
        .map(|name| Path::new("lib/modules").join(name))
        .find(|dir| root.exists(dir.join("modules.dep")))
    else {
        p2v_testing::skip(&format!("no modules in {}", root.path().display()));
        return;
    };
    let index = Index::read(&root, &dir).unwrap();
    let selection = Selection::choose(&index, &[]).unwrap();
    let names: BTreeSet<_> = selection.modules.iter().map(|m| &m.name).collect();
    for module in &selection.modules {
        for step in index.plan(&module.name) {
            assert!(names.contains(&step.module.name), "{}", step.module.name);
        }
        for need in &module.needs {
            assert!(names.contains(need), "{} needs {need}", module.name);
        }
    }
    let files = module_file::read_all(&root, &dir, &selection.modules).unwrap();
    let mut paths = BTreeMap::new();
    for (file, module) in files.into_iter().zip(&selection.modules) {
        // Folding checks by itself that the bytes come back.
        let plain = without_packing(&module.path);
        assert_eq!(file.path, format!("{plain}{}", folded::SUFFIX));
        paths.insert(file.name, file.path);
    }
    let trimmed = Index::parse(&index.trimmed(&paths)).unwrap();
    for wanted in ["virtio_blk", "fs-ext4", "xfs", "btrfs", "scsi:t-0x00"] {
        let order = |index: &Index| -> Vec<_> {
            let steps = index.plan(wanted);
            steps.iter().map(|s| s.module.name.clone()).collect()
        };
        assert_eq!(order(&trimmed), order(&index), "{wanted}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let lab = Lab::new();
    for compression in Compression::ALL {
        let mut request = lab.request();
        request.compression = compression;
        request.force = true;
        build(&request).unwrap();
        let first = std::fs::read(&request.output).unwrap();
        build(&request).unwrap();
        assert!(
            std::fs::read(&request.output).unwrap() == first,
            "{compression}"
        );
    }
    let mode = lab
        .request()
        .output
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let lab = Lab::new();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let boot = lab.dir.path().join("boot");
    let leftover = format!(".initrd.img.p2v-{}", gone.id());
    for name in [&leftover, ".initrd.img.p2v-1", ".initrd.img.p2v-x"] {
        std::fs::write(boot.join(name), "").unwrap();
    }
    build(&lab.request()).unwrap();
    assert_eq!(
        lab.boot(),
        [".initrd.img.p2v-1", ".initrd.img.p2v-x", "initrd.img"]
    );
}

#[test]
fn a_module_is_wanted_by_either_spelling() {
    let lab = Lab::new();
    let mut request = lab.request();
    request.modules = vec!["xen-blkfront".to_owned()];
    let report = build(&request).unwrap();
    assert!(report.modules.contains(&canonical("xen-blkfront")));
}

#[test]
fn the_kernel_of_an_initrd_is_told_however_it_was_built() {
    let lab = Lab::new();
    write(&lab.dir.path().join("root/sbin/init"), b"");
    for (compression, self_contained) in [
        (Compression::Zstd, false),
        (Compression::Xz, false),
        (Compression::Gzip, false),
        (Compression::None, false),
        (Compression::Zstd, true),
        (Compression::None, true),
    ] {
        let mut request = lab.request();
        request.compression = compression;
        request.self_contained = self_contained;
        request.force = true;
        build(&request).unwrap();
        let version = crate::pair::initrd_version(&request.output).unwrap();
        assert_eq!(version.as_deref(), Some(KERNEL), "{request:?}");
    }
}
