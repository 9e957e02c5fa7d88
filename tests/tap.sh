# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# TAP for shell tests: source it, call `is WHAT GOT WANT` or `ok WHAT STATUS`, end with `done_testing`.
count=0

ok() {
	count=$((count + 1))
	if [ "$2" -eq 0 ]; then echo "ok $count - $1"; else echo "not ok $count - $1"; fi
}

is() {
	if [ "$2" = "$3" ]; then ok "$1" 0; else
		ok "$1" 1
		printf 'got:\n%s\nwant:\n%s\n' "$2" "$3" | sed 's/^/#   /'
	fi
}

skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

done_testing() {
	echo "1..$count"
}
