//! Systems that somebody made to mislead whoever looks into them.

use std::path::Path;

use super::image::*;

/// A whole-disk system whose root `work` changes.
fn machine(fstab: &str, work: impl FnOnce(&Path)) -> Image {
    let image = Image::new(64);
    image.make(0, "mkfs.ext4", &["-q", "-F", "-U", UUID]);
    image.fill(0, "ext4", "", |root| {
        system(root, fstab);
        work(root);
    });
    image
}

#[test]
fn links_lead_nowhere_outside() {
    p2v_testing::need_private_mounts!();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let secret = "ID=secret\nHOSTNAME=secret\nPRETTY_NAME=secret\nUUID=x /secret ext4\nsecret\n";
    std::fs::write(outside.path(), secret).unwrap();
    let outside_path = outside.path().to_str().unwrap();
    let up = format!("../../../../../../..{outside_path}");
    for target in [
        outside_path,
        &up,
        "/proc/self/root/etc/hostname",
        "/etc/passwd",
    ] {
        let image = machine(&format!("UUID={UUID} / ext4\n"), |root| {
            for file in [
                "etc/fstab",
                "etc/hostname",
                "etc/os-release",
                "etc/crypttab",
            ] {
                link(target, &root.join(file));
            }
            std::fs::remove_file(root.join("usr/lib/os-release")).unwrap();
            link(target, &root.join("usr/lib/os-release"));
            std::fs::remove_dir_all(root.join("boot")).unwrap();
            link("/etc", &root.join("boot"));
        });
        let source = image.inspected();
        let json = source.to_json();
        assert!(!json.contains("secret"), "{json}");
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        assert_ne!(source.system.hostname.as_deref(), Some(host.trim()));
    }
}

#[test]
fn files_that_are_none_do_not_hold_it_up() {
    p2v_testing::need_private_mounts!();
    let image = machine(&format!("UUID={UUID} / ext4\n"), |root| {
        let fifo = |path: &str| {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.join(path), mode).unwrap();
        };
        fifo("etc/crypttab");
        std::fs::remove_file(root.join("etc/network/interfaces")).unwrap();
        fifo("etc/network/interfaces");
        std::fs::write(root.join("etc/hostname"), vec![b'a'; 17 << 20]).unwrap();
        std::fs::create_dir(root.join("etc/netplan")).unwrap();
        link("loop", &root.join("etc/netplan/loop.yaml"));
        link("loop.yaml", &root.join("etc/netplan/loop"));
        std::fs::create_dir(root.join("etc/netplan/a.yaml")).unwrap();
    });
    let source = image.inspected();
    assert_eq!(source.obstacles, [""; 0]);
    for path in ["/etc/crypttab", "/etc/network/interfaces", "/etc/hostname"] {
        assert_told(&source.remarks, &format!("{path} is not read"));
    }
    assert_eq!(source.system.distribution.as_deref(), Some("debian"));
}

#[test]
fn lines_of_fstab_that_mean_harm() {
    p2v_testing::need_private_mounts!();
    let fstab = format!(
        "UUID={UUID} / ext4 subvol=../..,x 0 1\n\
         UUID={UUID} /etc ext4\n\
         UUID={UUID} /../../../etc ext4\n\
         UUID={UUID} /link ext4\n\
         UUID={UUID} /a\\012b\\033[31m ext4\n\
         UUID={UUID} /home ext4\n\
         UUID={UUID} /home ext4\n\
         LABEL=\\000 /x ext4\n\
         /dev/../etc/passwd /y auto\n\
         \\057dev\\057sda1 /z\\777 ext4\n\
         {} {} {}\n",
        "U".repeat(100_000),
        "/p".repeat(50_000),
        "k".repeat(1000)
    );
    let image = machine(&fstab, |root| link("/../../../tmp", &root.join("link")));
    let source = image.inspected();
    let places = mounts(area(&source, 0));
    assert!(places.contains(&"/".to_owned()));
    assert!(!places.iter().any(|path| path.contains("..")), "{places:?}");
    assert_told(&source.remarks, "more than one device on /home");
    for text in source.obstacles.iter().chain(&source.remarks) {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    let text = p2v_transfer::source::text(&source, p2v_transfer::source::Letters::Ascii);
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn bytes_that_are_no_text() {
    p2v_testing::need_private_mounts!();
    let image = machine("", |root| {
        let mut fstab = b"\xff\xfe / \x80\n".to_vec();
        fstab.extend(format!("UUID={UUID} / ext4\n").into_bytes());
        std::fs::write(root.join("etc/fstab"), fstab).unwrap();
        std::fs::write(root.join("etc/hostname"), b"\xffold\xfe\n").unwrap();
        use std::os::unix::ffi::OsStrExt;
        let odd = std::ffi::OsStr::from_bytes(b"vmlinuz-6\xff");
        std::fs::write(root.join("boot").join(odd), "").unwrap();
    });
    let source = image.inspected();
    assert_eq!(mounts(area(&source, 0)), ["/"]);
    assert_eq!(source.system.kernels.len(), 1);
}
