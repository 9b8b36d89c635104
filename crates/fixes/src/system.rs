//! What kind of system a root holds: its init, its tools.

use crate::Draft;

/// Where programs are.
const BIN: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// Whether systemd starts the system.
pub fn has_systemd(draft: &Draft) -> bool {
    let systemd = ["lib/systemd/systemd", "usr/lib/systemd/systemd"];
    let sysvinit = "lib/sysvinit/init";
    systemd.iter().any(|path| draft.exists(path))
        && !(draft.exists(sysvinit) && draft.exists("etc/inittab") && !links_to_systemd(draft))
}

/// Debian 8 could have both; `/sbin/init` tells.
fn links_to_systemd(draft: &Draft) -> bool {
    ["sbin/init", "usr/sbin/init"].iter().any(|init| {
        let link = draft.link(init).ok().flatten();
        link.is_some_and(|link| link.ends_with("systemd"))
    })
}

/// The program's path inside the root, from `/`.
pub fn program(draft: &Draft, name: &str) -> Option<String> {
    BIN.iter()
        .map(|bin| format!("{bin}/{name}"))
        .find(|path| draft.exists(path))
        .map(|path| format!("/{path}"))
}
