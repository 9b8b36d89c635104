//! What GRUB's image does by itself: it finds the filesystem by its UUID, and
//! shows the menu that lies there.

use crate::menu::GRUB_CFG;

/// What a system's own grub.cfg asks for besides: built in, since modules that
/// a guest has are of another GRUB, and this one must not load them.
const MODULES_OF_SYSTEMS: &[&str] = &[
    "all_video",
    "boot",
    "cat",
    "font",
    "gettext",
    "gfxmenu",
    "gfxterm",
    "gfxterm_background",
    "gzio",
    "jpeg",
    "keystatus",
    "loadenv",
    "minicmd",
    "png",
    "probe",
    "regexp",
    "search_fs_file",
    "search_label",
    "true",
    "xzio",
];

/// What to tell when there is no menu.
const CREATED: &str =
    "The disk was repartitioned and holds no system yet, or its boot loader is gone.";
const RESTORED: &str = "The system has no menu of its own any more.";

/// The last resort's menu, on the root's filesystem, or on that of its own
/// which /boot is.
pub const LAST_RESORT: &str = "boot/p2v-start/grub.cfg";

/// The beginning of a boot.
#[derive(Debug, Clone)]
pub struct Start {
    uuid: String,
    whose: Whose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    System,
    /// Any, which is told by [`LAST_RESORT`].
    Marked,
}

impl Start {
    /// Shows our own menu on the filesystem `uuid`.
    pub fn of_menu(uuid: &str) -> Self {
        Self {
            uuid: uuid.to_owned(),
            whose: Whose::Ours,
        }
    }

    /// Shows the menu that the system on the filesystem `uuid` made for itself.
    pub fn of_system(uuid: &str) -> Self {
        Self {
            uuid: uuid.to_owned(),
            whose: Whose::System,
        }
    }

    /// Shows the menu that [`LAST_RESORT`] is on any filesystem.
    pub fn of_marked() -> Self {
        Self {
            uuid: String::new(),
            whose: Whose::Marked,
        }
    }

    pub(crate) fn modules(&self) -> &'static [&'static str] {
        match self.whose {
            Whose::Ours => &[],
            Whose::System => MODULES_OF_SYSTEMS,
            Whose::Marked => &["search_fs_file"],
        }
    }

    /// The commands built into the image.
    pub(crate) fn commands(&self) -> String {
        let why = match self.whose {
            Whose::Ours => CREATED,
            Whose::System => RESTORED,
            Whose::Marked => return marked_commands(),
        };
        format!(
            "search --no-floppy --fs-uuid --set=root {uuid}\n\
             if [ -e ($root){GRUB_CFG} ]; then\n  \
             set prefix=($root)/boot/grub\n  \
             configfile ($root){GRUB_CFG}\n\
             fi\n\
             echo 'p2v-target: there is no {GRUB_CFG} on a filesystem {uuid}.'\n\
             echo '{why}'\n\
             echo 'Start the instance with a kernel from the node, or reinstall it.'\n\
             sleep --interruptible 86400\n",
            uuid = self.uuid,
        )
    }
}

/// The image's own commands are read by GRUB's rescue parser, which knows no
/// `if`: a search that finds nothing leaves `root` alone, and a menu that is
/// not there is passed over.
fn marked_commands() -> String {
    let on_boot = LAST_RESORT.trim_start_matches("boot/");
    let mut commands = String::new();
    for path in [LAST_RESORT, on_boot] {
        commands += &format!("search --no-floppy --file --set=root /{path}\n");
    }
    for path in [LAST_RESORT, on_boot] {
        commands += &format!("configfile ($root)/{path}\n");
    }
    commands
        + &format!(
            "echo 'p2v-target: there is no /{LAST_RESORT} on any disk.'\n\
             sleep --interruptible 86400\n"
        )
}
