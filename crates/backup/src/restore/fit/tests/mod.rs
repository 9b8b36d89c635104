//! Plans, as tables: partitions in MiB, before and after.

mod larger;
mod smaller;

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
