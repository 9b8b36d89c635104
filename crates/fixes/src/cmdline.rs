//! Kernel command lines: where a system keeps them, and edits of their words.
//!
//! Both the sources that a boot loader's tools read (`/etc/default/grub`) and
//! the menus that they write (`grub.cfg`) are edited, so that the menu is right
//! even where the tool cannot run.

use std::ops::Range;

use anyhow::Result;

use crate::draft::Draft;
use crate::lines::{Line, assigned, splice, words_of};

/// How a file holds command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The whole file is one.
    Whole,
    /// A shell's assignment to one of [`GRUB_VARIABLES`].
    GrubDefaults,
    /// After the kernel's path, in a line that begins with one of these words.
    AfterKernel(&'static [&'static str]),
    /// After this word.
    AfterWord(&'static [&'static str]),
    /// grubenv's `kernelopts=`, in a block whose size must stay.
    GrubEnvironment,
}

const GRUB_VARIABLES: [&str; 3] = [
    "GRUB_CMDLINE_LINUX",
    "GRUB_CMDLINE_LINUX_DEFAULT",
    "GRUB_CMDLINE_LINUX_XEN_REPLACE",
];

const GRUB_KERNEL: &[&str] = &["linux", "linux16", "linuxefi", "kernel", "module2"];

const FILES: &[(&str, Form)] = &[
    ("etc/default/grub", Form::GrubDefaults),
    ("etc/kernel/cmdline", Form::Whole),
    ("boot/grub/grub.cfg", Form::AfterKernel(GRUB_KERNEL)),
    ("boot/grub2/grub.cfg", Form::AfterKernel(GRUB_KERNEL)),
    ("boot/grub/menu.lst", Form::AfterKernel(GRUB_KERNEL)),
    ("boot/grub/grub.conf", Form::AfterKernel(GRUB_KERNEL)),
    ("boot/grub/grubenv", Form::GrubEnvironment),
    ("boot/grub2/grubenv", Form::GrubEnvironment),
    ("boot/extlinux/extlinux.conf", Form::AfterWord(&["append"])),
    ("boot/syslinux/syslinux.cfg", Form::AfterWord(&["append"])),
    ("extlinux.conf", Form::AfterWord(&["append"])),
];

const DIRECTORIES: &[(&str, &str, Form)] = &[
    ("etc/default/grub.d", ".cfg", Form::GrubDefaults),
    (
        "boot/loader/entries",
        ".conf",
        Form::AfterWord(&["options"]),
    ),
    (
        "boot/efi/loader/entries",
        ".conf",
        Form::AfterWord(&["options"]),
    ),
    ("efi/loader/entries", ".conf", Form::AfterWord(&["options"])),
];

/// Debian's update-grub of GRUB 0.97 keeps its source in comments of menu.lst.
const KOPT: [&str; 2] = ["# kopt=", "# defoptions="];

/// Where a command line stands.
#[derive(Debug)]
pub struct Place<'a> {
    /// The file, from the root.
    pub path: &'a str,
    /// What stands before it in its line.
    pub before: &'a str,
}

impl Place<'_> {
    /// Whether it is one that a kernel gets as it stands, or from which its
    /// command line is made. `words` are its words.
    pub fn is_of_system(&self, words: &[String]) -> bool {
        // BLS entries may leave it to grubenv.
        let elsewhere = words.iter().any(|word| word.starts_with("$kernelopts"));
        let has_root = words.iter().any(|word| word.starts_with("root="));
        match self.before.split('=').next() {
            Some("GRUB_CMDLINE_LINUX") => true,
            Some(name) if name.starts_with("GRUB_CMDLINE") => false,
            _ => has_root && !elsewhere,
        }
    }
}

/// All the command lines of a system.
#[derive(Debug)]
pub struct CommandLines {
    files: Vec<(String, Form)>,
    lines: Vec<String>,
}

impl CommandLines {
    /// Looks where there are any.
    pub fn find(draft: &Draft) -> Result<Self> {
        let mut files: Vec<(String, Form)> = FILES
            .iter()
            .map(|(path, form)| ((*path).to_owned(), *form))
            .collect();
        for (directory, suffix, form) in DIRECTORIES {
            let paths = draft.list_paths(directory, suffix)?;
            files.extend(paths.into_iter().map(|path| (path, *form)));
        }
        files.extend(efi_menus(draft)?);
        let mut lines = Vec::new();
        let mut found = Vec::new();
        for (path, form) in files {
            let Some(text) = draft.text(&path)? else {
                continue;
            };
            let places = text
                .lines()
                .filter_map(|line| Some(line[place(form, line)?].to_owned()));
            lines.extend(places);
            found.push((path, form));
        }
        Ok(Self {
            files: found,
            lines,
        })
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether one of them has this word.
    pub fn has_word(&self, word: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.split_ascii_whitespace().any(|known| known == word))
    }

    /// The values of all `key=value` words of this key.
    pub fn values(&self, key: &str) -> Vec<&str> {
        let value = |word: &'_ str| word.split_once('=').is_some_and(|(name, _)| name == key);
        let words = self
            .lines
            .iter()
            .flat_map(|line| line.split_ascii_whitespace());
        words
            .filter(|word| value(word))
            .filter_map(|word| Some(word.split_once('=')?.1))
            .collect()
    }

    /// Calls `edit` with the words of each line and where it stands, and
    /// writes back what it makes of them. Returns the files that changed.
    pub fn edit(
        &self,
        draft: &mut Draft,
        mut edit: impl FnMut(&Place, &mut Vec<String>),
    ) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        for (path, form) in &self.files {
            let Some(bytes) = draft.read(path)? else {
                continue;
            };
            let edited = crate::lines::edit_lines(&bytes, |line| match place(*form, line) {
                Some(range) => {
                    let place = Place {
                        path,
                        before: line[..range.start].trim(),
                    };
                    let edited = edited_line(line, range, *form, |words| edit(&place, words));
                    Line::of(line, edited)
                }
                None => Line::Keep,
            });
            if edited == bytes {
                continue;
            }
            let edited = match form {
                Form::GrubEnvironment => refilled(edited),
                _ => edited,
            };
            draft.write(path, edited)?;
            changed.push(path.clone());
        }
        Ok(changed)
    }
}

/// Where a command line is in a line of such a file. A place may be empty; in
/// a source that is where words may be put.
fn place(form: Form, line: &str) -> Option<Range<usize>> {
    match form {
        Form::Whole => (!line.trim().is_empty() && !line.starts_with('#')).then_some(0..line.len()),
        Form::GrubDefaults => GRUB_VARIABLES.iter().find_map(|name| assigned(line, name)),
        Form::AfterKernel(words) => {
            if let Some(kopt) = KOPT.iter().find(|kopt| line.starts_with(**kopt)) {
                return Some(kopt.len()..line.len());
            }
            let places = words_of(line);
            let first = &line[places.first()?.clone()];
            let kernel = places.get(1)?;
            words.contains(&first).then_some(kernel.end..line.len())
        }
        Form::AfterWord(words) => {
            let first = words_of(line).first()?.clone();
            let known = words
                .iter()
                .any(|word| line[first.clone()].eq_ignore_ascii_case(word));
            known.then_some(first.end..line.len())
        }
        Form::GrubEnvironment => {
            let value = line.strip_prefix("kernelopts=")?;
            Some(line.len() - value.len()..line.len())
        }
    }
}

/// The line with its command line edited; where a word changed, one blank
/// stands between all of them. A shell's value of several words is quoted.
fn edited_line(
    line: &str,
    place: Range<usize>,
    form: Form,
    edit: impl FnOnce(&mut Vec<String>),
) -> String {
    let text = &line[place.clone()];
    let old: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    let mut new = old.clone();
    edit(&mut new);
    if new == old {
        return line.to_owned();
    }
    let lead: String = text.chars().take_while(char::is_ascii_whitespace).collect();
    let tail = text.trim_end();
    let tail = &text[tail.len().max(lead.len())..];
    let glue = if place.start > 0 && lead.is_empty() && !new.is_empty() && needs_blank(line, &place)
    {
        " "
    } else if new.is_empty() {
        ""
    } else {
        &lead
    };
    let quoted = line[..place.start].ends_with(['"', '\'']);
    let mark = if matches!(form, Form::GrubDefaults) && !quoted {
        "\""
    } else {
        ""
    };
    let new = new.join(" ");
    splice(line, &[(place, format!("{mark}{glue}{new}{tail}{mark}"))])
}

/// Whether the place follows a word right away: an `append` with nothing.
fn needs_blank(line: &str, place: &Range<usize>) -> bool {
    let before = line[..place.start].chars().next_back();
    before.is_some_and(|letter| !matches!(letter, '"' | '\'' | '=' | ' ' | '\t'))
}

/// grubenv is a block of 1024 bytes, its end filled with `#`.
fn refilled(mut block: Vec<u8>) -> Vec<u8> {
    const SIZE: usize = 1024;
    while block.last() == Some(&b'#') {
        block.pop();
    }
    block.resize(block.len().max(SIZE), b'#');
    block
}

/// grub.cfg and grubenv on the EFI system partition, a directory a vendor.
fn efi_menus(draft: &Draft) -> Result<Vec<(String, Form)>> {
    let mut found = Vec::new();
    for vendor in draft.list("boot/efi/EFI")? {
        let directory = format!("boot/efi/EFI/{vendor}");
        found.push((
            format!("{directory}/grub.cfg"),
            Form::AfterKernel(GRUB_KERNEL),
        ));
        found.push((format!("{directory}/grubenv"), Form::GrubEnvironment));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRoot;

    /// Takes `quiet` out and puts `new` in.
    fn edited(path: &str, text: &str) -> String {
        let test = TestRoot::new(&[(path, text)]);
        let mut draft = test.draft();
        let lines = CommandLines::find(&draft).unwrap();
        let edit = |_: &Place, words: &mut Vec<String>| {
            words.retain(|word| word != "quiet");
            words.push("new".to_owned());
        };
        lines.edit(&mut draft, edit).unwrap();
        draft.text(path).unwrap().unwrap()
    }

    #[test]
    fn each_place_is_edited_and_nothing_else() {
        for (path, text, expected) in [
            (
                "etc/default/grub",
                "# GRUB_CMDLINE_LINUX=\"no\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\nGRUB_CMDLINE_LINUX=\"\" # x\nGRUB_TIMEOUT=5\n",
                "# GRUB_CMDLINE_LINUX=\"no\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"splash new\"\nGRUB_CMDLINE_LINUX=\"new\" # x\nGRUB_TIMEOUT=5\n",
            ),
            (
                "etc/default/grub",
                "GRUB_CMDLINE_LINUX=quiet # x\nGRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX=quiet\" x\"\n",
                "GRUB_CMDLINE_LINUX=\"new\" # x\nGRUB_CMDLINE_LINUX_DEFAULT=\"new\"\nGRUB_CMDLINE_LINUX=quiet\" x\"\n",
            ),
            (
                "etc/kernel/cmdline",
                "root=UUID=a ro quiet\n",
                "root=UUID=a ro new\n",
            ),
            (
                "boot/grub/grub.cfg",
                "menuentry 'x' {\n\tlinux\t/boot/vmlinuz root=UUID=a ro  quiet\n\tinitrd\t/boot/initrd\n}\n",
                "menuentry 'x' {\n\tlinux\t/boot/vmlinuz root=UUID=a ro new\n\tinitrd\t/boot/initrd\n}\n",
            ),
            (
                "boot/grub/menu.lst",
                "## kopt\n# kopt=root=/dev/sda1 ro\ntitle x\nkernel\t\t/vmlinuz root=/dev/sda1 quiet \n",
                "## kopt\n# kopt=root=/dev/sda1 ro new\ntitle x\nkernel\t\t/vmlinuz root=/dev/sda1 new \n",
            ),
            (
                "boot/loader/entries/a.conf",
                "title x\nlinux /vmlinuz\noptions $kernelopts quiet $tuned_params\n",
                "title x\nlinux /vmlinuz\noptions $kernelopts $tuned_params new\n",
            ),
            (
                "boot/extlinux/extlinux.conf",
                "label l0\n  linux /vmlinuz\n\tAPPEND initrd=/i quiet\r\n  append\n",
                "label l0\n  linux /vmlinuz\n\tAPPEND initrd=/i new\r\n  append new\n",
            ),
        ] {
            assert_eq!(edited(path, text), expected);
        }
    }

    #[test]
    fn grubenv_keeps_its_size() {
        let mut text = "# GRUB Environment Block\nkernelopts=root=UUID=a quiet\n".to_owned();
        text += &"#".repeat(1024 - text.len());
        let new = edited("boot/grub2/grubenv", &text);
        assert_eq!(new.len(), 1024);
        assert!(new.contains("\nkernelopts=root=UUID=a new\n###"));
    }
}
