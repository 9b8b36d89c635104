//! Everything that a filesystem can hold, made and compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use p2v_sys::Cmd;

/// Fills the filesystem mounted on `top`.
pub fn fill(top: &Path, seed: u64) {
    for number in 0..40 {
        let dir = top.join(format!("dir{}", number % 4));
        std::fs::create_dir_all(&dir).unwrap();
        let length = 1 << (6 + number % 13);
        std::fs::write(
            dir.join(format!("file{number}")),
            noise(seed + number, length),
        )
        .unwrap();
    }
    let large = top.join("dir0/large");
    std::fs::write(&large, noise(seed, 12 << 20)).unwrap();
    std::fs::hard_link(&large, top.join("dir1/its other name")).unwrap();
    symlink("../dir0/large", top.join("dir2/link")).unwrap();
    let sparse = File::create(top.join("dir3/sparse")).unwrap();
    sparse.set_len(90 << 20).unwrap();
    sparse.write_all_at(&noise(seed, 5000), 44 << 20).unwrap();
    let program = top.join("dir2/program");
    std::fs::write(&program, noise(seed, 3000)).unwrap();
    chown(&program, Some(1234), Some(4321)).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4751)).unwrap();
    run("setcap", &["cap_net_raw+ep".as_ref(), program.as_os_str()]);
    run(
        "setfattr",
        &[
            "-n".as_ref(),
            "user.note".as_ref(),
            "-v".as_ref(),
            "kept".as_ref(),
            large.as_os_str(),
        ],
    );
    let dir = top.join("dir1");
    run(
        "setfacl",
        &["-m".as_ref(), "u:77:rwx,d:g:78:r".as_ref(), dir.as_os_str()],
    );
    run("mkfifo", &[top.join("dir1/fifo").as_os_str()]);
}

fn run(program: &str, args: &[&std::ffi::OsStr]) {
    Cmd::new(program, "filling a filesystem")
        .args(args)
        .run()
        .unwrap();
}

/// Bytes without any pattern.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// All files of a filesystem, a line each with what is to be said of it.
pub type Tree = BTreeMap<PathBuf, String>;

/// Looks at the filesystem mounted on `top`. Inodes may get other numbers; that
/// changes their directories.
pub fn tree(top: &Path, directory_times: bool) -> Tree {
    let mut paths = Vec::new();
    walk(top, &mut paths);
    paths.sort();
    let mut first_of = BTreeMap::new();
    let mut tree = Tree::new();
    for path in paths {
        let it = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(top).unwrap().to_owned();
        let first = first_of.entry(it.ino()).or_insert_with(|| name.clone());
        let content = match (it.is_file(), it.is_symlink()) {
            (true, _) => blake3::hash(&std::fs::read(&path).unwrap()).to_string(),
            (_, true) => path.read_link().unwrap().display().to_string(),
            _ => String::new(),
        };
        let size = it.is_file().then(|| (it.size(), it.blocks()));
        let time = (directory_times || !it.is_dir()).then(|| (it.mtime(), it.mtime_nsec()));
        let line = format!(
            "{:o} {}:{} {} links, first {} time {time:?} size {size:?} {content}",
            it.mode(),
            it.uid(),
            it.gid(),
            it.nlink(),
            first.display(),
        );
        tree.insert(name, line);
    }
    attributes(top, &mut tree);
    tree
}

fn walk(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            walk(&path, paths);
        }
        paths.push(path);
    }
}

/// Extended attributes, among them ACLs and capabilities.
fn attributes(top: &Path, tree: &mut Tree) {
    let text = Cmd::new("getfattr", "reading attributes")
        .args(["-R", "-h", "-d", "-m", "-", "-e", "hex", "."])
        .dir(top)
        .read()
        .unwrap();
    for file in text.split("\n\n") {
        let (name, values) = file.split_once('\n').unwrap();
        let name = name.strip_prefix("# file: ").unwrap();
        tree.entry(name.into()).or_default().push_str(values);
    }
    for kind in [
        "security.capability",
        "system.posix_acl_default",
        "user.note",
    ] {
        assert!(text.contains(kind), "no {kind}: {text}");
    }
}

/// Fails at the first files that differ.
pub fn assert_same(one: &Tree, other: &Tree, doing: &str) {
    let names: Vec<_> = one.keys().chain(other.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    let differ: Vec<_> = differ
        .map(|name| (name, one.get(name), other.get(name)))
        .collect();
    assert!(
        differ.is_empty(),
        "{doing}: {:#?}",
        &differ[..differ.len().min(4)]
    );
}
