//! Created disks in virtual machines: each way to boot and each filesystem
//! once, to a root in RAM, a free disk and a login; and the boots that must
//! stop, with the reason on the console.

use std::path::Path;
use std::time::Duration;

use p2v_sys::Mount;
use p2v_sys::loopdev::LoopDevice;
use p2v_tests::image;
use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ram_system;
use p2v_tests::ssh::Ssh;
use p2v_tests::{Created, GIB, Instance, Lab, need_root};

/// Ten times what an idle machine with two cores needs.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// For a boot that stops before the root is copied.
const LONGEST_FAILURE: Duration = Duration::from_secs(120);

/// As Ganeti's kernel_path, root_path and kernel_args make it.
const GANETIS_COMMAND_LINE: &str = "root=/dev/vda1 ro console=ttyS0,38400";

#[test]
fn msdos_ext4_from_its_own_boot_loader() {
    need_root!();
    let lab = Lab::new("boot-msdos").unwrap();
    let created = create(&lab, "msdos", "ext4");
    boots_into_ram(&lab, &created, Boot::Bios);
}

#[test]
fn gpt_xfs_by_bios() {
    need_root!();
    let lab = Lab::new("boot-gpt-bios").unwrap();
    let created = create(&lab, "gpt", "xfs");
    boots_into_ram(&lab, &created, Boot::Bios);
}

#[test]
fn gpt_ext4_by_efi() {
    need_root!();
    let lab = Lab::new("boot-gpt-efi").unwrap();
    let created = create(&lab, "gpt", "ext4");
    boots_into_ram(&lab, &created, Boot::Efi);
}

#[test]
fn msdos_btrfs_from_its_own_boot_loader() {
    need_root!();
    let lab = Lab::new("boot-btrfs").unwrap();
    let created = create(&lab, "msdos", "btrfs");
    boots_into_ram(&lab, &created, Boot::Bios);
}

#[test]
fn msdos_ext2_from_its_own_boot_loader() {
    need_root!();
    let lab = Lab::new("boot-ext2").unwrap();
    let created = create(&lab, "msdos", "ext2");
    boots_into_ram(&lab, &created, Boot::Bios);
}

#[test]
fn msdos_ext3_by_a_kernel_from_the_node() {
    need_root!();
    let lab = Lab::new("boot-direct").unwrap();
    let created = create(&lab, "msdos", "ext3");
    let boot = created.direct_boot(&lab, GANETIS_COMMAND_LINE).unwrap();
    boots_into_ram(&lab, &created, boot);
}

#[test]
fn a_self_contained_initrd_needs_no_disk() {
    need_root!();
    let lab = Lab::new("boot-self-contained").unwrap();
    let created = create(&lab, "msdos", "ext4");
    let boot = created.self_contained_boot(&lab).unwrap();
    let blank = lab.disk("blank.img", GIB).unwrap();
    is_ready_in_ram(&lab, &created, &MachineSpec::new(boot, &blank), "unpacked ");
}

#[test]
fn too_little_ram_says_how_much_is_missing_before_copying() {
    need_root!();
    let lab = Lab::new("boot-small").unwrap();
    let created = create(&lab, "msdos", "ext4");
    let append = format!("{GANETIS_COMMAND_LINE} ramboot.onerror=poweroff");
    let boot = created.direct_boot(&lab, &append).unwrap();
    let spec = MachineSpec::new(boot, &created.disk).memory(256);
    let said = stops(&lab, &spec, "guest-shutdown");
    assert!(said.contains("MB missing"), "{said}");
    assert!(said.contains("MB available"), "{said}");
    assert!(said.contains("switching off"), "{said}");
    let machine = said.contains("copied ");
    assert!(!machine, "it copied all the same: {said}");
}

#[test]
fn a_root_that_is_not_there_is_named_with_what_is_and_the_machine_reboots() {
    need_root!();
    let lab = Lab::new("boot-wrong-root").unwrap();
    let created = create(&lab, "msdos", "ext4");
    let append = "root=/dev/vdz9 ro console=ttyS0,38400 ramboot.timeout=3 ramboot.onerror=reboot";
    let boot = created.direct_boot(&lab, append).unwrap();
    let spec = MachineSpec::new(boot, &created.disk);
    let said = stops(&lab, &spec, "guest-reset");
    for words in ["/dev/vdz9", "3 s", "vda1", "rebooting"] {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
}

#[test]
fn an_unfinished_root_is_not_booted_and_the_machine_waits() {
    need_root!();
    let lab = Lab::new("boot-unfinished").unwrap();
    let created = create(&lab, "msdos", "ext4");
    mark_unfinished(&lab, &created);
    let append = format!("{GANETIS_COMMAND_LINE} ramboot.onerror=wait");
    let boot = created.direct_boot(&lab, &append).unwrap();
    let spec = MachineSpec::new(boot, &created.disk);
    let mut machine = Machine::start(&spec, lab.dir()).unwrap();
    let console = machine.console().clone();
    console.expect("p2v: error: ", LONGEST_FAILURE).unwrap();
    console.expect("stopped here", LONGEST_FAILURE).unwrap();
    assert!(console.text().contains("reinstall"), "{}", console.tail());
    let ended = machine.wait_for_end(Duration::from_secs(8));
    assert!(ended.is_err(), "it did not wait: {ended:?}");
}

#[test]
fn a_disk_whose_making_failed_does_not_boot() {
    need_root!();
    let lab = Lab::new("boot-failed").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new("failed.example.org", &disk);
    // A good one first: its boot code must not outlive the failure.
    Created::make(&lab, &instance).unwrap();
    lab.hook("25-break", "#!/bin/sh\nexit 1\n").unwrap();
    let outcome = lab.create(&instance).unwrap();
    outcome.assert_refused(&["25-break"]);
    let machine = Machine::start(&MachineSpec::new(Boot::Bios, &disk), lab.dir()).unwrap();
    // SeaBIOS speaks on the screen only; a kernel or GRUB would be heard here.
    let heard = machine.console().expect_any(
        &["GRUB", "Booting", "Linux version"],
        Duration::from_secs(20),
    );
    assert!(heard.is_err(), "something booted: {heard:?}");
}

fn create(lab: &Lab, style: &str, filesystem: &str) -> Created {
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let instance = Instance::new("booted.example.org", &disk)
        .parameter("partition_style", style)
        .parameter("filesystem", filesystem);
    Created::make(lab, &instance).unwrap()
}

/// The promises of a RAM system, from the console and over SSH.
fn boots_into_ram(lab: &Lab, created: &Created, boot: Boot) {
    let spec = MachineSpec::new(boot, &created.disk);
    is_ready_in_ram(lab, created, &spec, "disk released: ");
}

/// The same of a machine with other disks than the instance's; `said` is what
/// must be on the console.
fn is_ready_in_ram(lab: &Lab, created: &Created, spec: &MachineSpec, said: &str) {
    let disk = &spec.disks[0];
    let before = image::hash(disk).unwrap();
    let mut machine = Machine::start(spec, lab.dir()).unwrap();
    machine.wait_for_ssh(LONGEST_BOOT).unwrap();
    let console = machine.console().clone();
    console.expect(said, LONGEST_BOOT).unwrap();
    console.expect("p2v: ready", LONGEST_BOOT).unwrap();
    let text = console.text();
    for (fingerprint, _) in created.host_keys() {
        assert!(
            text.contains(&fingerprint),
            "{fingerprint} is not on the console"
        );
    }
    let ssh = Ssh::new(machine.ssh_port(), lab.key(), &lab.state_of(&created.name)).unwrap();
    ram_system::check_released(&ssh).unwrap();
    assert_eq!(ssh.run("hostname --fqdn").unwrap(), created.name);
    assert!(!ssh.offers_password().unwrap(), "it takes passwords");
    let failed = ssh.run("systemctl --failed --no-legend --plain").unwrap();
    assert_eq!(failed, "", "units failed");
    assert_eq!(
        image::hash(disk).unwrap(),
        before,
        "the boot wrote to the disk"
    );
    ram_system::rewrite_disk(&ssh).unwrap();
    machine.press_power_button().unwrap();
    let ended = machine.wait_for_end(LONGEST_FAILURE).unwrap();
    assert_eq!(ended, "guest-shutdown", "{}", console.tail());
    drop(machine);
    lab.assert_nothing_left();
}

/// Waits until the machine has given up, in the expected way, and returns the
/// console's line that says why.
fn stops(lab: &Lab, spec: &MachineSpec, reason: &str) -> String {
    let mut machine = Machine::start(spec, lab.dir()).unwrap();
    let console = machine.console().clone();
    console.expect("p2v: error: ", LONGEST_FAILURE).unwrap();
    let ended = machine.wait_for_end(LONGEST_FAILURE).unwrap();
    let text = console.text();
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("p2v: error: "))
        .collect();
    assert_eq!(errors.len(), 1, "not one clear line: {errors:?}");
    assert_eq!(ended, reason, "{}", console.tail());
    errors[0].to_owned()
}

fn mark_unfinished(lab: &Lab, created: &Created) {
    let extent = created.root_extent().unwrap();
    let device = LoopDevice::attach(&created.disk, extent, false).unwrap();
    let point = lab.dir().join("unfinished");
    std::fs::create_dir(&point).unwrap();
    let flags = nix::mount::MsFlags::empty();
    let mount = Mount::new(device.path(), &point, "ext4", flags, "").unwrap();
    touch(&point.join(image::INCOMPLETE));
    mount.close().unwrap();
    device.close().unwrap();
}

fn touch(path: &Path) {
    std::fs::write(path, "").unwrap();
}
