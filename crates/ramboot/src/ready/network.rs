//! Where this machine is to be reached.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use nix::net::if_::InterfaceFlags;
use p2v_sys::Root;

/// An address that other machines can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    interface: String,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.ip, self.interface)
    }
}

/// Every address of the machine but loopback and link-local ones, in the
/// kernel's order.
pub fn addresses() -> Result<Vec<Address>> {
    let interfaces = nix::ifaddrs::getifaddrs().context("listing the network's addresses")?;
    let mut addresses = Vec::new();
    for interface in interfaces {
        let Some(ip) = interface.address.as_ref().and_then(ip_of) else {
            continue;
        };
        if is_global(ip) {
            addresses.push(Address {
                ip,
                interface: interface.interface_name,
            });
        }
    }
    Ok(addresses)
}

/// Whether every network card that is up has an address: an announcement made
/// before would leave some out.
pub fn every_card_has_an_address() -> Result<bool> {
    let interfaces = nix::ifaddrs::getifaddrs().context("listing the network's addresses")?;
    let (mut cards, mut addressed) = (BTreeSet::new(), BTreeSet::new());
    for interface in interfaces {
        let flags = interface.flags;
        let name = interface.interface_name;
        if flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            cards.insert(name.clone());
        }
        if interface
            .address
            .as_ref()
            .and_then(ip_of)
            .is_some_and(is_global)
        {
            addressed.insert(name);
        }
    }
    Ok(cards.is_subset(&addressed))
}

fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

fn is_global(ip: IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !local && !ip.is_loopback() && !ip.is_unspecified()
}

/// The ports that sshd's configuration names; 22 if none.
pub fn ssh_ports() -> Vec<u16> {
    let mut ports = Vec::new();
    if let Ok(root) = Root::open(Path::new("/etc/ssh")) {
        let mut files = vec![std::path::PathBuf::from("sshd_config")];
        for name in root.list("sshd_config.d").unwrap_or_default() {
            files.push(Path::new("sshd_config.d").join(name));
        }
        for file in files {
            // sshd itself complains about what cannot be read.
            let text = root.read_text(file).ok().flatten().unwrap_or_default();
            ports.extend(text.lines().filter_map(port_of));
        }
    }
    if ports.is_empty() {
        ports.push(22);
    }
    ports
}

/// The port of a line "Port 22", "port=22".
fn port_of(line: &str) -> Option<u16> {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=');
    let mut words = words.by_ref().filter(|word| !word.is_empty());
    let keyword = words.next()?;
    keyword
        .eq_ignore_ascii_case("port")
        .then(|| words.next())??
        .parse()
        .ok()
}

/// Whether somebody listens on one of these TCP ports.
pub fn listens(ports: &[u16]) -> Result<bool> {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => {
                let mut listening = text.lines().filter_map(listening_port);
                if listening.any(|port| ports.contains(&port)) {
                    return Ok(true);
                }
            }
            // A kernel without IPv6.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {table}")),
        }
    }
    Ok(false)
}

/// The local port of a line of /proc/net/tcp whose socket listens. See
/// <https://docs.kernel.org/networking/proc_net_tcp.html>.
fn listening_port(line: &str) -> Option<u16> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    let (_, port) = local.rsplit_once(':')?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_addresses_are_told_from_local_ones() {
        for (text, global) in [
            ("192.0.2.5", true),
            ("10.0.2.15", true),
            ("127.0.0.1", false),
            ("169.254.3.4", false),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_global(text.parse().unwrap()), global, "{text}");
        }
    }

    #[test]
    fn the_addresses_are_those_that_ip_lists() {
        let listing = p2v_sys::Cmd::new("ip", "asking ip").args(["-o", "addr", "show"]);
        let Ok(listing) = listing.read() else {
            p2v_testing::skip("iproute2 is not installed");
            return;
        };
        let mut expected: Vec<IpAddr> = listing
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3))
            .map(|address| address.split('/').next().unwrap().parse().unwrap())
            .filter(|ip| is_global(*ip))
            .collect();
        let mut found: Vec<IpAddr> = addresses().unwrap().iter().map(|it| it.ip).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_listening_socket_is_seen_and_only_while_it_listens() {
        // The kernel shows the table piecemeal while others change it: what
        // holds is seen at the latest after some looks.
        let becomes = |port: u16, expected: bool| {
            let mut looks = (0..100).map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                listens(&[port]).unwrap()
            });
            looks.any(|found| found == expected)
        };
        for place in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(place) else {
                p2v_testing::skip(&format!("cannot listen on {place}"));
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert!(becomes(port, true), "{place}");
            drop(listener);
            assert!(becomes(port, false), "{place}");
        }
    }

    #[test]
    fn the_port_is_read_as_sshd_does() {
        assert_eq!(port_of("Port 22"), Some(22));
        assert_eq!(port_of("  port = 2222 # ours"), Some(2222));
        assert_eq!(port_of("PORT=2022"), Some(2022));
        for line in [
            "#Port 22",
            "PortForwarding 22",
            "Port",
            "Port x",
            "",
            "Port 99999",
        ] {
            assert_eq!(port_of(line), None, "{line}");
        }
    }
}
