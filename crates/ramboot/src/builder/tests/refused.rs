//! What no initrd is built from or onto: the message, and no file that stays.

use std::os::unix::fs::symlink;

use super::*;

fn error(request: &InitrdRequest) -> String {
    format!("{:#}", build(request).unwrap_err())
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
