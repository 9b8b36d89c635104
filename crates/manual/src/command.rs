//! The pages of the programs, section 8: made of a program's arguments and of
//! what its help says, and of the notes that the help has no room for.

use anyhow::{Context, Result};
use clap::{Arg, Command};
use p2v::applets::{self, APPLETS, Applet};
use p2v::{help, log};

use crate::notes::{self, Notes};
use crate::roff::{Page, bold, escaped, italic};

/// The page's text of an applet, as `p2v-NAME(8)`.
pub fn applet(applet: &Applet) -> Result<String> {
    let name = applet.names[0];
    let command = (applet.command)();
    let notes = notes::of(name).with_context(|| {
        format!("making the page of {name}: say its files and where to read on in crates/manual/src/notes.rs")
    })?;
    let mut page = Page::new(&format!("p2v-{name}"), 8, version());
    title(&mut page, &format!("p2v-{name}"), &command);
    page.section("Synopsis");
    for called in applet.names {
        let called = match *called == name {
            true => format!("p2v {name}"),
            false => (*called).to_owned(),
        };
        for call in calls(&called, &command) {
            page.paragraph_so(&call);
        }
    }
    page.section("Description");
    for text in applet.help.description {
        page.paragraph(text);
    }
    options(&mut page, &command);
    page.section("Exit status");
    let usage = [(help::WRONG_USAGE, help::WRONG_USAGE_MEANS)];
    for (status, meaning) in applet.help.statuses.iter().chain(&usage) {
        page.tagged(&status.to_string(), meaning);
    }
    for (heading, texts) in notes.more {
        page.section(heading);
        texts.iter().for_each(|text| page.paragraph(text));
    }
    files(&mut page, &notes);
    environment(&mut page, &notes);
    if !applet.help.examples.is_empty() {
        page.section("Examples");
    }
    for (words, purpose) in applet.help.examples {
        page.paragraph(&format!("{purpose}:"));
        page.literal(words);
    }
    see_also(&mut page, &notes);
    Ok(page.into_text())
}

/// The page by another name, which leads to that of the applet; `None` where
/// both are called so.
pub fn other_name(applet: &Applet, name: &str) -> Option<String> {
    let own = format!("p2v-{}", applet.names[0]);
    (name != own).then(|| format!(".so man8/{own}.8\n"))
}

/// The text of the page p2v(8), which leads to the others.
pub fn whole() -> Result<String> {
    let command = applets::whole();
    let notes = notes::of("p2v").context("making the page p2v(8)")?;
    let mut page = Page::new("p2v", 8, version());
    title(&mut page, "p2v", &command);
    page.section("Synopsis");
    let messages = "[\\fB\\-q\\fR|\\fB\\-v\\fR] [\\fB\\-\\-log\\-format\\fR \\fIFORM\\fR]";
    page.paragraph_so(&format!(
        "\\fBp2v\\fR {messages} \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..."
    ));
    page.section("Description");
    for text in notes.description {
        page.paragraph(text);
    }
    page.section("Commands");
    for applet in visible() {
        let about = (applet.command)().get_about().map(ToString::to_string);
        let term = format!("{}(8)", bold(&format!("p2v-{}", applet.names[0])));
        page.tagged_so(&term, &format!("{}.", about.unwrap_or_default()));
    }
    page.section("Options");
    page.paragraph("Every command takes these:");
    of_all(&mut page);
    page.section("Exit status");
    page.tagged("0", "It did what it was asked to.");
    page.tagged("1", "It failed; the last line says why and what to do.");
    page.tagged(&help::WRONG_USAGE.to_string(), help::WRONG_USAGE_MEANS);
    page.paragraph("What else a command says by its status is in its own page.");
    files(&mut page, &notes);
    environment(&mut page, &notes);
    see_also(&mut page, &notes);
    Ok(page.into_text())
}

/// The applets that people call.
pub fn visible() -> impl Iterator<Item = &'static Applet> {
    let hidden = |applet: &&Applet| !(applet.command)().is_hide_set();
    APPLETS.iter().filter(hidden)
}

/// p2v's version.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn title(page: &mut Page, name: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string);
    let about = about.unwrap_or_default();
    let (first, rest) = about.split_at(about.chars().next().map_or(0, char::len_utf8));
    let about = first.to_lowercase() + rest;
    page.section("Name");
    page.line(&format!("{} \\- {}", escaped(name), escaped(&about)));
}

/// How it is called: once, or with each of its own commands.
fn calls(called: &str, command: &Command) -> Vec<String> {
    let own: Vec<_> = command.get_subcommands().collect();
    if own.is_empty() {
        return vec![synopsis(called, command)];
    }
    let call = |own: &&Command| synopsis(&format!("{called} {}", own.get_name()), own);
    own.iter().map(call).collect()
}

fn synopsis(called: &str, command: &Command) -> String {
    let mut words = vec![bold(called)];
    for arg in command.get_arguments() {
        let word = match arg.get_long() {
            Some(_) => term(arg),
            None => italic(&value_name(arg)),
        };
        let more = if takes_many(arg) { "..." } else { "" };
        words.push(match arg.is_required_set() {
            true => format!("{word}{more}"),
            false => format!("[{word}]{more}"),
        });
    }
    words.push("[\\fIMESSAGES\\fR]".to_owned());
    words.join(" ")
}

fn options(page: &mut Page, command: &Command) {
    let own: Vec<_> = command.get_subcommands().collect();
    page.section(if own.is_empty() {
        "Options"
    } else {
        "Commands"
    });
    arguments(page, command);
    for one in own {
        page.subsection(one.get_name());
        let about = one.get_about().map(ToString::to_string);
        page.paragraph(&format!("{}.", about.unwrap_or_default()));
        arguments(page, one);
    }
    page.subsection("Messages");
    of_all(page);
}

fn arguments(page: &mut Page, command: &Command) {
    for arg in command.get_arguments() {
        page.tagged_so(&term(arg), &meaning(arg));
    }
}

/// The options that every program takes.
fn of_all(page: &mut Page) {
    for arg in log::arguments() {
        page.tagged_so(&term(&arg), &meaning(&arg));
    }
    page.tagged_so(
        "\\fB\\-h\\fR, \\fB\\-\\-help\\fR",
        "Print help: \
        a summary, or with the long form all of it.",
    );
    page.tagged_so("\\fB\\-V\\fR, \\fB\\-\\-version\\fR", "Print the version.");
}

/// `--name VALUE`, set.
fn term(arg: &Arg) -> String {
    let mut set = String::new();
    if let Some(short) = arg.get_short() {
        set += &format!("{}, ", bold(&format!("-{short}")));
    }
    match arg.get_long() {
        Some(long) => set += &bold(&format!("--{long}")),
        None => set += &italic(&value_name(arg)),
    }
    if arg.get_long().is_some() && arg.get_action().takes_values() {
        set += &format!(" {}", italic(&value_name(arg)));
    }
    set
}

/// What it means, what its value may be, and what it is by itself.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    // A default that clap does not know is in the words.
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => {
            let values = arg.get_default_values().iter();
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            (help, values.join(" "))
        }
    };
    let mut text = help;
    if arg.get_action().takes_values() {
        let values = arg.get_possible_values();
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if !names.is_empty() {
            text += &format!("; one of `{}`", names.join("`, `"));
        }
        if !default.is_empty() {
            text += &format!(" [default: {default}]");
        }
    }
    text + "."
}

fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names.iter().map(|name| name.as_str()).collect(),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

fn takes_many(arg: &Arg) -> bool {
    let positional = arg
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1);
    positional || matches!(arg.get_action(), clap::ArgAction::Append)
}

fn files(page: &mut Page, notes: &Notes) {
    if !notes.files.is_empty() {
        page.section("Files");
    }
    for (name, meaning) in notes.files {
        page.tagged_so(&italic(name), meaning);
    }
}

fn environment(page: &mut Page, notes: &Notes) {
    page.section("Environment");
    for (name, meaning) in notes.environment.iter().chain(notes::ENVIRONMENT_OF_ALL) {
        page.tagged(name, meaning);
    }
}

fn see_also(page: &mut Page, notes: &Notes) {
    page.section("See also");
    page.paragraph(&format!("{}.", notes.see_also.join(", ")));
}
