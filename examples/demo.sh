#!/bin/sh
# SPDX-License-Identifier: MIT
#
# berth at work on programs that know nothing of it, all on loopback: run by `./bootstrap demo`
# from the top of the tree, after the build.
set -eu
BERTH=${BERTH:-./berth}
PATH=/usr/bin:$PATH # Debian's python3 before any wrapper of it
export no_proxy='*'

work=$(mktemp -d)
server=
stop() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
	printf '\n--- %s\n' "$1"
	shift
	[ $# -eq 0 ] || printf '$ %s\n' "$@"
}

python3 doc/listen.py 0 >"$work/server" &
server=$!
tries=0
until [ -s "$work/server" ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
		echo "demo: the server did not start" >&2
		exit 1
	fi
	sleep 0.1
done
port=$(sed 's/.*://' "$work/server")
url=http://127.0.0.1:$port/

say "one request, from a port that the kernel chooses" "berth run -- curl $url"
"$BERTH" run -- curl -s "$url"

say "one from a port that the program binds: the last word but one says who chose" \
	"berth run -- curl --local-port 20000-29999 $url"
"$BERTH" run -- curl -s --local-port 20000-29999 "$url"

say "one that nobody answers: the local port of the call that failed" \
	"berth run -Z -- python3 doc/connect.py 1 1"
"$BERTH" run -Z -- python3 doc/connect.py 1 1

# shellcheck disable=SC2016 # the inner shell expands it
clients='curl -s --parallel --parallel-immediate "$1?[1-8]" >/dev/null 2>&1; python3 doc/connect.py 12 "$2"'
say "two programs, 20 connections, live: then what each of them did" \
	"berth run -C -- sh -c 'curl --parallel $url?[1-8]; python3 doc/connect.py 12 $port'"
"$BERTH" run -C --record "$work/demo.berth" -- sh -c "$clients" sh "$url" "$port"

say "the same recording, asked again: the last two events towards that port, as JSON" \
	"berth log --json -n 2 -D :$port demo.berth"
"$BERTH" log --json -n 2 -D ":$port" "$work/demo.berth"

cat >"$work/policy.json" <<'JSON'
{"version": 1, "rules": [{"name": "demo", "local_ports": "40000-40999", "order": "sequential"}]}
JSON
say "a policy: the same burst, from ports that a rule gives; the counters of the rule" \
	"berth run -C -P policy.json -- python3 doc/connect.py 12 $port    # 40000-40999 in turn"
"$BERTH" run -C -P "$work/policy.json" -- python3 doc/connect.py 12 "$port"

say "The manual: man man/berth.1; the options: ./berth run -h"
