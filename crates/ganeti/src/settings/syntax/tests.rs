//! The syntax against itself, and against the shells whose syntax it is.

use std::path::PathBuf;
use std::process::Command;

use super::*;

fn read(text: &[u8]) -> Result<Scope> {
    let mut scope = Scope::default();
    evaluate(text, Path::new("/etc/x.conf"), &mut scope).map(|()| scope)
}

fn value(text: &str, name: &str) -> String {
    match read(text.as_bytes()) {
        Ok(scope) => scope.get(name).map(|v| v.value.clone()).unwrap_or_default(),
        Err(error) => panic!("{text:?}: {error:#}"),
    }
}

fn error(text: &[u8]) -> String {
    match read(text) {
        Ok(_) => panic!("{:?} was accepted", String::from_utf8_lossy(text)),
        Err(error) => format!("{error:#}"),
    }
}

/// Files that are accepted: what a shell makes of each is compared below.
const ACCEPTED: &[&str] = &[
    "",
    "\n\n  # comment\n\t\n",
    "A=1",
    "A=1 # comment\nB=2#no_comment",
    "A=1;B=2 ; C=3;# comment",
    "A=1 B=2\tC=$A",
    "A=",
    "A=\"\" B=''",
    "A='a b $B `c` \\ \"'",
    "A=\"a b 'c' \\\" \\$ \\` \\\\ \\n\"",
    "A=a\\ b\\;c\\#d\\\\e\\'",
    "A=\"a\"b'c'\\d",
    "A=a\\\nb B=\"c\\\nd\" \\\n C=e",
    "A=\"x\ny\" B='x\ny'",
    "A=x\nB=${A}\\\ny C=\"${A}\\\nz\"",
    "A=$ B=\"a$\" C=a$%b D=\"$'\"",
    "A=one B=$A C=${A}two D=\"$A ${A}\" E=$A$A",
    "A=a=b=c B==x",
    "A=*.deb B=[a-z]? C=a!b D=%d@x:^y,z+w/-._",
    ": ${A:=one}\n: ${A:=two}",
    "A=\n: ${A:=\"set if empty\"} ${B:='single'} ${C:=a  b}",
    ": \"${A:=quoted braces}\" \"${B:=$A/x}\"",
    ": ${A:=} # nothing",
    ":\n: # nothing",
    "B=x\n: ${A:=\"$B\"} ${C:=${B}y}",
    ": ${A:=#x} ${B:=a\\}b} ${C:=\"q } r\" 's'}",
    "export A=1 B=\"x y\"\nexport C\nC=2",
    "A=\"x y=2\"\nexport B=$A",
    "MIRROR=http://mirror.example.com/debian/ SUITE=bookworm",
    "EXTRA_PKGS=\"$EXTRA_PKGS,vim\"",
    "A=ü B=\"→ $A\"",
    "_a1=x A=$_a1",
    // As bash has it; dash does not know it.
    "A=1\nA+=2 B+=x",
    "export A+=1\nA+=\",$A\"",
];

/// What the shell leaves in these variables, one after the other.
fn shell_values(shell: &str, file: &Path, names: &[&str]) -> Vec<String> {
    let mut script = String::from(". \"$0\" || exit 1\n");
    for name in names {
        script += &format!("printf '%s\\0' \"${{{name}-}}\"\n");
    }
    let output = Command::new(shell)
        .env_clear()
        .args(["-c", &script])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{shell}: {}: {:?}",
        std::fs::read_to_string(file).unwrap(),
        output
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut values: Vec<String> = text.split('\0').map(str::to_owned).collect();
    values.pop();
    values
}

const NAMES: [&str; 9] = [
    "A",
    "B",
    "C",
    "D",
    "E",
    "MIRROR",
    "SUITE",
    "EXTRA_PKGS",
    "_a1",
];

fn assert_shell_agrees(text: &str, file: &Path) {
    let scope = read(text.as_bytes()).unwrap();
    let ours: Vec<String> = NAMES
        .iter()
        .map(|name| scope.get(name).map(|v| v.value.clone()).unwrap_or_default())
        .collect();
    std::fs::write(file, text).unwrap();
    let shells: &[&str] = if text.contains("+=") {
        &["bash"]
    } else {
        &["dash", "bash"]
    };
    for shell in shells {
        assert_eq!(shell_values(shell, file, &NAMES), ours, "{shell}: {text:?}");
    }
}

#[test]
fn accepted_files_mean_what_they_mean_to_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    for text in ACCEPTED {
        assert_shell_agrees(text, &dir.path().join("conf"));
    }
}

/// Texts put together at random from what the syntax is made of. Most are
/// errors; those that are not must mean the same to a shell.
#[test]
fn whatever_is_accepted_means_the_same_to_a_shell() {
    const PIECES: [&str; 40] = [
        "A=", "B=", "C+=", "A", " ", " ", "\n", "\n", ";", "#", "'", "\"", "\\", "\\\n", "$A",
        "${B}", "$", "${", "}", ": ", "${A:=", "${C:=", "\"${B:=", "}\"", "export ", "x", "y z",
        "=", "+", "*", "~", "{", "(", "`", "|", "1", "\t", "ü", ":", "%",
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // xorshift64: any sequence does, as long as it is the same each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut text = String::from("A=");
        for _ in 0..random(9) {
            text += PIECES[random(PIECES.len())];
        }
        if read(text.as_bytes()).is_ok() && accepted < 700 {
            accepted += 1;
            assert_shell_agrees(&text, &file);
        }
    }
    assert!(accepted >= 500, "only {accepted} texts were compared");
}

/// A file, the line that is wrong in it, and a word of what is said.
const ERRORS: &[(&str, usize, &str)] = &[
    ("if [ -n x ]; then\n", 1, ALLOWED),
    ("A=1\n\nls /\n", 3, "`ls /`"),
    ("A=1 ls", 1, ALLOWED),
    ("A=$(id)", 1, NO_COMMANDS),
    ("A=\"$(id)\"", 1, NO_COMMANDS),
    ("A=`id`", 1, NO_COMMANDS),
    ("A=\"`id`\"", 1, NO_COMMANDS),
    ("A=$((1+1))", 1, NO_COMMANDS),
    ("A=(1 2)", 1, "arrays"),
    ("A[0]=1", 1, "arrays are not supported"),
    ("A = 1", 1, "no blanks around ="),
    ("A= 1", 1, ALLOWED),
    ("A=1 && B=2", 1, ALLOWED),
    ("A=1&", 1, "& outside quotes"),
    ("A=1|x", 1, "| outside quotes"),
    ("A=1>x", 1, "> outside quotes"),
    ("A=~/x", 1, "~ outside quotes"),
    ("A={a,b}", 1, "{ outside quotes"),
    ("A=1;;", 1, ALLOWED),
    (";A=1", 1, ALLOWED),
    ("A=1\nB='x\ny\n", 2, "the quote ' is not closed"),
    ("B=\"x\ny\n", 1, "the quote \" is not closed"),
    ("A=x\\", 1, "backslash at the file's end"),
    ("A=$\\\nB", 1, BROKEN_NAME),
    ("A=1 B=\"$A\\\nC\"", 1, BROKEN_NAME),
    ("A=$1", 1, "only $NAME"),
    ("A=\"$@\"", 1, "only $NAME"),
    ("A=${B:-x}", 1, "only ${NAME}"),
    ("A=${B", 1, "only ${NAME}"),
    ("A=${}", 1, "only ${NAME}"),
    ("A=$'x'", 1, "are not supported"),
    (": ${A:=x", 1, "brace is not closed"),
    (": ${A:=x\n}", 1, "brace is not closed"),
    (": ${A=x}", 1, "${NAME:=value}"),
    (": ${A:-x}", 1, "${NAME:=value}"),
    (": x", 1, "${NAME:=value}"),
    (": ${A:=x}y", 1, ALLOWED),
    (":${A:=x}", 1, ALLOWED),
    (
        ": \"${A:=\"x\"}\"",
        1,
        "quotes and backslashes are not supported",
    ),
    (": ${A:=x;y}", 1, "; outside quotes"),
    ("export", 1, "export needs a name"),
    ("A=1\nexport # all\n", 2, "export needs a name"),
    ("export -p", 1, ALLOWED),
    ("readonly A=1", 1, ALLOWED),
    ("unset A", 1, ALLOWED),
    (". /etc/default/x", 1, ALLOWED),
    ("source x", 1, ALLOWED),
    ("1A=x", 1, ALLOWED),
    ("A-B=x", 1, ALLOWED),
    ("A=1\nB=$HOME", 2, "$HOME is not set above"),
    ("MIRROR=x$SUIT", 1, "did you mean SUITE?"),
    ("\nPATH=/x", 2, "PATH cannot be set"),
    ("INSTANCE_NAME=x", 1, "INSTANCE_NAME cannot be set"),
    ("LD_PRELOAD=x", 1, "cannot be set"),
    ("export LD_PRELOAD", 1, "cannot be set"),
    (": ${OSP_FILESYSTEM:=xfs}", 1, "the setting is FILESYSTEM"),
    ("A=1\r\nB=2\r\n", 1, "must end as on Unix"),
    ("A=1\nB=a\0b", 2, "must end as on Unix"),
];

#[test]
fn everything_else_is_an_error_that_names_the_line() {
    for (text, line, part) in ERRORS {
        let message = error(text.as_bytes());
        let place = format!("reading /etc/x.conf: line {line}: ");
        assert!(message.starts_with(&place), "{text:?}: {message}");
        assert!(message.contains(part), "{text:?}: {message}");
        assert!(!message.contains('\n'), "{text:?}: {message}");
    }
}

#[test]
fn foreign_bytes_are_an_error() {
    assert!(error(b"A=1\nB=\xff\n").contains("line 2: not valid UTF-8"));
    let shown = error("A=1\nB=x \u{1b}[2Jls".as_bytes());
    assert!(
        shown.contains("\\u{1b}") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    let secret = error(b"PROXY=http://u:pass@h/ x");
    assert!(!secret.contains("pass"), "{secret}");
}

#[test]
fn a_file_cannot_fill_the_memory() {
    let mut text = String::from("A=0123456789\n");
    for _ in 0..64 {
        text += "A=$A$A\n";
    }
    assert!(error(text.as_bytes()).contains("longer than 64 KiB"));
    let deep = "A=".to_owned() + &"${A".repeat(100_000);
    error(deep.as_bytes());
}

#[test]
fn the_last_line_that_set_it_is_known() {
    let scope = read(b"A=1\nB=2\nA+=3\n: ${B:=4}\n").unwrap();
    let origin = |name| scope.get(name).unwrap().origin.to_string();
    assert_eq!(origin("A"), "/etc/x.conf:3");
    assert_eq!(origin("B"), "/etc/x.conf:2");
    assert_eq!(value("A=1\nA+=3", "A"), "13");
}

#[test]
fn stray_names_are_warned_of() {
    let text = b"BASE=x\nMIRROR=$BASE\nexport MINE=1\nEXTRA_PKG=vim\nSTRAY=1\nSUITE=sid\n";
    let scope = read(text).unwrap();
    let warnings = scope.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("conf:4: EXTRA_PKG is not a setting"));
    assert!(warnings[0].contains("did you mean EXTRA_PKGS?"));
    assert!(warnings[1].contains("conf:5: STRAY"));
    assert_eq!(
        scope.exported().into_iter().collect::<Vec<_>>(),
        [("MINE".into(), "1".into())]
    );
}

/// The file that instance-debootstrap installs, where it is installed, with
/// all its settings set.
#[test]
fn instance_debootstraps_own_file_is_read() {
    let path = PathBuf::from("/etc/default/ganeti-instance-debootstrap");
    let Ok(text) = std::fs::read_to_string(&path) else {
        p2v_testing::skip(&format!("{} is not here", path.display()));
        return;
    };
    read(text.as_bytes()).unwrap();
    let set = |line: &str| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let (name, _) = bare.split_once('=').unwrap_or_default();
        if super::super::table::setting(name).is_some() {
            bare.to_owned()
        } else {
            line.to_owned()
        }
    };
    let all: Vec<String> = text.lines().map(set).collect();
    let dir = tempfile::tempdir().unwrap();
    assert_shell_agrees(&all.join("\n"), &dir.path().join("conf"));
}
