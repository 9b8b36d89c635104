# shellcheck shell=sh
# Writing inside the instance's root, for the hooks of this directory, which
# read it with `.`: its name has a dot, so it is not a hook itself.
#
# Nothing here follows a symbolic link out of the root, wherever it stands in
# a path; a file is replaced by a rename, so a link in its place is replaced
# too. A file is whole or as it was.
#
# After it is read: $root is TARGET without links, and these functions exist.
#   fail WORD...          ends the hook with that message
#   warn WORD...          says something that does not end it
#   resolve PATH          sets $found to where PATH is or would be
#   directory DIR         the same, and makes DIR if need be
#   existing PATH         the same; true if PATH is there
#   place PATH MODE TEXT  TEXT and a newline become the file PATH
#   copy PATH MODE FROM   the node's file FROM becomes the file PATH
#   link PATH TO          PATH becomes a symbolic link to TO
#   setting NAME          prints the variable NAME's value, or nothing

hook=${0##*/}

warn() {
	echo "$hook: $*" >&2
}

fail() {
	warn "$@"
	exit 1
}

# Copies of what is replaced must not stay behind when a command fails.
temporary=
trap '[ -z "$temporary" ] || rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM

case ${TARGET:-} in
/*) ;;
*) fail "TARGET must name the directory of the instance's root" ;;
esac
[ -d "$TARGET" ] || fail "TARGET is not a directory: $TARGET"
root=$(realpath -e -- "$TARGET")
[ "$root" != / ] || fail "TARGET is the running system's own root"

# Sets $found to $1 inside the root with all links resolved, missing ends
# allowed.
resolve() {
	found=$(realpath -m -- "$root/$1")
	case $found/ in
	"$root"/*) ;;
	*) fail "$1 leads out of the root, to $found" ;;
	esac
}

directory() {
	resolve "$1"
	mkdir -p -- "$found"
}

existing() {
	resolve "$1"
	[ -e "$found" ]
}

# Sets $temporary to a new file beside $1 and $destination to $1 itself.
beside() {
	directory "$(dirname -- "$1")"
	destination=$found/$(basename -- "$1")
	temporary=$(mktemp -- "$found/.p2v-XXXXXXXX")
}

# Puts $temporary in its place with the mode $1.
finish() {
	chmod -- "$1" "$temporary"
	mv -fT -- "$temporary" "$destination"
	temporary=
}

place() {
	beside "$1"
	printf '%s\n' "$3" >"$temporary"
	finish "$2"
}

copy() {
	beside "$1"
	cat -- "$3" >"$temporary"
	finish "$2"
}

link() {
	directory "$(dirname -- "$1")"
	ln -sfnT -- "$2" "$found/$(basename -- "$1")"
}

setting() {
	printenv "$1" || :
}
