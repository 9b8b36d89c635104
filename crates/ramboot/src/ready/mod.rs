//! The service that runs once in the RAM system, when the network and sshd
//! are up: it proves that the disks are free, and says on every console where
//! the machine is to be reached, which host keys it has, and that it is ready.
//!
//! The last line is "p2v: ready", or "p2v: not ready: " and the reason. Nothing
//! is changed, and nothing is opened for writing but consoles.

mod consoles;
mod disks;
mod host_keys;
mod network;
mod users;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use consoles::show;
pub use disks::{check_free, check_root};
pub use host_keys::fingerprints;
pub use network::{addresses, listens, ssh_ports};

/// How long an address and sshd are waited for: a DHCP server may answer late,
/// and the first boot of a slow machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the other network cards are waited for once one has an address:
/// one that is not connected must not hold up the rest.
const SETTLE: Duration = Duration::from_secs(5);

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(200);

/// Says on the consoles and in the log what the module describes. Waits
/// up to 60 seconds for an address and for sshd. Fails if the machine is not
/// ready; that has been said on the consoles then, too.
pub fn run() -> Result<()> {
    let found = examine();
    let mut lines = introduction();
    match &found {
        Ok(()) => lines.push("ready".to_owned()),
        Err(error) => lines.push(format!("not ready: {error:#}")),
    }
    for line in &lines {
        tracing::info!("{line}");
    }
    let text: String = lines.iter().map(|line| format!("p2v: {line}\n")).collect();
    consoles::show(&text);
    found
}

/// What must hold for the machine to be ready.
fn examine() -> Result<()> {
    disks::check_root()?;
    if !wait(PATIENCE, || Ok(!network::addresses()?.is_empty()))? {
        bail!(
            "there is no address after {} s: look at the instance's network card and the DHCP \
             server, then run `p2v ready`",
            PATIENCE.as_secs()
        );
    }
    let ports = network::ssh_ports();
    if !wait(PATIENCE, || network::listens(&ports))? {
        let (ports, seconds) = (list(&ports), PATIENCE.as_secs());
        bail!(
            "there is no SSH server on port {ports} after {seconds} s: see `systemctl status ssh`, \
             then run `p2v ready`"
        );
    }
    wait(SETTLE, network::every_card_has_an_address)?;
    // Last, so that it holds now and not a minute ago.
    disks::check_free()
}

/// Whether it came true in that time.
fn wait(patience: Duration, mut there: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    while !there()? {
        p2v_sys::interrupt::check()?;
        if start.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}

/// The lines that tell where this machine is and how to know it; what cannot
/// be told is said, since the rest is still of use.
fn introduction() -> Vec<String> {
    let name = nix::unistd::gethostname().context("reading the host name");
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let mut lines = vec![match name {
        Ok(name) => format!("host {name}"),
        Err(error) => format!("{error:#}"),
    }];
    match network::addresses() {
        Ok(addresses) if addresses.is_empty() => lines.push("no address".to_owned()),
        Ok(addresses) => lines.extend(addresses.iter().map(|it| format!("address {it}"))),
        Err(error) => lines.push(format!("{error:#}")),
    }
    match host_keys::fingerprints(std::path::Path::new("/etc/ssh")) {
        Ok(keys) if keys.is_empty() => lines.push("no SSH host key".to_owned()),
        Ok(keys) => lines.extend(keys.iter().map(|it| format!("host key {it}"))),
        Err(error) => lines.push(format!("{error:#}")),
    }
    lines
}

fn list(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    ports.join(" or ")
}
