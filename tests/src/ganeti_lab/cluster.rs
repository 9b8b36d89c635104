//! Ganeti on one node: its network, its names, the OS definition, and
//! `gnt-cluster init`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use p2v_sys::Cmd;

use super::node::{Network, Node, NodeSpec};
use super::node_root;
use super::relay;
use super::scratch::Scratch;
use crate::ssh::{Key, Ssh};
use crate::{GIB, Instance, Lab, place};

/// The node's name.
pub const NODE: &str = "node1.lab";

/// The network's name in Ganeti.
pub const NETWORK: &str = "lab-net";

/// Where Ganeti keeps the disks.
pub const STORAGE: &str = "/srv/ganeti/file-storage";

/// What `create` remembers of instances.
pub const STATE: &str = "/var/lib/ganeti-instance-p2v-target";

/// The bootstrap roots.
pub const CACHE: &str = "/var/cache/ganeti-instance-p2v-target";

const CONFIG: &str = "/etc/ganeti/instance-p2v-target";

/// RFC 5737's second network for examples, without its last number.
const SUBNET: &str = "198.51.100";

/// The archives that mmdebstrap asks by default, each at an address of its
/// own in the lab.
const ARCHIVES: &[&str] = &["deb.debian.org", "security.debian.org"];

/// The names that Ganeti can resolve, as a rename wants it, to the addresses
/// from [`FIRST_INSTANCE`] on.
const RESOLVED: &[&str] = &["web1.lab", "db3.lab", "asked.lab", "mail2.lab"];

/// The last number of the first instance's address.
const FIRST_INSTANCE: u8 = 10;

/// Longer than any job here, burnin's apart.
const LONGEST_JOB: Duration = Duration::from_secs(900);

/// Wide enough for whatever somebody tries in the lab.
const BOUNDS: &str = "min:disk-size=1,cpu-count=1,disk-count=0,memory-size=1,nic-count=0,\
                      spindle-use=0/max:disk-size=1048576,cpu-count=16,disk-count=16,\
                      memory-size=65536,nic-count=8,spindle-use=16";

/// An empty kernel_path boots the disk's own boot loader.
const KVM: &str = "kvm:kvm_path=/usr/bin/qemu-system-x86_64,kvm_flag=,serial_console=true,\
                   vnc_bind_address=,acpi=true,kernel_path=,initrd_path=,root_path=/dev/vda1";

/// A running cluster; dropping it takes it down.
#[derive(Debug)]
pub struct Cluster {
    // In this order: the node ends before its directory goes.
    node: Node,
    key: Key,
    scratch: Scratch,
}

impl Cluster {
    /// Brings it up, with the tree that `make install` filled; `None` stands
    /// for the tests' own.
    pub fn up(stage: Option<&Path>) -> Result<Self> {
        let stage = match stage {
            Some(stage) => std::path::absolute(stage)
                .with_context(|| format!("finding the installed tree {}", stage.display()))?,
            None => place::installed_tree()?,
        };
        let cluster = Self::start(|scratch| fill_bootstrap_cache(&stage, scratch))?;
        let set_up = || {
            cluster.set_up_network()?;
            cluster.install(&stage)?;
            cluster.initialize()
        };
        set_up().inspect_err(|_| cluster.keep())?;
        Ok(cluster)
    }

    /// The same without the OS definition: what is in the directory
    /// `packages` lies in the node's /root, for somebody to install.
    pub fn without_os_definition(packages: &Path) -> Result<Self> {
        let cluster = Self::start(|_| Ok(()))?;
        let set_up = || {
            cluster.set_up_network()?;
            if let Some((_, port)) = proxy() {
                let line = format!("Acquire::http::Proxy \"http://{SUBNET}.3:{port}\";\n");
                cluster.node.write("/etc/apt/apt.conf.d/proxy", &line)?;
            }
            copy_into(packages, cluster.node.path("/root"))?;
            cluster.initialize()
        };
        set_up().inspect_err(|_| cluster.keep())?;
        Ok(cluster)
    }

    /// Starts the node, once its directory is prepared.
    fn start(prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let root = node_root::ready()?;
        let scratch = Scratch::new()?;
        prepare(scratch.dir())?;
        let spec = NodeSpec {
            name: NODE.to_owned(),
            root,
            dir: scratch.dir().to_owned(),
            network: Network::Own,
        };
        Ok(Self {
            node: Node::start(&spec)?,
            key: Key::generate(&scratch.dir().join("key"))?,
            scratch,
        })
    }

    /// Its only node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its directory on the host.
    pub fn dir(&self) -> &Path {
        self.scratch.dir()
    }

    /// Keeps its directory, to be looked at.
    pub fn keep(&self) {
        self.scratch.keep();
    }

    /// Runs a command line, split at blanks, to a successful end; returns
    /// what it printed.
    pub fn gnt(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.gnt_words(&words)
    }

    /// The same of words that may hold blanks.
    pub fn gnt_words(&self, words: &[&str]) -> Result<String> {
        self.command(words)?.read()
    }

    /// Runs a command line that must fail; returns what it said.
    pub fn gnt_refused(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match self.command(&words)?.run() {
            Ok(()) => bail!("`{line}` should have been refused"),
            Err(error) => {
                let text = format!("{error:#}");
                // Before it stands the command line, which is not its answer.
                let said = text.split_once(" ended with ").map(|(_, said)| said);
                Ok(said.with_context(|| text.clone())?.to_owned())
            }
        }
    }

    /// The command line that adds an instance with a file as its disk, and
    /// does not start it; later options of `options` overrule ours.
    pub fn add_line(&self, name: &str, options: &str) -> String {
        format!(
            "gnt-instance add -t file -o p2v-target+default -n {NODE} --no-name-check \
             --no-ip-check --no-start {options} {name}"
        )
    }

    /// Adds an instance.
    pub fn add(&self, name: &str, options: &str) -> Result<()> {
        self.gnt(&self.add_line(name, options)).map(drop)
    }

    /// The names of all instances.
    pub fn instances(&self) -> Result<Vec<String>> {
        let names = self.gnt("gnt-instance list --no-headers -o name")?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    fn command(&self, words: &[&str]) -> Result<Cmd> {
        let (program, arguments) = words.split_first().context("no command given")?;
        let doing = format!("running `{}` in the lab", words.join(" "));
        let command = self.node.command(program, doing);
        Ok(command.args(arguments).timeout(LONGEST_JOB))
    }

    /// The image that is an instance's only disk, as the host sees it.
    pub fn disk(&self, instance: &str) -> Result<PathBuf> {
        let dir = self.node.path(STORAGE).join(instance);
        let reading = || format!("reading {}", dir.display());
        let entries = std::fs::read_dir(&dir).with_context(reading)?;
        let mut disks: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let disk = disks.pop().with_context(reading)?;
        ensure!(disks.is_empty(), "{instance} has more than one disk");
        Ok(disk)
    }

    /// What the node remembers of an instance.
    pub fn state_of(&self, instance: &str) -> PathBuf {
        self.node.path(STATE).join(format!("{instance}.json"))
    }

    /// Root's login at an instance, through the lab's network.
    pub fn ssh(&self, instance: &str, address: &str) -> Result<Ssh> {
        let way = self.node.network_prefix();
        Ssh::through(&way, address, &self.key, &self.state_of(instance))
    }

    /// Adds text to the node's p2v-target.conf.
    pub fn configure(&self, text: &str) -> Result<()> {
        let file = format!("{CONFIG}/p2v-target.conf");
        let before = self.node.read(&file)?;
        self.node.write(&file, &(before + text))
    }

    fn set_up_network(&self) -> Result<()> {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        let mut addresses = vec![format!("{SUBNET}.1/24")];
        hosts.push_str(&format!(
            "{SUBNET}.1 {NODE} node1\n{SUBNET}.2 cluster.lab\n"
        ));
        for (archive, last) in ARCHIVES.iter().zip(3..) {
            hosts.push_str(&format!("{SUBNET}.{last} {archive}\n"));
            addresses.push(format!("{SUBNET}.{last}/24"));
        }
        for (name, index) in RESOLVED.iter().zip(0..) {
            hosts.push_str(&format!("{} {name}\n", instance_address(index)));
        }
        self.node.write("/etc/hosts", &hosts)?;
        self.node.write("/etc/hostname", &format!("{NODE}\n"))?;
        self.ip("link set lo up")?;
        self.ip("link add br0 type bridge")?;
        for address in addresses {
            self.ip(&format!("address add {address} dev br0"))?;
        }
        self.ip("link set br0 up")?;
        self.open_ways_out()
    }

    fn ip(&self, line: &str) -> Result<()> {
        let doing = format!("setting up the lab's network: ip {line}");
        let command = self.node.command("ip", doing);
        command.args(line.split_whitespace()).run()
    }

    /// To the archives, or to the proxy that this machine needs for them.
    fn open_ways_out(&self) -> Result<()> {
        if let Some((host, port)) = proxy() {
            let inside = SocketAddr::new(address(3)?, port);
            return relay::start(&self.node, inside, &format!("{host}:{port}"));
        }
        for (archive, last) in ARCHIVES.iter().zip(3..) {
            let inside = SocketAddr::new(address(last)?, 80);
            relay::start(&self.node, inside, &format!("{archive}:80"))?;
        }
        Ok(())
    }

    /// Ganeti reaches its nodes, this one too, as root over SSH.
    fn set_up_ssh(&self) -> Result<()> {
        let home = self.node.path("/root/.ssh");
        std::fs::create_dir_all(&home).context("making the node's .ssh")?;
        for (name, to) in [("key", "id_ed25519"), ("key.pub", "authorized_keys")] {
            // With its mode: the private key is its owner's alone.
            std::fs::copy(self.dir().join(name), home.join(to))
                .with_context(|| format!("copying {name} to the node"))?;
        }
        self.gnt("/usr/sbin/sshd").map(drop)
    }

    fn install(&self, stage: &Path) -> Result<()> {
        copy_into(stage, self.node.path("/"))?;
        copy_into(&place::shared_cache()?, self.node.path(CACHE))?;
        let keys = format!("{CONFIG}/authorized_keys");
        self.node.write(&keys, self.key.public())?;
        if let Some((_, port)) = proxy() {
            let line = format!("PROXY=\"http://{SUBNET}.3:{port}\"\n");
            self.node
                .write(&format!("{CONFIG}/p2v-target.conf"), &line)?;
        }
        Ok(())
    }

    fn initialize(&self) -> Result<()> {
        self.set_up_ssh()?;
        std::fs::create_dir_all(self.node.path(STORAGE)).context("making the storage")?;
        let allowed = "/etc/ganeti/file-storage-paths";
        self.node.write(allowed, &format!("{STORAGE}\n"))?;
        self.gnt_words(&[
            "gnt-cluster",
            "init",
            "--no-ssh-init",
            "--no-etc-hosts",
            "--enabled-disk-templates=file,diskless",
            &format!("--file-storage-dir={STORAGE}"),
            "--enabled-hypervisors=kvm",
            "--master-netdev=br0",
            "--nic-parameters=link=br0",
            &format!("--ipolicy-bounds-specs={BOUNDS}"),
            "-H",
            KVM,
            "cluster.lab",
        ])?;
        self.gnt(&format!(
            "gnt-network add --network={SUBNET}.0/24 --gateway={SUBNET}.1 {NETWORK}"
        ))?;
        self.gnt(&format!(
            "gnt-network connect -N mode=bridged,link=br0 {NETWORK}"
        ))?;
        Ok(())
    }
}

/// Copies a directory's content into one of the node's.
fn copy_into(from: &Path, to: PathBuf) -> Result<()> {
    Cmd::new("cp", format!("copying {} to the node", from.display()))
        .args(["-a", "--"])
        .args([from.join("."), to])
        .run()
}

/// An address for an instance, the `index`th.
pub fn instance_address(index: u8) -> String {
    format!("{SUBNET}.{}", FIRST_INSTANCE + index)
}

fn address(last: u8) -> Result<std::net::IpAddr> {
    let text = format!("{SUBNET}.{last}");
    text.parse().with_context(|| format!("parsing {text}"))
}

/// The host and port in http_proxy.
fn proxy() -> Option<(String, u16)> {
    let proxy = std::env::var("http_proxy").ok()?;
    let place = proxy.trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = place.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// Lets `create` run once outside, so that the lab begins with a warm cache.
fn fill_bootstrap_cache(stage: &Path, scratch: &Path) -> Result<()> {
    let lab = Lab::in_dir(scratch, "warm", stage)?;
    lab.run(|lab| {
        let disk = lab.disk("disk.img", 2 * GIB)?;
        let outcome = lab.create(&Instance::new("warm.example.org", &disk))?;
        ensure!(outcome.status.success(), "create failed:\n{}", outcome.log);
        Ok(())
    })
}
