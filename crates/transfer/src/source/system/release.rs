//! Which system it is, and its name.

use p2v_fixes::lines::shell_value;

use super::Files;

/// Files that tell of systems without an os-release: the ID, and the file
/// whose first line names it.
const OLDER: [(&str, &str); 5] = [
    ("debian", "etc/debian_version"),
    ("centos", "etc/centos-release"),
    ("rhel", "etc/redhat-release"),
    ("sles", "etc/SuSE-release"),
    ("gentoo", "etc/gentoo-release"),
];

/// The ID and the name.
pub fn distribution(files: &mut Files) -> (Option<String>, Option<String>) {
    // The first may be a link to the second, on a /usr that is not there.
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let Some(text) = files.text(path) else {
            continue;
        };
        let id = shell_value(&text, "ID").filter(|id| !id.is_empty());
        let name = shell_value(&text, "PRETTY_NAME").or_else(|| shell_value(&text, "NAME"));
        if id.is_some() || name.is_some() {
            return (id, name.filter(|name| !name.is_empty()));
        }
    }
    for (id, path) in OLDER {
        if let Some(line) = files.text(path).as_deref().and_then(first_line) {
            let name = match id {
                "debian" => format!("Debian {line}"),
                _ => line,
            };
            return (Some(id.to_owned()), Some(name));
        }
    }
    (None, None)
}

fn first_line(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().map(str::to_owned)
}

/// What the system calls itself.
pub fn hostname(files: &mut Files) -> Option<String> {
    for path in ["etc/hostname", "etc/HOSTNAME"] {
        if let Some(name) = files.text(path).as_deref().and_then(first_line) {
            return Some(name);
        }
    }
    for (path, variable) in [
        ("etc/sysconfig/network", "HOSTNAME"),
        ("etc/conf.d/hostname", "hostname"),
    ] {
        let value = files
            .text(path)
            .and_then(|text| shell_value(&text, variable));
        if let Some(name) = value.filter(|name| !name.is_empty()) {
            return Some(name);
        }
    }
    None
}

/// What runs as PID 1.
pub fn init(files: &Files) -> Option<String> {
    let links_to = |name: &str| {
        ["sbin/init", "usr/sbin/init", "bin/init", "usr/bin/init"]
            .iter()
            .filter_map(|init| files.root.read_link(init).ok().flatten())
            .any(|link| link.file_name().is_some_and(|file| file == name))
    };
    let any = |paths: &[&str]| paths.iter().any(|path| files.has(path));
    let systemd = any(&["lib/systemd/systemd", "usr/lib/systemd/systemd"]);
    let found = if systemd && links_to("systemd") {
        "systemd"
    } else if links_to("runit-init") || any(&["etc/runit/2"]) {
        "runit"
    } else if links_to("busybox") {
        "busybox"
    } else if links_to("openrc-init") || any(&["sbin/openrc", "usr/sbin/openrc"]) {
        "openrc"
    } else if any(&[
        "etc/init/rc-sysinit.conf",
        "etc/init/rcS.conf",
        "sbin/upstart",
    ]) {
        "upstart"
    } else if any(&["etc/inittab"]) && any(&["sbin/init", "usr/sbin/init"]) {
        "sysvinit"
    } else if systemd {
        "systemd"
    } else {
        return None;
    };
    Some(found.to_owned())
}
