//! The proof, taken over SSH, that a machine runs wholly in RAM and that its
//! disk is free: the mounts say so, and the tools that refuse a busy disk
//! rewrite it.

use anyhow::{Result, ensure};

use crate::ssh::Ssh;

/// A command line run in the machine, and what it printed.
pub type Shown = (String, String);

/// Looks only: fails unless the root is a tmpfs, no block device is mounted,
/// and there is no swap.
pub fn check_released(ssh: &Ssh) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let root = ask(
        ssh,
        &mut shown,
        "findmnt --noheadings --output TARGET,SOURCE,FSTYPE,SIZE,USED /",
    )?;
    ensure!(
        root.split_whitespace().nth(2) == Some("tmpfs"),
        "the root is not in RAM: {root}"
    );
    // Filesystems that are on a device need one; all else is in RAM.
    let mounts = ssh.run("cat /proc/mounts")?;
    let on_devices: Vec<&str> = mounts
        .lines()
        .filter(|line| line.starts_with("/dev/"))
        .collect();
    shown.push((
        "grep -c ^/dev/ /proc/mounts".to_owned(),
        on_devices.len().to_string(),
    ));
    ensure!(on_devices.is_empty(), "still mounted: {on_devices:?}");
    let swap = ask(ssh, &mut shown, "swapon --show --noheadings")?;
    ensure!(swap.is_empty(), "swap is on: {swap}");
    ask(
        ssh,
        &mut shown,
        "lsblk --nodeps --output NAME,SIZE,RO,MOUNTPOINTS /dev/vda",
    )?;
    Ok(shown)
}

/// Gives the disk a new partition table and filesystem, which both fail on a
/// disk in use, and uses the filesystem.
pub fn rewrite_disk(ssh: &Ssh) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    ask(
        ssh,
        &mut shown,
        "echo 'label: gpt\n,,L' | sfdisk --quiet --wipe always --wipe-partitions always /dev/vda",
    )?;
    ssh.run("udevadm settle --timeout 30 || true")?;
    ask(ssh, &mut shown, "mkfs.ext4 -q -F /dev/vda1")?;
    ssh.run("mkdir -p /mnt && mount /dev/vda1 /mnt && cp /etc/hostname /mnt && umount /mnt")?;
    ask(ssh, &mut shown, "lsblk --output NAME,SIZE,FSTYPE /dev/vda")?;
    Ok(shown)
}

fn ask(ssh: &Ssh, shown: &mut Vec<Shown>, line: &str) -> Result<String> {
    let answer = ssh.run(line)?;
    shown.push((line.to_owned(), answer.clone()));
    Ok(answer)
}
