//! One end of a copy on standard input and output, for trials and measurements:
//! `pipe send TOP`, `pipe receive TOP`, or `pipe run TOP COMMAND...`, which
//! sends to a command.

use std::io::{stdin, stdout};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let options = p2v_copy::SendOptions {
        compression: match std::env::var("COMPRESSION").as_deref() {
            Ok("never") => p2v_copy::Compression::Never,
            Ok("always") => p2v_copy::Compression::Always,
            _ => p2v_copy::Compression::Adaptive,
        },
        exclude: Vec::new(),
    };
    let quiet = |_| {};
    match words.as_slice() {
        ["send", top] => {
            p2v_copy::send(Path::new(top), stdin(), stdout(), &options, &quiet)?;
        }
        ["receive", top] => {
            p2v_copy::receive(Path::new(top), stdin(), stdout())?;
        }
        ["run", top, program, args @ ..] => {
            let mut child = Command::new(program)
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let to = child.stdin.take().context("no pipe")?;
            let from = child.stdout.take().context("no pipe")?;
            let progress = p2v_copy::send(Path::new(top), from, to, &options, &quiet);
            child.wait()?;
            eprintln!("{:?}", progress?);
        }
        _ => bail!("pipe send TOP | receive TOP | run TOP COMMAND..."),
    }
    Ok(())
}
