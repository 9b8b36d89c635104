//! What a program's page says beyond its help: files, variables, and where to
//! read on.

mod texts;

use texts::*;

/// What there is to say beside the help.
pub struct Notes {
    /// What it does, where that is not in the help: only of p2v itself.
    pub description: &'static [&'static str],
    /// Further sections: a heading, and paragraphs.
    pub more: &'static [(&'static str, &'static [&'static str])],
    /// Files and directories that it reads or writes.
    pub files: &'static [(&'static str, &'static str)],
    /// Variables that it heeds, beside those of [`ENVIRONMENT_OF_ALL`].
    pub environment: &'static [(&'static str, &'static str)],
    /// Other pages.
    pub see_also: &'static [&'static str],
}

/// What every program heeds.
pub const ENVIRONMENT_OF_ALL: &[(&str, &str)] = &[
    (
        "P2V_LOG_FORMAT",
        "`text` or `json`, where --log-format is not given.",
    ),
    (
        "P2V_LOG_LEVEL",
        "`quiet`, `normal` or `verbose`, where neither --quiet nor --verbose is given.",
    ),
];

const NOTHING: Notes = Notes {
    description: &[],
    more: &[],
    files: &[],
    environment: &[],
    see_also: &["p2v(8)"],
};

/// Of the applet of that name, or of `p2v` itself.
pub fn of(name: &str) -> Option<Notes> {
    Some(match name {
        "p2v" => WHOLE,
        "create" => CREATE,
        "import" => IMPORT,
        "export" => EXPORT,
        "rename" => RENAME,
        "verify" => VERIFY,
        "distribute" => DISTRIBUTE,
        "initrd" => INITRD,
        "transfer" => TRANSFER,
        "image" => IMAGE,
        "inspect" => INSPECT,
        "doctor" => DOCTOR,
        "agent" => AGENT,
        "fixes" => FIXES,
        "fix" => FIX,
        "ready" => READY,
        _ => return None,
    })
}
