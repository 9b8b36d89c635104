//! The `p2v` command; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    p2v::applets::dispatch(std::env::args_os().collect())
}
