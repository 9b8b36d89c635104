//! The OS parameters (`gnt-instance add -O name=value`), and which setting
//! each goes over.
//!
//! Ganeti splits what follows `-O` at commas, unless they are written `\,`;
//! lists may therefore be separated by blanks too. An empty value counts as
//! not given. parameters.list, in which Ganeti looks names up, is made from
//! the table here.

use crate::authorized_keys;
use crate::findings::{Findings, did_you_mean, quoted};
use crate::job::OsParameters;
use crate::settings::table;

/// An OS parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name for Ganeti.
    pub name: &'static str,
    /// What it means and may be, in a line.
    pub help: &'static str,
    pub(crate) target: Target,
}

/// What a parameter goes over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The setting of this name.
    Setting(&'static str),
    /// The list of this name, which a leading `+` adds to.
    List(&'static str),
    /// The keys of AUTHORIZED_KEYS_FILE, which it adds to.
    AuthorizedKeys,
}

/// All parameters, in the order of parameters.list.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "filesystem",
        help: "Filesystem of the RAM system's root: ext2, ext3, ext4, xfs or btrfs",
        target: Target::Setting("FILESYSTEM"),
    },
    Parameter {
        name: "partition_style",
        help: "Partition table of the first disk: none, msdos or gpt",
        target: Target::Setting("PARTITION_STYLE"),
    },
    Parameter {
        name: "suite",
        help: "Suite that the RAM system is made of, such as bookworm",
        target: Target::Setting("SUITE"),
    },
    Parameter {
        name: "mirror",
        help: "URL of the archive that its packages come from",
        target: Target::Setting("MIRROR"),
    },
    Parameter {
        name: "proxy",
        help: "URL of the proxy that its packages come through",
        target: Target::Setting("PROXY"),
    },
    Parameter {
        name: "components",
        help: "Components of the archive, separated by blanks or commas; a leading + adds to the \
            configured ones",
        target: Target::List("COMPONENTS"),
    },
    Parameter {
        name: "extra_pkgs",
        help: "Further packages, separated by blanks or commas; a leading + adds to the \
            configured ones",
        target: Target::List("EXTRA_PKGS"),
    },
    Parameter {
        name: "root_password_hash",
        help: "Root's password on the RAM system's console, as mkpasswd prints it, or ! for none \
            that fits; best given as a secret parameter",
        target: Target::Setting("ROOT_PASSWORD_HASH"),
    },
    Parameter {
        name: "timezone",
        help: "Time zone of the RAM system, such as Europe/Brussels",
        target: Target::Setting("TIMEZONE"),
    },
    Parameter {
        name: "hostname_policy",
        help: "What becomes of a machine's name of its own when the instance is renamed: keep or \
            instance",
        target: Target::Setting("HOSTNAME_POLICY"),
    },
    Parameter {
        name: "authorized_keys",
        help: "Public SSH keys, separated by ; or line ends, that may log in besides the \
            configured ones",
        target: Target::AuthorizedKeys,
    },
];

/// The text of parameters.list: a name and a description in each line. Ganeti
/// takes a blank line or a comment for a parameter, so there are none.
pub fn parameters_list() -> String {
    let line = |parameter: &Parameter| format!("{} {}\n", parameter.name, parameter.help);
    PARAMETERS.iter().map(line).collect()
}

/// The parameters given with a value; unknown ones are faults.
pub(crate) fn known<'a>(
    given: &'a OsParameters,
    findings: &mut Findings,
) -> Vec<(&'static Parameter, &'a str)> {
    let names = || PARAMETERS.iter().map(|parameter| parameter.name);
    for name in given.names() {
        if !names().any(|known| known == name) {
            let all = names().collect::<Vec<_>>().join(", ");
            findings.push(format!(
                "OS parameter {}: unknown{} (known: {all})",
                quoted(name),
                did_you_mean(name, names())
            ));
        }
    }
    PARAMETERS
        .iter()
        .filter_map(|parameter| Some((parameter, given.get(parameter.name)?)))
        .collect()
}

/// What authorized_keys may be.
const KEYS_ALLOWED: &str = "allowed: public SSH keys as a file that ends in .pub has them, \
    separated by ; or line ends";

/// What is wrong with the parameters given, each looked at by itself.
pub(crate) fn check(given: &OsParameters) -> Findings {
    let mut findings = Findings::default();
    for (parameter, value) in known(given, &mut findings) {
        let name = parameter.name;
        let checked = match parameter.target {
            Target::Setting(setting) => check_setting(name, setting, value, value),
            Target::List(setting) => {
                let items = value.strip_prefix('+').unwrap_or(value);
                check_setting(name, setting, value, items)
            }
            Target::AuthorizedKeys => authorized_keys::from_parameter(value)
                .map(drop)
                .map_err(|reason| format!("OS parameter {name}: {reason}; {KEYS_ALLOWED}")),
        };
        findings.keep(checked);
    }
    findings
}

fn check_setting(name: &str, setting: &str, shown: &str, value: &str) -> Result<(), String> {
    let Some(setting) = table::setting(setting) else {
        return Err(format!(
            "OS parameter {name}: there is no setting {setting}"
        ));
    };
    let mut ground = crate::settings::blank();
    (setting.set)(&mut ground, value).map_err(|reason| {
        let shown = table::shown(setting.name, shown);
        format!("OS parameter {name}{shown}: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(pairs: &[(&str, &str)]) -> String {
        let pairs = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        match check(&pairs.collect()).into_result("checking") {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_parameter_has_a_line_and_a_setting() {
        let list = parameters_list();
        assert_eq!(list.lines().count(), PARAMETERS.len());
        for (line, parameter) in list.lines().zip(PARAMETERS) {
            // Ganeti splits at the first blank and needs both parts.
            let (name, help) = line.split_once(' ').unwrap();
            assert_eq!(name, parameter.name);
            assert!(!help.is_empty() && !name.starts_with('#'));
            let upper = name.to_ascii_uppercase().replace('-', "_");
            assert_eq!(
                upper.to_ascii_lowercase(),
                name,
                "must survive Ganeti's upper-casing"
            );
            if let Target::Setting(setting) | Target::List(setting) = parameter.target {
                assert!(table::setting(setting).is_some(), "{setting}");
            }
        }
    }

    #[test]
    fn every_parameter_says_what_is_allowed_and_hides_what_may_be_secret() {
        let hash = "6$rounds=9$s3cret";
        let table = [
            ("filesystem", "zfs", "ext2, ext3, ext4, xfs, btrfs", false),
            ("partition_style", "mbr", "none, msdos, gpt", false),
            ("suite", "Bookworm", "lower case letters", false),
            (
                "mirror",
                "s3cret@host/",
                "http://..., https://..., ftp://..., file://...",
                true,
            ),
            (
                "proxy",
                "socks://me:s3cret@host",
                "http://..., https://...",
                true,
            ),
            (
                "proxy",
                "http://me:s3/cret@host",
                "http://..., https://...",
                true,
            ),
            ("components", "Main", "lower case letters", false),
            ("extra_pkgs", "Vim", "lower case letters", false),
            ("root_password_hash", hash, "$y$...", true),
            ("timezone", "../x", "Europe/Brussels", false),
            ("hostname_policy", "yes", "keep, instance", false),
            ("authorized_keys", "s3cret", "public SSH keys", true),
        ];
        for (name, value, allowed, secret) in table {
            let text = faults(&[(name, value)]);
            let words = format!("OS parameter {name}");
            for part in [words.as_str(), "allowed: ", allowed] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert_eq!(
                !text.contains(value) && !text.contains("s3"),
                secret,
                "{text}"
            );
        }
        let tried = |name: &str| table.iter().any(|(tried, ..)| *tried == name);
        assert!(PARAMETERS.iter().all(|parameter| tried(parameter.name)));
    }

    #[test]
    fn good_values_pass_and_wrong_ones_say_what_is_allowed() {
        let key = "ssh-ed25519 \
            AAAAC3NzaC1lZDI1NTE5AAAAIBkB+Cu3XQYtsQ7FTdSkzXYzXjVDCDOKNGo1TTB7zcZV me";
        let table = [
            ("filesystem", "xfs", ""),
            ("filesystem", "", ""),
            ("filesystem", "zfs", "filesystem=`zfs`: allowed: ext2"),
            ("partition_style", "gpt", ""),
            ("partition_style", "GPT", "allowed: none, msdos, gpt"),
            ("suite", "trixie", ""),
            ("suite", "../x", "suite=`../x`"),
            ("mirror", "http://mirror.example.com/debian", ""),
            ("mirror", "mirror.example.com", "allowed: a URL"),
            ("proxy", "ftp://x/", "http://..., https://..."),
            ("components", "main contrib", ""),
            ("components", "+contrib", ""),
            ("extra_pkgs", "+vim less", ""),
            ("extra_pkgs", "vim,less", ""),
            ("extra_pkgs", "vim $(id)", "`$(id)` is not a package's name"),
            ("authorized_keys", key, ""),
            ("authorized_keys", "hello", "OS parameter authorized_keys: "),
            (
                "filesytem",
                "ext4",
                "unknown; did you mean filesystem? (known: filesystem, ",
            ),
            ("x\ny", "", "OS parameter `x\\ny`: unknown"),
        ];
        for (name, value, part) in table {
            let text = faults(&[(name, value)]);
            assert_eq!(text.is_empty(), part.is_empty(), "{name}={value}: {text}");
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let both = faults(&[("suite", "X"), ("filesystem", "Y")]);
        assert!(both.contains("2 faults"), "{both}");
    }
}
