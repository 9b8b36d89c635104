//! The fixes, one a module. Each is a function of the machine and a draft.

pub mod bootloader;
pub mod cmdline;
pub mod consoles;
pub mod crypttab;
pub mod daemons;
pub mod debconf;
pub mod device_rules;
pub mod fstab;
pub mod hostname;
pub mod initramfs;
pub mod lvm;
pub mod machine_id;
pub mod mdadm;
pub mod nics;
pub mod selinux;
