//! An instance's network interfaces and the networks they are in, as Ganeti
//! describes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A network interface of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// Its hardware address.
    pub mac: Option<MacAddress>,
    /// The address Ganeti gives it, if any.
    pub ip: Option<IpAddr>,
    /// `bridged`, `routed`, `openvswitch`, …
    pub mode: Option<String>,
    /// The interface or routing table on the node.
    pub link: Option<String>,
    /// The bridge on the node, in bridged mode.
    pub bridge: Option<String>,
    /// Its name, if the admin gave it one.
    pub name: Option<String>,
    /// Ganeti's network, if the interface is in one.
    pub network: Option<Network>,
}

/// One of Ganeti's networks: either family may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: Option<String>,
    /// Ganeti's UUID of it.
    pub uuid: Option<String>,
    /// The IPv4 subnet.
    pub subnet: Option<Subnet<Ipv4Addr>>,
    /// The IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 subnet.
    pub subnet6: Option<Subnet<Ipv6Addr>>,
    /// The IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// How the hardware addresses in it begin: `aa:bb:cc`.
    pub mac_prefix: Option<String>,
    /// The admin's tags.
    pub tags: Vec<String>,
}

/// An Ethernet address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MacAddress(String);

impl MacAddress {
    /// Six pairs of hex digits with colons between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_hex_pairs(text, 6) {
            return Err("not a hardware address: six pairs of hex digits, aa:bb:cc:...".to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Whether `text` is `pairs` pairs of hex digits with colons between them.
pub(crate) fn is_hex_pairs(text: &str, pairs: usize) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(':').count() == pairs && text.split(':').all(pair)
}

/// A family of addresses, as [`Subnet`] needs it.
pub trait Family: Copy + FromStr + fmt::Display {
    /// The number of bits of an address.
    const BITS: u8;
    /// The family's name in messages.
    const NAME: &'static str;
}

impl Family for Ipv4Addr {
    const BITS: u8 = 32;
    const NAME: &'static str = "IPv4";
}

impl Family for Ipv6Addr {
    const BITS: u8 = 128;
    const NAME: &'static str = "IPv6";
}

/// A network address and its prefix's length in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet<A> {
    /// The network's address.
    pub address: A,
    /// The length of the prefix, in bits.
    pub prefix: u8,
}

impl<A: Family> FromStr for Subnet<A> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "not an {} subnet: ADDRESS/BITS, at most {} bits",
                A::NAME,
                A::BITS
            )
        };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        if prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > A::BITS {
            return Err(wrong());
        }
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Self { address, prefix })
    }
}

impl<A: fmt::Display> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<A: fmt::Display> Serialize for Subnet<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Subnet<Ipv4Addr> {
    /// The subnet's mask: 255.255.255.0 for 24 bits.
    pub fn netmask(&self) -> Ipv4Addr {
        let host_bits = 32 - u32::from(self.prefix);
        Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_both_families() {
        let v4 = |text: &str| text.parse::<Subnet<Ipv4Addr>>();
        let v6 = |text: &str| text.parse::<Subnet<Ipv6Addr>>();
        let net = v4("192.0.2.0/24").unwrap();
        assert_eq!(net.to_string(), "192.0.2.0/24");
        let masks = [
            (0, "0.0.0.0"),
            (1, "128.0.0.0"),
            (26, "255.255.255.192"),
            (32, "255.255.255.255"),
        ];
        for (prefix, mask) in masks {
            let net = v4(&format!("192.0.2.0/{prefix}")).unwrap();
            assert_eq!(net.netmask().to_string(), mask);
        }
        assert_eq!(v6("2001:db8::/64").unwrap().to_string(), "2001:db8::/64");
        for bad in [
            "",
            "/",
            "192.0.2.0",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/+8",
            "192.0.2.0/256",
            "192.0.2/24",
            "2001:db8::/64",
            "192.0.2.0/24 ",
            "192.0.2.0/2\n",
        ] {
            assert!(v4(bad).is_err(), "{bad:?}");
        }
        for bad in ["192.0.2.0/24", "2001:db8::/129", "fe80::1%eth0/64"] {
            assert!(v6(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hardware_addresses() {
        let mac: MacAddress = "AA:00:00:12:34:5f".parse().unwrap();
        assert_eq!(mac.as_str(), "aa:00:00:12:34:5f");
        for bad in [
            "",
            "aa:00",
            "aa:00:00:12:34:5g",
            "aa-00-00-12-34-5f",
            "aa:0:00:12:34:5ff",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad:?}");
        }
    }
}
