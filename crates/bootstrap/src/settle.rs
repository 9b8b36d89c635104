//! Configuration for a system that lives in RAM: it leaves every disk alone,
//! starts nothing that it has no use for, and bears nothing of the node that
//! built it.
//!
//! All of it is data, below, with the reason of each entry.

use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::Root;

/// A file that every bootstrap root has.
#[derive(Debug)]
pub struct Placed {
    /// Where, inside the root.
    pub path: &'static str,
    /// Its whole content.
    pub content: &'static str,
    /// The reason.
    pub why: &'static str,
}

/// Files that replace what the packages brought.
pub const FILES: &[Placed] = &[
    Placed {
        path: "etc/lvm/lvmlocal.conf",
        content: "\
# Logical volumes on the disks are for whoever works on them: an active one
# would hold its disk open. `vgchange -ay` still activates.
activation {
	auto_activation_volume_list = []
}
global {
	event_activation = 0
}
",
        why: "no block device may be open when the target is ready",
    },
    Placed {
        path: "etc/mdadm/mdadm.conf",
        content: "\
# Arrays on the disks are assembled by hand only: an assembled one would hold
# its disks open.
AUTO -all
HOMEHOST <system>
MAILADDR root
",
        why: "the same; and the package lists the arrays of the node that built the root",
    },
    Placed {
        path: "etc/initramfs-tools/update-initramfs.conf",
        content: "\
# The instance boots from p2v's own initrd.
update_initramfs=no
backup_initramfs=no
",
        why: "an upgrade inside the target must not spend minutes on an initrd that is never used",
    },
    Placed {
        path: "etc/systemd/system/ssh.service",
        content: "\
[Unit]
Description=OpenBSD Secure Shell server
Documentation=man:sshd(8) man:sshd_config(5)

[Service]
EnvironmentFile=-/etc/default/ssh
ExecStart=/usr/sbin/sshd -D $SSHD_OPTS
ExecReload=/bin/kill -HUP $MAINPID
KillMode=process
Restart=on-failure
RestartSec=1
Type=notify
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755

[Install]
WantedBy=multi-user.target
",
        why: "sshd listens on addresses that come later too: waiting for the network, as the \
              package's unit does, only delays the login, for minutes where DHCP never answers",
    },
    Placed {
        path: "etc/acpi/events/power-button",
        content: "event=button[ /]power\naction=/sbin/poweroff\n",
        why: "how a cluster shuts an instance down; without logind nobody else listens",
    },
    Placed {
        path: "etc/systemd/journald.conf.d/p2v.conf",
        content: "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
        why: "the journal shares the RAM with the root",
    },
    Placed {
        path: "etc/machine-id",
        content: "",
        why: "each instance gets its own; an empty file is not a first boot to systemd",
    },
];

/// Units that a RAM-only target has no use for.
const UNITS: &[(&str, &str)] = &[
    (
        "blk-availability.service",
        "LVM: nothing is activated by itself",
    ),
    (
        "lvm2-monitor.service",
        "LVM: the same, and it scans every disk",
    ),
    (
        "mdadm-shutdown.service",
        "RAID: shuts an initrd down that is gone",
    ),
    (
        "mdcheck_continue.timer",
        "RAID: nothing lives long enough to be checked",
    ),
    ("mdcheck_start.timer", "RAID: the same"),
    (
        "mdmonitor-oneshot.timer",
        "RAID: nobody reads root's mail here",
    ),
    ("mdmonitor.service", "RAID: the same"),
    ("apt-daily-upgrade.timer", "an upgrade would fill the RAM"),
    ("apt-daily.timer", "the same"),
    ("dpkg-db-backup.timer", "the root is gone at the next boot"),
    ("e2scrub_all.timer", "looks for logical volumes to check"),
    ("e2scrub_reap.service", "the same"),
    (
        "fstrim.timer",
        "discards blocks of what happens to be mounted",
    ),
    ("logrotate.timer", "the root is gone at the next boot"),
    ("man-db.timer", "there are no manual pages"),
    (
        "xfs_scrub_all.timer",
        "there is no xfs_scrub, and nothing mounted for it",
    ),
    (
        "systemd-hwdb-update.service",
        "there is no hardware database to compile",
    ),
    (
        "getty-static.service",
        "five more logins on a screen that one serves; tty1 and the serial line stay",
    ),
    ("systemd-repart.service", "writes partition tables"),
    ("systemd-pstore.service", "there is no disk to archive to"),
    (
        "systemd-random-seed.service",
        "a seed from the cache would be the same in every instance",
    ),
    ("systemd-journal-flush.service", "the journal is volatile"),
    (
        "systemd-machine-id-commit.service",
        "the machine-id is there already",
    ),
    (
        "systemd-update-utmp.service",
        "boot records in RAM help nobody, and cost a start each",
    ),
    ("systemd-update-utmp-runlevel.service", "the same"),
    ("systemd-binfmt.service", "no foreign programs run here"),
    ("proc-sys-fs-binfmt_misc.automount", "the same"),
    ("dev-hugepages.mount", "no virtual machines run here"),
    (
        "sys-fs-fuse-connections.mount",
        "costs a module and a start",
    ),
    ("sys-kernel-debug.mount", "costs a start"),
    ("sys-kernel-tracing.mount", "the same"),
];

/// udev rules that open disks or start what does.
const UDEV_RULES: &[(&str, &str)] = &[
    ("64-md-raid-assembly.rules", "assembles arrays"),
    ("69-lvm.rules", "activates volume groups"),
    ("69-md-clustered-confirm-device.rules", "clustered arrays"),
    ("85-hwclock.rules", "the kernel has set the clock already"),
    ("96-e2scrub.rules", "reaps snapshots"),
];

/// Generators that make units of what they find on disks or on the command
/// line of the machine's former kernel.
const GENERATORS: &[(&str, &str)] = &[
    (
        "systemd-gpt-auto-generator",
        "mounts and swaps on partitions by their type",
    ),
    (
        "systemd-hibernate-resume-generator",
        "resumes from a swap partition",
    ),
    ("systemd-cryptsetup-generator", "opens encrypted disks"),
    ("systemd-veritysetup-generator", "the same"),
    ("systemd-integritysetup-generator", "the same"),
    (
        "systemd-bless-boot-generator",
        "writes to the EFI system partition",
    ),
    (
        "systemd-ssh-generator",
        "opens further ways to log in, past the one that is asked for",
    ),
    (
        "systemd-tpm2-generator",
        "waits for a TPM that nothing uses",
    ),
];

/// Where each kind is masked, by a link to /dev/null.
const MASKS: [(&str, &[(&str, &str)]); 3] = [
    ("etc/systemd/system", UNITS),
    ("etc/udev/rules.d", UDEV_RULES),
    ("etc/systemd/system-generators", GENERATORS),
];

/// Puts all of it into the tree `target`.
pub fn settle(target: &Path) -> Result<()> {
    let root = Root::open(target)?;
    for file in FILES {
        root.write(file.path, file.content, 0o644)?;
    }
    for (directory, masked) in MASKS {
        root.create_dir_all(directory)?;
        for (name, _why) in masked {
            root.symlink("/dev/null", Path::new(directory).join(name))?;
        }
    }
    Ok(())
}

/// Marks /etc and /var as up to date with /usr, so that systemd does not
/// rebuild its caches at every boot. The last step, after /usr is done.
pub fn seal(target: &Path) -> Result<()> {
    let root = Root::open(target)?;
    let usr = target.join("usr");
    let time = std::fs::symlink_metadata(&usr)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("examining {}", usr.display()))?;
    for path in ["etc/.updated", "var/.updated"] {
        root.write(path, "", 0o644)?;
        root.open_file(path)?
            .set_modified(time)
            .with_context(|| format!("dating {}", target.join(path).display()))?;
    }
    Ok(())
}

/// A text that changes with the tables.
pub(crate) fn fingerprint() -> String {
    format!("{FILES:?} {MASKS:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_root_masks_what_opens_disks() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("etc/mdadm")).unwrap();
        std::fs::create_dir(root.join("usr")).unwrap();
        let config = root.join("etc/mdadm/mdadm.conf");
        std::fs::write(&config, "ARRAY /dev/md/node metadata=1.2").unwrap();
        settle(root).unwrap();
        seal(root).unwrap();
        let text = std::fs::read_to_string(config).unwrap();
        assert!(text.contains("AUTO -all") && !text.contains("ARRAY"));
        for path in [
            "etc/udev/rules.d/69-lvm.rules",
            "etc/systemd/system/fstrim.timer",
            "etc/systemd/system-generators/systemd-gpt-auto-generator",
        ] {
            let target = std::fs::read_link(root.join(path)).unwrap();
            assert_eq!(target, Path::new("/dev/null"), "{path}");
        }
        let updated = std::fs::metadata(root.join("etc/.updated")).unwrap();
        let usr = std::fs::metadata(root.join("usr")).unwrap();
        assert!(updated.modified().unwrap() >= usr.modified().unwrap());
    }
}
