#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# suites.sh [SUITE...]: other projects' own test suites, bare, observed and steered, compared test by
# test. Not part of `make check`: it takes most of an hour, and fetches the suites from Debian.
#
# BERTH and LIBBERTH name what is tested, as in the other tests; WORK a folder to keep the suites in.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${BERTH:?the berth to test}" "${WORK:=$(mktemp -d)}"
export BERTH WORK

version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
packages=("libpython$version-testsuite" perl gcc make libc6-dev libssl-dev zlib1g-dev dpkg-dev)
missing=()
for package in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if ((${#missing[@]})); then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# The source packages, by sources of our own: the machine's, with deb-src for deb.
fetch() {
	local package=$1
	compgen -G "$WORK/$package-[0-9]*/" >/dev/null && return
	mkdir -p "$WORK/lists/partial" "$WORK/sources"
	local file version
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$file" ] || sed -e 's/^deb /deb-src /' -e 's/^Types: deb$/Types: deb-src/' "$file" \
			>"$WORK/sources/${file##*/}"
	done
	local options=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$WORK/sources"
		-o "Dir::State::Lists=$WORK/lists")
	apt-get "${options[@]}" update
	# A mirror may lack the newest.
	for version in $(apt-cache "${options[@]:1}" showsrc "$package" | awk '/^Version:/ {print $2}' | sort -rV); do
		if (cd "$WORK" && apt-get "${options[@]}" source "$package=$version") >/dev/null 2>&1; then
			return
		fi
	done
	echo "suites: no source of $package could be fetched" >&2
	return 1
}
for package in perl libevent curl; do
	fetch "$package"
done

exec /usr/bin/python3 "$here/suites.py" "$@"
