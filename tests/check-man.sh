#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The manual pages are sound mdoc, and say what -h, counters.def, the JSON and the sources say.
# shellcheck disable=SC2016 # sed and awk's own dollars
: "${srcdir:=.}" "${BERTH:=./berth}"
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
man=$srcdir/man

for page in "$man"/*.[158]; do
	name=${page##*/}
	if command -v mandoc >/dev/null; then
		is "$name: mandoc finds nothing" "$(mandoc -T lint -W warning "$page" 2>&1)" ""
	else
		ok "$name: mandoc # SKIP no mandoc" 0
	fi
	if command -v groff >/dev/null && groff -mdoc -z /dev/null 2>/dev/null; then
		is "$name: groff finds nothing" "$(groff -mdoc -ww -z "$page" 2>&1)" ""
	else
		ok "$name: groff # SKIP no groff with mdoc" 0
	fi
done

# A word of a macro loses the quotes that it begins with, but where they hold an argument together.
is "no example loses its quotes" \
	"$(grep -nE '^\.(Ql|Dl|Li|Va|Ar|Ev|Pa).* "' "$man"/*.[158])" ""

# The options of a help text, as mdoc writes them: "Fl o , Fl -output".
options() {
	"$BERTH" "$1" -h | grep -oE '^ +(-[A-Za-z0-9], )?--[a-z0-9-]+' |
		sed -e 's/^ *//' -e 's/, / , /' -e 's/\(^\| \)-/\1Fl /g'
}
is "berth -h fits into 80 columns" "$("$BERTH" -h | grep -E '.{81}')" ""
for command in $("$BERTH" -h | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	is "berth $command -h fits into 80 columns" "$("$BERTH" "$command" -h | grep -E '.{81}')" ""
	is "berth-$command(1) has the options of -h, and no other" \
		"$(sed -n 's/^\.It \(Fl .*\)/\1/p' "$man/berth-$command.1" | sed 's/ Ar .*//' | sort)" \
		"$(options "$command" | sort)"
	ok "berth(1) names berth-$command(1)" "$(grep -q "^\.Xr berth-$command 1" "$man/berth.1"; echo $?)"
done

# Each counter: its key, and on the next line its help.
counters=$(sed -n 's/^\(LATER_\)\{0,1\}COUNTER(\([a-z_]*\), \([a-z_]*\), "\(.*\)")$/\2.\3 \4./p' \
	"$srcdir/record/counters.def")
rule_counters=$(sed -n 's/^RULE_COUNTER(\([a-z_]*\), "\(.*\)")$/rules[].\1 \2./p' \
	"$srcdir/record/rule_counters.def")
missing_counters() {
	printf '%s\n' "$1" | while read -r key help; do
		awk -v it=".It $key" -v help="$help" 'before == it && $0 == help {found = 1}
			{before = $0} END {exit !found}' "$man/berth-stats.1" || echo "$key: $help"
	done
}
ok "counters.def has counters" "$(test -n "$counters"; echo $?)"
is "berth-stats(1) has the help of each counter" "$(missing_counters "$counters")" ""
ok "rule_counters.def has counters" "$(test -n "$rule_counters"; echo $?)"
is "berth-stats(1) has the help of each counter of a rule" \
	"$(missing_counters "$rule_counters")" ""

# The keys that json.c writes, but for the names of the groups.
missing_keys() {
	sed -n "$1" "$srcdir/cli/json.c" |
		grep -oE 'set\([a-z]+, "[a-z0-9_.]+"|"(berth\.asked|network\.peer)\.[a-z]+"' |
		grep -oE '"[a-z0-9_.]+"' | tr -d '"' | sort -u | while read -r key; do
		sed -n 's/^\.It //p' "$man/$2" | sed 's/ , /\n/g' |
			grep -qE "^([a-z_]+(\[\])?\.)?$key(\[\]|\..*)?$" || echo "$key"
	done
}
is "berth-log(1) has each key of an event" \
	"$(missing_keys '/^static void set_peer/,/^\/\* --- statistics/p' berth-log.1)" ""
is "berth-stats(1) has each key of a process" \
	"$(missing_keys '/^\/\* --- statistics/,$p' berth-stats.1)" ""

hooks=$(sed -n 's/^  \([a-zA-Z0-9_]*\);$/\1/p' "$srcdir/preload/hooks.map" | sort)
is "libberth.so(8) has the hooks of hooks.map" \
	"$(sed -n '/^\.Ss Functions/,/^\.Ss/p' "$man/libberth.so.8" | grep -A 1 '^\.It Fn' |
		grep -oE 'Fn [a-zA-Z0-9_]+' | sed 's/^Fn //' | sort -u | grep -vx exit)" "$hooks"
variables=$(sed -n 's/^ *{"\(BERTH_[A-Z_]*\)=".*/\1/p' "$srcdir/preload/init.c" | sort)
is "libberth.so(8) has the variables of the library" \
	"$(sed -n 's/^\.It Ev \(BERTH_[A-Z_]*\)$/\1/p' "$man/libberth.so.8" | sort)" "$variables"

# Rows, destinations, events, rules: on one line or on several, as clang-format likes.
shape() {
	tr -d '\\\n' <"$srcdir/record/map.h" | grep -oE "RECORD_SHAPE_$1 *\{[^}]*\}" | tr -c '0-9\n' ' ' |
		awk '{print $1 " Ta " $2 " Ta " $3 " Ta " $4}'
}
for which in PRIVATE TREE; do
	ok "libberth.so(8) has the size of a recording ($which)" \
		"$(grep -qF "Ta $(shape $which) Ta" "$man/libberth.so.8"; echo $?)"
done
strides=$(grep -E '^#define RECORD_(HEADER_SIZE|(PROCESS|DESTINATION|CELL|RULE)_STRIDE) ' \
	"$srcdir/record/layout.h" | awk '{print $3}')
is "libberth.so(8) has the formula of the size" \
	"$(grep '^\.Dl 4096 +' "$man/libberth.so.8" | grep -oE '[0-9]+' | sort -n | xargs)" \
	"$(echo "$strides" | sort -n | xargs)"
done_testing
