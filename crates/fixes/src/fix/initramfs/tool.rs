//! The programs that make initramfses, and how each is told of more drivers.

use anyhow::Result;

use super::kernels::Kernel;
use crate::lines::{Line, append_line, assigned, splice};
use crate::system::program;
use crate::{Draft, Step};

/// Where dracut and mkinitcpio are told by us alone.
const DRACUT_CONF: &str = "etc/dracut.conf.d/p2v-drivers.conf";
const MODULES: &str = "etc/initramfs-tools/modules";
const MKINITCPIO: &str = "etc/mkinitcpio.conf";

/// The system's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// Debian's update-initramfs; whether it must be told to take over a file
    /// that is there.
    InitramfsTools(String, bool),
    /// dracut, of Red Hat 6 and later, SUSE and others; whether it knows
    /// `--no-hostonly`.
    Dracut(String, bool),
    /// Arch's mkinitcpio.
    Mkinitcpio(String),
    /// Red Hat's mkinitrd before dracut; the drivers are given as arguments.
    Mkinitrd(String),
}

impl Tool {
    /// The one that is there.
    pub fn of(draft: &Draft) -> Result<Option<Self>> {
        if let Some(path) = program(draft, "update-initramfs") {
            // Debian's dracut brings one too, which calls dracut.
            if draft.exists("usr/share/initramfs-tools/hook-functions") {
                let text = draft.text(&path)?.unwrap_or_default();
                return Ok(Some(Self::InitramfsTools(path, text.contains("takeover="))));
            }
        }
        if let Some(path) = program(draft, "dracut") {
            let new = ["lib", "usr/lib"]
                .iter()
                .any(|lib| draft.exists(format!("{lib}/dracut")));
            return Ok(Some(Self::Dracut(path, new)));
        }
        if let Some(path) = program(draft, "mkinitcpio") {
            return Ok(Some(Self::Mkinitcpio(path)));
        }
        let old_red_hat = draft.exists("etc/redhat-release");
        let mkinitrd = program(draft, "mkinitrd").filter(|_| old_red_hat);
        Ok(mkinitrd.map(Self::Mkinitrd))
    }

    /// The run for one kernel.
    pub fn step(&self, kernel: &Kernel) -> Step {
        let what = format!("making the initramfs of {} anew", kernel.version);
        let (image, version) = (format!("/{}", kernel.initramfs), kernel.version.as_str());
        let image = image.as_str();
        match self {
            // Not `-u`: that does nothing where an admin has turned updates off.
            Self::InitramfsTools(path, true) => Step::new(what, &[path, "-c", "-t", "-k", version]),
            Self::InitramfsTools(path, false) => Step::new(what, &[path, "-c", "-k", version]),
            // Host-only means this machine's disks, as an old dracut sees them
            // in a chroot: not at all.
            Self::Dracut(path, true) => {
                Step::new(what, &[path, "--force", "--no-hostonly", image, version])
            }
            Self::Dracut(path, false) => Step::new(what, &[path, "--force", image, version]),
            Self::Mkinitcpio(path) => Step::new(
                what,
                &[path, "-k", version, "-S", "autodetect", "-g", image],
            ),
            Self::Mkinitrd(path) => Step::new(
                what,
                &[
                    path,
                    "-f",
                    "--with=virtio_pci",
                    "--with=virtio_blk",
                    image,
                    version,
                ],
            ),
        }
    }

    /// Tells it of the drivers, for this run and the kernels to come. Returns
    /// what it changed.
    pub fn configure(&self, draft: &mut Draft, drivers: &[&str]) -> Result<Option<String>> {
        let mut drivers = drivers.to_vec();
        drivers.sort_unstable();
        drivers.dedup();
        if drivers.is_empty() {
            return Ok(None);
        }
        let path = match self {
            Self::InitramfsTools(..) => list_modules(draft, &drivers)?.then_some(MODULES),
            Self::Dracut(..) => {
                let text = format!(
                    "# The drivers of the instance's disk.\nadd_drivers+=\" {} \"\n",
                    drivers.join(" ")
                );
                let changed = draft.text(DRACUT_CONF)?.as_deref() != Some(text.as_str());
                draft.write(DRACUT_CONF, text)?;
                changed.then_some(DRACUT_CONF)
            }
            Self::Mkinitcpio(_) => set_modules(draft, &drivers)?.then_some(MKINITCPIO),
            Self::Mkinitrd(_) => None,
        };
        Ok(path.map(|path| format!("/{path}: {}", drivers.join(", "))))
    }
}

fn list_modules(draft: &mut Draft, drivers: &[&str]) -> Result<bool> {
    let mut bytes = draft.read(MODULES)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let known = |driver: &&&str| {
        let first = |line: &str| line.split_ascii_whitespace().next() == Some(**driver);
        text.lines().any(first)
    };
    let new: Vec<_> = drivers.iter().filter(|driver| !known(driver)).collect();
    for driver in &new {
        append_line(&mut bytes, driver);
    }
    if !new.is_empty() {
        draft.write(MODULES, bytes)?;
    }
    Ok(!new.is_empty())
}

/// `MODULES=(...)`, or with quotes in old files.
fn set_modules(draft: &mut Draft, drivers: &[&str]) -> Result<bool> {
    draft.edit(MKINITCPIO, |line| {
        let array = line
            .strip_prefix("MODULES=(")
            .and_then(|rest| rest.split_once(')'));
        let place = match array {
            Some((inside, _)) => Some("MODULES=(".len().."MODULES=(".len() + inside.len()),
            None => assigned(line, "MODULES"),
        };
        let Some(place) = place else {
            return Line::Keep;
        };
        let mut words: Vec<&str> = line[place.clone()].split_ascii_whitespace().collect();
        let old = words.len();
        words.extend(drivers.iter().filter(|driver| !line.contains(**driver)));
        match words.len() > old {
            true => Line::Is(splice(line, &[(place, words.join(" "))])),
            false => Line::Keep,
        }
    })
}
