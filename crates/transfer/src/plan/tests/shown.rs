//! How a plan is shown.

use super::*;

#[test]
fn the_table_fits_into_80_columns() {
    let (mut plan, ..) = sound();
    plan.disks[0].volumes[1].identity.label = Some("\u{1b}[2Jlong label it is".to_owned());
    plan.disks[0].volumes[1].mounts[0].path = "/a/very/long/path/to".to_owned();
    plan.left_out.push(LeftOut {
        was: vec!["/dev/sda9".to_owned()],
        reason: "LVM2_member cannot be moved yet".to_owned(),
    });
    let text = table(&plan);
    println!("{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
    for part in [
        "/dev/sda -> /dev/vda",
        "vda5",
        "ext3",
        "swap",
        "left out",
        "/dev/sda9",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn sizes_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (512, "512 B"),
        (MIB, "1 MiB"),
        (1536 * MIB, "1.5 GiB"),
        (1023 * MIB, "1023 MiB"),
        (100 * GIB + GIB / 2, "101 GiB"),
        (u64::MAX, "16 EiB"),
    ] {
        assert_eq!(show::size(bytes), text);
    }
}
