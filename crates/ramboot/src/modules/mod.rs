//! The kernel's module indexes, as depmod writes them.
