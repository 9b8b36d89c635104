use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
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
        eprintln!("SKIPPED: cpio is not installed");
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

fn error(request: &InitrdRequest) -> String {
    format!("{:#}", build(request).unwrap_err())
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
        eprintln!("SKIPPED: no modules in {}", root.path().display());
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
fn what_exists_is_replaced_only_by_force() {
    let lab = Lab::new();
    let mut request = lab.request();
    std::fs::write(&request.output, "precious").unwrap();
    assert!(error(&request).contains("it exists; --force replaces it"));
    assert_eq!(std::fs::read(&request.output).unwrap(), b"precious");
    request.force = true;
    build(&request).unwrap();
    assert!(
        std::fs::read(&request.output)
            .unwrap()
            .starts_with(b"070701")
    );
    assert_eq!(lab.boot(), ["initrd.img"]);

    let elsewhere = lab.dir.path().join("elsewhere");
    std::fs::write(&elsewhere, "precious").unwrap();
    std::fs::remove_file(&request.output).unwrap();
    symlink(&elsewhere, &request.output).unwrap();
    build(&request).unwrap();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"precious");
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_any_work() {
    let lab = Lab::new();
    // Would fail if it were read.
    std::fs::remove_dir_all(lab.modules().join("kernel")).unwrap();
    let boot = lab.dir.path().join("boot");
    let table = [
        (boot.clone(), "it is not a regular file"),
        ("/dev/null".into(), "it is not a regular file"),
        (boot.join("none/initrd.img"), "creating a file in"),
        ("/proc/initrd.img".into(), "creating a file in /proc"),
        (boot.join(".."), "the path names no file"),
    ];
    for (output, expected) in table {
        let mut request = lab.request();
        request.force = true;
        request.output = output;
        let error = error(&request);
        assert!(error.contains(expected), "{error}");
    }
    assert!(lab.boot().is_empty());
}

#[test]
fn a_kernel_without_modules_is_refused() {
    let lab = Lab::new();
    let table = [
        ("6.1.0-other", "take one of those there: 6.1.0-test"),
        ("", "is not a kernel's version"),
        ("..", "is not a kernel's version"),
        (".", "is not a kernel's version"),
        ("../modules/6.1.0-test", "is not a kernel's version"),
        ("6.1.0-test/", "is not a kernel's version"),
    ];
    for (kernel, expected) in table {
        let mut request = lab.request();
        request.kernel = kernel.to_owned();
        let error = error(&request);
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_file(lab.modules().join("modules.dep")).unwrap();
    assert!(error(&lab.request()).contains("run depmod for this kernel"));
    std::fs::remove_dir_all(lab.dir.path().join("root/usr/lib/modules")).unwrap();
    assert!(error(&lab.request()).contains("no other kernel's either"));
    assert!(lab.boot().is_empty());
}

#[test]
fn unknown_modules_are_named() {
    let lab = Lab::new();
    let mut request = lab.request();
    request.modules = ["one", "zfs", "8250", "ntfs-9"].map(str::to_owned).into();
    assert!(error(&request).contains("there is no module zfs, nor ntfs-9: take"));
    assert!(lab.boot().is_empty());
}

#[test]
fn damaged_modules_and_indexes_are_named_and_leave_nothing() {
    let lab = Lab::new();
    let ext4 = lab.modules().join("kernel/fs/ext4/ext4.ko.xz");
    let mut bytes = std::fs::read(&ext4).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&ext4, &bytes).unwrap();
    assert!(error(&lab.request()).contains("ext4.ko.xz"));
    std::fs::write(&ext4, "").unwrap();
    assert!(error(&lab.request()).contains("ext4.ko.xz: not a kernel module"));
    std::fs::remove_file(&ext4).unwrap();
    assert!(error(&lab.request()).contains("module ext4, which modules.dep names"));
    let texts = fixture::texts();
    let dep = lab.modules().join("modules.dep");
    let without_jbd2 = texts.dep.replace("kernel/fs/jbd2/jbd2.ko:\n", "");
    std::fs::write(&dep, without_jbd2).unwrap();
    assert!(error(&lab.request()).contains("module ext4 needs jbd2"));
    std::fs::write(&dep, "kernel/ext4: none\n").unwrap();
    assert!(error(&lab.request()).contains("modules.dep, line 1"));
    assert!(lab.boot().is_empty());
}

#[test]
fn a_guests_paths_lead_neither_out_of_its_root_nor_into_init() {
    let lab = Lab::new();
    let secret = lab.dir.path().join("secret.ko");
    std::fs::write(&secret, "\x7fELF secret").unwrap();
    let virtio = lab.modules().join("kernel/drivers/virtio/virtio.ko");
    std::fs::remove_file(&virtio).unwrap();
    symlink(&secret, &virtio).unwrap();
    assert!(error(&lab.request()).contains("reading module virtio"));

    let dep = fixture::texts().dep + "../../../xfs.ko:\n";
    std::fs::write(lab.modules().join("modules.dep"), dep).unwrap();
    write(&virtio, b"");
    std::fs::remove_file(&virtio).unwrap();
    write(&virtio, &contents("kernel/drivers/virtio/virtio.ko"));
    assert!(error(&lab.request()).contains("module xfs: its path in modules.dep leads elsewhere"));
    assert!(lab.boot().is_empty());
}

#[test]
fn modules_that_would_fill_the_memory_are_refused() {
    let lab = Lab::new();
    let root = Root::open(&lab.request().root).unwrap();
    let dir = Path::new("usr/lib/modules").join(KERNEL);
    let index = Index::read(&root, &dir).unwrap();
    let modules: Vec<_> = index.modules().collect();
    let length: usize = modules.iter().map(|m| contents(&m.path).len()).sum();
    let read = |most| module_file::read_at_most(most, &root, &dir, &modules);
    assert_eq!(read(length as u64).unwrap().len(), modules.len());
    let error = read(length as u64 - 1).unwrap_err().to_string();
    assert!(error.contains("more than 0 MiB together"), "{error}");
}

#[test]
fn an_init_that_could_not_start_is_refused() {
    let lab = Lab::new();
    let mut request = lab.request();
    let script = lab.dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    request.init_binary = script;
    assert!(error(&request).contains("it is not a 64-bit ELF program"));
    // The tests are linked as the program is: statically.
    let ours = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(needs_interpreter(&ours), Some(false));
    request.init_binary = "/bin/true".into();
    assert!(error(&request).contains("not statically linked"));
    request.init_binary = lab.dir.path().join("none");
    assert!(error(&request).contains("which becomes /init"));
    assert!(lab.boot().is_empty());
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
