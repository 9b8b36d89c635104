//! Completions for bash, zsh and fish, for each name that a shell calls.

use clap::Command;
use clap_complete::{Shell, generate};
use p2v::applets;

use crate::command::visible;

/// Each file's path below the directory of completions, and its text.
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for command in commands() {
        let name = command.get_name().to_owned();
        for (shell, path) in [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ] {
            let mut text = Vec::new();
            generate(shell, &mut command.clone(), &name, &mut text);
            files.push((path, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    files
}

/// `p2v`, and the names that its applets have elsewhere. Ganeti alone calls its
/// five, by their path.
fn commands() -> Vec<Command> {
    let mut commands = vec![applets::whole().disable_help_subcommand(true)];
    for applet in visible() {
        let others = applet.names[1..].iter();
        commands.extend(others.map(|name| applet.explained(name)));
    }
    commands
}
