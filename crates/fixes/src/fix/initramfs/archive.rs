//! What is inside an initramfs: cpio archives one after the other, some of
//! them compressed, as the kernel takes them.
//!
//! The usual form is a small plain archive with the processor's microcode,
//! then a compressed one. All compressions that kernels know are read but LZO,
//! which no distribution uses by default.
//!
//! See <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use anyhow::{Context, Result, bail};

/// More than any initramfs has; a stranger's file must not fill the memory.
const MOST_ENTRIES: usize = 1_000_000;
const LONGEST_NAME: u64 = 4096;
const MOST_BYTES: u64 = 8 << 30;
/// Names and texts together, in bytes.
const MOST_KEPT: u64 = 64 << 20;

/// A text that says what the initramfs waits for is not larger.
const LARGEST_TEXT: u64 = 64 << 10;

/// Where such texts are.
const TEXTS: [&str; 4] = ["conf/", "etc/cmdline.d/", "cryptroot/", "etc/conf.d/"];

/// Names and the texts that matter.
#[derive(Debug, Default)]
pub struct Contents {
    /// Every path, without a slash before it.
    pub names: Vec<String>,
    /// The configuration by its path.
    pub texts: BTreeMap<String, String>,
    /// Bytes of both.
    kept: u64,
}

impl Contents {
    /// Fails if with so many bytes more it would be more than any has.
    fn make_room(&mut self, bytes: u64) -> Result<()> {
        self.kept += bytes;
        if self.kept > MOST_KEPT {
            bail!("its archive has more files than any");
        }
        Ok(())
    }
}

/// Reads an initramfs to its end.
pub fn read(file: impl Read) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut limited = BufReader::new(file.take(MOST_BYTES));
    read_segments(&mut limited, &mut contents, 0)?;
    if contents.names.is_empty() {
        bail!("it has no archive");
    }
    Ok(contents)
}

fn read_segments(reader: &mut dyn BufRead, contents: &mut Contents, depth: u32) -> Result<()> {
    // Compressed twice is nothing that a kernel reads.
    if depth > 1 {
        bail!("it is compressed more than once");
    }
    let mut archives = 0;
    loop {
        let head = match next_head(reader) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            // What boot loaders and signatures leave behind the last archive.
            Err(_) if archives > 0 => return Ok(()),
            Err(error) => return Err(error).context("reading its first bytes"),
        };
        let mut whole = Cursor::new(head).chain(&mut *reader);
        if matches!(&head, b"070701" | b"070702") {
            read_archive(&mut whole, contents)?;
            archives += 1;
            continue;
        }
        let Some(decoder) = decoder(head, Box::new(whole))? else {
            if archives > 0 {
                return Ok(());
            }
            bail!("it begins with {head:02x?}, which is no archive or compression that is known");
        };
        let mut decoded = BufReader::new(decoder.take(MOST_BYTES));
        return read_segments(&mut decoded, contents, depth + 1);
    }
}

/// The first bytes that are not padding.
fn next_head(reader: &mut dyn BufRead) -> io::Result<Option<[u8; 6]>> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == buffer.len();
        reader.consume(zeros);
        if !all {
            let mut head = [0; 6];
            reader.read_exact(&mut head)?;
            return Ok(Some(head));
        }
    }
}

/// By the first bytes; only the first stream of a kind is read, as the kernel
/// does.
fn decoder<'a>(head: [u8; 6], whole: Box<dyn Read + 'a>) -> Result<Option<Box<dyn Read + 'a>>> {
    let whole = BufReader::new(whole);
    Ok(Some(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::GzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd_decoder(whole)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(whole, false)),
        [0x5d, 0, 0, ..] => {
            const MOST_KIB: u32 = 256 << 10;
            Box::new(lzma_rust2::LzmaReader::new_mem_limit(
                whole, MOST_KIB, None,
            )?)
        }
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::BzDecoder::new(whole)),
        [0x02, 0x21, 0x4c, 0x18, ..] => Box::new(OldLz4::new(whole)?),
        [0x04, 0x22, 0x4d, 0x18, ..] => Box::new(lz4_flex::frame::FrameDecoder::new(whole)),
        [0x89, b'L', b'Z', b'O', ..] => bail!("it is compressed with LZO, which is not read"),
        _ => return Ok(None),
    }))
}

fn zstd_decoder<'a>(whole: impl BufRead + 'a) -> Result<impl Read + 'a> {
    let mut decoder = zstd::Decoder::with_buffer(whole)?;
    // Such as `zstd --ultra --long` makes.
    decoder.window_log_max(31)?;
    Ok(decoder.single_frame())
}

/// `lz4 -l`: a number, then blocks, each with its length before it.
struct OldLz4<R> {
    reader: R,
    block: Cursor<Vec<u8>>,
}

impl<R: Read> OldLz4<R> {
    const BLOCK: usize = 8 << 20;

    fn new(mut reader: R) -> io::Result<Self> {
        reader.read_exact(&mut [0; 4])?;
        let block = Cursor::default();
        Ok(Self { reader, block })
    }

    /// False at the end: of the file, or where a length cannot be one.
    fn next(&mut self) -> io::Result<bool> {
        let mut length = [0; 4];
        match self.reader.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || length > 2 * Self::BLOCK {
            return Ok(false);
        }
        let mut packed = vec![0; length];
        self.reader.read_exact(&mut packed)?;
        let block = lz4_flex::block::decompress(&packed, Self::BLOCK);
        self.block = Cursor::new(block.map_err(io::Error::other)?);
        Ok(true)
    }
}

impl<R: Read> Read for OldLz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.block.read(buffer)?;
            if length > 0 || buffer.is_empty() || !self.next()? {
                return Ok(length);
            }
        }
    }
}

/// One archive, to the end of its trailer.
fn read_archive(reader: &mut dyn Read, contents: &mut Contents) -> Result<()> {
    loop {
        let mut header = [0; 110];
        reader.read_exact(&mut header).context("reading an entry")?;
        if !matches!(&header[..6], b"070701" | b"070702") {
            bail!("an entry of its archive is damaged");
        }
        let (size, name_length) = (field(&header, 6)?, field(&header, 11)?);
        if name_length > LONGEST_NAME || contents.names.len() >= MOST_ENTRIES {
            bail!("an entry of its archive is damaged");
        }
        contents.make_room(name_length)?;
        let name = take(reader, name_length)?;
        skip(reader, padding(110 + name_length))?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let name = name
            .trim_start_matches("./")
            .trim_start_matches('/')
            .to_owned();
        if TEXTS.iter().any(|start| name.starts_with(start)) && size <= LARGEST_TEXT {
            contents.make_room(size)?;
            let text = take(reader, size)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            contents.texts.insert(name.clone(), text);
        } else {
            skip(reader, size)?;
        }
        skip(reader, padding(size))?;
        if name == "TRAILER!!!" {
            return Ok(());
        }
        contents.names.push(name);
    }
}

/// The field of this number, of eight hex digits, after the magic.
fn field(header: &[u8; 110], number: usize) -> Result<u64> {
    let start = 6 + 8 * number;
    let digits = std::str::from_utf8(&header[start..start + 8])?;
    u64::from_str_radix(digits, 16).context("an entry of its archive is damaged")
}

fn padding(length: u64) -> u64 {
    (4 - length % 4) % 4
}

fn take(reader: &mut dyn Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        bail!("it ends within a file");
    }
    Ok(bytes)
}

fn skip(reader: &mut dyn Read, length: u64) -> Result<()> {
    let skipped = io::copy(&mut reader.take(length), &mut io::sink())?;
    if skipped != length {
        bail!("it ends within a file");
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// A newc archive of these files.
    pub fn cpio(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, text) in files.iter().chain([&("TRAILER!!!", "")]) {
            let length = name.len() + 1;
            let mut header = "070701".to_owned();
            for (number, value) in [0; 13].iter().enumerate() {
                let value = match number {
                    6 => text.len(),
                    11 => length,
                    _ => *value,
                };
                header += &format!("{value:08X}");
            }
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(name.as_bytes());
            archive.push(0);
            archive.resize(archive.len().next_multiple_of(4), 0);
            archive.extend_from_slice(text.as_bytes());
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
        archive
    }

    /// What a real compressor makes of it; `None` if it is not installed.
    fn packed(command: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
        let child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.ok()?;
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        Some(output.stdout)
    }

    #[test]
    fn every_compression_behind_the_microcode() {
        let module = "usr/lib/modules/6.1.0/kernel/drivers/block/virtio_blk.ko.xz";
        let large = "x".repeat(9 << 20);
        let main = cpio(&[
            ("./conf/conf.d/resume", "RESUME=UUID=a\n"),
            ("large", &large),
            (module, "module"),
        ]);
        let mut early = cpio(&[("kernel/x86/microcode/GenuineIntel.bin", "code")]);
        early.resize(early.len().next_multiple_of(512), 0);
        for command in [
            &["cat"][..],
            &["gzip", "-9"],
            &["xz", "--check=crc32"],
            &["xz", "--format=lzma"],
            &["zstd", "-q", "-19"],
            &["bzip2"],
            &["lz4", "-l", "-q"],
            &["lz4", "-q"],
        ] {
            let Some(main) = packed(command, &main) else {
                p2v_testing::skip(&format!("{} is not installed", command[0]));
                continue;
            };
            for early in [&early[..], &[]] {
                let whole = [early, &main, &[0; 700]].concat();
                let contents = read(&whole[..]).unwrap_or_else(|e| panic!("{command:?}: {e:#}"));
                assert!(
                    contents.names.iter().any(|name| name == module),
                    "{command:?}"
                );
                assert_eq!(contents.texts["conf/conf.d/resume"], "RESUME=UUID=a\n");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let whole = cpio(&[("a", "text"), ("b", "more")]);
        for bytes in [
            &b""[..],
            b"hello world",
            &whole[..60],
            &whole[..130],
            b"\x89LZO\0\r\n",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        // Names of four gigabytes, which packed are a few megabytes.
        let name = "n".repeat(4000);
        let entry = cpio(&[(&name, "")]);
        let entry = entry[..entry.len() - 124].repeat(64 << 20 >> 11);
        assert!(read(&entry[..]).is_err());
        let mut wrong = whole.clone();
        wrong[94..102].copy_from_slice(b"FFFFFFFF");
        assert!(read(&wrong[..]).is_err());
    }
}
