//! Tables that sfdisk made, written again; and a stranger's.

use super::*;

fn disk(script: &str) -> tempfile::NamedTempFile {
    let image = p2v_testing::image(200 << 20);
    let make = Cmd::new("sfdisk", "making a table").arg("--quiet");
    make.arg(image.path()).stdin(script).run().unwrap();
    image
}

fn copied(table: &Table, size: u64) -> Table {
    let image = p2v_testing::image(size);
    table.write(image.path()).unwrap();
    Table::read(image.path()).unwrap().unwrap()
}

#[test]
fn logical_partitions_and_gaps_come_back() {
    let image = disk(
        "label: dos\nlabel-id: 0x12345678\n1 : start=2048, size=20480, type=83, bootable\n\
         2 : start=40960, size=300000, type=5\n5 : start=43008, size=20480, type=82\n\
         6 : start=65536, size=20480, type=83\n",
    );
    let table = Table::read(image.path()).unwrap().unwrap();
    assert_eq!(table.id.as_deref(), Some("0x12345678"));
    let numbers: Vec<_> = table.partitions.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 2, 5, 6]);
    assert!(table.partitions[0].bootable && table.partitions[1].is_extended());
    assert_eq!(copied(&table, 200 << 20), table);
    assert_eq!(copied(&table, 300 << 20), table);
}

#[test]
fn names_attributes_and_numbers_of_a_gpt_come_back() {
    let image = disk(
        "label: gpt\n1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, \
         name=\"a \\x22b\\x22 $(id)\"\n3 : start=8192, size=20480, \
         attrs=\"RequiredPartition LegacyBIOSBootable GUID:63\"\n",
    );
    let table = Table::read(image.path()).unwrap().unwrap();
    assert_eq!(table.partitions[0].name.as_deref(), Some("a \"b\" $(id)"));
    assert_eq!(table.partitions[1].number, 3);
    assert!(table.partitions[1].attributes.is_some());
    assert_eq!(copied(&table, 200 << 20), table);
    assert_eq!(copied(&table, 300 << 20), table);
}

#[test]
fn hostile_numbers_reach_no_sector() {
    let text = |start: &str| {
        format!(
            r#"{{"partitiontable":{{"label":"dos","device":"/d","sectorsize":512,"partitions":
                [{{"node":"/d1","start":{start},"size":1,"type":"83"}}]}}}}"#
        )
    };
    let table = parse(&text("18446744073709551615")).unwrap();
    let entry = &table.partitions[0];
    assert_eq!(entry.extent(512).offset, u64::MAX);
    assert_eq!(entry.end(), u64::MAX);
    assert!(parse(&text("18446744073709551616")).is_err());
    assert!(parse(&text("-1")).is_err());
}

#[test]
fn a_disk_without_a_table_has_none() {
    let image = p2v_testing::image(8 << 20);
    assert_eq!(Table::read(image.path()).unwrap(), None);
    let make = Cmd::new("mkfs.ext4", "making a filesystem").arg("-q");
    make.arg(image.path()).run().unwrap();
    assert_eq!(Table::read(image.path()).unwrap(), None);
    assert!(Table::read(Path::new("/nonexistent")).is_err());
}

#[test]
fn a_table_that_no_disk_can_have_is_known_beforehand() {
    let image = disk("label: dos\n,20M\n,20M\n");
    let table = Table::read(image.path()).unwrap().unwrap();
    table.check_writable(200 << 20).unwrap();
    let mut overlapping = table.clone();
    overlapping.partitions[1].start -= 2048;
    let mut on_the_table = table.clone();
    on_the_table.partitions[0].start = 0;
    for wrong in [overlapping, on_the_table] {
        let text = format!("{:#}", wrong.check_writable(200 << 20).unwrap_err());
        assert!(text.contains("out of range"), "{text}");
        assert!(!text.contains("/proc/"), "{text}");
    }
    assert!(table.check_writable(30 << 20).is_err());
}

#[test]
fn what_a_stream_says_cannot_leave_its_field() {
    let entry = Entry {
        number: 1,
        start: 2048,
        size: 2048,
        kind: "83\n2 : start=1".to_owned(),
        uuid: None,
        name: Some("\"\n3 : start=1".to_owned()),
        attributes: None,
        bootable: false,
    };
    let table = Table {
        label: "dos".to_owned(),
        id: None,
        sector_size: 512,
        first_lba: None,
        partitions: vec![entry],
    };
    assert_eq!(table.script().lines().count(), 3, "{}", table.script());
}
