//! The copy of a transfer over SSH, against rsync and tar, and on a link of
//! 1 Gbit/s.
//!
//! Both ends are this program; the connection is made by the transfer's own
//! code. Source and copy are ext4 filesystems on images in RAM, so that a busy or
//! slow disk below them has no part in it. Every way ends when all is written out.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::MsFlags;
use nix::unistd::syncfs;
use p2v_copy::SendOptions;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};
use p2v_tests::peer::debootstrap::InstanceDebootstrap;
use p2v_tests::progress::step;
use p2v_tests::sshd::{Place, Sshd};
use p2v_tests::table::Measure;
use p2v_tests::{GIB, Instance, Lab, guest, image};
use p2v_transfer::connection::{Address, Link};
use p2v_transfer::protocol::{self, DataOrder, DataWork};

use crate::seconds;

const GIGABIT: u64 = 1_000_000_000;

/// What does not compress, in bytes.
const RANDOM: u64 = 1 << 30;

/// Long enough for the slowest way on a busy machine.
const LONGEST: Duration = Duration::from_secs(600);

/// The far end: takes what [`ours`] sends into the directory `top`.
pub fn far_end(top: &Path) -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let order: Option<DataOrder> = protocol::read(&mut input)?;
    order.context("there was no order")?;
    p2v_copy::receive(top, input, std::io::stdout())?;
    Ok(())
}

/// Measures all of it.
pub fn measures(lab: &Lab, peer: &InstanceDebootstrap, rounds: usize) -> Result<Vec<Measure>> {
    let memory = lab.dir().join("memory");
    std::fs::create_dir(&memory).context("making a directory")?;
    let memory = Mount::new("tmpfs", &memory, "tmpfs", MsFlags::empty(), "size=8g")?;
    let disk = lab.disk("memory/source.img", 3 * GIB)?;
    step("a root to copy", || {
        peer.create(&Instance::new("copy.example.org", &disk))
    })?;
    let root = image::MountedPart::new(&disk, image::whole(&disk)?, "ext4", lab.dir())?;
    let there = lab.dir().join("copied");
    let bench = Copies {
        lab,
        from: root.path(),
        disk: &memory_disk(lab)?,
        there: &there,
    };
    let mut measures = bench.over_loopback(rounds)?;
    measures.extend(bench.over_a_gigabit(rounds)?);
    root.close()?;
    memory.close()?;
    Ok(measures)
}

/// A disk to copy to, all of it set aside: a medium's blocks are not made while
/// they are written.
fn memory_disk(lab: &Lab) -> Result<PathBuf> {
    let disk = lab.disk("memory/copy.img", 3 * GIB)?;
    let file = File::options().write(true).open(&disk);
    let file = file.context("opening a disk")?;
    fallocate(&file, FallocateFlags::empty(), 0, 3 * GIB as i64).context("filling a disk")?;
    Ok(disk)
}

struct Copies<'a> {
    lab: &'a Lab,
    from: &'a Path,
    disk: &'a Path,
    there: &'a Path,
}

/// A way to copy.
#[derive(Debug, Clone, Copy)]
enum Way {
    Rsync,
    Tar,
    /// From the beginning of its SSH connection, as the others.
    Ours,
    /// From the other side's first answer: what the link does.
    OursConnected,
}

/// Notes when the first byte came.
struct FirstByte<R> {
    from: R,
    came: OnceLock<Instant>,
}

impl<R: Read> Read for FirstByte<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(bytes)?;
        self.came.get_or_init(Instant::now);
        Ok(count)
    }
}

impl Copies<'_> {
    fn over_loopback(&self, rounds: usize) -> Result<Vec<Measure>> {
        let (server, own) = self.servers(Place::Loopback)?;
        let ways = [
            ("rsync -aHAXz", Way::Rsync, &server),
            ("tar | ssh tar", Way::Tar, &server),
            ("ours", Way::Ours, &own),
        ];
        let mut times = [const { Vec::new() }; 3];
        let mut again = Vec::new();
        for round in 1..=rounds {
            let mut place = None;
            for ((name, way, server), times) in ways.iter().zip(&mut times) {
                drop(place.take());
                place = Some(self.empty()?);
                times.push(step(&format!("a root by {name}, round {round}"), || {
                    self.timed(*way, server)
                })?);
            }
            again.push(step(&format!("ours again, round {round}"), || {
                self.timed(Way::Ours, &own)
            })?);
        }
        let [rsync, tar, ours] = &times;
        Ok(vec![
            seconds("copy of a root, s; rsync -aHAXz", ours, rsync, 0.6),
            seconds("copy of a root, s; tar | ssh tar", ours, tar, 1.0),
            seconds("again, nothing changed, s; the first", &again, ours, 0.15),
        ])
    }

    /// The peer is the link itself: what a bare TCP connection over it needs for
    /// as many bytes of contents. Neither side's connecting counts.
    fn over_a_gigabit(&self, rounds: usize) -> Result<[Measure; 2]> {
        let (server, own) = self.servers(Place::Link(GIGABIT))?;
        drop(server);
        let random = self.lab.dir().join("memory/random");
        std::fs::create_dir_all(&random).context("making a directory")?;
        let mut source = File::open("/dev/urandom")?.take(RANDOM);
        let mut file = File::create(random.join("file")).context("making a file")?;
        std::io::copy(&mut source, &mut file).context("filling a file")?;
        file.sync_all().context("filling a file")?;
        let bare = Copies {
            from: &random,
            ..*self
        };
        let root = contents(self.from)?;
        let (mut ours_random, mut ours_root) = (Vec::new(), Vec::new());
        let (mut line_random, mut line_root) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            for (copies, what, times, bytes, line) in [
                (
                    &bare,
                    "random data",
                    &mut ours_random,
                    RANDOM,
                    &mut line_random,
                ),
                (self, "a root", &mut ours_root, root, &mut line_root),
            ] {
                line.push(own.carry(bytes)?);
                let _place = copies.empty()?;
                times.push(step(&format!("{what} at 1 Gbit/s, round {round}"), || {
                    copies.timed(Way::OursConnected, &own)
                })?);
            }
        }
        // SSH's own framing goes over the link too: a hundredth or so.
        Ok([
            seconds(
                "random data at 1 Gbit/s, s; bare TCP",
                &ours_random,
                &line_random,
                1.05,
            ),
            seconds(
                "a root at 1 Gbit/s, s; bare TCP",
                &ours_root,
                &line_root,
                1.0 / 1.3,
            ),
        ])
    }

    /// One for the peers' own programs, one whose logins get our far end.
    fn servers(&self, place: Place) -> Result<(Sshd, Sshd)> {
        let this = std::env::current_exe().context("finding this program")?;
        let far_end = format!("{} --far-end {}", this.display(), self.there.display());
        let start = |command| Sshd::start(self.lab.dir(), self.lab.key(), place, command);
        match place {
            Place::Loopback => Ok((start(None)?, start(Some(&far_end))?)),
            // One link at a time has these addresses.
            Place::Link(_) => {
                let own = start(Some(&far_end))?;
                let loopback = Sshd::start(self.lab.dir(), self.lab.key(), Place::Loopback, None)?;
                Ok((loopback, own))
            }
        }
    }

    /// From the caches, as it is on both sides of every way.
    fn timed(&self, way: Way, server: &Sshd) -> Result<Duration> {
        let mut start = Instant::now();
        match way {
            Way::Rsync => self.rsync(server)?,
            Way::Tar => self.tar(server)?,
            Way::Ours => (start, _) = self.ours(server)?,
            Way::OursConnected => (_, start) = self.ours(server)?,
        }
        let top = File::open(self.there).context("opening the copy")?;
        syncfs(&top).context("flushing the copy")?;
        Ok(start.elapsed())
    }

    /// A new filesystem to copy to, mounted as long as the result lives.
    fn empty(&self) -> Result<(Mount, LoopDevice)> {
        std::fs::create_dir_all(self.there).context("making a directory")?;
        // Nothing is left for the kernel to prepare while it is measured.
        let now = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        let options = ["-q", "-F", "-E", now];
        guest::format(self.disk, Extent::default(), "mkfs.ext4", &options)?;
        let device = LoopDevice::attach(self.disk, Extent::default(), false)?;
        let flags = MsFlags::empty();
        let mount = Mount::new(device.path(), self.there, "ext4", flags, "")?;
        Ok((mount, device))
    }

    /// When its connection began, and when the other side first answered. The
    /// host keys are known by then, as the others' are.
    fn ours(&self, server: &Sshd) -> Result<(Instant, Instant)> {
        let address = Address {
            host: server.host().to_owned(),
            port: server.port(),
            user: "root".to_owned(),
            identity: Some(self.lab.key().path().to_owned()),
            host_keys: vec![server.fingerprint()?],
        };
        let link = Link::establish(&address, &mut |_| Ok(false))?;
        let begun = Instant::now();
        let mut data = link.data(&DataOrder {
            v: protocol::VERSION,
            run: "bench".to_owned(),
            plan_id: String::new(),
            volume: String::new(),
            work: DataWork::Files,
        })?;
        let options = SendOptions::default();
        let mut from = FirstByte {
            from: &mut data.from,
            came: OnceLock::new(),
        };
        let sent = p2v_copy::send(self.from, &mut from, &mut data.to, &options, &|_| ());
        let answered = from.came.get().copied();
        data.settle(sent.map(|_| ()))?;
        Ok((begun, answered.context("the other side never answered")?))
    }

    fn rsync(&self, server: &Sshd) -> Result<()> {
        Cmd::new("rsync", "copying by rsync")
            .args(["-aHAXz", "--numeric-ids", "-e", &self.ssh(server).join(" ")])
            .arg(format!("{}/", self.from.display()))
            .arg(format!("{}:{}/", server.host(), self.there.display()))
            .timeout(LONGEST)
            .run()
    }

    fn tar(&self, server: &Sshd) -> Result<()> {
        let line = format!(
            "tar -C {} --numeric-owner --acls --xattrs --xattrs-include='*' -cf - . | {} {} tar -C {} \
             --numeric-owner --acls --xattrs --xattrs-include='*' -xpf -",
            self.from.display(),
            self.ssh(server).join(" "),
            server.host(),
            self.there.display(),
        );
        let mut bash = Cmd::new("bash", "copying by tar");
        bash = bash.args(["-o", "pipefail", "-c", &line]);
        bash.timeout(LONGEST).run()
    }

    fn ssh(&self, server: &Sshd) -> Vec<String> {
        let key = self.lab.key().path().display().to_string();
        let port = server.port().to_string();
        [
            "ssh",
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=ERROR",
        ]
        .into_iter()
        .chain([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-i",
            &key,
            "-p",
            &port,
        ])
        .map(str::to_owned)
        .collect()
    }
}

/// Bytes of the files' contents below `top`, hard links once.
fn contents(top: &Path) -> Result<u64> {
    let text = Cmd::new("find", "adding up a root")
        .arg(top)
        .args(["-type", "f", "-printf", "%i %s\\n"])
        .read()?;
    let files: std::collections::BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(inode, size)| Some((inode, size.parse().ok()?)))
        .collect();
    let bytes = files.values().sum();
    ensure!(bytes > 0, "the root to copy is empty");
    Ok(bytes)
}
