//! Daemons of hardware that is not there any more: turned off as the init
//! system does it, never removed. irqbalance, fstrim and the clock's daemons
//! are of use in an instance and stay.

use anyhow::Result;

use crate::machine::Machine;
use crate::{Draft, Verdict};

/// Watchers of processors, fans, batteries, disks and management boards, and
/// the vendors' agents.
const DAEMONS: [&str; 46] = [
    // Processors and heat.
    "mcelog",
    "rasdaemon",
    "edac",
    "thermald",
    "cpuspeed",
    "cpufrequtils",
    "loadcpufreq",
    "lm_sensors",
    "lm-sensors",
    "fancontrol",
    "acpi-fakekey",
    "powerd",
    // Disks, controllers and multipath to them.
    "smartd",
    "smartmontools",
    "hddtemp",
    "megaraid-status",
    "mpt-status",
    "aacraid-status",
    "cciss-vol-statusd",
    "3ware-status",
    "msm_profile",
    "vivaldiframeworkd",
    "hdparm",
    // Management boards.
    "ipmi",
    "ipmievd",
    "openipmi",
    "ipmidetectd",
    "bmc-watchdog",
    "ipmi_port",
    // HP, Dell, IBM, Lenovo.
    "hp-health",
    "hp-snmp-agents",
    "hp-asrd",
    "hpsmhd",
    "hp-ams",
    "amsd",
    "smad",
    "srvadmin-services",
    "dataeng",
    "dsm_om_connsvc",
    "dsm_om_shrsvc",
    "dsm_sa_datamgrd",
    "dsm_sa_eventmgrd",
    "instsvcdrv",
    "racsvc",
    "ibmasm",
    "mlnx-en",
];

const UNITS: [&str; 3] = [
    "lib/systemd/system",
    "usr/lib/systemd/system",
    "etc/systemd/system",
];
const WANTS: &str = "etc/systemd/system";

/// Runlevels in which a service may be on.
const LEVELS: [&str; 5] = ["2", "3", "4", "5", "S"];

/// Turns them off.
pub fn run(_: &Machine, draft: &mut Draft) -> Result<Verdict> {
    let mut done = Vec::new();
    for daemon in DAEMONS {
        let mut off = false;
        if crate::system::has_systemd(draft) {
            off |= mask(draft, daemon)?;
        }
        off |= turn_off_rc(draft, daemon)?;
        off |= turn_off_upstart(draft, daemon)?;
        done.extend(off.then(|| format!("{daemon} is off")));
    }
    Ok(Verdict::of(done, "no daemon of old hardware starts"))
}

/// systemd: `systemctl mask`, a link to nowhere. An admin's own unit of that
/// name, which is a file where the mask would be, is left alone.
fn mask(draft: &mut Draft, daemon: &str) -> Result<bool> {
    let unit = format!("{daemon}.service");
    let native = UNITS
        .iter()
        .any(|directory| draft.exists(format!("{directory}/{unit}")));
    let script = draft.exists(format!("etc/init.d/{daemon}")) && is_on_rc(draft, daemon)?;
    let path = format!("{WANTS}/{unit}");
    // An alias, which is a link too, is of a daemon that is in the list itself.
    let taken = draft.link(&path)?.is_some() || draft.exists(&path);
    if taken || !(native || script) {
        return Ok(false);
    }
    draft.symlink("/dev/null", path);
    Ok(true)
}

fn rc_directories(draft: &Draft) -> Vec<String> {
    let all = LEVELS.iter().flat_map(|level| {
        ["etc", "etc/rc.d", "etc/init.d"].map(|base| format!("{base}/rc{level}.d"))
    });
    // /etc/rc2.d may be a link to /etc/rc.d/rc2.d: one of them is enough.
    let mut seen = std::collections::BTreeSet::new();
    all.filter(|directory| {
        let real = draft.root().real_path(directory).ok().flatten();
        real.is_some_and(|real| seen.insert(real))
    })
    .collect()
}

fn is_on_rc(draft: &Draft, daemon: &str) -> Result<bool> {
    for directory in rc_directories(draft) {
        if draft
            .list(&directory)?
            .iter()
            .any(|name| starts(name, daemon))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `S20smartd`
fn starts(name: &str, daemon: &str) -> bool {
    let rest = name.strip_prefix('S').unwrap_or_default();
    rest.len() == daemon.len() + 2
        && rest.ends_with(daemon)
        && rest.bytes().take(2).all(|byte| byte.is_ascii_digit())
}

/// sysvinit: the starting link becomes a stopping one, as `update-rc.d
/// disable` and `chkconfig off` make it.
fn turn_off_rc(draft: &mut Draft, daemon: &str) -> Result<bool> {
    let mut off = false;
    for directory in rc_directories(draft) {
        for name in draft.list(&directory)? {
            if !starts(&name, daemon) {
                continue;
            }
            let from = format!("{directory}/{name}");
            let Some(target) = draft.link(&from)? else {
                continue;
            };
            let number: u8 = name[1..3].parse().unwrap_or(0);
            draft.remove(&from);
            draft.symlink(
                target,
                format!("{directory}/K{:02}{daemon}", (100 - number).min(99)),
            );
            off = true;
        }
    }
    Ok(off)
}

/// upstart: an override.
fn turn_off_upstart(draft: &mut Draft, daemon: &str) -> Result<bool> {
    let over = format!("etc/init/{daemon}.override");
    if !draft.exists(format!("etc/init/{daemon}.conf")) || draft.exists(&over) {
        return Ok(false);
    }
    draft.write(over, "manual\n")?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{machine, run as run_fix};

    #[test]
    fn each_init_system() {
        let outcome = run_fix(
            run,
            &machine("{}"),
            &[
                ("usr/lib/systemd/systemd", ""),
                ("usr/lib/systemd/system/smartd.service", ""),
                ("usr/lib/systemd/system/irqbalance.service", ""),
                ("usr/lib/systemd/system/fstrim.timer", ""),
                ("usr/lib/systemd/system/thermald.service", ""),
                ("etc/systemd/system/thermald.service", "[Service]\n"),
                ("etc/rc2.d/S20hp-health", "-> ../init.d/hp-health"),
                ("etc/init.d/hp-health", ""),
            ],
        )
        .unwrap();
        let expected = [
            "etc/rc2.d/K80hp-health",
            "etc/rc2.d/S20hp-health",
            "etc/systemd/system/hp-health.service",
            "etc/systemd/system/smartd.service",
        ];
        assert_eq!(outcome.changed(), expected);
        assert_eq!(
            outcome.file("etc/systemd/system/smartd.service"),
            "-> /dev/null"
        );
        assert_eq!(
            outcome.file("etc/rc2.d/K80hp-health"),
            "-> ../init.d/hp-health"
        );
        let files = [
            ("etc/init/mcelog.conf", ""),
            ("etc/rc.d/rc3.d/S13irqbalance", "-> ../init.d/irqbalance"),
            ("etc/rc.d/rc3.d/S97smartd", "-> ../init.d/smartd"),
            ("etc/rc3.d", "-> rc.d/rc3.d"),
        ];
        let outcome = run_fix(run, &machine("{}"), &files).unwrap();
        let expected = [
            "etc/init/mcelog.override",
            "etc/rc.d/rc3.d/K03smartd",
            "etc/rc.d/rc3.d/S97smartd",
        ];
        let changed: Vec<_> = outcome
            .changed()
            .into_iter()
            .map(|path| path.replace("etc/rc3.d", "etc/rc.d/rc3.d"))
            .collect();
        assert_eq!(changed, expected);
    }
}
