//! export and import, against the programs that instance-debootstrap calls for
//! them; and how long a stream is.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use p2v_sys::loopdev::{Extent, LoopDevice};
use p2v_sys::{Cmd, Mount};
use p2v_tests::peer::debootstrap::InstanceDebootstrap;
use p2v_tests::progress::step;
use p2v_tests::table::Measure;
use p2v_tests::{GIB, Instance, Lab, guest};

use crate::seconds;

/// The instance that is backed up.
const NAME: &str = "backup.example.org";

/// The size of the disk that is a tenth full, and of what is in it.
const SPARSE_DISK: u64 = 4 * GIB;
const CONTENT: u64 = SPARSE_DISK / 10;

/// Measures both.
pub fn measures(lab: &Lab, peer: &InstanceDebootstrap, rounds: usize) -> Result<[Measure; 2]> {
    Ok([times(lab, peer, rounds)?, length(lab)?])
}

/// A Debian root in an ext4 on the whole disk, to a file and onto a new disk,
/// all of it flushed, in turn.
fn times(lab: &Lab, peer: &InstanceDebootstrap, rounds: usize) -> Result<Measure> {
    let source = lab.disk("backup-source.img", 3 * GIB)?;
    step("a filled ext4", || {
        peer.create(&Instance::new(NAME, &source))?;
        flush(&source)
    })?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        ours.push(step(
            &format!("export and import, ours, round {round}"),
            || timed(lab, &source, our_way),
        )?);
        theirs.push(step(
            &format!("dump and restore, peer, round {round}"),
            || timed(lab, &source, their_way),
        )?);
    }
    std::fs::remove_file(&source).context("removing a disk")?;
    Ok(seconds("export and import, s", &ours, &theirs, 0.6))
}

/// Backs up by way of a new file, and restores onto a new disk.
fn timed(
    lab: &Lab,
    source: &Path,
    way: fn(&Lab, &Path, &Path, &Path) -> Result<()>,
) -> Result<Duration> {
    let stream = lab.dir().join("backup-stream");
    let target = lab.disk("backup-target.img", 3 * GIB)?;
    let start = Instant::now();
    way(lab, source, &stream, &target)?;
    flush(&target)?;
    let took = start.elapsed();
    for file in [&stream, &target] {
        std::fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
    }
    Ok(took)
}

fn our_way(lab: &Lab, source: &Path, stream: &Path, target: &Path) -> Result<()> {
    export(lab, source, stream)?;
    flush(stream)?;
    let outcome = lab.import(&Instance::new(NAME, target), File::open(stream)?)?;
    ensure!(outcome.status.success(), "import failed:\n{}", outcome.log);
    Ok(())
}

fn export(lab: &Lab, source: &Path, stream: &Path) -> Result<()> {
    let file = File::create(stream).with_context(|| format!("making {}", stream.display()))?;
    let outcome = lab.export(&Instance::new(NAME, source), file)?;
    ensure!(outcome.status.success(), "export failed:\n{}", outcome.log);
    Ok(())
}

fn their_way(lab: &Lab, source: &Path, stream: &Path, target: &Path) -> Result<()> {
    let device = LoopDevice::attach(source, Extent::default(), true)?;
    Cmd::new("dump", "dumping")
        .args(["-0", "-q", "-f"])
        .args([stream, device.path()])
        .run()?;
    device.close()?;
    flush(stream)?;
    let device = LoopDevice::attach(target, Extent::default(), false)?;
    let made = Cmd::new("mkfs.ext4", "making a filesystem").args(["-F", "-q"]);
    made.arg(device.path()).run()?;
    let place = lab.dir().join("backup-restored");
    std::fs::create_dir_all(&place).context("making a mount point")?;
    let mount = Mount::new(device.path(), &place, "ext4", MsFlags::empty(), "")?;
    Cmd::new("restore", "restoring")
        .args(["-r", "-y", "-f"])
        .arg(stream)
        .dir(&place)
        .run()?;
    mount.close()?;
    device.close()
}

fn flush(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("flushing {}", path.display()))
}

/// The stream of a disk of which a tenth is random data in an ext4.
fn length(lab: &Lab) -> Result<Measure> {
    let disk = lab.disk("tenth.img", SPARSE_DISK)?;
    let stream = lab.dir().join("tenth-stream");
    step("the stream of a disk that is 10 % full", || {
        guest::partition(&disk, "label: gpt\nstart=1M\n")?;
        let root = guest::extent(&disk, 1)?;
        guest::format(&disk, root, "mkfs.ext4", &["-q"])?;
        guest::edit(&disk, root, ("ext4", ""), |top| {
            let mut random = File::open("/dev/urandom")?.take(CONTENT);
            std::io::copy(&mut random, &mut File::create(top.join("content"))?)
        })?
        .context("filling a disk")?;
        export(lab, &disk, &stream)
    })?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let length = std::fs::metadata(&stream)
        .context("examining a stream")?
        .len();
    for file in [&stream, &disk] {
        std::fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
    }
    Ok(Measure {
        name: "stream of a disk 10 % full, MB".to_owned(),
        ours: megabytes(length),
        peer: megabytes(SPARSE_DISK),
        limit: 0.15,
    })
}
