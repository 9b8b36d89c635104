//! The lab's own promise: killed at any time, it leaves nothing behind but a
//! directory, which the next one clears.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::scratch;

/// The kernel takes namespaces down after their last process has been reaped.
const PATIENCE: Duration = Duration::from_secs(20);

/// Run in the lab: an instance that runs, a word that says so, and another
/// that is being made.
const BUSY: &str = "add='gnt-instance add -t file -s 2G -o p2v-target+default -n node1.lab \
    --no-name-check --no-ip-check -B memory=512,vcpus=1'
    $add busy.lab >&2 && echo ready && $add --no-start added-when-killed.lab >&2";

/// Kills a lab in which an instance runs and another is being made; fails if
/// anything stays.
pub fn leaves_nothing(program: &Path) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("p2v-killed-lab-")
        .tempdir_in(scratch::place())
        .context("making a directory")?;
    let mut child = Command::new(program)
        .args(["--", "bash", "-c", BUSY])
        .env("P2V_TEST_SCRATCH", scratch.path())
        .env_remove("P2V_TEST_KEEP")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let result = kill_and_look(&mut child, scratch.path());
    let _ = child.kill();
    let _ = child.wait();
    result?;
    let left = || list(scratch.path());
    ensure!(left().len() == 1, "not one directory: {:?}", left());
    scratch::sweep(scratch.path())?;
    ensure!(left().is_empty(), "not cleared: {:?}", left());
    Ok(())
}

fn kill_and_look(child: &mut Child, scratch: &Path) -> Result<()> {
    let output = child.stdout.take().context("taking its output")?;
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let ready = lines.any(|line| line == "ready");
    ensure!(ready, "the lab did not come up");
    let namespace = namespace_of(first_process(child.id())?).context("the lab has ended")?;
    let before = look(scratch, &namespace);
    ensure!(
        before.iter().any(|line| line.contains("-name busy.lab")),
        "no instance to be seen:\n{}",
        before.join("\n")
    );
    wait_for_loop_device()?;
    child.kill().context("killing the lab")?;
    child.wait().context("waiting for the lab's end")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look(scratch, &namespace);
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("left behind:\n{}", found.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The lab's PID 1: a descendant of the program's.
fn first_process(ancestor: u32) -> Result<u32> {
    let mut pending = vec![ancestor];
    while let Some(process) = pending.pop() {
        let dir = PathBuf::from(format!("/proc/{process}"));
        let name = std::fs::read_to_string(dir.join("comm")).unwrap_or_default();
        if name.trim() == "tini" {
            return Ok(process);
        }
        for thread in list(&dir.join("task")) {
            let children = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
            let children = children.split_whitespace();
            pending.extend(children.filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    bail!("the lab has no first process")
}

/// Waits until a loop device is on the disk of the instance that is added.
fn wait_for_loop_device() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if !loop_devices().is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!(
        "no create at work on its disk within {} s",
        PATIENCE.as_secs()
    )
}

/// Processes of its namespace, mounts over its directory in whatever
/// namespace, and loop devices of its storage, in words.
fn look(dir: &Path, namespace: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let needle = dir.to_string_lossy();
    for process in list(Path::new("/proc")) {
        let shown = process.display();
        let pid = process.file_name().unwrap_or_default().to_string_lossy();
        if pid
            .parse::<u32>()
            .is_ok_and(|pid| namespace_of(pid).as_deref() == Some(namespace))
        {
            let line = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            found.push(format!("{shown}: {}", line.replace('\0', " ")));
        }
        let mounts = std::fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(needle.as_ref()))
                .map(|line| format!("{shown} has mounted {line}")),
        );
    }
    found.extend(loop_devices());
    found
}

/// Those on the second instance's disk, in words.
fn loop_devices() -> Vec<String> {
    let mut found = Vec::new();
    for device in list(Path::new("/sys/block")) {
        let file = std::fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        if file.contains("added-when-killed.lab") {
            found.push(format!("{} on {}", device.display(), file.trim()));
        }
    }
    found
}

fn namespace_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}
