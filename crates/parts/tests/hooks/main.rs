//! The scripts of hooks.d themselves, run as create runs them, on small roots
//! made for the purpose, for the environments that Ganeti gives.

mod boot;
mod interfaces;
mod optional;
mod password;
mod root;
mod scripts;
