//! From a disk's image to the plan, and from the plan to disks as planned: what
//! is found on a real layout can be carried out, larger and smaller.

use std::path::Path;

use p2v_sys::partition::table::Table;
use p2v_sys::{Cmd, LoopDevice};
use p2v_transfer::format::{Format, make_swap};
use p2v_transfer::plan::{Fill, Plan, Wishes, derive};
use p2v_transfer::source::OpenSource;

use crate::{MIB, target};

fn run(line: &str, at: &Path) {
    let mut words = line.split_whitespace();
    let command = Cmd::new(words.next().unwrap(), line).args(words);
    command.arg(at).run().unwrap();
}

/// The system of a machine.
fn system(tree: &Path) {
    for path in [
        "etc",
        "boot",
        "lib/modules/6.1.0-18-amd64",
        "sbin",
        "usr/lib",
    ] {
        std::fs::create_dir_all(tree.join(path)).unwrap();
    }
    let write = |path: &str, text: &str| std::fs::write(tree.join(path), text).unwrap();
    write(
        "etc/fstab",
        "LABEL=root / ext4 defaults 0 1\nLABEL=boot /boot ext2 defaults\n/dev/sda6 /home ext4\n\
         LABEL=pause none swap sw\n",
    );
    write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian 12\"\n");
    write("etc/hostname", "web1\n");
}

/// A machine of a boot partition, a root, swap and logical ones.
fn machine(directory: &Path) -> std::path::PathBuf {
    let tree = directory.join("tree");
    system(&tree);
    let path = directory.join("disk");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1200 * MIB).unwrap();
    let table = "label: dos\nlabel-id: 0x1234abcd\n\
                 1 : start=63, size=131009, type=83, bootable\n\
                 2 : start=131072, size=1024000, type=83\n\
                 4 : start=1155072, size=1302528, type=5\n\
                 5 : start=1157120, size=204800, type=82\n\
                 6 : start=1363968, size=1024000, type=83\n";
    let write = Cmd::new("sfdisk", "writing a table").arg("-q").arg(&path);
    write.stdin(table).run().unwrap();
    let root = format!("mke2fs -q -F -t ext4 -L root -d {}", tree.display());
    for (line, number) in [
        ("mke2fs -q -F -t ext2 -I 128 -L boot", 1),
        (&root, 2),
        ("mkswap -q -L pause", 5),
        ("mke2fs -q -F -t ext3 -L home", 6),
    ] {
        let table = Table::read(&path).unwrap().unwrap();
        let mut entries = table.partitions.iter();
        let entry = entries.find(|entry| entry.number == number).unwrap();
        let device = LoopDevice::attach(&path, entry.extent(512), false).unwrap();
        run(line, device.path());
        device.close().unwrap();
    }
    path
}

/// Does what an agent does, on an image.
fn carry_out(plan: &Plan, size: u64) {
    let image = p2v_testing::image(size);
    let planned = &plan.disks[0];
    let table = planned.table.as_ref().unwrap();
    table.write(image.path()).unwrap();
    let found = Table::read(image.path()).unwrap().unwrap();
    assert_eq!(found.id, table.id);
    for volume in &planned.volumes {
        let entry = found
            .partitions
            .iter()
            .find(|it| it.number == volume.number);
        let extent = entry.unwrap().extent(512);
        assert_eq!(extent.length, volume.size);
        let device = LoopDevice::attach(image.path(), extent, false).unwrap();
        match &volume.fill {
            Fill::Files { format, .. } => {
                format.make(device.path(), &volume.identity).unwrap();
                let made = Format::of(image.path(), extent, &format.kind).unwrap();
                assert_eq!(made.value("-O"), format.value("-O"));
                run("e2fsck -f -n", device.path());
            }
            Fill::Swap => make_swap(device.path(), &volume.identity).unwrap(),
            other => panic!("{other:?}"),
        }
        device.close().unwrap();
    }
    let labels = [1, 2, 5, 6].map(|number| {
        let entry = found.partitions.iter().find(|it| it.number == number);
        let extent = entry.unwrap().extent(512);
        match p2v_sys::filesystem::probe(image.path(), extent).unwrap() {
            p2v_sys::filesystem::Content::Known(found) => found.label.unwrap(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(labels, ["boot", "root", "pause", "home"]);
}

#[test]
fn a_disk_that_was_inspected_is_planned_and_made() {
    p2v_testing::need_private_mounts!();
    let directory = tempfile::tempdir().unwrap();
    let path = machine(directory.path());
    let open = OpenSource::open(&[path]).unwrap();
    let source = open.source.clone();
    for size in [500 * MIB, 1200 * MIB, 4000 * MIB] {
        let target = target(size);
        let plan = derive(&source, &target, &Wishes::default()).unwrap();
        assert_eq!(plan.faults(&source, &target), Vec::<String>::new());
        let mounts = plan.volumes().map(|(_, volume)| match &volume.mounts[..] {
            [] => "",
            [point, ..] => &point.path,
        });
        assert_eq!(mounts.collect::<Vec<_>>(), ["/boot", "/", "", "/home"]);
        carry_out(&plan, size);
        let file = directory.path().join("plan.json");
        plan.save(&file).unwrap();
        assert_eq!(Plan::load(&file).unwrap().id(), plan.id());
    }
    open.close().unwrap();
}
