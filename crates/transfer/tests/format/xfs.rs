//! XFS, by xfs_db.

use std::path::Path;

use p2v_testing::image;

use crate::{UUID, could, made_like, tool};

/// xfs_db's words for what the filesystem has.
fn xfs_facts(path: &Path) -> Vec<String> {
    let text = tool("xfs_db -r -c version -c info", path);
    let mut facts: Vec<_> = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .filter(|word| {
            let (name, _) = word.split_once('=').unwrap_or((word, ""));
            !["meta-data", "agcount", "agsize", "blocks"].contains(&name)
        })
        .map(str::to_owned)
        .collect();
    facts.retain(|word| !word.contains('/'));
    facts
}

#[test]
fn xfs_features_come_back() {
    let matrix = [
        "",
        "-m crc=0",
        "-m crc=0 -n ftype=0",
        "-m crc=0 -i size=512 -l lazy-count=0",
        "-m crc=0 -i attr=1,projid32bit=0",
        "-m crc=1,finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0",
        "-m finobt=1,reflink=0,bigtime=0,inobtcount=0",
        "-m rmapbt=1,reflink=1",
        "-i nrext64=1",
        "-i nrext64=0,size=1024",
        "-b size=1024 -n size=8192",
        "-b size=2048 -s size=2048",
        "-s size=4096",
        "-n version=ci",
    ];
    for line in matrix {
        let first = image(512 << 20);
        tool(&format!("mkfs.xfs -q -f {line}"), first.path());
        let mut second = made_like_xfs(first.path(), 512 << 20);
        assert_eq!(xfs_facts(second.path()), xfs_facts(first.path()), "{line}");
        second = made_like_xfs(first.path(), 2 << 30);
        tool("xfs_repair -n -f", second.path());
    }
    // Smaller than mkfs.xfs makes of itself.
    let first = image(512 << 20);
    tool("mkfs.xfs -q -f", first.path());
    made_like_xfs(first.path(), 200 << 20);
}

/// Labels are shorter there.
fn made_like_xfs(first: &Path, size: u64) -> tempfile::NamedTempFile {
    let second = made_like(first, "xfs", size);
    let uuid = tool("blkid -p -o value -s UUID", second.path());
    assert_eq!(uuid.trim(), UUID);
    second
}

#[test]
fn features_of_newer_tools_come_back() {
    for line in ["-i exchange=1", "-n parent=1 -i exchange=1"] {
        let first = image(512 << 20);
        if could(&format!("mkfs.xfs -q -f {line}"), first.path()) {
            let second = made_like_xfs(first.path(), 512 << 20);
            assert_eq!(xfs_facts(second.path()), xfs_facts(first.path()), "{line}");
        }
    }
}
