#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The bash completion offers each command and each option that -h tells of, with
# bash-completion and without.
: "${srcdir:=.}" "${BERTH:=./berth}"
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
command -v bash >/dev/null || skip_all "no bash"
loader=/usr/share/bash-completion/bash_completion

# What TAB offers after the words given, the last of which is the one being typed.
offers() {
	# shellcheck disable=SC2016 # bash expands it
	bash --norc -c '
		[ "$1" = none ] || . "$1"
		. "$2/completion/berth"
		shift 2
		compopt() { :; } # of readline, which is not here
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
		_berth berth "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$helpers" "$srcdir" "$@" 2>&1
}

# The options that a help text begins lines with.
options() {
	"$BERTH" "$1" -h | grep -oE '^ +(-[A-Za-z0-9], )?--[a-z0-9-]+' | grep -oE -- '-[^ ,]+' | sort -u
}

sorted() {
	sort -u | grep .
}

suite() {
	commands=$("$BERTH" -h | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort)
	is "commands, $1" "$(offers berth "" | grep -v '^-' | sorted)" "$commands"
	for command in $commands; do
		is "options of $command, $1" "$(offers berth "$command" - | sorted)" "$(options "$command")"
	done
	is "run: a program, $1" "$(offers berth run -q -o file -- mkfif | sorted)" mkfifo
	is "run: a program after --events=N, $1" \
		"$(offers berth run --events = 20 mkfif | sorted)" mkfifo
	is "run: --record takes a file, $1" \
		"$(offers berth run --record "$srcdir/boots" | sorted)" "$srcdir/bootstrap"
	is "reach: a program, $1" "$(offers berth reach --json mkfif | sorted)" mkfifo
	is "reach: -p takes a pid, $1" "$(offers berth reach -p "$$" | grep -x "$$")" "$$"
	is "log: a file, $1" "$(offers berth log "$srcdir/boots" | sorted)" "$srcdir/bootstrap"
	is "log: -p takes a pid, $1" "$(offers berth log -p "$$" | grep -x "$$")" "$$"
	is "env: --log takes stderr, $1" "$(offers berth env --log std | sorted)" stderr
}

helpers=none
suite "bash alone"
if [ -f "$loader" ]; then
	helpers=$loader
	suite "bash-completion"
else
	ok "with bash-completion # SKIP no $loader" 0
fi
done_testing
