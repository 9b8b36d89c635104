//! What an import needs of the kernel that not every machine with tests gives:
//! inside a virtual machine with Debian's own kernel, on a disk of its own.

use std::time::Duration;

use p2v_tests::qemu::{Boot, Machine, MachineSpec};
use p2v_tests::ssh::Ssh;
use p2v_tests::{Created, GIB, Instance, Lab, need_root};

/// Ten times what an idle machine with two cores needs.
const LONGEST_BOOT: Duration = Duration::from_secs(300);

/// Makes a filesystem in an image, exports it, and imports it to the disk that
/// the RAM system has let go, which is larger. Prints the filesystem's size in
/// KiB, and what tells its files from others.
const GROW: &str = r#"
set -eu
cd /root
truncate -s 100M small.img
mkfs.ext4 -q small.img
mkdir -p old new
mount -o loop small.img old
cp -a /etc old/
list() { (cd "$1" && find . -path ./lost+found -o -type f -print0 | sort -z | xargs -0 sha256sum); }
list old > before
umount old
export OS_API_VERSION=20 OS_NAME=p2v-target OS_VARIANT=default INSTANCE_OS=p2v-target+default
export INSTANCE_NAME=web1.example.org HYPERVISOR=kvm NIC_COUNT=0 DISK_COUNT=1 DISK_0_ACCESS=rw
export DISK_0_PATH=/dev/vda EXPORT_INDEX=0 EXPORT_DEVICE=/root/small.img IMPORT_INDEX=0 IMPORT_DEVICE=/dev/vda
p2v export > stream 2> export.log || { cat export.log; exit 1; }
p2v import < stream 2> import.log || { cat import.log; exit 1; }
e2fsck -fn /dev/vda > check.log 2>&1 || { cat check.log; exit 1; }
mount -o ro /dev/vda new
list new > after
cmp before after
df --output=size new | tail -n 1
wc -l < after
cat import.log
"#;

#[test]
fn a_filesystem_without_a_partition_grows_while_it_is_mounted() {
    need_root!();
    let lab = Lab::new("import-stock-kernel").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let created = Created::make(&lab, &Instance::new("grown.example.org", &disk)).unwrap();
    let spec = MachineSpec::new(Boot::Bios, &created.disk).volatile();
    let mut machine = Machine::start(&spec, lab.dir()).unwrap();
    machine.wait_for_ssh(LONGEST_BOOT).unwrap();
    let state = lab.state_of(&created.name);
    let ssh = Ssh::new(machine.ssh_port(), lab.key(), &state).unwrap();
    let said = ssh.run(GROW).unwrap();
    let mut lines = said.lines().map(str::trim);
    let size: u64 = lines.next().unwrap().parse().unwrap();
    let files: u64 = lines.next().unwrap().parse().unwrap();
    assert!(size > 1_800_000, "it has {size} KiB: {said}");
    assert!(files > 100, "{said}");
    assert!(said.contains("has grown from 100 to 2048 MiB"), "{said}");
    drop(machine);
    lab.assert_nothing_left();
}
