//! The completions in the shells themselves, by each shell's own machinery.

use std::path::PathBuf;
use std::process::Command;

use p2v_manual::tree;

/// What is typed, and what must be among the answers.
const TYPED: [(&str, &str); 7] = [
    ("p2v tra", "transfer"),
    ("p2v transfer --no-r", "--no-restart"),
    ("p2v transfer --compress alw", "always"),
    ("p2v initrd --self", "--self-contained"),
    ("p2v inspect --log-format j", "json"),
    ("p2v-transfer --save", "--save-plan"),
    ("make-ramboot-initrd --compress g", "gzip"),
];

fn completions(shell: &str) -> PathBuf {
    tree()
        .join("completions")
        .join(shell)
        .canonicalize()
        .unwrap()
}

/// What the program prints; `None` where it is missing.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            p2v_testing::skip(&format!("{program} is not installed"));
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// bash-completion finds the file by the command's name, as it is installed,
/// and bash calls the function that this names.
const BASH: &str = r#"
set -e
share=$(mktemp --directory)
trap 'rm -r "$share"' EXIT
mkdir "$share/bash-completion"
ln -s "$1" "$share/bash-completion/completions"
export XDG_DATA_DIRS=$share
set +e
source /usr/share/bash-completion/bash_completion
read -r -a COMP_WORDS <<<"$2"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$2 COMP_POINT=${#2}
name=${COMP_WORDS[0]}
_completion_loader "$name"
function=$(complete -p "$name" | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
"$function" "$name" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes() {
    for file in std::fs::read_dir(completions("bash")).unwrap() {
        let path = file.unwrap().path();
        printed("bash", &["-n", &path.to_string_lossy()]).unwrap();
    }
    if !PathBuf::from("/usr/share/bash-completion/bash_completion").exists() {
        p2v_testing::skip("bash-completion is not installed");
        return;
    }
    let directory = completions("bash");
    let directory = directory.to_string_lossy();
    for (typed, wanted) in TYPED {
        let arguments = [
            "--norc",
            "--noprofile",
            "-c",
            BASH,
            "bash",
            &directory,
            typed,
        ];
        let answers = printed("bash", &arguments).unwrap();
        assert!(
            answers.lines().any(|line| line == wanted),
            "{typed}: {answers}"
        );
    }
}

/// An interactive zsh at a terminal of its own, in which the command is a
/// function that prints what the line became.
const ZSH: &str = r#"
zmodload zsh/zpty || exit 1
zpty -b shell zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D
    $3() { print \"<became>\$*</became>\" }; print READ\"\"Y"
zpty -r -m shell line '*READY*' || exit 1
zpty -w -n shell "$2"$'\t\n'
zpty -r -m shell line '*</became>*' || exit 1
print -r -- "$line"
zpty -d shell
"#;

#[test]
fn zsh_completes() {
    let directory = completions("zsh");
    let directory = directory.to_string_lossy();
    for (typed, wanted) in TYPED {
        let name = typed.split(' ').next().unwrap();
        let arguments = ["60", "zsh", "-f", "-c", ZSH, "zsh", &directory, typed, name];
        if printed("zsh", &["-f", "-c", "true"]).is_none() {
            return;
        }
        let said = printed("timeout", &arguments).unwrap();
        let became = said.split("<became>").last().unwrap_or_default();
        assert!(became.contains(wanted), "{typed}: {said:?}");
    }
}

#[test]
fn fish_completes() {
    for (typed, wanted) in TYPED {
        let name = typed.split(' ').next().unwrap();
        let script = format!(
            "source {}/{name}.fish; and complete -C '{typed}'",
            completions("fish").display()
        );
        let Some(answers) = printed("fish", &["--no-config", "-c", &script]) else {
            return;
        };
        let first = |line: &str| line.split('\t').next() == Some(wanted);
        assert!(answers.lines().any(first), "{typed}: {answers}");
    }
}
