//! Command lines as boot loaders give them, and as they should not.

use super::*;

#[test]
fn roots() {
    let table = [
        ("/dev/vda1", Some(RootSpec::Device("/dev/vda1".into()))),
        ("UUID=ABCD-12", Some(RootSpec::Uuid("abcd-12".into()))),
        ("\"LABEL=my root\"", Some(RootSpec::Label("my root".into()))),
        ("LABEL=\"my root\"", Some(RootSpec::Label("my root".into()))),
        (r"LABEL=my\x20root", Some(RootSpec::Label("my root".into()))),
        (r"LABEL=a\xzz\x", Some(RootSpec::Label(r"a\xzz\x".into()))),
        (
            "PARTUUID=12AB-01",
            Some(RootSpec::PartUuid("12ab-01".into())),
        ),
        ("PARTLABEL=a=b", Some(RootSpec::PartLabel("a=b".into()))),
        (
            "/dev/disk/by-uuid/11-22",
            Some(RootSpec::Uuid("11-22".into())),
        ),
        ("PARTUUID=12ab-01/PARTNROFF=1", None),
        ("nfs", None),
        ("", None),
    ];
    for (value, expected) in table {
        let line = CommandLine::parse(&format!("ro root={value} quiet"));
        assert_eq!(line.root, expected, "{value}");
        assert_eq!(line.warnings.is_empty(), expected.is_some(), "{value}");
    }
}

#[test]
fn failures_are_handled_as_asked() {
    let at = |s| OnError::Reboot(Duration::from_secs(s));
    let table = [
        ("", OnError::Wait),
        ("panic=0", OnError::Wait),
        ("panic=10", at(10)),
        ("panic=-1", at(0)),
        ("ramboot.onerror=wait panic=-1", OnError::Wait),
        ("panic=5 ramboot.onerror=poweroff", OnError::PowerOff),
        ("ramboot.onerror=reboot", at(0)),
        ("ramboot.onerror=explode", OnError::Wait),
    ];
    for (text, expected) in table {
        assert_eq!(CommandLine::parse(text).on_error, expected, "{text}");
    }
}

#[test]
fn waiting_times() {
    let table = [
        ("", Some(30)),
        ("rootdelay=10", Some(30)),
        ("rootdelay=90", Some(90)),
        ("rootwait", None),
        ("ramboot.timeout=5 rootwait", Some(5)),
        ("ramboot.timeout=7s", Some(7)),
        ("ramboot.timeout=soon", Some(30)),
    ];
    for (text, expected) in table {
        let timeout = CommandLine::parse(text).timeout;
        assert_eq!(timeout.map(|t| t.as_secs()), expected, "{text}");
    }
}

#[test]
fn sizes() {
    let table = [
        ("1024", Some(Size::Bytes(1024))),
        ("500m", Some(Size::Bytes(500 << 20))),
        ("2G", Some(Size::Bytes(2 << 30))),
        ("70%", Some(Size::Percent(70))),
        ("170%", None),
        ("99999999999999G", None),
        ("G", None),
        ("-5", None),
    ];
    for (value, expected) in table {
        let line = CommandLine::parse(&format!("ramboot.size={value}"));
        assert_eq!(line.size, expected, "{value}");
    }
}

#[test]
fn modules_and_the_rest() {
    let line = CommandLine::parse(
        "BOOT_IMAGE=/vmlinuz virtio-blk.queue_depth=64 virtio_blk.name=\"a b\" \
         modprobe.blacklist=e1000,8139-cp module_blacklist=floppy \
         rootfstype=ext4,xfs rootflags=noatime,subvol=@ init=/bin/tool \
         ramboot.exclude=/boot::/usr/share/doc ramboot.colour=red -- ramboot.size=1",
    );
    assert_eq!(
        line.module_options["virtio_blk"],
        "queue_depth=64 name=\"a b\""
    );
    let blacklist: Vec<&str> = line.blacklist.iter().map(String::as_str).collect();
    assert_eq!(blacklist, ["8139_cp", "e1000", "floppy"]);
    assert_eq!(line.root_types, ["ext4", "xfs"]);
    assert_eq!(line.root_flags, "noatime,subvol=@");
    assert_eq!(line.init, Some("/bin/tool".into()));
    assert_eq!(line.exclude.len(), 2);
    assert_eq!(line.size, None);
    assert_eq!(line.warnings.len(), 1);
    assert!(line.warnings[0].starts_with("ramboot.colour=red: unknown"));
}
