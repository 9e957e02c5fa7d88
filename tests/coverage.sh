#!/bin/sh
# SPDX-License-Identifier: MIT
#
# coverage.sh TESTS, in a build of its own whose CFLAGS are clang's -fprofile-instr-generate=...%m%c and
# -fcoverage-mapping: runs these tests, prints the lines that ran by room, writes coverage.info and
# html/, and fails where the shim or the policy has fewer than 95 % of them.
#
# %c: the counters are a file that every process maps. So what ran before a kill -9, an _exit() or an
# exec, or in a vfork child, is counted, and nothing has to be written at the end; gcc's gcov writes
# at exit alone. Opening that file is seen by the few tests that count a program's first system
# calls, or give it another root: their verdict is `make check`'s.
set -eu
least=95
find_tool() {
	for tool in "$1-$version" "$1"; do
		if command -v "$tool"; then return; fi
	done
	echo "coverage.sh: needs $1 (Debian: llvm)" >&2
	exit 1
}
version=$(clang -dumpversion | sed 's/\..*//')
profdata=$(find_tool llvm-profdata)
cov=$(find_tool llvm-cov)

${MAKE-make} -s all
${MAKE-make} -s check TESTS= >/dev/null # builds what it runs
rm -rf profiles
mkdir -m 777 profiles
# Made by this user, used by all: what tests start as another user cannot make them.
LD_PRELOAD=$PWD/.libs/libberth.so ./berth --version >/dev/null
echo '{"version": 1, "late_bind": ["none"]}' >none.json
LD_PRELOAD=$PWD/.libs/libberth.so BERTH_POLICY=none.json ./berth --version >/dev/null
chmod 666 profiles/*

${MAKE-make} -k check TESTS="$*" >suite.log 2>&1 || true
grep -E '^# (TOTAL|PASS|SKIP|FAIL|ERROR):' suite.log | xargs
grep -E '^(FAIL|ERROR)' suite.log || true

set -- .libs/libberth.so -object .libs/berth-policy.so -object berth
for unit in tests/unit-*; do
	case $unit in *.*) ;; *) set -- "$@" -object "$unit" ;; esac
done
"$profdata" merge -sparse -o coverage.profdata profiles/*
"$cov" export -format=lcov -instr-profile coverage.profdata -ignore-filename-regex '/(tests|usr)/' \
	"$@" >coverage.info
genhtml --quiet --output-directory html coverage.info

# Of each room: the lines that ran, of all its lines.
awk -F '[:,]' -v least="$least" '
	function say(name, some, of) { printf "%-16s %5d of %5d  %5.1f %%\n", name, some, of, 100 * some / of }
	function need(name, some, of) { say(name, some, of); if (100 * some < least * of) low = low " " name }
	$1 == "SF" { n = split($2, path, "/"); room = path[n - 1] }
	$1 == "DA" { all[room]++; ran[room] += $3 > 0 }
	END {
		n = split("preload steer policy record kernel cli", rooms, " ")
		for (i = 1; i <= n; i++) say(rooms[i], ran[rooms[i]], all[rooms[i]])
		need("preload + steer", ran["preload"] + ran["steer"], all["preload"] + all["steer"])
		need("policy", ran["policy"], all["policy"])
		if (low) { print "below " least " %:" low; exit 1 }
	}' coverage.info
