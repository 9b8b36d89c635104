//! A target machine's disks as files, agents that work on them, and plans.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use p2v_copy::{Progress, SendOptions};
use p2v_sys::loopdev::Extent;
use p2v_sys::{LoopDevice, Mount, mount};
use p2v_transfer::agent::{Place, serve, serve_data};
use p2v_transfer::plan::Plan;
use p2v_transfer::protocol::{self, Answer, DataOrder, DataWork, Loss, Order, Request, Say};
use p2v_transfer::target::{Target, TargetDisk};
use serde::de::DeserializeOwned;

/// The disks and the directory for agents; all that is mounted goes with it.
pub struct Lab {
    /// Which run of a transfer gives the orders.
    pub run: String,
    /// A directory of programs that agents find first.
    pub tools: Option<PathBuf>,
    disks: Vec<LoopDevice>,
    dir: tempfile::TempDir,
}

impl Lab {
    /// Empty disks of these sizes. What is mounted here is seen by this thread
    /// and its agents alone: a program that makes a mount namespace of its own
    /// meanwhile would hold the mounts' disks for as long as it lives.
    pub fn new(sizes: &[u64]) -> Self {
        p2v_testing::private_mounts();
        let dir = tempfile::tempdir().unwrap();
        let disk = |(index, size): (usize, &u64)| {
            let image = dir.path().join(format!("disk{index}"));
            std::fs::File::create(&image)
                .unwrap()
                .set_len(*size)
                .unwrap();
            LoopDevice::attach(&image, Extent::default(), false).unwrap()
        };
        let disks = sizes.iter().enumerate().map(disk).collect();
        let run = "run".to_owned();
        Self {
            run,
            tools: None,
            disks,
            dir,
        }
    }

    pub fn disk(&self, index: usize) -> PathBuf {
        self.disks[index].path().to_owned()
    }

    /// Where everything is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Where a volume is mounted.
    pub fn volume(&self, disk: usize, number: u32) -> PathBuf {
        let device = p2v_transfer::plan::partition_device(&self.disk(disk), number);
        self.run().join("volumes").join(device.file_name().unwrap())
    }

    /// Sends a tree to an agent for contents.
    pub fn send(&self, order: &DataOrder, tree: &Path) -> Result<Progress, String> {
        let mut agent = self.data();
        agent.line(&serde_json::to_string(order).unwrap());
        let options = SendOptions::default();
        let input = agent.input.try_clone().unwrap();
        let sent = p2v_copy::send(tree, &mut agent.output, input, &options, &|_| ());
        agent.input.shutdown(Shutdown::Write).unwrap();
        let output = agent.child.wait_with_output().unwrap();
        match output.status.success() {
            true => sent.map_err(|error| format!("{error:#}")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Fills a volume with what it has: the disk says then that it is complete.
    pub fn fill(&self, plan: &Plan, volume: usize) {
        let (disk, volume) = plan.volumes().nth(volume).unwrap();
        let order = DataOrder {
            v: protocol::VERSION,
            run: self.run.clone(),
            plan_id: plan.id(),
            volume: volume.name(disk),
            work: DataWork::Files,
        };
        let top = self.volume(0, volume.number);
        assert_eq!(self.send(&order, &top).unwrap().bytes_sent, 0);
    }

    /// What agents have left mounted.
    pub fn mounts(&self) -> Vec<PathBuf> {
        match self.run().exists() {
            true => mount::points_below(&self.run()).unwrap(),
            false => Vec::new(),
        }
    }

    /// Everything that is not on the disks is gone.
    pub fn power_off(&self) {
        for point in self.mounts().iter().rev() {
            Mount::of_program(point).close().unwrap();
        }
        if self.run().exists() {
            std::fs::remove_dir_all(self.run()).unwrap();
        }
    }

    /// Mounts a disk where no agent does.
    pub fn mount_elsewhere(&self, disk: usize) -> Mount {
        let point = self.dir.path().join("elsewhere");
        std::fs::create_dir_all(&point).unwrap();
        Mount::new(self.disk(disk), &point, "ext4", MsFlags::empty(), "").unwrap()
    }

    /// What tells whether somebody wrote to the disk: how much its image takes,
    /// and its beginning.
    pub fn traces(&self, disk: usize) -> (u64, blake3::Hash) {
        let device = std::fs::File::open(self.disk(disk)).unwrap();
        device.sync_all().unwrap();
        let mut start = Vec::new();
        device.take(4 << 20).read_to_end(&mut start).unwrap();
        let image = self.dir.path().join(format!("disk{disk}"));
        let blocks = std::fs::metadata(image).unwrap().blocks();
        (blocks, blake3::hash(&start))
    }

    /// Destroys the beginning of a planned volume.
    pub fn overwrite(&self, plan: &Plan, disk: usize, volume: usize) {
        use std::os::unix::fs::FileExt;
        let table = plan.disks[disk].table.as_ref().unwrap();
        let offset = table.partitions[volume].extent(512).offset;
        let file = std::fs::File::options().write(true).open(self.disk(disk));
        let file = file.unwrap();
        file.write_all_at(&[0xff; 1 << 20], offset).unwrap();
        file.sync_all().unwrap();
    }

    /// All that is on the disks, as a probe shows it.
    pub fn losses(&self) -> Vec<Loss> {
        let target: Target = self.ask(Order::Probe).unwrap();
        let loss = |disk: TargetDisk| Loss {
            device: disk.device,
            holds: disk.holds,
        };
        target.disks.into_iter().map(loss).collect()
    }

    /// With everybody's consent, or without any.
    pub fn prepare(&self, plan: &Plan, erase: bool) -> Order {
        Order::Prepare {
            plan: Box::new(plan.clone()),
            erase: if erase { self.losses() } else { Vec::new() },
            take_over: false,
        }
    }

    /// What a new agent answers to one order.
    pub fn ask<T: DeserializeOwned>(&self, order: Order) -> Result<T, String> {
        self.ask_noting(order).0
    }

    /// The same with what it notes.
    pub fn ask_noting<T: DeserializeOwned>(
        &self,
        order: Order,
    ) -> (Result<T, String>, Vec<String>) {
        let mut agent = self.agent();
        agent.tell(&order);
        let answer = agent.answer();
        let notes = std::mem::take(&mut agent.notes);
        agent.end();
        (answer, notes)
    }

    /// Kills an agent that long after it got an order; whether it still ran.
    pub fn killed(&self, order: Order, after: Duration) -> bool {
        let mut agent = self.agent();
        agent.tell(&order);
        let deadline = Instant::now() + after;
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        agent.child.kill().unwrap();
        agent.child.wait().unwrap();
        agent.answer::<serde_json::Value>().is_err()
    }

    pub fn agent(&self) -> TestAgent {
        self.start(false)
    }

    /// An agent for contents.
    pub fn data(&self) -> TestAgent {
        self.start(true)
    }

    /// This very program, as [`be_agent`]. Not on its standard output: there
    /// the test harness has its say.
    fn start(&self, data: bool) -> TestAgent {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let socket = self.dir.path().join(format!("agent{count}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let disks: Vec<_> = self.disks.iter().map(LoopDevice::path).collect();
        let path = std::env::var_os("PATH").unwrap();
        let path = self
            .tools
            .iter()
            .cloned()
            .chain(std::env::split_paths(&path));
        let child = Command::new(std::env::current_exe().unwrap())
            .env("PATH", std::env::join_paths(path).unwrap())
            .args(["--exact", "agent_process", "--nocapture"])
            .env(SOCKET, &socket)
            .env("AGENT_DATA", if data { "1" } else { "0" })
            .env("AGENT_RUN", self.run())
            .env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
            .env("AGENT_DISKS", std::env::join_paths(disks).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        TestAgent {
            output: BufReader::new(stream.try_clone().unwrap()),
            input: stream,
            run: self.run.clone(),
            notes: Vec::new(),
            child,
        }
    }
}

const SOCKET: &str = "AGENT_SOCKET";

/// Works as an agent, where [`Lab::start`] started this program for that.
pub fn be_agent() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let value = |name: &str| std::env::var_os(name).unwrap();
    let disks: Vec<_> = std::env::split_paths(&value("AGENT_DISKS")).collect();
    let place = Place::of_tests(Path::new(&value("AGENT_RUN")), &disks);
    let mut to = UnixStream::connect(socket).unwrap();
    let mut from = BufReader::new(to.try_clone().unwrap());
    let result = match value("AGENT_DATA") == "1" {
        true => serve_data(&place, &mut from, to),
        false => serve(&place, &mut from, &mut to),
    };
    if let Err(error) = result {
        eprintln!("p2v: error: {error:#}");
        std::process::exit(1);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for point in self.mounts().iter().rev() {
            let _ = Mount::of_program(point).close();
        }
    }
}

/// A running agent.
pub struct TestAgent {
    run: String,
    input: UnixStream,
    output: BufReader<UnixStream>,
    child: Child,
    notes: Vec<String>,
}

impl TestAgent {
    pub fn tell(&mut self, order: &Order) {
        let request = Request {
            v: protocol::VERSION,
            run: self.run.clone(),
            order: order.clone(),
        };
        protocol::write(&mut self.input, &request).unwrap();
    }

    pub fn line(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        loop {
            let answer: Option<Answer> =
                protocol::read(&mut self.output).map_err(|error| format!("{error:#}"))?;
            match answer.ok_or("it ended")?.say {
                Say::Note(line) => self.notes.push(line),
                Say::Failed(text) => return Err(text),
                Say::Done(value) => return Ok(serde_json::from_value(value).unwrap()),
            }
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it so that it can undo nothing.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Nobody listens to it any more.
    pub fn hang_up(self) -> Child {
        self.child
    }

    /// Ends it as a source does; it says nothing more.
    pub fn end(mut self) {
        self.input.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        self.output.read_line(&mut rest).unwrap();
        assert_eq!(rest, "");
        assert!(self.child.wait().unwrap().success());
    }
}
