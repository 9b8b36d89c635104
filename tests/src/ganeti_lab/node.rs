//! A machine in namespaces: host name, mounts, processes, IPC and, if it shall,
//! network of its own, over a root that it shares with others and does not
//! change.
//!
//! Its first process waits for the end of a pipe that this process holds. So
//! when this process ends, whatever ends it, the node's first process does,
//! and with it, by the kernel, every process of the node, its mounts, and its
//! network. Only its directory stays (see [`super::scratch`]).
//!
//! The kernel is the host's, and so are its devices.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use p2v_sys::{Cmd, interrupt};

/// The environment of what runs in a node.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("HOME", "/root"),
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
];

/// Where a node comes from.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its full host name.
    pub name: String,
    /// The root that lies below, which [`super::node_root`] keeps.
    pub root: PathBuf,
    /// An existing directory on a disk, for what the node writes.
    pub dir: PathBuf,
    /// What it sees of networks.
    pub network: Network,
}

/// Which network a node is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// One of its own, in which there is nothing but a loopback, which is down.
    Own,
    /// The host's.
    Hosts,
}

/// A running node; dropping it ends it.
#[derive(Debug)]
pub struct Node {
    pid: u32,
    /// Dropping it ends the thread that holds the node's first process.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node in which nothing runs yet but its first process.
    pub fn start(spec: &NodeSpec) -> Result<Self> {
        let (end, ended) = channel();
        let (tell, told) = channel();
        let spec = spec.clone();
        // What is unshared is this thread's alone; it keeps the first process
        // and never returns to the host.
        let thread = std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(move || hold(&spec, &tell, &ended))
            .context("starting a thread")?;
        let pid = told
            .recv()
            .map_err(|_| anyhow!("the thread that makes the node's namespaces panicked"))??;
        let node = Self {
            pid,
            end: Some(end),
            thread: Some(thread),
        };
        // Only a process of the namespace can mount this.
        node.command("mount", "mounting the node's /proc")
            .args(["-t", "proc", "proc", "/proc"])
            .run()?;
        Ok(node)
    }

    /// A program to run in the node, with nothing of our environment.
    pub fn command(&self, program: &str, description: impl Into<String>) -> Cmd {
        let mut command = Cmd::new("nsenter", description).clear_env();
        for (name, value) in ENVIRONMENT {
            command = command.env(name, value);
        }
        command.args(self.enter()).arg(program)
    }

    /// A program to run in the node's network alone: it sees the host's files.
    pub fn network_prefix(&self) -> Vec<String> {
        vec![
            "nsenter".to_owned(),
            format!("--net=/proc/{}/ns/net", self.pid),
            "--".to_owned(),
        ]
    }

    /// Runs a program in the node on our terminal to its end, or until we are
    /// asked to end.
    pub fn interact(&self, arguments: &[String]) -> Result<ExitStatus> {
        let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        let mut child = Command::new("nsenter")
            .args(self.enter())
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            .env("TERM", terminal)
            .env("LANG", "C.UTF-8")
            .spawn()
            .context("starting nsenter (is util-linux installed?)")?;
        loop {
            if let Some(status) = child.try_wait().context("waiting for the program")? {
                return Ok(status);
            }
            // It ends with the node.
            interrupt::check().context("working in the lab")?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where a path of the node's is found from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.pid);
        Path::new(&root).join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the node's.
    pub fn write(&self, inside: &str, content: &str) -> Result<()> {
        std::fs::write(self.path(inside), content)
            .with_context(|| format!("writing the node's {inside}"))
    }

    /// Reads a file of the node's.
    pub fn read(&self, inside: &str) -> Result<String> {
        std::fs::read_to_string(self.path(inside))
            .with_context(|| format!("reading the node's {inside}"))
    }

    /// Its network namespace, to enter.
    pub fn network(&self) -> Result<File> {
        File::open(format!("/proc/{}/ns/net", self.pid)).context("opening the node's network")
    }

    /// Its first process, as the host numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn enter(&self) -> Vec<String> {
        let mut arguments = vec![format!("--target={}", self.pid)];
        let kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--"];
        arguments.extend(kinds.map(str::to_owned));
        arguments
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes the node, tells its first process, and waits for the guard's end.
fn hold(spec: &NodeSpec, tell: &Sender<Result<u32>>, ended: &Receiver<()>) {
    let first = enter(spec).and_then(|()| first_process());
    let mut first = match first {
        Ok(first) => first,
        Err(error) => {
            let _ = tell.send(Err(error.context(format!("making the node {}", spec.name))));
            return;
        }
    };
    let _ = tell.send(Ok(first.id()));
    // Nothing is ever sent: this returns when the other end is dropped.
    let _ = ended.recv();
    // The kernel ends all that runs in the node before this one is reaped.
    let _ = first.kill();
    let _ = first.wait();
}

fn enter(spec: &NodeSpec) -> Result<()> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    if spec.network == Network::Own {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    unshare(flags).context("making namespaces (are you root?)")?;
    nix::unistd::sethostname(&spec.name).context("setting the host name")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("making the mounts private")?;
    let root = lay_over(spec)?;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/dev"), &root.join("dev"), none, bind, none).context("showing /dev")?;
    for (kind, point) in [("sysfs", "sys"), ("tmpfs", "run")] {
        mount(
            Some(kind),
            &root.join(point),
            Some(kind),
            MsFlags::empty(),
            none,
        )
        .with_context(|| format!("mounting /{point}"))?;
    }
    // What systemd would have made.
    for dir in ["run/lock", "run/sshd"] {
        std::fs::create_dir(root.join(dir)).with_context(|| format!("making /{dir}"))?;
    }
    nix::unistd::chdir(&root).context("entering the root")?;
    // The old root comes to lie over the new one, and is taken away.
    nix::unistd::pivot_root(".", ".").context("changing to the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("letting the host's root go")?;
    nix::unistd::chdir("/").context("entering the root")
}

/// Mounts the node's root: a layer of its own over the shared one, or a copy
/// of it where its directory cannot be a layer (on an overlay, say).
fn lay_over(spec: &NodeSpec) -> Result<PathBuf> {
    let part = |name: &str| -> Result<PathBuf> {
        let path = spec.dir.join(name);
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    };
    let (root, upper, work) = (part("root")?, part("upper")?, part("work")?);
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        spec.root.display(),
        upper.display(),
        work.display()
    );
    let none: Option<&str> = None;
    let flags = MsFlags::empty();
    let layered = mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        flags,
        Some(options.as_str()),
    );
    if layered.is_err() {
        Cmd::new("cp", "copying the node's root")
            .args(["-a", "--reflink=auto", "--"])
            .args([spec.root.join("."), root.clone()])
            .run()?;
        mount(Some(&root), &root, none, MsFlags::MS_BIND, none).context("binding the root")?;
    }
    Ok(root)
}

/// Ends by itself when our end of its standard input is closed.
fn first_process() -> Result<Child> {
    Command::new("/usr/bin/tini")
        .args(["--", "/bin/cat"])
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the first process")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ganeti_lab::node_root;
    use crate::ganeti_lab::scratch::Scratch;

    #[test]
    fn a_node_has_its_own_everything_and_goes_without_a_trace() {
        crate::need_root!();
        let root = node_root::ready().unwrap();
        let scratch = Scratch::new().unwrap();
        let spec = NodeSpec {
            name: "node9.example".to_owned(),
            root: root.clone(),
            dir: scratch.dir().to_owned(),
            network: Network::Own,
        };
        let node = Node::start(&spec).unwrap();
        let ask = |program: &str, arguments: &[&str]| {
            let command = node.command(program, format!("running {program}"));
            command.args(arguments).read().unwrap()
        };
        assert_eq!(ask("hostname", &[]), "node9.example");
        assert_eq!(ask("ls", &["/sys/class/net"]), "lo");
        assert_eq!(ask("cat", &["/proc/1/comm"]), "tini");
        let mounts = ask("findmnt", &["--noheadings", "--raw", "--output", "TARGET"]);
        let known = |point: &str| {
            let of = ["/dev", "/sys", "/run", "/proc"];
            point == "/" || of.iter().any(|dir| point.starts_with(dir))
        };
        assert!(mounts.lines().all(known), "{mounts}");
        node.write("/etc/of-the-node", "mine").unwrap();
        assert_eq!(ask("cat", &["/etc/of-the-node"]), "mine");
        assert!(!root.join("etc/of-the-node").exists());
        let first = PathBuf::from(format!("/proc/{}", node.pid()));
        assert!(first.exists());
        drop(node);
        assert!(!first.exists());
        crate::leftovers::assert_none(scratch.dir());
    }
}
