//! Logins on consoles, as each init has them.

use anyhow::Result;

use crate::Draft;
use crate::lines::{Line, append_line, edit_lines};

const INITTAB: &str = "etc/inittab";
const WANTS: &str = "etc/systemd/system/getty.target.wants";
const UPSTART: &str = "etc/init";

/// Ports that a login has a line or a file of its own for.
const PORTS: [&str; 3] = ["ttyS", "hvc", "xvc"];

/// systemd's links for ports that are not there: it would wait for them.
pub fn disable_systemd_gettys(
    draft: &mut Draft,
    consoles: &[&str],
    done: &mut Vec<String>,
) -> Result<()> {
    for name in draft.list(WANTS)? {
        let port = name
            .strip_prefix("serial-getty@")
            .and_then(|name| name.strip_suffix(".service"));
        if port.is_some_and(|port| !consoles.contains(&port)) {
            draft.remove(format!("{WANTS}/{name}"));
            done.push(format!("/{WANTS}/{name}: there is no such port"));
        }
    }
    Ok(())
}

/// sysvinit: one line for each port that is there, none for others.
pub fn edit_inittab(
    draft: &mut Draft,
    consoles: &[&str],
    speed: u32,
    done: &mut Vec<String>,
) -> Result<()> {
    // upstart reads no more than the runlevel from it.
    let Some(old) = draft.read(INITTAB)?.filter(|_| !draft.exists(UPSTART)) else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&old).into_owned();
    let mut new = edit_lines(&old, |line| match getty_port(line) {
        Some(port) if consoles.contains(&port) => Line::of(line, with_speed(line, port, speed)),
        Some(_) => Line::Is(format!("#{line}")),
        None => Line::Keep,
    });
    let ports = consoles.iter().filter(|console| is_port(console));
    for port in ports {
        if text.lines().any(|line| getty_port(line) == Some(port)) {
            continue;
        }
        let id = port.trim_start_matches("tty");
        let line = match draft.exists("sbin/getty") {
            true => format!("{id}:2345:respawn:/sbin/getty -L {port} {speed} vt100"),
            false => format!("{id}:2345:respawn:/sbin/agetty -L {port} {speed} vt100"),
        };
        append_line(&mut new, &line);
    }
    if new != old {
        draft.write(INITTAB, new)?;
        done.push(format!("/{INITTAB}: logins on {}", consoles.join(", ")));
    }
    Ok(())
}

fn is_port(console: &str) -> bool {
    PORTS.iter().any(|prefix| console.starts_with(prefix))
}

/// The port that a line of inittab starts a login on.
fn getty_port(line: &str) -> Option<&str> {
    let mut fields = line.splitn(4, ':');
    let (id, process) = (fields.next()?, fields.nth(2)?);
    if id.starts_with('#') || !process.contains("getty") {
        return None;
    }
    let words = process.split_ascii_whitespace();
    words
        .map(|word| word.trim_start_matches("/dev/"))
        .find(|word| is_port(word))
}

/// A fixed speed of a serial port that is not the instance's.
fn with_speed(line: &str, port: &str, speed: u32) -> String {
    if !port.starts_with("ttyS") {
        return line.to_owned();
    }
    let words = line.split_inclusive(' ').map(|word| {
        let number = word.trim_end();
        let is_speed = number.len() >= 4
            && number
                .split(',')
                .all(|n| n.len() >= 4 && n.bytes().all(|b| b.is_ascii_digit()));
        match is_speed {
            true => speed.to_string() + &word[number.len()..],
            false => word.to_owned(),
        }
    });
    words.collect()
}

/// upstart: a job for each port, and the others off. Red Hat's own starts by
/// itself on the kernel's console.
pub fn edit_upstart(
    draft: &mut Draft,
    consoles: &[&str],
    speed: u32,
    done: &mut Vec<String>,
) -> Result<()> {
    if !draft.exists("etc/init/tty1.conf") {
        return Ok(());
    }
    for path in draft.list_paths(UPSTART, ".conf")? {
        let name = path
            .trim_start_matches("etc/init/")
            .trim_end_matches(".conf");
        let over = format!("{UPSTART}/{name}.override");
        if is_port(name) && !consoles.contains(&name) && !draft.exists(&over) {
            draft.write(&over, "manual\n")?;
            done.push(format!("/{path}: there is no such port, it is off"));
        }
    }
    for port in consoles.iter().filter(|console| is_port(console)) {
        let path = format!("{UPSTART}/{port}.conf");
        if !draft.exists(&path) {
            draft.write(&path, upstart_job(port, speed))?;
            done.push(format!("/{path}: a login on {port}"));
        }
    }
    Ok(())
}

fn upstart_job(port: &str, speed: u32) -> String {
    format!(
        "# A login on {port}, the instance's console.\n\
         start on stopped rc RUNLEVEL=[2345]\n\
         stop on runlevel [!2345]\n\
         respawn\n\
         exec /sbin/getty -L {speed} {port} vt102\n"
    )
}

/// Where only listed terminals let root in, the consoles are.
pub fn allow_root(draft: &mut Draft, consoles: &[&str], done: &mut Vec<String>) -> Result<()> {
    const SECURETTY: &str = "etc/securetty";
    let Some(mut bytes) = draft.read(SECURETTY)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let missing = |port: &&&str| is_port(port) && !text.lines().any(|line| line.trim() == **port);
    let missing: Vec<_> = consoles.iter().filter(missing).collect();
    for port in &missing {
        append_line(&mut bytes, port);
        done.push(format!("/{SECURETTY}: root may log in on {port}"));
    }
    if !missing.is_empty() {
        draft.write(SECURETTY, bytes)?;
    }
    Ok(())
}
