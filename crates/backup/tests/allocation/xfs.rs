//! XFS, with many sets of options.

use crate::image::Image;
use crate::oracle::partclone;
use crate::proof::{Judges, compare, prove, prove_recovery};
use crate::random::Random;
use crate::tree;

const JUDGES: Judges = Judges {
    check: "xfs_repair -n",
    oracle: |image| partclone("partclone.xfs", image),
    options: "",
    slack: (1.01, 1 << 20),
};

const MIB: u64 = 1 << 20;

fn prove_each(length: u64, bulk: u64, options: &[&str]) {
    p2v_testing::need_private_mounts!();
    for options in options {
        let mkfs = format!("mkfs.xfs -q -f {options}").trim_end().to_owned();
        let image = Image::made("xfs", length, &mkfs);
        let mounted = image.mount("");
        tree::fill(mounted.root(), bulk);
        mounted.close();
        prove(&image, &JUDGES, &mkfs);
    }
}

#[test]
fn xfs_of_every_layout() {
    let options = [
        "",
        "-m reflink=1,rmapbt=1,bigtime=1,inobtcount=1",
        "--unsupported -m reflink=0,finobt=0,bigtime=0 -d agcount=11 -l size=8m",
        "-b size=1024 -d agcount=2",
        "-b size=2048 -i size=1024 -s size=2048",
        "--unsupported -l su=65536,size=20m -d su=65536,sw=2 -s size=4096",
        "-b size=4096 -n size=16384 -i nrext64=1",
    ];
    prove_each(320 * MIB, 30 * MIB, &options);
}

/// Kernels of today do not mount it: mkfs.xfs fills it.
#[test]
fn version_four() {
    p2v_testing::need_private_mounts!();
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&source, Random(4).bytes(70_000)).unwrap();
    let mut tree = "/boot\n0 0\nd--755 0 0\n".to_owned();
    for number in 0..200 {
        tree += &format!("{number} ---644 0 0 {}\n", source.path().display());
    }
    let prototype = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&prototype, tree + "$\n").unwrap();
    for options in ["", " -b size=512 -l version=1 -d agcount=7"] {
        let prototype = prototype.path().display();
        let mkfs = format!("mkfs.xfs -q -f --unsupported -m crc=0 -p {prototype}{options}");
        let image = Image::made("xfs", 320 * MIB, &mkfs);
        let used = image.used().unwrap();
        image.copy_of(&used).run(JUDGES.check).unwrap();
        if let Some(wanted) = (JUDGES.oracle)(&image.path) {
            compare(&used, &wanted, &JUDGES, &mkfs);
        }
    }
}

/// Trees of free extents with levels.
#[test]
fn in_many_pieces() {
    p2v_testing::need_private_mounts!();
    let mkfs = "mkfs.xfs -q -f -b size=1024 -d agcount=2";
    let image = Image::made("xfs", 320 * MIB, mkfs);
    let mounted = image.mount("");
    tree::fragment(mounted.root(), 2000);
    mounted.close();
    assert!(image.used().unwrap().iter().count() > 1900);
    prove(&image, &JUDGES, mkfs);
}

/// Every size of the log's last record, and logs written round and round.
#[test]
fn the_log_after_many_mounts() {
    p2v_testing::need_private_mounts!();
    let mkfs = "mkfs.xfs -q -f --unsupported -l size=6m -b size=4096";
    let image = Image::made("xfs", 128 * MIB, mkfs);
    for round in 0..150 {
        let mounted = image.mount("");
        for file in 0..round % 7 * 11 {
            let path = mounted.root().join(format!("{file}"));
            std::fs::write(path, vec![round as u8; 100]).unwrap();
        }
        for file in 0..round % 5 * 7 {
            let _ = std::fs::remove_file(mounted.root().join(format!("{file}")));
        }
        mounted.flush();
        let busy = image.used().is_err();
        mounted.close();
        if let Err(error) = image.used() {
            panic!("round {round}: {error:#}");
        }
        let idle = round % 35 == 0;
        assert!(busy || idle, "round {round}: clean while mounted");
    }
    prove(&image, &JUDGES, mkfs);
}

/// The state a power failure leaves: mostly the log is not empty. Where it is,
/// all is there.
#[test]
fn after_crashes() {
    p2v_testing::need_private_mounts!();
    let mkfs = "mkfs.xfs -q -f --unsupported -l size=6m";
    let image = Image::made("xfs", 128 * MIB, mkfs);
    let mut random = Random(1);
    let mut answers = 0;
    for round in 0..20 {
        let mounted = image.mount("");
        for _ in 0..round % 3 {
            tree::churn(mounted.root(), &mut random);
        }
        if round % 5 == 0 {
            mounted.flush();
        }
        mounted.crash(round % 2 == 0);
        match image.used() {
            Ok(_) => {
                answers += 1;
                prove_recovery(&image, &JUDGES, &format!("{mkfs}, round {round}"));
            }
            Err(error) => {
                let error = format!("{error:#}");
                assert!(error.contains("it is not empty"), "{error}");
                image.recover();
            }
        }
    }
    println!("{mkfs}: {answers} of 20 rounds with an empty log");
    assert!(answers < 15, "{answers}");
}

#[test]
fn one_that_was_not_unmounted_gives_up() {
    p2v_testing::need_private_mounts!();
    let image = Image::made("xfs", 320 * MIB, "mkfs.xfs -q -f");
    image.used().unwrap();
    let mounted = image.mount("");
    tree::fill(mounted.root(), MIB);
    mounted.flush();
    let copy = image.clone_whole();
    mounted.close();
    let error = format!("{:#}", copy.used().unwrap_err());
    assert!(error.contains("it is not empty"), "{error}");
    image.used().unwrap();
}
