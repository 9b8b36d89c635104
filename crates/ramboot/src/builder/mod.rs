//! Builds the ramboot initrd of a kernel.
