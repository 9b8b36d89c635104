//! A small root to run hooks on, and what they left in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// This repository's hooks.
pub fn hooks_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hooks.d")
}

/// A root, with a directory outside of it that no hook may touch.
pub struct TestRoot {
    pub outer: tempfile::TempDir,
    pub env: BTreeMap<OsString, OsString>,
}

impl TestRoot {
    /// What every Debian root with ifupdown has.
    pub fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let mut root = Self {
            outer,
            env: BTreeMap::new(),
        };
        fs::create_dir(root.outer.path().join("outside")).unwrap();
        root.write(
            "etc/shadow",
            "root:!:19000:0:99999:7:::\nbin:*:19000:0:99999:7:::\n",
        );
        root.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
        root.write("etc/network/interfaces", "# none\n");
        let target = root.path("");
        root.set("TARGET", target);
        root.set("PATH", std::env::var_os("PATH").unwrap());
        root
    }

    /// That, with systemd, udev, LVM and mdadm as Debian 12 lays them out.
    pub fn with_systemd() -> Self {
        let root = Self::new();
        fs::create_dir_all(root.path("usr")).unwrap();
        symlink("usr/lib", root.path("lib")).unwrap();
        for file in [
            "usr/lib/systemd/system/serial-getty@.service",
            "usr/lib/systemd/system/apt-daily.timer",
            "usr/lib/systemd/system-generators/systemd-gpt-auto-generator",
            "usr/lib/udev/rules.d/80-ifupdown.rules",
            "usr/lib/udev/rules.d/69-lvm.rules",
            "usr/lib/udev/rules.d/64-md-raid-assembly.rules",
            "etc/lvm/lvm.conf",
            "etc/mdadm/mdadm.conf",
        ] {
            root.write(file, "as installed\n");
        }
        root
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.outer.path().join("root").join(inside)
    }

    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, inside: &str) -> String {
        let path = self.path(inside);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn mode(&self, inside: &str) -> u32 {
        let metadata = fs::symlink_metadata(self.path(inside)).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    /// Where a symbolic link leads, as text.
    pub fn link(&self, inside: &str) -> String {
        let target = fs::read_link(self.path(inside)).unwrap();
        target.to_string_lossy().into_owned()
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.insert(name.into(), value.into());
    }

    pub fn set_all(&mut self, pairs: &[(&str, &str)]) {
        for (name, value) in pairs {
            self.set(name, *value);
        }
    }

    /// Runs one hook, whether or not it has its run bit.
    pub fn run(&self, hook: &str) -> Output {
        Command::new("/bin/sh")
            .arg(hooks_directory().join(hook))
            .env_clear()
            .envs(&self.env)
            .output()
            .unwrap()
    }

    /// Runs one hook that must succeed; returns what it said.
    pub fn run_well(&self, hook: &str) -> String {
        let output = self.run(hook);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{hook}: {said}");
        assert!(output.stdout.is_empty(), "{hook} wrote to standard output");
        said
    }

    /// Runs one hook that must fail; returns what it said.
    pub fn run_badly(&self, hook: &str) -> String {
        let output = self.run(hook);
        assert!(!output.status.success(), "{hook} must fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Every file outside and inside with its type, mode and contents, but
    /// for times: to see that a second run changes nothing.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        snapshot(self.outer.path(), &mut found);
        found
    }

    /// Fails if anything was written outside, or a temporary file is left.
    pub fn assert_contained(&self) {
        let outside = fs::read_dir(self.outer.path().join("outside")).unwrap();
        let names: Vec<_> = outside.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.is_empty(), "written outside the root: {names:?}");
        for path in self.snapshot().keys() {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(
                !name.starts_with(".p2v-"),
                "left behind: {}",
                path.display()
            );
        }
    }
}

fn snapshot(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode();
    let contents = if metadata.is_symlink() {
        fs::read_link(path).unwrap().to_string_lossy().into_owned()
    } else if metadata.is_file() {
        String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
    } else {
        for entry in fs::read_dir(path).unwrap() {
            snapshot(&entry.unwrap().path(), found);
        }
        String::new()
    };
    found.insert(path.to_owned(), format!("{mode:o} {contents}"));
}
