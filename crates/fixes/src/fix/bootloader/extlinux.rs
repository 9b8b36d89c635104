//! extlinux, where the system starts by it: its files, and the boot sector
//! that finds them.

use anyhow::Result;

use crate::machine::Machine;
use crate::system::program;
use crate::{Draft, Step};

const CONFIGURATIONS: [&str; 3] = [
    "boot/extlinux/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "boot/syslinux/extlinux.conf",
];

const BOOT_SECTORS: [&str; 4] = [
    "usr/lib/EXTLINUX",
    "usr/lib/syslinux/mbr",
    "usr/lib/syslinux",
    "usr/share/syslinux",
];

/// Plans its installation.
pub fn plan(machine: &Machine, draft: &mut Draft) -> Result<Option<String>> {
    let configuration = CONFIGURATIONS.iter().find(|path| draft.exists(path));
    let (Some(extlinux), Some(configuration)) = (program(draft, "extlinux"), configuration) else {
        return Ok(None);
    };
    let gpt = machine.volumes.iter().any(|volume| {
        // An MBR's are made of its id and a number.
        volume
            .partuuid
            .as_ref()
            .is_some_and(|uuid| uuid.len() == 36)
    });
    let name = if gpt { "gptmbr.bin" } else { "mbr.bin" };
    let sector = BOOT_SECTORS.iter().map(|base| format!("{base}/{name}"));
    let Some(sector) = sector.into_iter().find(|path| draft.exists(path)) else {
        draft.warn(format!(
            "the system has no {name} of syslinux's: the disk needs a boot sector"
        ));
        return Ok(None);
    };
    let directory = configuration
        .rsplit_once('/')
        .map_or("boot", |(directory, _)| directory);
    draft.step(Step::new(
        "installing extlinux",
        &[&extlinux, "--install", &format!("/{directory}")],
    ));
    let (input, output) = (format!("if=/{sector}"), format!("of={}", machine.boot_disk));
    draft.step(Step::new(
        format!("writing the boot sector of {}", machine.boot_disk),
        // The partition table behind it stays.
        &["dd", &input, &output, "bs=440", "count=1", "conv=notrunc"],
    ));
    Ok(Some(format!("extlinux goes onto {}", machine.boot_disk)))
}
