//! The notes themselves.

use super::{NOTHING, Notes};

const CONF: (&str, &str) = (
    "/etc/ganeti/instance-p2v-target/p2v-target.conf",
    "The settings; see p2v-target.conf(5). Without it the defaults stand.",
);
const VARIANT: (&str, &str) = (
    "/etc/ganeti/instance-p2v-target/variants/NAME.conf",
    "What goes over them for one variant.",
);
const KEYS: (&str, &str) = (
    "/etc/ganeti/instance-p2v-target/authorized_keys",
    "The public keys that may log in to the RAM system as root.",
);
const HOOKS: (&str, &str) = (
    "/etc/ganeti/instance-p2v-target/hooks.d",
    "What create runs on the new root, in the order of the names.",
);
const FIXES_DIR: (&str, &str) = (
    "/etc/ganeti/instance-p2v-target/fixes.d",
    "The fixes. create puts them into /usr/share/p2v-target/fixes.d of the instance.",
);
const CACHE: (&str, &str) = (
    "/var/cache/ganeti-instance-p2v-target",
    "Bootstrap roots and ramboot initrds. All of it may be removed; it is made anew.",
);
const STATE: (&str, &str) = (
    "/var/lib/ganeti-instance-p2v-target/INSTANCE.json",
    "What create made: the host keys' fingerprints among it.",
);
const GANETI: (&str, &str) = (
    "INSTANCE_*, DISK_*, NIC_*, OS_*, OSP_*",
    "What Ganeti asks for; see ganeti-os-interface(7).",
);
const DEBUG: (&str, &str) = (
    "DEBUG_LEVEL",
    "Above 0, every command that is run is said too, as with --verbose.",
);
const DIRS: (&str, &str) = (
    "P2V_CONFIG_DIR, P2V_OS_DIR, P2V_CACHE_DIR, P2V_STATE_DIR",
    "Other directories than those above, for tests. Ganeti never sets them.",
);

pub(super) const WHOLE: Notes = Notes {
    description: &[
        "p2v-target is an OS definition of Ganeti. Its instances boot wholly into RAM, so that \
         their disks lie free to be repartitioned and filled over SSH from the physical machine \
         that moves in; then what the new hardware makes wrong is repaired, and the instance \
         restarts as that machine.",
        "`p2v` is all of that in one program, which goes by the exact name that it is called by \
         (`create`, `p2v-transfer`, `make-ramboot-initrd`), else by its first argument.",
        "On a node Ganeti calls create, import, export, rename and verify by itself. On the machine \
         that moves, started from a live medium: p2v-inspect(8), then p2v-transfer(8).",
    ],
    files: &[
        CONF,
        VARIANT,
        KEYS,
        HOOKS,
        FIXES_DIR,
        (
            "/usr/share/ganeti/os/p2v-target",
            "The OS definition: links to p2v, by which Ganeti calls it.",
        ),
        CACHE,
        STATE,
        (
            "/usr/share/doc/p2v-transfer/docs",
            "The manual, where the package is installed: install.md, migrate.md, \
             troubleshooting.md and others.",
        ),
    ],
    environment: &[DEBUG],
    see_also: &[
        "p2v-target.conf(5)",
        "gnt-os(8)",
        "gnt-instance(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const CREATE: Notes = Notes {
    files: &[CONF, VARIANT, KEYS, HOOKS, FIXES_DIR, CACHE, STATE],
    environment: &[GANETI, DEBUG, DIRS],
    see_also: &[
        "p2v(8)",
        "p2v-target.conf(5)",
        "p2v-transfer(8)",
        "gnt-instance(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const IMPORT: Notes = Notes {
    files: &[
        CONF,
        (
            "/var/cache/ganeti-instance-p2v-target",
            "Where a backup is put together in a file without a name, if it has to be shrunk.",
        ),
    ],
    environment: &[
        GANETI,
        ("IMPORT_DEVICE, IMPORT_INDEX", "Which disk."),
        DEBUG,
        DIRS,
    ],
    see_also: &[
        "p2v(8)",
        "p2v-export(8)",
        "p2v-rename(8)",
        "gnt-backup(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const EXPORT: Notes = Notes {
    environment: &[
        GANETI,
        ("EXPORT_DEVICE, EXPORT_INDEX", "Which disk."),
        (
            "EXP_SIZE_FD",
            "The file descriptor on which Ganeti waits for the stream's size in bytes.",
        ),
        DEBUG,
    ],
    see_also: &[
        "p2v(8)",
        "p2v-import(8)",
        "gnt-backup(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const RENAME: Notes = Notes {
    files: &[CONF, VARIANT],
    environment: &[
        GANETI,
        ("OLD_INSTANCE_NAME", "The name until now."),
        DEBUG,
        DIRS,
    ],
    see_also: &[
        "p2v(8)",
        "p2v-target.conf(5)",
        "gnt-instance(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const VERIFY: Notes = Notes {
    files: &[(
        "/usr/share/ganeti/os/p2v-target/parameters.list",
        "The OS parameters that Ganeti takes.",
    )],
    environment: &[
        (
            "OS_API_VERSION",
            "The version of the interface: 20, 15 or 10.",
        ),
        ("OSP_*", "The OS parameters, their names in capitals."),
        DEBUG,
    ],
    see_also: &[
        "p2v(8)",
        "p2v-target.conf(5)",
        "gnt-os(8)",
        "ganeti-os-interface(7)",
    ],
    ..NOTHING
};

pub(super) const DISTRIBUTE: Notes = Notes {
    files: &[
        (
            "/etc/ganeti/instance-p2v-target",
            "What is distributed, but for names that begin with a dot or end in `~`, `.new`, \
             `.bak`, `.dpkg-old`, `.dpkg-dist` or `.dpkg-new`.",
        ),
        (
            "/var/cache/ganeti-instance-p2v-target",
            "The bootstrap roots, which are too.",
        ),
    ],
    environment: &[
        DIRS,
        (
            "GANETI_ROOTDIR",
            "Before every path of a virtual cluster's node.",
        ),
    ],
    see_also: &["p2v(8)", "gnt-cluster(8)", "gnt-node(8)"],
    ..NOTHING
};

pub(super) const INITRD: Notes = Notes {
    more: &[(
        "Kernel command line",
        &[
            "A kernel that was started with such an initrd heeds `root=` (a device's path, \
                 `UUID=`, `LABEL=`, `PARTUUID=` or `PARTLABEL=`; not with --self-contained), \
                 `rootflags=`, `rootfstype=`, `rootdelay=`, `rootwait`, `init=`, `panic=`, \
                 `modprobe.blacklist=` and `MODULE.NAME=VALUE` as everywhere, and:",
            "`ramboot.timeout=SECONDS`: how long the root is waited for [default: 30].",
            "`ramboot.size=SIZE`: how large the root in RAM may become, in bytes, with `K`, `M` \
                 or `G`, or in `%` of RAM.",
            "`ramboot.exclude=PATH:...`: what is not copied to RAM; a directory stays, empty.",
            "`ramboot.onerror=ACTION`: after a failure `reboot`, `poweroff` or `wait` [default: \
                 wait].",
        ],
    )],
    files: &[
        ("ROOT/lib/modules/VERSION", "The modules that are taken."),
        (
            "/usr/lib/p2v-target/p2v-init",
            "The init that is put inside; p2v itself, where that is not installed.",
        ),
        (
            "ROOT/etc/ramboot.exclude",
            "What --self-contained leaves out beside /boot, a path a line.",
        ),
    ],
    see_also: &["p2v(8)", "p2v-create(8)", "p2v-ready(8)"],
    ..NOTHING
};

pub(super) const TRANSFER: Notes = Notes {
    more: &[(
        "Going on",
        &[
            "A connection that breaks is tried again by itself, for up to 15 minutes without \
                 progress. After anything else (a kill, a loss of power on either side) run it \
                 again with the same options: what is on the target's disks already stays, and \
                 only what is missing is sent.",
            "A system that is known not to start, or that differs, is not started: the target \
                 stays in RAM, to be looked at over SSH.",
        ],
    )],
    files: &[
        (
            "p2v-transfer-HOSTNAME-TIME.json, p2v-transfer-HOSTNAME-TIME.html",
            "The report, in the directory of --report-dir: for programs, and for people.",
        ),
        (
            "~/.ssh/config, ~/.ssh/known_hosts",
            "Not used: the host key must be the one of --host-key, or be confirmed.",
        ),
    ],
    environment: &[
        (
            "NO_COLOR",
            "Set to anything, the progress bar has no colour.",
        ),
        (
            "LC_ALL, LC_CTYPE, LANG",
            "Whether the bar may be drawn in UTF-8.",
        ),
        ("TERM", "Empty or `dumb`: lines instead of a bar."),
        ("SSH_AUTH_SOCK", "The agent that ssh(1) asks for keys."),
    ],
    see_also: &[
        "p2v(8)",
        "p2v-inspect(8)",
        "p2v-create(8)",
        "p2v-fixes(8)",
        "ssh(1)",
    ],
    ..NOTHING
};

pub(super) const IMAGE: Notes = Notes {
    files: &[CONF, VARIANT, CACHE],
    environment: &[DIRS],
    see_also: &[
        "p2v(8)",
        "p2v-create(8)",
        "p2v-distribute(8)",
        "p2v-target.conf(5)",
        "mmdebstrap(1)",
        "debootstrap(8)",
    ],
    ..NOTHING
};

pub(super) const DOCTOR: Notes = Notes {
    files: &[
        CONF,
        VARIANT,
        KEYS,
        HOOKS,
        FIXES_DIR,
        CACHE,
        (
            "/boot",
            "The node's own kernels, and the ramboot initrds that p2v-initrd(8) made for them.",
        ),
    ],
    environment: &[DIRS],
    see_also: &["p2v(8)", "p2v-inspect(8)", "p2v-distribute(8)", "gnt-os(8)"],
    ..NOTHING
};

pub(super) const INSPECT: Notes = Notes {
    files: &[(
        "/dev/DISK",
        "Read only. After a SIGKILL it stays set so: `blockdev --setrw` takes that away.",
    )],
    environment: &[(
        "LC_ALL, LC_CTYPE, LANG",
        "Whether bars may be drawn in UTF-8.",
    )],
    see_also: &["p2v(8)", "p2v-transfer(8)", "blockdev(8)"],
    ..NOTHING
};

pub(super) const AGENT: Notes = Notes {
    files: &[(
        "/.p2v-in-ram",
        "The mark of a system in RAM; without it all but a look is refused.",
    )],
    see_also: &["p2v(8)", "p2v-transfer(8)"],
    ..NOTHING
};

pub(super) const FIXES: Notes = Notes {
    files: &[
        (
            "/usr/share/p2v-target/fixes.d",
            "The fixes in an instance; where there are none, those of the next directory.",
        ),
        FIXES_DIR,
        (
            "/usr/share/p2v-target/ganeti.env",
            "What Ganeti said at create, in the instance.",
        ),
    ],
    environment: &[(
        "HOSTNAME_POLICY",
        "`instance`: the system takes the instance's name, where --machine does not say it.",
    )],
    see_also: &["p2v(8)", "p2v-fix(8)", "p2v-transfer(8)"],
    ..NOTHING
};

pub(super) const FIX: Notes = Notes {
    environment: &[
        (
            "TARGET",
            "The directory that the root to repair is mounted on.",
        ),
        (
            "P2V_MACHINE",
            "A JSON file that describes the machine; without one it is found out.",
        ),
    ],
    see_also: &["p2v(8)", "p2v-fixes(8)"],
    ..NOTHING
};

pub(super) const READY: Notes = Notes {
    files: &[
        (
            "/etc/ssh/ssh_host_*_key.pub",
            "The keys whose fingerprints are said.",
        ),
        ("/sys/class/tty/console/active", "The consoles."),
    ],
    see_also: &["p2v(8)", "p2v-transfer(8)", "p2v-initrd(8)"],
    ..NOTHING
};
