//! Keys made by ssh-keygen, and what people paste by mistake.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;
use crate::job::OsParameters;
use crate::settings::{Settings, SettingsPaths};

/// A new pair in `dir`: the public line and the private file's text.
fn pair(dir: &Path, name: &str, arguments: &[&str]) -> (String, String) {
    let file = dir.join(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "me@example.com", "-f"])
        .arg(&file)
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success());
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    (
        public.trim().to_owned(),
        std::fs::read_to_string(&file).unwrap(),
    )
}

fn ed25519(dir: &Path, name: &str) -> String {
    pair(dir, name, &["-t", "ed25519"]).0
}

/// Whether OpenSSH itself can read the line.
fn openssh_reads(dir: &Path, line: &str) -> bool {
    let file = dir.join("line");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let output = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(&file)
        .output()
        .unwrap();
    output.status.success()
}

fn settings(
    files: &[(&str, &str)],
    given: &[(&str, &str)],
) -> (tempfile::TempDir, Result<Settings>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(
            dir.path().join(name),
            text.replace("@DIR@", dir.path().to_str().unwrap()),
        )
        .unwrap();
    }
    let paths = SettingsPaths {
        config_dir: dir.path().to_owned(),
        ..SettingsPaths::default()
    };
    let given: OsParameters = given
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    let settings = Settings::from_layers(&paths, None, &given);
    (dir, settings)
}

fn collected(files: &[(&str, &str)], given: &[(&str, &str)]) -> Result<Vec<String>> {
    let (_dir, settings) = settings(files, given);
    let text = settings?.authorized_keys()?;
    assert!(text.ends_with('\n'));
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn keys_of_every_kind_are_accepted_whole_and_refused_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
    ];
    for (index, kind) in kinds.iter().enumerate() {
        let (line, _) = pair(dir.path(), &format!("key{index}"), kind);
        AuthorizedKey::parse(&line).unwrap();
        let (name, rest) = split_word(&line);
        let (encoded, _) = split_word(rest);
        for cut in 1..encoded.len() {
            let short = format!("{name} {}", &encoded[..cut]);
            assert!(AuthorizedKey::parse(&short).is_err(), "{short}");
        }
        let other = if name == "ssh-rsa" {
            "ssh-ed25519"
        } else {
            "ssh-rsa"
        };
        let reason = AuthorizedKey::parse(&format!("{other} {encoded}")).unwrap_err();
        assert!(reason.contains("another type"), "{reason}");
    }
}

/// The base64 of a key with these fields.
fn encode(fields: &[&[u8]]) -> String {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend((field.len() as u32).to_be_bytes());
        bytes.extend(*field);
    }
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Security keys need their hardware to be made: these are put together from
/// their fields.
#[test]
fn security_keys_are_accepted_as_openssh_does() {
    let dir = tempfile::tempdir().unwrap();
    let ed25519 = ed25519(dir.path(), "key");
    let (p256, _) = pair(dir.path(), "p256", &["-t", "ecdsa", "-b", "256"]);
    for (line, kind) in [
        (&ed25519, "sk-ssh-ed25519@openssh.com"),
        (&p256, "sk-ecdsa-sha2-nistp256@openssh.com"),
    ] {
        let encoded = line.split(' ').nth(1).unwrap();
        let bytes = blob::decode(encoded).unwrap();
        let fields = blob::fields(&bytes).unwrap();
        let mut sk = vec![kind.as_bytes()];
        sk.extend(&fields[1..]);
        sk.push(b"ssh:");
        let made = format!("{kind} {} token", encode(&sk));
        assert!(openssh_reads(dir.path(), &made), "{made}");
        AuthorizedKey::parse(&made).unwrap();
    }
}

#[test]
fn what_is_accepted_openssh_reads() {
    let dir = tempfile::tempdir().unwrap();
    let key = ed25519(dir.path(), "key");
    let bare = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    for line in [
        key.clone(),
        bare.clone(),
        format!("{bare} comment with \"odd quote"),
        format!("restrict,pty {key}"),
        format!("from=\"192.0.2.0/24,*.example.com\",no-pty {key}"),
        format!("command=\"echo \\\"a b\\\" ; ls\",no-X11-forwarding {key}"),
        format!("environment=\"A=b\",expiry-time=\"20301231\"\t{key}"),
    ] {
        assert!(openssh_reads(dir.path(), &line), "{line}");
        AuthorizedKey::parse(&line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
    }
}

#[test]
fn what_no_key_is_says_why_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let key = ed25519(dir.path(), "key");
    let encoded = key.split(' ').nth(1).unwrap();
    let table = [
        ("SECRETword".to_owned(), "not a public key"),
        ("SECRETword another third".to_owned(), "not a public key"),
        (
            format!("SECRETword {key}"),
            "sshd does not know one of the options",
        ),
        (format!("command=SECRETword {key}"), "must be in"),
        (format!("command=\"SECRETword {key}"), "not closed"),
        (format!("command=\"x\"pty {key}"), "comma is missing"),
        (format!("pty, {key}"), "sshd does not know"),
        ("ssh-ed25519".to_owned(), "the key itself is missing"),
        ("ssh-ed25519 SECRETword".to_owned(), "damaged or cut short"),
        (format!("ssh-rsa {encoded}"), "another type"),
        (format!("ssh-dss {encoded}"), "DSA key"),
        (
            "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),
            "a certificate",
        ),
        (format!("{key}\u{1b}[2J"), "control characters"),
        (
            format!("ssh-ed25519 {}", encoded.replace('A', "é")),
            "damaged",
        ),
    ];
    for (line, part) in table {
        let reason = AuthorizedKey::parse(&line).unwrap_err();
        assert!(reason.contains(part), "{line}: {reason}");
        assert!(
            !reason.contains("SECRET") && !reason.contains(encoded),
            "{reason}"
        );
    }
    let short = encode(&[b"ssh-rsa", b"\x01\0\x01", &[0x80; 96]]);
    let reason = AuthorizedKey::parse(&format!("ssh-rsa {short}")).unwrap_err();
    assert!(reason.contains("RSA key of 768 bits"), "{reason}");
}

#[test]
fn private_keys_are_refused_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (_, openssh) = pair(dir.path(), "a", &["-t", "ed25519"]);
    let (_, pem) = pair(dir.path(), "b", &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let bare: String = openssh
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    for text in [openssh.clone(), pem, openssh.replace('\n', ";"), bare] {
        let reason = from_parameter(&text).unwrap_err();
        assert!(
            reason.contains("private key") && reason.contains("new pair"),
            "{reason}"
        );
        let error = collected(&[("authorized_keys", &text)], &[]).unwrap_err();
        let whole = format!("{error:#} {reason}");
        assert!(whole.contains("holds a private key"), "{whole}");
        for line in text.lines().filter(|line| !line.starts_with('-')) {
            assert!(!whole.contains(&line[..line.len().min(20)]), "{whole}");
        }
    }
}

#[test]
fn keys_come_from_the_file_and_the_parameter() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| ed25519(dir.path(), name));
    let file = format!("# admins\n\n{a}\r\n  {b}\n");
    let keys = collected(&[("authorized_keys", &file)], &[]).unwrap();
    assert_eq!(keys, [a.clone(), b.clone()]);
    let given = format!("{c};{a}");
    let keys = collected(
        &[("authorized_keys", &file)],
        &[("authorized_keys", &given)],
    )
    .unwrap();
    assert_eq!(keys, [a.clone(), b.clone(), c.clone()], "each once");
    let keys = collected(&[], &[("authorized_keys", &c)]).unwrap();
    assert_eq!(keys, [c.as_str()], "the default file need not be there");
    let conf = ("p2v-target.conf", "AUTHORIZED_KEYS_FILE=@DIR@/mine");
    let keys = collected(&[conf, ("mine", &b), ("authorized_keys", &a)], &[]).unwrap();
    assert_eq!(keys, [b]);
    let error = collected(&[conf], &[("authorized_keys", &a)])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/mine, which ") && error.contains("p2v-target.conf:1"),
        "{error}"
    );
}

#[test]
fn parameters_are_split_outside_of_quoted_options() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| ed25519(dir.path(), name));
    let count = |text: &str| from_parameter(text).map(|keys| keys.len());
    for (text, wanted) in [
        (a.clone(), 1),
        (format!("{a};{b}"), 2),
        (format!("{a}\n{b}\n"), 2),
        (format!(" {a} ; ;; {b};"), 2),
        (format!("command=\"a;b\" {a};{b}"), 2),
        (format!("{a} O\"Brien;{b}"), 2),
        (format!("command=\"a\\\";b\" {a};{b}"), 2),
    ] {
        assert_eq!(count(&text), Ok(wanted), "{text}");
    }
    assert!(
        count(&format!("{a};hello"))
            .unwrap_err()
            .starts_with("key 2: not a public key")
    );
    assert!(count(" ; ").unwrap_err().contains("no key"));
}

#[test]
fn no_key_at_all_says_where_to_put_one() {
    let (dir, settings) = settings(&[], &[]);
    let settings = settings.unwrap();
    let file: PathBuf = dir.path().join("authorized_keys");
    for text in [None, Some(""), Some("# none yet\n\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = settings.authorized_keys().unwrap_err().to_string();
        assert!(
            error.contains(&format!("create {}", file.display())),
            "{error}"
        );
        assert!(error.contains("OS parameter authorized_keys"), "{error}");
    }
}

#[test]
fn bad_lines_of_the_file_are_all_named() {
    let error = collected(&[("authorized_keys", "hello\n# x\nssh-rsa AAAA\n")], &[]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("2 faults"), "{text}");
    assert!(text.contains("line 1: not a public key"), "{text}");
    assert!(text.contains("line 3: "), "{text}");
}
