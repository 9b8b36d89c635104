//! The example configuration, made from the table of settings.

use super::reference::reference;

const HEAD: &str = "\
# Settings of p2v-target, the Ganeti OS definition. All of them have defaults:
# the values in the lines that begin with `#NAME=` are these, or an example
# where the default is empty. Everything here holds for all instances on this
# node; variants/NAME.conf beside this file goes over it for one variant
# (gnt-instance add -o p2v-target+NAME), and OS parameters (-O) go over both.
#
# Names and syntax are those of instance-debootstrap: NAME=value and
# NAME+=value with a shell's quotes and backslashes, $NAME and ${NAME} of what
# has been set above, : ${NAME:=value} to set what is empty, and comments. No
# shell runs: anything else is an error. `export NAME=value` hands a variable
# to the hooks, which get SUITE, ARCH, PARTITION_STYLE, EXTRA_PKGS, FILESYSTEM
# and HOSTNAME_POLICY anyway.
";

/// The text of p2v-target.conf as it is installed: every setting explained and
/// commented out.
pub fn example_conf() -> String {
    let mut text = String::from(HEAD);
    for setting in reference() {
        text.push('\n');
        for line in setting.help {
            text += &format!("# {line}\n");
        }
        text += &format!("#{}=\"{}\"\n", setting.name, setting.example);
    }
    text
}
