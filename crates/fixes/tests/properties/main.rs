//! What holds of the editors whatever the configuration: made-up files by the
//! hundred, of which is known what must become of each line. Every other byte
//! stays, and a second run changes nothing.

mod exchange;
mod fstab;
mod network;
#[path = "../../../backup/tests/allocation/random.rs"]
mod random;

use std::collections::BTreeMap;

use p2v_fixes::machine::Machine;
use p2v_fixes::{Draft, Verdict, by_name};
use p2v_sys::Root;
use random::Random;

/// A file as it is and as it must become.
#[derive(Debug, Default, Clone)]
struct Case {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Case {
    /// The line ends that one file has.
    fn end(random: &mut Random) -> &'static str {
        pick::<&str>(random, &["\n", "\n", "\r\n"])
    }

    fn line(&mut self, old: &[u8], new: &[u8], end: &str) {
        for (text, line) in [(&mut self.old, old), (&mut self.new, new)] {
            text.extend_from_slice(line);
            text.extend_from_slice(end.as_bytes());
        }
    }

    /// Takes the last line's end away, which editors forget.
    fn without_last_end(&mut self) {
        for text in [&mut self.old, &mut self.new] {
            let ends = text.iter().rev();
            let length = ends.take_while(|byte| b"\r\n".contains(byte)).count();
            text.truncate(text.len() - length);
        }
    }
}

fn pick<'a, T>(random: &mut Random, all: &'a [T]) -> &'a T {
    &all[random.below(all.len() as u64) as usize]
}

/// White space that is not the end of a line.
fn blank(random: &mut Random) -> &'static str {
    pick::<&str>(random, &[" ", "\t", "  ", " \t ", "\t\t"])
}

/// Lines that are nobody's business, some of them no text.
fn stranger(random: &mut Random) -> Vec<u8> {
    let known: [&[u8]; 8] = [
        b"",
        b"   \t",
        b"# a comment",
        b"\t# \xe4\xf6\xfc in Latin-1",
        b"#/dev/sda1 / eno1 00:11:22:33:44:55",
        b"\xff\xfe broken",
        b"# \x00\x07",
        "# caf\u{e9} \u{2014} \u{1f427}".as_bytes(),
    ];
    let mut line = pick(random, &known).to_vec();
    if line.starts_with(b"#") {
        // No line end, whatever else.
        let bytes = random
            .bytes(8)
            .into_iter()
            .filter(|byte| !b"\r\n".contains(byte));
        line.extend(bytes);
    }
    line
}

/// The files that become others, and what is said of it.
fn run(fix: &str, machine: &Machine, files: &BTreeMap<String, Case>) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    for (path, case) in files {
        root.write(path, case.old.clone(), 0o644).unwrap();
    }
    let mut draft = Draft::new(&root);
    let fix = by_name(fix).unwrap().run;
    let verdict = fix(machine, &mut draft).unwrap();
    draft.apply().unwrap();
    for (path, case) in files {
        let text = draft.read(path).unwrap().unwrap();
        assert!(
            text == case.new,
            "{path}, {verdict:?}:\n{}\nbecame\n{}\nnot\n{}",
            case.old.escape_ascii(),
            text.escape_ascii(),
            case.new.escape_ascii()
        );
    }
    let again = fix(machine, &mut draft).unwrap();
    assert!(draft.is_empty(), "a second run changes more: {again:?}");
    assert!(!matches!(again, Verdict::Changed(_)), "{again:?}");
    verdict
}
