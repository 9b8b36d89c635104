//! Plans, as tables: partitions in MiB, before and after.

use super::*;

const MIB: u64 = 1 << 20;

/// `5 ext4 22+100`: number, content, first MiB and length; `extended` is one
/// content, `-` an unknown one. ` used N` tells how many MiB are in use.
fn manifest(label: &str, disk: u64, partitions: &str) -> Manifest {
    let mut table = Table {
        label: label.to_owned(),
        id: None,
        sector_size: 512,
        first_lba: (label == "gpt").then_some(2048),
        partitions: Vec::new(),
    };
    let mut areas = vec![Area {
        length: MIB,
        ..area(AreaRole::BootArea, None, 0..1, 1)
    }];
    for line in partitions
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        let number = words[0].parse().unwrap();
        let (start, length) = words[2].split_once('+').unwrap();
        let (start, length): (u64, u64) = (start.parse().unwrap(), length.parse().unwrap());
        table.partitions.push(Entry {
            number,
            start: start * 2048,
            size: length * 2048,
            kind: if words[1] == "extended" { "5" } else { "83" }.to_owned(),
            uuid: None,
            name: None,
            attributes: None,
            bootable: false,
        });
        if words[1] != "extended" {
            let used = words.get(4).map_or(length, |used| used.parse().unwrap());
            let content = Some(words[1]).filter(|content| *content != "-");
            let role = AreaRole::Partition(number);
            areas.push(area(role, content, start..start + length, used));
        }
    }
    Manifest {
        writer: "test".to_owned(),
        disk_size: disk * MIB,
        sector_size: 512,
        table: Some(table),
        areas,
    }
}

fn area(role: AreaRole, content: Option<&str>, place: Range<u64>, used: u64) -> Area {
    Area {
        role,
        offset: place.start * MIB,
        length: (place.end - place.start) * MIB,
        content: content.map(str::to_owned),
        uuid: None,
        label: None,
        used: used * MIB,
        whole_because: None,
    }
}

fn new_disk(mib: u64) -> NewDisk {
    NewDisk {
        size: mib * MIB,
        sector_size: 512,
    }
}

/// The new table as `number start+length`, in MiB rounded down, and what is
/// resized or said.
fn planned(manifest: &Manifest, disk: u64) -> String {
    let fit = match Fit::plan(manifest, new_disk(disk)) {
        Ok(fit) => fit,
        Err(error) => return format!("{error:#}"),
    };
    let table = fit.table.as_ref().unwrap();
    for (area, place) in manifest.areas.iter().zip(&fit.places) {
        if let AreaRole::Partition(number) = area.role {
            let entry = table.partitions.iter().find(|entry| entry.number == number);
            assert_eq!(*place, bytes(entry.unwrap(), table));
            assert!(place.end <= disk * MIB);
        }
    }
    let mut text: Vec<String> = table
        .partitions
        .iter()
        .map(|entry| {
            format!(
                "{} {}+{}",
                entry.number,
                entry.start / 2048,
                entry.size / 2048
            )
        })
        .collect();
    if let Some(resize) = fit.resize {
        text.push(format!(
            "{:?} {}",
            resize.how,
            manifest.areas[resize.area].name()
        ));
    }
    text.extend(fit.remark);
    text.join(", ")
}

#[test]
fn the_last_filesystem_grows_and_swap_keeps_its_place_at_the_end() {
    let logical = "1 ext2 1+20\n2 extended 21+179\n5 ext4 22+160\n6 swap 185+15";
    let swap_alone = "1 xfs 1+150\n2 extended 152+48\n5 swap 153+40";
    let table = [
        // The same size: not a sector moves.
        ("dos", 200, "1 ext4 1+150", 200, "1 1+150"),
        (
            "dos",
            200,
            "1 ext4 1+199",
            300,
            "1 1+299, Grow partition 1 (ext4)",
        ),
        // What was free at the end is used too.
        (
            "dos",
            200,
            "1 ext4 1+150",
            300,
            "1 1+299, Grow partition 1 (ext4)",
        ),
        (
            "dos",
            200,
            "1 btrfs 1+150\n2 swap 160+40",
            300,
            "1 1+250, 2 260+40, Grow partition 1 (btrfs)",
        ),
        (
            "dos",
            200,
            logical,
            300,
            "1 1+20, 2 21+279, 5 22+260, 6 285+15, Grow partition 5 (ext4)",
        ),
        (
            "dos",
            200,
            swap_alone,
            300,
            "1 1+250, 2 252+48, 5 253+40, Grow partition 1 (xfs)",
        ),
        // A GPT ends with its backup; the numbers need not be in order.
        (
            "gpt",
            200,
            "14 - 1+1\n15 vfat 2+60\n1 ext4 62+137",
            300,
            "14 1+1, 15 2+60, 1 62+237, Grow partition 1 (ext4)",
        ),
        (
            "gpt",
            200,
            "1 ext4 1+100\n2 LVM2_member 101+98",
            300,
            "1 1+100, 2 101+98, partition 2 (LVM2_member) is the last, and it cannot grow",
        ),
        (
            "dos",
            200,
            "1 ext4 1+100\n2 swap 101+20\n3 - 121+79",
            300,
            "1 1+100, 2 101+20, 3 121+79, partition 3 (unknown content) is the last, and it \
             cannot grow",
        ),
        (
            "dos",
            200,
            "1 swap 1+100",
            300,
            "1 1+100, no partition holds a filesystem",
        ),
        (
            "dos",
            200,
            "1 ext4 1+100\n2 ext4 50+150",
            300,
            "1 1+100, 2 50+150, its partitions lie in each other",
        ),
        (
            "dos",
            2 << 20,
            "1 ext4 1+2097151",
            3 << 20,
            "1 1+2097151, an MBR reaches no further",
        ),
        (
            "dos",
            1 << 20,
            "1 ext4 1+100",
            3 << 20,
            "1 1+2097150, Grow partition 1 (ext4)",
        ),
        ("dos", 200, "", 300, "no partition holds a filesystem"),
    ];
    for (label, size, partitions, disk, expected) in table {
        let manifest = manifest(label, size, partitions);
        assert_eq!(planned(&manifest, disk), expected, "{partitions}");
    }
}

#[test]
fn free_space_goes_first_then_swap_moves_then_the_last_filesystem_shrinks() {
    let logical = "1 ext2 1+20\n2 extended 21+179\n5 ext4 22+160 used 30\n6 swap 185+15";
    let swap_alone = "1 ext4 1+140 used 50\n2 extended 150+50\n5 swap 151+40";
    let table = [
        ("dos", "1 xfs 1+100", 150, "1 1+100"),
        (
            "dos",
            "1 ext4 1+100\n2 extended 110+90\n5 xfs 111+20",
            150,
            "1 1+100, 2 110+40, 5 111+20",
        ),
        (
            "dos",
            "1 xfs 1+100\n2 swap 160+40",
            150,
            "1 1+100, 2 110+40",
        ),
        (
            "dos",
            "1 ext4 1+100 used 50\n2 swap 160+40",
            130,
            "1 1+89, 2 90+40, Shrink partition 1 (ext4)",
        ),
        (
            "dos",
            "1 ext4 1+199 used 90",
            150,
            "1 1+149, Shrink partition 1 (ext4)",
        ),
        (
            "gpt",
            "1 ext3 1+198 used 90",
            150,
            "1 1+148, Shrink partition 1 (ext3)",
        ),
        (
            "dos",
            logical,
            150,
            "1 1+20, 2 21+129, 5 22+112, 6 135+15, Shrink partition 5 (ext4)",
        ),
        ("dos", swap_alone, 185, "1 1+140, 2 144+41, 5 145+40"),
        (
            "dos",
            swap_alone,
            150,
            "1 1+108, 2 109+41, 5 110+40, Shrink partition 1 (ext4)",
        ),
        (
            "dos",
            "1 ext4 1+199 used 190",
            150,
            "this disk has 150 MiB, and at least 191 MiB are needed: 190 MiB of partition 1 \
             (ext4) are in use",
        ),
        (
            "dos",
            "1 xfs 1+159\n2 swap 160+40",
            150,
            "this disk has 150 MiB, and 200 MiB are needed for partition 1 (xfs): XFS cannot \
             shrink",
        ),
        (
            "dos",
            "1 ext4 1+50\n2 LVM2_member 51+149",
            150,
            "this disk has 150 MiB, and 200 MiB are needed for partition 2 (LVM2_member): only \
             ext2, ext3, ext4 and btrfs can be shrunk",
        ),
        (
            "dos",
            "1 swap 1+199",
            150,
            "this disk has 150 MiB, too few for its swap areas",
        ),
        (
            "dos",
            "1 ext4 1+100\n2 ext4 50+150",
            150,
            "its partitions lie in each other, and none can move",
        ),
        (
            "dos",
            "1 ext4 1+199 used 1",
            1,
            "this disk has 1 MiB, and at least 2 MiB are needed: 1 MiB of partition 1 (ext4) are \
             in use",
        ),
    ];
    for (label, partitions, disk, expected) in table {
        let manifest = manifest(label, 200, partitions);
        assert_eq!(planned(&manifest, disk), expected, "{partitions} to {disk}");
    }
}

/// No size of a disk breaks the arithmetic, nor puts a partition elsewhere
/// than in its container and clear of the others.
#[test]
fn partitions_stay_apart_on_a_disk_of_any_size() {
    let layouts = [
        "1 ext2 1+20\n2 extended 21+170\n5 ext4 22+150 used 9\n6 swap 175+10",
        "1 ext4 1+140 used 50\n2 extended 150+50\n5 swap 151+20\n6 swap 172+20",
        "1 ext4 1+90 used 50\n2 extended 91+50\n5 ext4 92+20 used 1\n3 swap 150+20",
    ];
    for partitions in layouts {
        let manifest = manifest("dos", 200, partitions);
        for disk in (0..400 * 2048).step_by(777) {
            let disk = NewDisk {
                size: disk * 512,
                sector_size: 512,
            };
            let Ok(fit) = Fit::plan(&manifest, disk) else {
                continue;
            };
            let table = fit.table.unwrap();
            let is_apart = Manifest {
                table: Some(table.clone()),
                ..manifest.clone()
            };
            let view = Partitions::new(&is_apart, &table, disk);
            assert!(!view.overlap(), "{partitions} to {disk:?}: {table:?}");
            assert!(
                table
                    .partitions
                    .iter()
                    .all(|entry| entry.end() * 512 <= disk.size)
            );
        }
    }
}

#[test]
fn a_disk_without_partitions_is_its_filesystem() {
    let of = |content: &str, used: u64, disk: u64| {
        let all = area(AreaRole::WholeDisk, Some(content), 0..200, used);
        let manifest = Manifest {
            table: None,
            areas: vec![all],
            ..manifest("dos", 200, "")
        };
        match Fit::plan(&manifest, new_disk(disk)) {
            Ok(fit) => format!(
                "{:?} {:?} {:?}",
                fit.places[0].end / MIB,
                fit.resize.map(|r| r.how),
                fit.remark
            ),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(of("ext4", 9, 200), "200 None None");
    assert_eq!(of("xfs", 9, 300), "300 Some(Grow) None");
    assert_eq!(of("ext2", 9, 100), "100 Some(Shrink) None");
    assert!(of("btrfs", 9, 100).contains("256 MiB are needed"));
    assert!(of("LVM2_member", 200, 300).contains("cannot grow"));
    let text = of("xfs", 9, 100);
    assert_eq!(
        text,
        "this disk has 100 MiB, and 200 MiB are needed for the whole disk (xfs): XFS cannot shrink"
    );
}

#[test]
fn sectors_of_another_size_and_strange_manifests_are_refused() {
    let good = manifest("dos", 200, "1 ext4 1+199");
    let disk = NewDisk {
        size: 200 * MIB,
        sector_size: 4096,
    };
    let text = Fit::plan(&good, disk).unwrap_err().to_string();
    assert!(text.contains("512") && text.contains("4096"), "{text}");
    let strange: [fn(&mut Manifest); 6] = [
        |manifest| manifest.areas[1].offset = u64::MAX,
        |manifest| manifest.areas[1].length -= 512,
        |manifest| manifest.areas[1].role = AreaRole::WholeDisk,
        |manifest| manifest.areas[1].role = AreaRole::Partition(2),
        |manifest| manifest.areas[0].length = 17 * MIB,
        |manifest| manifest.sector_size = 4096,
    ];
    for change in strange {
        let mut manifest = good.clone();
        change(&mut manifest);
        Fit::plan(&manifest, new_disk(200)).unwrap_err();
    }
    Fit::plan(&good, new_disk(200)).unwrap();
}
