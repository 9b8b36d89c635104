//! An instance that `create` has made, with what the node remembers of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use p2v_sys::Cmd;
use p2v_sys::loopdev::Extent;
use serde_json::Value;

use crate::image::{self, MountedPart};
use crate::qemu::Boot;
use crate::{Instance, Lab};

/// A created instance's first disk.
#[derive(Debug)]
pub struct Created {
    /// The instance's name.
    pub name: String,
    /// The disk image.
    pub disk: PathBuf,
    /// What `create` said.
    pub log: String,
    state: Value,
}

impl Created {
    /// A new lab, and an instance's disk that was made in it.
    pub fn anew(test: &str) -> Result<(Lab, Self)> {
        let lab = Lab::new(test)?;
        let disk = lab.disk("disk.img", crate::GIB)?;
        let instance = Instance::new("made.example.org", &disk);
        let created = lab.run(|lab| Self::make(lab, &instance))?;
        Ok((lab, created))
    }

    /// Makes `instance`, whose first disk is an image.
    pub fn make(lab: &Lab, instance: &Instance) -> Result<Self> {
        let outcome = lab.create(instance)?;
        if !outcome.status.success() {
            bail!("create failed:\n{}", outcome.log);
        }
        let path = lab.state_of(&instance.name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading what the node remembers, {}", path.display()))?;
        Ok(Self {
            name: instance.name.clone(),
            disk: instance.disks.first().context("no disk")?.clone(),
            log: outcome.log,
            state: serde_json::from_str(&text).context("parsing what the node remembers")?,
        })
    }

    /// A text of the node's INSTANCE.json.
    pub fn fact(&self, name: &str) -> Result<&str> {
        let value = self.state[name].as_str();
        value.with_context(|| format!("the node does not remember the {name}"))
    }

    /// The host keys in the node's INSTANCE.json: fingerprint and public key.
    pub fn host_keys(&self) -> Vec<(String, String)> {
        let keys = self.state["host_keys"].as_array();
        let text = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
        keys.into_iter()
            .flatten()
            .map(|key| (text(key, "fingerprint"), text(key, "public_key")))
            .collect()
    }

    /// Where the root filesystem is on the disk.
    pub fn root_extent(&self) -> Result<Extent> {
        if image::label(&self.disk).is_none() {
            return image::whole(&self.disk);
        }
        let partitions = image::partitions(&self.disk)?;
        let last = partitions.last().context("the table is empty")?;
        Ok(last.extent)
    }

    /// The root filesystem, mounted read-only.
    pub fn mount(&self, lab: &Lab) -> Result<MountedPart> {
        let kind = self.fact("filesystem")?;
        MountedPart::new(&self.disk, self.root_extent()?, kind, lab.dir())
    }

    /// A boot that needs nothing of the disk, made from the root on it.
    pub fn self_contained_boot(&self, lab: &Lab) -> Result<Boot> {
        let version = self.fact("kernel")?;
        let initrd = lab.dir().join("self-contained.img");
        let root = self.mount(lab)?;
        let kernel = take_file(root.path(), &format!("vmlinuz-{version}"), lab.dir())?;
        Cmd::new(lab.binary(), "building a self-contained initrd")
            .args(["initrd", "--kernel", version, "--self-contained", "--root"])
            .arg(root.path())
            .arg("--output")
            .arg(&initrd)
            .run()?;
        root.close()?;
        Ok(Boot::Direct {
            kernel,
            initrd,
            append: "console=ttyS0,38400".to_owned(),
        })
    }

    /// A direct boot by the kernel and initrd of the root, copied to the node
    /// as an administrator would, with `append` as the command line.
    pub fn direct_boot(&self, lab: &Lab, append: &str) -> Result<Boot> {
        let version = self.fact("kernel")?;
        let root = self.mount(lab)?;
        let take = |name: String| take_file(root.path(), &name, lab.dir());
        let kernel = take(format!("vmlinuz-{version}"))?;
        let initrd = take(format!("ramboot-{version}.img"))?;
        root.close()?;
        Ok(Boot::Direct {
            kernel,
            initrd,
            append: append.to_owned(),
        })
    }
}

/// Copies a file of a root's /boot into `dir`.
fn take_file(root: &Path, name: &str, dir: &Path) -> Result<PathBuf> {
    let copy = dir.join(name);
    std::fs::copy(root.join("boot").join(name), &copy)
        .with_context(|| format!("taking {name} from the root"))?;
    Ok(copy)
}
