//! The readers of ext, xfs, btrfs, FAT and swap areas that tell which blocks
//! are in use. The first byte says which; the rest is an image's pieces that are
//! not empty, see `image.rs`. Checksums are right by definition, see
//! `allocation/checksum.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_backup::allocation::{check_xfs_log, used};
use p2v_backup::window::Window;
use p2v_fuzz::{choice, image, memory};
use p2v_sys::loopdev::Extent;

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    let kind = image::KINDS[usize::from(kind) % image::KINDS.len()];
    let image = image::of(rest);
    let window = Window::new(
        &image,
        Extent {
            offset: 0,
            length: image::LENGTH,
        },
    );
    if let Ok(used) = used(kind, &window) {
        let mut end = None;
        for range in used.ranges.iter() {
            assert!(
                range.start < range.end && range.end <= image::LENGTH,
                "{range:?}"
            );
            assert!(end.is_none_or(|end| end < range.start), "{range:?}");
            end = Some(range.end);
        }
    }
    if kind == "xfs" {
        let _ = check_xfs_log(&window);
    }
});
