//! The source's disks, held so that nothing can write to them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use p2v_backup::allocation;
use p2v_backup::window::Window;
use p2v_sys::interrupt;
use p2v_sys::source_disk::SourceDisk;

use super::findings::Findings;
use super::fstab;
use super::held::HeldDisk;
use super::index::{Index, Place};
use super::mounted::MountedSource;
use super::roots::{self, FoundRoot};
use super::system::{self, Firmware};
use super::view::View;
use super::{Content, Disk, Source, System, VERSION};
use super::{firmware, layout, live, mounts, old_names};

/// A machine whose disks are open to be read alone, for as long as this lives.
#[derive(Debug)]
pub struct OpenSource {
    /// What was found.
    pub source: Source,
    held: Vec<HeldDisk>,
}

impl OpenSource {
    /// Opens and inspects the disks at `paths`, or without any every disk of
    /// this machine.
    ///
    /// # Errors
    /// A disk is missing or in use, or the running system lives on it.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut findings = Findings::default();
        let paths = match paths {
            [] => live::disks(&mut findings)?,
            _ => paths.to_vec(),
        };
        check_distinct(&paths)?;
        let mut held = Vec::new();
        for path in &paths {
            held.push(HeldDisk::open(path, &mut findings)?);
        }
        let source = Inspection::new(&held, findings)?.finish()?;
        Ok(Self { source, held })
    }

    /// Mounts the filesystem that begins at byte `start` of the disk `disk`,
    /// read-only; a btrfs by its top.
    ///
    /// # Errors
    /// Its journal would have to be replayed; no such filesystem.
    pub fn mount(&self, disk: &Path, start: u64) -> Result<MountedSource> {
        let held = self.held.iter().find(|held| held.disk.path() == disk);
        let known = self.source.disks.iter().find(|known| known.path == disk);
        let (Some(held), Some(known)) = (held, known) else {
            bail!("{} is none of the source's disks", disk.display());
        };
        let mut areas = known.areas.iter();
        match areas.find(|area| area.start == start) {
            Some(area) => mount(held, known, area),
            None => bail!("nothing begins at byte {start} of {}", disk.display()),
        }
    }

    /// One of the disks, by its path.
    ///
    /// # Errors
    /// It is none of them.
    pub fn disk(&self, path: &Path) -> Result<&SourceDisk> {
        let mut held = self.held.iter();
        let held = held.find(|held| held.disk.path() == path);
        let held =
            held.with_context(|| format!("{} is none of the source's disks", path.display()));
        Ok(&held?.disk)
    }

    /// Fails if an image was written to since it was opened.
    ///
    /// # Errors
    /// Which one, and what to do.
    pub fn check_unchanged(&self) -> Result<()> {
        self.held.iter().try_for_each(|held| held.disk.check_unchanged()).context(
            "the target's disks may hold damaged files: when the image lies still, run this again \
             with --verify; if it finds differences, empty those disks (wipefs --all) and begin \
             anew",
        )
    }

    /// Lets the disks go; they may be written to again.
    pub fn close(self) -> Result<()> {
        let closed = self.held.into_iter().map(HeldDisk::close);
        closed.fold(Ok(()), Result::and)
    }
}

fn mount(held: &HeldDisk, disk: &Disk, area: &super::Area) -> Result<MountedSource> {
    let place = area.place(&disk.path);
    match &area.content {
        Content::Filesystem(filesystem) => {
            let kind = &filesystem.format.kind;
            MountedSource::new(&held.disk, area.extent(), kind, &place)
        }
        _ => bail!("{place} holds no filesystem that can be moved"),
    }
}

/// One disk under two names would be moved twice.
fn check_distinct(paths: &[PathBuf]) -> Result<()> {
    let mut seen: BTreeMap<(u64, u64), &PathBuf> = BTreeMap::new();
    for path in paths {
        let doing = || format!("opening the disk {}", path.display());
        let metadata = std::fs::metadata(path).with_context(doing)?;
        let identity = match metadata.rdev() {
            0 => (metadata.dev(), metadata.ino()),
            device => (0, device),
        };
        if let Some(other) = seen.insert(identity, path) {
            bail!(
                "{} and {} are one disk: name it once",
                other.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// What is known so far of the machine.
struct Inspection<'a> {
    held: &'a [HeldDisk],
    disks: Vec<Disk>,
    mounted: BTreeMap<Place, MountedSource>,
    system: System,
    root: Option<FoundRoot>,
    findings: Findings,
}

impl<'a> Inspection<'a> {
    fn new(held: &'a [HeldDisk], mut findings: Findings) -> Result<Self> {
        let mut disks = Vec::new();
        for held in held {
            interrupt::check()?;
            disks.push(layout::read(held, &mut findings)?);
        }
        Ok(Self {
            held,
            disks,
            mounted: BTreeMap::new(),
            system: System::default(),
            root: None,
            findings,
        })
    }

    fn finish(mut self) -> Result<Source> {
        self.mount_all()?;
        let chosen = self.choose_root()?;
        match chosen {
            Some(root) => self.read_system(root)?,
            None => self.findings.obstacle(
                "no Linux system was found on the disks (a root filesystem with /etc): name the \
                 disk that it starts from too"
                    .to_owned(),
            ),
        }
        self.report_left_out();
        let mounted = std::mem::take(&mut self.mounted);
        for (_, mounted) in mounted {
            mounted.close()?;
        }
        self.order();
        Ok(Source {
            version: VERSION,
            disks: self.disks,
            system: self.system,
            obstacles: self.findings.obstacles,
            remarks: self.findings.remarks,
        })
    }

    /// Mounts what can be, and asks it for its usage.
    fn mount_all(&mut self) -> Result<()> {
        for (number, disk) in self.disks.iter_mut().enumerate() {
            for area in 0..disk.areas.len() {
                interrupt::check()?;
                if !matches!(disk.areas[area].content, Content::Filesystem(_)) {
                    continue;
                }
                let held = &self.held[number];
                let result = mount(held, disk, &disk.areas[area]);
                let extent = disk.areas[area].extent();
                let Content::Filesystem(filesystem) = &mut disk.areas[area].content else {
                    continue;
                };
                let is_vfat = filesystem.format.kind == "vfat";
                match &result {
                    Ok(mounted) if !is_vfat => {
                        let usage = statvfs(mounted.path()).context("asking for the usage")?;
                        let blocks = usage.blocks().saturating_sub(usage.blocks_free());
                        filesystem.used = blocks.saturating_mul(usage.fragment_size());
                        filesystem.inodes = usage.files().saturating_sub(usage.files_free());
                    }
                    _ => {
                        let window = Window::new(held.disk.file(), extent);
                        if let Ok(used) = allocation::used(&filesystem.format.kind, &window) {
                            filesystem.used = used.ranges.bytes();
                        }
                    }
                }
                match result {
                    Ok(mounted) => {
                        let place = Place { disk: number, area };
                        self.mounted.insert(place, mounted);
                    }
                    // Many kernels of rescue systems know no vfat.
                    Err(error) if is_vfat => tracing::debug!("{error:#}"),
                    Err(error) => self.findings.obstacle(format!("{error:#}")),
                }
            }
        }
        Ok(())
    }

    fn choose_root(&mut self) -> Result<Option<FoundRoot>> {
        let index = Index::new(&self.disks);
        let mut all = Vec::new();
        for (place, mounted) in &self.mounted {
            all.extend(roots::on(*place, mounted)?);
        }
        let best = all.iter().map(|root| root.trust(&index)).max();
        let of_best = |root: &&FoundRoot| Some(root.trust(&index)) == best;
        let chosen = all.iter().find(of_best).cloned();
        if let (Some(chosen), true) = (&chosen, all.len() > 1) {
            let names: Vec<String> = all.iter().map(|root| self.name_of(root)).collect();
            self.findings.remark(format!(
                "there are {} systems, on {}; {} is taken",
                all.len(),
                names.join(", "),
                self.name_of(chosen)
            ));
        }
        Ok(chosen)
    }

    fn name_of(&self, root: &FoundRoot) -> String {
        let disk = &self.disks[root.place.disk];
        let place = disk.areas[root.place.area].place(&disk.path);
        match &root.subvolume {
            Some(subvolume) => format!("{place} (subvolume {subvolume})"),
            None => place,
        }
    }

    fn read_system(&mut self, root: FoundRoot) -> Result<()> {
        let entries = fstab::parse(root.fstab.as_deref().unwrap_or_default());
        let source = &self.mounted[&root.place];
        let mut view = View::new(source.path(), root.subvolume.as_deref())?;
        // Names that only a boot loader on the root's own filesystem says come
        // too late for /boot; those of fstab do not.
        let roots = system::named_roots(view.root());
        old_names::assign(
            &mut self.disks,
            &entries,
            &roots,
            root.place,
            &mut self.findings,
        );
        let mounted = |place| self.mounted.get(&place);
        mounts::assign(
            &mut self.disks,
            &root,
            &entries,
            mounted,
            &mut self.findings,
        );
        self.mount_in(&mut view)?;
        self.system = system::read(view.root(), &mut self.findings)?;
        drop(view);
        if root.fstab.is_none() {
            self.findings
                .remark("the system has no /etc/fstab".to_owned());
        }
        self.finish_boot_mode();
        self.finish_nics();
        self.root = Some(root);
        Ok(())
    }

    /// The other filesystems, where fstab has them.
    fn mount_in(&self, view: &mut View) -> Result<()> {
        let mut points = Vec::new();
        for (place, mounted) in &self.mounted {
            let Content::Filesystem(it) = &self.disks[place.disk].areas[place.area].content else {
                continue;
            };
            points.extend(it.mounts.iter().map(|point| (point, mounted)));
        }
        points.sort_by_key(|(point, _)| point.path.len());
        for (point, mounted) in points.into_iter().filter(|(point, _)| point.path != "/") {
            let result = view.add(&point.path, mounted.path(), point.subvolume.as_deref());
            result.with_context(|| format!("looking into {}", point.path))?;
        }
        Ok(())
    }

    fn is_here(&self) -> bool {
        let own = |held: &HeldDisk| {
            let name = held.kernel_name.as_deref();
            name.is_some_and(|name| !name.starts_with("loop"))
        };
        self.held.iter().any(own)
    }

    fn finish_boot_mode(&mut self) {
        let efi = Path::new("/sys/firmware/efi").exists();
        let mut all = Firmware {
            here: self.is_here().then_some(efi),
            ..Firmware::default()
        };
        for (number, disk) in self.disks.iter().enumerate() {
            let mounted = |area| {
                let place = Place { disk: number, area };
                self.mounted.get(&place)
            };
            firmware::look(&mut all, disk, &self.held[number].disk, mounted);
        }
        self.system.boot = system::mode(all, &mut self.findings);
    }

    /// Where this is the machine itself, its cards tell their addresses.
    fn finish_nics(&mut self) {
        if !self.is_here() {
            return;
        }
        let here = system::nics_here();
        for nic in &mut self.system.nics {
            let same = |card: &&super::Nic| match &nic.mac {
                Some(mac) => card.mac.as_ref() == Some(mac),
                None => card.name == nic.name,
            };
            if let Some(card) = here.iter().find(same) {
                nic.mac = nic.mac.take().or_else(|| card.mac.clone());
                if nic.name.is_empty() {
                    nic.name.clone_from(&card.name);
                }
            }
        }
        if self.system.nics.is_empty() {
            self.system.nics = here;
        }
    }

    /// What stays behind without being in anybody's way.
    fn report_left_out(&mut self) {
        for disk in &self.disks {
            for area in &disk.areas {
                let Content::Unmovable(kind) = &area.content else {
                    continue;
                };
                let place = area.place(&disk.path);
                let told = |text: &String| text.contains(&place);
                if !self.findings.obstacles.iter().any(told) {
                    self.findings
                        .remark(format!("{place} holds {kind}, which is left behind"));
                }
            }
        }
    }

    /// The root's disk first.
    fn order(&mut self) {
        if let Some(root) = &self.root {
            let first = self.disks.remove(root.place.disk);
            self.disks.insert(0, first);
        }
    }
}
