//! The settings: p2v-target.conf(5), and the table of docs/settings.md.

use anyhow::{Context, Result};
use p2v_ganeti::settings::{Explained, reference};

use crate::command::version;
use crate::roff::{Page, bold};

/// What stands around the table in docs/settings.md.
const BEGIN: &str = "<!-- made by `make generated` from here -->\n";
const END: &str = "<!-- to here -->\n";

/// A part of what a setting means.
enum Block {
    Text(String),
    Item(String, String),
}

/// The page p2v-target.conf(5).
pub fn page() -> String {
    let mut page = Page::new("p2v-target.conf", 5, version());
    page.section("Name");
    page.line("p2v\\-target.conf \\- settings of the Ganeti OS definition p2v\\-target");
    page.section("Synopsis");
    page.paragraph("/etc/ganeti/instance-p2v-target/p2v-target.conf");
    page.paragraph("/etc/ganeti/instance-p2v-target/variants/NAME.conf");
    page.section("Description");
    for text in DESCRIPTION {
        page.paragraph(text);
    }
    page.section("Syntax");
    page.paragraph(
        "The syntax is a shell's, but no shell reads it; anything else than these is an error that \
         names the file and the line.",
    );
    for (form, meaning) in SYNTAX {
        page.tagged(form, meaning);
    }
    page.section("Settings");
    reference()
        .iter()
        .for_each(|setting| explain(&mut page, setting));
    page.section("Files");
    for (name, meaning) in FILES {
        page.tagged(name, meaning);
    }
    page.section("Examples");
    page.paragraph("Trixie by a proxy, on disks that boot under BIOS and EFI alike:");
    page.literal(EXAMPLE);
    page.paragraph("One instance with another filesystem and two packages more:");
    page.literal(
        "gnt-instance add -o p2v-target+default -O 'filesystem=xfs,extra_pkgs=+tmux vim-tiny' \\\n  \
         -t drbd -s 20G web1.example.org",
    );
    page.section("See also");
    page.paragraph("p2v(8), p2v-create(8), gnt-instance(8), gnt-os(8), run-parts(8), mkpasswd(1).");
    page.into_text()
}

/// docs/settings.md, which is `text`, with the table made anew.
///
/// # Errors
/// The lines around the table are not there.
pub fn with_table(text: &str) -> Result<String> {
    let marked =
        || format!("making the table of docs/settings.md: put it between {BEGIN}and {END}");
    let (before, rest) = text.split_once(BEGIN).with_context(marked)?;
    let (_, after) = rest.split_once(END).with_context(marked)?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table()))
}

fn table() -> String {
    let mut table =
        "| Setting | OS parameter | Default | What it is |\n|---|---|---|---|\n".to_owned();
    for setting in reference() {
        let (default, is_value) = &setting.default;
        let default = match is_value {
            true => format!("`{default}`"),
            false => default.clone(),
        };
        table += &format!(
            "| {} | {} | {default} | {} |\n",
            setting.name,
            setting.parameter.unwrap_or_default(),
            in_a_cell(&setting)
        );
    }
    table
}

fn in_a_cell(setting: &Explained) -> String {
    let blocks = blocks(setting.help).into_iter().map(|block| match block {
        Block::Text(text) => text,
        Block::Item(name, meaning) => format!("<br>`{name}`: {meaning}"),
    });
    blocks.collect::<String>().replace('|', "\\|")
}

fn explain(page: &mut Page, setting: &Explained) {
    let (default, is_value) = &setting.default;
    let mut blocks = blocks(setting.help).into_iter();
    let first = match blocks.next() {
        Some(Block::Text(text)) => text,
        _ => String::new(),
    };
    page.tagged_so(&bold(setting.name), &first);
    page.indented(|page| {
        for block in blocks {
            match block {
                Block::Text(text) => page.paragraph(&text),
                Block::Item(name, meaning) => page.tagged(&name, &format!("{meaning}.")),
            }
        }
        let parameter = setting
            .parameter
            .map(|name| format!(" OS parameter: `{name}`."));
        let default = match is_value {
            true => format!("`{default}`"),
            false => format!("empty ({default})"),
        };
        page.paragraph(&format!(
            "Default: {default}.{}",
            parameter.unwrap_or_default()
        ));
    });
}

fn blocks(help: &[&str]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in help {
        let text = line.trim_start();
        match (line.split_once("  "), blocks.last_mut()) {
            (Some(("", _)), Some(Block::Text(before) | Block::Item(_, before))) => {
                *before += &format!(" {text}");
            }
            (Some((name, meaning)), _) => {
                blocks.push(Block::Item(name.to_owned(), meaning.trim().to_owned()));
            }
            (None, Some(Block::Text(before))) => *before += &format!(" {text}"),
            (None, _) => blocks.push(Block::Text(text.to_owned())),
        }
    }
    blocks
}

const DESCRIPTION: &[&str] = &[
    "What create makes of an instance's disk, import where it restores a dump, and rename, is set \
     in four layers, each going over the one before: the defaults; p2v-target.conf; the file of the \
     variant (`gnt-instance add -o p2v-target+NAME`); the OS parameters (`-O name=value`, or set \
     for all instances of a variant by gnt-os(8)).",
    "All settings have defaults, and without the file these stand. Everything is checked before \
     anything is used: one error lists every wrong value with the file and the line. A name that is \
     probably mistyped is warned of.",
    "-O separates parameters by commas, so lists take blanks as well, and a leading `+` adds to what \
     the files say. Values that may hold a password (MIRROR, PROXY, ROOT_PASSWORD_HASH) are shown in \
     no log; give them as private or secret parameters, and Ganeti shows them to nobody either.",
];

const SYNTAX: &[(&str, &str)] = &[
    (
        "NAME=VALUE",
        "Sets it; quotes and backslashes are a shell's.",
    ),
    (
        "NAME+=VALUE",
        "Adds to what it was set to above: `EXTRA_PKGS+=\",tmux\"`.",
    ),
    (
        "$NAME, ${NAME}",
        "What was set above; a setting that was not is empty.",
    ),
    (": ${NAME:=VALUE}", "Sets it where it is empty."),
    (
        "export NAME=VALUE",
        "Hands a variable to the hooks. They get SUITE, ARCH, PARTITION_STYLE, EXTRA_PKGS, \
         FILESYSTEM and HOSTNAME_POLICY anyway.",
    ),
    ("# COMMENT", "Nothing."),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/ganeti/instance-p2v-target/p2v-target.conf",
        "As installed, every setting in it is explained and commented out. `p2v distribute` brings \
         it to the other nodes.",
    ),
    (
        "/etc/ganeti/instance-p2v-target/variants/NAME.conf",
        "The file of a variant. `variants.list` beside p2v-target.conf publishes its name.",
    ),
];

const EXAMPLE: &str = "\
SUITE=\"trixie\"
PROXY=\"http://proxy.example.com:3128/\"
PARTITION_STYLE=\"gpt\"
";
