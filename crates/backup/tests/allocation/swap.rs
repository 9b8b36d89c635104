//! Swap space made by mkswap.

use std::os::unix::fs::FileExt;

use p2v_backup::ranges::Ranges;

use crate::image::Image;

#[test]
fn of_every_page_size_the_header() {
    for page in [4096, 8192, 16384, 65536] {
        let mkswap = format!("mkswap --pagesize {page}");
        let image = Image::made("swap", 4 << 20, &mkswap);
        assert_eq!(image.used().unwrap(), Ranges::all(page));
        image
            .open()
            .write_all_at(b"S1SUSPEND\0", page - 10)
            .unwrap();
        let error = image.used().unwrap_err().to_string();
        assert!(error.contains("hibernated"), "{error}");
    }
}
