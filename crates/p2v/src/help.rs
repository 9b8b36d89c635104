//! What `--help` says of an applet beside its arguments, and how it is laid
//! out. The manual page of the applet has the same, and more.

use clap::Command;

/// The width of a help text's lines, in columns.
const WIDTH: usize = 79;

/// How far clap indents what it says of an argument.
const INDENTED: usize = 10;

/// The status of a wrong argument (sysexits(3)'s EX_USAGE): no other status of
/// any applet.
pub const WRONG_USAGE: u8 = 64;

/// What there is to say of an applet beside its arguments.
pub struct Help {
    /// What it does, a paragraph each.
    pub description: &'static [&'static str],
    /// What its exit statuses mean; [`WRONG_USAGE`] is the same for all.
    pub statuses: &'static [(u8, &'static str)],
    /// Whole command lines, and what each is for.
    pub examples: &'static [(&'static str, &'static str)],
}

/// What [`WRONG_USAGE`] means.
pub const WRONG_USAGE_MEANS: &str = "An argument is wrong; nothing was done.";

/// The command with all that its long help shows.
pub fn explained(command: Command, help: &Help) -> Command {
    let about = command.get_about().map(ToString::to_string);
    let mut long = vec![format!("{}.", about.unwrap_or_default())];
    long.extend(help.description.iter().map(|text| filled(text, WIDTH)));
    command
        .long_about(long.join("\n\n"))
        .after_long_help(closing(help))
        .mut_args(|arg| {
            let text = arg.get_long_help().or(arg.get_help());
            let text = text.map(ToString::to_string).unwrap_or_default();
            arg.long_help(filled(&text, WIDTH - INDENTED))
        })
}

/// The exit statuses and the examples.
fn closing(help: &Help) -> String {
    let mut text = "Exit status:".to_owned();
    let usage = [(WRONG_USAGE, WRONG_USAGE_MEANS)];
    for (status, meaning) in help.statuses.iter().chain(&usage) {
        let meaning = filled(meaning, WIDTH - 6).replace('\n', "\n      ");
        text += &format!("\n  {status:<3} {meaning}");
    }
    if !help.examples.is_empty() {
        text += "\n\nExamples:";
    }
    for (words, purpose) in help.examples {
        let purpose = filled(purpose, WIDTH - 2).replace('\n', "\n  ");
        text += &format!("\n  {purpose}:\n      {words}");
    }
    text
}

/// The text in lines of at most that many columns; a longer word stays whole.
fn filled(text: &str, columns: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            *line += " ";
            *line += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_no_word_is_lost() {
        assert_eq!(filled("one two  three\nfour", 8), "one two\nthree\nfour");
        assert_eq!(filled("a-long-word b", 4), "a-long-word\nb");
        assert_eq!(filled("", 4), "");
    }
}
