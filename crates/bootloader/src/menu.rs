//! What the boot loader boots: the text of `grub.cfg`.

use std::fmt;

/// Where grub.cfg lies on the root filesystem.
pub const GRUB_CFG: &str = "/boot/grub/grub.cfg";

/// Orders kernels' versions by their numbers: 6.1.0-9 is older than 6.1.0-10.
pub fn version_key(version: &str) -> Vec<(u64, String)> {
    version
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| (part.parse().unwrap_or(0), part.to_owned()))
        .collect()
}

/// A console of the instance, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// The screen, which Ganeti shows by VNC or SPICE.
    Screen,
    /// The first serial port, at Ganeti's 38400 baud.
    Serial,
    /// Xen's paravirtual console.
    Xen,
}

impl fmt::Display for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Screen => "tty0",
            Self::Serial => "ttyS0,38400n8",
            Self::Xen => "hvc0",
        })
    }
}

/// One kernel and initrd on a root filesystem.
#[derive(Debug, Clone)]
pub struct Menu {
    /// UUID of the root filesystem, which also holds kernel and initrd.
    pub root_uuid: String,
    /// Path of the kernel on it.
    pub kernel: String,
    /// Path of the initrd on it.
    pub initrd: String,
    /// What the entry is called.
    pub title: String,
    /// The kernel's options besides root and consoles, with a leading space.
    pub options: &'static str,
    /// The consoles, the last one being /dev/console.
    pub consoles: Vec<Console>,
}

impl Menu {
    /// The kernel's command line.
    pub fn command_line(&self) -> String {
        let mut line = format!("root=UUID={} ro{}", self.root_uuid, self.options);
        for console in &self.consoles {
            line += &format!(" console={console}");
        }
        line
    }

    /// The text of grub.cfg.
    pub fn grub_cfg(&self) -> String {
        let terminal = if self.consoles.contains(&Console::Serial) {
            // Without a serial port the command fails and the screen stays.
            "if serial --unit=0 --speed=38400; then\n  \
             terminal_input console serial\n  \
             terminal_output console serial\nfi\n"
        } else {
            ""
        };
        format!(
            "# Written by p2v-target when it made this disk.\n\
             {terminal}\
             set default=0\n\
             set timeout=1\n\
             \n\
             menuentry \"{title}\" {{\n  \
             linux {kernel} {line}\n  \
             initrd {initrd}\n\
             }}\n",
            title = self.title,
            kernel = self.kernel,
            line = self.command_line(),
            initrd = self.initrd,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_come_in_order_at_ganetis_speed() {
        let menu = Menu {
            root_uuid: "1234".into(),
            kernel: "/boot/vmlinuz".into(),
            initrd: "/boot/ramboot.img".into(),
            title: "p2v-target: boot into RAM".into(),
            options: " net.ifnames=0",
            consoles: vec![Console::Screen, Console::Serial],
        };
        let text = menu.grub_cfg();
        assert!(text.contains("root=UUID=1234 ro"));
        assert!(text.contains("console=tty0 console=ttyS0,38400n8\n"));
        assert!(text.contains("serial --unit=0 --speed=38400"));
        let screen = Menu {
            consoles: vec![Console::Screen],
            ..menu
        };
        assert!(!screen.grub_cfg().contains("serial"));
    }
}
