//! PID 1 of the ramboot initrd.
