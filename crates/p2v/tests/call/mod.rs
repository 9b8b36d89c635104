//! A call of the program itself.

use std::process::{Command, Output, Stdio};

/// p2v, in an environment of these variables alone.
pub fn p2v(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2v"));
    let output = command
        .args(arguments)
        .env_clear()
        // Nothing is found there, gnt-node neither.
        .env("PATH", "/nonexistent")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output();
    output.expect("p2v should start")
}
