//! Swap space: the header page is all that a system needs to swap again.
//!
//! A hibernation image is a running system's memory: then nothing may be left
//! out.

use anyhow::{Result, bail, ensure};

use super::Used;
use super::fields::LittleEndian;
use crate::ranges::Ranges;
use crate::window::Window;

/// The page sizes of Linux's architectures, in bytes.
const PAGES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// What the header page ends with instead while the space holds an image, from
/// the kernel's hibernation, uswsusp and TuxOnIce.
const HIBERNATED: [&[u8]; 5] = [
    b"S1SUSPEND",
    b"S2SUSPEND",
    b"ULSUSPEND",
    b"LINHIB0001",
    b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c",
];

/// The bytes in use. All of the partition is the swap area's, whatever length
/// its header has.
pub fn used(window: &Window) -> Result<Used> {
    let longest = (window.length() as usize).min(PAGES[PAGES.len() - 1]);
    let header = window.read(0, longest)?;
    let mut page = None;
    for size in PAGES.into_iter().filter(|size| *size <= longest) {
        let signature = &header[size - 10..size];
        if HIBERNATED.iter().any(|image| signature.starts_with(image)) {
            bail!("it holds the image of a hibernated system: start and shut down that first");
        }
        // Where two page sizes could be meant, the larger has room for both.
        if signature == b"SWAPSPACE2" {
            page = Some(size);
        }
    }
    let Some(page) = page else {
        bail!("it has no header of a kind that is known");
    };
    let version = LittleEndian(&header).u32(1024)?;
    // Written by a machine of the other byte order.
    let version = version.min(version.swap_bytes());
    ensure!(version == 1, "its header is of version {version}");
    Ok(Used {
        ranges: Ranges::all(page as u64),
        end: window.length(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use p2v_sys::loopdev::Extent;

    use super::*;

    fn used_of(signatures: &[(u64, &[u8])], length: u64) -> Result<Ranges> {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file.seek(SeekFrom::Start(1024)).unwrap();
        file.write_all(&[1, 0, 0, 0]).unwrap();
        for (at, signature) in signatures {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(signature).unwrap();
        }
        let extent = Extent { offset: 0, length };
        Ok(used(&Window::new(&file, extent))?.ranges)
    }

    #[test]
    fn the_header_page_by_its_signature() {
        for page in PAGES.map(|page| page as u64) {
            let used = used_of(&[(page - 10, b"SWAPSPACE2")], 1 << 20).unwrap();
            assert_eq!(used, Ranges::all(page));
        }
        let both: &[(u64, &[u8])] = &[(4086, b"SWAPSPACE2"), (65526, b"SWAPSPACE2")];
        assert_eq!(used_of(both, 1 << 20).unwrap(), Ranges::all(65536));
    }

    #[test]
    fn an_image_or_no_header_gives_up() {
        let image = used_of(&[(4086, b"S1SUSPEND\0")], 1 << 20);
        assert!(image.unwrap_err().to_string().contains("hibernated"));
        assert!(used_of(&[], 1 << 20).is_err());
        assert!(used_of(&[], 0).is_err());
        assert!(used_of(&[(65526, b"SWAPSPACE2")], 1 << 20).is_ok());
    }
}
