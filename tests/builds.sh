#!/bin/sh
# SPDX-License-Identifier: MIT
#
# builds.sh TARBALL: berth as distributions build it, and tested. gcc with all hardening and LTO, twice
# in different folders: what is installed must be the same bytes. Installed for two ABIs, one berth run
# reaches programs of both. Then clang with hardening and LTO. No warning is allowed. No part of
# `make check`; needs dpkg-dev, gcc-multilib, clang and llvm.
set -eu
tarball=$(realpath "$1")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=1700000000

# What the flags may change: the library's shape, and its calls.
tests="tests/unit-record tests/check-library.sh tests/check-loader.sh tests/test-count.py
tests/test-sockets.py tests/test-claims.py"

# Prints of a command only what went wrong.
quiet() {
	"$@" >"$work/log" 2>&1 && return
	grep -E '^(FAIL|ERROR)|error:|warning:' "$work/log" || tail -n 40 "$work/log"
	exit 1
}

# Builds and installs in this folder with a package's flags that asks for all of them, and with some
# that newer distributions give. The arguments are for configure.
build() {
	mkdir -p "$1"
	cd "$1"
	shift
	tar -xJf "$tarball" --strip-components=1
	flags=$(DEB_BUILD_MAINT_OPTIONS='hardening=+all' dpkg-buildflags --export=sh)
	eval "$flags"
	export CFLAGS="$CFLAGS -flto=$lto -fstack-clash-protection" LDFLAGS="$LDFLAGS -flto=$lto"
	quiet ./configure --prefix=/usr --libdir="/usr/lib/$abi" --enable-werror "$@"
	quiet make -j"$(nproc)"
	quiet make install-strip DESTDIR="$PWD/root"
}

# In the tests warnings are let be: LTO does not know that a failed assertion of cmocka never returns.
check() (
	cd "$1"
	flags=$(sed -n 's/^CFLAGS = //p' Makefile)
	quiet make check -j"$(nproc)" TESTS="$tests" CFLAGS="$flags -Wno-error"
	echo "builds.sh: $1: $(grep -E '^# (TOTAL|PASS|SKIP|FAIL):' "$work/log" | xargs)"
)

# What ld.so puts in the place of $LIB.
lib_of() {
	"$1" --list-diagnostics | sed -n 's/^dl_dst_lib="\(.*\)"$/\1/p'
}

# The library for programs of 32 bits beside the other, in their folder of the installed tree.
install_i386() (
	cd "$1"
	quiet make tests/abi32/libberth.la
	folder=root/usr/$(lib_of /lib/ld-linux.so.2)/berth
	mkdir -p "$folder"
	cp tests/abi32/.libs/libberth.so "$folder"
	for bits in 32 64; do gcc -m$bits -D_GNU_SOURCE -o root/usr/bin/steps$bits tests/programs/steps.c; done
)

# berth as installed, over this machine's /usr.
reach_both() (
	# shellcheck disable=SC2016
	quiet unshare -rmn sh -ec '
		mount -t overlay -o lowerdir="$0/root/usr:/usr" overlay /usr
		ip link set lo up
		berth run -L 41000-41099 -o "$0/both" sh -c "steps32 connect 9; steps64 connect 9"
		cat "$0/both"
		for bits in 32 64; do grep " steps$bits connect udp .* ok policy=" "$0/both"; done' "$work/$1"
	echo "builds.sh: $1: one berth run steered programs of both ABIs"
)

digests() (
	cd "$1/root"
	find . -type f -exec sha256sum {} + | sort -k 2
)

cd "$work"
abi=$(gcc -print-multiarch)
lto=auto
(build gcc)
(build another/folder/gcc)
digests gcc >one
digests another/folder/gcc >two
diff one two || {
	echo "builds.sh: two builds with one SOURCE_DATE_EPOCH differ"
	exit 1
}
! grep -rlF "$work" gcc/root || {
	echo "builds.sh: these name the folder that they were built in"
	exit 1
}
echo "builds.sh: gcc: $(wc -l <one) files are the same bytes in both folders"
check gcc
install_i386 gcc
reach_both gcc

lto=thin
llvm=$(clang -dumpversion | sed 's/\..*//')
(build clang CC=clang AR="llvm-ar-$llvm" NM="llvm-nm-$llvm" RANLIB="llvm-ranlib-$llvm")
check clang
