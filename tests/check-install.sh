#!/bin/sh
# SPDX-License-Identifier: MIT
#
# `make install` puts the command, the library, the manual, the documents, the examples and the licence
# where the documents say, and what the documents refer to is there too.
: "${srcdir:=.}" "${BERTH:=./berth}"
# shellcheck source=tests/tap.sh
. "$srcdir/tests/tap.sh"
build=$(cd "$(dirname "$BERTH")" && pwd)
[ -f "$build/Makefile" ] || skip_all "no build tree beside $BERTH"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

place() {
	sed -n "s/^$1 = //p" "$build/Makefile"
}

# Another prefix than configure's: nothing is linked again, and the command is not run.
env -u MAKEFLAGS -u MAKELEVEL make -C "$build" install prefix=/usr/local exec_prefix=/usr/local \
	DESTDIR="$root" >"$root/log" 2>&1
ok "make install" $?
doc=$root/usr/local/share/doc/$(place PACKAGE)
for file in bin/berth lib/berth/libberth.so lib/berth/berth-policy.so share/man/man1/berth.1 \
	share/man/man5/berth-policy.5 share/man/man8/libberth.so.8 share/berth/policy.schema.json; do
	ok "$file" "$(test -f "$root/usr/local/$file"; echo $?)"
done
for file in README.md NEWS LICENSE doc/listen.py doc/connect.py; do
	ok "share/doc: $file" "$(cmp -s "$srcdir/$file" "$doc/$file"; echo $?)"
done
is "all examples but the demo" "$(cd "$doc/examples" && find . -type f | sed 's,^\./,,' | sort)" \
	"$(cd "$srcdir/examples" && find . -type f ! -name demo.sh | sed 's,^\./,,' | sort)"

# What a document links to, and the files that its commands name.
references() {
	grep -oE '\]\([^):#]+\)' "$1" | tr -d '()]'
}
for document in README.md examples/README.md doc/how-linux-chooses-ports.md; do
	missing=
	for to in $(references "$doc/$document" | grep -v '^CONTRIBUTING'); do
		[ -e "$doc/$(dirname "$document")/$to" ] || missing="$missing $to"
	done
	# shellcheck disable=SC2013 # no name has a blank
	for to in $(grep -oE '(doc|examples)/[a-z-]+\.(py|json|nft|service)' "$doc/$document"); do
		[ -e "$doc/$to" ] || missing="$missing $to"
	done
	is "$document: what it names is there" "$missing" ""
done
library=$(sed -n 's/.*LD_PRELOAD, value: \(.*\)}.*/\1/p' "$srcdir/README.md")
ok "README.md: the library of the pod, $library" "$(test -f "$root$library"; echo $?)"
done_testing
