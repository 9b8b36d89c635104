//! What is loaded, and in which order, by a kernel's indexes of our own.

use std::collections::BTreeMap;

use super::*;

fn index() -> Index {
    Index::parse(&fixture::texts()).unwrap()
}

fn names(index: &Index, wanted: &str) -> Vec<String> {
    let name = |s: Step<'_>| format!("{}{}", s.module.name, if s.required { "" } else { "?" });
    index.plan(wanted).into_iter().map(name).collect()
}

#[test]
fn names_are_the_kernels() {
    let table = [
        ("kernel/drivers/block/xen-blkfront.ko.gz", "xen_blkfront"),
        ("ext4.ko", "ext4"),
        ("a/b.ko.zst", "b"),
        ("a/b.ko.xz", "b"),
        ("a/b-c.ko.folded", "b_c"),
    ];
    for (path, name) in table {
        assert_eq!(name_of(path).as_deref(), Some(name), "{path}");
    }
    for path in ["", ".ko", "a/.ko.xz", "ext4.o", "ext4.ko/", "ext4.ko.bz2"] {
        assert_eq!(name_of(path), None, "{path}");
    }
    assert_eq!(canonical("a-b_c[0-9]-d"), "a_b_c[0-9]_d");
}

#[test]
fn a_plan_has_everything_before_what_needs_it() {
    let index = index();
    assert_eq!(
        names(&index, "virtio_blk"),
        ["virtio_ring", "virtio", "virtio_blk"]
    );
    assert_eq!(
        names(&index, "fs-ext4"),
        [
            "crc32c_intel?",
            "crc32c_generic?",
            "jbd2",
            "mbcache",
            "crc16",
            "ext4"
        ]
    );
    assert_eq!(names(&index, "crypto-crc32c").len(), 2);
    assert_eq!(names(&index, "xen-blkfront"), ["xen_blkfront"]);
    assert!(names(&index, "8250").is_empty());
    assert!(names(&index, "nonsense").is_empty());
}

#[test]
fn soft_dependencies_in_a_circle_end() {
    assert_eq!(
        names(&index(), "one"),
        [
            "three?",
            "two?",
            "crc16?",
            "one",
            "virtio_ring?",
            "virtio?",
            "virtio_blk?"
        ]
    );
}

#[test]
fn a_soft_dependency_that_is_also_needed_is_required() {
    let texts = IndexTexts {
        dep: "a.ko: b.ko\nb.ko: c.ko\nc.ko:\n".to_owned(),
        softdep: "softdep a pre: b\n".to_owned(),
        ..IndexTexts::default()
    };
    let index = Index::parse(&texts).unwrap();
    assert_eq!(names(&index, "a"), ["c", "b", "a"]);
}

#[test]
fn wanted_things_are_found_as_modprobe_would() {
    let index = index();
    let found = |wanted: &str| match index.find(wanted) {
        Found::Modules(modules) => modules.iter().map(|m| m.path.clone()).collect(),
        Found::Builtin => vec!["builtin".to_owned()],
        Found::Nothing => vec![],
    };
    let table: [(&str, &[&str]); 9] = [
        ("xen_blkfront", &["kernel/drivers/block/xen-blkfront.ko.gz"]),
        ("xen:vbd", &["kernel/drivers/block/xen-blkfront.ko.gz"]),
        (
            "virtio:d00000002v00001AF4",
            &["kernel/drivers/block/virtio_blk.ko"],
        ),
        (
            "crypto-crc32c",
            &[
                "kernel/arch/x86/crypto/crc32c-intel.ko",
                "kernel/crypto/crc32c_generic.ko.zst",
            ],
        ),
        ("libblake2s_x86_64", &["builtin"]),
        ("dmi:x:svnSome Vendor:y", &["kernel/one.ko"]),
        ("one", &["kernel/one.ko"]),
        ("ghost-b-1", &[]),
        ("nothing", &[]),
    ];
    for (wanted, expected) in table {
        assert_eq!(found(wanted), expected, "{wanted}");
    }
}

#[test]
fn malformed_lines_are_named() {
    let texts = |dep: &str, alias: &str, softdep: &str| IndexTexts {
        dep: dep.to_owned(),
        alias: alias.to_owned(),
        softdep: softdep.to_owned(),
        builtin: String::new(),
    };
    let table = [
        (
            texts("# c\na.ko:\nb.ko a.ko\n", "", ""),
            "modules.dep, line 3",
        ),
        (texts("a.ko: b.txt\n", "", ""), "modules.dep, line 1"),
        (texts("a b.ko:\n", "", ""), "modules.dep, line 1"),
        (texts("", "alias only\n", ""), "modules.alias, line 1"),
        (texts("", "\nname a b\n", ""), "modules.alias, line 2"),
        (texts("", "", "softdep\n"), "modules.softdep, line 1"),
    ];
    for (texts, expected) in table {
        let error = Index::parse(&texts).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_trimmed_index_says_the_same_of_what_is_left() {
    let full = index();
    let kept: BTreeMap<String, String> = ["fs-ext4", "xen-blkfront"]
        .iter()
        .flat_map(|wanted| full.plan(wanted))
        .map(|step| {
            (
                step.module.name.clone(),
                without_packing(&step.module.path).to_owned(),
            )
        })
        .collect();
    let texts = full.trimmed(&kept);
    let trimmed = Index::parse(&texts).unwrap();
    assert_eq!(trimmed.modules().count(), 7);
    for wanted in ["fs-ext4", "xen:vbd", "jbd2", "crypto-crc32c"] {
        assert_eq!(names(&trimmed, wanted), names(&full, wanted), "{wanted}");
    }
    assert_eq!(trimmed.find("virtio_blk"), Found::Nothing);
    assert_eq!(trimmed.find("8250"), Found::Builtin);
    assert!(!texts.dep.contains(".xz"), "{}", texts.dep);
    assert_eq!(trimmed.trimmed(&kept), texts);
}
