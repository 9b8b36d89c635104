//! What the tree has must be what is made, and what the pages say must be so.

use std::path::{Path, PathBuf};

use clap::{Command, ValueHint};
use p2v::applets::Applet;
use p2v::log;
use p2v_manual::{DIRECTORIES, command, files, notes, tree};

/// Every file below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory of the tree") {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn every_made_file_is_as_it_would_be_made_now() {
    let made = files().unwrap();
    let differs = |file: &&p2v_manual::Made| {
        std::fs::read_to_string(tree().join(&file.path))
            .ok()
            .as_ref()
            != Some(&file.text)
    };
    let old: Vec<_> = made.iter().filter(differs).map(|file| &file.path).collect();
    assert!(
        old.is_empty(),
        "run `make generated` to make these anew: {old:?}"
    );
    for path in DIRECTORIES
        .iter()
        .flat_map(|name| below(&tree().join(name)))
    {
        let path = path.strip_prefix(tree()).unwrap().to_owned();
        let is_made = made.iter().any(|file| file.path == path);
        assert!(
            is_made,
            "{path:?} is not made any more: run `make generated`"
        );
    }
}

/// The applet's command, which takes paths of what is not on this machine.
fn anywhere(applet: &Applet) -> Command {
    let command = (applet.command)().args(log::arguments());
    command.mut_args(|arg| match arg.get_value_hint() {
        ValueHint::FilePath | ValueHint::DirPath => arg.value_parser(clap::value_parser!(PathBuf)),
        _ => arg,
    })
}

#[test]
fn every_example_is_a_call_that_p2v_takes() {
    let mut count = 0;
    for applet in command::visible() {
        for (line, _) in applet.help.examples {
            let words = line.split_whitespace();
            // Variables stand before the program.
            let words: Vec<&str> = words.skip_while(|word| word.contains('=')).collect();
            assert_eq!(words[..2], ["p2v", applet.names[0]], "{line}");
            if let Err(error) = anywhere(applet).try_get_matches_from(&words[1..]) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn every_argument_is_explained() {
    for applet in command::visible() {
        let command = (applet.command)();
        assert!(command.get_about().is_some(), "{}", applet.names[0]);
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 10, "{} {}", applet.names[0], arg.get_id());
            assert!(!help.ends_with('.'), "{help}");
            let default = help.find("[default: ").is_none_or(|_| help.ends_with(']'));
            assert!(default, "the default comes last: {help}");
        }
    }
}

/// Our own source but this crate's.
fn source() -> String {
    let crates = std::fs::read_dir(tree().join("crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().path());
    let others = crates.filter(|path| !path.ends_with("manual"));
    let files = others.flat_map(|path| below(&path.join("src")));
    files
        .map(|path| std::fs::read_to_string(path).unwrap_or_default())
        .collect()
}

#[test]
fn every_variable_of_a_page_is_read_somewhere() {
    let source = source();
    for applet in command::visible() {
        let notes = notes::of(applet.names[0]).expect("notes");
        let variables = notes.environment.iter().chain(notes::ENVIRONMENT_OF_ALL);
        for name in variables.flat_map(|(names, _)| names.split(", ")) {
            let (verb, rest) = name.split_once('_').unwrap_or((name, ""));
            let known = source.contains(&format!("\"{name}\""))
                || source.contains(name.trim_end_matches('*'))
                || (["IMPORT", "EXPORT"].contains(&verb) && source.contains(&format!("_{rest}\"")));
            assert!(known, "{}: nobody reads {name}", applet.names[0]);
        }
    }
}
