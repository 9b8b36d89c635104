//! Ganeti's `verify` entry point: are the OS parameters valid?
