//! Which area a word of fstab names.

use p2v_fixes::Machine;
use p2v_fixes::machine::{Resolved, Spec, Volume};

use super::Disk;

/// An area: the number of its disk, and its own on it, in the order in which
/// they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In the list of disks.
    pub disk: usize,
    /// In the disk's list of areas.
    pub area: usize,
}

/// What a word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// No block device.
    NoDevice,
    /// This area.
    Area(Place),
    /// A device by a name that another kernel gave it.
    KernelName,
    /// A device that is not among the disks.
    Missing,
    /// More than one area.
    Ambiguous,
}

/// All areas by their names.
#[derive(Debug)]
pub struct Index {
    machines: Vec<(Place, Machine)>,
}

impl Index {
    /// Of these disks, with the names that they have now.
    pub fn new(disks: &[Disk]) -> Self {
        let mut machines = Vec::new();
        for (disk, it) in disks.iter().enumerate() {
            for (area, it) in it.areas.iter().enumerate() {
                let volume = Volume {
                    was: it.names.clone(),
                    ..Volume::default()
                };
                let machine = Machine {
                    volumes: vec![volume],
                    ..Machine::default()
                };
                machines.push((Place { disk, area }, machine));
            }
        }
        Self { machines }
    }

    /// What `word` names.
    pub fn find(&self, word: &str) -> Known {
        let Some(spec) = Spec::parse(word) else {
            return Known::NoDevice;
        };
        let mut found = self.machines.iter().filter(|(_, machine)| {
            matches!(
                machine.resolve(word),
                Resolved::Right(_) | Resolved::Renamed(..)
            )
        });
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Known::Area(*place),
            (Some(_), Some(_)) => Known::Ambiguous,
            (None, _) if spec.is_path() && !word.starts_with("/dev/disk/") => Known::KernelName,
            (None, _) => Known::Missing,
        }
    }
}
