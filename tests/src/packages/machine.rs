//! A clean Debian machine, in namespaces, with the real dpkg and apt.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use p2v_sys::Cmd;

use super::{Packages, root};
use crate::ganeti_lab::node::{Network, Node, NodeSpec};
use crate::ganeti_lab::scratch::Scratch;
use crate::{GIB, Instance, place};

/// The configuration.
pub const CONFIG: &str = "/etc/ganeti/instance-p2v-target";

/// The bootstrap roots.
pub const CACHE: &str = "/var/cache/ganeti-instance-p2v-target";

/// What `create` remembers of instances.
pub const STATE: &str = "/var/lib/ganeti-instance-p2v-target";

/// Where Ganeti looks for the OS definition.
pub const OS_DIR: &str = "/usr/share/ganeti/os/p2v-target";

/// A machine; dropping it ends it, and its directory goes.
#[derive(Debug)]
pub struct Machine {
    // In this order: the machine ends before its directory goes.
    node: Node,
    scratch: Scratch,
}

impl Machine {
    /// Starts one with nothing but a suite's required packages. It has the
    /// host's network, and lists of packages that are up to date.
    pub fn start(suite: &str) -> Result<Self> {
        let root = root::ready(suite)?;
        let scratch = Scratch::new()?;
        let node = Node::start(&NodeSpec {
            name: format!("{suite}.example.org"),
            root,
            dir: scratch.dir().to_owned(),
            network: Network::Hosts,
        })?;
        let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        node.write("/etc/resolv.conf", &resolver)?;
        // Nobody misses this machine when the power fails.
        node.write("/etc/dpkg/dpkg.cfg.d/unsafe", "force-unsafe-io\n")?;
        if let Some(proxy) = proxy() {
            let line = format!("Acquire::http::Proxy \"{proxy}\";\n");
            node.write("/etc/apt/apt.conf.d/proxy", &line)?;
        }
        let machine = Self { node, scratch };
        machine.apt(&["update"])?;
        Ok(machine)
    }

    /// A program to run there.
    pub fn command(&self, program: &str) -> Cmd {
        self.node
            .command(program, format!("running {program} on the machine"))
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// Runs a command line, split at blanks, and returns what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let command = self.command(words.next().context("an empty line")?);
        command.args(words).read()
    }

    /// Runs apt-get as an unattended upgrade does: an admin's configuration
    /// stays, nothing is asked, and nothing comes along that was not asked for.
    pub fn apt(&self, arguments: &[&str]) -> Result<String> {
        self.command("apt-get")
            .args(["--quiet", "--yes", "--no-install-recommends"])
            .args(["-o", "Dpkg::Options::=--force-confdef"])
            .args(["-o", "Dpkg::Options::=--force-confold"])
            .args(arguments)
            .read()
    }

    /// Installs some of the packages, with what they depend on; returns what
    /// was said.
    pub fn install(&self, packages: &Packages, names: &[&str]) -> Result<String> {
        let mut files = vec!["install".to_owned()];
        for name in names {
            let from = packages.file(name);
            let inside = format!("/root/{name}_{}.deb", packages.version());
            std::fs::copy(&from, self.node.path(&inside))
                .with_context(|| format!("copying {} to the machine", from.display()))?;
            files.push(inside);
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        self.apt(&files)
    }

    /// A field of an installed package, as dpkg knows it.
    pub fn field(&self, package: &str, field: &str) -> Result<String> {
        self.command("dpkg-query")
            .args(["--show", &format!("--showformat=${{{field}}}"), package])
            .read()
    }

    /// Writes a file there, and the directories that lead to it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let inside = self.node.path(path);
        if let Some(parent) = inside.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making the way to {path}"))?;
        }
        self.node.write(path, text)
    }

    /// Adds a line to a file there.
    pub fn append(&self, path: &str, line: &str) -> Result<()> {
        self.write(path, &format!("{}{line}\n", self.read(path)?))
    }

    /// Reads a file there.
    pub fn read(&self, path: &str) -> Result<String> {
        self.node.read(path)
    }

    /// Whether a path is there, if only as a link that leads nowhere.
    pub fn has(&self, path: &str) -> bool {
        self.node.path(path).symlink_metadata().is_ok()
    }

    /// Removes a file there.
    pub fn remove(&self, path: &str) -> Result<()> {
        std::fs::remove_file(self.node.path(path)).with_context(|| format!("removing {path}"))
    }

    /// Copies a directory's content into one there.
    pub fn copy_into(&self, from: &Path, to: &str) -> Result<()> {
        let inside = self.node.path(to);
        std::fs::create_dir_all(&inside).with_context(|| format!("making {to}"))?;
        Cmd::new("cp", format!("copying {} to the machine", from.display()))
            .args(["-a", "--"])
            .args([from.join("."), inside])
            .run()
    }

    /// The permissions of a path there.
    pub fn mode(&self, path: &str) -> Result<u32> {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(self.node.path(path));
        let metadata = metadata.with_context(|| format!("looking at {path}"))?;
        Ok(metadata.permissions().mode() & 0o7777)
    }

    /// Sets the permissions of a path there.
    pub fn set_mode(&self, path: &str, mode: &str) -> Result<()> {
        self.command("chmod").args([mode, path]).run()
    }

    /// Every path there with what find's `format` says of it, without what
    /// changes by itself and what dpkg and apt note down for themselves.
    pub fn everything(&self) -> Result<BTreeSet<String>> {
        let own = "/dev /proc /sys /run /tmp /root /var/lib/dpkg /var/lib/apt /var/cache/apt \
                   /var/cache/debconf /var/cache/ldconfig /var/log /etc/ld.so.cache";
        let mut find = self.command("find").args(["/", "-xdev"]);
        for path in own.split_whitespace() {
            find = find.args(["-path", path, "-prune", "-o"]);
        }
        let found = find.args(["-print"]).read()?;
        Ok(found.lines().map(str::to_owned).collect())
    }

    /// Fills the cache with the bootstrap roots that the tests keep, so that
    /// `create` need not make one.
    pub fn warm_cache(&self) -> Result<()> {
        self.copy_into(&place::shared_cache()?, CACHE)
    }

    /// Runs `create` there as Ganeti does, on a new disk.
    pub fn create(&self, variant: &str, parameters: &[(&str, &str)]) -> Result<()> {
        // Loop devices show the host which name the file has here: a machine's
        // own, lest another one's disk seem to be in use.
        let name = self.scratch.dir().file_name().unwrap_or_default();
        let disk = format!("/root/{}.img", name.to_string_lossy());
        std::fs::File::create(self.node.path(&disk))
            .and_then(|file| file.set_len(2 * GIB))
            .context("making a disk on the machine")?;
        let mut instance = Instance::new("web1.example.org", Path::new(&disk));
        instance.variant = Some(variant.to_owned());
        for (name, value) in parameters {
            instance = instance.parameter(name, value);
        }
        if let Some(proxy) = proxy() {
            instance = instance.parameter("proxy", &proxy);
        }
        self.as_ganeti("create", &instance).run()
    }

    /// An entry point of the OS definition, with the environment that Ganeti
    /// gives it.
    pub fn as_ganeti(&self, entry_point: &str, instance: &Instance) -> Cmd {
        let program = format!("{OS_DIR}/{entry_point}");
        let command = self.node.command(&program, format!("running {program}"));
        let variables = instance.environment();
        variables
            .iter()
            .fold(command, |command, (name, value)| command.env(name, value))
    }
}

/// The proxy that this machine's packages come through.
fn proxy() -> Option<String> {
    std::env::var("http_proxy").ok().filter(|p| !p.is_empty())
}
