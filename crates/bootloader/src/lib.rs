//! GRUB on a disk that the node never boots.
//!
//! grub-install wants to know the machine's own disks; here there is only an
//! image, or a device of somebody else's. So `grub-mkimage` makes one
//! self-contained image, and this crate puts it where the firmware looks: the
//! MBR and the gap behind it, a BIOS boot partition, or the removable path of
//! an EFI system partition. Nothing is run from, and nothing is read off, the
//! disk.
//!
//! - [`menu`]: what is booted: `grub.cfg` and its kernel command line
//! - [`start`]: what GRUB does by itself, before it shows a menu
//! - [`image`]: GRUB's image, made by the node's `grub-mkimage`
//! - [`bios`]: MBR and embedding area
//! - [`efi`]: the EFI system partition
//!
//! One more image is made on the node but used in an instance: the last resort
//! of a system that has no boot loader ([`start::LAST_RESORT`]).
//!
//! Not here: a guest's own boot loader, which only the guest's own system may
//! reinstall.

pub mod bios;
pub mod efi;
pub mod image;
pub mod menu;
pub mod start;

pub use image::Platform;
pub use menu::{Console, Menu};
pub use start::Start;
