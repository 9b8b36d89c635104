//! Building the initrd, and its size.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use p2v_sys::Cmd;
use p2v_tests::Lab;
use p2v_tests::peer::initramfs::{self, PeerRoot};
use p2v_tests::progress::step;
use p2v_tests::qemu::Boot;
use p2v_tests::table::Measure;

use crate::{COMMAND_LINE, seconds};

/// Both initrds of one kernel, from one root.
pub struct Initrds {
    ours: PathBuf,
    theirs: PathBuf,
    our_times: Vec<Duration>,
    their_times: Vec<Duration>,
    /// Of the peer's system.
    pub host_keys: Vec<String>,
    kernel: PathBuf,
}

impl Initrds {
    pub fn build(lab: &Lab, peer_root: &PeerRoot, rounds: usize) -> Result<Self> {
        peer_root.with_mounted(lab.dir(), |root| {
            let version = newest_kernel(root)?;
            let mut initrds = Self {
                ours: lab.dir().join("initrd-ours"),
                theirs: lab.dir().join("initrd-theirs"),
                our_times: Vec::new(),
                their_times: Vec::new(),
                host_keys: initramfs::host_keys(root)?,
                kernel: lab.dir().join("vmlinuz-theirs"),
            };
            let image = root.join("boot").join(format!("vmlinuz-{version}"));
            std::fs::copy(&image, &initrds.kernel)
                .with_context(|| format!("copying {}", image.display()))?;
            for round in 1..=rounds {
                let took = step(&format!("initrd, ours, round {round}"), || {
                    build_ours(lab, root, &version, &initrds.ours)
                })?;
                initrds.our_times.push(took);
                let took = step(&format!("initrd, peer, round {round}"), || {
                    initramfs::build(root, &version, &initrds.theirs)
                })?;
                initrds.their_times.push(took);
            }
            Ok(initrds)
        })
    }

    pub fn their_boot(&self) -> Boot {
        Boot::Direct {
            kernel: self.kernel.clone(),
            initrd: self.theirs.clone(),
            append: COMMAND_LINE.to_owned(),
        }
    }

    pub fn measures(&self) -> Vec<Measure> {
        let megabytes =
            |path: &Path| std::fs::metadata(path).map_or(f64::NAN, |m| m.len() as f64) / 1e6;
        vec![
            seconds(
                "building the initrd, s",
                &self.our_times,
                &self.their_times,
                0.05,
            ),
            Measure {
                name: "initrd size, MB".to_owned(),
                ours: megabytes(&self.ours),
                peer: megabytes(&self.theirs),
                limit: 0.15,
            },
        ]
    }
}

fn build_ours(lab: &Lab, root: &Path, version: &str, output: &Path) -> Result<Duration> {
    let start = Instant::now();
    Cmd::new(lab.binary(), "building our initrd")
        .args(["initrd", "--force", "--kernel", version, "--root"])
        .arg(root)
        .arg("--output")
        .arg(output)
        .run()?;
    Ok(start.elapsed())
}

fn newest_kernel(root: &Path) -> Result<String> {
    let dir = root.join("lib/modules");
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let name = entry.context("reading the kernels")?.file_name();
        versions.push(name.to_string_lossy().into_owned());
    }
    versions.sort();
    versions.pop().context("the peer's root has no kernel")
}
