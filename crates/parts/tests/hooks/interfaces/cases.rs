//! The environments, and what must come of each.

/// An instance's NICs, the stanzas that must come of it, and what ifup must do
/// to bring up each interface.
pub struct Case {
    pub what: &'static str,
    pub env: &'static [(&'static str, &'static str)],
    pub stanzas: &'static str,
    pub ifup: &'static [(&'static str, &'static [&'static str])],
}

pub const CASES: &[Case] = &[
    Case {
        what: "no NIC",
        env: &[("NIC_COUNT", "0")],
        stanzas: "",
        ifup: &[],
    },
    Case {
        what: "no count at all",
        env: &[],
        stanzas: "",
        ifup: &[],
    },
    Case {
        what: "a bridged NIC without network: DHCP",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:12:34:56"),
            ("NIC_0_MODE", "bridged"),
            ("NIC_0_IP", ""),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "static IPv4",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:12:34:56"),
            ("NIC_0_IP", "192.0.2.77"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.64/26"),
            ("NIC_0_NETWORK_GATEWAY", "192.0.2.65"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 192.0.2.77
    netmask 255.255.255.192
    gateway 192.0.2.65
",
        ifup: &[(
            "eth0",
            &[
                "ip addr add 192.0.2.77/255.255.255.192",
                "default via 192.0.2.65",
            ],
        )],
    },
    Case {
        what: "static IPv4 without gateway, widest and narrowest networks",
        env: &[
            ("NIC_COUNT", "2"),
            ("NIC_0_IP", "10.1.2.3"),
            ("NIC_0_NETWORK_SUBNET", "10.0.0.0/8"),
            ("NIC_1_IP", "10.1.2.3"),
            ("NIC_1_NETWORK_SUBNET", "0.0.0.0/0"),
        ],
        stanzas: "
mapping eth*
    script /etc/network/p2v-card-by-mac

allow-hotplug eth0
iface nic0 inet static
    address 10.1.2.3
    netmask 255.0.0.0

allow-hotplug eth1
iface nic1 inet static
    address 10.1.2.3
    netmask 0.0.0.0
",
        ifup: &[("eth0=nic0", &["ip addr add 10.1.2.3/255.0.0.0"])],
    },
    Case {
        what: "IPv4 and IPv6, the address made of the MAC",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "AA:00:00:4F:DA:1B"),
            ("NIC_0_IP", "192.0.2.5"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_GATEWAY", "192.0.2.1"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8:0:1::/64"),
            ("NIC_0_NETWORK_GATEWAY6", "fe80::1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8:0:1:a800:00ff:fe4f:da1b
    netmask 64
    gateway fe80::1
iface eth0 inet static
    address 192.0.2.5
    netmask 255.255.255.0
    gateway 192.0.2.1
",
        ifup: &[(
            "eth0",
            &[
                "ip -6 addr add 2001:db8:0:1:a800:00ff:fe4f:da1b/64",
                "default via fe80::1",
                "ip addr add 192.0.2.5/255.255.255.0",
            ],
        )],
    },
    Case {
        what: "IPv6 only, no gateway: the routers announce it",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "52:54:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/32"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8:0:0:5054:00ff:fe00:0001
    netmask 64
    accept_ra 1
    autoconf 0
# eth0 has no IPv4 network.
",
        ifup: &[(
            "eth0",
            &[
                "net.ipv6.conf.eth0.accept_ra=1",
                "ip -6 addr add 2001:db8:0:0:5054:00ff:fe00:0001/64",
            ],
        )],
    },
    Case {
        what: "IPv6 only, with an address of its own",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "52:54:00:00:00:01"),
            ("NIC_0_IP", "2001:db8::25"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/80"),
            ("NIC_0_NETWORK_GATEWAY6", "2001:db8::1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet6 static
    address 2001:db8::25
    netmask 80
    gateway 2001:db8::1
# eth0 has no IPv4 network.
",
        ifup: &[(
            "eth0",
            &["ip -6 addr add 2001:db8::25/80", "default via 2001:db8::1"],
        )],
    },
    Case {
        what: "two NICs, DHCP beside a static IPv6 address",
        env: &[
            ("NIC_COUNT", "2"),
            ("NIC_0_MAC", "AA:00:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_SUBNET6", "fd00:0:0:7:0:0:0:0/64"),
            ("NIC_0_NETWORK_GATEWAY6", "fd00:0:0:7::1"),
            ("NIC_1_MAC", "aa:00:00:00:00:02"),
        ],
        stanzas: "
mapping eth*
    script /etc/network/p2v-card-by-mac
    map aa:00:00:00:00:01 nic0
    map aa:00:00:00:00:02 nic1

allow-hotplug eth0
iface nic0 inet6 static
    address fd00:0:0:7:a800:00ff:fe00:0001
    netmask 64
    gateway fd00:0:0:7::1
iface nic0 inet dhcp

allow-hotplug eth1
iface nic1 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "routed, with a gateway",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "routed"),
            ("NIC_0_IP", "198.51.100.7"),
            ("NIC_0_NETWORK_SUBNET", "198.51.100.0/24"),
            ("NIC_0_NETWORK_GATEWAY", "198.51.100.1"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 198.51.100.7
    netmask 255.255.255.255
    pointopoint 198.51.100.1
    gateway 198.51.100.1
",
        ifup: &[(
            "eth0",
            &[
                "ip addr add 198.51.100.7/255.255.255.255",
                "peer 198.51.100.1",
                "via 198.51.100.1",
            ],
        )],
    },
    Case {
        what: "routed, nothing but an address",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "routed"),
            ("NIC_0_IP", "198.51.100.7"),
        ],
        stanzas: "
allow-hotplug eth0
iface eth0 inet static
    address 198.51.100.7
    netmask 255.255.255.255
    up ip route add default dev \"$IFACE\"
",
        ifup: &[("eth0", &["ip route add default dev \"$IFACE\""])],
    },
    Case {
        what: "an address without a network",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MODE", "bridged"),
            ("NIC_0_IP", "198.51.100.7"),
        ],
        stanzas: "
allow-hotplug eth0
# Ganeti says the address is 198.51.100.7, but names no network with a netmask.
iface eth0 inet dhcp
",
        ifup: &[],
    },
    Case {
        what: "an IPv6 network too narrow for an address of the MAC",
        env: &[
            ("NIC_COUNT", "1"),
            ("NIC_0_MAC", "aa:00:00:00:00:01"),
            ("NIC_0_NETWORK_SUBNET", "192.0.2.0/24"),
            ("NIC_0_NETWORK_SUBNET6", "2001:db8::/112"),
        ],
        stanzas: "
allow-hotplug eth0
# eth0: no address can be made for 2001:db8::/112; routers may announce one.
iface eth0 inet dhcp
",
        ifup: &[],
    },
];
