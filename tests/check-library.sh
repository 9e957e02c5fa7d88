#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What libberth.so shows and asks of the dynamic linker: the hooks alone, libc alone.
# shellcheck source=tests/tap.sh disable=SC2154
. "$srcdir/tests/tap.sh"
command -v readelf >/dev/null || skip_all "no readelf (binutils)"
nm "$LIBBERTH" | grep -q __llvm_profile_runtime && skip_all "it counts lines, for make coverage"

exported=$(nm -D --defined-only "$LIBBERTH" | awk '{print $3}' | sort)
listed=$(sed -n 's/^  \([a-zA-Z0-9_]*\);$/\1/p' "$srcdir/preload/hooks.map" | sort)
written=$({
	sed -n 's/^HOOK .*[ *]\([a-zA-Z0-9_]*\)(.*/\1/p' "$srcdir"/preload/*.c
	sed -n 's/^\t\.globl\t\([a-z]*\)$/\1/p' "$srcdir"/preload/*.S
} | sort -u)
is "it exports the hooks of hooks.map" "$exported" "$listed"
is "each of them is a HOOK in preload/" "$written" "$listed"

needed=$(readelf -dW "$LIBBERTH" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
is "it needs libc and nothing else" "$needed" "libc.so.6"

# Weak ones that the toolchain adds are looked up and not missed.
imported=$(nm -D --undefined-only "$LIBBERTH" | awk '{print $NF}' | sed 's/@.*//' |
	grep -v -x -e '_ITM_.*' -e __gmon_start__ -e __cxa_finalize | sort)
foreign=$(printf '%s\n' "$imported" | grep -v -x -F -f "$srcdir/tests/allowed-imports")
is "it imports what is signal-safe, or used before main() only" "$foreign" ""

newest=$(readelf -VW "$LIBBERTH" | grep -o 'GLIBC_[0-9.]*' | sort -u -V | tail -n 1)
is "it needs no symbol newer than GLIBC_2.17" \
	"$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -n 1)" "GLIBC_2.17"
is "it has no fortified (__*_chk) symbol" "$(nm -D "$LIBBERTH" | grep -c '_chk$')" "0"

flags=$(readelf -dW "$LIBBERTH" | grep -o -w -e BIND_NOW -e NODELETE -e TEXTREL | sort -u | xargs)
is "it binds at start, stays loaded and needs no text relocation" "$flags" "BIND_NOW NODELETE"
stack=$(readelf -lW "$LIBBERTH" | awk '/GNU_STACK/ {print $7}')
is "its stack is not executable" "$stack" "RW"
done_testing
