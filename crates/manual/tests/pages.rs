//! The pages by the programs that show and judge them.

use std::path::{Path, PathBuf};
use std::process::Command;

use p2v_manual::tree;

/// What a page of a program has, beside files and examples where there are any.
const SECTIONS: [&str; 6] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "EXIT STATUS",
    "ENVIRONMENT",
    "SEE ALSO",
];

fn man() -> PathBuf {
    tree().join("man")
}

/// Every page that is no other's second name.
fn pages() -> Vec<PathBuf> {
    let directories = ["man5", "man8"].map(|name| std::fs::read_dir(man().join(name)).unwrap());
    let pages = directories
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages
        .filter(|path| !text(path).starts_with(".so "))
        .collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

fn text(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap()
}

/// What the program says of each page, on standard output and on standard error;
/// none where the program is missing.
fn judged(program: &str, arguments: &[&str]) -> Vec<(PathBuf, [String; 2])> {
    let judge = |page: PathBuf| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80");
        let output = match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            output => output.unwrap(),
        };
        let said = [output.stdout, output.stderr];
        Some((
            page,
            said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ))
    };
    let answers: Option<Vec<_>> = pages().into_iter().map(judge).collect();
    if answers.is_none() {
        p2v_testing::skip(&format!("{program} is not installed"));
    }
    answers.unwrap_or_default()
}

#[test]
fn groff_finds_no_fault() {
    let arguments = ["-ww", "-man", "-Tutf8", "-z", "-rLL=80n"];
    for (page, said) in judged("groff", &arguments) {
        assert_eq!(said, ["", ""], "{page:?}");
    }
}

#[test]
fn man_finds_no_fault() {
    let arguments = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
    for (page, [_, faults]) in judged("man", &arguments) {
        assert_eq!(faults, "", "{page:?}");
    }
}

#[test]
fn mandoc_finds_no_fault() {
    for (page, [said, _]) in judged("mandoc", &["-T", "lint", "-W", "warning"]) {
        // A date would have to change with each word.
        let is_fault = |line: &&str| !line.contains("missing date");
        let faults: Vec<_> = said.lines().filter(is_fault).collect();
        assert!(faults.is_empty(), "{page:?}: {faults:?}");
    }
}

#[test]
fn each_is_found_by_its_name_and_purpose() {
    for (page, [said, _]) in judged("lexgrog", &[]) {
        let name = page.file_stem().unwrap().to_string_lossy();
        assert!(said.contains(&format!("\"{name} - ")), "{said}");
    }
}

#[test]
fn each_program_has_its_sections_and_leads_only_to_pages_that_are_there() {
    for page in pages() {
        let text = text(&page);
        if page.extension().is_some_and(|section| section == "8") {
            for section in SECTIONS {
                assert!(
                    text.contains(&format!(".SH \"{section}\"\n")),
                    "{page:?}: {section}"
                );
            }
        }
        // \fBp2v\-create\fR(8)
        for piece in text.split("\\fB").skip(1) {
            let Some((name, after)) = piece.split_once("\\fR(") else {
                continue;
            };
            let name = name.replace("\\-", "-");
            let section = after.chars().next().unwrap();
            if name.starts_with("p2v") && section.is_ascii_digit() {
                let other = man().join(format!("man{section}/{name}.{section}"));
                assert!(other.is_file(), "{page:?}: there is no {name}({section})");
            }
        }
    }
}
