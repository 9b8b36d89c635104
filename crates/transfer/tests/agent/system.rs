//! The system is put together, repaired, and let go.

use std::path::Path;

use p2v_sys::Cmd;
use p2v_transfer::protocol::{Fixed, Order, Prepared};

use crate::lab::Lab;
use crate::plans::{HOME, btrfs, ext4, partitioned, plan};

/// A root and a home in subvolumes, as moved from /dev/sda.
fn make_system(top: &Path) {
    for name in ["@", "@home"] {
        let make = Cmd::new("btrfs", "making a subvolume").args(["subvolume", "create"]);
        make.arg(top.join(name)).run().unwrap();
    }
    std::fs::create_dir_all(top.join("@/etc")).unwrap();
    std::fs::create_dir_all(top.join("@/home")).unwrap();
    // A program of the system would see this one, and no disk.
    std::fs::create_dir_all(top.join("@/dev")).unwrap();
    std::fs::write(top.join("@/dev/null"), "").unwrap();
    // A link that would lead out of the tree.
    std::fs::create_dir_all(top.join("@/var/srv")).unwrap();
    std::os::unix::fs::symlink("/var/srv", top.join("@/srv")).unwrap();
    let fstab = "/dev/sda1 / btrfs subvol=@ 0 0\n/dev/sda1 /home btrfs subvol=@home 0 0\n\
                 /dev/sda2 /srv/data ext4 defaults 0 2\n";
    std::fs::write(top.join("@/etc/fstab"), fstab).unwrap();
    std::fs::write(top.join("@home/user"), "").unwrap();
}

fn check_fixes(fixed: &Fixed) {
    let mut fixes = fixed.fixes.iter();
    let fstab = fixes.find(|fix| fix.part == "10-repair-fstab");
    assert_ne!(fstab.expect("the fix of fstab").outcome, "failed");
    // There is no kernel in it, and no boot loader.
    assert!(!fixed.will_boot && !fixed.obstacles.is_empty());
}

#[test]
fn the_system_is_put_together_and_repaired() {
    p2v_testing::need_root!();
    let lab = Lab::new(&[1 << 30]);
    // mkfs.btrfs takes none that another disk has, such as another test's.
    let uuid = "44444444-2222-4333-8444-555555555555";
    let mut root = btrfs(uuid, &[("/", Some("@")), ("/home", Some("/@home"))]);
    root.was = vec!["/dev/sda1".to_owned()];
    let mut srv = ext4(HOME, &["/srv/data"]);
    srv.was = vec!["/dev/sda2".to_owned()];
    let plan = plan(vec![partitioned(lab.disk(0), "dos", vec![root, srv])]);
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    let top = lab.volume(0, 1);
    make_system(&top);
    let fix = || Order::Fix {
        plan: Box::new(plan.clone()),
    };
    let finish = |complete| Order::Finish {
        plan: Box::new(plan.clone()),
        complete,
        restart: false,
        summary: vec!["done \u{1b}[2J".to_owned()],
    };
    // A system that is only there in part is neither repaired nor finished.
    lab.fill(&plan, 0);
    let text = lab.ask::<Fixed>(fix()).unwrap_err();
    assert!(text.contains("2 is not filled"), "{text}");
    let text = lab.ask::<()>(finish(true)).unwrap_err();
    assert!(text.contains("2 is not filled"), "{text}");
    lab.ask::<Prepared>(lab.prepare(&plan, false)).unwrap();
    lab.fill(&plan, 1);
    for _ in 0..2 {
        let (fixed, notes) = lab.ask_noting::<Fixed>(fix());
        let fixed = fixed.unwrap();
        check_fixes(&fixed);
        assert!(notes.iter().any(|note| note == "running 10-repair-fstab"));
        assert!(lab.mounts().is_empty(), "{:?}", lab.mounts());
    }
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    let fstab = std::fs::read_to_string(top.join("@/etc/fstab")).unwrap();
    assert!(
        fstab.contains(&format!("UUID={uuid} / btrfs subvol=@")),
        "{fstab}"
    );
    assert!(fstab.contains(&format!("UUID={HOME} /srv/data")), "{fstab}");
    assert!(top.join("@/var/srv/data").is_dir());
    // It may go on after this, but not once the system may have started.
    lab.ask::<()>(finish(false)).unwrap();
    assert!(lab.mounts().is_empty());
    let prepared: Prepared = lab.ask(lab.prepare(&plan, false)).unwrap();
    assert!(prepared.resumed);
    // Told twice, as when the answer did not come.
    for _ in 0..2 {
        lab.ask::<()>(finish(true)).unwrap();
    }
    let text = lab.ask::<Fixed>(fix()).unwrap_err();
    assert!(text.contains("not formatted"), "{text}");
    let refused = lab.ask::<Prepared>(lab.prepare(&plan, false));
    assert!(refused.unwrap_err().contains("nobody has agreed"));
}
