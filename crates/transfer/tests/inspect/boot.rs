//! How the machine starts.

use super::image::*;
use p2v_fixes::machine::BootMode;
use p2v_sys::Cmd;

const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
const CODE: [u8; 440] = [0x90; 440];

/// An ESP, a BIOS boot partition, and a root that mounts the first.
fn machine(esp_line: &str) -> Image {
    let script =
        format!("label: gpt\nsize=40M, type={ESP}\nsize=1M, type={BIOS_BOOT}\nsize=100M\n");
    let image = Image::partitioned(200, &script);
    image
        .make(1, "mkfs.vfat", &["-i", "1234ABCD", "-n", "ESP"])
        .make(3, "mkfs.ext4", &["-q", "-U", UUID]);
    let fstab = format!("UUID={UUID} / ext4\n{esp_line}");
    image.fill(3, "ext4", "", |root| system(root, &fstab));
    image
}

fn add_loader(image: &Image) {
    let start = image.extent(1).offset;
    let at = format!("{}@@{start}", image.path.display());
    let loader = image.directory.path().join("grubx64.efi");
    std::fs::write(&loader, "MZ").unwrap();
    for directory in ["::/EFI", "::/EFI/debian"] {
        let make = Cmd::new("mmd", "making a directory").args(["-i", &at, directory]);
        make.run().unwrap();
    }
    let copy = Cmd::new("mcopy", "copying a loader").args(["-i", &at]);
    copy.arg(&loader).arg("::/EFI/debian").run().unwrap();
}

fn add_boot_code(image: &Image) {
    image.write(&CODE, 0);
    image.write(&CODE, image.extent(2).offset);
}

#[test]
fn loaders_tell() {
    p2v_testing::need_private_mounts!();
    let fstab = "UUID=1234-ABCD /boot/efi vfat umask=0077 0 1\n";
    let image = machine(fstab);
    let source = image.inspected();
    assert_eq!(source.system.boot, BootMode::Bios);
    assert_told(&source.remarks, "no boot loader was found");
    assert_eq!(mounts(area(&source, 1)), ["/boot/efi"]);
    assert!(filesystem(area(&source, 1)).used < MIB);

    add_loader(&image);
    let source = image.inspected();
    assert_eq!(source.system.boot, BootMode::Efi);
    assert_eq!(source.remarks, [""; 0]);

    add_boot_code(&image);
    let source = image.inspected();
    assert_eq!(source.system.boot, BootMode::Efi);
    assert_told(
        &source.remarks,
        "by EFI and by a BIOS; it is taken to start by EFI",
    );

    let image = machine("");
    add_boot_code(&image);
    let source = image.inspected();
    assert_eq!(source.system.boot, BootMode::Bios);
    assert_eq!(source.remarks, [""; 0]);
    add_loader(&image);
    assert_told(&image.inspected().remarks, "it is taken to start by a BIOS");
}

#[test]
fn an_mbr_of_tools_is_no_loader() {
    p2v_testing::need_private_mounts!();
    let image = Image::partitioned(100, "label: dos\nsize=60M\n");
    image.make(1, "mkfs.ext4", &["-q", "-U", UUID]);
    let fstab = format!("UUID={UUID} / ext4\n");
    image.fill(1, "ext4", "", |root| system(root, &fstab));
    image.write(&CODE, 0);
    assert_told(&image.inspected().remarks, "no boot loader was found");
    image.write(b"GRUB", 100);
    assert_eq!(image.inspected().remarks, [""; 0]);
}
