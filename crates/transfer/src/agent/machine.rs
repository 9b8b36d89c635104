//! What the fixes must know: the target as it is found, and the plan's word on
//! what everything was called.

use std::collections::BTreeMap;

use anyhow::Result;
use p2v_fixes::Machine;
use p2v_fixes::machine::{Nic, Volume, found};
use p2v_sys::Root;
use p2v_sys::filesystem::{Content, Signature};
use p2v_sys::partition::table::Table;

use super::{check, recognise};
use crate::format::label_bytes;
use crate::plan::{self, Fill, Plan, PlannedDisk};
use crate::source::Nic as OldNic;

/// Describes the machine whose system's tree is mounted at `root`.
pub fn of(plan: &Plan, root: &Root) -> Result<Machine> {
    let boot_disk = plan.disks.first().map(|disk| &disk.device);
    let boot_disk = boot_disk.map_or_else(String::new, |disk| disk.display().to_string());
    let known = BTreeMap::from([("BLOCKDEV".to_owned(), boot_disk.clone())]);
    let found = found::machine(root, &known)?;
    let mut volumes = Vec::new();
    for disk in &plan.disks {
        let table = disk.table.as_ref().map(|_| Table::read(&disk.device));
        let table = table.transpose()?.flatten();
        for planned in &disk.volumes {
            volumes.extend(volume(disk, planned, table.as_ref())?);
        }
    }
    let gone = plan.left_out.iter().flat_map(|left| left.was.clone());
    let old_disks = plan.disks.iter().flat_map(|disk| {
        let own = disk.source.display().to_string();
        let mut names = disk.source_names.clone();
        if own.starts_with("/dev/") && !names.contains(&own) {
            names.push(own);
        }
        names
    });
    Ok(Machine {
        hostname: plan.hostname,
        boot: plan.boot,
        boot_disk,
        volumes,
        gone: gone.collect(),
        old_disks: old_disks.collect(),
        nics: with_old_names(found.nics, &plan.system.nics),
        ..found
    })
}

fn volume(
    disk: &PlannedDisk,
    planned: &plan::Volume,
    table: Option<&Table>,
) -> Result<Option<Volume>> {
    let kind = match &planned.fill {
        Fill::Files { format, .. } => format.kind.clone(),
        Fill::Blocks { kind } => kind.clone(),
        Fill::Swap => "swap".to_owned(),
        Fill::Reserved => return Ok(None),
    };
    // What it is, not what it was to be.
    let signature = match recognise::probe(disk, planned)? {
        Content::Known(signature) => signature,
        Content::Nothing | Content::Ambiguous => Signature::default(),
    };
    let entry = table.and_then(|table| check::entry_of(table, planned.number));
    let own =
        |name: &Option<String>, planned: &Option<String>| name.clone().or_else(|| planned.clone());
    Ok(Some(Volume {
        device: planned.device(disk).display().to_string(),
        kind,
        uuid: own(&signature.uuid, &planned.identity.uuid),
        // blkid's escapes are not the label's own.
        label: planned
            .identity
            .label
            .as_ref()
            .and_then(|label| String::from_utf8(label_bytes(label)).ok()),
        partuuid: entry
            .and_then(|entry| entry.uuid.as_ref())
            .map(|uuid| uuid.to_ascii_lowercase())
            .or_else(|| table.and_then(|table| mbr_partuuid(table, planned.number))),
        partlabel: entry.and_then(|entry| entry.name.clone()),
        mount_point: planned.mounts.first().map(|mount| mount.path.clone()),
        was: planned.was.clone(),
    }))
}

/// What the kernel makes of an MBR's id and a partition's number.
fn mbr_partuuid(table: &Table, number: u32) -> Option<String> {
    let id = table.id.as_ref()?.strip_prefix("0x")?;
    (table.label == "dos").then(|| format!("{}-{number:02x}", id.to_ascii_lowercase()))
}

/// The instance's cards stand in for the source's: one that was given a card's
/// address for that card, the others in order.
fn with_old_names(cards: Vec<Nic>, old: &[OldNic]) -> Vec<Nic> {
    let has_address = |card: &Nic, nic: &OldNic| {
        let mac = nic.mac.as_deref();
        mac.is_some_and(|mac| mac.eq_ignore_ascii_case(&card.mac))
    };
    let (taken, mut rest): (Vec<_>, Vec<_>) = old
        .iter()
        .partition(|nic| cards.iter().any(|card| has_address(card, nic)));
    rest.reverse();
    let stands_in = |card: Nic| {
        let own = taken.iter().copied().find(|nic| has_address(&card, nic));
        let old = own.or_else(|| rest.pop());
        Nic {
            old_name: old
                .map(|nic| nic.name.clone())
                .filter(|name| !name.is_empty()),
            old_mac: old.and_then(|nic| nic.mac.clone()),
            ..card
        }
    };
    cards.into_iter().map(stands_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_with_an_old_ones_address_stands_in_for_that_one() {
        let card = |name: &str, mac: &str| Nic {
            name: name.to_owned(),
            mac: mac.to_owned(),
            ..Nic::default()
        };
        let cards = vec![
            card("ens3", "aa:00:00:00:00:01"),
            card("ens4", "00:11:22:33:44:AA"),
            card("ens5", "aa:00:00:00:00:02"),
            card("ens6", "aa:00:00:00:00:03"),
        ];
        let old = |name: &str, mac: Option<&str>| OldNic {
            name: name.to_owned(),
            mac: mac.map(str::to_owned),
        };
        let olds = [
            old("eth0", Some("00:11:22:33:44:aa")),
            old("eth1", None),
            old("eth2", Some("00:11:22:33:44:bb")),
        ];
        let named = with_old_names(cards, &olds);
        let names: Vec<_> = named.iter().map(|nic| nic.old_name.as_deref()).collect();
        assert_eq!(names, [Some("eth1"), Some("eth0"), Some("eth2"), None]);
    }
}
